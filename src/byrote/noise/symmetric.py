"""Noise that treats all classes alike, and conversion between the meanings of its rate eta."""

import math
from typing import ClassVar, Literal, get_args

import torch
from pydantic import Field

from byrote import checks
from byrote.noise.base import TransitionNoise, at_least_two, transition_matrix, uniforms

__all__ = ["Clean", "Convention", "Symmetric", "Uniform", "convert_rate"]

Convention = Literal["uniform", "symmetric", "odds"]
"""The meaning of a noise rate: redrawn labels, corrupted samples, or corrupted samples per clean sample."""


class Clean(TransitionNoise):
    """No noise: every observed label is the true label.

    >>> Clean().corrupt(torch.tensor([2, 0]), 3, torch.Generator())
    tensor([2, 0])
    """

    rate: ClassVar[float] = 0.0

    def transition(self, num_classes: int) -> torch.Tensor:
        return torch.eye(at_least_two("Clean", num_classes), dtype=torch.float64)


class Uniform(TransitionNoise):
    """With probability eta the label is redrawn from ALL N classes, including the true class.

    T[n, k] = (1 - eta) [n = k] + eta / N, so only eta (N-1)/N of the samples are corrupted: eta / 2 if N = 2.
    This is the law of the memorization-dilation paper (Nguyen et al., ICLR 2023).

    From the same generator state, `Uniform(eta)` and `Symmetric(eta (N-1)/N)` give the same labels, and a larger eta
    corrupts a superset of the samples.

    Args:
        rate: eta, in [0, 1).

    Example:
        >>> Uniform(.4).effective_rate(2)
        0.2
        >>> Uniform(.4).transition(2)
        tensor([[0.8000, 0.2000],
                [0.2000, 0.8000]], dtype=torch.float64)
    """

    rate: float = Field(default=0.2, ge=0, lt=1)

    def transition(self, num_classes: int) -> torch.Tensor:
        N = at_least_two("Uniform", num_classes)
        return _evenly(self.rate * (N - 1) / N, N)

    def _redrawn(self, size: int, generator: torch.Generator) -> torch.Tensor:
        """A sample is redrawn if u < eta; among these, it is corrupted if u < eta (N-1)/N, the flip probability."""
        u, _ = uniforms(size, generator)
        return u < self.rate


class Symmetric(TransitionNoise):
    """With probability eta the label changes to one of the OTHER classes, each with probability eta / (N-1).

    T[n, n] = 1 - eta, T[n, k] = eta / (N-1): eta is the expected share of corrupted samples. This is the law of most
    work on robust losses (Ghosh et al., AAAI 2017; Patel & Sastry, PAKDD 2021). Under this noise, a symmetric loss
    preserves the order of risks for eta < (N-1)/N. A larger eta corrupts a superset of the samples.

    Args:
        rate: eta, in [0, 1).

    Example:
        >>> Symmetric(.4).effective_rate(10)
        0.4
        >>> Symmetric(.4).transition(3)[0]
        tensor([0.6000, 0.2000, 0.2000], dtype=torch.float64)
    """

    rate: float = Field(default=0.2, ge=0, lt=1)

    def transition(self, num_classes: int) -> torch.Tensor:
        return _evenly(self.rate, at_least_two("Symmetric", num_classes))


def _evenly(rate: float, num_classes: int) -> torch.Tensor:
    """The matrix that changes a label with probability `rate`, with equal chance for each other class."""
    away = torch.full((num_classes, num_classes), rate / (num_classes - 1), dtype=torch.float64)
    return transition_matrix(away.fill_diagonal_(0))


def convert_rate(rate: float, num_classes: int, *, source: Convention, target: Convention) -> float:
    """Convert a noise rate from one meaning of eta to another.

    - "uniform": eta of `Uniform`, the share of redrawn labels; the effective rate is eps = eta (N-1)/N.
    - "symmetric": eta of `Symmetric`, the share of corrupted samples; eps = eta. Every model's `effective_rate` and the
      realised rate have this meaning.
    - "odds": corrupted samples per clean sample, eps / (1 - eps): the eta of the memorization-dilation model.

    Args:
        rate: a rate in the meaning `source`, at least 0.
        num_classes: N, at least 2.
        source, target: the two meanings.

    Returns:
        The rate in the meaning `target`.

    Raises:
        ValueError: an unknown meaning, or a rate that is outside [0, 1) (for odds: below 0) before or after conversion.

    Example:
        >>> convert_rate(.4, 2, source="uniform", target="symmetric")
        0.2
        >>> convert_rate(.4, 2, source="uniform", target="odds")
        0.25
        >>> convert_rate(.45, 10, source="symmetric", target="uniform")
        0.5
    """
    checks.one_of("source", source, get_args(Convention))
    checks.one_of("target", target, get_args(Convention))
    if num_classes < 2:
        raise ValueError(f"a noise rate needs at least two classes, got {num_classes}")
    _check_rate(rate, source, "")
    if source == target:
        return rate
    effective = {
        "uniform": rate * (num_classes - 1) / num_classes,
        "symmetric": rate,
        "odds": rate / (1 + rate),
    }[source]
    converted = {
        "uniform": effective * num_classes / (num_classes - 1),
        "symmetric": effective,
        "odds": effective / (1 - effective) if effective < 1 else math.inf,
    }[target]
    _check_rate(converted, target, f", which {source} {rate:g} at N = {num_classes} would be")
    return converted


def _check_rate(rate: float, meaning: Convention, origin: str) -> None:
    if not 0 <= rate < (math.inf if meaning == "odds" else 1):
        wanted = "finite and at least 0" if meaning == "odds" else "in [0, 1)"
        raise ValueError(f"a rate in the meaning {meaning!r} must be {wanted}, got {rate:g}{origin}")
