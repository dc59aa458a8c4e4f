"""Intervals that are valid at every moment, so that a reviewer may stop when the interval is narrow enough.

A confidence sequence by betting (Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by
betting", JRSS B 86, 1; without replacement: their section 5). There are N samples in total. At look t, let u_h be the
number of samples of stratum h that nobody has looked at, m_h the number of these that are still in the plan, m the sum
of the m_h, and w the number of wrong labels found so far. Because the plan is in random order, the next sample comes
from stratum h with probability m_h / m, and

    Y = w / N + (u_h / N) (m / m_h) X,    X = 1 where its label is wrong,

has the mean theta, the share of wrong labels, regardless of what was seen before. Now let a gambler bet on Y against
the value theta = c, with stakes that depend only on the past. If theta is c, the probability that the gambler's capital
ever exceeds 2 / alpha is at most alpha / 2. There is one gambler for theta > c and one for theta < c. The interval
contains the values c against which neither capital has ever exceeded 2 / alpha.
"""

from collections.abc import Sequence
from math import log, sqrt

import numpy as np
from numpy.typing import NDArray

__all__ = ["running_share"]

Array = NDArray[np.float64]
_GRID = 1000  # candidate values of theta
_STAKE = 0.75  # largest share of the capital that can be lost at one look


def running_share(
    stratum: Sequence[int],
    wrong: Sequence[bool],
    sizes: Sequence[int],
    checks: Sequence[int],
    confidence: float = 0.95,
) -> tuple[Array, Array]:
    """Compute the interval for the share of wrong labels after each look.

    Args:
        stratum: the stratum of each look, in the order of the plan; the looks may stop before the plan ends.
        wrong: whether the label was wrong at each look.
        sizes: N_h, the number of samples in each stratum.
        checks: n_h, the number of samples of each stratum in the plan, which is in random order.
        confidence: the probability that all intervals together contain the share, in (0, 1).

    Returns:
        low, high, each (t,); low never falls, and high never rises. Once a stratum has unseen samples but no planned
        samples left, no more bets are placed, and the interval is narrowed only by the labels seen.

    >>> low, high = running_share([0] * 60, [look % 10 == 5 for look in range(60)], [1000], [60])
    >>> bool(low[-1] < .1 < high[-1]), bool((np.diff(high) <= 0).all())
    (True, True)
    """
    total, planned = sum(sizes), np.array(checks, dtype=np.float64)
    unseen = np.array(sizes, dtype=np.float64)
    candidates = (np.arange(_GRID) + 0.5) / _GRID
    up, down = (
        np.zeros(_GRID),
        np.zeros(_GRID),
    )  # log capitals of the bets on theta > c and on theta < c
    most = np.zeros(_GRID)
    bar = log(2 / (1 - confidence))
    wrong_seen, seen, mean, spread = 0, 0, 0.5, 0.25
    lows: list[float] = []
    highs: list[float] = []
    for h, bad in zip(stratum, wrong, strict=True):
        if _open(planned, unseen):
            weight = unseen / total * planned.sum() / np.maximum(planned, 1)
            floor = wrong_seen / total
            y = floor + weight[h] * bad
            top = floor + float(weight[planned > 0].max())
            stake = sqrt(2 * bar / (max(spread, 1e-4) * (seen + 1) * log(seen + 2)))
            up += np.log1p(np.minimum(stake, _STAKE / np.maximum(candidates - floor, 1e-12)) * (y - candidates))
            down += np.log1p(-np.minimum(stake, _STAKE / np.maximum(top - candidates, 1e-12)) * (y - candidates))
            most = np.maximum(most, np.maximum(up, down))
            seen += 1
            mean += (min(y, 1.0) - mean) / (seen + 1)
            spread += ((y - mean) ** 2 - spread) / (seen + 1)
        wrong_seen += int(bad)
        planned[h] -= 1
        unseen[h] -= 1
        low, high = _ends(most < bar, wrong_seen, float(unseen.sum()), total)
        lows.append(max(low, lows[-1]) if lows else low)
        highs.append(min(high, highs[-1]) if highs else high)
    return np.array(lows), np.array(highs)


def _open(planned: Array, unseen: Array) -> bool:
    """Whether every stratum with unseen samples still has planned samples, so that the mean of Y is theta."""
    return bool(((planned > 0) | (unseen == 0)).all())


def _ends(plausible: NDArray[np.bool_], wrong: int, unseen: float, total: int) -> tuple[float, float]:
    """The ends of the range of plausible candidates, half a step outward, within the limits set by the labels seen."""
    places = np.flatnonzero(plausible)
    sure_low, sure_high = wrong / total, (wrong + unseen) / total
    if not len(places):
        return sure_low, sure_high
    return max(places[0] / _GRID, sure_low), min((places[-1] + 1) / _GRID, sure_high)
