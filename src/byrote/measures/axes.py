"""The axes of between-class variability: the directions in which class means differ by more than rounding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Axes", "axes_of", "less_center"]

_EPSILON = torch.finfo(torch.float64).eps


@dataclass(frozen=True, eq=False)
class Axes:
    """Singular values (without zeros) and right singular vectors of the centered class means divided by sqrt(N).

    Sigma_B = sum_j values_j^2 d_j d_j^T, with d_j the rows of `directions`.
    """

    values: Tensor  # (r,) float64, the largest first; r <= min(N-1, M), 0 if all class means coincide
    directions: Tensor  # (r, M) float64, orthonormal rows


def axes_of(centered: Tensor, scale: Tensor, epsilon: float, total: int) -> Axes:
    """Compute a thin SVD of the N x M centered class means and drop the null directions.

    A direction is null if it comes after the first min(N-1, M), or if its singular value is no larger than the sum of
    two rounding errors: the error of the decomposition, and the error of N means of K stored values each. The second is
    the largest singular value of an N x M matrix of these errors, divided by sqrt(N).

    Args:
        centered: (N, M) float64, class means minus their mean.
        scale: (M,) float64, the root mean square of each feature; rounding is relative to it.
        epsilon: machine epsilon of the original dtype of the features.
        total: the number of samples in all classes, N K.

    >>> import torch
    >>> axes = axes_of(torch.tensor([[3.0, 0.0], [-3.0, 0.0]]).double(), torch.ones(2).double(), 1e-7, total=100)
    >>> round(axes.values.item(), 12), axes.directions.abs().tolist()
    (3.0, [[1.0, 0.0]])
    """
    N, M = centered.shape
    _, values, directions = torch.linalg.svd(centered, full_matrices=False)
    rank = min(N - 1, M)
    values, directions = values[:rank] / N**0.5, directions[:rank]
    stored = epsilon * (N / total) ** 0.5 + 4 * _EPSILON
    stored = stored * torch.linalg.vector_norm(directions * scale, dim=1)
    keep = values > (1 + (M / N) ** 0.5) * stored + max(N, M) * _EPSILON * values[:1]
    return Axes(values[keep], directions[keep])


def less_center(offsets: Tensor, counts: Tensor, by_sample: bool = False) -> Tensor:
    """Class means (N, M) minus hbar: the mean of the class means, or with `by_sample` the mean of all samples.

    >>> import torch
    >>> means, counts = torch.tensor([[0.0], [4.0]]).double(), torch.tensor([3, 1])
    >>> less_center(means, counts).flatten().tolist(), less_center(means, counts, by_sample=True).flatten().tolist()
    ([-2.0, 2.0], [-1.0, 3.0])
    """
    return offsets - (counts.to(torch.float64) / counts.sum() @ offsets if by_sample else offsets.mean(0))
