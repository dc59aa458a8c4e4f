"""Input checks shared by all parts of byrote; each error is one sentence with what was expected, what came, and what to
do."""

import importlib
import operator
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = [
    "class_labels",
    "classes",
    "counted",
    "epoch_number",
    "finite",
    "finite_rows",
    "integers",
    "logits",
    "matrix",
    "numbers",
    "one_axis",
    "one_of",
    "require",
    "same_length",
    "unusable",
]


def require(module: str, extra: str) -> ModuleType:
    """Import an optional package; the error states how to install it.

    >>> require("json", "report").__name__
    'json'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ModuleNotFoundError(
            f"{module} is required here but is not installed ({error}): pip install 'byrote[{extra}]'"
        ) from None


def one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    """Check that `value` is one of `known`."""
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")


def same_length(**columns: "torch.Tensor") -> None:
    """Check that all named tensors have the same first dimension."""
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"expected equal lengths, got {', '.join(f'{k} {v}' for k, v in lengths.items())}")


def finite(name: str, values: "torch.Tensor") -> None:
    """Check that no value is NaN or infinite."""
    bad = int((~values.isfinite()).sum())
    if bad:
        raise ValueError(f"{name} must be finite, but {bad} of {values.numel()} values are NaN or infinite")


def classes(name: str, labels: "torch.Tensor", num_classes: int) -> None:
    """Check that class labels are integers within 0 .. num_classes - 1."""
    if labels.is_floating_point() or labels.is_complex():
        raise TypeError(f"{name} must be integer classes, got {labels.dtype}")
    if labels.numel() == 0:
        return
    labels = labels.long()  # torch has no minimum and maximum for some small and unsigned dtypes
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        outside = ((labels < 0) | (labels >= num_classes)).flatten()
        first, count = int(outside.int().argmax()), int(outside.sum())
        where = f" in row {first}" if labels.ndim == 1 else ""
        more = f" and {count - 1} more values out of range" if count > 1 else ""
        raise ValueError(
            f"{name} must lie in 0..{num_classes - 1}, got {int(labels.flatten()[first])}{where}{more}"
            f"{_range_hint(name, low, high, num_classes)}"
        )


def _range_hint(name: str, low: int, high: int, num_classes: int) -> str:
    """Advice on labels out of range, if their range suggests a cause."""
    if name == "index":
        return ""
    if low >= 1 and high == num_classes:
        return f": labels must start at 0, but these run from {low} to {high}; subtract 1"
    if low == -1 and high == 1 and num_classes == 2:
        return ": labels must start at 0, but these are -1 and 1; add 1 and halve them"
    if low < 0:
        return ": a negative label marks a sample without a class; leave those samples out"
    return ""


def integers(name: str, values: Any) -> "torch.Tensor":
    """Convert whole numbers (or booleans) in a tensor, an array, a list or a pandas column to int64.

    Floats are refused even if they are whole, because a column of integers with missing values becomes a column of
    floats.

    Raises: TypeError for floats, text, and anything that is not an array of numbers.

    >>> integers("labels", [0, 2, 1])
    tensor([0, 2, 1])
    """
    import torch

    tensor = numbers(name, values)
    if tensor.is_floating_point() or tensor.is_complex():
        if tensor.numel() == 0 and not isinstance(values, torch.Tensor):
            return tensor.long()  # an empty list has no dtype of its own
        wanted = "integers" if name in ("index", "id", "ids", "counts", "folds") else "integer classes"
        raise TypeError(f"{name} must be {wanted}, got {tensor.dtype}{_float_hint(tensor)}")
    return tensor.long()


def class_labels(name: str, labels: Any, num_classes: int, size: int | None = None) -> "torch.Tensor":
    """Convert class labels (n,) to int64 and check that each is within 0 .. num_classes - 1.

    Args:
        name: the name of the labels in error messages.
        labels: see `integers`.
        num_classes: N.
        size: n, the required number of labels; None: any number.

    Raises: TypeError like `integers`; ValueError for a wrong shape or length, or a label out of range.

    >>> class_labels("labels", [0, 2, 1], num_classes=3)
    tensor([0, 2, 1])
    """
    tensor = integers(name, labels)
    one_axis(name, tensor, num_classes)
    if size is not None and len(tensor) != size:
        raise ValueError(f"expected equal lengths, got {len(tensor)} {name} for {size} samples")
    classes(name, tensor, num_classes)
    return tensor


def epoch_number(epoch: Any) -> int:
    """Convert an epoch to an int; 0 is refused, because it marks samples that were never learned."""
    try:
        number = operator.index(epoch)
    except TypeError:
        raise TypeError(f"expected a whole number as the epoch, got {epoch!r}") from None
    if number < 1 or isinstance(epoch, bool):
        raise ValueError(f"epochs are numbered from 1, got {epoch!r}: pass epoch + 1 if your loop starts at 0")
    return number


def one_axis(name: str, values: "torch.Tensor", num_classes: int | None = None) -> None:
    """Check that `values` has shape (n,), because a second axis would be broadcast instead of compared."""
    if values.ndim == 1:
        return
    hint = ""
    if values.ndim == 2 and values.shape[1] == 1:
        hint = ": pass them without the second axis, [:, 0]"
    elif values.ndim == 2 and values.shape[1] == (num_classes or values.shape[1]):
        hint = ": one-hot labels become classes with .argmax(1)"
    raise ValueError(f"expected {name} (n,), one number per sample, got shape {tuple(values.shape)}{hint}")


def matrix(name: str, values: Any, columns: int | None = None) -> "torch.Tensor":
    """Convert logits or features (n, C) in a tensor, an array or lists to a floating-point tensor without a graph.

    Raises: TypeError for a wrong dtype, ValueError for a wrong shape.

    >>> matrix("features", [[0.5, 1.5]]).shape
    torch.Size([1, 2])
    """
    import torch

    rows = numbers(name, values).detach()
    if rows.is_complex() or rows.dtype == torch.bool:
        raise TypeError(f"{name} must be real numbers, got {rows.dtype}")
    rows = rows if rows.is_floating_point() else rows.double()
    if rows.ndim != 2 or (columns is not None and rows.shape[1] != columns):
        width = columns or ("C" if "logits" in name else "M")
        raise ValueError(f"expected {name} (n, {width}), one row per sample, got shape {tuple(rows.shape)}")
    return rows


def logits(name: str, values: Any, num_classes: int | None = None) -> "torch.Tensor":
    """Convert logits (n, C) and check that each row predicts a class: two or more columns, all finite, except that -inf
    masks a class.

    Raises: see `matrix`; also ValueError for a single column, and for rows that contain NaN or infinity, or only -inf.

    >>> logits("logits", [[0.5, float("-inf")]]).shape
    torch.Size([1, 2])
    """
    rows = matrix(name, values, num_classes)
    if rows.shape[1] < 2:
        raise ValueError(
            f"{name} need 2 or more columns, one per class, got {rows.shape[1]}: a single score s for two classes "
            "means the logits [0, s]"
        )
    bad = unusable(rows)
    if bool(bad.any()):
        raise ValueError(
            f"{name} must be finite (or -inf to mask some of the classes), but {int(bad.sum())} of {len(rows)} rows "
            f"are not, the first at row {int(bad.int().argmax())}: leave those samples out, or measure before the "
            "training diverges"
        )
    return rows


def finite_rows(name: str, rows: "torch.Tensor", advice: str) -> None:
    """Check that no row (n, C) has a NaN or an infinity; the error gives the number of such rows and what to do about
    them."""
    bad = ~rows.isfinite().all(1)
    if bool(bad.any()):
        raise ValueError(
            f"{name} must be finite, got NaN or infinity in {int(bad.sum())} of {len(rows)} rows, the first at row "
            f"{int(bad.int().argmax())}; {advice}"
        )


def unusable(logits: "torch.Tensor") -> "torch.Tensor":
    """Return (n,) bool: the rows of logits (n, C) that predict no class, with NaN or +inf, or with -inf for every
    class.

    Only the largest entry of each row is tested, where NaN is larger than every number.
    """
    import torch

    if logits.shape[-1] == 0 or not logits.is_floating_point():
        return torch.zeros(logits.shape[:-1], dtype=torch.bool, device=logits.device)
    return ~logits.amax(-1).isfinite()


def counted(name: str, values: Any) -> "torch.Tensor":
    """Convert classes (n,) to int64 if the number of classes is unknown; none may be negative.

    >>> counted("predictions", [0, 4, 1])
    tensor([0, 4, 1])
    """
    tensor = integers(name, values)
    one_axis(name, tensor)
    if tensor.numel() and int(tensor.min()) < 0:
        raise ValueError(
            f"{name} must be 0 or more, got {int(tensor.min())}: a negative label marks a sample without a class; "
            "leave those samples out"
        )
    return tensor


def numbers(name: str, values: Any) -> "torch.Tensor":
    """Convert numbers of any shape in a tensor, an array, a list or a pandas column to a tensor.

    Raises: TypeError for text, and for anything that is not an array of numbers.

    >>> numbers("features", [[0.5], [1.5]]).shape
    torch.Size([2, 1])
    """
    import numpy as np
    import torch

    if isinstance(values, torch.Tensor):
        return values
    try:
        hidden = int(np.ma.getmaskarray(values).sum()) if isinstance(values, np.ma.MaskedArray) else 0
        array = np.asarray(values)
    except (ValueError, TypeError):
        raise TypeError(f"{name} must be an array of numbers, got a {type(values).__name__} of uneven rows") from None
    if hidden:
        raise TypeError(
            f"{name} must be present for every sample, got a masked array that hides {hidden} of them: leave those out"
        )
    if array.dtype.kind not in "biufc":
        raise TypeError(f"{name} must be an array of numbers, got a {type(values).__name__} of {array.dtype}")
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("=")))


def _float_hint(values: "torch.Tensor") -> str:
    """Advice on labels that are floats."""
    missing = ~values.isfinite()
    if bool(missing.any()):
        first = int(missing.flatten().int().argmax())
        return f" with {int(missing.sum())} missing (NaN or infinite), the first at position {first}: leave them out"
    if values.is_floating_point() and bool((values == values.round()).all()):
        return ": convert them with .long() if they are classes"
    return ": these are not classes"
