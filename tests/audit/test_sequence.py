"""Confidence sequences: how often they contain the truth at all times at once, and how narrow they become."""

import numpy as np
import pytest

from byrote.audit.sequence import running_share

SIZES, CHECKS = (1200, 1200, 5600), (52, 52, 96)
SETTINGS = {"none": (0, 0, 0), "some": (1140, 360, 112), "many": (1190, 900, 700), "all": SIZES}


def simulate(rng, wrong):
    stratum = np.repeat(np.arange(3), CHECKS)
    truth = [rng.permutation(np.arange(N) < K)[:n] for N, K, n in zip(SIZES, wrong, CHECKS, strict=True)]
    order = rng.permutation(len(stratum))
    return stratum[order].tolist(), np.concatenate(truth)[order].tolist()


@pytest.mark.parametrize("name", SETTINGS)
def test_it_holds_at_every_moment(name):
    rng, wrong = np.random.default_rng(4), SETTINGS[name]
    truth, missed, width = sum(wrong) / sum(SIZES), 0, []
    for _ in range(24):
        low, high = running_share(*simulate(rng, wrong), SIZES, CHECKS)
        missed += bool(((low > truth) | (high < truth)).any())
        width.append(high[-1] - low[-1])
    assert missed <= 4  # 5% of misses are allowed; more than 4 of 24 have probability .01
    assert np.mean(width) < {"none": 0.05, "some": 0.2, "many": 0.22, "all": 0.15}[name]


def test_a_fixed_interval_that_is_looked_at_again_and_again_does_not_hold():
    """A fixed-sample interval, recomputed at each of 200 looks, misses the truth far more often than stated."""
    from byrote.intervals import clopper_pearson

    rng, missed = np.random.default_rng(5), 0
    for _ in range(100):
        wrong = np.cumsum(rng.random(200) < 0.1)
        n = np.arange(1, 201)
        low, high = clopper_pearson(wrong.astype(float), n.astype(float))
        missed += bool(((low > 0.1) | (high < 0.1)).any())
    assert missed > 10


def test_a_census_ends_at_the_truth():
    rng = np.random.default_rng(6)
    wrong = rng.permutation(np.arange(300) < 60)
    low, high = running_share([0] * 300, wrong.tolist(), [300], [300])
    assert low[-1] == high[-1] == pytest.approx(0.2)


def test_it_stops_where_a_stratum_runs_out():
    """Once every planned sample of a stratum is checked, later looks do not change the estimate of its share."""
    stratum = [0] * 10 + [1] * 90
    low, high = running_share(stratum, [True] * 10 + [False] * 90, [500, 500], [10, 90])
    assert low[99] == low[10]
    assert high[-1] >= 0.5


def test_it_only_narrows():
    rng = np.random.default_rng(8)
    low, high = running_share(*simulate(rng, SETTINGS["some"]), SIZES, CHECKS)
    assert (np.diff(low) >= 0).all()
    assert (np.diff(high) <= 0).all()
    assert (low <= high).all()
