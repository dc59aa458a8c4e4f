"""The memorization-dilation model of two classes, solved (MD Definition 4.1): one monotone scalar equation a
parameter point.

    minimise over u_1, u_2 >= 0 and r >= 0   F(r) + eta (phi(u_1) + phi(u_2))   subject to   eta ||u_1 -
    h_2|| <= C_MD r / ||h_1 - h_2||

and its mirror image. `docs/theory/dilation.md` derives the reduction. In short: u_1 = x h_1/a + y h_2/a, the
constraint is active, and along the stationarity conditions x, y, the distance t = ||u_1 - h_2|| and the
multiplier m are explicit functions of delta = x - y; m t falls and F' rises.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from .laws import Law, named
from .parameters import Array, Real, broadcast, non_negative, positive, smoothing, unwrap

__all__ = ["Dilation", "LawLike", "Margin", "dilation", "two_class_geometry"]

LawLike: TypeAlias = str | Law
Margin: TypeAlias = Literal["smoothing", "relaxation"]

_CHUNK = 1024  # points solved together: their quadrature nodes stay in cache
_STEPS = 100


@dataclass(frozen=True)
class Dilation:
    """The optimum of the two-class model; a number, or an array over a sweep, in each field.

    r: optimal standard deviation; dilation: r / D; memorization: eta ||u_1 - h_2||; memorization_relative:
    that over D. r_max = eta D^2 / C_MD, what full memorization would cost. distance: D = ||h_1 - h_2||. gap:
    logit gap d of the class means.
    along, across: u_1 = along h_1/||h_1|| + across h_2/||h_2||. value: the MD risk. residual: of the scalar
    equation, relative.
    optimality_gap: no feasible (u_1, u_2, r) has a risk below value - optimality_gap (strong convexity).
    """

    alpha: Real
    lambda_w: Real
    lambda_h: Real
    eta: Real
    slope: Real
    r: Real
    dilation: Real
    memorization: Real
    memorization_relative: Real
    r_max: Real
    distance: Real
    gap: Real
    feature_norm: Real
    classifier_scale: Real
    along: Real
    across: Real
    value: Real
    residual: Real
    optimality_gap: Real
    collapsed: bool | NDArray[np.bool_]
    converged: bool | NDArray[np.bool_]
    iterations: int
    law: Law
    width: int
    loss: Margin

    @property
    def features(self) -> Array:
        """The corrupted samples' features, (..., 2, M), rows u_1 and u_2, in the frame h_1 = a e_1, h_2 = a
        e_2.
        """
        x, y = np.asarray(self.along), np.asarray(self.across)
        rows = np.zeros((*x.shape, 2, self.width))
        rows[..., 0, 0], rows[..., 0, 1] = x, y
        rows[..., 1, 0], rows[..., 1, 1] = y, x
        return rows


def two_class_geometry(beta: Array, lambda_w: Array, lambda_h: Array) -> tuple[Array, Array, Array]:
    """(d, a, C) of Assumption 4.2.1, which SUMS the two class losses: c = beta + sqrt(2 lambda_W lambda_H).

    beta is the slope the loss has at an infinite gap: alpha/2 for smoothing, alpha for relaxation. All (P,).
    """
    c = beta + np.sqrt(2 * lambda_w) * np.sqrt(lambda_h)
    gap = np.where(c < 0.5, np.log1p(np.maximum(1 - 2 * c, 0) / c), 0.0)
    return gap, np.sqrt(gap * np.sqrt(lambda_w / (2 * lambda_h))), np.sqrt(2 * lambda_h / lambda_w)


def dilation(
    alpha: ArrayLike = 0.1,
    lambda_w: ArrayLike = 1e-3,
    lambda_h: ArrayLike = 1e-3,
    eta: ArrayLike = 0.003,
    slope: ArrayLike = 1.0,
    law: LawLike = "circle",
    width: int = 2,
    loss: Margin = "smoothing",
) -> Dilation:
    """How much a two-class network memorizes and dilates at the optimum of the MD model.

    Args:
        alpha: label smoothing in [0, 1); 0 is cross entropy. lambda_w, lambda_h: penalties, above 0. eta:
        n_corrupted / n_clean, at least 0
            (nominal Uniform(.4) is .25). slope: C_MD, above 0. Each may be an array; they broadcast.
        law: one of `laws.LAWS`, or a `laws.Law` from samples or a density. width: M >= 2.
        loss: smoothing, or relaxation with parameter alpha (`docs/theory/losses.md`).

    Raises:
        ValueError: a parameter outside its domain, or an unknown law.

    Reference: Nguyen et al., ICLR 2023, section 4.

    >>> ce, ls = dilation(alpha=0.), dilation(alpha=.1)
    >>> round(ce.dilation, 6), round(ls.dilation, 6), ce.optimality_gap < 1e-12
    (0.009023, 0.006055, True)
    """
    if width < 2:
        raise ValueError(f"width must be at least N = 2, got {width}")
    if loss not in ("smoothing", "relaxation"):
        raise ValueError(f"loss must be smoothing or relaxation, got {loss!r}")
    chosen = law if isinstance(law, Law) else named(law, width)
    shape, columns = broadcast(
        smoothing(alpha),
        positive("lambda_w", lambda_w),
        positive("lambda_h", lambda_h),
        non_negative("eta", eta),
        positive("slope", slope),
    )
    arrays, steps = _sweep(columns, chosen, loss)
    given = [unwrap(column, shape) for column in columns]

    def real(name: str) -> Real:
        return unwrap(arrays[name], shape)

    def flag(name: str) -> bool | NDArray[np.bool_]:
        flags = arrays[name] > 0
        return bool(flags[0]) if shape == () else flags.reshape(shape)

    return Dilation(
        alpha=given[0],
        lambda_w=given[1],
        lambda_h=given[2],
        eta=given[3],
        slope=given[4],
        r=real("r"),
        dilation=real("dilation"),
        memorization=real("memorization"),
        memorization_relative=real("memorization_relative"),
        r_max=real("r_max"),
        distance=real("distance"),
        gap=real("gap"),
        feature_norm=real("feature_norm"),
        classifier_scale=real("classifier_scale"),
        along=real("along"),
        across=real("across"),
        value=real("value"),
        residual=real("residual"),
        optimality_gap=real("optimality_gap"),
        collapsed=flag("collapsed"),
        converged=flag("converged"),
        iterations=steps,
        law=chosen,
        width=width,
        loss=loss,
    )


def _sweep(columns: list[Array], law: Law, loss: Margin) -> tuple[dict[str, Array], int]:
    """All points, solved in chunks of alike spread: those share quadrature panels."""
    gap, norm, _ = two_class_geometry(columns[0] / (2 if loss == "smoothing" else 1), columns[1], columns[2])
    order = np.argsort(gap * columns[3] * norm / columns[4], kind="stable")
    pieces, steps = [], 0
    for start in range(0, max(1, order.size), _CHUNK):
        smooth, l_w, l_h, rate, slopes = (column[order[start : start + _CHUNK]] for column in columns)
        piece, used = _solve(_Problem.of(smooth, l_w, l_h, rate, slopes, law, loss))
        pieces.append(piece)
        steps = max(steps, used)
    back = np.argsort(order, kind="stable")
    return {name: np.concatenate([piece[name] for piece in pieces])[back] for name in pieces[0]}, steps


@dataclass(frozen=True)
class _Problem:
    """The scalar problem of P points: loss psi(w) = softplus(-w) + beta w below `cap`, constant beyond."""

    beta: Array
    cap: Array | None
    cost: Array  # sqrt(2 lambda_W lambda_H), the pull of the penalties at the class means
    penalty: Array  # lambda = lambda_H
    eta: Array
    reach: Array  # D / C_MD: r = eta reach t
    gap: Array
    a: Array
    scale: Array
    law: Law

    @classmethod
    def of(cls, alpha: Array, l_w: Array, l_h: Array, eta: Array, slope: Array, law: Law, loss: Margin) -> _Problem:
        beta = alpha / 2 if loss == "smoothing" else alpha
        gap, a, scale = two_class_geometry(beta, l_w, l_h)
        cap = None
        if loss == "relaxation":
            with np.errstate(divide="ignore"):
                cap = np.where(beta > 0, np.log1p(-beta) - np.log(beta), np.inf)
        cost = np.sqrt(2 * l_w) * np.sqrt(l_h)
        return cls(beta, cap, cost, l_h, eta, a * np.sqrt(2) / slope, gap, a, scale, law)

    def take(self, index: NDArray[np.intp]) -> _Problem:
        """The points at `index`."""
        cap = None if self.cap is None else self.cap[index]
        fields = (self.cost, self.penalty, self.eta, self.reach, self.gap, self.a, self.scale)
        cost, penalty, eta, reach, gap, a, scale = (field[index] for field in fields)
        return _Problem(self.beta[index], cap, cost, penalty, eta, reach, gap, a, scale, self.law)

    def spread_slopes(self, r: Array) -> tuple[Array, Array]:
        """F'(r) / 2 and F''(r) / 2 with positive terms only: no cancellation however small r is.

        E[Z psi'(d + sZ)] = E[Z (psi'(d + sZ) - psi'(d))] as E Z = 0, and with e = exp(-|sZ|) the difference
        of two logistic functions is sign(Z) (1 - e) sigmoid(-d) / (1 + e^-d e) for Z >= 0, over (e + e^-d)
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
        """g - 2 lambda a, and the slope in delta, of g = -k psi'(k delta), the pull of the loss on u_1, at
        delta = a - theta.

        sigmoid(-d) = beta + sqrt(2 lambda_W lambda_H), so g = 2 lambda a + k (sigmoid(k theta - d) -
        sigmoid(-d)): positive terms only. (u_1 never passes the cap of the relaxed loss: its gap stays below
        d.)
        """
        k = self.scale * self.a
        p = expit(k * theta - self.gap)
        rise = -np.expm1(-k * theta) * p * expit(self.gap)
        return k * rise, -k * k * p * expit(self.gap - k * theta)

    def path(self, omega: Array) -> tuple[Array, Array, Array, Array, Array, Array]:
        """(x, y, t, dt, m t, d(m t)) at delta = a - theta, theta = 2a omega/(1+omega): the stationary u_1 =
        (x, y) for its multiplier m, its distance t to h_2, and the slopes in delta. omega runs from 0 (u_1 =
        h_1) to infinity (u_1 = h_2)."""
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
        return (
            np.where(inside, g * tau / top, safe),
            np.where(inside, a - far * tau / top, 0.0),
            np.where(inside, tau * reach_in, t_out),
            np.where(inside, reach_in + tau * bend, safe / t_out),
            np.where(inside, force_in * reach_in, m_out * t_out),
            np.where(
                inside,
                2 * (dg - lam) * reach_in + force_in * bend,
                (dg - g / safe) * t_out / safe + m_out * safe / t_out,
            ),
        )


def _solve(problem: _Problem) -> tuple[dict[str, Array], int]:
    collapsed = problem.gap == 0
    omega, steps = np.zeros_like(problem.a), 0
    done = collapsed | (problem.eta == 0)
    live = np.flatnonzero(~done)
    if len(live):
        omega[live], done[live], steps = _root(problem.take(live))
    return _results(problem, omega, collapsed, done), steps


def _root(problem: _Problem) -> tuple[Array, NDArray[np.bool_], int]:
    """The zero of m t - (D / C_MD) F'(r) / 2, which falls as delta rises: Newton in log omega, kept inside a
    bracket that shrinks.
    """
    low, high = np.zeros_like(problem.a), np.full_like(problem.a, np.inf)
    omega = problem.eta * problem.reach**2  # exact for a quadratic loss
    done = np.zeros(len(omega), dtype=np.bool_)
    step = 0
    while step < _STEPS and not done.all():
        step += 1
        index = np.flatnonzero(~done)
        part, here = problem.take(index), omega[index]
        _, _, t, dt, force, dforce = part.path(here)
        kappa = part.eta * part.reach
        first, second = part.spread_slopes(kappa * t)
        balance = force - part.reach * first  # above 0: u_1 wants to go further, so omega is too large
        slope = dforce - part.reach * kappa * second * dt
        low[index] = np.where(balance <= 0, here, low[index])
        high[index] = np.where(balance > 0, here, high[index])
        bottom, top = low[index], high[index]
        move = balance / slope * (1 + here) ** 2 / (2 * part.a * here)  # in log omega
        settled = np.abs(move) <= 1e-11  # the step after this one would be rounding
        trial = here * np.exp(np.clip(move, -5, 5))
        inside = (trial > bottom) & (trial < top)
        halfway = np.sqrt(np.maximum(bottom, here / 1e6)) * np.sqrt(np.minimum(top, here * 1e6))
        omega[index] = np.where(inside | settled, trial, halfway)
        done[index] = settled | (top <= bottom * (1 + 1e-15))
    return omega, done, step


def _results(
    problem: _Problem, omega: Array, collapsed: NDArray[np.bool_], done: NDArray[np.bool_]
) -> dict[str, Array]:
    a, eta = problem.a, problem.eta
    with np.errstate(divide="ignore", invalid="ignore"):
        x, y, t, _, force, _ = (np.where(collapsed, 0.0, array) for array in problem.path(omega))
    kappa = eta * problem.reach
    r, distance = kappa * t, a * np.sqrt(2)
    first, _ = problem.spread_slopes(r)
    largest = np.maximum(np.maximum(problem.reach * first, np.abs(force)), np.finfo(float).tiny)
    zero = np.zeros_like(a)
    return {
        "r": r,
        "dilation": np.divide(r, distance, out=zero.copy(), where=distance > 0),
        "memorization": eta * t,
        "memorization_relative": np.divide(eta * t, distance, out=zero.copy(), where=distance > 0),
        "r_max": kappa * distance,
        "distance": distance,
        "gap": problem.gap,
        "feature_norm": a,
        "classifier_scale": problem.scale,
        "along": x,
        "across": y,
        "value": _risk(problem, r, x, y),
        "residual": np.abs(force - problem.reach * first) / largest,
        "optimality_gap": _certificate(problem, omega, (x, y, t), first),
        "collapsed": collapsed.astype(float),
        "converged": done.astype(float),
    }


def _certificate(problem: _Problem, omega: Array, end: tuple[Array, Array, Array], first: Array) -> Array:
    """risk - optimum <= |projected gradient|^2 / (2 mu), mu = 4 eta lambda, and <= |gradient| 2 D as the
    optimum lies within D of h_2.
    """
    a, lam, eta = problem.a, problem.penalty, problem.eta
    x, y, t = end
    g = problem.pull(2 * a * (omega / (1 + omega)))[0] + 2 * lam * a
    push = eta * problem.reach * first / np.maximum(t, np.finfo(float).tiny)
    by_x = 2 * (push * x + eta * (2 * lam * x - g))
    by_y = 2 * (push * (y - a) + eta * (2 * lam * y + g))
    by_y = np.where((y <= 0) & (by_y > 0), 0.0, by_y)
    steepness = np.hypot(by_x, by_y)
    strong = steepness**2 / np.maximum(8 * eta * lam, np.finfo(float).tiny)
    bound = np.minimum(strong, 2 * np.sqrt(2) * a * steepness)
    return np.asarray(np.where((a > 0) & (eta > 0), bound, 0.0))


def _risk(problem: _Problem, r: Array, x: Array, y: Array) -> Array:
    k, lam = problem.scale * problem.a, problem.penalty
    s = k * np.sqrt(2) * r
    Z, weights = problem.law.nodes(problem.gap, s, problem.cap)
    loss = _margin_loss(problem.beta[:, None], None if problem.cap is None else problem.cap[:, None])
    spread = (weights * loss(problem.gap[:, None] + s[:, None] * Z)).sum(axis=1)
    clean = spread + lam * (problem.a**2 + r**2)
    noisy = loss((k * (x - y))[:, None])[:, 0] + lam * (x**2 + y**2)
    return np.asarray(2 * (clean + problem.eta * noisy))


def _margin_loss(beta: Array, cap: Array | None) -> Callable[[Array], Array]:
    """psi of `_Problem`, shifted to 0 beyond the cap."""
    if cap is None:
        return lambda w: np.asarray(np.logaddexp(0, -w) + beta * w)
    with np.errstate(divide="ignore", invalid="ignore"):
        floor = np.where(np.isfinite(cap), np.log1p(-beta) + beta * (np.log(beta) - np.log1p(-beta)), 0.0)

    def loss(w: Array) -> Array:
        kept = np.minimum(w, cap)
        return np.asarray(np.logaddexp(0, -kept) + beta * kept + floor)

    return loss
