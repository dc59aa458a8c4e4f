"""The two-class model solved one point at a time with scipy's SLSQP and with CVXPY, as a careful user would do it
without byrote.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

__all__ = ["by_cvxpy", "by_slsqp"]

_Z = np.cos(2 * np.pi * (np.arange(64) + 0.5) / 64)  # the circle law


def _constants(alpha: float, l_w: float, l_h: float) -> tuple[float, float, float]:
    c = alpha / 2 + np.sqrt(2 * l_w * l_h)
    d = np.log((1 - c) / c)
    return d, np.sqrt(d * np.sqrt(l_w / (2 * l_h))), np.sqrt(2 * l_h / l_w)


def by_slsqp(alpha: float, l_w: float, l_h: float, eta: float, slope: float) -> tuple[float, float]:
    """Solve a point by SLSQP with exact gradients; returns (r / D, risk)."""
    d, a, scale = _constants(alpha, l_w, l_h)
    distance, k = a * np.sqrt(2), scale * a
    q = scale * distance
    softplus = lambda w: np.logaddexp(0, -w)  # noqa: E731
    slope_of = lambda w: alpha / 2 - 1 / (1 + np.exp(w))  # noqa: E731

    def risk(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        p, s, r = x[:2], x[2:4], x[4]
        w, w1, w2 = d + q * r * _Z, k * (p[0] - p[1]), k * (s[1] - s[0])
        value = 2 * (softplus(w).mean() + alpha / 2 * d + l_h * (a * a + r * r))
        value += eta * (softplus(w1) + softplus(w2) + alpha / 2 * (w1 + w2) + l_h * (p @ p + s @ s))
        by_p = eta * (slope_of(w1) * k * np.array([1.0, -1.0]) + 2 * l_h * p)
        by_s = eta * (slope_of(w2) * k * np.array([-1.0, 1.0]) + 2 * l_h * s)
        by_r = 2 * ((slope_of(w) * q * _Z).mean() + 2 * l_h * r)
        return float(value), np.concatenate([by_p, by_s, [by_r]])

    reach = slope / (eta * distance)
    constraints = [
        {"type": "ineq", "fun": lambda x: (reach * x[4]) ** 2 - x[0] ** 2 - (x[1] - a) ** 2},
        {"type": "ineq", "fun": lambda x: (reach * x[4]) ** 2 - (x[2] - a) ** 2 - x[3] ** 2},
    ]
    start = np.array([a / 2, a / 2, a / 2, a / 2, eta * distance**2 / slope])
    options = {"ftol": 1e-12, "maxiter": 300}
    call: Any = minimize
    run = call(risk, start, jac=True, method="SLSQP", bounds=[(0, None)] * 5, constraints=constraints, options=options)
    return float(run.x[4]) / distance, float(run.fun)


def by_cvxpy(alpha: float, l_w: float, l_h: float, eta: float, slope: float) -> tuple[float, float]:
    """Solve a point as a conic program; returns (r / D, risk)."""
    import cvxpy as cp

    d, a, scale = _constants(alpha, l_w, l_h)
    distance, k = a * np.sqrt(2), scale * a
    q = scale * distance
    u1, u2, r = cp.Variable(2, nonneg=True), cp.Variable(2, nonneg=True), cp.Variable(nonneg=True)
    clean = 2 * (cp.sum(cp.logistic(-(d + q * r * _Z))) / len(_Z) + alpha / 2 * d + l_h * (a * a + cp.square(r)))
    noisy = 0
    for u, sign in ((u1, 1), (u2, -1)):
        gap = sign * k * (u[0] - u[1])
        noisy += cp.logistic(-gap) + alpha / 2 * gap + l_h * cp.sum_squares(u)
    h1, h2 = np.array([a, 0.0]), np.array([0.0, a])
    limits = [eta * distance / slope * cp.norm(u1 - h2) <= r, eta * distance / slope * cp.norm(u2 - h1) <= r]
    problem = cp.Problem(cp.Minimize(clean + eta * noisy), limits)
    problem.solve()
    return float(r.value) / distance, float(problem.value)
