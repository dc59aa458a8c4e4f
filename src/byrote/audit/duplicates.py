"""Near duplicates: pairs of samples that are almost the same."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["near_duplicates"]

Integers = NDArray[np.int64]
_NEAR = 0.1  # two samples are nearly the same below this fraction of the median distance to the nearest sample
_MOST = 20_000  # largest number of samples for which all pairs are compared; above it, only equal samples are reported
_BLOCK = 1024
_WIDE = 64  # number of features above which random projections are used to look for neighbors


def near_duplicates(x: NDArray[np.floating]) -> Integers:
    """Find a near duplicate for each sample; -1 where there is none.

    Two samples are nearly the same if their distance is 0 or below a tenth of the median distance to the nearest
    sample. Above 20,000 samples only equal samples are reported, because comparing all pairs would take too long.

    Args:
        x: (n, d) features.

    >>> near_duplicates(np.array([[0.], [5.], [5.], [9.], [13.]])).tolist()
    [-1, 2, 1, -1, -1]
    """
    x = np.ascontiguousarray(x.reshape(len(x), -1))
    if len(x) < 2:
        return np.full(len(x), -1)
    if len(x) > _MOST:
        return _equal(x)
    nearest, distance = _nearest(x.astype(np.float32))
    limit = _NEAR * float(np.median(distance))
    return np.where((distance < limit) | (distance == 0), nearest, -1)


def _nearest(x: NDArray[np.float32]) -> tuple[Integers, NDArray[np.float64]]:
    """The nearest other sample of each sample, and its distance.

    With more than 64 features, the search uses 64 random projections. Projections change distances by a few tenths at
    most, so a near duplicate stays far nearer than all other samples. The distance to the nearest sample is computed
    from the features.
    """
    short = x - x.mean(axis=0)
    if x.shape[1] > _WIDE:
        draw = np.random.default_rng(0).normal(size=(x.shape[1], _WIDE)).astype(np.float32)
        short = short @ draw / np.float32(_WIDE**0.5)
    squares = (short.astype(np.float64) ** 2).sum(axis=1)
    nearest = np.empty(len(x), dtype=np.int64)
    for start in range(0, len(x), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(x)))
        apart = squares[None, :] - 2 * (short[rows] @ short.T)
        apart[np.arange(len(rows)), rows] = np.inf
        nearest[rows] = apart.argmin(axis=1)
    difference = np.empty(len(x))
    for start in range(0, len(x), _BLOCK):  # exact distances, because the expanded square above is rounded
        rows = np.arange(start, min(start + _BLOCK, len(x)))
        difference[rows] = np.linalg.norm(x[rows].astype(np.float64) - x[nearest[rows]], axis=1)
    return nearest, difference


def _equal(x: NDArray[np.floating]) -> Integers:
    """The next equal sample of each sample; the last of several equal samples points to the first."""
    keys = x.view([("", x.dtype)] * x.shape[1])[:, 0] if x.shape[1] > 1 else x[:, 0]
    _, group = np.unique(keys, return_inverse=True)
    order = np.argsort(group, kind="stable")
    sizes = np.bincount(group)
    next_equal = np.full(len(x), -1)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    for start, size in zip(starts[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
        rows = order[start : start + size]
        next_equal[rows] = np.roll(rows, -1)
    return next_equal
