"""The test of symmetric noise and the interval of the noise rate, compared with loops, scipy and simulation."""

import numpy as np
import pytest
import torch
from scipy.stats import beta, binom

from byrote.measures.premise import Counted, evenness, excess, interval, preference, shared_labels


def table(seed, s=600, num_classes=7, k=3, rate=0.3, uneven=0.0, follow=0.0, often=None):
    """Make the table of the most confident samples of a perfect classifier.

    The fraction `uneven` of flipped labels goes to the next class, `follow` to the class of the second-highest logit.
    """
    draw = torch.Generator().manual_seed(seed)
    weights = torch.tensor(often or [1.0] * (num_classes - 1))  # the last class is never predicted
    predicted = torch.multinomial(weights, s, replacement=True, generator=draw)
    logits = torch.randn(s, num_classes, generator=draw, dtype=torch.float64)
    logits.scatter_(1, predicted[:, None], 9.0)
    order = torch.rand(num_classes, num_classes, generator=draw).fill_diagonal_(2)
    least = (order.argsort(1).argsort(1) < k)[predicted]
    other = (predicted + torch.randint(1, num_classes, (s,), generator=draw)) % num_classes
    other = torch.where(torch.rand(s, generator=draw) < uneven, (predicted + 1) % num_classes, other)
    liked = logits.scatter(1, predicted[:, None], -9.0).argmax(1)
    other = torch.where(torch.rand(s, generator=draw) < follow, liked, other)
    observed = torch.where(torch.rand(s, generator=draw) < rate, other, predicted)
    return Counted(predicted, observed, logits, least, k)


def test_the_counts_are_those_of_loops():
    counted = table(0)
    hits = [bool(row[y]) for row, y in zip(counted.least, counted.observed.tolist(), strict=True)]
    assert counted.hits == sum(hits) > 20
    assert counted.hit.tolist() == hits
    assert counted.disagree == sum(
        a != b for a, b in zip(counted.predicted.tolist(), counted.observed.tolist(), strict=True)
    )
    assert counted.scale == 2.0


def test_evenness_is_pearsons_statistic_under_its_exact_law():
    """The p-value agrees with 20,000 multinomial draws over the pairs of classes, counted one by one."""
    generator = np.random.default_rng(1)
    for seed, uneven in ((1, 0.0), (2, 0.0), (3, 0.15), (4, 0.0)):
        counted = table(seed, s=300, uneven=uneven)
        room, counts = np.zeros((7, 7)), np.zeros((7, 7))
        for i, row, y in zip(counted.predicted.tolist(), counted.least, counted.observed.tolist(), strict=True):
            room[i] += row.numpy()
            counts[i, y] += bool(row[y])
        p, m = room[room > 0] / room.sum(), int(counts.sum())
        statistic = (((counts[room > 0] - m * p) ** 2) / (m * p)).sum()
        draws = generator.multinomial(m, p, 20_000)
        share = float(((((draws - m * p) ** 2) / (m * p)).sum(1) >= statistic - 1e-9).mean())
        assert evenness(counted) == pytest.approx(share, abs=0.02)


def test_a_right_table_fails_each_test_as_often_as_its_level_says():
    tables = [table(seed, s=1500, num_classes=10, k=4) for seed in range(1000)]
    for test in (evenness, preference, excess):
        share = np.mean([test(one) < 0.05 for one in tables])
        assert 0.02 < share < 0.075, test.__name__  # 3.6 standard errors above .05; discrete tests reject less often


def test_evenness_keeps_its_level_where_counts_are_few_and_some_classes_rare():
    """With 30 disagreeing labels on 36 class pairs, a test by the usual chi-square law would reject in 8% of cases."""
    often = [8.0, 8, 8, 8, 8, 2, 2, 2, 1]
    tables = [table(seed, s=300, num_classes=10, k=4, rate=0.1, often=often) for seed in range(1000)]
    assert 0.02 < np.mean([evenness(one) < 0.05 for one in tables]) < 0.065


@pytest.mark.parametrize(("test", "wrong"), [(evenness, {"uneven": 0.4}), (preference, {"follow": 0.4})])
def test_a_wrong_table_fails_the_test_made_for_it(test, wrong):
    assert np.mean([test(table(seed, s=1200, **wrong)) < 0.01 for seed in range(100)]) > 0.95


def test_preference_is_one_sided_and_ranks_ties_in_the_middle():
    counted = table(3, follow=0.0)
    flipped = Counted(counted.predicted, counted.observed, -counted.logits, counted.least, counted.k)
    assert preference(counted) == pytest.approx(1 - preference(flipped), abs=1e-12)
    flat = Counted(counted.predicted, counted.observed, torch.zeros_like(counted.logits), counted.least, counted.k)
    assert preference(flat) == pytest.approx(0.5)


