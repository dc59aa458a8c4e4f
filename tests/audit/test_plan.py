"""Plans of checks: which samples they draw, how many from each stratum, and that plans cannot be changed afterward."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byrote.audit.plan import Plan, allocate, draw, expected_half_width, split


def planned(n=600, suspects=120, **options):
    rng = np.random.default_rng(0)
    given = rng.integers(0, 3, n)
    suspect = np.zeros(n, dtype=bool)
    suspect[rng.choice(n, suspects, replace=False)] = True
    settings = {"checks": 90, "seed": 1, "labels": "abc", "num_classes": 3, **options}
    strata = split(suspect, suspect | (rng.random(n) < 0.1))
    return draw(strata, given, (0.9, 0.5, 0.02), **settings), strata, given


sizes = st.lists(st.integers(0, 400), min_size=1, max_size=4).filter(lambda N: sum(N) > 1)


@given(sizes, st.integers(1, 1500))
def test_an_allocation_fits_into_the_strata(sizes, checks):
    drawn = allocate(sizes, [0.75, 0.75, 0.03, 0.5][: len(sizes)], checks)
    assert sum(drawn) == min(checks, sum(sizes))
    assert all(0 <= n <= N for n, N in zip(drawn, sizes, strict=True))
    filled = [N for N in sizes if N]
    if checks >= 10 * len(filled):
        assert all(n >= min(10, N) for n, N in zip(drawn, sizes, strict=True))


def test_an_allocation_is_the_best_by_enumeration():
    """Of all ways to draw 60 samples, 10 or more per stratum, Neyman's has the least variance."""
    N, p = np.array([300, 200, 1500]), np.array([0.75, 0.75, 0.03])

    def variance(n):
        return sum((N / N.sum()) ** 2 * p * (1 - p) / np.array(n))

    ways = [(a, b, 60 - a - b) for a, b in itertools.product(range(10, 41), repeat=2) if 60 - a - b >= 10]
    best = min(ways, key=variance)
    assert np.abs(np.array(allocate(N.tolist(), p.tolist(), 60)) - best).max() <= 1


def test_a_plan_draws_at_random_within_each_stratum():
    times = np.zeros(600)
    for seed in range(300):
        plan, strata, _ = planned(seed=seed)
        times[list(plan.rows)] += 1
    for rows, n in zip(strata, [s.checks for s in plan.strata], strict=True):
        rate = n / len(rows)
        deviation = np.sqrt(300 * rate * (1 - rate))
        assert np.abs(times[rows] - 300 * rate).max() < 4.5 * deviation
        assert times[rows].std() == pytest.approx(deviation, rel=0.35)


def test_a_plan_says_what_it_draws():
    plan, strata, given = planned(twice=9)
    assert len(plan.rows) == len(set(plan.rows)) == 81
    assert len(plan.twice) == len(set(plan.twice)) == 9
    assert set(plan.twice) <= set(plan.rows)
    assert plan.looks == 90
    for h, rows in enumerate(strata):
        mine = [r for r, s in zip(plan.rows, plan.stratum, strict=True) if s == h]
        assert set(mine) <= set(rows.tolist())
        assert plan.strata[h].checks == len(mine)
        assert sum(plan.strata[h].by_class) == plan.strata[h].size == len(rows)
    assert list(plan.given) == given[list(plan.rows)].tolist()
    assert plan.rows != planned(twice=9, seed=2)[0].rows
    assert plan == planned(twice=9)[0]


def test_strata_share_out_all_samples():
    suspect = np.array([True, False, True, False, False])
    doubtful = np.array([True, True, False, False, True])
    assert [rows.tolist() for rows in split(suspect, doubtful)] == [[0, 2], [1, 4], [3]]


def test_the_width_that_is_promised_takes_the_fewest_looks():
    plan, strata, _ = planned(n=4000, suspects=700, checks=None, half_width=0.04)
    assert plan.half_width <= 0.04
    fewer, _, _ = planned(n=4000, suspects=700, checks=plan.looks - 6)
    assert fewer.half_width > 0.04
    sizes = [len(rows) for rows in strata]
    drawn = [s.checks for s in plan.strata]
    assert plan.half_width == expected_half_width(sizes, (0.9, 0.5, 0.02), drawn, 0, 0.95)


def test_a_plan_survives_its_file(tmp_path):
    plan, _, _ = planned(twice=5)
    path = plan.save(tmp_path / "plan.json")
    assert Plan.load(path) == plan
    stored = json.loads(path.read_text())
    stored["rows"][0], stored["rows"][1] = stored["rows"][1], stored["rows"][0]
    path.write_text(json.dumps(stored))
    with pytest.raises(ValueError, match="changed since it was drawn"):
        Plan.load(path)
    path.write_text("{}")
    with pytest.raises(ValueError, match="not a plan"):
        Plan.load(path)


def test_without_suspects_the_rest_is_drawn_from():
    plan, _, _ = planned(suspects=0)
    assert plan.strata[0].checks == 0
    assert sum(s.checks for s in plan.strata) == 90


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"checks": None}, "either checks=, the number of samples to check, or half_width="),
        ({"half_width": 0.1}, "either checks=.* or half_width="),
        ({"checks": 1}, "at least 2 checks"),
        ({"checks": 20, "twice": 20}, "twice 20"),
        ({"checks": None, "half_width": 0.7}, r"between 0 and \.5, got 0\.7"),
        ({"checks": None, "half_width": 0.001, "twice": 5}, "cannot be reached"),
        ({"confidence": 1.0}, "confidence must lie"),
    ],
)
def test_errors_give_one_sentence(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        planned(**options)
