"""Symmetric losses (LF): check the noisy-risk identity, and find pairs of classifiers whose risks noise reverses.

A loss is any callable `loss(logits, labels)` that returns one value per sample, for logits (S, N) and integer labels
(S,). `from_torch` wraps torch losses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .parameters import Array

__all__ = [
    "Identity",
    "Reversal",
    "SampleLoss",
    "Symmetry",
    "check_symmetry",
    "class_sums",
    "find_reversal",
    "from_torch",
    "noisy_risk",
]

SampleLoss: TypeAlias = Callable[[Array, NDArray[np.int64]], ArrayLike]


@dataclass(frozen=True)
class Symmetry:
    """Whether sum_j L(z, j) is the same constant C for all given logits.

    Attributes:
        constant: the mean of the sum over the logits.
        deviation: the spread of the sum over the logits, relative to its mean.
        holds: whether the deviation is at most the tolerance of `check_symmetry`.
        samples: the number of rows of logits.
    """

    constant: float
    deviation: float
    holds: bool
    samples: int


@dataclass(frozen=True)
class Identity:
    """The noisy risk, summed label by label, compared with its formulas.

    Attributes:
        clean: the clean risk.
        noisy: the noisy risk, summed label by label.
        formula: the noisy risk from the formula for any loss.
        symmetric_formula: the noisy risk from the formula for symmetric losses.
        deviation: the relative deviation of the noisy risk from `formula`.
        symmetric_deviation: the relative deviation of the noisy risk from `symmetric_formula`.
    """

    clean: float
    noisy: float
    formula: float
    symmetric_formula: float
    deviation: float
    symmetric_deviation: float


@dataclass(frozen=True)
class Reversal:
    """Two classifiers: the first has the lower clean risk and the higher noisy risk.

    Attributes:
        logits_better_clean: logits of the first classifier, (S, N).
        logits_better_noisy: logits of the second classifier on the same samples, (S, N).
        labels: true classes, (S,).
        eta: the flip rate.
        clean: the two clean risks.
        noisy: the two noisy risks.
    """

    logits_better_clean: Array
    logits_better_noisy: Array
    labels: NDArray[np.int64]
    eta: float
    clean: tuple[float, float]
    noisy: tuple[float, float]


def from_torch(loss: Callable[..., Any]) -> SampleLoss:
    """Wrap a torch loss, which is called as loss(logits, labels, reduction="none") in float64.

    Raises:
        RuntimeError: torch is not installed.
    """
    try:
        import torch
    except ImportError:
        raise RuntimeError("a torch loss needs torch, which is not installed") from None

    def per_sample(logits: Array, labels: NDArray[np.int64]) -> Array:
        with torch.no_grad():
            values = loss(torch.from_numpy(np.array(logits)), torch.from_numpy(np.array(labels)), reduction="none")
        return np.asarray(values, dtype=np.float64)

    return per_sample


def class_sums(loss: SampleLoss, logits: ArrayLike) -> Array:
    """sum_j L(z, j) for each row z of logits (S, N): shape (S,).

    >>> import numpy as np
    >>> mean_absolute = lambda z, y: 2 - 2 * (np.exp(z) / np.exp(z).sum(1, keepdims=True))[np.arange(len(y)), y]
    >>> class_sums(mean_absolute, [[0., 3., 1.], [5., 0., 0.]]).round(12).tolist()
    [4.0, 4.0]
    """
    return np.asarray(_by_label(loss, _rows(logits)).sum(axis=1))


def check_symmetry(loss: SampleLoss, logits: ArrayLike, tolerance: float = 1e-9) -> Symmetry:
    """Check whether the sum over classes is the same constant for all given logits (S, N).

    Args:
        loss: returns values (S,) for logits (S, N) and labels (S,).
        logits: (S, N).
        tolerance: the largest relative spread of the sums that counts as rounding error.
    """
    sums = class_sums(loss, logits)
    constant = float(sums.mean())
    deviation = float(np.ptp(sums)) / max(abs(constant), np.finfo(float).tiny)
    return Symmetry(constant, deviation, bool(deviation <= tolerance), len(sums))


def noisy_risk(loss: SampleLoss, logits: ArrayLike, labels: ArrayLike, eta: float) -> Identity:
    """Compute the expected risk under `Symmetric(eta)` labels, and compare it with the noisy-risk identity.

    For every loss:   noisy = (1 - eta N/(N-1)) clean + eta/(N-1) mean of the class sums.
    For symmetric losses the mean of the class sums is C, so noise preserves the order of any two risks for eta <
    (N-1)/N.

    Args:
        loss: returns values (S,) for logits (S, N) and labels (S,).
        logits: (S, N).
        labels: (S,) true classes, integers in 0..N-1.
        eta: flip rate in [0, 1].

    Raises:
        ValueError: shapes, labels or eta outside their domain.
        TypeError: labels that are not integers.

    >>> import numpy as np
    >>> squared = lambda z, y: ((z - np.eye(3)[y]) ** 2).sum(axis=1)
    >>> noisy_risk(squared, np.arange(6.).reshape(2, 3), [0, 2], .3).deviation < 1e-12
    True
    """
    rows = _rows(logits)
    true = _classes(labels, *rows.shape)
    _rate(eta)
    N = rows.shape[1]
    table = _by_label(loss, rows)  # (S, N)
    flips = np.full((len(rows), N), eta / (N - 1))
    flips[np.arange(len(rows)), true] = 1 - eta
    noisy = float((flips * table).sum(axis=1).mean())
    clean = float(table[np.arange(len(rows)), true].mean())
    sums = table.sum(axis=1)
    formula = (1 - eta * N / (N - 1)) * clean + eta / (N - 1) * float(sums.mean())
    symmetric = (1 - eta * N / (N - 1)) * clean + eta / (N - 1) * float(sums[0])
    size = max(abs(noisy), np.finfo(float).tiny)
    return Identity(clean, noisy, formula, symmetric, abs(noisy - formula) / size, abs(noisy - symmetric) / size)


def find_reversal(loss: SampleLoss, num_classes: int = 3, eta: float = 0.3, seed: int = 0) -> Reversal | None:
    """Find two classifiers whose order of risks noise reverses; None if no pair tried has this property.

    Noise adds eta/(N-1) times the mean class sum. So the search looks for a classifier with slightly lower clean risk
    but a larger class sum. Each candidate is a row of logits for one sample of class 0: confident, modest or wrong
    logits along e_0, or random logits. The pair with the widest margin is returned.

    Raises:
        ValueError: eta is not in (0, (N-1)/N): from (N-1)/N on, noise changes the order even under a symmetric loss.

    >>> import numpy as np
    >>> cross_entropy = lambda z, y: np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(y)), y]
    >>> pair = find_reversal(cross_entropy)
    >>> pair.clean[0] < pair.clean[1] and pair.noisy[0] > pair.noisy[1]
    True
    """
    _rate(eta)
    if not 0 < eta < (num_classes - 1) / num_classes:
        raise ValueError(f"eta must be in (0, (N-1)/N) = (0, {(num_classes - 1) / num_classes:.3f}), got {eta}")
    ray = np.zeros((41, num_classes))
    ray[:, 0] = np.linspace(-4, 12, 41)
    random = np.random.default_rng(seed).normal(scale=3, size=(160, num_classes))
    logits = np.concatenate([ray, random])
    table = _by_label(loss, logits)
    clean = table[:, 0]
    noisy = (1 - eta) * clean + eta / (num_classes - 1) * table[:, 1:].sum(axis=1)
    ahead = clean[None, :] - clean[:, None]  # (first, second): above 0 where the clean risk of the first is lower
    behind = noisy[:, None] - noisy[None, :]  # above 0 where the noisy risk of the first is higher
    margin = np.minimum(ahead, behind)
    first, second = np.unravel_index(int(np.argmax(margin)), margin.shape)
    if margin[first, second] <= 1e-9 * (1 + np.abs(table).max()):
        return None
    return Reversal(
        logits[first][None, :],
        logits[second][None, :],
        np.zeros(1, dtype=np.int64),
        eta,
        (float(clean[first]), float(clean[second])),
        (float(noisy[first]), float(noisy[second])),
    )


def _rows(logits: ArrayLike) -> Array:
    rows = np.asarray(logits, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] < 2 or len(rows) == 0:
        raise ValueError(f"logits must have shape (S, N) with N >= 2, got {rows.shape}")
    return rows


def _classes(labels: ArrayLike, size: int, num_classes: int) -> NDArray[np.int64]:
    """Check labels (S,) in 0..N-1, because floats, strings and negative labels would index wrong classes."""
    try:
        array = np.asarray(labels)
    except (ValueError, TypeError):  # uneven rows
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "biu":
        raise TypeError(f"labels must be integer classes, got a {type(labels).__name__} of {array.dtype}")
    if array.shape != (size,):
        raise ValueError(f"labels must have shape {(size,)}, one per row of logits, got {array.shape}")
    outside = np.flatnonzero((array < 0) | (array >= num_classes))
    if len(outside):
        first = outside[0]
        raise ValueError(f"labels must lie in 0..{num_classes - 1}, got {int(array[first])} in row {first}")
    return array.astype(np.int64)


def _rate(eta: float) -> None:
    if not 0 <= eta <= 1:
        raise ValueError(f"eta must be in [0, 1], got {eta}")


def _by_label(loss: SampleLoss, rows: Array) -> Array:
    """L(z, j) for every row and every label, (S, N)."""
    columns = []
    for label in range(rows.shape[1]):
        values = np.asarray(loss(rows, np.full(len(rows), label, dtype=np.int64)), dtype=np.float64)
        if values.shape != rows.shape[:1]:
            raise ValueError(f"the loss must return one value per sample, shape {rows.shape[:1]}, got {values.shape}")
        columns.append(values)
    return np.stack(columns, axis=1)
