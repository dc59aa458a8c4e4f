"""The full memorization-dilation problem by general constrained optimisation: slow, obvious, and independent
of the reduction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from .dilation import LawLike, two_class_geometry
from .laws import Law, named
from .optimise import minimise
from .parameters import Array, non_negative, positive, smoothing

__all__ = ["FullSolution", "full_problem"]


@dataclass(frozen=True)
class FullSolution:
    """What SLSQP found for the problem as the paper states it: u_1, u_2 in R^M, r, the risk, the worst
    violated constraint.
    """

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
    """MD Definition 4.1 in all its 2 M + 1 variables, with both constraints, from a random start.

    The expectation is a plain sum over 1,200 fixed points of the law's own parameter; nothing is
    assumed symmetric or active. Arguments as in `dilation`, one point only.

    >>> round(full_problem().dilation, 5)
    0.00605
    """
    chosen = law if isinstance(law, Law) else named(law, width)
    columns = (
        smoothing(alpha),
        positive("lambda_w", lambda_w),
        positive("lambda_h", lambda_h),
        non_negative("eta", eta),
    )
    smooth, l_w, l_h, rate = (float(column) for column in columns)
    C_md = float(positive("slope", slope))
    gap, a, scale = (float(x) for x in two_class_geometry(np.asarray(smooth / 2), np.asarray(l_w), np.asarray(l_h)))
    if gap == 0 or rate == 0:
        raise ValueError("the full problem needs eta above 0 and features that are not collapsed")
    distance, q = float(a * np.sqrt(2)), float(scale * a * np.sqrt(2))
    Z, weights = _points(chosen)
    M = width
    unit = max(rate * distance**2 / C_md, 1e-300)  # variables are u / a and r / r_max

    def clean(r: float) -> tuple[float, float]:
        w = gap + q * r * Z
        value = (weights * (np.logaddexp(0, -w) + smooth / 2 * w)).sum() + l_h * (a * a + r * r)
        return 2 * float(value), 2 * float((weights * q * Z * (smooth / 2 - expit(-w))).sum() + 2 * l_h * r)

    def noisy(u: Array, sign: float) -> tuple[float, Array]:
        """Loss of label 1 (sign 1) or 2 (sign -1), whose logit gap is C <h_1 - h_2, u>."""
        toward = np.zeros(M)
        toward[:2] = sign * scale * a * np.array([1.0, -1.0])
        w = float(toward @ u)
        value = np.logaddexp(0, -w) + smooth / 2 * w + l_h * (u @ u)
        return float(value), (smooth / 2 - expit(-w)) * toward + 2 * l_h * u

    def risk(x: Array) -> tuple[float, Array]:
        u1, u2, r = a * x[:M], a * x[M : 2 * M], unit * x[-1]
        (f, df), (p1, d1), (p2, d2) = clean(r), noisy(u1, 1.0), noisy(u2, -1.0)
        gradient = np.concatenate([rate * a * d1, rate * a * d2, [unit * df]]) / rate
        return (f + rate * (p1 + p2) - floor) / rate, gradient

    centres = np.zeros((2, M))
    centres[0, 1] = centres[1, 0] = 1.0  # u_1 starts out at h_2, u_2 at h_1

    def room(x: Array) -> Array:  # C_MD r / D - eta ||u - h||, over eta D
        apart = (x[: 2 * M].reshape(2, M) - centres) / np.sqrt(2)
        return np.asarray(x[-1] - np.linalg.norm(apart, axis=1))

    def room_slope(x: Array) -> Array:
        apart = x[: 2 * M].reshape(2, M) - centres
        apart = apart / np.maximum(np.linalg.norm(apart, axis=1, keepdims=True), 1e-300) / np.sqrt(2)
        rows = np.zeros((2, 2 * M + 1))
        rows[0, :M], rows[1, M : 2 * M], rows[:, -1] = -apart[0], -apart[1], 1.0
        return rows

    floor = clean(0.0)[0]
    generator = np.random.default_rng(seed)
    constraints = [{"type": "ineq", "fun": room, "jac": room_slope}]
    steps, best, converged = 0, np.inf, False
    start = np.concatenate([generator.uniform(0, 1, 2 * M), [2.0]])
    x = start
    for _ in range(6):  # SLSQP stops early now and then: start it again near where it stopped
        run = minimise(risk, start, np.zeros(2 * M + 1), {"ftol": 1e-14, "maxiter": 200}, constraints)
        end = run.point.copy()
        end[-1] -= room(end).min()  # the least r that these u allow
        value = risk(end)[0]
        steps += run.iterations
        if value < best:
            x, best, converged = end, value, run.converged
        if run.converged:
            break
        start = np.maximum(x * (1 + 1e-3 * generator.standard_normal(2 * M + 1)), 0)
    apart = a * np.linalg.norm(x[: 2 * M].reshape(2, M) - centres, axis=1)
    r = unit * float(x[-1])
    return FullSolution(
        a * x[: 2 * M].reshape(2, M),
        r,
        float(r / distance),
        rate * float(apart.max()),
        best * rate + floor,
        converged,
        steps,
    )


def _points(law: Law, panels: int = 100) -> tuple[Array, Array]:
    if law.curve is None:
        return law.atoms or (np.zeros(1), np.ones(1))
    position, _, density = law.curve
    nodes, weights = np.polynomial.legendre.leggauss(12)
    theta = ((np.arange(panels)[:, None] + (nodes + 1) / 2) / panels).reshape(-1)
    return position(theta), np.tile(weights / 2, panels) / panels * density(theta)
