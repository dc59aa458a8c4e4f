"""The statistics of the claims against slow and obvious computations, scipy, and known examples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from byrote.claims.decide import BELOW_ZERO, Check, at_least, at_most, conclude, more_seeds, within
from byrote.claims.statistics import (
    DRAWS,
    Estimate,
    Fit,
    bootstrapped,
    fit_line,
    mean_over_seeds,
    minus,
    resamples,
    share_of_runs,
    spearman,
    wilson,
)


@given(st.integers(0, 40), st.integers(1, 40))
def test_wilson_is_scipys(successes: int, trials: int) -> None:
    successes = min(successes, trials)
    found = wilson(successes, trials)
    expected = stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    assert found.low == pytest.approx(expected.low, abs=1e-12)
    assert found.high == pytest.approx(expected.high, abs=1e-12)
    assert found.value == successes / trials


@given(st.integers(0, 40), st.integers(1, 40))
def test_a_share_of_runs_is_clopper_and_pearsons(successes: int, runs: int) -> None:
    successes = min(successes, runs)
    found = share_of_runs(successes, runs)
    expected = stats.binomtest(successes, runs).proportion_ci(0.95, method="exact")
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_the_mean_over_seeds_is_students_t() -> None:
    values = np.array([1.0, 2.0, 4.0, 8.0])
    found = mean_over_seeds(values)
    low, high = stats.t.interval(0.95, 3, loc=values.mean(), scale=stats.sem(values))
    assert (found.value, found.n) == (3.75, 4)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_one_seed_counts_samples_or_knows_nothing() -> None:
    assert mean_over_seeds(np.array([0.9]), 100) == wilson(90, 100)
    assert mean_over_seeds(np.array([0.9])) == Estimate(0.9, -math.inf, math.inf, 1)
    assert mean_over_seeds(np.array([])).n == 0


def test_a_difference_of_shares_is_newcombes() -> None:
    # Newcombe (1998), method 10, example (a): 56/70 - 48/80 = .2, interval .0524 to .3339
    found = minus(wilson(56, 70), wilson(48, 80))
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == (pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5))


def test_resamples_draw_seeds_with_replacement_and_always_alike() -> None:
    counts = resamples(5)
    assert counts.shape == (DRAWS, 5)
    assert (counts.sum(1) == 5).all()
    assert counts.var() == pytest.approx(5 * 0.2 * 0.8, rel=0.05)
    assert np.array_equal(counts, resamples(5))


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_bootstrapping_a_mean_gives_students_interval(n: int) -> None:
    values = np.random.default_rng(n).normal(size=n)
    found = bootstrapped(float(values.mean()), resamples(n) @ values / n, n)
    expected = mean_over_seeds(values)
    assert found.half == pytest.approx(expected.half, rel=0.04)
    assert found.value == pytest.approx(expected.value)


def test_the_interval_of_a_ratio_of_slopes_covers_with_three_seeds() -> None:
    rng = np.random.default_rng(1)
    seed, eta = (grid.ravel() for grid in np.meshgrid(np.arange(3), np.array([0.1, 0.2, 0.4])))

    def fitted() -> Fit:
        x = eta * (1 + 0.1 * rng.normal(size=len(eta)))
        y = 0.5 * x + 0.03 * rng.normal(size=3)[seed] * eta + 0.05 * rng.normal(size=len(eta)) * eta
        return fit_line(x, y, seed, eta)

    ratios = [fitted().ratio(fitted()) for _ in range(150)]
    assert 0.91 <= np.mean([ratio.low <= 1 <= ratio.high for ratio in ratios]) <= 0.995


def test_what_is_not_determined_is_unbounded_and_what_is_bounded_stays_so() -> None:
    assert bootstrapped(1.0, np.array([1.0, np.nan]), 5).high == math.inf
    rare = np.append(np.linspace(0, 2, 999), np.inf)
    assert bootstrapped(1.0, rare, 5).half == pytest.approx(bootstrapped(1.0, rare[:-1], 5).half)
    assert bootstrapped(1.0, np.append(rare, [np.nan] * 10), 5).low == -math.inf
    assert bootstrapped(1.0, np.array([1.0, 1.0]), 1).low == -math.inf
    cut = bootstrapped(0.9, np.array([0.8, 1.0]), 5, (0.0, 1.0))
    assert (cut.high, cut.low < 0.9) == (1.0, True)


def runs_of(seeds: int, etas: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seeds * 100 + etas)
    seed, eta = (grid.ravel() for grid in np.meshgrid(np.arange(seeds), np.arange(1, etas + 1) / 10))
    x = 1000 + eta * 3 + rng.normal(size=len(eta)) * 0.2
    return x, 2 * x + 1 + rng.normal(size=len(eta)) * 0.1, seed, eta


def slow_error(x: np.ndarray, y: np.ndarray, eta: np.ndarray) -> float:
    squares = []
    for one in np.unique(eta):
        slope, intercept = np.polyfit(x[eta != one], y[eta != one], 1)
        squares += list((y[eta == one] - intercept - slope * x[eta == one]) ** 2)
    return float(np.sqrt(np.mean(squares)))


def test_the_fitted_line_is_least_squares() -> None:
    x, y, seed, eta = runs_of(4, 5)
    fit, reference = fit_line(x, y, seed, eta), stats.linregress(x, y)
    assert fit.slope == pytest.approx(reference.slope, rel=1e-9)
    assert fit.intercept == pytest.approx(reference.intercept, rel=1e-9)
    assert fit.r2 == pytest.approx(reference.rvalue**2, rel=1e-9)
    assert fit.error == pytest.approx(slow_error(x, y, eta), rel=1e-6)
    assert (fit.seeds, fit.runs) == (4, 20)


def test_the_bootstrap_draws_whole_seeds_with_all_their_eta() -> None:
    x, y, seed, eta = runs_of(4, 4)
    fit, counts = fit_line(x, y, seed, eta), resamples(4)
    for draw in (0, 7, 99, 1234):
        take = np.concatenate([np.flatnonzero(seed == s) for s in range(4) for _ in range(int(counts[draw, s]))])
        reference = stats.linregress(x[take], y[take])
        assert fit.slope_draws[draw] == pytest.approx(reference.slope, rel=1e-8)
        assert fit.r2_draws[draw] == pytest.approx(reference.rvalue**2, rel=1e-8)
        assert fit.error_draws[draw] == pytest.approx(slow_error(x[take], y[take], eta[take]), rel=1e-6)


def test_ratios_of_slopes_are_paired_by_seed_and_refuse_a_slope_that_may_vanish() -> None:
    x, y, seed, eta = runs_of(5, 4)
    fit, twice = fit_line(x, y, seed, eta), fit_line(x, 2 * y, seed, eta)
    ratio = twice.ratio(fit)
    assert ratio.value == pytest.approx(2)
    assert (ratio.low, ratio.high) == (pytest.approx(2), pytest.approx(2))  # the same seeds cancel
    noise = fit_line(x, np.random.default_rng(0).normal(size=len(x)), seed, eta)
    assert fit.ratio(noise).high == math.inf
    assert twice.error_against(fit).value == pytest.approx(math.log(2))


def test_spearman_is_scipys_also_with_ties_and_resampled() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.integers(0, 6, 30).astype(float), rng.integers(0, 6, 30).astype(float)
    y += x
    seed = np.arange(30) % 5
    found = spearman(x, y, seed)
    assert found.value == pytest.approx(stats.spearmanr(x, y).statistic)
    draws = []
    for row in resamples(5)[:300]:
        take = np.concatenate([np.flatnonzero(seed == s) for s in range(5) for _ in range(int(row[s]))])
        draws.append(stats.spearmanr(x[take], y[take]).statistic)
    assert found.low <= min(draws) + 0.05
    assert found.high >= max(draws) - 0.05
    assert found.low < found.value < found.high


REGIONS = {"low": at_most(1.0), "high": at_least(1.0), "band": within(0.8, 1.25)}


@pytest.mark.parametrize(
    ("low", "high", "region", "word"),
    [
        (0.0, 0.9, "low", "holds"),
        (1.1, 1.2, "low", "fails"),
        (0.9, 1.1, "low", "inconclusive"),
        (1.1, 1.2, "high", "holds"),
        (0.8, 0.99, "high", "fails"),
        (0.99, 1.2, "high", "inconclusive"),
        (0.85, 1.2, "band", "holds"),
        (1.3, 1.4, "band", "fails"),
        (0.1, 0.7, "band", "fails"),
        (0.7, 1.2, "band", "inconclusive"),
        (-math.inf, math.inf, "band", "inconclusive"),
    ],
)
def test_an_interval_holds_fails_or_stays_open(low: float, high: float, region: str, word: str) -> None:
    value = (max(low, -9.0) + min(high, 9.0)) / 2
    assert Check("cell", "x", Estimate(value, low, high, 3), REGIONS[region]).verdict == word
    turned = {"holds": "fails", "fails": "holds"}.get(word, word)
    assert Check("cell", "x", Estimate(value, low, high, 3), REGIONS[region], outside=True).verdict == turned


def test_power_is_what_more_seeds_of_the_same_spread_would_give() -> None:
    values = np.array([-1.0, 0.4, -0.8, 0.2])
    found = mean_over_seeds(values)
    more = more_seeds(found, BELOW_ZERO)
    assert more is not None
    spread = values.std(ddof=1)

    def upper(n: int) -> float:
        return float(values.mean() + stats.t.ppf(0.975, n - 1) * spread / math.sqrt(n))

    assert upper(4 + more) < 0 <= upper(4 + more - 1)
    assert more_seeds(Estimate(0.0, -1.0, 1.0, 5), BELOW_ZERO) is None
    assert more_seeds(Estimate(0.0, -math.inf, math.inf, 1), BELOW_ZERO) == 2
    assert more_seeds(share_of_runs(5, 5), at_least(0.9)) == 31  # 36 runs that all agree


def check(low: float, high: float, cell: str = "here", unmet: str = "") -> Check:
    return Check(cell, "x", Estimate((low + high) / 2, low, high, 3), at_least(0.0), unmet=unmet)


def test_the_worst_cell_decides() -> None:
    good, open_, bad = check(1, 2, "a"), check(-1, 2, "b"), check(-2, -1, "c")
    assert conclude([good, good], runs=4).verdict == "holds"
    assert conclude([good, open_], runs=4).verdict == "inconclusive"
    found = conclude([good, open_, bad], runs=4)
    assert (found.verdict, found.statistic, found.interval) == ("fails", -1.5, (-2, -1))
    assert "1 of 3 checks fail" in found.reason
    assert "in c" in found.reason


def test_premises_that_were_not_reached_decide_nothing() -> None:
    good, unmet = check(1, 2, "a"), check(-2, -1, "b", "under-trained: x")
    assert conclude([good, unmet], runs=4).verdict == "holds"
    assert "1 of 2 checks" in conclude([good, unmet], runs=4).reason
    assert conclude([good, unmet, unmet], runs=4).verdict == "inconclusive"
    alone = conclude([unmet], runs=4)
    assert (alone.verdict, alone.reason) == ("inconclusive", "under-trained: x")
    assert conclude([check(-2, -1), unmet, unmet], runs=4).verdict == "fails"


def test_a_cell_of_one_seed_does_not_keep_the_others_from_a_verdict() -> None:
    single = Check("single", "x", Estimate(1.0, -math.inf, math.inf, 1), at_least(0.0))
    found = conclude([single, check(1, 2)], runs=3)
    assert (found.verdict, found.reason) == ("holds", "left out for having one seed: single")
    assert len(found.details) == 2
    assert conclude([single], runs=1).verdict == "inconclusive"
    other = Check("single", "y", Estimate(1.0, -math.inf, math.inf, 1), at_least(0.0))
    assert conclude([other, check(1, 2)], runs=3).verdict == "inconclusive"


def test_a_claim_that_lacks_a_part_may_fail_but_not_hold() -> None:
    assert conclude([check(1, 2)], runs=1, lacking="no MSE").verdict == "inconclusive"
    assert conclude([check(-2, -1)], runs=1, lacking="no MSE").verdict == "fails"
