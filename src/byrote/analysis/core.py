"""The arithmetic of the verdict rule on arrays, for many repetitions of many checks at once.

`decide` applies it to one repetition; `benchmarks/verdicts.py` and `power` apply it to thousands. The letters in shapes
mean: R repetitions, C checks, S seeds, K cells, W kinds of statistic.

Each check has two one-sided p-values. A small `false_p` is evidence that the claim is false in the cell. It is the
smaller of the p-values for lying below and above the region. For a claim that the value lies outside the region, it is
the larger of the p-values for not lying below and not lying above. A small `true_p` is evidence that the claim is true;
it is at most .025 where the whole 95% interval agrees with the claim.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from byrote.analysis.samples import Array
from byrote.intervals import clopper_pearson, t_quantile

__all__ = [
    "TAIL",
    "WORDS",
    "Held",
    "Mask",
    "Pooled",
    "Tests",
    "exact_tests",
    "holm",
    "judge",
    "nearly_all",
    "pool",
    "student_tests",
]

Mask = NDArray[np.bool_]
Numbers = NDArray[np.intp]
TAIL = 0.025  # the one-sided chance of a wrong verdict: half for the pooled tests, half for Holm's test
Word = Literal["holds", "fails", "holds except", "fails in", "inconclusive"]
WORDS: tuple[Word, ...] = ("holds", "fails", "holds except", "fails in", "inconclusive")
_HOLDS, _FAILS, _EXCEPT, _FAILS_IN, _OPEN = range(5)
_EXACT = 1e-13  # a spread below this fraction of the mean is treated as rounding error


@dataclass(frozen=True)
class Held:
    """The regions of C checks, and the cell and kind of each."""

    cell: Numbers  # (C,) its cell, 0 .. K - 1
    kind: Numbers  # (C,) its kind of statistic, 0 .. W - 1
    low: Array  # (C,) the region's ends, on the scale of the values
    high: Array
    outside: Mask  # (C,) whether the claim is that the value lies outside the region
    floor: Array  # (C,) the floor of the standard error
    tried: Array  # (C,) the number of epochs among which the epoch was chosen, 1 for an ordinary check
    pools: Mask  # (C,) whether the check enters the pooled estimate of its kind

    def take(self, index: Numbers) -> Held:
        """Select the checks at `index`."""
        place, ends = (self.cell[index], self.kind[index]), (self.low[index], self.high[index])
        return Held(*place, *ends, self.outside[index], self.floor[index], self.tried[index], self.pools[index])


@dataclass(frozen=True)
class Tests:
    """Estimate, 95% interval and p-values of each check, all (R, C)."""

    value: Array
    low: Array
    high: Array
    false_p: Array
    true_p: Array
    wrong: Mask  # the estimate contradicts the claim
    inside: Mask  # the whole interval agrees with the claim

    def replaced(self, other: Tests, where: Mask) -> Tests:
        """Copy the tests, and take those of `other` for the checks that the mask `where` (C,) selects."""
        return Tests(
            np.where(where, other.value, self.value),
            np.where(where, other.low, self.low),
            np.where(where, other.high, self.high),
            np.where(where, other.false_p, self.false_p),
            np.where(where, other.true_p, self.true_p),
            np.where(where, other.wrong, self.wrong),
            np.where(where, other.inside, self.inside),
        )


@dataclass(frozen=True)
class Pooled:
    """The mean over cells for each kind, (R, W); NaN, with p = 1, if the kind has no check to pool."""

    value: Array
    low: Array
    high: Array
    p: Array  # the p-value, 1 where the kind has no pooled test
    tested: Mask  # (W,)


def student_tests(values: Array, member: Mask, held: Held) -> Tests:
    """Test each check by Student's t (n - 1 degrees of freedom) with its own standard error, but at least its floor.

    Args:
        values: (R, C, S), one value per seed; values outside the mask `member` are ignored.
        member: (C, S), the seeds that each check has.
        held: the regions.

    A check has an infinite interval and p-values of 1 if it has fewer than two seeds, a value that is NaN, or neither
    spread nor floor.
    """
    n = member.sum(1)
    mean, deviations = _centered(values, member, n)
    error = _error((deviations**2).sum(-1), mean, n, held.floor)
    known = (n >= 2) & np.isfinite(mean) & (error > 0)
    df, safe = np.maximum(n - 1.0, 1.0), np.where(known, error, 1.0)
    center = np.where(known, mean, 0.0)
    from_low, from_high = (center - held.low) / safe, (held.high - center) / safe
    below, above = special.stdtr(df, from_low), special.stdtr(df, from_high)
    not_above, not_below = special.stdtr(df, -from_low), special.stdtr(df, -from_high)
    half = np.array([t_quantile(float(free), 1 - 2 * TAIL / float(m)) for free, m in zip(df, held.tried, strict=True)])
    ends = (np.where(known, mean - half * error, -np.inf), np.where(known, mean + half * error, np.inf))
    return _tests(mean, ends, (below, above, not_above, not_below), known, held)


def exact_tests(successes: Array, trials: Array, held: Held) -> Tests:
    """Test each check as a share of independent runs, with the Clopper-Pearson interval and exact binomial p-values.

    Args:
        successes, trials: (R, C), whole numbers.
        held: the regions, in [0, 1].
    """
    known = trials > 0
    low, high = np.clip(held.low, 0.0, 1.0), np.clip(held.high, 0.0, 1.0)
    below = np.where(low > 0, _at_most(successes, trials, low), 1.0)
    above = np.where(high < 1, _at_least(successes, trials, high), 1.0)
    not_above = np.where(low > 0, _at_least(successes, trials, low), 0.0)
    not_below = np.where(high < 1, _at_most(successes, trials, high), 0.0)
    share = np.where(known, successes / np.maximum(trials, 1.0), np.nan)
    return _tests(share, clopper_pearson(successes, trials), (below, above, not_above, not_below), known, held)


def pool(values: Array, member: Mask, held: Held) -> Pooled:
    """The mean over the cells of each kind, with a standard error that accounts for seeds shared between cells.

    Formula: with weight w = 1 / (cells x checks of the kind in the cell), which is 1 / k if each of k cells has one
    check, se^2 = sum over seeds of (sum over checks of w (x - mean of its check) / sqrt(n (n - 1)))^2, at least the
    weighted mean of the floors; Student's t has n - 1 degrees of freedom, n the smallest number of seeds of a check.
    Why: cells that share seeds vary together and are not independent.

    For the arguments see `student_tests`; only checks with `held.pools` are pooled.
    """
    count = int(held.kind.max()) + 1
    shape = (len(values), count)
    value, half, p = np.full(shape, np.nan), np.full(shape, np.inf), np.ones(shape)
    tested = np.zeros(count, dtype=bool)
    for kind in range(count):
        index = np.flatnonzero(held.pools & (held.kind == kind))
        if not len(index):
            continue
        one, n = held.take(index), member[index].sum(1)
        mean, deviations = _centered(values[:, index], member[index], n)
        weight = _cell_weights(one.cell)
        scaled = np.einsum("c,rcs->rs", weight / np.sqrt(n * (n - 1.0)), deviations)
        value[:, kind] = center = mean @ weight
        error = np.maximum(np.sqrt((scaled**2).sum(1)), float(weight @ one.floor))
        error = np.where(error > _EXACT * np.abs(center), error, 0.0)
        df = float(n.min() - 1)
        known, safe = error > 0, np.where(error > 0, error, 1.0)
        half[:, kind] = np.where(known, t_quantile(df) * error, np.inf)
        tested[kind] = not one.outside[0]
        if tested[kind]:
            tails = [special.stdtr(df, (center - one.low[0]) / safe), special.stdtr(df, (one.high[0] - center) / safe)]
            p[:, kind] = np.where(known, np.minimum(*tails), 1.0)
    return Pooled(value, value - half, value + half, p, tested)


def holm(p: Array, level: Array) -> Mask:
    """Which of C hypotheses Holm's step-down test rejects (Holm 1979).

    Args:
        p: (R, C).
        level: (R,), the allowed chance of at least one false rejection.

    >>> holm(np.array([[0.004, 0.03, 0.02]]), np.array([0.025]))
    array([[ True, False, False]])
    """
    order = np.argsort(p, axis=1)
    count = p.shape[1]
    passed = np.take_along_axis(p, order, axis=1) <= level[:, None] / (count - np.arange(count))
    rejected = np.zeros(p.shape, dtype=bool)
    np.put_along_axis(rejected, order, np.logical_and.accumulate(passed, axis=1), axis=1)
    return rejected


def judge(tests: Tests, pooled: Pooled, held: Held, may_hold: bool = True) -> tuple[Numbers, Mask]:
    """The verdict of each repetition, as an index into `WORDS`, and the cells that the verdict names.

    Args:
        tests, pooled: the tests of those checks that meet their premise.
        may_hold: False if too few cells meet their premise, or if a part of the claim was not tested.

    Returns: (R,) words; (R, K) the cells in which Holm rejects a check.
    """
    kinds = int(pooled.tested.sum())
    rejections = (pooled.p <= TAIL / 2 / max(kinds, 1)) & pooled.tested
    whole_level = (rejections.sum(1) == kinds) | (len(held.cell) == 1)
    rejected = holm(tests.false_p, np.where(whole_level, TAIL, TAIL / 2))
    of_cell = held.cell[:, None] == np.arange(int(held.cell.max()) + 1)  # (C, K)
    named, wrong, open_ = (_any(mask, of_cell) for mask in (rejected, tests.wrong, ~tests.inside))
    most = 2 * wrong.sum(1) > of_cell.shape[1]
    any_named = named.any(1)
    fails = (any_named | rejections.any(1)) & most
    others_inside = ~(open_ & ~named).any(1) & may_hold
    word = np.full(len(fails), _OPEN)
    word[any_named] = _FAILS_IN
    word[any_named & others_inside] = _EXCEPT
    word[fails] = _FAILS
    word[tests.inside.all(1) & may_hold] = _HOLDS
    return word, named


def nearly_all(tests: Tests, share: float, may_hold: bool = True) -> Numbers:
    """The verdict on the claim that nearly all cells, at least u = ceil(share k) of k, lie inside.

    Rule: let p(1) <= p(2) <= ... be the p-values for lying inside, and p'(1) <= p'(2) <= ... the p-values for lying
    outside. The claim holds if (k - u + 1) p(u) <= .025, and it fails if u p'(k - u + 1) <= .025. These are
    Bonferroni's tests of partial conjunctions (Benjamini and Heller 2008). Each is valid for any dependence between
    cells.

    Returns: (R,) indices into `WORDS`.
    """
    count = tests.value.shape[1]
    u = min(max(math.ceil(share * count - 1e-9), 1), count)
    true_p, false_p = np.sort(tests.true_p, axis=1), np.sort(tests.false_p, axis=1)
    word = np.full(len(true_p), _OPEN)
    word[((count - u + 1) * true_p[:, u - 1] <= TAIL) & may_hold] = _HOLDS
    word[u * false_p[:, count - u] <= TAIL] = _FAILS
    return word


def _tests(
    value: Array, ends: tuple[Array, Array], tails: tuple[Array, Array, Array, Array], known: Mask, held: Held
) -> Tests:
    """Combine the p-values for lying below, above, not below and not above the region into those of the claim."""
    below, above, inside_low, inside_high = tails
    apart, within = np.minimum(below, above), np.maximum(inside_low, inside_high)
    false_p, true_p = np.where(held.outside, within, apart), np.where(held.outside, apart, within)
    low, high = ends
    beyond = (value < held.low) | (value > held.high)
    clear = (low > held.high) | (high < held.low)
    covered = (held.low <= low) & (high <= held.high)
    return Tests(
        value,
        low,
        high,
        np.where(known, false_p, 1.0),
        np.where(known, np.minimum(true_p * held.tried, 1.0), 1.0),
        np.isfinite(value) & (beyond != held.outside),
        known & np.where(held.outside, clear, covered),
    )


def _centered(values: Array, member: Mask, n: Numbers) -> tuple[Array, Array]:
    """The mean over the seeds of each check, (R, C), and each seed's deviation, (R, C, S), 0 for seeds it lacks."""
    mean = np.where(member, values, 0.0).sum(-1) / np.maximum(n, 1)
    return mean, np.where(member, values - mean[..., None], 0.0)


