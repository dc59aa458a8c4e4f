"""Slow and obvious versions of the measures, in 50 digits or in numpy, with which the fast versions are compared."""

import mpmath
import numpy as np


def exact_nc1(features: np.ndarray, labels: np.ndarray, convention: str = "class-averaged") -> float:
    """Compute NC1 in 50 digits: two passes, whole matrices, the first min(N-1, M) eigenvectors of Sigma_B."""
    with mpmath.workdps(50):
        rows = [mpmath.matrix([mpmath.mpf(float(x)) for x in row]) for row in features]
        N, M = int(labels.max()) + 1, features.shape[1]
        members = [[rows[i] for i in np.flatnonzero(labels == n)] for n in range(N)]
        means = [_mean(group) for group in members]
        center = _mean(rows if convention == "sample-centred" else means)
        within = mpmath.zeros(M, M)
        for group, mean in zip(members, means, strict=True):
            share = mpmath.mpf(1) / (N * len(group) if convention == "class-averaged" else len(rows))
            for h in group:
                within += share * (h - mean) * (h - mean).T
        between = mpmath.zeros(M, M)
        for mean in means:
            between += (mean - center) * (mean - center).T / N
        values, vectors = mpmath.eigsy(between)
        largest = sorted(range(M), key=lambda k: -values[k])[: min(N - 1, M)]
        trace = sum((vectors[:, k].T * within * vectors[:, k])[0] / values[k] for k in largest)
        return float(trace / N)


def _mean(rows: list[mpmath.matrix]) -> mpmath.matrix:
    total = rows[0] * 0
    for row in rows:
        total += row
    return total / len(rows)


def plain_nc1(features: np.ndarray, labels: np.ndarray, convention: str = "class-averaged") -> float:
    """Compute NC1 in float64 numpy: two passes, M x M matrices, and a pseudo-inverse of rank at most min(N-1, M)."""
    features = features.astype(np.float64)
    N, M = int(labels.max()) + 1, features.shape[1]
    means = np.stack([features[labels == n].mean(0) for n in range(N)])
    scatters = [(features[labels == n] - means[n]).T @ (features[labels == n] - means[n]) for n in range(N)]
    counts = np.bincount(labels, minlength=N)
    if convention == "class-averaged":
        within = sum(S / k for S, k in zip(scatters, counts, strict=True)) / N
    else:
        within = sum(scatters) / len(features)
    center = features.mean(0) if convention == "sample-centred" else means.mean(0)
    between = (means - center).T @ (means - center) / N
    U, s, Vt = np.linalg.svd(between)
    r = min(N - 1, M)
    return float(np.trace(within @ (Vt[:r].T / s[:r]) @ U[:, :r].T)) / N


def clouds(rng: np.random.Generator, counts: list[int], width: int, spread: float = 1.0) -> tuple[np.ndarray, ...]:
    """Draw a Gaussian cloud per class, stretched differently along each axis, with shuffled rows."""
    labels = np.repeat(np.arange(len(counts)), counts)
    centers = rng.normal(size=(len(counts), width))
    scales = spread * rng.uniform(0.3, 1.5, size=(len(counts), width))
    features = centers[labels] + scales[labels] * rng.normal(size=(len(labels), width))
    order = rng.permutation(len(labels))
    return features[order], labels[order]
