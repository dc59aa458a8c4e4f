"""Class means under each loss: the symmetric minimum of the layer-peeled model.

In a symmetric configuration, the h_n are orthogonal with ||h_n|| = a, and w_n = C (h_n - hbar) (for squared error on
logits: w_n = C h_n). Restricted to these configurations, the problem is one-dimensional: minimize ell(d) + cost d over
the logit gap d >= 0. For convex losses, the global minimum is symmetric; `docs/theory/losses.md` has the proof. It also
shows where the free solver finds lower minima for the other losses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import ArrayLike

from .layer_peeled import layer_peeled
from .logit_losses import LogitLoss
from .parameters import Array, class_count, positive

__all__ = ["Geometry", "class_geometry"]


@dataclass(frozen=True)
class Geometry:
    """One symmetric configuration of the layer-peeled model.

    Attributes:
        num_classes: N.
        gap: the logit gap d.
        feature_norm: a, the norm of a class mean.
        classifier_scale: C of w_n = C (h_n - hbar).
        value: the value of the objective.
        collapsed: whether the class means are 0.
        certified: whether the configuration is the global minimum of the free problem, by convexity; otherwise it is
            only the best symmetric configuration.
        stationary_gaps: all stationary gaps of the reduced problem, including 0.
        logit_scale: k = C a. A feature sum_n u_n h_n / a has the logits k u_n (up to a common shift for centered
            losses).
        distance: D, the distance between two class means.
    """

    num_classes: int
    gap: float
    feature_norm: float
    classifier_scale: float
    value: float
    collapsed: bool
    certified: bool
    stationary_gaps: tuple[float, ...]

    @property
    def logit_scale(self) -> float:
        """k = C a."""
        return self.classifier_scale * self.feature_norm

    @property
    def distance(self) -> float:
        """D = ||h_m - h_n|| = a sqrt(2)."""
        return float(np.sqrt(2) * self.feature_norm)


def class_geometry(loss: LogitLoss, num_classes: int = 2, lambda_w: float = 1e-3, lambda_h: float = 1e-3) -> Geometry:
    """The symmetric minimum of (1/N) sum_n loss(W h_n) + lambda_W ||W||^2 + lambda_H ||H||^2 with H >= 0.

    For relaxation, the formulas of label smoothing hold with alpha N/(N-1) in place of alpha. For squared error on
    logits, the singular values of W H are shrunk to 1 - N^2 sqrt(lambda_W lambda_H). For robust log and squared error
    on probabilities, the gaps are roots of a cubic in e^d or in p.

    Args:
        loss: any of `KINDS`, with its alpha.
        num_classes: N >= 2.
        lambda_w: penalty on the classifier, above 0.
        lambda_h: penalty on the features, above 0.

    Raises:
        ValueError: a parameter outside its domain.

    >>> relaxed = class_geometry(LogitLoss("relaxation", .1), 2, 1e-3, 1e-3)
    >>> smoothed = class_geometry(LogitLoss("smoothing", .2), 2, 1e-3, 1e-3)
    >>> abs(relaxed.feature_norm - smoothed.feature_norm) < 1e-12
    True
    """
    N = int(class_count(num_classes))
    l_w, l_h = float(positive("lambda_w", lambda_w)), float(positive("lambda_h", lambda_h))
    root = float(np.sqrt(l_w) * np.sqrt(l_h))
    if loss.kind == "squared":
        gap = max(0.0, 1 - N * N * root)
        gaps: tuple[float, ...] = (gap,) if gap > 0 else (0.0,)
        scale, norm = float(np.sqrt(l_h / l_w)), float(np.sqrt(gap * np.sqrt(l_w / l_h)))
        return _geometry(loss, N, gap, norm, scale, 2 * N * root, gaps)
    cost = 2 * float(np.sqrt(N * (N - 1))) * root
    scale = float(np.sqrt(N * l_h / ((N - 1) * l_w)))
    if loss.kind == "smoothing":
        solved = layer_peeled(N, loss.alpha, l_w, l_h)
        gaps = (0.0, float(solved.gap)) if solved.gap > 0 else (0.0,)
    elif loss.kind == "relaxation":
        c = loss.alpha + cost
        at = float(np.log1p(max(0.0, N - 1 - N * c) / c))
        gaps = (0.0, at) if at > 0 else (0.0,)
    else:
        gaps = (0.0, *_stationary_gaps(loss, N, cost))
    values = [_symmetric_loss(loss, N, gap) + cost * gap for gap in gaps]
    best = gaps[int(np.argmin(values))]
    return _geometry(loss, N, best, float(np.sqrt(cost * best / (2 * N * l_h))), scale, cost, gaps)


def _geometry(
    loss: LogitLoss, N: int, gap: float, norm: float, scale: float, cost: float, gaps: tuple[float, ...]
) -> Geometry:
    value = _symmetric_loss(loss, N, gap) + cost * gap
    return Geometry(N, gap, norm, scale, value, gap == 0, loss.convex, gaps)


def _symmetric_loss(loss: LogitLoss, N: int, gap: float) -> float:
    """The loss at logits (d, 0, ..., 0) with the first class observed."""
    logits, counts = np.array([[gap, 0.0]]), np.array([1.0, N - 1.0])
    return float(loss(logits, np.array([0]), counts)[0][0])


def _stationary_gaps(loss: LogitLoss, N: int, cost: float) -> tuple[float, ...]:
    """Zeros of ell'(d) + cost for d > 0 under the two bounded losses, as roots of a cubic."""
    if loss.kind == "squared-probabilities":  # ell = (1-p)^2 N/(N-1), p' = p (1-p)
        p = Polynomial([0, 1])
        cubic = 2 * N / (N - 1) * p * (1 - p) ** 2 - cost
        roots = _real(cubic.roots())
        return tuple(float(np.log((N - 1) * r / (1 - r))) for r in roots if 1 / N < r < 1)
    alpha, E = loss.alpha, Polynomial([0, 1])  # E = e^d
    S = E + (N - 1)
    cubic = E * ((N - 1) * (alpha * S + 1) + (alpha * S + E)) - cost * S * (alpha * S + E) * (alpha * S + 1)
    return tuple(float(np.log(r)) for r in _real(cubic.roots()) if r > 1)


def _real(roots: ArrayLike) -> Array:
    values = np.atleast_1d(np.asarray(roots))
    return np.sort(values.real[np.abs(values.imag) <= 1e-9 * (1 + np.abs(values.real))])
