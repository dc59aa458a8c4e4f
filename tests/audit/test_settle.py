"""Answers to a plan of checks, and the intervals computed from the answers."""

import math

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from byrote.audit.answers import match, read_answers
from byrote.audit.melded import Counts, Errors, share, share_of
from byrote.audit.plan import draw, split
from byrote.audit.settle import settle

NAMES = ("ant", "bee", "cow")


def world(n=3000, checks=150, twice=0, seed=0):
    """Return labels (some wrong), a list of suspects (often wrong), and a plan of checks."""
    rng = np.random.default_rng(seed)
    given = rng.integers(0, 3, n)
    wrong = rng.random(n) < np.array([0.05, 0.1, 0.3])[given]
    suspect = np.where(wrong, rng.random(n) < 0.9, rng.random(n) < 0.05)
    strata = split(suspect & (rng.random(n) < 0.7), suspect)
    plan = draw(strata, given, (0.9, 0.5, 0.02), labels="abc", num_classes=3, checks=checks, twice=twice, seed=seed)
    return plan, wrong, np.isin(np.arange(n), strata[0]), given


def replies(plan, wrong, error=0.0, seed=0):
    rng = np.random.default_rng(seed)
    looks = [*plan.rows, *plan.twice]
    called_wrong = wrong[looks] ^ (rng.random(len(looks)) < error)
    return [(row, "n" if bad else "y") for row, bad in zip(looks, called_wrong, strict=True)]


def counts(plan, wrong, label=None, given=None):
    """Count the answers in each stratum, one by one."""
    strata_counts = []
    for h, s in enumerate(plan.strata):
        rows = [
            r for r, at in zip(plan.rows, plan.stratum, strict=True) if at == h and (label is None or given[r] == label)
        ]
        strata_counts.append(Counts(s.size if label is None else s.by_class[label], len(rows), int(wrong[rows].sum())))
    return strata_counts


def test_a_settled_audit_is_what_the_counts_say():
    plan, wrong, _, given = world()
    settled = settle(plan, replies(plan, wrong), NAMES)
    seen = counts(plan, wrong)
    assert settled.verdict == "settled"
    assert (settled.rate.value, settled.rate.low, settled.rate.high) == share(seen)
    assert (settled.precision.value, settled.precision.low, settled.precision.high) == share(seen[:1])
    assert (settled.recall.value, settled.recall.low, settled.recall.high) == share_of(seen[:1], seen[1:])
    for label, share_of_class in enumerate(settled.by_class):
        mine = counts(plan, wrong, label, given)
        assert share_of_class.name == NAMES[label]
        assert share_of_class.checked == sum(c.checked for c in mine)
        assert (share_of_class.low, share_of_class.high) == share(mine)[1:]
    assert "Each answer is right" in settled.premise


def test_every_interval_holds_as_often_as_it_says():
    hits = np.zeros(6)
    for seed in range(40):
        plan, wrong, suspect, given = world(seed=seed)
        s = settle(plan, replies(plan, wrong), NAMES)
        truth = [
            wrong.mean(),
            wrong[suspect].mean(),
            suspect[wrong].mean(),
            *(wrong[given == c].mean() for c in range(3)),
        ]
        shares = [s.rate, s.precision, s.recall, *s.by_class]
        hits += [share.low <= t <= share.high for share, t in zip(shares, truth, strict=True)]
    assert (hits / 40 >= 0.85).all(), hits


def test_second_looks_tell_the_reviewers_error():
    plan, wrong, _, _ = world(twice=40)
    settled = settle(plan, replies(plan, wrong, error=0.1), NAMES)
    assert settled.twice == 40
    assert settled.reviewer_error == Errors(40, settled.differ).rate
    assert "second looks differ" in settled.premise
    plain = settle(plan, replies(plan, wrong, error=0.1)[: len(plan.rows)], NAMES)
    assert plain.rate.low > settled.rate.low


def test_unsure_answers_widen():
    plan, wrong, _, _ = world()
    sure = replies(plan, wrong)
    unsure = [(row, "unsure") if place < 20 else (row, answer) for place, (row, answer) in enumerate(sure)]
    a, b = settle(plan, sure, NAMES), settle(plan, unsure, NAMES)
    assert b.unsure == 20
    assert b.rate.low < a.rate.low
    assert b.rate.high > a.rate.high


def test_looking_on_the_way_gives_a_sequence():
    plan, wrong, _, _ = world()
    answers = replies(plan, wrong)
    early = settle(plan, answers[:60], NAMES)
    assert early.verdict == "so far"
    assert early.checked == 60
    assert early.rate.low <= wrong.mean() <= early.rate.high
    assert (early.precision.low, early.precision.high, early.by_class) == (0, 1, ())
    assert math.isnan(early.recall.value)
    assert "whenever the checking stops" in early.premise
    later = settle(plan, answers[:120], NAMES)
    assert later.rate.low >= early.rate.low
    assert later.rate.high <= early.rate.high


def test_classes_as_answers_and_what_they_correct():
    plan, _, _, _ = world(checks=10)
    answers = [(row, NAMES[g]) for row, g in zip(plan.rows, plan.given, strict=True)]
    row, label = answers[0]
    other = next(name for name in NAMES if name != label)
    settled = settle(plan, [(row, other), *answers[1:]], NAMES)
    assert settled.corrected == {row: other}
    assert match(plan, answers, NAMES).wrong == (False,) * 10


@settings(max_examples=10)
@given(st.permutations(range(10)))
def test_the_order_of_the_answers_does_not_matter(order):
    plan, wrong, _, _ = world(n=200, checks=10)
    answers = replies(plan, wrong)
    assert repr(settle(plan, [answers[i] for i in order], NAMES)) == repr(settle(plan, answers, NAMES))


@pytest.mark.parametrize("kind", ["csv", "dict", "pairs", "pandas", "polars"])
def test_answers_in_any_container(kind, tmp_path):
    plan, wrong, _, _ = world(checks=30)
    answers = replies(plan, wrong)
    columns = {"row": [row for row, _ in answers], "answer": [answer for _, answer in answers]}
    path = tmp_path / "answers.csv"
    pd.DataFrame(columns).to_csv(path, index=False)
    given = {
        "csv": path,
        "dict": dict(answers),
        "pairs": answers,
        "pandas": pd.DataFrame(columns),
        "polars": pl.DataFrame(columns),
    }[kind]
    assert read_answers(given) == answers


def unplanned(plan):
    return next(row for row in range(3000) if row not in plan.rows)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda plan, a: [*a, (unplanned(plan), "y")], "not in the plan"),
        (lambda plan, a: [*a, a[0]], "more than one answer"),
        (lambda plan, a: a[1:], "planned as number 1 and has no answer"),
        (lambda plan, a: [(a[0][0], "maybe"), *a[1:]], "got 'maybe'"),
        (lambda plan, a: [], "expected at least one answer"),
    ],
)
def test_answers_outside_the_plan_are_refused_in_one_sentence(spoil, sentence):
    plan, wrong, _, _ = world(checks=30)
    with pytest.raises(ValueError, match=sentence) as error:
        settle(plan, spoil(plan, replies(plan, wrong)), NAMES)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        ([("one", "y")], "answer 1 needs the number of a row"),
        ([(1.5, "y")], "got 1.5"),
        ([(1, True)], "got True"),
        (pd.DataFrame({"id": [1]}), "needs the columns row and answer"),
    ],
)
def test_unreadable_answers_are_refused(answers, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_answers(answers)
