"""Formulas for intervals of a mean over seeds, a share of trials, and a difference of two shares."""

from __future__ import annotations

from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

__all__ = ["clopper_pearson", "mover", "newcombe", "student", "t_quantile", "wilson", "wilson_error"]

Array = NDArray[np.float64]


@overload
def t_quantile(df: float, confidence: float = ...) -> float: ...
@overload
def t_quantile(df: Array, confidence: float = ...) -> Array: ...
def t_quantile(df: float | Array, confidence: float = 0.95) -> float | Array:
    """The number of standard errors by which a two-sided Student interval extends to each side.

    Args:
        df: degrees of freedom, n - 1 for a mean over n seeds; a number or an array. 0 or less gives infinity.
        confidence: in (0, 1).

    >>> round(t_quantile(4), 3), round(t_quantile(9, 0.99), 3), t_quantile(0)
    (2.776, 3.25, inf)
    """
    free = np.asarray(df, dtype=np.float64)
    quantile = special.stdtrit(np.where(free > 0, free, 1.0), 0.5 + _checked(confidence) / 2)
    return _plain(np.where(free > 0, quantile, np.inf))


def student(values: ArrayLike, confidence: float = 0.95) -> tuple[Array, Array]:
    """Student's interval for a mean: mean +- t(n - 1) s / sqrt(n).

    Why: the spread must be estimated from a few seeds, so a normal interval would be too narrow.

    Args:
        values: (..., n), one number per seed on the last axis, finite.
        confidence: in (0, 1).

    Returns: (low, high), each (...); infinite for n below 2, because a single seed gives no estimate of the spread.

    >>> low, high = student([1.0, 2.0, 3.0])
    >>> round(float(low), 3), round(float(high), 3)
    (-0.484, 4.484)
    """
    numbers = np.asarray(values, dtype=np.float64)
    n = numbers.shape[-1]
    if n < 2:
        return np.full(numbers.shape[:-1], -np.inf), np.full(numbers.shape[:-1], np.inf)
    mean = numbers.mean(-1)
    half = t_quantile(n - 1, confidence) * numbers.std(-1, ddof=1) / np.sqrt(n)
    return np.asarray(mean - half), np.asarray(mean + half)


@overload
def wilson(successes: float, trials: float, confidence: float = ...) -> tuple[float, float]: ...
@overload
def wilson(successes: Array, trials: float | Array, confidence: float = ...) -> tuple[Array, Array]: ...
def wilson(
    successes: float | Array, trials: float | Array, confidence: float = 0.95
) -> tuple[float | Array, float | Array]:
    """Wilson's score interval of a share (Wilson 1927), with z the normal quantile and p = successes / trials:
    (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n).

    Why: this interval is also valid for shares of 0 and 1, where p +- z sqrt(p(1-p)/n) has zero width.

    Args:
        successes: in [0, trials]; a number or an array. Fractions are allowed, such as a mean share times the number of
            trials.
        trials: n; 0 trials give [0, 1].
        confidence: in (0, 1).

    >>> [round(end, 3) for end in wilson(9, 10)]
    [0.596, 0.982]
    >>> wilson(0, 10)[0], wilson(10, 10)[1], wilson(0, 0)
    (0.0, 1.0, (0.0, 1.0))
    """
    won, n = _counts(successes, trials)
    z = float(special.ndtri(0.5 + _checked(confidence) / 2))
    some = np.where(n > 0, n, 1.0)
    p = won / some
    center = (p + z * z / (2 * some)) / (1 + z * z / some)
    half = z / (1 + z * z / some) * np.sqrt(p * (1 - p) / some + (z / (2 * some)) ** 2)
    low = np.where(won > 0, np.clip(center - half, 0.0, p), 0.0)
    high = np.where(won < n, np.clip(center + half, p, 1.0), 1.0)
    return _plain(low), _plain(high)


