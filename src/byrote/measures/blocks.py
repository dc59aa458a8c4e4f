"""Read features as float64 in small blocks of rows, sum them by class, and store only half of a symmetric matrix."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from byrote.checks import class_labels, matrix

__all__ = ["add_by_class_", "add_gram_", "along", "blocks", "checked", "packed_size", "panels", "ranges", "unpacked"]

_ROWS, _ELEMENTS = 256, 2**19  # a float64 block has 2**19 numbers, but at least 256 rows, which bounds memory
_PANEL = 256  # number of rows in one panel of a symmetric matrix


def checked(features: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Check features (B, M) and labels (B,); return the features detached from the graph and the labels as int64."""
    features = matrix("features", features)
    return features, class_labels("labels", labels, num_classes, len(features)).to(features.device)


def blocks(features: Tensor) -> Iterator[slice]:
    """Split features (B, M) into row ranges; the float64 copy of each holds about half a million numbers."""
    return ranges(len(features), features.shape[1])


def ranges(rows: int, width: int) -> Iterator[slice]:
    """The row ranges that `blocks` gives for features of shape (rows, width), without needing the features."""
    step = max(_ROWS, _ELEMENTS // max(width, 1))
    return (slice(start, start + step) for start in range(0, rows, step))


def add_by_class_(target: Tensor, owners: Tensor, values: Tensor) -> None:
    """target[n] += sum of the values of class n; on CUDA as a matrix product, as atomic adds are not reproducible."""
    if values.is_cuda:
        one_hot = torch.zeros(len(target), len(values), dtype=torch.float64, device=values.device)
        one_hot[owners, torch.arange(len(values), device=values.device)] = 1.0
        target += one_hot @ values
    else:
        target.index_add_(0, owners, values)


def panels(packed: Tensor, width: int) -> Iterator[tuple[int, Tensor]]:
    """The upper panels of a packed symmetric (M, M) matrix: (start, rows start..start+256 of columns start..M)."""
    place = 0
    for start in range(0, width, _PANEL):
        rows, columns = min(_PANEL, width - start), width - start
        yield start, packed[place : place + rows * columns].view(rows, columns)
        place += rows * columns


def packed_size(width: int) -> int:
    """The number of entries of a packed symmetric (M, M) matrix: M^2 for M up to 256, about half of it for large M."""
    return sum(min(_PANEL, width - start) * (width - start) for start in range(0, width, _PANEL))


def unpacked(packed: Tensor, width: int) -> Tensor:
    """The whole symmetric matrix (M, M).

    In the square block on the diagonal of each panel, only the upper triangle is read, because a matrix product may
    round the two triangles differently.
    """
    whole = packed.new_empty(width, width)
    for start, panel in panels(packed, width):
        stop = start + len(panel)
        whole[start:, start:stop] = panel.T
        whole[start:stop, start:] = panel
        square = whole[start:stop, start:stop]
        square.copy_(square.triu() + square.triu(1).T)
    return whole


def add_gram_(packed: Tensor, rows: Tensor, sign: float = 1.0) -> None:
    """packed += sign * rows^T rows, in about half the flops of the full product."""
    for start, panel in panels(packed, rows.shape[1]):
        panel.addmm_(rows[:, start : start + len(panel)].T, rows[:, start:], alpha=sign)


def along(packed: Tensor, directions: Tensor) -> Tensor:
    """d^T S d for each row d of `directions` (r, M), as (r,); S is the packed symmetric matrix."""
    total = directions.new_zeros(len(directions))
    for start, panel in panels(packed, directions.shape[1]):
        own, later = directions[:, start : start + len(panel)], directions[:, start + len(panel) :]
        total += ((own @ panel[:, : len(panel)]) * own).sum(1)
        total += 2 * ((own @ panel[:, len(panel) :]) * later).sum(1)
    return total
