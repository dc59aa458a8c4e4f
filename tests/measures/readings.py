"""The readings of training features, of the classifier and of redrawn samples, in plain NumPy, sample by sample."""

import itertools
import math

import numpy as np

nan = math.nan


def class_means(features: np.ndarray, labels: np.ndarray, num_classes: int) -> list[np.ndarray]:
    """Compute the mean feature of each class."""
    return [
        np.mean([h for h, n in zip(features.astype(float), labels, strict=True) if n == k], axis=0)
        for k in range(num_classes)
    ]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / math.sqrt(a @ a) / math.sqrt(b @ b))


def variation(numbers: list[float]) -> float:
    """Divide the standard deviation (ddof 1) by the mean."""
    mean = sum(numbers) / len(numbers)
    return math.sqrt(sum((x - mean) ** 2 for x in numbers) / (len(numbers) - 1)) / mean


def train_geometry(means: list[np.ndarray]) -> dict[str, float]:
    N = len(means)
    pairs = list(itertools.combinations(range(N), 2))
    center = sum(means) / N
    centered = [h - center for h in means]
    norms = [math.dist(h, 0 * h) for h in means]
    return {
        "train_class_distance": float(np.mean([math.dist(means[n], means[k]) for n, k in pairs])),
        "train_norm_cv": variation(norms),
        "train_uncentred_cosine": float(np.mean([cosine(means[n], means[k]) for n, k in pairs])),
        "train_centred_cosine": float(np.mean([cosine(centered[n], centered[k]) for n, k in pairs])),
        "train_nc2_norm_cv": variation([math.dist(h, center) for h in means]),
        "train_nc2_cosine": float(np.mean([abs(cosine(centered[n], centered[k]) + 1 / (N - 1)) for n, k in pairs])),
        "train_classes_at_zero": sum(norm < (2**0.5 - 1) / (2**0.5 + 1) * max(norms) for norm in norms),
        "train_smallest_norm": min(norms) / max(norms),
    }


def train_duality(
    features: np.ndarray, means: list[np.ndarray], weight: np.ndarray, bias: np.ndarray
) -> dict[str, float]:
    N = len(means)
    center = sum(means) / N
    centered = np.stack([h - center for h in means])
    norms = [math.dist(h, 0 * h) for h in means]
    mean_norm = sum(norms) / N
    agree = 0
    for h in features.astype(float):
        scores = [float(w @ h + b) for w, b in zip(weight, bias, strict=True)]
        away = [math.dist(h, mean) for mean in means]
        agree += scores.index(max(scores)) == away.index(min(away))
    return {
        "train_nc3": float(
            np.sqrt(np.sum((weight / np.sqrt(np.sum(weight**2)) - centered / np.sqrt(np.sum(centered**2))) ** 2))
        ),
        "train_nc4": agree / len(features),
        "def31_norms": max(abs(norm - mean_norm) for norm in norms) / mean_norm,
        "def31_angles": max(abs(cosine(means[n], means[k])) for n, k in itertools.combinations(range(N), 2)),
        "def31_duality": max(1 - cosine(weight[n], centered[n]) for n in range(N)),
    }


def top_share(features: np.ndarray, labels: np.ndarray) -> float:
    """Divide the largest term of tr(Sigma_W Sigma_B^+), one per eigenvector of Sigma_B, by the sum of all terms."""
    N, M = int(labels.max()) + 1, features.shape[1]
    means = class_means(features, labels, N)
    center = sum(means) / N
    within, between = np.zeros((M, M)), np.zeros((M, M))
    for n, mean in enumerate(means):
        members = features[labels == n].astype(float) - mean
        within += members.T @ members / len(members) / N
        between += np.outer(mean - center, mean - center) / N
    values, vectors = np.linalg.eigh(between)
    largest = np.argsort(values)[::-1][: min(N - 1, M)]
    terms = [vectors[:, j] @ within @ vectors[:, j] / values[j] for j in largest]
    return float(max(terms) / sum(terms))


def redrawn(features: np.ndarray, true: np.ndarray, mask: np.ndarray, means: list[np.ndarray]) -> dict[str, float]:
    """Compute mem of the samples with redrawn labels, as distances from the test means."""
    away = [math.dist(h, means[n]) for h, n, chosen in zip(features.astype(float), true, mask, strict=True) if chosen]
    D = float(np.mean([math.dist(a, b) for a, b in itertools.combinations(means, 2)]))
    mean = sum(away) / len(away) if away else nan
    return {
        "mem_redrawn_mean": mean,
        "mem_redrawn_noise_weighted": sum(away) / len(features),
        "mem_redrawn_relative": mean / D,
        "mem_redrawn_noise_weighted_relative": sum(away) / len(features) / D,
        "redrawn_rate": len(away) / len(features),
    }
