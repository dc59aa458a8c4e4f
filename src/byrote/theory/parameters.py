"""Check the arguments of the models: one function for each condition."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Array",
    "Real",
    "broadcast",
    "class_count",
    "non_negative",
    "positive",
    "smoothing",
    "unwrap",
    "width_of",
]

Array: TypeAlias = NDArray[np.float64]
Real: TypeAlias = float | Array  # a number for a single point, an array for a sweep


def _checked(name: str, value: ArrayLike, holds: Callable[[Array], NDArray[np.bool_]], need: str) -> Array:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be {need}, got {value!r}") from None
    bad = ~(np.isfinite(array) & holds(array))
    if bad.any():
        raise ValueError(f"{name} must be {need}, got {array[bad].flat[0]:g}")
    return array


def positive(name: str, value: ArrayLike) -> Array:
    """Return `value` as float64; ValueError unless it is finite and above 0."""
    return _checked(name, value, lambda array: array > 0, "above 0 and finite")


def non_negative(name: str, value: ArrayLike) -> Array:
    """Return `value` as float64; ValueError unless it is finite and at least 0."""
    return _checked(name, value, lambda array: array >= 0, "at least 0 and finite")


def smoothing(alpha: ArrayLike) -> Array:
    """Return the loss parameter alpha as float64; ValueError unless it is in [0, 1)."""
    return _checked("alpha", alpha, lambda array: (array >= 0) & (array < 1), "in [0, 1)")


def class_count(num_classes: ArrayLike) -> Array:
    """Return the number of classes N as float64; ValueError unless it is a whole number from 2 to a billion.

    Above a billion, 1 - p is lost to rounding for a probability p near 1.
    """
    return _checked(
        "num_classes",
        num_classes,
        lambda array: (array >= 2) & (array <= 1e9) & (array == np.floor(array)),
        "a whole number of at least 2 (and at most 1e9)",
    )


def width_of(width: int | None, num_classes: int) -> int:
    """Return the feature width M (default: N); ValueError unless M >= N."""
    chosen = num_classes if width is None else width
    if int(chosen) != chosen or chosen < num_classes:
        raise ValueError(f"width must be a whole number M >= N = {num_classes}, got {chosen}")
    return int(chosen)


def broadcast(*arrays: Array) -> tuple[tuple[int, ...], list[Array]]:
    """Broadcast `arrays`: return the common shape, and each array flattened."""
    try:
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
    except ValueError:
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise ValueError(f"the parameters must broadcast to one shape, got shapes {shapes}") from None
    return shape, [np.ascontiguousarray(np.broadcast_to(array, shape)).reshape(-1) for array in arrays]


def unwrap(array: Array, shape: tuple[int, ...]) -> Real:
    """Reshape `array` to `shape`; for the shape () of a single point, return a plain float."""
    return float(array.reshape(-1)[0]) if shape == () else array.reshape(shape)
