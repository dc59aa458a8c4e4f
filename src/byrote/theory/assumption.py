"""Theorem 4.3 of MD: check the terms of its assumption, and where its claim holds that CE dilates more than LS."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .dilation import Dilation, solve_dilation
from .parameters import Array, Real
from .problem import Problem, two_class_geometry

__all__ = ["Condition", "Order", "check_assumption", "eta_bound", "order_of_dilations"]


@dataclass(frozen=True)
class Condition:
    """One term of Assumption 4.2 at a parameter point.

    Attributes:
        term: the number of the term in the paper.
        says: the condition in words.
        left: the left side of the condition's inequality.
        right: the right side of the inequality.
        holds: whether the condition holds.
    """

    term: str
    says: str
    left: float
    right: float
    holds: bool


@dataclass(frozen=True)
class Order:
    """CE compared with LS(alpha) at equal lambdas, eta and C_MD; for a sweep, each field is an array.

    Attributes:
        ratio: (r_CE / D_CE) / (r_LS / D_LS); NaN if CE or LS has collapsed or eta is 0.
        holds: whether ratio > 1.
        inside: whether every term of Assumption 4.2 holds.
        gamma: ||H_CE|| / ||H_LS||.
        eta_bound: the eta below which Assumption 4.2.3 holds, C^2 (1 - 1/gamma)^2.
        memorized: r_CE / r_max, which is 1 if the corrupted samples are fully memorized.
        ce: the optimum under cross entropy.
        ls: the optimum under LS(alpha).
    """

    ratio: Real
    holds: bool | NDArray[np.bool_]
    inside: bool | NDArray[np.bool_]
    gamma: Real
    eta_bound: Real
    memorized: Real
    ce: Dilation
    ls: Dilation


def order_of_dilations(problem: Problem) -> Order:
    """Solve the model for CE and for LS(alpha), and compare the two dilations.

    Args:
        problem: a point or a sweep under smoothing; for CE, alpha is set to 0.

    >>> order = order_of_dilations(Problem(alpha=.1, eta=.003))
    >>> round(order.ratio, 3), order.holds, order.inside, round(order.eta_bound, 5)
    (1.49, True, True, 0.00599)
    """
    ce = solve_dilation(replace(problem, alpha=np.zeros_like(np.asarray(problem.alpha, dtype=float))))
    ls = solve_dilation(problem)
    numbers = (problem.alpha, problem.lambda_w, problem.lambda_h, problem.eta)
    shape, _ = problem.columns()
    smooth, l_w, l_h, rate = (np.broadcast_to(np.asarray(x, dtype=np.float64), shape) for x in numbers)
    d_ce, d_ls = (np.broadcast_to(np.asarray(one.distance), smooth.shape) for one in (ce, ls))
    r_ce, r_ls = (np.broadcast_to(np.asarray(one.dilation), smooth.shape) for one in (ce, ls))
    known = (d_ls > 0) & (r_ls > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        gamma = np.where(d_ls > 0, d_ce / d_ls, np.where(d_ce > 0, np.inf, np.nan))
        ratio = np.where(known, r_ce / r_ls, np.nan)
        memorized = np.where(np.asarray(ce.r_max) > 0, np.asarray(ce.r) / np.asarray(ce.r_max), np.nan)
    bound = np.broadcast_to(eta_bound(problem), shape)
    enough = smooth > 4 * np.sqrt(l_w) * np.sqrt(l_h)
    inside = known & enough & (gamma > 1) & (rate < bound)
    holds = known & (ratio > 1)
    point = smooth.shape == ()
    reals = [float(x) if point else x for x in (ratio, gamma, bound, memorized)]
    flags = [bool(x) if point else x for x in (holds, inside)]
    return Order(reals[0], flags[0], flags[1], reals[1], reals[2], reals[3], ce, ls)


def eta_bound(problem: Problem) -> Array:
    """The eta below which Assumption 4.2.3 holds: C^2 (1 - 1/gamma)^2 with C = C_MD / (sqrt 2 ||h_1 - h_2||)
    under CE.

    Args:
        problem: only its alpha, lambdas and slope are used.

    Returns:
        The bound, in the common shape of alpha, the lambdas and slope; 0 if LS has larger features than CE or if both
        have collapsed.

    >>> round(float(eta_bound(Problem(alpha=.1))), 5)
    0.00599
    """
    l_w, l_h = (np.asarray(one, dtype=np.float64) for one in (problem.lambda_w, problem.lambda_h))
    _, ce, _ = two_class_geometry(np.zeros(()), l_w, l_h)
    _, ls, _ = two_class_geometry(np.asarray(problem.alpha, dtype=np.float64) / 2, l_w, l_h)
    share = np.maximum(ce - ls, 0) / np.where(ce > 0, ce, 1.0)  # 1 - 1 / gamma
    return np.asarray((np.asarray(problem.slope, dtype=np.float64) * share / (2 * np.where(ce > 0, ce, 1.0))) ** 2)


def check_assumption(problem: Problem) -> list[Condition]:
    """Check the terms of Assumption 4.2 at one parameter point.

    Args:
        problem: one point under smoothing.

    >>> [condition.holds for condition in check_assumption(Problem(eta=.5))]
    [True, True, True, True, True, True, False]
    """
    order = order_of_dilations(problem)
    numbers = (problem.alpha, problem.lambda_w, problem.lambda_h, problem.eta, problem.slope)
    alpha, lambda_w, lambda_h, eta, slope = (_number(np.asarray(one, dtype=np.float64)) for one in numbers)
    chosen, width = problem.spread, problem.width
    d_ce, gamma = _number(order.ce.distance), _number(order.gamma)
    product = 4 * float(np.sqrt(lambda_w) * np.sqrt(lambda_h))
    capacity = slope / (np.sqrt(2) * d_ce) if d_ce > 0 else float("inf")
    right = capacity * (1 - 1 / gamma) if gamma >= 1 else float("nan")
    small = float(np.sqrt(eta))
    small_enough = bool(small < right)
    return [
        Condition("Theorem 4.3", "the feature width is at least the number of classes: M >= 2", width, 2, width >= 2),
        Condition("4.2.1", "alpha_0 > 0: LS is not CE under another name", alpha, 0, alpha > 0),
        Condition(
            "4.2.1",
            "both layer-peeled minimizers are non-zero: the logit gap of LS is above 0 (implied in the paper)",
            _number(order.ls.gap),
            0,
            not order.ls.collapsed,
        ),
        Condition(
            "4.2.2",
            f"the law ({chosen.name}) is centered and bounded: ||v|| <= A r with A finite",
            chosen.bound,
            float("inf"),
            bool(np.isfinite(chosen.bound)),
        ),
        Condition(
            "4.2.3",
            "alpha_0 > 4 sqrt(lambda_W lambda_H) (not needed for gamma > 1, which any alpha_0 > 0 gives)",
            alpha,
            product,
            alpha > product,
        ),
        Condition("4.2.3", "gamma = ||H_CE|| / ||H_LS|| > 1: CE's features are larger", gamma, 1, gamma > 1),
        Condition(
            "4.2.3",
            "the noise is small: sqrt(eta) < C (1 - 1/gamma), C = C_MD / (sqrt 2 ||h_1 - h_2||) under CE",
            small,
            right,
            small_enough,
        ),
    ]


def _number(value: Real | Array) -> float:
    return float(np.asarray(value))
