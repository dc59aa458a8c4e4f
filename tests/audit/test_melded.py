"""Melded confidence intervals: compared with brute force and enumeration, and how often they contain the truth."""

from itertools import combinations, pairwise
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from byrote.audit.melded import Counts, Errors, at_random, share, share_of
from byrote.intervals import clopper_pearson


def drawn(rng, counts, upper, m=200_000):
    """Draw the share of wrong labels in one stratum, for strata that are large compared with the sample."""
    k, n = counts.wrong + (counts.unsure if upper else 0), counts.checked
    a, b = (k + 1, n - k) if upper else (k, n - k + 1)
    if min(a, b) == 0:
        return np.full(m, 1.0 if upper else 0.0)
    return rng.beta(a, b, m)


CASES = [
    [Counts(1000, 60, 55), Counts(1000, 60, 20), Counts(8000, 80, 1)],
    [Counts(5000, 30, 0), Counts(5000, 170, 0)],
    [Counts(2000, 40, 40), Counts(9000, 100, 3, 4)],
    [Counts(700, 0, 0), Counts(9000, 100, 3)],
]


@pytest.mark.parametrize("strata", CASES)
def test_the_ends_are_the_quantiles_of_simulated_draws(strata):
    rng = np.random.default_rng(0)
    weights = [s.size / sum(s.size for s in strata) for s in strata]
    ends = [
        np.quantile(sum(w * drawn(rng, s, upper) for w, s in zip(weights, strata, strict=True)), level)
        for upper, level in ((False, 0.025), (True, 0.975))
    ]
    _, low, high = share(strata)
    step = len(strata) / 2**14
    assert ends[0] - step - 2e-4 <= low <= ends[0] + 2e-4
    assert ends[1] - 2e-4 <= high <= ends[1] + step + 2e-4


@pytest.mark.parametrize("strata", CASES[:3])
def test_recall_is_the_quantile_of_simulated_ratios(strata):
    rng = np.random.default_rng(1)
    part, rest = strata[:1], strata[1:]
    ends = []
    for upper, level in ((False, 0.025), (True, 0.975)):
        a = sum(s.size * drawn(rng, s, upper) for s in part)
        b = sum(s.size * drawn(rng, s, not upper) for s in rest)
        with np.errstate(invalid="ignore"):
            ratio = np.where(a + b > 0, a / (a + b), 1.0 if upper else 0.0)
        ends.append(np.quantile(ratio, level))
    _, low, high = share_of(part, rest)
    if strata is CASES[1]:
        assert (low, high) == (0.0, 1.0)  # no wrong label was found
        return
    assert low == pytest.approx(ends[0], abs=3e-3)
    assert high == pytest.approx(ends[1], abs=3e-3)


def test_reviewer_errors_against_simulated_draws():
    rng, m = np.random.default_rng(2), 50_000
    strata, errors = [Counts(1000, 60, 40), Counts(9000, 90, 3)], Errors(30, 2)
    ends = []
    for upper, level in ((False, 0.025), (True, 0.975)):
        u = rng.random(m)  # all strata share one draw of the reviewer's error

        eps = [(1 - np.sqrt(np.clip(1 - 2 * d, 0, None))) / 2 for d in (beta.ppf(u, 2, 29), beta.ppf(u, 3, 28))]
        total = 0.0
        for s in strata:
            q = drawn(rng, s, upper, m)
            p = [np.clip((q - e) / (1 - 2 * e), 0, 1) for e in eps]
            total = total + s.size / 10_000 * (np.maximum(*p) if upper else np.minimum(*p))
        ends.append(np.quantile(total, level))
    value, low, high = share(strata, errors=errors)
    assert low == pytest.approx(ends[0], abs=2e-3)
    assert high == pytest.approx(ends[1], abs=2e-3)
    epsilon = (1 - (1 - 2 * 2 / 30) ** 0.5) / 2
    assert errors.rate == pytest.approx(epsilon)
    assert value == pytest.approx(0.1 * (40 / 60 - epsilon) / (1 - 2 * epsilon) + 0.9 * 0)
    plain, agreeing = share(strata), share(strata, errors=Errors(30, 0))
    assert agreeing[1] < plain[1]
    assert agreeing[2] > plain[2]
    assert low < agreeing[1]  # the answers "wrong" may be errors of the reviewer


def test_one_large_stratum_is_clopper_and_pearson():
    for n, k in ((200, 0), (200, 7), (50, 50), (1, 1)):
        low, high = clopper_pearson(float(k), float(n))
        _, found_low, found_high = at_random(Counts(100_000, n, k))
        assert low - 2**-13 <= found_low <= low
        assert high <= found_high <= high + 2**-13


def tail(size, wrong, n, hits):
    """Compute the probability of `hits` wrong labels by counting draws."""
    return comb(wrong, hits) * comb(size - wrong, n - hits) / comb(size, n)


@pytest.mark.parametrize(("size", "n", "k"), [(12, 5, 0), (12, 5, 2), (12, 5, 5), (20, 19, 3), (9, 8, 4)])
def test_limits_of_a_small_stratum_by_enumeration(size, n, k):
    at_least = [sum(tail(size, K, n, x) for x in range(k, n + 1)) for K in range(size + 1)]
    at_most = [sum(tail(size, K, n, x) for x in range(k + 1)) for K in range(size + 1)]
    low = min(K for K in range(size + 1) if at_least[K] > 0.025) / size
    high = max(K for K in range(size + 1) if at_most[K] > 0.025) / size
    _, found_low, found_high = at_random(Counts(size, n, k))
    assert low - 2**-13 <= found_low <= low + 1e-9
    assert high - 1e-9 <= found_high <= high + 2**-13


