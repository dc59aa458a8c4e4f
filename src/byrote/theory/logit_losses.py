"""The losses of the models as functions of logits, with gradients, in float64 numpy.

Logits are grouped: group g stands for `counts[g]` classes with equal logits. So the same code handles a full row of N
logits (all counts 1) and the three groups of the multi-class model (the observed class, the true class, and the N - 2
other classes).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from .parameters import Array

__all__ = ["KINDS", "Kind", "LogitLoss"]

Kind: TypeAlias = Literal["smoothing", "relaxation", "squared", "squared-probabilities", "robust-log"]
KINDS: tuple[Kind, ...] = ("smoothing", "relaxation", "squared", "squared-probabilities", "robust-log")


@dataclass(frozen=True)
class LogitLoss:
    """A loss by name, with its parameter alpha (not used by the two squared losses).

    smoothing: cross entropy against (1-alpha) e_y + alpha/N.
    relaxation: 0 if p_y > 1-alpha, else (1-alpha) log((1-alpha)/p_y) + alpha log(alpha/(1-p_y)).
    squared: mean over classes of (z - e_y)^2.
    squared-probabilities: sum over classes of (p - e_y)^2.
    robust-log: log((alpha+1)/alpha) - log(alpha+p_y) + sum_{k != y} log(alpha+p_k)/(N-1).

    >>> import numpy as np
    >>> loss = LogitLoss("smoothing", 0.)
    >>> value, gradient = loss(np.zeros((1, 3)), np.array([0]), np.ones(3))
    >>> round(float(value[0]), 4), gradient.round(3).tolist()
    (1.0986, [[-0.667, 0.333, 0.333]])
    """

    kind: Kind
    alpha: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"loss must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if self.kind == "robust-log" and not (np.isfinite(self.alpha) and self.alpha > 0):
            raise ValueError(f"robust-log needs alpha above 0, got {self.alpha:g}")
        if self.kind in ("smoothing", "relaxation") and not 0 <= self.alpha < 1:
            raise ValueError(f"{self.kind} needs alpha in [0, 1), got {self.alpha:g}")

    @property
    def convex(self) -> bool:
        """Whether the loss is convex in the logits, which the certificates need."""
        return self.kind in ("smoothing", "relaxation", "squared")

    @property
    def centered(self) -> bool:
        """Whether a common shift of all logits leaves the loss unchanged.

        If so, the rows w_n of the best classifier are parallel to h_n - hbar, otherwise to h_n.
        """
        return self.kind != "squared"

    def __call__(self, logits: Array, labels: NDArray[np.intp], counts: Array) -> tuple[Array, Array]:
        """Return values (...) and gradients (..., G) at logits (..., G); the group of each label (...) is one class."""
        own = np.arange(logits.shape[-1]) == np.asarray(labels)[..., None]  # (..., G)
        total = float(counts.sum())  # N
        if self.kind == "smoothing":
            target = (1 - self.alpha) * own + self.alpha / total * counts
            value = logsumexp_of(logits, counts) - (target * logits).sum(axis=-1)
            return value, counts * softmax_of(logits, counts) - target
        if self.kind == "relaxation":
            return self._relaxation(logits, own, counts)
        if self.kind == "squared":
            return (counts * (logits - own) ** 2).sum(axis=-1) / total, 2 * counts * (logits - own) / total
        p = softmax_of(logits, counts)
        if self.kind == "squared-probabilities":
            value, by_p = (counts * (p - own) ** 2).sum(axis=-1), 2 * counts * (p - own)
        else:
            signs = np.where(own, -1.0, counts / (total - 1))
            value = np.log1p(1 / self.alpha) + (signs * np.log(self.alpha + p)).sum(axis=-1)
            by_p = signs / (self.alpha + p)
        return value, p * (by_p - counts * (by_p * p).sum(axis=-1, keepdims=True))

    def _relaxation(self, logits: Array, own: NDArray[np.bool_], counts: Array) -> tuple[Array, Array]:
        """Values and gradients from the margin g = z_y - logsumexp of the other logits, where p_y = sigmoid(g).

        The loss is convex in the logits, because it is a convex, non-increasing function of g, and g is concave.
        """
        others = np.where(own, -np.inf, logits)
        margin = (own * logits).sum(axis=-1) - logsumexp_of(others, counts)
        alpha = self.alpha
        floor = (1 - alpha) * np.log1p(-alpha) + (alpha * np.log(alpha) if alpha > 0 else 0.0)
        slope = np.minimum(alpha - expit(-margin), 0.0)  # 0 for p_y >= 1 - alpha
        value = np.where(slope < 0, np.logaddexp(0, -margin) + alpha * margin + floor, 0.0)
        return value, slope[..., None] * (own - counts * softmax_of(others, counts))


def logsumexp_of(logits: Array, counts: Array) -> Array:
    """The logarithm of the sum of exp(logit) over all classes."""
    top = logits.max(axis=-1)
    return np.asarray(top + np.log((counts * np.exp(logits - top[..., None])).sum(axis=-1)))


def softmax_of(logits: Array, counts: Array) -> Array:
    """The probability of a single class in each group; the sum of probabilities times `counts` is 1."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / (counts * powers).sum(axis=-1, keepdims=True))
