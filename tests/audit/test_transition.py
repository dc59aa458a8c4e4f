"""The consensus estimator, compared with exhaustive search and simulated labels, and when it answers "cannot tell"."""

import itertools

import numpy as np
import pytest
from scipy.optimize import minimize

from byrote.audit.transition import consensus, fit, triples


def log_likelihood(keys, counts, T, pi):
    """Compute the log likelihood, one triple of labels at a time."""
    total = 0.0
    for (r, a, b, c), n in zip(keys, counts, strict=True):
        p = sum(pi[r][k] * T[k][a] * T[k][b] * T[k][c] for k in range(len(T)))
        total += n * np.log(max(p, 1e-300))
    return total


def test_em_reaches_the_largest_likelihood():
    """With two classes the four free parameters are also found by a numerical search from many starts."""
    T, pi = np.array([[0.85, 0.15], [0.3, 0.7]]), np.array([[0.95, 0.05], [0.1, 0.9]])
    keys = np.array(list(itertools.product(range(2), repeat=4)))
    counts = np.array([1000 * sum(pi[r, k] * T[k, a] * T[k, b] * T[k, c] for k in range(2)) for r, a, b, c in keys])
    found_T, found_pi = fit(keys, counts, 2, rounds=3000)
    reached = log_likelihood(keys, counts, found_T, found_pi)

    def negative(v):
        t, u, p, q = 1 / (1 + np.exp(-np.clip(v, -30, 30)))
        return -log_likelihood(keys, counts, [[t, 1 - t], [u, 1 - u]], [[p, 1 - p], [q, 1 - q]])

    best = min(minimize(negative, start, method="Nelder-Mead").fun for start in ([2, -1, 2, -2], [1, -2, 1, -1]))
    assert reached >= -best - 0.05
    assert np.allclose(found_T, T, atol=0.02)


def world(T, n=4000, purity=1.0, seed=0):
    """Draw samples close to the center of their class, with labels drawn from the transition matrix T."""
    rng, N = np.random.default_rng(seed), len(T)
    true = rng.integers(0, N, n)
    labels = np.array([rng.choice(N, p=T[k]) for k in true])
    seen = np.where(rng.random(n) < purity, true, rng.integers(0, N, n))
    x = np.eye(N)[seen] * 3 + rng.normal(size=(n, N)) * 0.3
    p = np.exp(4 * x) / np.exp(4 * x).sum(axis=1, keepdims=True)
    return labels, p.astype(np.float32), x, rng.integers(0, 2, n), true


PAIR = np.array([[0.8, 0.2, 0.0, 0.0], [0.0, 0.8, 0.2, 0.0], [0.0, 0.0, 0.8, 0.2], [0.2, 0.0, 0.0, 0.8]])


@pytest.mark.parametrize("T", [PAIR, np.full((4, 4), 0.1) + 0.6 * np.eye(4), np.eye(4)], ids=["pair", "even", "none"])
def test_a_known_matrix_is_found(T):
    labels, p, x, folds, true = world(T)
    transition = consensus(labels, p, x, folds)
    assert transition.verdict == "stated"
    assert np.abs(transition.matrix - T).sum(axis=1).mean() < 0.12
    assert abs(transition.rate - (labels != true).mean()) < 0.04
    assert ((transition.low <= T + 1e-9) & (transition.high + 1e-9 >= T)).mean() >= 0.85
    assert np.allclose(transition.matrix.sum(axis=1), 1)


def test_triples_stay_within_fold_and_prediction():
    labels, p, x, folds, _ = world(PAIR, n=300)
    marked = labels.copy()
    for fold, r in itertools.product(range(2), range(4)):
        marked[(folds == fold) & (p.argmax(1) == r)] = 4 * fold + r
    for r, a, b, c in triples(marked, p, x, folds):
        assert a == b == c
        assert a % 4 == r


def test_the_two_nearest_by_brute_force():
    labels = np.arange(40)
    p = np.tile([0.9, 0.1], (40, 1)).astype(np.float32)
    x = np.random.default_rng(0).normal(size=(40, 3))
    nearest = triples(labels, p, x, np.zeros(40, dtype=int))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    rows = nearest[:, 1]
    for _, a, b, c in nearest:
        distances = {other: np.linalg.norm(unit[a] - unit[other]) for other in rows if other != a}
        assert {b, c} == set(sorted(distances, key=distances.get)[:2])


def test_rare_and_many_classes_cannot_be_told():
    labels, p, x, folds, _ = world(PAIR, n=300)
    p[:, 3] = 0
    rare = consensus(labels, p / p.sum(1, keepdims=True), x, folds)
    assert rare.verdict == "cannot tell"
    assert "class 3" in rare.reason
    assert np.isnan(rare.matrix).all()
    many = consensus(
        np.zeros(5, dtype=int), np.full((5, 101), 1 / 101, dtype=np.float32), np.zeros((5, 2)), np.zeros(5)
    )
    assert many.verdict == "cannot tell"
    assert "101 classes" in many.reason
