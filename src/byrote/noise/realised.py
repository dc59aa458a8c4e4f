"""Measure the noise that a set of labels actually has: counts, matrix and rate."""

import math
from dataclasses import dataclass

import torch

from byrote import checks

__all__ = ["Realised", "realised"]


@dataclass(frozen=True)
class Realised:
    """The noise that a set of labels actually has.

    Attributes:
        counts: the number of samples of true class n observed as k, int64 (N, num_outputs).
    """

    counts: torch.Tensor

    @property
    def total(self) -> int:
        """Number of samples."""
        return int(self.counts.sum())

    @property
    def corrupted(self) -> int:
        """The number of samples whose observed label differs from the true label."""
        return self.total - int(self.counts.diagonal().sum())

    @property
    def rate(self) -> float:
        """The share of corrupted samples; NaN without samples."""
        return self.corrupted / self.total if self.total else math.nan

    @property
    def matrix(self) -> torch.Tensor:
        """The share of class n observed as k, float64 (N, num_outputs); the row of a class without samples is NaN."""
        return self.counts.double() / self.counts.sum(1, keepdim=True)

    @property
    def class_rates(self) -> torch.Tensor:
        """The share of corrupted samples in each true class, float64 (N,); NaN for a class without samples."""
        return 1 - self.matrix.diagonal()


def realised(true: torch.Tensor, observed: torch.Tensor, num_classes: int, num_outputs: int | None = None) -> Realised:
    """Count how often each true class was observed as each label.

    Args:
        true: classes in 0..N-1, integers (n,) in any container.
        observed: labels in 0..num_outputs-1, integers (n,) in any container.
        num_classes: N.
        num_outputs: the number of possible observed labels; N by default (2N for latent-class noise).

    Returns:
        A frozen result with `.counts`, `.matrix`, `.rate`, `.corrupted`, `.class_rates`.

    Raises:
        ValueError, TypeError: labels out of range or not integers, or of different lengths.

    Example:
        >>> made = realised(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1]), 2)
        >>> made.rate, made.counts.tolist()
        (0.25, [[1, 1], [0, 2]])
    """
    outputs = num_classes if num_outputs is None else num_outputs
    first = checks.class_labels("true labels", true, num_classes).detach().cpu()
    second = checks.class_labels("observed labels", observed, outputs).detach().cpu()
    checks.same_length(true=first, observed=second)
    pairs = first * outputs + second
    return Realised(torch.bincount(pairs, minlength=num_classes * outputs).reshape(num_classes, outputs))
