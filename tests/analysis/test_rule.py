"""The rule against slow arithmetic, one set of checks at a time: tests, pooled effects, Holm, words, and power."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from byrote.analysis import (
    BELOW_ZERO,
    Check,
    Decision,
    Sample,
    at_every_epoch,
    at_least,
    at_most,
    at_some_epoch,
    decide,
    power,
    within,
)
from byrote.analysis.check import all_tests, held_of, shown, values_of
from byrote.analysis.core import holm, pool

UNIT = {n: np.linspace(-1, 1, n) / np.std(np.linspace(-1, 1, n), ddof=1) for n in (2, 3, 4, 5, 10)}


@pytest.fixture(autouse=True)
def _no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def check(
    cell: object, mean: float, sd: float = 1.0, n: int = 5, what: str = "m", region=(0.0, math.inf), **more
) -> Check:
    """A check whose values have exactly this mean and SD, with its own seeds."""
    seeds = more.pop("seeds", tuple(f"{cell} {i}" for i in range(n)))
    return Check(f"cell {cell}", what, mean + sd * UNIT[n], seeds, region, **more)


def mean_at(p: float, n: int = 5) -> float:
    """The mean, in units of the SD, at which the one-sided p-value against 0 is `p`."""
    return float(stats.t.isf(p, n - 1)) / math.sqrt(n)


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
    """Mean over cells and its standard error, seed by seed."""
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


# words ---------------------------------------------------------------------------------------------------------


def word(checks: list[Check], **more) -> str:
    return str(decide(checks, **more))


def test_holds_asks_for_every_interval() -> None:
    good = [check(i, 3.0) for i in range(11)]
    assert word([*good, check(11, mean_at(0.024))]) == "holds"
    assert word([*good, check(11, mean_at(0.026))]) == "inconclusive"
    outside = [check(i, 3.0, region=within(-0.5, 0.5), outside=True) for i in range(3)]
    assert word(outside) == "holds"
    assert word([*outside, check(4, 0.6, region=within(-0.5, 0.5), outside=True)]) == "inconclusive"


@pytest.mark.parametrize(("p", "expected"), [(0.024, "fails"), (0.026, "inconclusive")])
def test_a_lone_check_fails_at_025(p: float, expected: str) -> None:
    assert word([check(0, -mean_at(p))]) == expected


# twelve checks, each on its own seeds: Holm tests the smallest p at .0125 / 12; the pooled p is far above .0125
@pytest.mark.parametrize(("p", "expected"), [(0.00103, "fails in 1 of 12 cells"), (0.00105, "inconclusive")])
def test_holm_tests_all_checks_at_half_the_level(p: float, expected: str) -> None:
    others = [check(i, 0.2) for i in range(11)]
    assert pytest.approx(0.00104, abs=5e-6) == 0.0125 / 12
    assert word([*others, check(11, -mean_at(p))]) == expected


@pytest.mark.parametrize(("p", "expected"), [(0.0124, "fails"), (0.0126, "inconclusive")])
def test_a_pooled_effect_is_tested_at_half_the_level(p: float, expected: str) -> None:
    # all on the same seeds: the pooled p equals the p of each check
    checks = [check(i, -mean_at(p), seeds=(0, 1, 2, 3, 4)) for i in range(6)]
    assert word(checks) == expected
    assert decide(checks).named == ()
    second = [check(i, 0.0, seeds=(0, 1, 2, 3, 4), what="n", region=within(-9, 9)) for i in range(6)]
    assert word([*checks, *second]) == "inconclusive"  # two kinds of check: .00625 for each


def test_once_every_pooled_test_rejects_holm_has_the_whole_level() -> None:
    def cells(p: float) -> list[Check]:
        weak = [check(i, -0.05, sd=0.2) for i in range(3)]
        return [*weak, check(3, -mean_at(p, 5) * 1.0), check(4, -5.0, sd=1.5)]

    named = [decide(cells(p)).named for p in (0.006, 0.0064)]
    assert decide(cells(0.006)).word == "fails"
    assert named == [("cell 3", "cell 4"), ("cell 4",)]  # .025 / 4 = .00625, while .0125 / 4 = .0031


def test_claims_without_a_pooled_test_give_holm_the_whole_level() -> None:
    def kinds(p: float) -> list[Check]:
        inner = -mean_at(p)
        return [check(i, 9 + inner, region=(-math.inf, 9.0), outside=True) for i in range(2)]

    assert 0.025 / 2 == 0.0125
    assert word(kinds(0.0124)) == "fails"
    assert word(kinds(0.0126)) == "inconclusive"


def test_most_cells_must_lie_beyond_the_bar_to_fail() -> None:
    bad = [check(i, -9.0) for i in range(3)]
    assert word([*bad, check(3, -0.01), check(4, 9.0), check(5, 9.0)]) == "fails"
    assert word([*bad, check(3, 0.01), check(4, 9.0), check(5, 9.0)]) == "fails in 3 of 6 cells"
    assert word([*bad, check(3, 9.0), check(4, 9.0), check(5, 9.0)]) == "holds except in 3 of 6 cells"
    decision = decide([*bad, check(3, 0.01), check(4, 9.0), check(5, 9.0)])
    assert (decision.named, decision.cells) == (("cell 0", "cell 1", "cell 2"), 6)


def test_a_cell_counts_once_however_many_kinds_it_has() -> None:
    first = [check(i, -9.0 if i == 0 else 9.0) for i in range(4)]
    second = [check(i, -9.0 if i < 2 else 9.0, what="a") for i in range(4)]
    assert word([*first, *second]) == "holds except in 2 of 4 cells"
    third = [check(i, -0.01 if i == 3 else 9.0, what="t") for i in range(4)]
    assert word([*first, *second, *third]) == "fails"  # three of four cells are beyond a bar


def test_premises() -> None:
    def cells(met: int, unmet: int, mean: float) -> list[Check]:
        return [check(i, mean, unmet="" if i < met else "CE m .3 < .5") for i in range(met + unmet)]

    assert word(cells(3, 3, 9.0)) == "holds"
    assert word(cells(3, 4, 9.0)) == "inconclusive"
    assert word(cells(1, 4, -9.0)) == "fails"
    decision = decide(cells(3, 4, 9.0))
    assert (decision.met, decision.unmet, decision.cells) == (3, 4, 3)
    assert "the premise is met in 3 of 7 cells (CE m .3 < .5)" in decision.reason
    none = decide(cells(0, 2, -9.0))
    assert (none.word, none.pooled, none.met, none.unmet) == ("inconclusive", {}, 0, 2)
    assert "CE m .3 < .5" in none.reason
    assert word([*cells(5, 0, 9.0)[:4], replace(check(4, -9.0), unmet="x")]) == "holds"
    assert word([*cells(3, 0, 9.0), check(3, -9.0), *(replace(check(i, 9.0), unmet="x") for i in range(4, 9))]) == (
        "fails in 1 of 4 cells"
    )


def test_a_cell_met_in_part_counts_as_unmet() -> None:
    first = [check(i, 9.0) for i in range(4)]
    second = [check(i, 9.0, what="gap", unmet="x" if i < 3 else "") for i in range(4)]
    assert word([*first, *second]) == "inconclusive"
    assert word([*first, *(replace(one, unmet="x" if i < 2 else "") for i, one in enumerate(second))]) == "holds"


def test_every_part_of_a_claim_must_be_tested_to_hold() -> None:
    first = [check(i, 9.0) for i in range(4)]
    assert word([*first, check("other", 9.0, what="gap", unmet="x")]) == "inconclusive"
    few = check("other", 9.0, n=2, what="gap")
    assert word([*first, few]) == "inconclusive"
    assert "gap: fewer than 3 seeds in every cell" in decide([*first, few]).reason
    assert word([*first, few, check("third", 9.0, what="gap")]) == "holds"
    assert word(first, lacking="MSE was not run") == "inconclusive"
    assert "MSE was not run" in decide(first, lacking="MSE was not run").reason
    assert word([check(0, -9.0)], lacking="MSE was not run") == "fails"


def test_fewer_than_three_seeds_are_a_detail() -> None:
    far = check(0, -1e6, n=2)
    assert far.verdict == "open"
    assert word([far, *(check(i, 9.0) for i in range(1, 4))]) == "holds"
    alone = decide([far])
    assert (alone.word, alone.cells, len(alone.rows())) == ("inconclusive", 0, 1)
    assert alone.rows()[0]["reason"] == "fewer than 3 seeds"
    assert word([replace(far, values=(), seeds=(), share=(0, 9), region=at_least(0.9))]) == "fails"


def test_variations_decide_only_where_nothing_else_does() -> None:
    aside = check(9, -9.0, decides=False)
    decision = decide([check(0, 9.0), aside])
    assert decision.word == "holds"
    assert "variations, which decide nothing: 1 outside" in decision.reason
    assert decision.rows()[1]["variation"] is True
    assert word([aside]) == "fails"


def test_an_undetermined_check_stops_a_claim_from_holding_and_enters_no_mean() -> None:
    good, unknown = (
        [check(i, 9.0) for i in range(3)],
        Check("cell 9", "m", [math.nan] * 5, (0, 1, 2, 3, 4), at_least(0.0)),
    )
    decision = decide([*good, unknown])
    assert decision.word == "inconclusive"
    assert decision.pooled["m"].value == pytest.approx(9.0)
    assert "not determined: m in cell 9" in decision.reason
    bad = [check(i, -9.0) for i in range(3)]
    assert word([*bad, unknown, replace(unknown, cell="cell 8")]) == "fails"
    assert word([*bad[:2], unknown, replace(unknown, cell="cell 8")]) == "fails in 2 of 4 cells"


def test_the_pooled_estimate_is_always_shown() -> None:
    logs = [
        check(i, 0.1 * i, scale="log", what="ratio", region=within(-0.2, 0.2), seeds=(0, 1, 2, 3, 4)) for i in range(3)
    ]
    share = Check("all", "coverage", (), (), at_least(0.9), share=(18, 20))
    more = replace(share, cell="other", share=(20, 20))
    decision = decide([*logs, share, more])
    half = stats.t.ppf(0.975, 4) / math.sqrt(5)
    estimate = decision.pooled["ratio"]
    assert (estimate.value, estimate.low, estimate.high, estimate.n) == pytest.approx(
        (math.exp(0.1), math.exp(0.1 - half), math.exp(0.1 + half), 5)
    )
    expected = stats.binomtest(38, 40).proportion_ci(0.95, method="exact")
    assert (decision.pooled["coverage"].value, decision.pooled["coverage"].low) == pytest.approx((0.95, expected.low))


def test_the_check_that_decides_is_the_clearest_against_or_the_farthest_from_holding() -> None:
    checks = [check(0, 5.0), check(1, 0.1), check(2, -0.2), check(3, 9.0)]
    assert decide(checks).deciding is checks[2]
    assert decide([checks[0], checks[3]]).deciding is checks[0]
    assert decide([check(0, -3.0), one := check(1, -9.0)]).deciding is one


@pytest.mark.parametrize(
    ("checks", "what"),
    [
        ([], "at least one check"),
        ([check(0, 1.0), check(1, 1.0, region=at_least(0.5))], "must have the same region"),
        ([check(0, 1.0), check(1, 1.0, scale="log")], "must have the same region and scale"),
        ([check(0, 1.0), check(1, 1.0, outside=True)], "must have the same region"),
    ],
)
def test_mixed_checks_are_named(checks: list[Check], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        decide(checks)


def test_nearly_all_needs_one_kind_and_a_share() -> None:
    two = [check(0, 1.0), check(0, 1.0, what="a")]
    with pytest.raises(ValueError, match="one kind of check, one per cell"):
        decide(two, nearly_all=0.9)
    with pytest.raises(ValueError, match="between 0 and 1"):
        decide(two[:1], nearly_all=1.0)


# claims about nearly all cells, and about epochs
# -----------------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 30))
def test_nearly_all_is_the_partial_conjunction(drawn: int, k: int) -> None:
    rng = np.random.default_rng(drawn)
    shift = rng.choice([-1.5, 0.0, 1.5, 4.0])
    checks = [Check(f"cell {i}", "d", rng.normal(shift, 1, 5), (0, 1, 2, 3, 4), at_least(0.0)) for i in range(k)]
    u = next(u for u in range(1, k + 1) if u >= 0.9 * k - 1e-9)
    inside, beyond = sorted(one.p_true for one in checks), sorted(one.p_false for one in checks)
    expected = "inconclusive"
    if (k - u + 1) * inside[u - 1] <= 0.025:
        expected = "holds"
    if u * beyond[k - u] <= 0.025:
        expected = "fails"
    assert decide(checks, nearly_all=0.9).word == expected


def test_nearly_all_from_both_sides() -> None:
    def cells(p: float, sign: float) -> list[Check]:
        return [*(check(i, 30.0) for i in range(17)), *(check(i, sign * mean_at(p)) for i in range(17, 20))]

    # 20 cells, u = 18: the 18th smallest p times 3; for the other side the 3rd smallest times 18
    assert word(cells(0.0083, 1.0), nearly_all=0.9) == "holds"
    assert word(cells(0.0084, 1.0), nearly_all=0.9) == "inconclusive"
    assert word(cells(0.00138, -1.0), nearly_all=0.9) == "fails"
    assert word(cells(0.0014, -1.0), nearly_all=0.9) == "inconclusive"
    unmet = [check(f"u{i}", 30.0, unmet="x") for i in range(21)]
    assert word([*cells(0.0083, 1.0), *unmet], nearly_all=0.9) == "inconclusive"


def test_every_epoch_is_a_check_and_the_cell_counts_once() -> None:
    base = check(0, 0.0, seeds=(0, 1, 2, 3, 4), facts={"eta": 0.2})
    rows = [mean + UNIT[5] for mean in (3.0, 2.0, -9.0)]
    checks = at_every_epoch(base, rows, [1, 2, 3])
    assert [one.facts for one in checks] == [{"eta": 0.2, "epoch": epoch} for epoch in (1, 2, 3)]
    decision = decide([*checks, check(1, 9.0), check(2, 9.0)])
    assert str(decision) == "holds except in 1 of 3 cells"
    assert decision.pooled["m"].value == pytest.approx((-4 / 3 + 18) / 3)


def test_some_epoch_is_the_best_one_times_their_number() -> None:
    base = check(0, 0.0)

    def best(p: float) -> Check:
        return at_some_epoch(base, [mean + UNIT[5] for mean in (-3.0, mean_at(p), 0.0, -1.0)], [1, 2, 3, 4])

    assert best(0.01).facts["epoch"] == 2
    assert best(0.01).p_true == pytest.approx(0.04)
    assert (best(0.0062).verdict, best(0.0063).verdict) == ("inside", "open")
    half = stats.t.ppf(1 - 0.025 / 4, 4) / math.sqrt(5)
    assert best(0.01).estimate.half == pytest.approx(half)
    never = at_some_epoch(base, [mean + UNIT[5] for mean in (-9.0, -mean_at(0.02), -9.0)], [1, 2, 3])
    assert never.p_false == pytest.approx(0.02)  # false at every epoch: the largest p, not multiplied
    assert never.verdict == "outside"
    assert decide([best(0.01), check(1, 9.0, what="n")]).pooled.keys() == {"n"}
    holes = at_some_epoch(base, [[1.0, 2.0, math.nan, 1.0, 2.0], 9 + UNIT[5]], [1, 2])
    assert (holes.facts["epoch"], holes.tried) == (2, 2)
    assert at_some_epoch(base, [[math.nan] * 5], [1]).reason == "no epoch has a value for every seed"


# many checks at once, errors, power -----------------------------------------------------------------------------------


def test_many_repetitions_are_judged_as_each_by_itself() -> None:
    from byrote.analysis.core import WORDS, judge, student_tests

    rng = np.random.default_rng(0)
    values = rng.normal(0.4, 1, (300, 4, 5)) + rng.normal(0, 1.5, (300, 1, 1)) + rng.choice([-2.0, 2.0], (300, 4, 1))
    member = np.ones((4, 5), dtype=bool)
    member[1, 3:] = False

    def checks(row: np.ndarray) -> list[Check]:
        return [
            Check(f"cell {i}", "m", row[i][member[i]], tuple(range(member[i].sum())), at_least(0.0)) for i in range(4)
        ]

    held = held_of(checks(values[0]))
    codes, named = judge(student_tests(values, member, held), pool(values, member, held), held)
    each = [decide(checks(row)) for row in values]
    assert [WORDS[code] for code in codes] == [one.word for one in each]
    assert len(set(codes.tolist())) == 5
    for row, one in zip(named, each, strict=True):
        if one.word not in ("holds", "inconclusive"):
            assert tuple(f"cell {i}" for i in np.flatnonzero(row)) == one.named


def test_a_claim_at_its_bar_rarely_fails_and_one_beyond_it_often_does() -> None:
    rng = np.random.default_rng(1)

    def share(shift: float, words: tuple[str, ...]) -> float:
        drawn = rng.normal(shift, 1, (400, 6, 5))
        cells = [[Check(f"{i}", "m", row[i], (0, 1, 2, 3, 4), at_least(0.0)) for i in range(6)] for row in drawn]
        return float(np.mean([decide(one).word in words for one in cells]))

    assert share(0.0, ("fails", "fails in", "holds except")) < 0.05
    assert share(-2.0, ("fails",)) > 0.95
    assert share(-2.0, ("holds",)) == 0


def test_power_counts_the_seeds_that_decide() -> None:
    clear = power([check(i, 3.0) for i in range(4)])
    assert (clear.seeds, clear.chance, clear.words["holds"]) == (0, 1.0, 1.0)
    near = power([check(i, 0.6, seeds=(0, 1, 2, 3, 4)) for i in range(3)])
    farther = power([check(i, 1.0, seeds=(0, 1, 2, 3, 4)) for i in range(3)])
    assert near.seeds is not None
    assert farther.seeds is not None
    assert 0 < farther.seeds < near.seeds
    assert near.chance >= 0.8
    assert sum(near.words.values()) == pytest.approx(1.0)
    at_bar = power([check(0, 0.0)], most=20)
    assert at_bar.seeds is None
    assert str(at_bar).startswith("even 20 more seeds would decide it in")
    # a second call gives the same answer
    assert power([check(i, 0.6, seeds=(0, 1, 2, 3, 4)) for i in range(3)]) == near


def test_power_agrees_with_the_textbook_for_one_cell() -> None:
    """If the mean is known almost exactly, the noncentral t gives the probability that a new interval lies inside."""
    known = Check("c", "m", 0.45 + np.tile([-1.0, 1.0], 200), tuple(range(400)), at_least(0.0))
    assert power([known]).seeds == 0
    spread = math.sqrt(400 / 399)
    expected = next(
        n for n in range(2, 200) if stats.nct.sf(stats.t.ppf(0.975, n - 1), n - 1, 0.45 * math.sqrt(n) / spread) >= 0.8
    )
    drawn = np.random.default_rng(0).normal(0.45, spread, (4000, expected))
    half = stats.t.ppf(0.975, expected - 1) * drawn.std(1, ddof=1) / math.sqrt(expected)
    assert np.mean(drawn.mean(1) - half > 0) == pytest.approx(0.8, abs=0.03)
    small = power([check(0, 0.45, n=10)], draws=4000)
    assert small.seeds is not None
    assert expected < 10 + small.seeds  # an unknown mean needs more seeds than a known one


def test_power_of_shares_and_of_few_seeds() -> None:
    share = power([Check("all", "coverage", (), (), at_least(0.9), share=(30, 30))])
    assert share.seeds is not None
    assert 5 <= share.seeds <= 40  # 36 of 36 hold; if some runs miss, more are needed
    assert "more runs would decide it" in str(share)
    two = power([check(0, 50.0, n=2)])
    assert two.seeds == 1  # three seeds are enough for a check
    assert power([check(0, 9.0, unmet="x")]).seeds is None
    assert "no forecast" in str(power([Check("c", "m", [1.0], (0,), at_least(0.0))]))
    blocked = power([check(0, 9.0), *(check(i, 9.0, unmet="x") for i in range(1, 4))], most=10)
    assert blocked.words["holds"] == 0
    with pytest.raises(ValueError, match="a chance in"):
        power([check(0, 1.0)], chance=1.0)


def test_power_of_nearly_all() -> None:
    cells = [check(i, 1.0, seeds=(0, 1, 2, 3, 4)) for i in range(20)]
    forecast = power(cells, nearly_all=0.9)
    assert forecast.seeds is not None
    assert 0 < forecast.seeds < 40


def test_samples_make_checks() -> None:
    sample = Sample(np.array([1.0, 2.0, 3.0]), (0, 1, 2), "log")
    one = Check("c", "ratio", sample.values, sample.seeds, within(-1, 1), scale=sample.scale, reason=sample.reason)
    expected = sample.estimate()
    assert one.estimate == replace(expected, low=pytest.approx(expected.low), high=pytest.approx(expected.high))
    assert isinstance(decide([one]), Decision)
    assert all_tests([one], held_of([one])).value.shape == (1, 1)
