"""Read arrays, frames, data sets and labels in any encoding, and return frames of the same kind.

Frames (pandas, polars, Arrow) are read through narwhals, and Hugging Face data sets through their Arrow tables. The
order of rows is kept, and so is the index of a pandas frame.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from byrote import checks
from byrote.component import did_you_mean
from byrote.data.formats.labels import numbered
from byrote.data.formats.layout import channels_first
from byrote.table import Table

__all__ = ["Frame", "class_numbers", "features_of", "group_numbers", "is_dataset", "is_frame", "like"]

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Frame:
    """The columns of a frame, and the frame itself.

    Attributes:
        columns: values by column name, (n,) each; a column of lists of equal length d becomes (n, d).
        native: the frame itself; results are returned as the same kind of frame.
    """

    columns: Mapping[str, NDArray[Any]]
    native: Any


def is_frame(value: Any) -> bool:
    """Whether a value has named columns: a pandas, polars or Arrow table, or a Hugging Face data set."""
    return (
        is_dataset(value) or (hasattr(value, "columns") and hasattr(value, "shape")) or hasattr(value, "column_names")
    )


def is_dataset(value: Any) -> bool:
    """Whether a value is a Hugging Face data set."""
    return type(value).__module__.startswith("datasets.") and hasattr(value, "with_format")


def read_frame(value: Any) -> Frame:
    """Read the columns of a frame.

    Raises:
        ModuleNotFoundError: narwhals is not installed.
    """
    if is_dataset(value):
        table = value.with_format("numpy")[:]
        return Frame({name: _stacked(np.asarray(table[name])) for name in value.column_names}, value)
    narwhals = checks.require("narwhals", "audit")
    frame = narwhals.from_native(value, eager_only=True)
    return Frame({name: _stacked(frame[name].to_numpy()) for name in frame.columns}, value)


def _stacked(column: NDArray[Any]) -> NDArray[Any]:
    """Turn a column of equally long lists of numbers into a matrix."""
    if column.dtype == object and len(column) and isinstance(column[0], (list, np.ndarray)):
        lengths = {len(row) for row in column}
        if len(lengths) == 1:
            return np.stack([np.asarray(row) for row in column])
    return column


def features_of(x: Any, label: str | None) -> tuple[NDArray[np.floating], NDArray[Any] | None, Any]:
    """Samples (n, d) or (n, C, H, W), the label column or None, and the frame that contained them or None.

    Args:
        x: an array (n, d), (n, H, W), (n, C, H, W) or (n, H, W, C), or a frame. The numeric columns of a frame are the
            features.
        label: the column with the labels; None: the labels are passed separately.

    Raises:
        ValueError: no such column, no column of numbers, values that are not finite.
    """
    if not is_frame(x):
        if label is not None:
            raise ValueError(f"labels given by the name of a column, {label!r}, need a frame, got a {type(x).__name__}")
        return _checked(np.asarray(x), "X"), None, None
    frame = read_frame(x)
    if label is not None and label not in frame.columns:
        raise ValueError(f"X has no column {label!r}; {did_you_mean(label, list(frame.columns))}")
    parts = [
        column.reshape(len(column), -1)
        for name, column in frame.columns.items()
        if name != label and column.dtype.kind in "biuf"
    ]
    if not parts:
        raise ValueError(f"X needs columns of numbers, got {', '.join(map(str, frame.columns)) or 'none'}")
    y = None if label is None else frame.columns[label]
    return _checked(np.concatenate(parts, axis=1), "X"), y, frame.native


def _checked(x: NDArray[Any], name: str) -> NDArray[np.floating]:
    if x.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be numbers, got {x.dtype}")
    if x.ndim < 2:
        raise ValueError(f"expected {name} (n, d) with one row per sample, got shape {x.shape}")
    if x.ndim > 2:
        x = channels_first(x, "", name)
    if x.dtype.kind != "f":
        x = x.astype(np.float32)
    for start in range(0, len(x), 4096):
        bad = ~np.isfinite(x[start : start + 4096]).reshape(len(x[start : start + 4096]), -1).all(axis=1)
        if bad.any():
            row = start + int(np.flatnonzero(bad)[0])
            raise ValueError(f"{name} must be finite, got NaN or infinity in row {row}: fill in or leave out such rows")
    return x


def class_numbers(y: Any, where: str = "y") -> tuple[Integers, tuple[str, ...]]:
    """Convert labels (strings, integers of any range, booleans, one-hot rows) to 0..N-1, and return the class names.

    Raises:
        ValueError: a missing label, a fractional label, or a wrong shape.

    >>> class_numbers(["dog", "ant", "dog"])
    (array([1, 0, 1]), ('ant', 'dog'))
    >>> class_numbers([7, 5, 7])
    (array([1, 0, 1]), ('5', '7'))
    """
    column = np.asarray(y)
    if column.dtype.kind in "ib" and column.ndim == 1:  # negative numbers are class names, like all others
        values, numbers = np.unique(column, return_inverse=True)
        return numbers.astype(np.int64), tuple(map(str, values.tolist()))
    parsed = numbered(column, where)
    values, numbers = np.unique(parsed.numbers, return_inverse=True)
    names = parsed.names or tuple(map(str, values.tolist()))
    return numbers.astype(np.int64), names


def group_numbers(groups: Any, n: int) -> Integers | None:
    """Convert groups in any encoding to integers (n,).

    Raises:
        ValueError: a wrong length or shape.
    """
    if groups is None:
        return None
    column = np.asarray(groups)
    if column.shape != (n,):
        raise ValueError(f"groups must name one group per sample, shape ({n},), got {column.shape}")
    _, numbers = np.unique(column.astype(str) if column.dtype == object else column, return_inverse=True)
    return numbers.astype(np.int64)


def like(native: Any, columns: Mapping[str, Sequence[Any] | NDArray[Any]]) -> Any:
    """Put columns into a frame of the same kind, with the same index; a `byrote.table.Table` for array input."""
    if native is None:
        return Table({name: np.asarray(column) for name, column in columns.items()})
    plain = {name: np.asarray(column).tolist() for name, column in columns.items()}
    if is_dataset(native):
        return type(native).from_dict(plain)
    narwhals = checks.require("narwhals", "audit")
    frame = narwhals.from_native(native, eager_only=True)
    frame_back = narwhals.from_dict(plain, backend=frame.implementation).to_native()
    if hasattr(native, "index") and hasattr(frame_back, "index"):  # pandas
        frame_back.index = native.index
    return frame_back
