"""The parameters of the memorization-dilation model (MD Definition 4.1), as one frozen object for all solvers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from .laws import Law, named
from .logit_losses import KINDS, Kind
from .parameters import Array, broadcast, non_negative, positive, smoothing

__all__ = ["LawLike", "Problem", "two_class_geometry"]

LawLike: TypeAlias = str | Law


@dataclass(frozen=True)
class Problem:
    """A parameter point of the model, or a sweep: the first five parameters may be arrays, which are broadcast.

    Args:
        alpha: the parameter of the loss; for smoothing and relaxation in [0, 1), where 0 is cross entropy.
        lambda_w: penalty on the classifier, above 0.
        lambda_h: penalty on the features, above 0.
        eta: n_corrupted / n_clean, at least 0 (nominal Uniform(.4) is .25).
        slope: C_MD, above 0; C_MD / D for a scale-free model.
        law: the law of the spread of a class: one of `laws.LAWS`, or a `laws.Law` from samples or a density.
        width: M, at least 2.
        loss: one of `KINDS` (`docs/theory/losses.md`).

    Raises:
        ValueError: a parameter outside its domain, or an unknown law or loss.

    >>> Problem(alpha=1.5)
    Traceback (most recent call last):
    ValueError: alpha must be in [0, 1), got 1.5
    """

    alpha: ArrayLike = 0.1
    lambda_w: ArrayLike = 1e-3
    lambda_h: ArrayLike = 1e-3
    eta: ArrayLike = 0.003
    slope: ArrayLike = 1.0
    law: LawLike = "circle"
    width: int = 2
    loss: Kind = "smoothing"

    def __post_init__(self) -> None:
        if self.width < 2:
            raise ValueError(f"width must be at least N = 2, got {self.width}")
        if self.loss not in KINDS:
            raise ValueError(f"loss must be one of {', '.join(KINDS)}, got {self.loss!r}")
        if self.loss in ("smoothing", "relaxation"):
            smoothing(self.alpha)
        positive("lambda_w", self.lambda_w)
        positive("lambda_h", self.lambda_h)
        non_negative("eta", self.eta)
        positive("slope", self.slope)
        self.spread  # noqa: B018  raises ValueError for an unknown law

    @property
    def spread(self) -> Law:
        """The law as a `Law`."""
        return self.law if isinstance(self.law, Law) else named(self.law, self.width)

    @property
    def beta(self) -> Array:
        """The slope of a two-class loss at an infinite gap: alpha/2 for smoothing, alpha for relaxation."""
        return np.asarray(self.alpha, dtype=np.float64) / (2 if self.loss == "smoothing" else 1)

    @property
    def distance(self) -> Array:
        """D, the distance between class means under smoothing or relaxation, in the shape of alpha and the lambdas."""
        l_w, l_h = (np.asarray(one, dtype=np.float64) for one in (self.lambda_w, self.lambda_h))
        _, norm, _ = two_class_geometry(self.beta, l_w, l_h)
        return np.asarray(np.sqrt(2) * norm)

    def columns(self) -> tuple[tuple[int, ...], list[Array]]:
        """The common shape of alpha, lambda_w, lambda_h, eta and slope, and these five broadcast and flattened."""
        numbers = (self.alpha, self.lambda_w, self.lambda_h, self.eta, self.slope)
        return broadcast(*(np.asarray(one, dtype=np.float64) for one in numbers))


def two_class_geometry(beta: Array, lambda_w: Array, lambda_h: Array) -> tuple[Array, Array, Array]:
    """(d, a, C) of Assumption 4.2.1, where the losses of both classes are summed: c = beta + sqrt(2 lambda_W lambda_H).

    beta is the slope of the loss at an infinite gap: alpha/2 for smoothing, alpha for relaxation. All are (P,).
    """
    c = beta + np.sqrt(2 * lambda_w) * np.sqrt(lambda_h)
    gap = np.where(c < 0.5, np.log1p(np.maximum(1 - 2 * c, 0) / c), 0.0)
    return gap, np.sqrt(gap * np.sqrt(lambda_w / (2 * lambda_h))), np.sqrt(2 * lambda_h / lambda_w)