def test_excess_is_the_exact_binomial_tail():
    for seed in range(5):
        counted = table(seed)
        wanted = binom.sf(counted.hits - 1, counted.disagree, 0.5)
        assert excess(counted) == pytest.approx(wanted, rel=1e-9)


def test_nothing_counted_rejects_nothing():
    counted = table(0, rate=0.0)
    assert [evenness(counted), preference(counted), excess(counted)] == [1.0, 1.0, 1.0]
    assert interval(counted, 0.95) == (0.0, pytest.approx(2 * beta.ppf(0.975, 1, 600)))


def test_the_interval_is_that_of_its_formula():
    counted = table(5)
    s, c, h = 600, counted.hits, counted.disagree - counted.hits
    low, high = beta.ppf(0.025, c, s - c + 1), beta.ppf(0.975, c + 1, s - c)
    most = beta.ppf(0.975, h + 1, s - h)
    below, above = 3 * (c / s - low), most - h / s
    r = -np.sqrt(c / s * h / s / (1 - c / s) / (1 - h / s))  # the correlation between two cells of a multinomial
    lower = 3 * c / s - h / s - np.sqrt(below**2 + above**2 - 2 * r * below * above)
    assert interval(counted, 0.95) == (pytest.approx(min(lower, 2 * low)), pytest.approx(2 * high))
    wide = interval(counted, 0.95, spread=1.5)
    assert wide[0] < lower
    assert wide[1] > 2 * high


def test_the_low_end_is_right_at_the_edge_of_its_premise_and_not_beyond():
    """The classifier errs on .06 of the samples: evenly over classes if `share` is 1, never on counted ones if 0."""
    generator = np.random.default_rng(2)
    k, K, s, rho, error = 4, 9, 2000, 0.2, 0.06
    missed = {}
    for share in (0.0, 0.5, 1.0):
        reach = share * k / K  # the fraction of the classifier's own errors whose true class is counted
        p = error * reach * (1 - rho) + (1 - error * reach) * k / K * rho
        d = error * (1 - rho / K) + (1 - error) * rho
        draws = generator.multinomial(s, [p, d - p, 1 - d], 4000)
        lows, highs = zip(*(interval(as_table(c, h, s, k, K), 0.95) for c, h, _ in draws), strict=True)
        missed[share] = float(np.mean(np.array(lows) > rho)), float(np.mean(np.array(highs) < rho))
    assert missed[0.0][0] < 0.001
    assert 0.015 < missed[0.5][0] < 0.035  # the nominal miss rate is .025
    assert missed[1.0][0] > 0.2
    assert 0.015 < missed[0.0][1] < 0.035
    assert missed[0.5][1] < 0.01


class as_table:
    """Make a table from the four numbers that `interval` reads."""

    def __init__(self, hits, rest, s, k, K):
        self.predicted, self.hits, self.disagree, self.scale = range(s), int(hits), int(hits + rest), K / k


@pytest.mark.parametrize(("k", "K"), [(4, 9), (1, 2), (49, 99), (2, 9)])
@pytest.mark.parametrize("folds", [2, 5, 10])
def test_shared_labels_against_ranks_made_of_nothing_but_other_folds_labels(k, K, folds):
    generator = np.random.default_rng(3)
    cells = generator.poisson(40, (6000, folds, K)).astype(float)
    total = np.zeros(len(cells))
    for fold in range(folds):
        others = cells.sum(1) - cells[:, fold] + 0.001 * generator.random((len(cells), K))
        total += (cells[:, fold] * (others.argsort(1).argsort(1) < k)).sum(1)
    assert total.mean() == pytest.approx(folds * k * 40, rel=0.005)
    assert shared_labels(k, K, folds) == pytest.approx(total.var() / (folds * k * 40), rel=0.07)
    assert shared_labels(k, K, 1) == shared_labels(k, k, folds) == 1.0


@pytest.mark.parametrize("pairs", [2, 3, 6])
def test_one_hit_among_pairs_of_equal_room_says_nothing_of_evenness(pairs):
    """For a single hit among equal pairs, the statistic is the same wherever it falls, so its variance is 0."""
    N = pairs + 1
    predicted, observed = torch.zeros(12, dtype=torch.int64), torch.zeros(12, dtype=torch.int64)
    observed[5] = 1
    least = (torch.arange(N) > 0).expand(12, N)
    counted = Counted(predicted, observed, torch.zeros(12, N, dtype=torch.float64), least, pairs)
    assert (counted.hits, evenness(counted)) == (1, 1.0)
