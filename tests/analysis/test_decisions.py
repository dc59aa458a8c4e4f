"""The word (such as "holds" or "fails") that the decision rule gives for a set of checks."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from byrote.analysis import (
    Check,
    at_every_epoch,
    at_least,
    at_some_epoch,
    decide,
    within,
)

from .made import UNIT, check, mean_at

pytestmark = pytest.mark.filterwarnings("error")


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


# twelve checks with different seeds: Holm tests the smallest p at .0125 / 12; the pooled p is far above .0125
@pytest.mark.parametrize(("p", "expected"), [(0.00103, "fails in 1 of 12 cells"), (0.00105, "inconclusive")])
def test_holm_tests_all_checks_at_half_the_level(p: float, expected: str) -> None:
    others = [check(i, 0.2) for i in range(11)]
    assert pytest.approx(0.00104, abs=5e-6) == 0.0125 / 12
    assert word([*others, check(11, -mean_at(p))]) == expected


@pytest.mark.parametrize(("p", "expected"), [(0.0124, "fails"), (0.0126, "inconclusive")])
def test_a_pooled_effect_is_tested_at_half_the_level(p: float, expected: str) -> None:
    # all checks have the same seeds: the pooled p equals the p of each check
    checks = [check(i, -mean_at(p), seeds=(0, 1, 2, 3, 4)) for i in range(6)]
    assert word(checks) == expected
    assert decide(checks).named == ()
    second = [check(i, 0.0, seeds=(0, 1, 2, 3, 4), what="n", region=within(-9, 9)) for i in range(6)]
    assert word([*checks, *second]) == "inconclusive"  # each of the two kinds of check is tested at level .00625


def test_once_every_pooled_test_rejects_holm_has_the_whole_level() -> None:
    def cells(p: float) -> list[Check]:
        weak = [check(i, -0.05, sd=0.2) for i in range(3)]
        return [*weak, check(3, -mean_at(p, 5) * 1.0), check(4, -5.0, sd=1.5)]

    named = [decide(cells(p)).named for p in (0.006, 0.0064)]
    assert decide(cells(0.006)).word == "fails"
    assert named == [("cell 3", "cell 4"), ("cell 4",)]  # Holm tests at .025 / 4 = .00625, not at .0125 / 4


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
    assert word([*first, *second, *third]) == "fails"  # three of four cells are beyond a threshold


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

    # 20 cells, u = 18: "holds" needs 3 times the 18th smallest p, "fails" needs 18 times the 3rd smallest p
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
    assert never.p_false == pytest.approx(0.02)  # false at every epoch: the largest p, without a factor
    assert never.verdict == "outside"
    assert decide([best(0.01), check(1, 9.0, what="n")]).pooled.keys() == {"n"}
    holes = at_some_epoch(base, [[1.0, 2.0, math.nan, 1.0, 2.0], 9 + UNIT[5]], [1, 2])
    assert (holes.facts["epoch"], holes.tried) == (2, 2)
    assert at_some_epoch(base, [[math.nan] * 5], [1]).reason == "no epoch has a value for every seed"
