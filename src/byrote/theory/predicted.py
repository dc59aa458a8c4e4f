"""Memorization and dilation of any loss at many parameter points, computed by the solver for this loss."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .bounded import bounded_dilation
from .dilation import solve_dilation
from .geometry import class_geometry
from .logit_losses import Kind, LogitLoss
from .multiclass import multiclass_dilation
from .parameters import Array
from .problem import Problem
from .variants import scale_free_dilation, squared_dilation

__all__ = ["VARIANTS", "Variant", "predicted", "solved_at_once"]

Variant: TypeAlias = Literal["raw", "scale-free"]
VARIANTS: tuple[Variant, ...] = ("raw", "scale-free")


def solved_at_once(kind: Kind, num_classes: int) -> bool:
    """Whether the model has only one minimum under a loss, so that a whole sweep can be solved in one call."""
    return kind == "squared" or (num_classes == 2 and kind in ("smoothing", "relaxation"))


def predicted(problem: Problem, variant: Variant = "raw", num_classes: int = 2) -> tuple[Array, Array]:
    """Compute memorization eta ||u - h|| and dilation r/D of a loss at the global minimum.

    Args:
        problem: a point or a sweep under any loss of `KINDS`, with eta above 0. If there are several minima, the lowest
            is used. For the scale-free variant, the slope of the problem is C_MD / D, where D is the distance between
            the class means under this loss.
        variant: raw, or scale-free (memorization in units of D).
        num_classes: N, at least 2.

    Returns:
        Memorization and dilation as (P,) arrays over the flattened points; NaN where the class means have collapsed.

    Raises:
        ValueError: a parameter outside its domain.

    >>> [round(float(part[0]), 4) for part in predicted(Problem(eta=.1, loss="squared"))]
    [0.1178, 0.1178]
    """
    free, kind = variant == "scale-free", problem.loss
    _, (alphas, l_w, l_h, rates, slopes) = problem.columns()
    flat = replace(problem, alpha=alphas, lambda_w=l_w, lambda_h=l_h, eta=rates, slope=slopes)
    if kind == "squared":
        if free:
            distance = np.asarray(squared_dilation(flat, num_classes).distance)
            slopes = slopes * np.where(distance > 0, distance, 1.0)
        exact = squared_dilation(replace(flat, slope=slopes), num_classes)
        return _known(exact.memorization, exact.dilation, exact.collapsed)
    if num_classes == 2 and (kind == "smoothing" or kind == "relaxation"):
        one = (scale_free_dilation if free else solve_dilation)(flat)
        return _known(one.memorization, one.dilation, one.collapsed)
    curves = np.empty((2, rates.size))
    distinct, group = np.unique(np.stack([alphas, l_w, l_h]), axis=1, return_inverse=True)
    for place, (own, w, h) in enumerate(distinct.T.tolist()):
        mine = group.ravel() == place
        at = replace(problem, alpha=own, lambda_w=w, lambda_h=h, eta=rates[mine], slope=slopes[mine])
        curves[:, mine] = _searched(at, free, num_classes)
    return curves[0], curves[1]


def _known(memorization: ArrayLike, spread: ArrayLike, collapsed: bool | NDArray[np.bool_]) -> tuple[Array, Array]:
    return np.where(collapsed, np.nan, memorization), np.where(collapsed, np.nan, spread)


def _searched(problem: Problem, free: bool, num_classes: int) -> Array:
    """Memorization and dilation (2, P) for one geometry, for losses with several minima or more than two classes."""
    eta, slope = np.asarray(problem.eta), np.asarray(problem.slope)
    if num_classes == 2 and problem.loss in ("robust-log", "squared-probabilities"):
        one = bounded_dilation(problem, free)
        return np.where(one.collapsed, np.nan, np.stack([np.asarray(one.memorization), np.asarray(one.dilation)]))
    alpha, lambda_w, lambda_h = (float(np.asarray(x)) for x in (problem.alpha, problem.lambda_w, problem.lambda_h))
    loss = LogitLoss(problem.loss, alpha)
    if class_geometry(loss, num_classes, lambda_w / num_classes, lambda_h / num_classes).collapsed:
        return np.full((2, eta.size), np.nan)
    points = zip(eta.tolist(), slope.tolist(), strict=True)
    each = [multiclass_dilation(replace(problem, eta=e, slope=s), num_classes, free) for e, s in points]
    return np.array([[one.memorization for one in each], [one.dilation for one in each]])
