"""The regression of dilation on memorization: against scipy, on simulated data, and on degenerate runs."""

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from byrote.analysis import fit_dilation, fit_line, slope_ratio


def simulated(
    slope: float, seeds: int = 8, noise: float = 0.02, rng_seed: int = 0, root: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Simulate runs at four rates: mem grows with the rate; NC1 (or its root) is 0.1 + slope * mem + noise by seed."""
    rng = np.random.default_rng(rng_seed)
    rate = np.tile([0.1, 0.2, 0.3, 0.4], seeds)
    seed = np.repeat(np.arange(seeds), 4)
    mem = rate * 3 + 0.1 * rng.normal(size=len(rate))
    nc1 = 0.1 + slope * mem + noise * rng.normal(size=len(rate)) + noise * rng.normal(size=seeds)[seed]
    return mem, nc1**2 if root else nc1, seed, rate


@given(seed=st.integers(0, 1000), n=st.integers(3, 30))
def test_a_line_against_scipy(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=n), rng.normal(size=n)
    fit, oracle = fit_line(x, y), stats.linregress(x, y)
    assert fit.slope == pytest.approx(oracle.slope)
    assert fit.intercept == pytest.approx(oracle.intercept)
    assert fit.r_squared == pytest.approx(oracle.rvalue**2)
    assert fit.over_seeds.whole == pytest.approx(oracle.slope)
    assert math.isnan(fit.left_out_error)


def test_left_out_error_by_a_loop() -> None:
    mem, nc1, _, rate = simulated(0.5)
    errors = []
    for i in range(len(mem)):
        others = rate != rate[i]
        slope, intercept = np.polyfit(mem[others], nc1[others], 1)
        errors.append(nc1[i] - intercept - slope * mem[i])
    fit = fit_line(mem, nc1, groups=rate)
    assert fit.left_out_error == pytest.approx(np.sqrt(np.mean(np.square(errors))))
    assert fit.left_out_r_squared == pytest.approx(1 - np.sum(np.square(errors)) / np.sum(np.square(nc1 - nc1.mean())))
    assert fit.left_out_r_squared < fit.r_squared


def jackknifed(function, seeds: np.ndarray) -> np.ndarray:
    """Compute the jackknife pseudo-value of each seed in a loop, for a function of a mask over runs."""
    n, whole = len(np.unique(seeds)), function(np.ones(len(seeds), dtype=bool))
    return np.array([n * whole - (n - 1) * function(seeds != seed) for seed in np.unique(seeds)])


def test_the_interval_by_a_loop() -> None:
    """The jackknife: Student's interval from slopes that each leave out all runs of one seed."""
    mem, nc1, seed, _ = simulated(0.5)
    values = jackknifed(lambda rest: np.polyfit(mem[rest], nc1[rest], 1)[0], seed)
    low, high = stats.t.interval(0.95, 7, np.mean(values), stats.sem(values))
    estimate = fit_line(mem, nc1, seeds=seed).over_seeds.estimate()
    assert (estimate.value, estimate.low, estimate.high, estimate.n) == pytest.approx((np.mean(values), low, high, 8))
    alone = fit_line(mem, nc1).over_seeds.estimate()
    each = jackknifed(lambda rest: np.polyfit(mem[rest], nc1[rest], 1)[0], np.arange(len(mem)))
    low, high = stats.t.interval(0.95, 31, np.mean(each), stats.sem(each))
    assert (alone.low, alone.high, alone.n) == pytest.approx((low, high, 32))


def test_copies_of_a_run_do_not_narrow_the_interval() -> None:
    mem, nc1, seed, _ = simulated(0.5)
    once, twice = (fit_line(np.tile(mem, k), np.tile(nc1, k), seeds=np.tile(seed, k)) for k in (1, 2))
    ends = [(one.over_seeds.estimate().low, one.over_seeds.estimate().high) for one in (once, twice)]
    assert ends[0] == pytest.approx(ends[1])
    apart = [fit_line(np.tile(mem, k), np.tile(nc1, k)).over_seeds.estimate().half for k in (1, 2)]
    assert apart[1] < apart[0]


def test_the_interval_covers_the_truth() -> None:
    """The 95% interval contains the true slope in most of 40 simulated studies and is as wide as the noise requires."""
    hits = 0
    for k in range(40):
        mem, nc1, seed, _ = simulated(0.5, rng_seed=k)
        slope = fit_line(mem, nc1, seeds=seed).over_seeds.estimate()
        hits += slope.low <= 0.5 <= slope.high
    assert hits >= 34
    wide, narrow = (
        fit_line(*simulated(0.5, noise=noise)[:2], seeds=simulated(0.5)[2]).over_seeds.estimate().half
        for noise in (0.2, 0.002)
    )
    assert wide > 20 * narrow


def test_straight_or_root() -> None:
    for root, better in ((False, "straight"), (True, "root")):
        mem, nc1, seed, rate = simulated(0.7, root=root, noise=0.003)
        fit = fit_dilation(mem, nc1, seeds=seed, groups=rate)
        assert fit.better == better
        assert fit.straight_error == fit.straight.left_out_error
    mem, nc1, _, rate = simulated(0.7)
    root = fit_dilation(mem, nc1, groups=rate)
    errors = []
    for i in range(len(mem)):
        others = rate != rate[i]
        slope, intercept = np.polyfit(mem[others], np.sqrt(nc1[others]), 1)
        errors.append(nc1[i] - max(intercept + slope * mem[i], 0) ** 2)
    assert root.root_error == pytest.approx(np.sqrt(np.mean(np.square(errors))))
    with pytest.raises(ValueError, match="negative"):
        fit_dilation([1, 2], [0.1, -0.1])


def test_slope_ratio_is_right_too_low_and_too_high() -> None:
    """For equal slopes the interval of the ratio contains 1; for half or double, it is on the correct side of 1."""
    ce, equal = simulated(0.5), simulated(0.5, rng_seed=1)
    ratio = slope_ratio(equal[:3], ce[:3])
    assert ratio.low < 1 < ratio.high
    half = slope_ratio(simulated(0.25, rng_seed=2)[:3], ce[:3])
    assert half.high < 0.8
    twice = slope_ratio(simulated(1.0, rng_seed=3)[:3], ce[:3])
    assert twice.low > 1.25
    assert slope_ratio(ce[:3], equal[:3]).value == pytest.approx(1 / ratio.value)
    seed = ce[2]
    values = jackknifed(
        lambda rest: np.log(np.divide(*(np.polyfit(x[rest], y[rest], 1)[0] for x, y, *_ in (equal, ce)))), seed
    )
    low, high = np.exp(stats.t.interval(0.95, 7, np.mean(values), stats.sem(values)))
    assert (ratio.value, ratio.low, ratio.high, ratio.n) == pytest.approx((np.exp(np.mean(values)), low, high, 8))
    narrow = slope_ratio(equal[:3], ce[:3], confidence=0.5)
    assert ratio.low < narrow.low < narrow.value < narrow.high < ratio.high


def test_slope_ratio_pairs_the_seeds() -> None:
    """Noise that both sets of runs share for each seed cancels, so the interval has zero width."""
    mem, nc1, seed, _ = simulated(0.5, noise=0.2)
    same = slope_ratio((mem, 2 * nc1, seed), (mem, nc1, seed))
    assert (same.low, same.high) == (pytest.approx(2), pytest.approx(2))
    alone = slope_ratio((mem, nc1, seed), (mem, nc1, seed + 100))
    assert alone.n == 0
    assert math.isnan(alone.value)


def test_runs_without_a_number_are_dropped_and_counted() -> None:
    mem, nc1, seed, rate = simulated(0.5)
    nc1[3], mem[7] = np.nan, np.inf
    fit = fit_line(mem, nc1, seeds=seed, groups=rate)
    assert (fit.count, fit.dropped) == (len(mem) - 2, 2)
    keep = np.isfinite(mem) & np.isfinite(nc1)
    assert fit.slope == pytest.approx(np.polyfit(mem[keep], nc1[keep], 1)[0])


@pytest.mark.parametrize(
    ("x", "y"), [([], []), ([1.0], [1.0]), ([2.0, 2.0, 2.0], [1.0, 2.0, 3.0]), ([np.nan] * 3, [1.0, 2.0, 3.0])]
)
def test_no_line_is_nan(x: list[float], y: list[float]) -> None:
    fit = fit_line(x, y, seeds=list(range(len(x))), groups=list(range(len(x))))
    assert math.isnan(fit.slope)
    assert math.isnan(fit.over_seeds.estimate().value)
    assert math.isnan(fit.r_squared)
    assert fit_dilation(x, y).better == "undecided"
    seeds = list(range(len(x)))
    assert math.isnan(slope_ratio((x, y, seeds), (x, y, seeds)).value)


def test_two_runs_have_no_interval() -> None:
    fit = fit_line([1, 2], [1, 3])
    assert fit.slope == pytest.approx(2)
    assert math.isnan(fit.over_seeds.estimate().value)
    assert "left out" in fit.over_seeds.reason


def test_misuse_gives_one_sentence() -> None:
    with pytest.raises(ValueError, match="the same length"):
        fit_line([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="the same length"):
        fit_line([1, 2], [1, 2], groups=[1])
    with pytest.raises(ValueError, match="confidence"):
        slope_ratio(simulated(0.5)[:3], simulated(0.4)[:3], confidence=95)


def test_plain_numbers_load_no_torch() -> None:
    code = "import sys, byrote.analysis, byrote.measures.curves; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
