"""The few input checks everything shares, one sentence each: what was needed, what came, what to do."""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["classes", "finite", "one_of", "require", "same_length"]


def require(module: str, extra: str) -> ModuleType:
    """Import an optional package, or say in one line how to get it.

    >>> require("json", "report").__name__
    'json'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ModuleNotFoundError(
            f"{module} is needed for this and is not installed ({error}): pip install 'byrote[{extra}]'"
        ) from None


def one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    """`value` must be one of `known`."""
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")


def same_length(**columns: "torch.Tensor") -> None:
    """All named tensors must have the same first dimension."""
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"equal lengths are needed, got {', '.join(f'{k} {v}' for k, v in lengths.items())}")


def finite(name: str, values: "torch.Tensor") -> None:
    """No NaN and no infinity."""
    bad = int((~values.isfinite()).sum())
    if bad:
        raise ValueError(f"{name} must be finite, got {bad} values that are NaN or infinite of {values.numel()}")


def classes(name: str, labels: "torch.Tensor", num_classes: int) -> None:
    """Integer class labels within 0 .. num_classes - 1."""
    if labels.is_floating_point() or labels.is_complex():
        raise TypeError(f"{name} must be integer classes, got {labels.dtype}")
    if labels.numel() == 0:
        return
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        raise ValueError(f"{name} must lie in 0..{num_classes - 1}, got {low if low < 0 else high}")
