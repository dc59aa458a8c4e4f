"""The decision rule on many sets of checks at once: its error rates and its power."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from byrote.analysis import (
    Check,
    Decision,
    Sample,
    at_least,
    decide,
    power,
    within,
)
from byrote.analysis.check import all_tests, held_of
from byrote.analysis.core import pool

from .made import check

pytestmark = pytest.mark.filterwarnings("error")


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
    """For an almost exactly known mean, the noncentral t gives the probability that a new interval is in the region."""
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
    assert 5 <= share.seeds <= 40  # 36 of 36 checks hold; if some runs were missing, more seeds would be needed
    assert "more runs would decide it" in str(share)
    two = power([check(0, 50.0, n=2)])
    assert two.seeds == 1  # a check needs at least three seeds
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
