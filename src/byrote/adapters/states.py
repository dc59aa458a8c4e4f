"""Shared by the torchmetrics adapters: one row per sample at its position, and the states of several processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from byrote.adapters.optional import base
from byrote.checks import class_labels, same_length

if TYPE_CHECKING:
    from torchmetrics import Metric
else:
    Metric = base("torchmetrics", "Metric", "torchmetrics")

__all__ = ["PerSample", "first_of_each", "joined", "positions", "positive", "scalars", "side_by_side", "states_of"]


class PerSample(Metric):
    """One or two numbers for each sample of a data set of known size, at the sample's position; repeats count once."""

    full_state_update = True
    higher_is_better = None  # a high value is better for some readings, a low value for others
    is_differentiable = False
    size: int

    seen: Tensor  # (P, size)
    true: Tensor  # (P, size) int64
    observed: Tensor  # (P, size) int64

    def __init__(self, size: int, **options: Any) -> None:
        super().__init__(**options)
        self.size = positive("size", size)
        self._add("seen", torch.uint8)
        self._add("true", torch.int64)
        self._add("observed", torch.int64)

    def _add(self, name: str, dtype: torch.dtype) -> None:
        self.add_state(name, torch.zeros(1, self.size, dtype=dtype), dist_reduce_fx=side_by_side)

    def _put(self, index: Tensor, **columns: Tensor) -> None:
        """Record a batch; if a sample is repeated, its first entry is kept."""
        same_length(index=index, **columns)
        index = index.to(self.seen.device)
        rows = first_of_each(index)
        rows = rows[self.seen[0, index[rows]] == 0]
        self.seen[0, index[rows]] = 1
        for name, values in columns.items():
            column = getattr(self, name)
            column[0, index[rows]] = values.to(rows.device)[rows].to(column.device, column.dtype)

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Plot the current or earlier readings, as `torchmetrics.Metric` does; needs matplotlib."""
        return self._plot(val, ax)

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Merge the samples that another metric over the same data set has seen and this metric has not.

        Raises:
            ValueError: the kinds or sizes differ.
        """
        other = states_of(self, incoming_state)
        new = ((other["seen"].amax(0) > 0) & (self.seen[0] == 0)).nonzero()[:, 0]
        owner = other["seen"].argmax(0)[new]
        for name, state in other.items():
            if name == "epsilon":
                getattr(self, name).clamp_(min=float(state.max()))
            else:
                getattr(self, name)[0, new] = state[owner, new]
        self._update_count, self._computed = max(self._update_count, 1), None

    def _columns(self, *names: str) -> tuple[Tensor, ...]:
        """The named columns for all samples that any process has seen, in the order of the data set."""
        owner = self.seen.argmax(0)  # (size,) the first process that has the sample
        position = self.seen.amax(0).nonzero()[:, 0]
        return tuple(getattr(self, name)[owner[position], position] for name in names)


def positive(name: str, value: int) -> int:
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
    return value


def side_by_side(stacked: Tensor) -> Tensor:
    """The states of several processes as parts of one state: (processes, P, ...) -> (processes * P, ...)."""
    return stacked.flatten(0, 1)


def positions(index: Tensor, size: int, beside: Tensor) -> Tensor:
    """Positions (B,) as int64 on the batch's device, checked against the sizes of the data set and the batch."""
    index = class_labels("index", index, size)
    same_length(index=index, batch=beside)
    return index.to(beside.device)


def first_of_each(index: Tensor) -> Tensor:
    """The rows with the first occurrence of each position, in order."""
    distinct, inverse = torch.unique(index, return_inverse=True)
    rows = torch.arange(len(index), device=index.device)
    first = torch.full_like(distinct, len(index)).scatter_reduce(0, inverse, rows, "amin")
    return first.sort().values


def joined(parts: list[Tensor] | Tensor) -> Tensor | None:
    """A list state as one tensor: torchmetrics has a list in one process and a tensor after synchronization."""
    if isinstance(parts, Tensor):
        return parts
    return torch.cat(parts) if parts else None


def scalars(row: dict[str, float], device: torch.device) -> dict[str, Tensor]:
    return {name: torch.tensor(value, dtype=torch.float64, device=device) for name, value in row.items()}


def states_of(metric: Metric, incoming: dict[str, Any] | Metric) -> dict[str, Any]:
    """The states of another metric of the same kind and size; the states may also be given directly.

    Raises:
        ValueError: neither a metric nor states of the same kind, or states of a different size.
    """
    if not isinstance(incoming, dict | type(metric)):
        raise ValueError(f"expected a {type(metric).__name__} or its states, got a {type(incoming).__name__}")
    states: dict[str, Any] = incoming if isinstance(incoming, dict) else incoming.metric_state
    own: dict[str, Any] = metric.metric_state
    if states.keys() != own.keys() or states["seen"].shape[1:] != own["seen"].shape[1:]:
        raise ValueError(
            f"expected states of a {type(metric).__name__} over the same data set, got states over a different one"
        )
    return states
