"""The specs of many runs as columns, to find which fields the runs share and in which fields they differ.

A spec is flattened to dotted paths, such as `network.width`, and each path becomes a column of small integers. Runs
that agree in some paths then have equal rows in these columns.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from byrote.component import canonical, digest
from byrote.identity import SEEDS, identity
from byrote.table import Table

__all__ = ["ABSENT", "Specs", "flatten", "under"]

Codes = NDArray[np.int64]
ABSENT = "(absent)"
"""The value of a path that a spec does not have."""
_LOSS, _RATE = "loss", "noise.rate"


def flatten(spec: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings into leaves by dotted path; a list is a leaf.

    >>> flatten({"network": {"kind": "mlp", "width": 8}, "seed": 0})
    {'network.kind': 'mlp', 'network.width': 8, 'seed': 0}
    """
    leaves: dict[str, Any] = {}
    for name, value in spec.items():
        if isinstance(value, dict):
            leaves |= flatten(value, f"{prefix}{name}.")
        else:
            leaves[prefix + name] = value
    return leaves


def _leaves(spec: Mapping[str, Any], contents: Mapping[str, str]) -> dict[str, Any]:
    """The leaves of a spec that determine its identity."""
    leaves = flatten(spec)
    named = contents or any(path.endswith(".sha256") for path in leaves)
    return flatten(identity(spec, contents)) if named else leaves


def under(path: str, parents: Iterable[str]) -> bool:
    """Whether a path is one of these paths or is below one of them."""
    return any(path == parent or path.startswith(f"{parent}.") for parent in parents)


