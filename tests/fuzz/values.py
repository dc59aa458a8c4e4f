"""Random labels in every container and numbers of every size, marked by whether byrote must accept them."""

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import torch

from .harness import Case

__all__ = ["batch_of", "classes", "features", "labels", "logits", "number"]

SMALL = ("int8", "int16", "int32", "int64", "uint8")
NUMPY = (*SMALL, "uint16", "uint32", "uint64", ">i4", ">i8", "<u2")
ODD = [0.0, -0.0, 1e-300, 1e-40, 1e-8, 1.0, -1.0, 0.1, 1e4, 1e10, 1e18, 1e38, 3e38, 1e200, 1e308]


def classes(case: Case, n: int, num_classes: int) -> np.ndarray:
    """Draw classes (n,) as int64; some classes may be absent."""
    return case.rng.integers(0, max(num_classes, 1), n)


def _taken(case: Case, values: np.ndarray) -> Any:
    """Put the classes into one of the containers that must be accepted."""
    top = int(values.max()) if len(values) else 0
    small = [kind for kind in NUMPY if top <= np.iinfo(kind).max]
    way = case.int(0, 9)
    if way == 0:
        return torch.from_numpy(values.copy())
    if way == 1:
        return torch.from_numpy(values.astype(case.pick([k for k in small if k in SMALL])))
    if way == 2:
        return values.tolist()
    if way == 3:
        return tuple(values.tolist())
    if way == 4:
        return pd.Series(values, index=case.rng.permutation(len(values)))
    if way == 5:
        return pl.Series(values)
    if way == 6 and top <= 1:
        return case.pick([torch.from_numpy(values.astype(bool)), values.astype(bool), values.astype(bool).tolist()])
    if way == 7:
        return torch.from_numpy(np.stack([values, values + 1], 1))[:, 0]  # a tensor that is not contiguous
    if way == 8:
        values = values.copy()
        values.flags.writeable = False
        return values
    return values.astype(case.pick(small))


def _refused(case: Case, values: np.ndarray, num_classes: int) -> Any:
    """Make labels that must be refused, because they are invalid or ambiguous."""
    n, at = len(values), case.int(0, max(len(values) - 1, 0))
    text = [str(v) for v in values]
    broken = [
        values.astype(case.pick(["float16", "float32", "float64"])),
        torch.from_numpy(values).to(case.pick([torch.float16, torch.bfloat16, torch.float32, torch.float64])),
        values.astype(complex),
        torch.from_numpy(values)[:, None],
        values[None],
        np.eye(num_classes, dtype=case.pick(["int64", "uint8", "bool"]))[values],
        np.stack([values, values], 1),
        np.array(case.int(0, 1)),
        torch.tensor(case.int(0, 1)),
        text,
        np.array(text),
        np.array(text, dtype=object),
        pd.Categorical(text),
        pl.Series(text, dtype=pl.Categorical),
        [*values.tolist(), [1, 2]],
        " ".join(text),
        None,
        {"labels": values},
        iter(values.tolist()),
        values.astype("datetime64[s]"),
    ]
    if n:
        holes = values.astype(object)
        holes[at] = case.pick([None, float("nan"), pd.NA, "", 0.5, "nan", {}])
        out = values.copy()
        out[at] = case.pick([-1, -1, -num_classes, -100, num_classes, num_classes + 1, 255, 2**31, 2**62, -(2**63)])
        if case.chance(0.3):
            return case.pick([out, torch.from_numpy(out), out.tolist(), pd.Series(out)])
        far = values.astype("uint64")
        far[at] = 2**64 - 1
        gap = values.astype("float64")
        gap[at] = case.pick([np.nan, np.inf, 0.5])
        broken += [holes, list(holes), pd.Series(holes), gap, gap.tolist(), pd.Series(gap), pl.Series(gap.tolist())]
        broken += [values + 1] if int(values.max()) + 1 >= num_classes else []
        broken += [out, torch.from_numpy(out), out.tolist(), far]
        broken += [pl.Series([None, *values.tolist()[1:]])]
        broken += [[2**70] * n, [10**400] * n, [-(10**30)] * n]
    return case.pick(broken)


def labels(case: Case, values: np.ndarray, num_classes: int, good: float = 0.75) -> tuple[Any, bool]:
    """Put the classes into some container; return it, and whether it must be accepted."""
    if case.chance(good) or not len(values):  # an empty container cannot have a wrong type
        return _taken(case, values), True
    return _refused(case, values, num_classes), False


def number(case: Case) -> float:
    """Draw a number of any size and sign, sometimes NaN or infinite."""
    kind = case.rng.random()
    if kind < 0.1:
        return case.pick([float("nan"), float("inf"), float("-inf")])
    if kind < 0.4:
        return case.pick([1, -1]) * case.pick(ODD)
    return float(case.rng.normal() * 10.0 ** case.int(-6, 6))


def features(case: Case, values: np.ndarray, width: int, num_classes: int) -> np.ndarray:
    """Draw features (n, M) around one center per class, near or far from the origin, tight or wide."""
    spread = 10.0 ** case.rng.uniform(-2, 1)
    centers = case.rng.normal(size=(num_classes, width))
    away = case.pick([0.0, 0.0, 1.0, 100.0])
    return centers[values] + spread * case.rng.normal(size=(len(values), width)) + away


def batch_of(case: Case, rows: np.ndarray) -> tuple[Any, float, np.ndarray]:
    """Convert rows to a tensor, array or lists; return that, its rounding error, and the rows after rounding."""
    dtype = case.pick([torch.float64, torch.float64, torch.float32, torch.float16, torch.bfloat16])
    tensor = torch.from_numpy(rows).to(dtype)
    if dtype == torch.float64 and case.chance(0.3):  # an empty list has no number of columns
        return case.pick([rows, rows.tolist() if len(rows) else rows]), 2.3e-16, rows
    return tensor, torch.finfo(dtype).eps, tensor.double().numpy()


def logits(case: Case, n: int, num_classes: int, scale: float = 4.0) -> np.ndarray:
    """Draw finite logits (n, N) without ties."""
    return scale * case.rng.normal(size=(n, num_classes))
