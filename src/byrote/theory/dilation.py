"""The two-class memorization-dilation model (MD Definition 4.1), reduced to one scalar equation per parameter point.

    minimize over u_1, u_2 >= 0 and r >= 0   F(r) + eta (phi(u_1) + phi(u_2))
    subject to   eta ||u_1 - h_2|| <= C_MD r / ||h_1 - h_2||   and its mirror image

`docs/theory/dilation.md` derives the reduction. In short: u_1 = x h_1/a + y h_2/a, and the constraint is active. At
every point that meets the stationarity conditions, x, y, the distance t = ||u_1 - h_2|| and the multiplier m are
explicit functions of delta = x - y. The remaining equation has one root, because m t decreases and F' increases with
delta.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .laws import Law
from .logit_losses import Kind
from .parameters import Array, Real, unwrap
from .problem import LawLike, Problem
from .two_class import Path, TwoClass, certificate, risk, root

__all__ = ["Dilation", "dilation", "solve_dilation"]

_CHUNK = 1024  # number of points solved together, so that their quadrature nodes fit in the cache
_SMALL = 1e-9  # the relative residual below which the scalar equation counts as solved


@dataclass(frozen=True)
class Dilation:
    """The optimum of the two-class model; each field is a number, or an array for a sweep.

    Attributes:
        alpha, lambda_w, lambda_h, eta, slope, law, width, loss: see `Problem`.
        r: the optimal standard deviation within a class.
        dilation: r / D.
        memorization: eta ||u_1 - h_2||.
        memorization_relative: memorization / D.
        r_max: eta D^2 / C_MD, the r at full memorization.
        distance: D = ||h_1 - h_2||.
        gap: the logit gap d of the class means.
        feature_norm: a, the norm of a class mean.
        classifier_scale: C of w_n = C (h_n - hbar).
        along: coordinate of u_1 along h_1, where u_1 = along h_1/||h_1|| + across h_2/||h_2||.
        across: coordinate of u_1 along h_2.
        value: the risk of the MD model.
        residual: the residual of the scalar equation, relative to its larger side.
        optimality_gap: no feasible (u_1, u_2, r) has a risk below value - optimality_gap (strong convexity).
        collapsed: whether the class means are 0.
        converged: whether the search ended with a residual of at most 1e-9.
        iterations: the largest number of steps for a point.
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
    loss: Kind

    @property
    def features(self) -> Array:
        """Features of the corrupted samples, (..., 2, M), rows u_1 and u_2, if h_1 = a e_1 and h_2 = a e_2."""
        x, y = np.asarray(self.along), np.asarray(self.across)
        rows = np.zeros((*x.shape, 2, self.width))
        rows[..., 0, 0], rows[..., 0, 1] = x, y
        rows[..., 1, 0], rows[..., 1, 1] = y, x
        return rows


def dilation(
    alpha: ArrayLike = 0.1,
    lambda_w: ArrayLike = 1e-3,
    lambda_h: ArrayLike = 1e-3,
    eta: ArrayLike = 0.003,
    slope: ArrayLike = 1.0,
    law: LawLike = "circle",
    width: int = 2,
    loss: Kind = "smoothing",
) -> Dilation:
    """Compute memorization and dilation at the optimum of the two-class MD model.

    Args:
        alpha: label smoothing in [0, 1); 0 is cross entropy.
        lambda_w: penalty on the classifier, above 0.
        lambda_h: penalty on the features, above 0.
        eta: n_corrupted / n_clean, at least 0 (nominal Uniform(.4) is .25).
        slope: C_MD, above 0. These five parameters may be arrays, which are broadcast.
        law: one of `laws.LAWS`, or a `laws.Law` from samples or a density.
        width: M >= 2.
        loss: smoothing or relaxation, with parameter alpha (`docs/theory/losses.md`).

    Raises:
        ValueError: a parameter outside its domain, an unknown law, or a different loss.

    Reference: Nguyen et al., ICLR 2023, section 4.

    >>> ce, ls = dilation(alpha=0.), dilation(alpha=.1)
    >>> round(ce.dilation, 6), round(ls.dilation, 6), ce.optimality_gap < 1e-12
    (0.009023, 0.006055, True)
    """
    return solve_dilation(Problem(alpha, lambda_w, lambda_h, eta, slope, law, width, loss))


def solve_dilation(problem: Problem) -> Dilation:
    """Solve a two-class `Problem`; see `dilation`.

    Raises:
        ValueError: the loss is neither smoothing nor relaxation.

    >>> solve_dilation(Problem(alpha=.1)).dilation == dilation(alpha=.1).dilation
    True
    """
    if problem.loss not in ("smoothing", "relaxation"):
        raise ValueError(f"loss must be smoothing or relaxation, got {problem.loss!r}")
    law = problem.spread
    shape, columns = problem.columns()
    arrays, steps = _sweep(columns, problem, law)
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
        law=law,
        width=problem.width,
        loss=problem.loss,
    )


def _sweep(columns: list[Array], problem: Problem, law: Law) -> tuple[dict[str, Array], int]:
    """Solve all points in chunks of points with similar spread, because these points share quadrature panels."""
    alpha, l_w, l_h, eta, slope = columns
    whole = TwoClass.of(alpha, l_w, l_h, eta, slope, law, problem.loss)
    order = np.argsort(whole.gap * eta * whole.a / slope, kind="stable")
    pieces, steps = [], 0
    for start in range(0, max(1, order.size), _CHUNK):
        piece, used = _solve(whole.take(order[start : start + _CHUNK]))
        pieces.append(piece)
        steps = max(steps, used)
    back = np.argsort(order, kind="stable")
    return {name: np.concatenate([piece[name] for piece in pieces])[back] for name in pieces[0]}, steps


def _solve(problem: TwoClass) -> tuple[dict[str, Array], int]:
    collapsed = problem.gap == 0
    omega, steps = np.zeros_like(problem.a), 0
    done = collapsed | (problem.eta == 0)
    live = np.flatnonzero(~done)
    if len(live):
        omega[live], done[live], steps = root(problem.take(live))
    return _results(problem, omega, collapsed, done), steps


def _results(
    problem: TwoClass, omega: Array, collapsed: NDArray[np.bool_], done: NDArray[np.bool_]
) -> dict[str, Array]:
    a, eta = problem.a, problem.eta
    with np.errstate(divide="ignore", invalid="ignore"):
        end = Path(*(np.where(collapsed, 0.0, array) for array in problem.path(omega)))
    kappa = eta * problem.reach
    r, distance = kappa * end.t, a * np.sqrt(2)
    first, _ = problem.spread_slopes(r)
    largest = np.maximum(np.maximum(problem.reach * first, np.abs(end.force)), np.finfo(float).tiny)
    residual = np.abs(end.force - problem.reach * first) / largest
    zero = np.zeros_like(a)
    return {
        "r": r,
        "dilation": np.divide(r, distance, out=zero.copy(), where=distance > 0),
        "memorization": eta * end.t,
        "memorization_relative": np.divide(eta * end.t, distance, out=zero.copy(), where=distance > 0),
        "r_max": kappa * distance,
        "distance": distance,
        "gap": problem.gap,
        "feature_norm": a,
        "classifier_scale": problem.scale,
        "along": end.x,
        "across": end.y,
        "value": risk(problem, r, end.x, end.y),
        "residual": residual,
        "optimality_gap": certificate(problem, omega, end, first),
        "collapsed": collapsed.astype(float),
        "converged": (done & (residual <= _SMALL)).astype(float),
    }
