"""Each interval formula agrees with scipy and published examples, and covers the truth as often as stated."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from byrote.intervals import clopper_pearson, mover, newcombe, student, t_quantile, wilson, wilson_error

CONFIDENCES = [0.5, 0.9, 0.95, 0.999]


@pytest.mark.parametrize("confidence", CONFIDENCES)
@given(st.integers(1, 60), st.data())
def test_shares_are_scipys(confidence: float, trials: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, trials))
    for ours, method in ((wilson, "wilson"), (clopper_pearson, "exact")):
        expected = stats.binomtest(successes, trials).proportion_ci(confidence, method=method)
        assert ours(successes, trials, confidence) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_ends_are_exact_where_none_or_all_succeed() -> None:
    for trials in (1, 7, 10**6, 10**15):
        for interval in (wilson, clopper_pearson):
            assert interval(0, trials)[0] == 0
            assert interval(trials, trials)[1] == 1
            assert 0 < interval(0, trials)[1] < 1 - 1e-17 + interval(0, 1)[1]
            assert interval(trials, trials)[0] < 1
    assert wilson(0, 0) == clopper_pearson(0, 0) == (0, 1)


def test_textbook_values() -> None:
    # Newcombe (1998), "Two-sided confidence intervals for the single proportion", 81 of 263 and 15 of 148
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert clopper_pearson(81, 263) == pytest.approx((0.2527, 0.3676), abs=5e-5)
    assert clopper_pearson(0, 20) == pytest.approx((0, 0.1684), abs=5e-5)
    # Newcombe (1998), "Interval estimation for the difference", method 10, examples (a) and (g)
    assert newcombe((56, 70), (48, 80)) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert newcombe((10, 10), (0, 20)) == pytest.approx((0.6791, 1.0), abs=5e-5)


def test_huge_counts_approach_the_normal_interval() -> None:
    n, p = 10**12, 0.3
    half = 1.959964 * math.sqrt(p * (1 - p) / n)
    for interval in (wilson, clopper_pearson):
        low, high = interval(p * n, n)
        assert (high - p, p - low) == pytest.approx((half, half), rel=1e-3)


def test_shares_on_arrays_are_shares_one_by_one() -> None:
    successes, trials = np.array([0.0, 3.0, 9.0]), np.array([4.0, 9.0, 9.0])
    for interval in (wilson, clopper_pearson):
        low, high = interval(successes, trials)
        each = [interval(s, t) for s, t in zip(successes.tolist(), trials.tolist(), strict=True)]
        assert low.tolist() == [one[0] for one in each]
        assert high.tolist() == [one[1] for one in each]


@pytest.mark.parametrize("confidence", CONFIDENCES)
@pytest.mark.parametrize("n", [2, 3, 10])
def test_student_is_scipys(confidence: float, n: int) -> None:
    values = np.random.default_rng(n).normal(size=(4, n))
    low, high = student(values, confidence)
    for row, ends in zip(values, zip(low, high, strict=True), strict=True):
        expected = stats.t.interval(confidence, n - 1, loc=row.mean(), scale=stats.sem(row))
        assert ends == pytest.approx(expected)


def test_one_seed_or_none_bounds_nothing() -> None:
    for values in ([], [1.0], [[1.0], [2.0]]):
        low, high = student(values)
        assert (low == -math.inf).all()
        assert (high == math.inf).all()
    assert t_quantile(0) == math.inf
    assert t_quantile(np.array([0.0, 1.0, 1e9])).tolist() == pytest.approx([math.inf, 12.7062, 1.95996], rel=1e-5)


def test_student_covers_as_often_as_it_states() -> None:
    low, high = student(np.random.default_rng(0).normal(size=(20_000, 4)), 0.9)
    assert np.mean((low <= 0) & (high >= 0)) == pytest.approx(0.9, abs=0.0064)  # within 3 standard errors


def test_the_error_of_wilson_is_its_half_width_and_never_0() -> None:
    low, high = wilson(30, 100)
    assert wilson_error(30, 100) == pytest.approx((high - low) / 2 / stats.norm.ppf(0.975))
    assert 0 < wilson_error(10**9, 10**9) < 1e-8


def test_mover_adds_the_distances_that_face_each_other() -> None:
    low, high = mover(5.0, (4.0, 9.0), 1.0, (-2.0, 1.5))
    assert low == pytest.approx(4 - math.hypot(1.0, 0.5))
    assert high == pytest.approx(4 + math.hypot(4.0, 3.0))


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda: wilson(3, 2), "between 0 and the trials"),
        (lambda: clopper_pearson(-1, 2), "between 0 and the trials"),
        (lambda: wilson(math.nan, 2), "between 0 and the trials"),
        (lambda: student([1.0, 2.0], 1.0), "confidence must lie between 0 and 1"),
        (lambda: newcombe((0, 0), (1, 2)), "needs trials in both"),
    ],
)
def test_a_wrong_argument_is_named(call, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        call()