def test_enumeration_counts_draws():
    labels = [1, 1, 0, 0, 0, 0]
    draws = [sum(labels[i] for i in c) for c in combinations(range(6), 3)]
    assert draws.count(1) / len(draws) == pytest.approx(tail(6, 2, 3, 1))


def test_a_census_has_no_width():
    assert share([Counts(40, 40, 3), Counts(60, 60, 0)]) == (0.03, 0.03, 0.03)
    _, low, high = share([Counts(40, 40, 3), Counts(60, 60, 0)], errors=Errors(30, 0))
    assert low < 0.03 < high


# the truth in each setting: the size of each stratum, and its number of wrong labels
SETTINGS = {
    "no noise": ((600, 600, 6800), (0, 0, 0)),
    "a few": ((300, 300, 7400), (6, 0, 4)),
    "half of the suspects": ((760, 760, 6480), (342, 23, 13)),
    "most suspects": ((1200, 1200, 5600), (1140, 360, 112)),
    "suspects no worse": ((800, 800, 6400), (440, 360, 768)),
    "small": ((60, 60, 400), (48, 18, 8)),
}


def coverage(sizes, wrong, drawn, reviewer, twice, repeats, seed):
    rng = np.random.default_rng(seed)
    truth = sum(wrong) / sum(sizes)
    hits = 0
    for _ in range(repeats):
        seen = []
        for N, K, n in zip(sizes, wrong, drawn, strict=True):
            k = rng.hypergeometric(K, N - K, n)
            seen.append(Counts(N, n, rng.binomial(k, 1 - reviewer) + rng.binomial(n - k, reviewer)))
        errors = Errors(twice, rng.binomial(twice, 2 * reviewer * (1 - reviewer))) if twice else None
        _, low, high = share(seen, errors=errors)
        hits += low <= truth <= high
    return hits / repeats


@pytest.mark.parametrize("name", SETTINGS)
def test_the_interval_holds_the_truth_at_least_as_often_as_it_says(name):
    sizes, wrong = SETTINGS[name]
    share = coverage(sizes, wrong, (40, 40, 120), 0.0, 0, 150, seed=5)
    # the stated coverage is .95; the observed coverage of 150 intervals is below .907 with probability .01
    assert share >= 0.93


def test_a_narrower_interval_would_be_caught():
    """The coverage test would fail for intervals of confidence .5 from the same counts."""
    sizes, wrong, rng = (1200, 1200, 5600), (1140, 360, 112), np.random.default_rng(3)
    hits = 0
    for _ in range(150):
        seen = [
            Counts(N, n, rng.hypergeometric(K, N - K, n)) for N, K, n in zip(sizes, wrong, (40, 40, 120), strict=True)
        ]
        _, low, high = share(seen, confidence=0.5)
        hits += low <= sum(wrong) / sum(sizes) <= high
    assert 0.5 <= hits / 150 <= 0.9  # exact intervals of three strata are wider than necessary, but not by much


@pytest.mark.parametrize("name", ["no noise", "half of the suspects", "most suspects"])
def test_second_looks_make_up_for_an_erring_reviewer(name):
    sizes, wrong = SETTINGS[name]
    assert coverage(sizes, wrong, (36, 36, 108), 0.05, 20, 8, seed=7) >= 0.8
    if name == "no noise":  # without second looks by a reviewer, the interval is wrong
        assert coverage(sizes, wrong, (40, 40, 120), 0.05, 0, 50, seed=7) < 0.3


@pytest.mark.long
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize(("reviewer", "twice"), [(0.0, 0), (0.02, 20), (0.05, 20)])
def test_coverage_of_many_draws(name, reviewer, twice):
    sizes, wrong = SETTINGS[name]
    drawn = (40, 40, 120) if not twice else (36, 36, 108)
    assert coverage(sizes, wrong, drawn, reviewer, twice, 100, seed=11) >= 0.93


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(1, 3000), st.integers(0, 60), st.floats(0, 1)), min_size=1, max_size=4),
    st.sampled_from([0.8, 0.95]),
)
def test_ends_enclose_the_estimate_and_widen_with_confidence(rows, confidence):
    strata = [Counts(N, min(n, N), round(p * min(n, N))) for N, n, p in rows]
    value, low, high = share(strata, confidence)
    assert 0 <= low <= high <= 1
    if all(s.checked for s in strata):
        assert low - 1e-9 <= value <= high + 1e-9
    _, wider_low, wider_high = share(strata, 0.99)
    assert wider_low <= low
    assert wider_high >= high


def test_more_wrong_answers_never_lower_an_end():
    ends = [share([Counts(500, 40, k), Counts(4000, 60, 2)])[1:] for k in range(41)]
    assert all(a[0] <= b[0] and a[1] <= b[1] for a, b in pairwise(ends))


def test_unsure_answers_count_against_both_ends():
    _, low, high = share([Counts(5000, 100, 10, 5)])
    assert (low, high) == (share([Counts(5000, 100, 10)])[1], share([Counts(5000, 100, 15)])[2])


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: Counts(10, 11, 0), "0 <= wrong"),
        (lambda: Counts(10, 5, 4, 2), "unsure 2"),
        (lambda: Errors(0, 0), "twice >= 1"),
        (lambda: share([Counts(0, 0, 0)]), "at least one sample"),
        (lambda: share([Counts(9, 3, 0)], 1.0), "confidence must lie"),
    ],
)
def test_errors_give_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
