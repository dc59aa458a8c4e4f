"""Collect a model's outputs batch by batch, and evaluate a model without changing its state."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["Answers", "undisturbed"]


class Answers:
    """Collects batches of (index, features, logits, labels) in one table until they are read together.

    Args: `rows`, the expected number of samples; the table grows if more samples come.
    """

    def __init__(self, rows: int = 0) -> None:
        self._rows = rows
        self._used = 0
        self._columns: list[Tensor] = []

    @property
    def empty(self) -> bool:
        return self._used == 0

    def add(self, index: Tensor, features: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Copy a batch to the CPU: float64 stays float64, and every other float type becomes float32.

        Raises: ValueError if features or logits do not have the same width as in earlier batches.
        """
        batch = [index, features, logits, labels]
        end = self._used + len(index)
        if not self._columns:
            self._columns = [_room(part, max(self._rows, end)) for part in batch]
        widths = [(part.shape[1], column.shape[1]) for part, column in zip(batch[1:3], self._columns[1:3], strict=True)]
        if any(now != before for now, before in widths):
            raise ValueError(
                f"features and logits must have the same width in every batch, got {[now for now, _ in widths]} after "
                f"{[before for _, before in widths]}"
            )
        if end > len(self._columns[0]):
            self._columns = [_grown(column, self._used, 2 * end) for column in self._columns]
        for column, part in zip(self._columns, batch, strict=True):
            column[self._used : end] = part
        self._used = end

    def missing(self, size: int) -> Tensor:
        """The positions 0..size-1 that occurred in no batch, in ascending order."""
        came = torch.zeros(size, dtype=torch.bool)
        if self._columns:
            came[self._columns[0][: self._used]] = True
        return (~came).nonzero()[:, 0]

    def take(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return all batches as one, sorted by index, with only the last entry of each sample, and empty the table."""
        if self.empty:
            raise ValueError("expected a training batch before a row is measured, got none: call update first")
        index, features, logits, labels = (column[: self._used] for column in self._columns)
        self._columns, self._used = [], 0
        if not len(index):
            return index, features, logits, labels
        last = torch.full((int(index.max()) + 1,), -1).scatter_reduce(0, index, torch.arange(len(index)), "amax")
        rows = last[last >= 0]
        other = labels != labels[last[index]]
        if bool(other.any()):
            raise ValueError(
                f"a sample must keep its observed label, but {int(other.sum())} came with two labels, the first of "
                f"them at position {int(index[other][0])}: give each sample its own number in the index"
            )
        if len(rows) == len(index) and bool((rows[1:] > rows[:-1]).all()):
            return index, features, logits, labels
        return index[rows], features[rows], logits[rows], labels[rows]


def _room(like: Tensor, rows: int) -> Tensor:
    dtype = torch.float32 if like.is_floating_point() and like.dtype != torch.float64 else like.dtype
    return torch.empty(rows, *like.shape[1:], dtype=dtype)


def _grown(column: Tensor, used: int, rows: int) -> Tensor:
    room = _room(column, rows)
    room[:used] = column[:used]
    return room


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Put the model in eval mode inside the block; afterwards restore every module's mode and every random state."""
    modes = [(module, module.training) for module in model.modules()]
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng():
        try:
            model.eval()
            yield
        finally:
            for module, mode in modes:
                module.training = mode
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002
