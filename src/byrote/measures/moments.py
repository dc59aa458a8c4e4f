"""Class moments, computed in one pass and mergeable: all that the neural collapse measures need from features."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from byrote.checks import integers
from byrote.measures.axes import Axes, axes_of, less_center
from byrote.measures.blocks import add_by_class_, add_gram_, along, blocks, checked, packed_size, panels, unpacked

__all__ = ["ClassMoments", "MomentStream"]


@dataclass(frozen=True, eq=False)
class ClassMoments:
    """Counts, means and within-class scatter of features h (K_n samples in class n of N), as a value that supports `+`.

    Claim: `a + b` equals the result of one pass over both sets (Chan, Golub & LeVeque 1983, pairwise update). So the
    moments of chunks, workers and devices can be added in any order, and a class may be missing from any of them.

    Formula: h_n = mean of class n; scatter = sum_n w_n sum_i (h_i - h_n)(h_i - h_n)^T, with w_n = 1 (pooled), or w_n =
    1/K_n if the final `counts` are given. The class-averaged Sigma_W of classes of unequal size needs the second form.

    Why: sums of raw float32 numbers were 114% off for features shifted by 100. Here all sums are float64, deviations
    are taken from a reference point close to each class mean, and the means are kept as offsets from a common `origin`.

    Build it with `of` (a set of features), `stream` (an iterable of chunks) or `MomentStream` (your own loop).

    >>> import torch
    >>> features = torch.tensor([[0.0, 0.0], [2.0, 0.0], [5.0, 5.0], [5.0, 7.0]])
    >>> labels = torch.tensor([0, 0, 1, 1])
    >>> whole = ClassMoments.of(features, labels, num_classes=2)
    >>> whole.means.tolist()
    [[1.0, 0.0], [5.0, 6.0]]
    >>> parts = ClassMoments.of(features[:1], labels[:1], 2) + ClassMoments.of(features[1:], labels[1:], 2)
    >>> torch.allclose(parts.scatter, whole.scatter), parts.counts.tolist()
    (True, [2, 2])
    """

    counts: Tensor  # (N,) int64, samples seen
    origin: Tensor  # (M,) float64, any point near the data
    offsets: Tensor  # (N, M) float64, class means minus the origin; 0 for a class without samples
    packed: Tensor  # (P,) float64, upper panels of the scatter (see `byrote.measures.blocks`)
    spread: Tensor  # (N,) float64, sum of squared distances to the class mean, class by class
    final: Tensor | None  # (N,) int64, the class counts of the whole set; None: pooled scatter
    epsilon: float  # machine epsilon of the least precise feature dtype seen

    @classmethod
    def of(
        cls,
        features: Tensor,
        labels: Tensor,
        num_classes: int,
        counts: Tensor | Sequence[int] | None = None,
    ) -> ClassMoments:
        """Compute the moments of `features` (B, M), any float dtype, with integer `labels` (B,) in 0..num_classes-1.

        `counts` (N,): class counts of the whole set, if `features` is only a chunk of the set. Raises ValueError for
        labels out of range and for shapes that do not fit. NaN is not an error: it propagates, and NC1 becomes NaN.
        """
        return cls.stream([(features, labels)], num_classes, counts)

    @classmethod
    def stream(
        cls,
        chunks: Iterable[tuple[Tensor, Tensor]],
        num_classes: int,
        counts: Tensor | Sequence[int] | None = None,
    ) -> ClassMoments:
        """Compute the moments of an iterable of (features, labels) chunks in one pass, without copying the state."""
        stream = MomentStream(num_classes, counts)
        for features, labels in chunks:
            stream.update(features, labels)
        return stream._close()

    @property
    def num_classes(self) -> int:
        return self.offsets.shape[0]

    @property
    def width(self) -> int:
        return self.offsets.shape[1]

    @property
    def means(self) -> Tensor:
        """Class means (N, M), float64; NaN for a class without samples."""
        return (self.origin + self.offsets).masked_fill((self.counts == 0)[:, None], torch.nan)

    @property
    def scatter(self) -> Tensor:
        """Within-class scatter (M, M), float64: sum_n w_n sum_i (h_i - h_n)(h_i - h_n)^T."""
        return unpacked(self.packed, self.width)

    @property
    def absent(self) -> list[int]:
        """Classes without a sample."""
        absent: list[int] = torch.nonzero(self.counts == 0)[:, 0].tolist()
        return absent

    def centered(self, by_sample: bool = False) -> Tensor:
        """Class means (N, M) minus hbar: the mean of the class means, or with `by_sample` the mean of all samples."""
        return less_center(self.offsets, self.counts, by_sample)

    @cached_property
    def scale(self) -> Tensor:
        """Root mean square of each feature, (M,); the rounding error of a stored feature is proportional to it."""
        size = self.num_classes if self.final is not None else self.counts.sum()
        means = torch.linalg.vector_norm(self.offsets + self.origin, dim=0).square() / self.num_classes
        variances = torch.cat([panel.diagonal() for _, panel in panels(self.packed, self.width)])
        scale: Tensor = (means + variances / size).sqrt()
        return scale

    @cached_property
    def axes(self) -> Axes:
        """The axes of Sigma_B, computed about the mean of the class means; the means must be finite."""
        return axes_of(self.centered(), self.scale, self.epsilon, int(self.counts.sum()))

    def variances(self, directions: Tensor, averaged: bool = True) -> Tensor:
        """d^T Sigma_W d for each row d of `directions` (r, M), as (r,); see `within` for Sigma_W and errors."""
        return along(self.packed, directions) / self.within_size(averaged)

    @cached_property
    def axis_variances(self) -> Tensor:
        """The class-averaged within-class variance along each of the `axes`, (r,)."""
        return self.variances(self.axes.directions)

    def present(self) -> ClassMoments:
        """Drop the classes without samples: the others are renumbered from 0, and N becomes their number."""
        seen = self.counts > 0
        final = None if self.final is None else self.final[seen]
        return ClassMoments(
            self.counts[seen],
            self.origin,
            self.offsets[seen],
            self.packed,
            self.spread[seen],
            final,
            self.epsilon,
        )

    def within(self, averaged: bool = True) -> Tensor:
        """Sigma_W (M, M), pooled over samples, or with `averaged` the mean of the class covariances (weight 1/N each).

        The two are equal for equal counts. Raises ValueError as `within_size` does.
        """
        return self.scatter / self.within_size(averaged)

    def within_size(self, averaged: bool = True) -> int:
        """The number by which the scatter is divided to give Sigma_W: the number of samples, or N with final counts.

        Raises ValueError if class counts are unequal and the scatter was summed for the other kind of Sigma_W, and if
        the announced final `counts` differ from the counts seen.
        """
        total, equal = int(self.counts.sum()), bool((self.counts == self.counts[0]).all())
        if self.final is None:
            if averaged and not equal:
                raise ValueError(
                    "the class-averaged scatter of unequal class counts needs the final counts while it is summed: "
                    "build the moments with counts=, or choose another convention"
                )
            return total
        if not torch.equal(self.counts, self.final):
            raise ValueError(
                f"the class counts announced with counts= must equal those seen, got {total} of "
                f"{int(self.final.sum())} samples: merge every chunk, or correct counts="
            )
        if not averaged and not equal:
            raise ValueError(
                "the pooled scatter was requested, but moments built with counts= hold the class-averaged scatter: "
                "build them without counts="
            )
        return self.num_classes

    def __add__(self, other: ClassMoments) -> ClassMoments:
        """Moments of both sets together; the two must have the same classes, width and final counts."""
        _check_mergeable(self, other)
        counts = self.counts + other.counts
        share = (other.counts.to(torch.float64) / counts.clamp(min=1))[:, None]  # (N, 1)
        delta = other.offsets + (other.origin - self.origin)
        delta -= self.offsets
        offsets = torch.addcmul(self.offsets, share, delta).masked_fill_((counts == 0)[:, None], 0.0)
        weight = self.counts * share[:, 0]  # K_a K_b / (K_a + K_b): 0 if only one of the two sets has the class
        delta.masked_fill_((weight == 0)[:, None], 0.0)
        spread = self.spread + other.spread + weight * torch.linalg.vector_norm(delta, dim=1).square()
        if self.final is not None:
            weight = weight / self.final.clamp(min=1)
        delta *= weight.sqrt()[:, None]
        packed = self.packed + other.packed
        add_gram_(packed, delta)
        epsilon = max(self.epsilon, other.epsilon)
        return ClassMoments(counts, self.origin, offsets, packed, spread, self.final, epsilon)


class MomentStream:
    """Accumulates `ClassMoments`: call `update` with each chunk as it comes, and `moments()` at any time.

    Deviations in a class are taken from a reference point: the class mean in the first chunk that contains the class.
    So a chunk costs half a float64 product X^T X (the upper triangle) and no M x M allocation. Memory: half an M x M
    matrix and two N x M matrices.

    Args: `num_classes` N; `counts` (N,) final class counts, for the class-averaged scatter (see `ClassMoments`).

    >>> import torch
    >>> stream = MomentStream(num_classes=2)
    >>> for chunk in torch.arange(8.0).reshape(4, 2, 1):
    ...     stream.update(chunk, torch.tensor([0, 1]))
    >>> stream.moments().means.flatten().tolist()
    [3.0, 4.0]
    """

    _counts: Tensor  # (N,) samples seen
    _references: Tensor  # (N, M) the reference point of each class
    _sums: Tensor  # (N, M) sum of h - reference
    _packed: Tensor  # (P,) weighted outer products of h - reference, upper panels
    _spread: Tensor  # (N,) sum of ||h - reference||^2

    def __init__(self, num_classes: int, counts: Tensor | Sequence[int] | None = None) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes}")
        self._num_classes = num_classes
        self._final = None if counts is None else integers("counts", counts)
        if self._final is not None and (self._final.shape != (num_classes,) or bool((self._final < 0).any())):
            raise ValueError(f"counts must be {num_classes} non-negative class counts, got {counts}")
        self._epsilon = 0.0
        self._started = False
        self._moved = False  # a class occurred in a second chunk, so its reference is no longer its mean

    def update(self, features: Tensor, labels: Tensor) -> None:
        """Add a chunk: `features` (B, M) of any float dtype and integer `labels` (B,)."""
        features, labels = checked(features, labels, self._num_classes)
        if not self._started:
            self._allocate(features)
        elif features.shape[1] != self._sums.shape[1]:
            raise ValueError(f"features must keep their width {self._sums.shape[1]}, got {features.shape[1]}")
        dtype = features.dtype if features.is_floating_point() else torch.float64
        self._epsilon = max(self._epsilon, torch.finfo(dtype).eps)
        added = torch.bincount(labels, minlength=self._num_classes)
        fresh = (self._counts == 0) & (added > 0)
        if fresh.any():
            self._place(features, labels, fresh, added)
        self._moved = self._moved or bool(((self._counts > 0) & (added > 0)).any())
        self._counts += added
        for rows in blocks(features):
            owners = labels[rows]
            centered = features[rows].to(torch.float64) - self._references[owners]
            add_by_class_(self._sums, owners, centered)
            add_by_class_(self._spread, owners, torch.linalg.vector_norm(centered, dim=1).square_())
            if self._final is not None:
                centered *= self._final[owners].to(torch.float64).rsqrt_()[:, None]
            add_gram_(self._packed, centered)

    def moments(self) -> ClassMoments:
        """The moments of all chunks so far, as a value that later updates do not change."""
        return copy.deepcopy(self)._close()

    def _allocate(self, features: Tensor) -> None:
        N, M = self._num_classes, features.shape[1]
        self._counts = torch.zeros(N, dtype=torch.int64, device=features.device)
        zeros = torch.zeros(0, dtype=torch.float64, device=features.device).new_zeros
        self._references, self._sums, self._spread = zeros(N, M), zeros(N, M), zeros(N)
        self._packed = zeros(packed_size(M))
        self._final = None if self._final is None else self._final.to(features.device)
        self._started = True

    def _place(self, features: Tensor, labels: Tensor, fresh: Tensor, added: Tensor) -> None:
        """Set the reference of each class that appears for the first time to its mean in this chunk."""
        for rows in blocks(features):
            owners, block = labels[rows], features[rows].to(torch.float64)
            if not fresh.all():
                keep = fresh[owners]
                owners, block = owners[keep], block[keep]
            add_by_class_(self._references, owners, block)
        self._references[fresh] /= added[fresh, None]

    def _close(self) -> ClassMoments:
        """Turn the sums about the references into moments, in place; the stream cannot be used afterwards."""
        if not self._started:
            raise ValueError("moments need features, got none: call update with a chunk first")
        seen, size = self._counts > 0, self._counts.to(torch.float64)
        origin = self._references[int(seen.to(torch.int64).argmax())].clone()
        drift = self._sums.div_(self._counts.clamp(min=1)[:, None])  # (N, M) class mean minus reference
        offsets = self._references.sub_(origin).add_(drift).masked_fill_(~seen[:, None], 0.0)
        spread = self._spread.sub_(size * torch.linalg.vector_norm(drift, dim=1).square_()).clamp_(min=0.0)
        if self._moved:
            weight = size if self._final is None else size / self._final.clamp(min=1)
            add_gram_(self._packed, drift.mul_(weight.sqrt()[:, None]), sign=-1.0)
        return ClassMoments(self._counts, origin, offsets, self._packed, spread, self._final, self._epsilon)


def _check_mergeable(one: ClassMoments, other: ClassMoments) -> None:
    if one.offsets.shape != other.offsets.shape:
        raise ValueError(
            f"moments to add must have the same classes and width, got (N, M) {tuple(one.offsets.shape)} and "
            f"{tuple(other.offsets.shape)}"
        )
    equal = torch.equal(one.final, other.final) if one.final is not None and other.final is not None else False
    if not equal and not (one.final is None and other.final is None):
        raise ValueError("moments to add must have the same final counts: give every part the same counts=")
