"""The axes along which class means differ: what NC1 divides by, and what tells that class means coincide."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Axes", "axes_of", "centre"]

_EPSILON = torch.finfo(torch.float64).eps


class Axes(NamedTuple):
    """The singular value decomposition of the centred class means over sqrt(N), without its null directions."""

    values: Tensor  # (r,) float64, r <= min(N-1, M); none: the class means coincide
    directions: Tensor  # (r, M) float64, orthonormal rows


def axes_of(centred: Tensor, scale: Tensor, epsilon: float, total: int) -> Axes:
    """Singular values (r,) and right vectors (r, M) of the centred class means over sqrt(N), without null ones.

    Null are those past rank min(N-1, M), and those within rounding: that of the decomposition, plus that of N means
    of K values stored with the features' epsilon (the largest singular value of N x M such errors, over sqrt(N)).

    Args:
        centred: (N, M) class means less their centre, float64.
        scale: (M,) root mean square of each feature.
        epsilon: machine epsilon of the dtype the features came in.
        total: number of samples.
    """
    N, M = centred.shape
    _, values, directions = torch.linalg.svd(centred, full_matrices=False)
    rank = min(N - 1, M)
    values, directions = values[:rank] / N**0.5, directions[:rank]
    stored = epsilon * (N / total) ** 0.5 + 4 * _EPSILON
    stored = stored * torch.linalg.vector_norm(directions * scale, dim=1)
    keep = values > (1 + (M / N) ** 0.5) * stored + max(N, M) * _EPSILON * values[:1]
    return Axes(values[keep], directions[keep])


def centre(offsets: Tensor, counts: Tensor, by_sample: bool = False) -> Tensor:
    """hbar (M,): the mean of the class means (N, M) or, `by_sample`, of all samples."""
    return (counts.to(torch.float64) / counts.sum()) @ offsets if by_sample else offsets.mean(0)
