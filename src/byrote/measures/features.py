"""Features in memory with their labels: one pass gives the class means, a second the variance along directions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from byrote.measures.axes import Axes, axes_of, less_center
from byrote.measures.blocks import add_by_class_, blocks, checked

__all__ = ["ClassMeans", "FeatureSet"]


class ClassMeans(Protocol):
    """The interface that the geometric measures need; `ClassMoments` and `FeatureSet` implement it."""

    @property
    def counts(self) -> Tensor: ...  # (N,) int64
    @property
    def offsets(self) -> Tensor: ...  # (N, M) float64, class means minus a fixed origin; 0 for a class without samples
    @property
    def spread(self) -> Tensor: ...  # (N,) float64, sum of squared distances to the class mean
    @property
    def num_classes(self) -> int: ...  # N
    @property
    def means(self) -> Tensor: ...  # (N, M) float64, NaN for a class without samples
    @property
    def absent(self) -> list[int]: ...
    @property
    def epsilon(self) -> float: ...
    @property
    def scale(self) -> Tensor: ...  # (M,) root mean square of each feature
    @property
    def axes(self) -> Axes: ...  # about the mean of the class means
    @property
    def axis_variances(self) -> Tensor: ...  # (r,) class-averaged within-class variance along the axes
    def centered(self, by_sample: bool = False) -> Tensor: ...  # (N, M) class means minus hbar
    def variances(self, directions: Tensor, averaged: bool = True) -> Tensor: ...  # (r,) along directions (r, M)


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """Features (n, M) and labels (n,) as a value; class means, axes and NC1 are each computed once, on first use.

    Why: with features in memory, NC1 does not need the scatter matrix. It needs only the variance along the r <= N-1
    axes of the class means, which takes n M r flops instead of n M^2. Results that several measures need (the class
    means, their singular value decomposition) are computed only once. `nc1`, `nc2`, `nc3`, `cdnv`, `def31` and others
    take a `FeatureSet` or `ClassMoments`. Only `ClassMoments` can be merged, so use it for chunks and workers.

    Build it with `of`. Memory: the features themselves and two N x M matrices.

    >>> import torch
    >>> from byrote.measures import nc1
    >>> features = torch.tensor([[0.0, 0.0], [2.0, 0.0], [10.0, 0.0], [12.0, 0.0]])
    >>> both = FeatureSet.of(features, torch.tensor([0, 0, 1, 1]), num_classes=2)
    >>> both.means.tolist(), both.axes.values.tolist()
    ([[1.0, 0.0], [11.0, 0.0]], [5.0])
    >>> round(nc1(both), 12)
    0.02
    """

    features: Tensor  # (n, M), any float dtype
    labels: Tensor  # (n,) int64
    num_classes: int

    @classmethod
    def of(cls, features: Tensor, labels: Tensor, num_classes: int) -> FeatureSet:
        """Build from `features` (n, M) and integer `labels` (n,) in 0..num_classes-1. NaN is no error: it propagates.

        Raises: ValueError for labels out of range or shapes that do not fit, TypeError for labels that are not
            integers.
        """
        return cls(*checked(features, labels, num_classes), num_classes)

    @cached_property
    def counts(self) -> Tensor:
        """The number of samples in each class, (N,) int64."""
        return torch.bincount(self.labels, minlength=self.num_classes)

    @cached_property
    def origin(self) -> Tensor:
        """A point near the data, (M,) float64: the mean of about a thousand samples."""
        return self.features[:: max(1, len(self.features) // 1024)].to(torch.float64).mean(0)

    @cached_property
    def _sums(self) -> tuple[Tensor, Tensor, Tensor]:
        """Class means minus the origin (N, M), the spread (N,), and each feature's class-averaged variance (M,)."""
        N, M = self.num_classes, self.features.shape[1]
        zeros = self.origin.new_zeros
        offsets, squares, lengths = zeros(N, M), zeros(M), zeros(N)
        weight = 1 / (N * self.counts.clamp(min=1).to(torch.float64))
        for rows in blocks(self.features):
            owners = self.labels[rows]
            centered = self.features[rows].to(torch.float64) - self.origin
            add_by_class_(offsets, owners, centered)
            centered.square_()
            squares += weight[owners] @ centered
            add_by_class_(lengths, owners, centered.sum(1))
        offsets /= self.counts.clamp(min=1)[:, None]
        spread = (lengths - self.counts * offsets.square().sum(1)).clamp(min=0)
        return offsets, spread, (squares - offsets.square().mean(0)).clamp(min=0)

    @property
    def offsets(self) -> Tensor:
        """Class means minus the origin, (N, M) float64; 0 for a class without samples."""
        return self._sums[0]

    @property
    def spread(self) -> Tensor:
        """Sum of squared distances to the class mean, (N,) float64."""
        return self._sums[1]

    @property
    def means(self) -> Tensor:
        """Class means (N, M), float64; NaN for a class without samples."""
        return (self.origin + self.offsets).masked_fill((self.counts == 0)[:, None], torch.nan)

    @property
    def absent(self) -> list[int]:
        """Classes without a sample."""
        absent: list[int] = torch.nonzero(self.counts == 0)[:, 0].tolist()
        return absent

    @property
    def epsilon(self) -> float:
        """Machine epsilon of the features' dtype."""
        return torch.finfo(self.features.dtype if self.features.is_floating_point() else torch.float64).eps

    @cached_property
    def scale(self) -> Tensor:
        """Root mean square of each feature, (M,); the rounding error of a stored feature is proportional to it."""
        offsets, _, variances = self._sums
        return ((offsets + self.origin).square().mean(0) + variances).sqrt()

    def centered(self, by_sample: bool = False) -> Tensor:
        """Class means (N, M) minus hbar: the mean of the class means, or with `by_sample` the mean of all samples."""
        return less_center(self.offsets, self.counts, by_sample)

    @cached_property
    def axes(self) -> Axes:
        """The axes of Sigma_B, computed about the mean of the class means; the means must be finite."""
        return axes_of(self.centered(), self.scale, self.epsilon, len(self.features))

    @cached_property
    def axis_variances(self) -> Tensor:
        """The class-averaged within-class variance along each of the `axes`, (r,)."""
        return self.variances(self.axes.directions)

    def variances(self, directions: Tensor, averaged: bool = True) -> Tensor:
        """Within-class variance along each of r directions (r, M), averaged over classes or pooled over samples."""
        projected = self.offsets @ directions.T  # (N, r)
        if averaged:
            weight = 1 / (self.num_classes * self.counts.to(torch.float64))
        else:
            weight = torch.full_like(self.counts, 1 / len(self.features), dtype=torch.float64)
        variances = directions.new_zeros(len(directions))
        for rows in blocks(self.features):
            owners = self.labels[rows]
            deviation = (self.features[rows].to(torch.float64) - self.origin) @ directions.T
            deviation -= projected[owners]
            variances += weight[owners] @ deviation.square_()
        return variances
