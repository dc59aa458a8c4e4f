"""The two-class memorization-dilation model under a bounded loss: all stationary points are found at once.

Robust log loss and squared error on probabilities are not convex, so the model can have several minima. At N = 2 both
losses depend only on the margin x - y of u = x h_j/a + y h_i/a. At every point that meets the stationarity conditions,
x, y, the distance t = ||u - h_i|| and the multiplier m are explicit functions of delta = x - y, as in `dilation`. One
scalar equation remains, m t = (D / C_MD) F'(r). A grid separates its roots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from .geometry import Geometry, class_geometry
from .laws import plane_nodes
from .logit_losses import LogitLoss
from .parameters import Array, Real, broadcast, positive, unwrap
from .problem import LawLike, Problem

__all__ = ["Bounded", "BoundedDilation", "bounded_dilation"]

Bounded = Literal["robust-log", "squared-probabilities"]

_EVEN = np.linspace(-0.99, 0.99, 97)  # delta / a
# u moves from h_j (omega = 0) to h_i. The steps are even in delta. Near h_i, where r varies over many orders of
# magnitude, there are four points per decade; near h_j, where both sides of the equation are smooth in omega, a bracket
# is enough.
_OMEGA = np.unique(
    np.concatenate(
        [[1e-13, 1e-9, 1e-6, 1e-4, 1e-3], (1 - _EVEN) / (1 + _EVEN), np.geomspace(1e2, 1e7, 21), [1e10, 1e13]]
    )
)
_STEPS = 60


@dataclass(frozen=True)
class BoundedDilation:
    """The global minimum of the two-class model; each field is a number, or an array for a sweep.

    Attributes:
        r, dilation, memorization, distance, value, collapsed: see `Dilation`.
        observed: coordinate of u along h_j, where u = observed h_j/||h_j|| + true h_i/||h_i||.
        true: coordinate of u along h_i.
        stationary: the number of stationary points; three if there are two minima.
    """

    r: Real
    dilation: Real
    memorization: Real
    distance: float
    observed: Real
    true: Real
    value: Real
    stationary: int | NDArray[np.int64]
    collapsed: bool


def bounded_dilation(problem: Problem, scale_free: bool = False) -> BoundedDilation:
    """Compute memorization and dilation at the global minimum of the two-class model under a bounded loss.

    Why: `multiclass_dilation` searches from five starts for any N. At N = 2 the roots of one scalar equation are all
    the stationary points, so no minimum is missed, and many parameter points can be solved together. Tests show that
    the two functions agree.

    Args:
        problem: a problem with the loss robust-log (alpha above 0) or squared-probabilities (alpha is unused), and a
            law in the plane (two-point, segment, circle, disc, or samples). alpha and the lambdas are numbers; eta
            (above 0) and slope may be arrays.
        scale_free: whether memorization is measured in units of D, so that `slope` is C_MD / D.

    Returns:
        The optimum; zeros if the class means have collapsed.

    Raises:
        ValueError: a parameter outside its domain, a different loss, or a law that is not in the plane.

    >>> from byrote.theory import multiclass_dilation
    >>> problem = Problem(eta=.1, loss="robust-log")
    >>> abs(bounded_dilation(problem).dilation / multiclass_dilation(problem, 2).dilation - 1) < 1e-9
    True
    """
    loss = problem.loss
    if loss != "robust-log" and loss != "squared-probabilities":
        raise ValueError(f"loss must be robust-log or squared-probabilities, got {loss!r}")
    shape, (rates, slopes) = broadcast(positive("eta", problem.eta), np.asarray(problem.slope, dtype=np.float64))
    alpha, lambda_w, lam = (float(np.asarray(one)) for one in (problem.alpha, problem.lambda_w, problem.lambda_h))
    geometry = class_geometry(LogitLoss(loss, alpha), 2, lambda_w / 2, lam / 2)
    if geometry.collapsed:
        zero = unwrap(np.zeros(rates.size), shape)
        none = 0 if shape == () else np.zeros(shape, dtype=np.int64)
        return BoundedDilation(zero, zero, zero, 0.0, zero, zero, zero, none, True)
    reduced = _Two.of(loss, alpha, geometry, lam, problem.law)
    constant = slopes * geometry.distance if scale_free else slopes
    omega, count = _best(reduced, rates, constant)
    x, y, t, _ = reduced.path(omega)
    r = rates * geometry.distance / constant * t
    value = 2 * (reduced.clean(r) + rates * reduced.noisy(x, y))
    results = (r, r / geometry.distance, rates * t, x, y, value)
    r_, dilation, memorization, observed, true, worth = (unwrap(one, shape) for one in results)
    number = int(count[0]) if shape == () else count.reshape(shape)
    return BoundedDilation(r_, dilation, memorization, geometry.distance, observed, true, worth, number, False)


@dataclass(frozen=True)
class _Two:
    """The loss psi as a function of the margin, for the geometry shared by all points of a sweep."""

    loss: Bounded
    alpha: float
    a: float
    k: float
    penalty: float
    nodes: tuple[Array, Array]  # Z, the margin of the spread at r = 1, and its weights, (Q,) each

    @classmethod
    def of(cls, loss: Bounded, alpha: float, geometry: Geometry, penalty: float, law: LawLike) -> _Two:
        points, weights = plane_nodes(law)
        Z, at = np.unique((points[:, 0] - points[:, 1]).round(14), return_inverse=True)  # a circle has each Z twice
        return cls(
            loss,
            alpha,
            geometry.feature_norm,
            geometry.logit_scale,
            penalty,
            (Z, np.bincount(at, weights).astype(np.float64)),
        )

    def psi(self, w: Array) -> Array:
        """The loss at the margin w."""
        p, q = expit(w), expit(-w)
        if self.loss == "robust-log":
            return np.asarray(np.log1p(1 / self.alpha) - np.log(self.alpha + p) + np.log(self.alpha + q))
        return np.asarray(2 * q * q)

    def descent(self, w: Array) -> Array:
        """-psi'(w). With p the probability of the observed class and q = 1 - p, it is 4 p q^2 for the squared error and
        p q (1/(alpha + p) + 1/(alpha + q)) for robust log, where (alpha + p)(alpha + q) = alpha^2 + alpha + p q.
        """
        e = np.exp(-np.abs(w))
        both = e / ((1 + e) * (1 + e))  # p q
        if self.loss == "robust-log":
            return np.asarray((1 + 2 * self.alpha) * both / (self.alpha * (1 + self.alpha) + both))
        return np.asarray(4 * both * np.where(w < 0, 1.0, e) / (1 + e))

    def clean(self, r: Array) -> Array:
        """F(r) of one class: the expected loss and penalty of a clean sample."""
        Z, weights = self.nodes
        return np.asarray(self.psi(self.k * (self.a + r[..., None] * Z)) @ weights + self.penalty * (self.a**2 + r * r))

    def clean_slope(self, r: Array) -> Array:
        """F'(r)."""
        Z, weights = self.nodes
        pull = self.descent(self.k * self.a + (self.k * r)[..., None] * Z) @ (weights * Z)
        return np.asarray(2 * self.penalty * r - self.k * pull)

    def noisy(self, x: Array, y: Array) -> Array:
        """phi at u = (x, y)."""
        return np.asarray(self.psi(self.k * (x - y)) + self.penalty * (x * x + y * y))

    def path(self, omega: Array) -> tuple[Array, Array, Array, Array]:
        """(x, y, t, m t) at delta = a - theta, theta = 2a omega/(1+omega), as in `dilation`."""
        a, lam = self.a, self.penalty
        tau, theta = 2 * a / (1 + omega), 2 * a * (omega / (1 + omega))
        delta = a - theta
        g = self.k * self.descent(self.k * delta)
        far = g + 2 * lam * a
        side, top = np.hypot(g, far), g + far
        inside = g * theta >= 2 * lam * a * delta  # y >= 0
        x, t = np.where(inside, a, delta), np.hypot(delta, a)
        return (
            np.where(inside, g * tau / top, x),
            np.where(inside, a - far * tau / top, 0.0),
            np.where(inside, tau * side / top, t),
            np.where(inside, 2 * (g - lam * delta) * side / top, (g / x - 2 * lam) * t),
        )

    def balance(self, omega: Array, eta: Array, slope: Array) -> Array:
        """m t - (D / C_MD) F'(r): 0 at a stationary point, above 0 where u must move further away from h_i."""
        _, _, t, force = self.path(omega)
        reach = np.sqrt(2) * self.a / slope
        return np.asarray(force - reach * self.clean_slope(eta * reach * t))


