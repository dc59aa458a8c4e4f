"""Convert stored numbers to float32, if float32 can still distinguish them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["single"]

Array = np.ndarray[Any, Any]
_PIECE = 1024  # samples converted at a time
_LEAST = 2.0**-149  # the smallest positive number of float32


def single(values: Array, names: Sequence[str], where: str, bounded: bool = True) -> Array:
    """Numbers (n, C, ...) as float32.

    A float32 has 24 significant bits. A column of times in milliseconds or of numbers near 1e-60 would become a
    constant, and everything measured from it would be silently wrong. Therefore a channel is refused if its standard
    deviation is less than 100 steps of float32.

    Args:
        values: integers or floats; NaN and infinities are kept.
        names: the name of each of the C channels in error messages.
        where: the name of the source in error messages.
        bounded: refuse numbers beyond the range of float32; if False, they become infinite.

    Raises:
        ValueError: a channel whose values float32 cannot represent or distinguish.

    Example:
        >>> single(np.array([[1.5, 2.0], [3.0, 4.0]]), ["column 'a'", "column 'b'"], "a.csv").dtype
        dtype('float32')
        >>> single(np.array([[1e9], [1e9 + 1]]), ["column 'time'"], "a.csv")
        Traceback (most recent call last):
        ValueError: a.csv: float32 cannot tell the values of column 'time' apart (up to 1e+09, deviation 0.5): \
subtract a constant or rescale it
    """
    if not np.can_cast(values.dtype, np.float32, "safe") and values.size:
        _check(values, names, where, bounded)
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _check(values: Array, names: Sequence[str], where: str, bounded: bool) -> None:
    first = values[:1].astype(np.float64)
    axes = tuple(axis for axis in range(values.ndim) if axis != 1)
    low, high = np.full(values.shape[1], np.inf), np.full(values.shape[1], -np.inf)
    total, squares = np.zeros(values.shape[1]), np.zeros(values.shape[1])
    with np.errstate(all="ignore"):  # overflow in float64, NaN and infinities
        for start in range(0, len(values), _PIECE):
            piece = values[start : start + _PIECE].astype(np.float64)
            low, high = np.minimum(low, piece.min(axis=axes)), np.maximum(high, piece.max(axis=axes))
            away = piece - first
            total += away.sum(axis=axes)
            squares += (away**2).sum(axis=axes)
        count = values.size / values.shape[1]
        spread = np.sqrt(np.maximum(squares / count - (total / count) ** 2, 0.0))
        size = np.maximum(np.abs(low), np.abs(high))
        step = np.maximum(size * 2.0**-24, _LEAST)
        large = bounded & (size > np.finfo(np.float32).max) & np.isfinite(size)
        bad = large | (step > 0.01 * spread) & (high > low)
    if bad.any():
        place = int(np.flatnonzero(bad)[0])
        deviation = f", deviation {spread[place]:g}" if np.isfinite(spread[place]) else ""
        raise ValueError(
            f"{where}: float32 cannot tell the values of {names[place]} apart (up to {size[place]:g}{deviation}): "
            "subtract a constant or rescale it"
        )
