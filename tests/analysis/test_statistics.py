"""Statistics of runs, compared with slow loops in numpy or scipy that repeat every fit without each seed."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from byrote.analysis import Points, Sample, mean_over_seeds, paired_difference, spearman, unreliable

Runs = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(autouse=True)
def _no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def runs_of(
    seeds: int, etas: int, slope: float = 2.0, noise: float = 0.3, shift: float = 1000.0, drawn: int = 0
) -> Runs:
    """Return runs in shuffled order, with values far from the origin and one run missing."""
    rng = np.random.default_rng([drawn, seeds, etas])
    seed, eta = (grid.ravel() for grid in np.meshgrid(np.arange(seeds), np.arange(1, etas + 1) / 10))
    x = shift + 10 * eta + rng.normal(size=len(eta)) * 0.3 + 0.2 * seed
    y = slope * x + 1 + rng.normal(size=len(eta)) * noise
    order = rng.permutation(len(x))[1:]
    return x[order], y[order], seed[order], eta[order]


def slow(statistic: Callable[..., float], *groups: Runs) -> Sample:
    """Compute the jackknife by brute force: the statistic of all runs, and the statistic without each seed."""
    seeds = [seed for seed in dict.fromkeys(groups[0][2].tolist()) if all(seed in group[2] for group in groups)]
    whole = statistic(*groups)
    without = [statistic(*(tuple(c[g[2] != seed] for c in g) for g in groups)) for seed in seeds]
    n = len(seeds)
    return Sample(np.array([n * whole - (n - 1) * one for one in without]), tuple(seeds), whole=whole)


def slope_of(runs: Runs) -> float:
    return float(np.polyfit(runs[0] - 1000, runs[1], 1)[0])


def error_of(runs: Runs) -> float:
    x, y, _, eta = runs
    squares: list[float] = []
    for one in np.unique(eta):
        slope, intercept = np.polyfit(x[eta != one] - 1000, y[eta != one], 1)
        squares += list((y[eta == one] - intercept - slope * (x[eta == one] - 1000)) ** 2)
    return float(np.sqrt(np.mean(squares)))


def distance_of(first: Runs, second: Runs) -> float:
    curves = []
    for x, y, _, eta in (first, second):
        curves.append(sorted((x[eta == one].mean(), y[eta == one].mean()) for one in np.unique(eta)))
    low, high = max(c[0][0] for c in curves), min(c[-1][0] for c in curves)
    grid = np.linspace(low, high, 21)
    a, b = (np.interp(grid, *np.array(curve).T) for curve in curves)
    return float(np.sqrt(np.mean((a - b) ** 2)) / np.mean((a + b) / 2))


def same(actual: Sample, expected: Sample, scale: str, rel: float = 1e-7) -> None:
    assert actual.scale == scale
    assert actual.seeds == expected.seeds
    assert actual.whole == pytest.approx(expected.whole, rel=rel)
    assert actual.values == pytest.approx(expected.values, rel=rel)
    assert np.ptp(expected.values) > 0.01 * abs(expected.whole)  # so a mix-up of seeds would change the result


SIZES = pytest.mark.parametrize(("seeds", "etas"), [(3, 3), (4, 4), (10, 6)])


@SIZES
def test_a_slope_is_the_brute_force_jackknife(seeds: int, etas: int) -> None:
    runs = runs_of(seeds, etas, noise=3.0)
    same(Points.of(*runs).slope(), slow(slope_of, runs), "plain")


@SIZES
def test_r_squared_is_the_squared_correlation(seeds: int, etas: int) -> None:
    runs = runs_of(seeds, etas, noise=3.0)
    same(Points.of(*runs).r_squared(), slow(lambda r: float(np.corrcoef(r[0], r[1])[0, 1] ** 2), runs), "plain")


@SIZES
def test_a_left_out_error_is_that_of_lines_through_the_other_eta(seeds: int, etas: int) -> None:
    runs = runs_of(seeds, etas)
    same(Points.of(*runs).log_left_out_error(), slow(lambda r: float(np.log(error_of(r))), runs), "log", rel=1e-5)


@SIZES
def test_ratios_are_logs_paired_by_seed(seeds: int, etas: int) -> None:
    first, second = runs_of(seeds, etas, 3.0, 3.0), runs_of(seeds, etas, 1.5, 3.0, drawn=1)
    one, two = Points.of(*first), Points.of(*second)
    ratio = slow(lambda a, b: float(np.log(slope_of(a) / slope_of(b))), first, second)
    same(one.log_slope_ratio(two), ratio, "log")
    errors = slow(lambda a, b: float(np.log(error_of(a) / error_of(b))), first, second)
    same(one.log_error_ratio(two), errors, "log", rel=1e-5)


@SIZES
def test_a_distance_of_curves_is_the_brute_force_jackknife(seeds: int, etas: int) -> None:
    first, second = runs_of(seeds, etas, 3.0), runs_of(seeds, etas, 2.0, drawn=1)
    expected = slow(lambda a, b: float(np.log(distance_of(a, b))), first, second)
    distance = Points.of(*first).log_distance(Points.of(*second))
    assert distance.values == pytest.approx(expected.values, rel=1e-6)
    assert distance.whole == pytest.approx(expected.whole)


def test_only_shared_seeds_and_eta_are_compared() -> None:
    runs = runs_of(6, 5, noise=0.5)
    x, y, seed, eta = runs
    fewer, other = (seed < 4) & (eta < 0.45), runs_of(6, 5, 1.0, 0.5, drawn=2)
    both = (other[2] < 4) & (other[3] < 0.45)
    part = Points.of(x[fewer], y[fewer], seed[fewer], eta[fewer])
    cut = Points.of(*(column[both] for column in other))
    for one, two in ((part, Points.of(*other)), (Points.of(*runs), cut)):
        for statistic in (Points.log_slope_ratio, Points.log_error_ratio):
            ratios, expected = (
                dict(zip(sample.seeds, sample.values.tolist(), strict=True))
                for sample in (statistic(one, two), statistic(part, cut))
            )
            assert set(ratios) == {0, 1, 2, 3}
            assert ratios == pytest.approx(expected)


def test_a_seed_without_runs_at_the_shared_eta_does_not_count() -> None:
    first, second = runs_of(4, 4, noise=0.5), runs_of(4, 4, 1.0, 0.5, drawn=1)
    x, y, seed, eta = first
    alone = Points.of(
        np.append(x, [1.0, 2.0]), np.append(y, [1.0, 5.0]), np.append(seed, [9, 9]), np.append(eta, [7, 8])
    )
    other = Points.of(
        *(np.append(column, more) for column, more in zip(second, ([0.0], [0.0], [9], [0.1]), strict=True))
    )
    ratio = alone.log_slope_ratio(other)
    assert 9 not in ratio.seeds
    assert len(ratio.seeds) == 4


def test_runs_without_both_readings_are_left_out() -> None:
    x, y, seed, eta = runs_of(4, 4)
    whole = Points.of(x, y, seed, eta).slope().values
    with_holes = Points.of(
        np.append(x, [np.nan, 5.0]), np.append(y, [1.0, np.inf]), np.append(seed, [0, 1]), np.append(eta, [0.1, 0.2])
    )
    assert with_holes.slope().values == pytest.approx(whole)


@given(st.floats(1e-6, 1e6), st.floats(-1e4, 1e4), st.floats(1e-6, 1e6))
def test_a_slope_has_the_units_of_y_over_x(unit: float, shift: float, height: float) -> None:
    x, y, seed, eta = runs_of(4, 4, shift=0.0)
    scaled = Points.of(unit * (x + shift), height * y, seed, eta)
    plain = Points.of(x, y, seed, eta)
    assert scaled.slope().values == pytest.approx(plain.slope().values * height / unit, rel=1e-6)
    error = plain.log_left_out_error().values + np.log(height)
    assert scaled.log_left_out_error().values == pytest.approx(error, rel=1e-5, abs=1e-5)


@SIZES
@pytest.mark.parametrize("ties", [False, True])
def test_a_rank_correlation_is_scipys_without_each_seed(seeds: int, etas: int, ties: bool) -> None:
    x, y, seed, eta = runs_of(seeds, etas, noise=4.0)
    if ties:
        x, y = np.round(x), np.round(y / 4)
    runs = (x, y, seed, eta)
    correlation = spearman(x, y, seed)
    same(correlation, slow(lambda r: float(np.arctanh(stats.spearmanr(r[0], r[1]).statistic)), runs), "atanh")


def test_a_perfect_rank_correlation_counts_half_a_step_below_1() -> None:
    x = np.arange(12.0)
    correlation = spearman(x, x**3, np.arange(12) % 3)
    assert np.tanh(correlation.whole) == pytest.approx(1 - 6 / (12**3 - 12))
    swapped = x.copy()
    swapped[[4, 5]] = 5, 4
    assert np.tanh(spearman(x, swapped, np.arange(12) % 3).whole) == pytest.approx(1 - 12 / (12**3 - 12))
    assert spearman(x, -x, np.arange(12) % 3).whole == pytest.approx(-correlation.whole)


def test_a_mean_averages_each_seed_first() -> None:
    mean = mean_over_seeds([1.0, 3.0, 10.0, np.nan, np.inf], ["a", "a", "b", "b", "c"])
    assert mean.seeds == ("a", "b")
    assert mean.values.tolist() == [2.0, 10.0]
    assert mean.whole == 6.0
    estimate = mean.estimate()
    low, high = stats.t.interval(0.95, 1, loc=6.0, scale=4.0)
    assert (estimate.value, estimate.low, estimate.high, estimate.n) == pytest.approx((6.0, low, high, 2))
    assert mean_over_seeds([], []).estimate().n == 0


def test_a_difference_is_paired_by_seed_and_eta() -> None:
    first = ([1.0, 2.0, 5.0, 9.0, np.nan], [0, 0, 1, 2, 3], [0.1, 0.2, 0.1, 0.1, 0.1])
    second = ([0.5, 0.25, 7.0, 1.0, 1.0], [0, 1, 2, 0, 3], [0.1, 0.1, 0.2, 0.2, 0.1])
    difference = paired_difference(first, second)
    assert dict(zip(difference.seeds, difference.values.tolist(), strict=True)) == {0: (0.5 + 1.0) / 2, 1: 4.75}
    with pytest.raises(ValueError, match=r"expected one run per seed and eta, got two at seed 0, eta 0\.1"):
        paired_difference(([1.0, 2.0], [0, 0], [0.1, 0.1]), second)


FLAT = (np.ones(12), np.arange(12.0), np.arange(12) % 3, np.arange(12) // 3)
FALLING = (np.arange(12.0), -np.arange(12.0) + 0.1 * (np.arange(12) % 2), np.arange(12) % 3, np.arange(12) // 3)
RISING = (np.arange(12.0), np.arange(12.0) + 0.1 * (np.arange(12) % 2), np.arange(12) % 3, np.arange(12) // 3)
EXACT = (np.arange(12.0), 2 * np.arange(12.0), np.arange(12) % 3, np.arange(12) // 3)
ONE_VARIES = (np.arange(12.0) * (np.arange(12) % 3 == 0), *RISING[1:])  # x is constant without seed 0
TWO_ETA = (np.arange(12.0), np.arange(12.0) % 5, np.arange(12) % 3, np.where(np.arange(12) < 6, 0.1, 0.2))


@pytest.mark.parametrize(
    ("sample", "why"),
    [
        (lambda: Points.of(*FLAT).slope(), "x does not vary"),
        (lambda: Points.of(*ONE_VARIES).slope(), "when any one seed is left out"),
        (lambda: Points.of(*FLAT).r_squared(), "x or y does not vary"),
        (lambda: Points.of(*FLAT).log_left_out_error(), "fewer than three eta"),
        (lambda: Points.of(*FALLING).log_slope_ratio(Points.of(*RISING)), "a slope is not above 0"),
        (lambda: Points.of(*RISING).log_slope_ratio(Points.of(*FALLING)), "a slope is not above 0"),
        (lambda: Points.of(*FLAT).log_slope_ratio(Points.of(*RISING)), "a slope is not above 0"),
        (lambda: Points.of(*EXACT).log_error_ratio(Points.of(*RISING)), "an error is 0"),
        (lambda: Points.of(*RISING).log_distance(Points.of(*RISING)), "coincide"),
        (lambda: Points.of(*RISING).log_distance(Points.of(RISING[0] + 50, *RISING[1:])), "do not overlap"),
        (lambda: spearman(FLAT[0], FLAT[1], FLAT[2]), "does not vary"),
    ],
)
def test_what_is_not_determined_is_nan_with_a_reason(sample: Callable[[], Sample], why: str) -> None:
    undetermined = sample()
    assert np.isnan(undetermined.values).all()
    assert len(undetermined.values) == len(undetermined.seeds) == 3
    assert why in undetermined.reason


def test_no_shared_seed_gives_an_empty_sample() -> None:
    x, y, seed, eta = RISING
    ratio = Points.of(*RISING).log_slope_ratio(Points.of(x, y, seed + 7, eta))
    assert (len(ratio.values), ratio.seeds) == (0, ())
    assert "no seed has runs" in ratio.reason
    assert Points.of([], [], [], []).slope().seeds == ()


def test_one_seed_gives_its_own_statistic() -> None:
    x, y, _, eta = TWO_ETA
    slope = Points.of(x, y, np.zeros(12, dtype=int), eta).slope()
    assert slope.values == pytest.approx([np.polyfit(x, y, 1)[0]])
    assert slope.estimate().low == -np.inf


def test_unequal_lengths_are_named() -> None:
    with pytest.raises(ValueError, match="one x, one y and one seed per run"):
        Points.of([1.0], [1.0, 2.0], [0], [0.1])


def test_a_reading_that_seeds_move_as_much_as_conditions_is_unreliable() -> None:
    conditions = [0, 0, 0, 1, 1, 1]
    steady = [1.0, 1.1, 0.9, 3.0, 3.1, 2.9]  # the variance within a condition is .01, the total variance 1.208
    assert unreliable(steady, conditions, 0.0) == ""
    assert unreliable(steady, conditions, 0.60) == ""
    assert "by counting samples alone" in unreliable(steady, conditions, 0.61)
    assert "seeds vary as much as conditions" in unreliable([1.0, 3.0, 2.0, 2.1, 3.1, 1.1], conditions, 0.0)
    # the variance within a condition is 1; the total is (4 + 1.5 apart^2) / 5, which is 2 for conditions 2 apart
    for apart, reliable in ((2.05, True), (1.95, False)):
        moved = np.array([-1.0, 0.0, 1.0, -1.0, 0.0, 1.0]) + apart * np.array(conditions)
        assert (float(np.var(moved, ddof=1)) > 2) == reliable
        assert (unreliable(moved, conditions, 0.0) == "") == reliable
    assert "no condition has two runs" in unreliable([1.0, 2.0], [0, 1], 0.0)
    assert "hardly varies" in unreliable([1.0] * 4, [0, 0, 1, 1], 0.0)


def test_many_statistics_cost_little() -> None:
    """100 ratios of slopes and of errors on ten seeds and six eta take .1 seconds; the test allows five."""
    pairs = [tuple(Points.of(*runs_of(10, 6, drawn=drawn)) for drawn in (2 * i, 2 * i + 1)) for i in range(100)]
    started = time.process_time()
    for one, two in pairs:
        one.log_slope_ratio(two)
        one.log_error_ratio(two)
    assert time.process_time() - started < 0.5