def _best(problem: _Two, eta: Array, slope: Array) -> tuple[Array, NDArray[np.int64]]:
    """omega at the stationary point with the lowest risk, and the number of stationary points, (P,) each."""
    heights = problem.balance(_OMEGA[None, :], eta[:, None], slope[:, None])  # (P, G)
    heights[:, 0], heights[:, -1] = np.minimum(heights[:, 0], 0.0), np.maximum(heights[:, -1], 0.0)
    point, cell = np.nonzero((heights[:, :-1] <= 0) != (heights[:, 1:] <= 0))
    ends = (heights[point, cell], heights[point, cell + 1])
    omega = _roots(problem, eta[point], slope[point], (_OMEGA[cell], _OMEGA[cell + 1]), ends)
    x, y, t, _ = problem.path(omega)
    risk = problem.clean(eta[point] * np.sqrt(2) * problem.a / slope[point] * t) + eta[point] * problem.noisy(x, y)
    order = np.lexsort((risk, point))
    count = np.bincount(point, minlength=len(eta))
    return omega[order][np.cumsum(count) - count], count


def _roots(
    problem: _Two, eta: Array, slope: Array, bracket: tuple[Array, Array], heights: tuple[Array, Array]
) -> Array:
    """Find one root per bracket, in log omega, by regula falsi in the Illinois variant."""
    low, high = np.log(bracket[0]), np.log(bracket[1])
    below, above = heights[0].copy(), heights[1].copy()
    side = np.zeros(len(low))  # which end of the bracket moved last
    middle = low
    for _ in range(_STEPS):
        apart = above - below
        middle = np.where(apart != 0, (low * above - high * below) / np.where(apart != 0, apart, 1.0), low)
        here = problem.balance(np.exp(middle), eta, slope)
        moves_low = (here <= 0) == (below <= 0)
        step = np.where(moves_low, middle - low, high - middle)
        now = np.where(moves_low, -1.0, 1.0)
        again = now == side
        low, high = np.where(moves_low, middle, low), np.where(moves_low, high, middle)
        below, above = (
            np.where(moves_low, here, np.where(again, below / 2, below)),
            np.where(moves_low, np.where(again, above / 2, above), here),
        )
        side = now
        if (np.minimum(np.abs(step), high - low) <= 1e-14 * np.maximum(1.0, np.abs(middle))).all():
            break
    return np.exp(middle)
