"""Memorization and dilation of any loss at many parameter points: the one door to the solvers of the model."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .bounded import bounded_dilation
from .dilation import dilation
from .geometry import class_geometry
from .logit_losses import Kind, LogitLoss
from .multiclass import multiclass_dilation
from .parameters import Array, broadcast
from .variants import scale_free_dilation, squared_dilation

__all__ = ["VARIANTS", "Variant", "predicted", "solved_at_once"]

Variant: TypeAlias = Literal["raw", "scale-free"]
VARIANTS: tuple[Variant, ...] = ("raw", "scale-free")


def solved_at_once(kind: Kind, num_classes: int) -> bool:
    """Whether the model of a loss has one minimum that a whole sweep of parameters finds in one call."""
    return kind == "squared" or (num_classes == 2 and kind in ("smoothing", "relaxation"))


def predicted(
    kind: Kind,
    alpha: ArrayLike,
    lambda_w: ArrayLike,
    lambda_h: ArrayLike,
    eta: ArrayLike,
    slope: ArrayLike,
    variant: Variant = "raw",
    num_classes: int = 2,
    law: str = "circle",
) -> tuple[Array, Array]:
    """Memorization eta ||u - h|| and dilation r/D of a loss at its global minimum.

    Args:
        kind: the loss; for losses with several minima, the lowest.
        alpha: its parameter. lambda_w, lambda_h: penalties, above 0. eta: n_corrupted / n_clean, above 0. Each may be
            an array, and they broadcast.
        slope: C_MD, above 0; for the scale-free variant C_MD / D, D the distance of the loss's own class means.
        variant: raw, or scale-free, which measures memorization in units of D.
        num_classes: N.
        law: of the spread of a class.

    Returns: both as (P,) arrays over the flattened points; NaN where the class means have collapsed.

    Raises:
        ValueError: a parameter outside its domain.

    >>> [round(float(part[0]), 4) for part in predicted("squared", 0.0, 1e-3, 1e-3, 0.1, 1.0)]
    [0.1178, 0.1178]
    """
    free = variant == "scale-free"
    _, columns = broadcast(*(np.asarray(part, dtype=np.float64) for part in (alpha, lambda_w, lambda_h, eta, slope)))
    alphas, l_w, l_h, rates, slopes = columns
    if kind == "squared":
        if free:
            distance = np.asarray(squared_dilation(num_classes, l_w, l_h, rates, slopes).distance)
            slopes = slopes * np.where(distance > 0, distance, 1.0)
        exact = squared_dilation(num_classes, l_w, l_h, rates, slopes)
        return _known(exact.memorization, exact.dilation, exact.collapsed)
    if num_classes == 2 and (kind == "smoothing" or kind == "relaxation"):
        solve = scale_free_dilation if free else dilation
        one = solve(alphas, l_w, l_h, rates, slopes, law, loss=kind)
        return _known(one.memorization, one.dilation, one.collapsed)
    found = np.empty((2, rates.size))
    distinct, group = np.unique(np.stack([alphas, l_w, l_h]), axis=1, return_inverse=True)
    for place, (own, w, h) in enumerate(distinct.T.tolist()):
        mine = group.ravel() == place
        found[:, mine] = _searched(kind, own, w, h, rates[mine], slopes[mine], free, num_classes, law)
    return found[0], found[1]


def _known(memorization: ArrayLike, spread: ArrayLike, collapsed: bool | NDArray[np.bool_]) -> tuple[Array, Array]:
    return np.where(collapsed, np.nan, memorization), np.where(collapsed, np.nan, spread)


def _searched(
    kind: Kind,
    alpha: float,
    lambda_w: float,
    lambda_h: float,
    eta: Array,
    slope: Array,
    free: bool,
    num_classes: int,
    law: str,
) -> Array:
    """(2, P) of losses with several minima, and of more than two classes, at one geometry."""
    if num_classes == 2 and (kind == "robust-log" or kind == "squared-probabilities"):
        one = bounded_dilation(kind, alpha, lambda_w, lambda_h, eta, slope, law, free)
        return np.where(one.collapsed, np.nan, np.stack([np.asarray(one.memorization), np.asarray(one.dilation)]))
    if class_geometry(LogitLoss(kind, alpha), num_classes, lambda_w / num_classes, lambda_h / num_classes).collapsed:
        return np.full((2, eta.size), np.nan)
    points = zip(eta.tolist(), slope.tolist(), strict=True)
    each = [multiclass_dilation(num_classes, alpha, lambda_w, lambda_h, e, s, law, kind, free) for e, s in points]
    return np.array([[one.memorization for one in each], [one.dilation for one in each]])
