"""Forecast how many more seeds would decide a claim: simulate new seeds from the checks so far and apply the rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from byrote.analysis import core
from byrote.analysis.check import FEWEST_SEEDS, Check, held_of, values_of
from byrote.analysis.core import WORDS, Held, Mask, Word, exact_tests, judge, pool, student_tests
from byrote.analysis.rule import Parts
from byrote.analysis.samples import Array

__all__ = ["Power", "power"]

_RNG_SEED = 2023
_HIGHEST_CORRELATION = 0.95


@dataclass(frozen=True)
class Power:
    """How many seeds to add, or how many runs if all checks are shares."""

    seeds: int | None  # None: more than `most`, or no forecast is possible
    chance: float  # the share of draws that are decided with `seeds` more (with `most` if `seeds` is None)
    words: dict[Word, float]  # the share of draws that end in each verdict
    reason: str

    def __str__(self) -> str:
        return self.reason


def power(
    checks: Sequence[Check],
    *,
    nearly_all: float | None = None,
    lacking: str = "",
    most: int = 100,
    draws: int = 400,
    chance: float = 0.8,
) -> Power:
    """The smallest number of added seeds with which the rule gives a verdict in a share `chance` of the draws.

    Method: the true mean of each check is drawn from its posterior given all checks of its kind, which is normal with
    the between-cell variance tau^2 of DerSimonian and Laird (1986): an estimate with variance v has weight
    B = tau^2 / (tau^2 + v), and the common mean has weight 1 - B. New seeds vary as much as the seeds so far and have
    the average correlation between cells. They are added to the seeds so far, and the rule is applied. Whether premises
    are met is kept fixed.

    Args:
        checks, nearly_all, lacking: as for `decide`.
        most: the largest number of added seeds tried.
        draws: the number of draws; the random seed is fixed, so that equal checks give equal forecasts.
        chance: the share of draws that must be decided, in (0, 1).

    >>> from byrote.analysis.check import at_least
    >>> power([Check("mnist", "m", [0.2, 0.5, 0.8], (0, 1, 2), at_least(0.1))]).seeds
    4
    """
    if not 0 < chance < 1 or most < 1 or draws < 1:
        raise ValueError(
            f"expected a chance in (0, 1), at least 1 seed and at least 1 draw, got {chance}, {most}, {draws}"
        )
    parts = Parts.of(checks)
    known = [check for check in parts.deciding if not check.unmet]
    if not known:
        return Power(None, 0.0, {}, "more seeds decide nothing, because no cell meets its premise")
    short = [one for one in known if not np.isfinite(one.numbers).all() or (one.share is None and one.n < 2)]
    if short:
        return Power(None, 0.0, {}, f"no forecast: {short[0].what} has no spread over seeds in {short[0].cell}")
    future, share_of_cells = _Future.of(known, draws, most), nearly_all
    holds = not _with_seeds(parts).blocked(lacking)

    def decided(added: int) -> tuple[float, dict[Word, float]]:
        codes = future.words(added, share_of_cells, holds)
        shares = {word: float(np.mean(codes == code)) for code, word in enumerate(WORDS)}
        return 1 - shares["inconclusive"], shares

    least = max([FEWEST_SEEDS - check.n for check in known if check.share is None], default=0)
    smallest = _smallest(lambda added: decided(added)[0] >= chance, max(least, 0), most)
    share, words = decided(most if smallest is None else smallest)
    unit = "run" if all(check.share is not None for check in known) else "seed"
    if smallest is None:
        return Power(None, share, words, f"even {most} more {unit}s would decide it in {share:.0%} of cases only")
    return Power(
        smallest,
        share,
        words,
        f"{smallest} more {unit}{'' if smallest == 1 else 's'} would decide it in {share:.0%} of cases",
    )


def _with_seeds(parts: Parts) -> Parts:
    """The parts as they will be once every check has enough seeds."""
    met = [check for check in parts.deciding if not check.unmet]
    unmet = {check.cell for check in parts.deciding if check.unmet}
    return Parts(parts.deciding, met, len({check.cell for check in met} - unmet), len(unmet))


@dataclass(frozen=True)
class _Future:
    """The values of the seeds so far, and random draws of the values of new seeds."""

    held: Held
    values: Array  # (C, S) so far
    member: Mask  # (C, S)
    new: Array  # (D, C, most) drawn values of new seeds; for a share, 1 is a success
    shares: Mask  # (C,)
    counts: Array  # (C, 2) successes and runs so far

    @classmethod
    def of(cls, checks: Sequence[Check], draws: int, most: int) -> _Future:
        rng = np.random.default_rng(_RNG_SEED)
        held, (values, member) = held_of(checks), values_of(checks)
        shares = np.array([check.share is not None for check in checks], dtype=bool)
        counts = np.array([check.share or (0, 0) for check in checks], dtype=np.float64)
        new = np.zeros((draws, len(checks), most))
        index = np.flatnonzero(~shares)
        if len(index):
            new[:, index] = _new_values(values[index], member[index], held.take(index), draws, most, rng)
        for row in np.flatnonzero(shares):
            p = rng.beta(counts[row, 0] + 0.5, counts[row, 1] - counts[row, 0] + 0.5, (draws, 1))
            new[:, row] = rng.random((draws, most)) < p
        return cls(held, values, member, new, shares, counts)

    def words(self, added: int, share: float | None, holds: bool) -> NDArray[np.intp]:
        """(D,) the verdict of each draw after `added` seeds, as an index into `WORDS`."""
        so_far = np.broadcast_to(self.values, (len(self.new), *self.values.shape))
        values = np.concatenate([so_far, self.new[..., :added]], axis=-1)
        member = np.concatenate([self.member, np.repeat(~self.shares[:, None], added, axis=1)], axis=1)
        tests = student_tests(values, member, self.held)
        if self.shares.any():
            successes = self.counts[:, 0] + self.new[..., :added].sum(-1) * self.shares
            runs = np.broadcast_to(self.counts[:, 1] + added * self.shares, successes.shape)
            tests = tests.replaced(exact_tests(np.minimum(successes, runs), runs, self.held), self.shares)
        if share is not None:
            return core.nearly_all(tests, share, holds)
        return judge(tests, pool(values, member, self.held), self.held, holds)[0]


def _new_values(values: Array, member: Mask, held: Held, draws: int, most: int, rng: np.random.Generator) -> Array:
    """Values of new seeds, (D, C, most): a drawn true mean plus errors with the spread and correlation so far."""
    n = member.sum(1)
    mean = np.where(member, values, 0.0).sum(1) / n
    deviations = np.where(member, values - mean[:, None], 0.0)
    sd = np.sqrt((deviations**2).sum(1) / (n - 1))
    sd = np.maximum(sd, held.floor * np.sqrt(n))
    truth = np.zeros((draws, len(mean)))
    for kind in np.unique(held.kind):
        own = held.kind == kind
        truth[:, own] = _true_means(mean[own], np.maximum(sd[own] ** 2 / n[own], 1e-300), draws, rng)
    scaled = deviations / np.where(sd > 0, sd, 1.0)[:, None] * np.sqrt(n / (n - 1.0))[:, None]
    pairs = float((member.sum(0) * (member.sum(0) - 1.0)).sum())
    common = float((scaled.sum(0) ** 2 - (scaled**2).sum(0)).sum()) / pairs if pairs else 0.0
    share = min(max(common, 0.0), _HIGHEST_CORRELATION)
    errors = np.sqrt(share) * rng.standard_normal((draws, 1, most))
    errors = errors + np.sqrt(1 - share) * rng.standard_normal((draws, len(mean), most))
    return np.asarray(truth[:, :, None] + sd[:, None] * errors)


def _true_means(mean: Array, variance: Array, draws: int, rng: np.random.Generator) -> Array:
    """Draws (D, k) of the true means of k cells from their posterior, which is shrunk toward the common mean."""
    weight = 1 / variance
    center = float(weight @ mean / weight.sum())
    spare = float(weight.sum() - weight @ weight / weight.sum())
    excess = float(weight @ (mean - center) ** 2) - (len(mean) - 1)
    between = max(excess / spare, 0.0) if spare > 0 and len(mean) > 1 else 0.0
    weight = 1 / (variance + between)
    center = float(weight @ mean / weight.sum())
    own = between / (between + variance)  # B, the weight of a cell's own estimate
    common = center + rng.standard_normal((draws, 1)) / np.sqrt(weight.sum())
    return np.asarray(
        own * mean + (1 - own) * common + np.sqrt(own * variance) * rng.standard_normal((draws, len(mean)))
    )


def _smallest(enough: Callable[[int], bool], least: int, most: int) -> int | None:
    """The smallest number in least .. most such that it and every larger number are enough; None if there is none."""
    low, high = least - 1, least
    while not enough(high):
        if high == most:
            return None
        low, high = high, min(max(2 * high, 1), most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