def _error(squares: Array, mean: Array, n: Numbers, floor: Array) -> Array:
    """The standard error of each mean, at least its floor; 0 if there is neither spread nor floor."""
    error = np.sqrt(squares / np.maximum(n * (n - 1.0), 1.0))
    return np.maximum(np.where(error > _EXACT * np.abs(mean), error, 0.0), floor)


def _cell_weights(cell: Numbers) -> Array:
    """Weights that sum to 1, equal for all cells and, within a cell, for all of its checks."""
    _, number, counts = np.unique(cell, return_inverse=True, return_counts=True)
    return np.asarray(1.0 / (len(counts) * counts[number]))


def _any(mask: Mask, of_cell: Mask) -> Mask:
    """(R, C), (C, K) -> (R, K): whether the flag is set for any check of each cell."""
    return np.asarray(mask.astype(np.float32) @ of_cell.astype(np.float32) > 0)


def _at_least(successes: Array, trials: Array, p: Array) -> Array:
    """P(X >= successes) of a binomial variable."""
    some = np.maximum(successes, 1.0)
    return np.where(successes > 0, special.betainc(some, np.maximum(trials - some + 1, 1.0), p), 1.0)


def _at_most(successes: Array, trials: Array, p: Array) -> Array:
    """P(X <= successes) of a binomial variable."""
    return _at_least(trials - successes, trials, 1 - p)