def wilson_error(successes: float, trials: float) -> float:
    """The standard error of a share implied by Wilson's 95% interval: half its width divided by z = 1.96.

    Why: this error is above 0 even if no trial or every trial succeeded, so no interval based on it has zero width.

    >>> round(wilson_error(1000, 1000), 5), round(wilson_error(500, 1000), 4)
    (0.00098, 0.0158)
    """
    low, high = wilson(float(successes), float(trials))
    return (high - low) / 2 / float(special.ndtri(0.975))


@overload
def clopper_pearson(successes: float, trials: float, confidence: float = ...) -> tuple[float, float]: ...
@overload
def clopper_pearson(successes: Array, trials: float | Array, confidence: float = ...) -> tuple[Array, Array]: ...
def clopper_pearson(
    successes: float | Array, trials: float | Array, confidence: float = 0.95
) -> tuple[float | Array, float | Array]:
    """The exact interval for a share of independent trials (Clopper and Pearson 1934), from the beta distribution.

    Why: its coverage is never below the stated confidence, even for one trial, so it can be used for a few runs.

    Args:
        successes: whole numbers in [0, trials]; a number or an array.
        trials: n; 0 trials give [0, 1].
        confidence: in (0, 1).

    >>> [round(end, 3) for end in clopper_pearson(36, 36)], [round(end, 3) for end in clopper_pearson(0, 1)]
    ([0.903, 1.0], [0.0, 0.975])
    """
    won, n = _counts(successes, trials)
    tail = (1 - _checked(confidence)) / 2
    inner_low, inner_high = np.where(won > 0, won, 1.0), np.where(won < n, n - won, 1.0)
    low = np.where(won > 0, special.betaincinv(inner_low, n - won + 1, tail), 0.0)
    high = np.where(won < n, special.betaincinv(won + 1, inner_high, 1 - tail), 1.0)
    return _plain(low), _plain(high)


def mover(
    first: float, first_ends: tuple[float, float], second: float, second_ends: tuple[float, float]
) -> tuple[float, float]:
    """The interval for first - second, two independent estimates, by the method of variance estimates recovery (MOVER).

    Formula, where d is the difference and (l1, u1), (l2, u2) are the ends: low = d - sqrt((first - l1)^2 + (u2 -
    second)^2), high = d + sqrt((u1 - first)^2 + (second - l2)^2). Why: it preserves the skewness of both intervals.

    Args:
        first, second: the two estimates.
        first_ends, second_ends: their (low, high).

    >>> mover(3.0, (2.0, 4.0), 1.0, (1.0, 1.0))
    (1.0, 3.0)
    """
    difference = first - second
    low = np.hypot(first - first_ends[0], second_ends[1] - second)
    high = np.hypot(first_ends[1] - first, second - second_ends[0])
    return float(difference - low), float(difference + high)


def newcombe(first: tuple[float, float], second: tuple[float, float], confidence: float = 0.95) -> tuple[float, float]:
    """The interval for a difference of two independent shares (Newcombe 1998, method 10): MOVER on Wilson's intervals.

    Args:
        first, second: (successes, trials) of each share, trials above 0.
        confidence: in (0, 1).

    >>> [round(end, 4) for end in newcombe((56, 70), (48, 80))]
    [0.0524, 0.3339]
    """
    if min(first[1], second[1]) <= 0:
        raise ValueError(f"a difference of two shares needs trials in both, got {first[1]:g} and {second[1]:g}")
    ends = [wilson(float(won), float(n), confidence) for won, n in (first, second)]
    return mover(first[0] / first[1], ends[0], second[0] / second[1], ends[1])


def _counts(successes: float | Array, trials: float | Array) -> tuple[Array, Array]:
    won, n = np.broadcast_arrays(np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64))
    if not ((won >= 0) & (won <= n)).all():
        raise ValueError(f"successes must lie between 0 and the trials, got {successes} of {trials}")
    return won, n


def _checked(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    return confidence


def _plain(numbers: Array) -> float | Array:
    return float(numbers) if numbers.ndim == 0 else numbers