@dataclass(frozen=True)
class Specs:
    """The specs of R runs as columns.

    Attributes:
        codes: for each path one integer per run, (R,); equal integers mean equal values.
        values: for each path, the distinct values in the order of their codes.
        bound: for each path that a study sets separately for each loss, a mask (R,) of that study's runs.
    """

    codes: dict[str, Codes]
    values: dict[str, list[Any]]
    bound: dict[str, NDArray[np.bool_]]
    count: int

    @classmethod
    def of(cls, runs: Table) -> Specs:
        """Read the specs from the columns `spec`, `contents` and `bind` of a store's table of runs."""
        texts, contents = runs["spec"].tolist(), runs["contents"].tolist()
        parsed = {text: json.loads(text) for text in {*contents, *runs["bind"].tolist()}}
        leaves = [_leaves(json.loads(text), parsed[own]) for text, own in zip(texts, contents, strict=True)]
        bind = [parsed[text] for text in runs["bind"].tolist()]
        paths = list(dict.fromkeys(path for one in leaves for path in one))
        codes, values = {}, {}
        for path in paths:
            codes[path], values[path] = _coded([one.get(path, ABSENT) for one in leaves])
        named = dict.fromkeys(parent for one in bind for parent in one)
        bound = {path: np.array([under(path, one) for one in bind], dtype=bool) for path in paths if under(path, named)}
        return cls(codes, values, bound, len(leaves))

    def column(self, path: str) -> list[Any]:
        """The value of a path in each run; `ABSENT` where a run does not have the path."""
        if path not in self.codes:
            return [ABSENT] * self.count
        values = self.values[path]
        return [values[code] for code in self.codes[path].tolist()]

    def at(self, path: str, run: int) -> Any:
        """The value of a path in one run."""
        return self.values[path][int(self.codes[path][run])] if path in self.codes else ABSENT

    @cached_property
    def rate(self) -> NDArray[np.float64]:
        """The nominal noise rate of each run, (R,): the rate of its law; 0 without noise, NaN if the law has none."""
        rates = [0.0 if kind == "clean" else rate for rate, kind in zip(*self._noise, strict=True)]
        return np.array([rate if isinstance(rate, (int, float)) else np.nan for rate in rates], dtype=np.float64)

    @property
    def _noise(self) -> tuple[list[Any], list[Any]]:
        return self.column(_RATE), self.column("noise.kind")

    @cached_property
    def replicate(self) -> Codes:
        """One integer for each combination of the seeds, (R,): the seed itself if there is only one."""
        seeds = [tuple(row) for row in zip(*(self.column(path) for path in SEEDS), strict=True)]
        plain = [seed for seed, *others in seeds if all(other in (None, ABSENT) for other in others)]
        first = 1 + max((int(seed) for seed in plain if seed != ABSENT), default=-1)
        numbers: dict[tuple[Any, ...], int] = {}
        for seed, *others in dict.fromkeys(seeds):
            alone = all(other in (None, ABSENT) for other in others) and seed != ABSENT
            numbers[seed, *others] = int(seed) if alone else first + len(numbers)
        return np.array([numbers[row] for row in seeds], dtype=np.int64)

    def setting(self, without: Sequence[str] = ()) -> Codes:
        """The setting of each run as an integer, (R,); runs share a setting if only loss, rate and seeds differ.

        A field that the study sets separately for each loss (a bound field) belongs to the loss, not to the setting.

        Args:
            without: further paths to leave out, with everything below them.
        """
        apart = (_LOSS, _RATE, *SEEDS, *without)
        columns = [self._free(path) for path in self.codes if not under(path, apart)]
        return _grouped(columns, self.count)

    @cached_property
    def loss_setting(self) -> Codes:
        """The loss of each run as an integer, (R,); losses are equal if all their fields and bound fields are equal."""
        columns = [codes for path, codes in self.codes.items() if under(path, (_LOSS,))]
        columns += [np.where(mask, self.codes[path], -1) for path, mask in self.bound.items()]
        return _grouped(columns, self.count)

    def alike(self, paths: Sequence[str]) -> Codes:
        """Group runs that agree in these paths; the group of each run as an integer, (R,)."""
        return _grouped([self.codes[path] for path in paths if path in self.codes], self.count)

    def _free(self, path: str) -> Codes:
        mask = self.bound.get(path)
        return self.codes[path] if mask is None else np.where(mask, -1, self.codes[path])

    def fields(self, run: int) -> dict[str, Any]:
        """The fields that determine the setting of one run, by path."""
        apart = (_LOSS, _RATE, *SEEDS)
        paths = [path for path in self.codes if not under(path, apart)]
        return {
            path: self.at(path, run)
            for path in paths
            if self.at(path, run) != ABSENT and not (path in self.bound and self.bound[path][run])
        }

    def loss_fields(self, run: int) -> dict[str, Any]:
        """The loss fields of one run by their path below `loss`, and the fields bound to the loss by full path."""
        inner = {path.removeprefix("loss."): self.at(path, run) for path in self.codes if under(path, (_LOSS,))}
        bound = {path: self.at(path, run) for path, mask in self.bound.items() if mask[run]}
        return {path: value for path, value in {**inner, **bound}.items() if value != ABSENT}

    def setting_digest(self, run: int) -> str:
        """Sixteen hexadecimal digits that identify the setting of one run across stores."""
        return digest(self.fields(run))

    def loss_digest(self, run: int) -> str:
        """Sixteen hexadecimal digits that identify the loss of one run, including the fields bound to the loss."""
        return digest(self.loss_fields(run))


def _coded(values: Sequence[Any]) -> tuple[Codes, list[Any]]:
    """Code values as integers; return the codes, and the distinct values in code order. 1, 1.0 and True differ."""
    numbers: dict[tuple[type, Any], int] = {}
    distinct: list[Any] = []
    codes = np.empty(len(values), dtype=np.int64)
    for place, value in enumerate(values):
        name = (type(value), canonical(value) if isinstance(value, (list, dict)) else value)
        if name not in numbers:
            numbers[name] = len(distinct)
            distinct.append(value)
        codes[place] = numbers[name]
    return codes, distinct


def _grouped(columns: Sequence[Codes], count: int) -> Codes:
    """Map each distinct row of integers to one integer, numbered by first occurrence."""
    code = np.zeros(count, dtype=np.int64)
    for column in columns:
        if not len(column) or column.min() == column.max():
            continue
        code = code * (int(column.max()) + 2) + column + 1
        code = np.unique(code, return_inverse=True)[1]
    _, first, inverse = np.unique(code, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse] if count else code
