"""Checks with an exact mean and standard deviation (SD), for tests of the decision rule for claims."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from byrote.analysis import (
    Check,
)

__all__ = ["UNIT", "check", "mean_at"]

UNIT = {n: np.linspace(-1, 1, n) / np.std(np.linspace(-1, 1, n), ddof=1) for n in (2, 3, 4, 5, 10)}


def check(
    cell: object, mean: float, sd: float = 1.0, n: int = 5, what: str = "m", region=(0.0, math.inf), **more
) -> Check:
    """Return a check whose values have exactly this mean and SD; no other check has the same seeds."""
    seeds = more.pop("seeds", tuple(f"{cell} {i}" for i in range(n)))
    return Check(f"cell {cell}", what, mean + sd * UNIT[n], seeds, region, **more)


def mean_at(p: float, n: int = 5) -> float:
    """Return the mean, in units of the SD, at which the one-sided p-value against 0 is `p`."""
    return float(stats.t.isf(p, n - 1)) / math.sqrt(n)
