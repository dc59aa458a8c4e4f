"""The scalar problem of two classes: the loss, the path of stationary u_1, and the scalar equation to solve.

u_1 = x h_1/a + y h_2/a, and the constraint is active. At every point that meets the stationarity conditions, x, y, the
distance t = ||u_1 - h_2|| and the multiplier m are explicit functions of delta = x - y. m t decreases and F' increases
with delta. `docs/theory/dilation.md` derives the equation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from .laws import Law
from .logit_losses import Kind
from .parameters import Array
from .problem import two_class_geometry

__all__ = ["Path", "TwoClass", "certificate", "margin_loss", "risk", "root"]

_STEPS = 100


class Path(NamedTuple):
    """The stationary u_1 = (x, y) and its multiplier m at points of the path; each field is (P,).

    Attributes:
        x: coordinate of u_1 along h_1.
        y: coordinate of u_1 along h_2.
        short: a - y, computed without cancellation.
        t: the distance from u_1 to h_2.
        dt: derivative of t with respect to delta.
        force: m t.
        dforce: derivative of m t with respect to delta.
    """

    x: Array
    y: Array
    short: Array
    t: Array
    dt: Array
    force: Array
    dforce: Array


@dataclass(frozen=True)
class TwoClass:
    """The scalar problem at P points; the loss is psi(w) = softplus(-w) + beta w up to `cap`, and then constant."""

    beta: Array
    cap: Array | None
    cost: Array  # sqrt(2 lambda_W lambda_H), the force of the penalties at the class means
    penalty: Array  # lambda = lambda_H
    eta: Array
    reach: Array  # D / C_MD: r = eta reach t
    gap: Array
    a: Array
    scale: Array
    law: Law

    @classmethod
    def of(cls, alpha: Array, l_w: Array, l_h: Array, eta: Array, slope: Array, law: Law, loss: Kind) -> TwoClass:
        beta = alpha / 2 if loss == "smoothing" else alpha
        gap, a, scale = two_class_geometry(beta, l_w, l_h)
        cap = None
        if loss == "relaxation":
            with np.errstate(divide="ignore"):
                cap = np.where(beta > 0, np.log1p(-beta) - np.log(beta), np.inf)
        cost = np.sqrt(2 * l_w) * np.sqrt(l_h)
        return cls(beta, cap, cost, l_h, eta, a * np.sqrt(2) / slope, gap, a, scale, law)

    def take(self, index: NDArray[np.intp]) -> TwoClass:
        """Select the points at `index`."""
        cap = None if self.cap is None else self.cap[index]
        fields = (self.cost, self.penalty, self.eta, self.reach, self.gap, self.a, self.scale)
        cost, penalty, eta, reach, gap, a, scale = (field[index] for field in fields)
        return TwoClass(self.beta[index], cap, cost, penalty, eta, reach, gap, a, scale, self.law)

    def spread_slopes(self, r: Array) -> tuple[Array, Array]:
        """F'(r) / 2 and F''(r) / 2 as sums of positive terms, so that nothing cancels even for very small r.

        E[Z psi'(d + sZ)] = E[Z (psi'(d + sZ) - psi'(d))] because E Z = 0. With e = exp(-|sZ|), the difference of the
        two logistic functions is sign(Z) (1 - e) sigmoid(-d) / (1 + e^-d e) for Z >= 0, and the same over (e + e^-d)
        for Z < 0.
        """
        q = self.scale * self.a * np.sqrt(2)
        s = q * r
        Z, weights = self.law.nodes(self.gap, s, self.cap)  # (P, Q)
        off, low = np.exp(-self.gap)[:, None], expit(-self.gap)[:, None]
        exponent = s[:, None] * Z
        rise = -np.expm1(-np.abs(exponent))
        e = 1 - rise
        bottom = np.where(Z >= 0, 1 + off * e, e + off)
        first, second = rise * low / bottom, off * e / (bottom * bottom)
        if self.cap is not None:
            beyond = self.gap[:, None] + exponent >= self.cap[:, None]
            first = np.where(beyond, self.cost[:, None], first)
            second = np.where(beyond, 0.0, second)
        mean_first = (weights * np.abs(Z) * first).sum(axis=1)
        mean_second = (weights * Z * Z * second).sum(axis=1)
        return q * mean_first + 2 * self.penalty * r, q * q * mean_second + 2 * self.penalty

    def pull(self, theta: Array) -> tuple[Array, Array]:
        """g - 2 lambda a and the derivative of g, at delta = a - theta; g = -k psi'(k delta) is the pull on u_1.

        sigmoid(-d) = beta + sqrt(2 lambda_W lambda_H), so g = 2 lambda a + k (sigmoid(k theta - d) - sigmoid(-d)), a
        sum of positive terms. (The cap of the relaxed loss has no effect, because the gap of u_1 stays below d.)
        """
        k = self.scale * self.a
        p = expit(k * theta - self.gap)
        rise = -np.expm1(-k * theta) * p * expit(self.gap)
        return k * rise, -k * k * p * expit(self.gap - k * theta)

    def path(self, omega: Array) -> Path:
        """The path at delta = a - theta, theta = 2a omega/(1+omega), omega from 0 (u_1 = h_1) to inf (u_1 = h_2)."""
        a, lam = self.a, self.penalty
        tau, theta = 2 * a / (1 + omega), 2 * a * (omega / (1 + omega))
        delta = a - theta
        extra, dg = self.pull(theta)
        g = extra + 2 * lam * a
        far = g + 2 * lam * a
        side, top = np.hypot(g, far), g + far
        bend = dg * (1 / side - 2 * side / (top * top))
        inside = g * theta >= 2 * lam * a * delta  # y >= 0
        safe = np.where(inside, a, delta)
        reach_in, force_in = side / top, 2 * (g - lam * delta)
        t_out = np.hypot(safe, a)
        m_out = (extra + 2 * lam * theta) / safe
        short = np.where(inside, far * tau / top, a)
        return Path(
            np.where(inside, g * tau / top, safe),
            np.where(inside, a - short, 0.0),
            short,
            np.where(inside, tau * reach_in, t_out),
            np.where(inside, reach_in + tau * bend, safe / t_out),
            np.where(inside, force_in * reach_in, m_out * t_out),
            np.where(
                inside,
                2 * (dg - lam) * reach_in + force_in * bend,
                (dg - g / safe) * t_out / safe + m_out * safe / t_out,
            ),
        )


def root(problem: TwoClass) -> tuple[Array, NDArray[np.bool_], int]:
    """Find the zero of m t - (D / C_MD) F'(r) / 2, which decreases in delta, by bracketed Newton steps in log omega."""
    low, high = np.zeros_like(problem.a), np.full_like(problem.a, np.inf)
    omega = problem.eta * problem.reach**2  # the starting point, exact for a quadratic loss
    done = np.zeros(len(omega), dtype=np.bool_)
    step = 0
    while step < _STEPS and not done.all():
        step += 1
        index = np.flatnonzero(~done)
        part, here = problem.take(index), omega[index]
        _, _, _, t, dt, force, dforce = part.path(here)
        kappa = part.eta * part.reach
        first, second = part.spread_slopes(kappa * t)
        balance = force - part.reach * first  # above 0: u_1 must move further away, so omega is too large
        slope = dforce - part.reach * kappa * second * dt
        low[index] = np.where(balance <= 0, here, low[index])
        high[index] = np.where(balance > 0, here, high[index])
        bottom, top = low[index], high[index]
        with np.errstate(over="ignore", invalid="ignore"):  # after a NaN step, the bracket is halved
            move = balance / slope * (1 + here) ** 2 / (2 * part.a * here)  # the Newton step in log omega
        settled = np.abs(move) <= 1e-11  # further steps would be smaller than rounding
        trial = here * np.exp(np.clip(move, -5, 5))
        inside = (trial > bottom) & (trial < top)
        halfway = np.sqrt(np.maximum(bottom, here / 1e6)) * np.sqrt(np.minimum(top, here * 1e6))
        omega[index] = np.where(inside | settled, trial, halfway)
        done[index] = settled | (top <= bottom * (1 + 1e-15))
    return omega, done, step


def certificate(problem: TwoClass, omega: Array, end: Path, first: Array) -> Array:
    """A bound on risk - optimum: the least of |projected gradient|^2 / (2 mu), mu = 4 eta lambda, and |gradient| 2 D.

    The second term is a bound because the optimum is within D of h_2.
    """
    a, lam, eta = problem.a, problem.penalty, problem.eta
    x, y, short, t = end[:4]
    g = problem.pull(2 * a * (omega / (1 + omega)))[0] + 2 * lam * a
    push = eta * problem.reach * first / np.maximum(t, np.finfo(float).tiny)
    by_x = 2 * (push * x + eta * (2 * lam * x - g))
    by_y = 2 * (eta * (2 * lam * y + g) - push * short)
    by_y = np.where((y <= 0) & (by_y > 0), 0.0, by_y)
    steepness = np.hypot(by_x, by_y)
    strong = steepness**2 / np.maximum(8 * eta * lam, np.finfo(float).tiny)
    bound = np.minimum(strong, 2 * np.sqrt(2) * a * steepness)
    return np.asarray(np.where((a > 0) & (eta > 0), bound, 0.0))


def risk(problem: TwoClass, r: Array, x: Array, y: Array) -> Array:
    k, lam = problem.scale * problem.a, problem.penalty
    s = k * np.sqrt(2) * r
    Z, weights = problem.law.nodes(problem.gap, s, problem.cap)
    loss = margin_loss(problem.beta[:, None], None if problem.cap is None else problem.cap[:, None])
    spread = (weights * loss(problem.gap[:, None] + s[:, None] * Z)).sum(axis=1)
    clean = spread + lam * (problem.a**2 + r**2)
    noisy = loss((k * (x - y))[:, None])[:, 0] + lam * (x**2 + y**2)
    return np.asarray(2 * (clean + problem.eta * noisy))


def margin_loss(beta: Array, cap: Array | None) -> Callable[[Array], Array]:
    """psi of `TwoClass`, shifted to 0 beyond the cap."""
    if cap is None:
        return lambda w: np.asarray(np.logaddexp(0, -w) + beta * w)
    with np.errstate(divide="ignore", invalid="ignore"):
        floor = np.where(np.isfinite(cap), np.log1p(-beta) + beta * (np.log(beta) - np.log1p(-beta)), 0.0)

    def loss(w: Array) -> Array:
        capped = np.minimum(w, cap)
        return np.asarray(np.logaddexp(0, -capped) + beta * capped + floor)

    return loss
