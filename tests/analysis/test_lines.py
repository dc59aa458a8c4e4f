"""The memorization-dilation regression against scipy, made data with known answers, and degenerate runs."""

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from byrote.measures.fit import fit_dilation, fit_line, slope_ratio


def made(
    slope: float, seeds: int = 8, noise: float = 0.02, rng_seed: int = 0, root: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Runs at four rates: mem grows with the rate, NC1 (or its root) is 0.1 + slope mem + noise of the seed."""
    rng = np.random.default_rng(rng_seed)
    rate = np.tile([0.1, 0.2, 0.3, 0.4], seeds)
    seed = np.repeat(np.arange(seeds), 4)
    mem = rate * 3 + 0.1 * rng.normal(size=len(rate))
    nc1 = 0.1 + slope * mem + noise * rng.normal(size=len(rate)) + noise * rng.normal(size=seeds)[seed]
    return mem, nc1**2 if root else nc1, seed, rate


@given(seed=st.integers(0, 1000), n=st.integers(3, 30), confidence=st.sampled_from([0.8, 0.95]))
def test_line_and_t_interval_equal_scipy(seed: int, n: int, confidence: float) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    y = 2 * x + rng.normal(size=n)
    fit, oracle = fit_line(x, y, confidence=confidence), stats.linregress(x, y)
    t = stats.t.ppf(0.5 + confidence / 2, n - 2)
    assert fit.slope.method == "t over runs"
    assert fit.slope.value == pytest.approx(oracle.slope)
    assert fit.slope.low == pytest.approx(oracle.slope - t * oracle.stderr)
    assert fit.slope.high == pytest.approx(oracle.slope + t * oracle.stderr)
    assert fit.intercept.value == pytest.approx(oracle.intercept)
    assert fit.intercept.high == pytest.approx(oracle.intercept + t * oracle.intercept_stderr)
    assert fit.r_squared == pytest.approx(oracle.rvalue**2)
    assert math.isnan(fit.left_out_error)


def test_left_out_error_by_a_loop() -> None:
    mem, nc1, _, rate = made(0.5)
    errors = []
    for i in range(len(mem)):
        others = rate != rate[i]
        slope, intercept = np.polyfit(mem[others], nc1[others], 1)
        errors.append(nc1[i] - intercept - slope * mem[i])
    fit = fit_line(mem, nc1, groups=rate)
    assert fit.left_out_error == pytest.approx(np.sqrt(np.mean(np.square(errors))))
    assert fit.left_out_r_squared == pytest.approx(1 - np.sum(np.square(errors)) / np.sum(np.square(nc1 - nc1.mean())))
    assert fit.left_out_r_squared < fit.r_squared


def test_bootstrap_draws_whole_seeds() -> None:
    """Noise that a seed shares widens the interval; copies of one run do not narrow it."""
    mem, nc1, seed, _ = made(0.5)
    fit = fit_line(mem, nc1, seeds=seed)
    assert fit.slope.method == "bootstrap over 8 seeds"
    assert fit.slope.low < fit.slope.value < fit.slope.high
    twice = fit_line(np.tile(mem, 2), np.tile(nc1, 2), seeds=np.tile(seed, 2))
    assert (twice.slope.low, twice.slope.high) == pytest.approx((fit.slope.low, fit.slope.high))
    assert fit_line(np.tile(mem, 2), np.tile(nc1, 2)).slope.high < fit_line(mem, nc1).slope.high
    assert fit_line(mem, nc1, seeds=seed).slope == fit.slope  # equal data, equal interval


def test_bootstrap_interval_by_a_loop() -> None:
    """t times the standard deviation over draws of whole seeds, a seed drawn twice counting twice."""
    mem, nc1, seed, _ = made(0.5)
    slopes = []
    for drawn in np.random.default_rng(0).integers(8, size=(500, 8)):
        rows = [i for k in drawn for i in range(len(mem)) if seed[i] == k]
        slopes.append(np.polyfit(mem[rows], nc1[rows], 1)[0])
    margin = stats.t.ppf(0.975, 7) * math.sqrt(8 / 7) * np.std(slopes)
    slope = fit_line(mem, nc1, seeds=seed, draws=500).slope
    assert slope.high - slope.value == pytest.approx(margin, rel=1e-6)
    assert slope.value - slope.low == pytest.approx(margin, rel=1e-6)


def test_bootstrap_covers_the_truth() -> None:
    """The 95% interval holds the true slope in most of 40 made studies, and not in all widths: it is no constant."""
    hits = 0
    for k in range(40):
        mem, nc1, seed, _ = made(0.5, rng_seed=k)
        slope = fit_line(mem, nc1, seeds=seed, draws=300).slope
        hits += slope.low <= 0.5 <= slope.high
    assert hits >= 32
    wide = fit_line(*made(0.5, noise=0.2)[:2], seeds=made(0.5)[2]).slope
    narrow = fit_line(*made(0.5, noise=0.002)[:2], seeds=made(0.5)[2]).slope
    assert wide.high - wide.low > 20 * (narrow.high - narrow.low)


def test_straight_or_root() -> None:
    for root, better in ((False, "straight"), (True, "root")):
        mem, nc1, seed, rate = made(0.7, root=root, noise=0.003)
        fit = fit_dilation(mem, nc1, seeds=seed, groups=rate)
        assert fit.better == better
        assert fit.straight_error == fit.straight.left_out_error
    mem, nc1, _, rate = made(0.7)
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
    """Equal slopes: 1 inside; half and twice: outside, on their own side; swapping inverts."""
    ce, equal = made(0.5), made(0.5, rng_seed=1)
    ratio = slope_ratio(equal[:3], ce[:3])
    assert ratio.low < 1 < ratio.high
    half = slope_ratio(made(0.25, rng_seed=2)[:3], ce[:3])
    assert half.high < 0.8
    twice = slope_ratio(made(1.0, rng_seed=3)[:3], ce[:3])
    assert twice.low > 1.25
    assert slope_ratio(ce[:3], equal[:3]).value == pytest.approx(1 / ratio.value)
    assert ratio.method == "bootstrap over 8 seeds"


def test_slope_ratio_pairs_the_seeds() -> None:
    """What both sets share by seed cancels: the same noise in both gives no width."""
    mem, nc1, seed, _ = made(0.5, noise=0.2)
    same = slope_ratio((mem, 2 * nc1, seed), (mem, nc1, seed))
    assert (same.low, same.high) == (pytest.approx(2), pytest.approx(2))
    alone = slope_ratio((mem, nc1, seed), (mem, nc1, seed + 100))
    assert math.isnan(alone.low)
    assert alone.value == 1


def test_runs_without_a_number_are_dropped_and_counted() -> None:
    mem, nc1, seed, rate = made(0.5)
    nc1[3], mem[7] = np.nan, np.inf
    fit = fit_line(mem, nc1, seeds=seed, groups=rate)
    assert (fit.count, fit.dropped) == (len(mem) - 2, 2)
    keep = np.isfinite(mem) & np.isfinite(nc1)
    assert fit.slope.value == pytest.approx(np.polyfit(mem[keep], nc1[keep], 1)[0])


@pytest.mark.parametrize(
    ("x", "y"), [([], []), ([1.0], [1.0]), ([2.0, 2.0, 2.0], [1.0, 2.0, 3.0]), ([np.nan] * 3, [1.0, 2.0, 3.0])]
)
def test_no_line_is_nan(x: list[float], y: list[float]) -> None:
    fit = fit_line(x, y, seeds=list(range(len(x))), groups=list(range(len(x))))
    assert math.isnan(fit.slope.value)
    assert math.isnan(fit.slope.low)
    assert math.isnan(fit.r_squared)
    assert fit_dilation(x, y).better == "undecided"
    seeds = list(range(len(x)))
    assert math.isnan(slope_ratio((x, y, seeds), (x, y, seeds)).value)


def test_two_runs_have_no_t_interval() -> None:
    fit = fit_line([1, 2], [1, 3])
    assert fit.slope.value == pytest.approx(2)
    assert math.isnan(fit.slope.low)


def test_misuse_is_one_sentence() -> None:
    with pytest.raises(ValueError, match="one length"):
        fit_line([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="confidence"):
        fit_line([1, 2], [1, 2], confidence=95)


def test_plain_numbers_load_no_torch() -> None:
    code = "import sys, byrote.measures.fit, byrote.measures.curves; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
