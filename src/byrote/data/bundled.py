"""The data set inside the package: a subset of Fashion-MNIST (MIT license), made by `scripts/make_subset.py`."""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from byrote.data.base import Dataset, Raw, Split

__all__ = ["FILE", "MEAN", "STD", "FashionMNISTSubset", "content_digest", "decode", "suffices"]

FILE = Path(__file__).parent / "fashion_mnist_subset.npz"
CONTENT = "216f4b8ab10c846046680fdbb732c5a29d452e2467f15468497b0dc2a4afd83a"
MEAN, STD = (0.2860,), (0.3530,)  # mean and deviation of x/255 over the full training set
_COUNTS = {"train": (1000,) * 10, "test": (1000, 1000, *(200,) * 8)}


def content_digest(arrays: "dict[str, np.ndarray[Any, Any]]") -> str:
    """The SHA-256 of the arrays' names, types, shapes and bytes; it does not depend on the compression of the file."""
    state = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        state.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        state.update(np.ascontiguousarray(array).tobytes())
    return state.hexdigest()


@lru_cache(maxsize=1)
def _arrays(path: Path) -> "dict[str, np.ndarray[Any, Any]]":
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged zip can raise any exception
        raise ValueError(f"{path} is damaged: {error}; install byrote again") from None
    if content_digest(arrays) != CONTENT:
        raise ValueError(f"{path} is damaged or a different file: install byrote again")
    return arrays


def decode(split: Split) -> Raw:
    """The embedded samples of a split; ids are their positions in the full Fashion-MNIST."""
    arrays = _arrays(FILE)
    images, labels, ids = (arrays[f"{split}_{name}"] for name in ("images", "labels", "ids"))
    return Raw(images[:, None], labels.astype(np.int64), ids.astype(np.int64))


def suffices(split: Split, classes: tuple[int, ...] | None, counts: int | tuple[int, ...] | None) -> bool:
    """Whether the first `counts` samples of these classes (None: all samples) are embedded."""
    if counts is None:
        return False
    chosen = tuple(range(10)) if classes is None else classes
    wanted = (counts,) * len(chosen) if isinstance(counts, int) else counts
    return all(k <= _COUNTS[split][c] for c, k in zip(chosen, wanted, strict=False))


class FashionMNISTSubset(Dataset):
    """The subset of Fashion-MNIST that comes with the package: 10,000 training and 3,600 test images of 1x28x28.

    It contains the first 1,000 training images of each class, the first 1,000 test images of classes 0 and 1, and the
    first 200 test images of each other class. It has its own `kind`, so that a spec means the same samples whether or
    not the full data set is installed.

    Example:
        >>> FashionMNISTSubset().load()
        Images(10000 of 1x28x28, 10 classes)
        >>> FashionMNISTSubset(classes=(0, 1), per_class=(900, 100)).load().labels.bincount()
        tensor([900, 100])
    """

    title: ClassVar[str] = "Fashion-MNIST (embedded subset)"
    count: ClassVar[int | None] = 10
    mean: ClassVar[tuple[float, ...]] = MEAN
    std: ClassVar[tuple[float, ...]] = STD

    def decode(self, split: Split) -> Raw:
        return decode(split)
