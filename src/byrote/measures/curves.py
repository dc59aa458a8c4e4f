"""Summarize curves over epochs: when J1 overtakes J2, the area between them, when a curve reaches a threshold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["area_between", "crossing_epoch", "first_reaching", "resistance_gap"]

Numbers = Sequence[float] | NDArray[np.float64]


def area_between(epochs: Numbers, j2: Numbers, j1: Numbers) -> float:
    """Mean of J2 - J1 over training: the area between the curves (trapezoids) divided by the number of epochs spanned.

    The value is in [-1, 1]: positive if the network agreed more with the true labels, negative if it agreed more with
    the observed labels. NaN if a value is NaN or there are fewer than two epochs.

    >>> area_between([1, 2, 4], j2=[0.5, 0.75, 0.75], j1=[0.5, 0.5, 1.0])
    0.041666666666666664
    """
    x, upper, lower = _curve(epochs, j2, j1)
    if len(x) < 2:
        return float("nan")
    gap = upper - lower
    return float(((gap[1:] + gap[:-1]) / 2 * np.diff(x)).sum() / (x[-1] - x[0]))


def crossing_epoch(epochs: Numbers, j2: Numbers, j1: Numbers) -> float:
    """Epoch at which J1 rises above J2 for the last time, linearly interpolated between two evaluations.

    From this epoch on the network agrees more with the observed labels than with the true labels: it memorizes.
    Returns the first epoch if J1 is above J2 throughout; NaN if J1 is not above J2 at the end, or if a value is NaN.

    >>> crossing_epoch([1, 2, 3], j2=[0.5, 0.75, 0.75], j1=[0.25, 0.5, 1.0])
    2.5
    >>> crossing_epoch([1, 2, 3], j2=[0.5, 0.75, 0.75], j1=[0.25, 0.5, 0.75])
    nan
    """
    x, upper, lower = _curve(epochs, j2, j1)
    gap = lower - upper
    if len(x) == 0 or np.isnan(gap).any() or gap[-1] <= 0:
        return float("nan")
    below = np.flatnonzero(gap <= 0)
    if len(below) == 0:
        return float(x[0])
    last = below[-1]
    return float(x[last] + (x[last + 1] - x[last]) * gap[last] / (gap[last] - gap[last + 1]))


def first_reaching(epochs: Numbers, values: Numbers, bar: float) -> float:
    """First evaluated epoch whose value is at least `bar`; the last epoch + 1 if no value reaches it (censored).

    A NaN does not reach `bar`.

    >>> first_reaching([5, 10, 15], [0.5, 0.96, 0.9], bar=0.95), first_reaching([5, 10, 15], [0.5, 0.6, 0.7], bar=0.95)
    (10.0, 16.0)
    """
    x, y = _curve(epochs, values)
    reached = np.flatnonzero(y >= bar)
    return float(x[reached[0]]) if len(reached) else float(x[-1] + 1)


def resistance_gap(j2: float, j2_clean: float) -> float:
    """J2 at noise rate eta minus J2 at eta = 0, same seed and settings (Patel & Sastry 2021); 0 is full resistance.

    >>> resistance_gap(0.75, 1.0)
    -0.25
    """
    return j2 - j2_clean


def _curve(epochs: Numbers, *columns: Numbers) -> tuple[NDArray[np.float64], ...]:
    arrays = tuple(np.asarray(column, dtype=np.float64) for column in (epochs, *columns))
    if any(array.shape != (len(arrays[0]),) for array in arrays) or (np.diff(arrays[0]) <= 0).any():
        raise ValueError(
            "epochs must increase and every curve needs one value per epoch, got lengths "
            f"{[len(np.atleast_1d(array)) for array in arrays]}"
        )
    return arrays
