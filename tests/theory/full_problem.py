"""Solve the full memorization-dilation problem by general constrained optimization.

The solution is slow, obvious, and independent of the reduced problem that `byrote.theory.dilation` solves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from byrote.theory.laws import Law, named
from byrote.theory.parameters import Array, non_negative, positive, smoothing
from byrote.theory.problem import LawLike, two_class_geometry

__all__ = ["FullSolution", "full_problem"]


@dataclass(frozen=True)
class FullSolution:
    """The solution found by SLSQP: u_1 and u_2 in R^M, r, the risk, and the largest constraint violation."""

    features: Array
    r: float
    dilation: float
    memorization: float
    value: float
    converged: bool
    iterations: int


def full_problem(
    alpha: float = 0.1,
    lambda_w: float = 1e-3,
    lambda_h: float = 1e-3,
    eta: float = 0.003,
    slope: float = 1.0,
    law: LawLike = "circle",
    width: int = 2,
    seed: int = 0,
) -> FullSolution:
    """Solve the problem of MD Definition 4.1 in all 2 M + 1 variables, with both constraints, from a random start.

    The expectation is a plain sum over 1,200 fixed points. The solution assumes neither symmetry nor an active
    constraint. The arguments are those of `dilation`, but only scalars.

    >>> round(full_problem().dilation, 5)
    0.00605
    """
    chosen = law if isinstance(law, Law) else named(law, width)
    full = _Full.of(alpha, lambda_w, lambda_h, eta, slope, _points(chosen), width)
    generator = np.random.default_rng(seed)
    constraints = [{"type": "ineq", "fun": full.room, "jac": full.room_slope}]
    start = np.concatenate([generator.uniform(0, 1, 2 * width), [2.0]])
    x, best, converged, steps = start, np.inf, False, 0
    for _ in range(6):  # SLSQP sometimes stops early: start it again near where it stopped
        bounds = [(0.0, None)] * (2 * width + 1)
        run = minimize(
            full.risk,
            start,
            jac=True,
            method="SLSQP",
            bounds=bounds,
            constraints=constraints,
            options={"ftol": 1e-14, "maxiter": 200},
        )
        end = run.x.copy()
        end[-1] -= full.room(end).min()  # the smallest feasible r for these u
        value = full.risk(end)[0]
        steps += int(run.nit)
        if value < best:
            x, best, converged = end, value, bool(run.success)
        if run.success:
            break
        start = np.maximum(x * (1 + 1e-3 * generator.standard_normal(2 * width + 1)), 0)
    features, r = full.a * x[:-1].reshape(2, width), full.unit * float(x[-1])
    apart = np.linalg.norm(features - full.a * full.centers, axis=1)
    value = best * full.eta + full.rest
    return FullSolution(features, r, r / full.distance, full.eta * float(apart.max()), value, converged, steps)


@dataclass(frozen=True)
class _Full:
    """Risk and constraints as functions of x = (u_1 / a, u_2 / a, r / r_max).

    The risk at r = 0 without noise is subtracted from the risk, and the result is divided by eta.
    """

    alpha: float
    penalty: float
    eta: float
    gap: float
    a: float
    scale: float
    unit: float
    nodes: tuple[Array, Array]
    width: int

    @classmethod
    def of(
        cls,
        alpha: float,
        lambda_w: float,
        lambda_h: float,
        eta: float,
        slope: float,
        nodes: tuple[Array, Array],
        width: int,
    ) -> _Full:
        smooth, l_w = smoothing(alpha), positive("lambda_w", lambda_w)
        l_h, rate = positive("lambda_h", lambda_h), float(non_negative("eta", eta))
        gap, a, scale = (float(one) for one in two_class_geometry(smooth / 2, l_w, l_h))
        if gap == 0 or rate == 0:
            raise ValueError("the full problem needs eta above 0 and features that are not collapsed")
        unit = rate * 2 * a * a / float(positive("slope", slope))
        return cls(float(smooth), float(l_h), rate, gap, a, scale, unit, nodes, width)

    @property
    def distance(self) -> float:
        return self.a * float(np.sqrt(2))

    @property
    def rest(self) -> float:
        return self.clean(0.0)[0]

    @property
    def centers(self) -> Array:
        """The true class means of u_1 and u_2: h_2 / a and h_1 / a."""
        return np.eye(2, self.width)[::-1]

    def clean(self, r: float) -> tuple[float, float]:
        """Return F(r), the loss of clean samples, and its slope."""
        Z, weights = self.nodes
        q = self.scale * self.distance
        w = self.gap + q * r * Z
        value = weights @ (np.logaddexp(0, -w) + self.alpha / 2 * w) + self.penalty * (self.a**2 + r * r)
        slope = weights @ (q * Z * (self.alpha / 2 - expit(-w))) + 2 * self.penalty * r
        return 2 * float(value), 2 * float(slope)

    def noisy(self, u: Array, sign: float) -> tuple[float, Array]:
        """Return the loss of label 1 (sign 1) or 2 (sign -1), with logit gap C <h_1 - h_2, u>, plus the penalty."""
        toward = np.zeros(self.width)
        toward[:2] = sign * self.scale * self.a * np.array([1.0, -1.0])
        w = float(toward @ u)
        value = np.logaddexp(0, -w) + self.alpha / 2 * w + self.penalty * (u @ u)
        return float(value), (self.alpha / 2 - expit(-w)) * toward + 2 * self.penalty * u

    def risk(self, x: Array) -> tuple[float, Array]:
        u1, u2 = self.a * x[:-1].reshape(2, self.width)
        (f, df), (p1, d1), (p2, d2) = self.clean(self.unit * x[-1]), self.noisy(u1, 1.0), self.noisy(u2, -1.0)
        gradient = np.concatenate([self.a * d1, self.a * d2, [self.unit * df / self.eta]])
        return (f - self.rest) / self.eta + p1 + p2, gradient

    def room(self, x: Array) -> Array:
        """Return the slack (C_MD r / D - eta ||u - h||) / (eta D) of each constraint; it is at least 0 if feasible."""
        apart = (x[:-1].reshape(2, self.width) - self.centers) / np.sqrt(2)
        return np.asarray(x[-1] - np.linalg.norm(apart, axis=1))

    def room_slope(self, x: Array) -> Array:
        apart = x[:-1].reshape(2, self.width) - self.centers
        apart = apart / np.maximum(np.linalg.norm(apart, axis=1, keepdims=True), 1e-300) / np.sqrt(2)
        rows = np.zeros((2, x.size))
        rows[0, : self.width], rows[1, self.width : -1], rows[:, -1] = -apart[0], -apart[1], 1.0
        return rows


def _points(law: Law, panels: int = 100) -> tuple[Array, Array]:
    if law.curve is None:
        return law.atoms or (np.zeros(1), np.ones(1))
    position, _, density = law.curve
    nodes, weights = np.polynomial.legendre.leggauss(12)
    theta = ((np.arange(panels)[:, None] + (nodes + 1) / 2) / panels).reshape(-1)
    return position(theta), np.tile(weights / 2, panels) / panels * density(theta)
