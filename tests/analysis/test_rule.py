"""Single checks, pooled effects and Holm's procedure, compared with slow arithmetic."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from byrote.analysis import (
    BELOW_ZERO,
    Check,
    at_least,
    at_most,
    within,
)
from byrote.analysis.check import held_of, shown, values_of
from byrote.analysis.core import holm, pool

from .made import check, mean_at

pytestmark = pytest.mark.filterwarnings("error")


# one check -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 10])
@pytest.mark.parametrize("region", [at_least(0.3), at_most(0.3), within(-0.2, 0.5)])
def test_a_check_is_students_t(n: int, region: tuple[float, float]) -> None:
    values = np.random.default_rng(n).normal(0.2, 0.3, n)
    one = Check("c", "m", values, tuple(range(n)), region)
    low, high = stats.t.interval(0.95, n - 1, values.mean(), stats.sem(values))
    assert (one.estimate.value, one.estimate.low, one.estimate.high) == pytest.approx((values.mean(), low, high))
    below, above = (
        stats.ttest_1samp(values, end, alternative=side).pvalue if math.isfinite(end) else 1.0
        for end, side in zip(region, ("less", "greater"), strict=True)
    )
    assert one.p_false == pytest.approx(min(below, above))
    assert one.p_true == pytest.approx(max(1 - below if below < 1 else 0, 1 - above if above < 1 else 0))
    turned = replace(one, outside=True)
    assert (turned.p_false, turned.p_true) == (one.p_true, one.p_false)


@given(st.lists(st.floats(-2, 2), min_size=3, max_size=6, unique=True), st.booleans())
def test_p_values_and_intervals_agree(values: list[float], outside: bool) -> None:
    one = Check("c", "m", values, tuple(range(len(values))), within(-0.5, 0.5), outside)
    low, high = one.estimate.low, one.estimate.high
    inside, apart = low >= -0.5 and high <= 0.5, high < -0.5 or low > 0.5
    assert one.verdict == ("inside" if (apart if outside else inside) else one.verdict)
    assert (one.verdict == "inside") == (one.p_true <= 0.025) == (apart if outside else inside)
    assert (one.verdict == "outside") == (one.p_false <= 0.025) == (inside if outside else apart)


@pytest.mark.parametrize(("mean", "expected"), [(mean_at(0.024), "inside"), (mean_at(0.026), "open")])
def test_a_check_is_inside_from_025_on(mean: float, expected: str) -> None:
    assert check(0, mean).verdict == expected
    assert check(0, -mean, region=BELOW_ZERO).verdict == expected
    assert check(0, -mean).verdict == {"inside": "outside"}.get(expected, expected)


def test_the_floor_widens_and_never_narrows() -> None:
    plain = check(0, 1.0, sd=0.1)
    assert replace(plain, floor=0.01).estimate == plain.estimate
    wide = replace(plain, floor=2.0).estimate
    assert wide.half == pytest.approx(2.0 * stats.t.ppf(0.975, 4))
    same = replace(plain, values=np.ones(5), floor=0.5)
    assert same.estimate.half == pytest.approx(0.5 * stats.t.ppf(0.975, 4))
    assert same.p_false == pytest.approx(stats.t.cdf(2.0, 4))


def test_no_interval_has_zero_width() -> None:
    same = Check("c", "epochs", [25.0, 25.0, 25.0], (0, 1, 2), at_least(0.0))
    assert (same.estimate.value, same.estimate.low, same.estimate.high) == (25.0, -math.inf, math.inf)
    assert (same.verdict, same.p_true, same.p_false) == ("open", 1.0, 1.0)
    assert Check("c", "m", [0.1, 0.1 + 1e-17, 0.1 + 1.4e-17], (0, 1, 2), at_least(0.0)).verdict == "open"


def test_undetermined_values_decide_nothing() -> None:
    for values in ([math.nan, math.nan, math.nan], [1.0, 2.0, math.nan], [1.0, 2.0, math.inf]):
        one = Check("c", "r", values, (0, 1, 2), at_least(0.0), reason="no slope")
        assert math.isnan(one.estimate.value)
        assert (one.verdict, one.p_true, one.p_false, one.row()["reason"]) == ("open", 1.0, 1.0, "no slope")


@pytest.mark.parametrize(("won", "runs"), [(0, 1), (36, 36), (35, 36), (20, 36), (3, 40)])
def test_a_share_of_runs_is_exact(won: int, runs: int) -> None:
    one = Check("all", "coverage", (), (), at_least(0.9), share=(won, runs))
    expected = stats.binomtest(won, runs).proportion_ci(0.95, method="exact")
    assert (one.estimate.value, one.estimate.low, one.estimate.high, one.n) == pytest.approx(
        (won / runs, expected.low, expected.high, runs)
    )
    assert one.p_false == pytest.approx(stats.binomtest(won, runs, 0.9, alternative="less").pvalue)
    assert one.p_true == pytest.approx(stats.binomtest(won, runs, 0.9, alternative="greater").pvalue)
    two = replace(one, region=within(0.2, 0.6))
    tails = [stats.binomtest(won, runs, end, alternative=a).pvalue for end, a in ((0.2, "less"), (0.6, "greater"))]
    assert two.p_false == pytest.approx(min(tails))
    assert replace(one, region=within(0.0, 1.0)).verdict == "inside"


def test_a_reader_sees_ratios_and_correlations() -> None:
    ratio = check(0, math.log(2.0), sd=0.1, region=within(-1, 1), scale="log")
    assert ratio.printed.value == pytest.approx(2.0)
    assert ratio.printed.high == pytest.approx(math.exp(ratio.estimate.high))
    assert shown(np.arctanh(0.7), "atanh") == pytest.approx(0.7)
    assert str(ratio) == f"m = 2 [{ratio.printed.low:.3g}, {ratio.printed.high:.3g}] in cell 0"
    assert ratio.row() | {"low": 0, "high": 0} == {
        "cell": "cell 0", "what": "m", "value": pytest.approx(2.0), "low": 0, "high": 0, "seeds": 5,
        "verdict": "inside", "reason": "",
    }  # fmt: skip
    assert replace(ratio, decides=False, facts={"eta": 0.2}).row() == ratio.row() | {"eta": 0.2, "variation": True}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"values": [1.0, 2.0]}, "one value per seed"),
        ({"seeds": (0, 0, 1, 2, 3)}, "each seed may occur only once"),
        ({"region": (1.0, 0.0)}, "must not exceed its high end"),
        ({"floor": -1.0}, "floor of the standard error"),
        ({"share": (3, 2)}, "successes <= runs"),
    ],
)
def test_a_wrong_check_is_named(change: dict, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        replace(check(0, 1.0), **change)


# pooled effects and Holm ---------------------------------------------------------------------------------------


def slow_pool(checks: list[Check]) -> tuple[float, float]:
    """Compute the mean over cells and its standard error, seed by seed."""
    k = len({one.cell for one in checks})
    weights = [1 / (k * sum(other.cell == one.cell for other in checks)) for one in checks]
    total = 0.0
    for seed in {seed for one in checks for seed in one.seeds}:
        part = 0.0
        for weight, one in zip(weights, checks, strict=True):
            if seed in one.seeds:
                n = len(one.seeds)
                part += weight * (one.numbers[one.seeds.index(seed)] - one.numbers.mean()) / math.sqrt(n * (n - 1))
        total += part**2
    return sum(w * one.numbers.mean() for w, one in zip(weights, checks, strict=True)), math.sqrt(total)


def pooled_of(checks: list[Check]):
    values, member = values_of(checks)
    return pool(values[None], member, held_of(checks))


@given(st.integers(0, 10_000), st.integers(1, 5), st.booleans())
def test_a_pooled_effect_sums_over_shared_seeds(drawn: int, k: int, two_each: bool) -> None:
    rng = np.random.default_rng(drawn)
    checks = []
    for i in range(k):
        for _ in range(1 + (two_each and i % 2)):
            seeds = tuple(rng.choice(12, rng.integers(3, 8), replace=False).tolist())
            checks.append(Check(f"cell {i}", "m", rng.normal(0.3, 1, len(seeds)), seeds, within(0.0, 0.5)))
    value, error = slow_pool(checks)
    df = min(len(one.seeds) for one in checks) - 1
    pooled = pooled_of(checks)
    assert pooled.value[0, 0] == pytest.approx(value)
    assert pooled.high[0, 0] - value == pytest.approx(stats.t.ppf(0.975, df) * error)
    assert pooled.p[0, 0] == pytest.approx(min(stats.t.cdf(value / error, df), stats.t.sf((value - 0.5) / error, df)))


def test_cells_that_share_seeds_are_not_independent() -> None:
    shared = [check(i, 0.0, seeds=(0, 1, 2, 3, 4)) for i in range(4)]
    apart = [check(i, 0.0) for i in range(4)]
    half = stats.t.ppf(0.975, 4) / math.sqrt(5)
    for checks, error in ((shared, half), (apart, half / 2)):
        assert pooled_of(checks).high[0, 0] == pytest.approx(error)


def test_a_pooled_effect_has_the_mean_floor() -> None:
    checks = [replace(check(i, 1.0), values=np.ones(5), floor=0.1 * (i + 1)) for i in range(2)]
    assert pooled_of(checks).high[0, 0] == pytest.approx(1 + 0.15 * stats.t.ppf(0.975, 4))


def slow_holm(p: list[float], level: float) -> list[bool]:
    rejected = [False] * len(p)
    for step, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        if p[i] > level / (len(p) - step):
            break
        rejected[i] = True
    return rejected


@given(st.lists(st.floats(0, 0.1), min_size=1, max_size=8), st.floats(0.01, 0.1))
def test_holm_steps_down(p: list[float], level: float) -> None:
    assert holm(np.array([p]), np.array([level]))[0].tolist() == slow_holm(p, level)


def test_holm_by_hand() -> None:
    # Holm (1979) at .05: .01 <= .05/4, .013 <= .05/3, .03 > .05/2, so that .04 <= .05/1 is not reached
    assert holm(np.array([[0.04, 0.01, 0.03, 0.013]]), np.array([0.05])).tolist() == [[False, True, False, True]]
