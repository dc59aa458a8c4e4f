"""Slow, obvious versions of the noise laws, written from the definitions, one sample at a time."""

import numpy as np
import torch
from scipy.stats import chi2


def uniform_matrix(rate: float, n: int) -> list[list[float]]:
    """Transition matrix if a label is redrawn from all classes with probability `rate`."""
    return [[rate / n + (1 - rate if true == seen else 0) for seen in range(n)] for true in range(n)]


def symmetric_matrix(rate: float, n: int) -> list[list[float]]:
    """Transition matrix if a label moves to one of the other classes with probability `rate`."""
    return [[1 - rate if true == seen else rate / (n - 1) for seen in range(n)] for true in range(n)]


def chi_square(counts: torch.Tensor, law: torch.Tensor) -> float:
    """Compute Pearson's p-value of the counts under a transition matrix, row by row; 0 for an impossible count."""
    observed, probabilities = counts.numpy().astype(float), law.numpy()
    expected = observed.sum(1, keepdims=True) * probabilities
    possible = probabilities > 1e-15
    if observed[~possible].any():
        return 0.0
    statistic = float((((observed - expected) ** 2)[possible] / expected[possible]).sum())
    freedom = int(possible.sum()) - len(observed)
    return 1.0 if freedom == 0 else float(chi2.sf(statistic, freedom))


def count(true: torch.Tensor, observed: torch.Tensor, n: int, outputs: int) -> np.ndarray:
    """Count, one by one, how often each true class was observed as each class."""
    table = np.zeros((n, outputs), dtype=int)
    for a, b in zip(true.tolist(), observed.tolist(), strict=True):
        table[a, b] += 1
    return table


def flip_one_by_one(labels: list[int], law: list[list[float]], numbers: list[list[float]]) -> list[int]:
    """Flip labels with the draws that all laws use: u decides whether a label moves, v chooses the new class."""
    out = []
    for label, (u, v) in zip(labels, numbers, strict=True):
        away = sum(p for k, p in enumerate(law[label]) if k != label)
        seen = label
        if u < away:
            reached = 0.0
            for k, p in enumerate(law[label]):
                if k == label or p == 0:
                    continue
                reached += p / away
                seen = k
                if v < reached:
                    break
        out.append(seen)
    return out
