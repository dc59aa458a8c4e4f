"""Estimate how labels were confused from samples and labels alone: the matrix T, T[k, a] = P(given a | true k).

Consensus estimator, after Zhu, Song and Liu (ICML 2021). Among the samples that are predicted as class r, take a sample
and its two nearest neighbors. If the three have the same true class and their labels were drawn independently, the
labels a, b, c have the probability

    P(a, b, c | r) = sum_k pi_{k|r} T_ka T_kb T_kc,

and EM estimates both pi and T from the counts, provided that in each class more labels are right than changed to any
one other class. The rate is 1 - sum_k pi_k T_kk, where pi is the non-negative solution of T' pi = P(given label).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

__all__ = ["PREMISE", "Transition", "consensus", "fit", "triples"]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
PREMISE = (
    "A label depends on the true class alone, more labels are right than go to any other class, and samples that lie "
    "nearest to each other under the same prediction have the same true class."
)
SURE = 0.25  # share of samples used from each fold and predicted class
FEWEST = 25  # smallest number of samples of each class for an estimate
MOST_CLASSES = 100
_LARGEST_GROUP = 3000  # largest number of samples of one fold and predicted class among which neighbors are searched
_OVERLAP = 3  # a label occurs in three triples on average, so counts have a third of the information
_RESAMPLED = 40


@dataclass(frozen=True, eq=False)
class Transition:
    """An estimated transition matrix.

    Attributes:
        matrix: (N, N), rows true, columns given; NaN where it cannot be estimated.
        low, high: (N, N), ends of the 95% interval for each entry, from resampled counts.
        prior: (N,) the share of each true class.
        rate: 1 - sum_k prior_k T_kk, the share of wrong labels under the premise.
        triples: the number of triples counted.
        verdict: "stated" or "cannot tell".
        reason: the reason for the verdict, in one sentence.
        premise: what must be true for the matrix to be right.
    """

    matrix: Array
    low: Array
    high: Array
    prior: Array
    rate: float
    triples: int
    verdict: str
    reason: str
    premise: str = PREMISE


def consensus(
    labels: Integers,
    probabilities: NDArray[np.floating],
    features: NDArray[np.floating],
    folds: Integers,
    seed: int = 0,
) -> Transition:
    """Estimate T from the surest quarter of the samples of each fold and predicted class.

    Args:
        labels: (n,) given labels in 0..N-1.
        probabilities: (n, N), held out.
        features: (n, M), from the same networks. Neighbors are searched within one fold, so that no feature depends on
            the labels that are compared.
        folds: (n,) number of the network that judged each sample.
        seed: the seed of resampling.
    """
    N = probabilities.shape[1]
    if N > MOST_CLASSES:
        return _unknown(
            N, 0, f"a matrix of {N} classes has {N * N} entries: it is estimated for at most {MOST_CLASSES} classes"
        )
    counted = triples(labels, probabilities, features, folds)
    seen = np.bincount(counted[:, 0], minlength=N)
    if len(counted) == 0 or seen.min() < FEWEST:
        rare = int(seen.argmin())
        return _unknown(
            N,
            len(counted),
            f"only {seen[rare]} of the surest samples are predicted as class {rare}, but at least {FEWEST} are needed: "
            "more samples of rare classes would help, or more epochs",
        )
    keys, counts = np.unique(counted, axis=0, return_counts=True)
    shares = np.bincount(labels, minlength=N) / len(labels)
    T, _ = fit(keys, counts.astype(np.float64), N)
    generator = np.random.default_rng(seed)
    draws = np.stack([fit(keys, _resampled(counts, generator), N, T, 30)[0] for _ in range(_RESAMPLED)])
    spread = 1.96 * draws.std(axis=0)
    prior = _prior(T, shares)
    return Transition(
        matrix=T,
        low=np.clip(T - spread, 0, 1),
        high=np.clip(T + spread, 0, 1),
        prior=prior,
        rate=float(1 - (prior * np.diag(T)).sum()),
        triples=len(counted),
        verdict="stated",
        reason=f"{len(counted)} samples are compared with their two nearest samples",
    )


def _resampled(counts: Integers, generator: np.random.Generator) -> Array:
    return np.asarray(generator.poisson(counts / _OVERLAP), dtype=np.float64)


def _unknown(N: int, count: int, reason: str) -> Transition:
    nothing = np.full((N, N), np.nan)
    return Transition(nothing, nothing, nothing, np.full(N, np.nan), float("nan"), count, "cannot tell", reason)


def triples(
    labels: Integers, probabilities: NDArray[np.floating], features: NDArray[np.floating], folds: Integers
) -> Integers:
    """Rows (t, 4) for the surest quarter: the predicted class, the label of a sample, and those of its two neighbors.

    Distances are Euclidean, between features scaled to unit length.
    """
    predicted = probabilities.argmax(axis=1)
    sure = probabilities.max(axis=1)
    parts = [np.empty((0, 4), dtype=np.int64)]
    for fold in np.unique(folds):
        for r in range(probabilities.shape[1]):
            rows = np.flatnonzero((folds == fold) & (predicted == r))
            count = min(max(int(SURE * len(rows)), min(len(rows), FEWEST)), _LARGEST_GROUP)
            rows = rows[np.argsort(-sure[rows], kind="stable")[:count]]
            if len(rows) >= 3:
                near = _two_nearest(np.asarray(features[rows], dtype=np.float64))
                a, b = labels[rows], labels[rows[near]]
                parts.append(np.column_stack([np.full(len(rows), r), a, b]))
    return np.concatenate(parts)


def _two_nearest(x: Array) -> Integers:
    """The positions of the two nearest other rows for each row, (g, 2); at equal distances, the first rows."""
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    alike = x @ x.T
    np.fill_diagonal(alike, -np.inf)
    first = alike.argmax(axis=1)
    alike[np.arange(len(x)), first] = -np.inf
    return np.column_stack([first, alike.argmax(axis=1)])


def fit(
    keys: Integers, counts: Array, num_classes: int, start: Array | None = None, rounds: int = 300
) -> tuple[Array, Array]:
    """Estimate T and pi_{k|r} by maximum likelihood, with EM.

    Args:
        keys: (u, 4) distinct rows of `triples`.
        counts: (u,) how often each row occurred, 0 or more.
        num_classes: N.
        start: the initial T; None: .8 on the diagonal.
        rounds: the maximum number of iterations; EM stops when no entry of T changes by 1e-6 or more.

    Returns:
        T (N, N) and pi (N, N), rows r.
    """
    N = num_classes
    r, abc = keys[:, 0], keys[:, 1:]
    T = np.full((N, N), 0.2 / (N - 1)) if start is None else start.copy()
    if start is None:
        np.fill_diagonal(T, 0.8)
    pi = np.full((N, N), 0.1 / (N - 1))
    np.fill_diagonal(pi, 0.9)
    for _ in range(rounds):
        joint = pi[r] * T[:, abc[:, 0]].T * T[:, abc[:, 1]].T * T[:, abc[:, 2]].T  # (u, N)
        total = joint.sum(axis=1, keepdims=True)
        weight = joint / np.where(total > 0, total, 1) * counts[:, None]
        pi = np.zeros((N, N))
        np.add.at(pi, r, weight)
        moved = np.zeros((N, N))
        for column in abc.T:
            np.add.at(moved.T, column, weight)
        pi = _rows_to_one(pi)
        moved = _rows_to_one(moved)
        done = np.abs(moved - T).max() < 1e-6
        T = moved
        if done:
            break
    return T, pi


def _rows_to_one(values: Array) -> Array:
    """Rows divided by their sums; a row of zeros becomes the unit vector of its own class."""
    sums = values.sum(axis=1, keepdims=True)
    return np.where(sums > 0, values / np.where(sums > 0, sums, 1), np.eye(len(values)))


def _prior(T: Array, shares: Array) -> Array:
    """The pi >= 0 with sum 1 for which T' pi is nearest to the class shares of the given labels."""
    pi, _ = nnls(T.T, shares)
    total = pi.sum()
    return np.asarray(pi / total if total > 0 else shares, dtype=np.float64)
