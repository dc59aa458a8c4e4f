"""The base of data sets: a frozen description (`Dataset`) that loads `Images`, with true labels and stable ids."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field, field_validator

from byrote import checks
from byrote.component import Component
from byrote.data import prepare
from byrote.data.fetch.sources import Collection

if TYPE_CHECKING:
    import torch

__all__ = ["Dataset", "Images", "Raw", "Split"]

Split = Literal["train", "test"]


class Raw(NamedTuple):
    """A complete decoded split, before samples are chosen."""

    images: "np.ndarray[Any, Any]"  # (n, C, H, W), uint8, or float32 if the source holds floats
    labels: "np.ndarray[Any, Any]"  # (n,) int64
    ids: "np.ndarray[Any, Any]"  # (n,) int64


@dataclass(frozen=True, eq=False)
class Images:
    """Samples with their true labels.

    Args:
        images: float32 (n, C, H, W), finite.
        labels: int64 (n,) within 0 .. num_classes - 1.
        ids: int64 (n,), all different: the position of each sample in the complete original data set, so that a sample
            has the same id in every subset.
        num_classes: the number of classes N; None means the largest label + 1.

    Raises:
        TypeError, ValueError: a wrong type, shape, length or range; NaN; a repeated id.

    Example:
        >>> import torch
        >>> Images(torch.zeros(2, 1, 4, 4), torch.tensor([0, 1]), torch.tensor([5, 9]))
        Images(2 of 1x4x4, 2 classes)
        >>> Images(torch.full((1, 1, 4, 4), torch.nan), torch.tensor([0]), torch.tensor([5]))
        Traceback (most recent call last):
        ValueError: images must be finite, but 16 of 16 values are NaN or infinite
    """

    images: "torch.Tensor"  # (n, C, H, W)
    labels: "torch.Tensor"  # (n,)
    ids: "torch.Tensor"  # (n,)
    num_classes: int | None = None

    def __post_init__(self) -> None:
        import torch

        if self.images.dtype != torch.float32 or self.images.ndim != 4:
            raise TypeError(f"images must be float32 (n, C, H, W), got {self.images.dtype} {tuple(self.images.shape)}")
        for name, column in (("labels", self.labels), ("ids", self.ids)):
            if column.dtype != torch.int64 or column.ndim != 1:
                raise TypeError(f"{name} must be int64 (n,), got {column.dtype} {tuple(column.shape)}")
        checks.same_length(images=self.images, labels=self.labels, ids=self.ids)
        if not len(self.labels):
            raise ValueError("images need at least one sample, got none")
        for some in self.images.split(4096):  # in pieces, because the check takes twice the memory of the images
            checks.finite("images", some)
        if self.num_classes is None:
            object.__setattr__(self, "num_classes", int(self.labels.max()) + 1)
        checks.classes("labels", self.labels, self.num_classes or 0)
        if bool((self.ids.sort().values.diff() == 0).any()):
            raise ValueError("ids must all be different, but some occur twice")

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.shape))
        return f"Images({len(self)} of {shape}, {self.num_classes} classes)"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one sample."""
        _, channels, height, width = self.images.shape
        return channels, height, width


class Dataset(Component, family="data"):
    """Base of the data sets: which classes to load, how many samples of each, and how to scale the pixels.

    Args:
        classes: classes to keep, relabeled 0 .. N-1 in the order given; None keeps all.
        per_class: the number of training samples to take from each class, in the original order: one number for all
            classes, or one number per class (imbalance); None keeps all.
        test_per_class: the same for the test samples.
        preprocessing: "standardized" (x/255, minus the mean and divided by the standard deviation of the full training
            set), "unit" (x/255), "raw" (0..255, as in the released code of Patel & Sastry 2021), or "md" (as in the
            released code of Nguyen et al. 2023: 3x32x32; gray images are enlarged bilinearly, repeated in three
            channels, and scaled with MNIST's mean .1307 and deviation .3081; color images are scaled with CIFAR-10's
            values).
        resolution: side of the square to which the images are averaged down (exact area weights); None keeps their
            size.
    """

    title: ClassVar[str] = ""
    count: ClassVar[int | None] = None  # the number of classes in the complete data set, if known beforehand
    mean: ClassVar[tuple[float, ...]] = ()  # mean and deviation of x/255 over the full training set, for each channel
    std: ClassVar[tuple[float, ...]] = ()

    classes: tuple[int, ...] | None = Field(default=None, min_length=2)
    per_class: int | tuple[int, ...] | None = None
    test_per_class: int | tuple[int, ...] | None = None
    preprocessing: Literal["standardized", "unit", "md", "raw"] = "standardized"
    resolution: int | None = Field(default=None, ge=1)

    @field_validator("classes")
    @classmethod
    def _known_classes(cls, classes: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if classes is None:
            return None
        if len(set(classes)) != len(classes):
            raise ValueError(f"each class can be given only once, got {list(classes)}")
        for c in classes:
            if c < 0 or (cls.count is not None and c >= cls.count):
                known = f"; it has 0..{cls.count - 1}" if cls.count else ""
                raise ValueError(f"{cls.title or cls.__name__} has no class {c}{known}")
        return classes

    @field_validator("per_class", "test_per_class")
    @classmethod
    def _positive_counts(cls, counts: int | tuple[int, ...] | None) -> int | tuple[int, ...] | None:
        if counts is not None and min((counts,) if isinstance(counts, int) else counts or (0,)) < 1:
            raise ValueError(f"every class needs at least 1 sample, got {counts}")
        return counts

    def decode(self, split: Split) -> Raw:
        """The complete split as it is stored; each data set defines this method."""
        raise NotImplementedError

    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and deviation of x/255 for each channel, over the full training set."""
        return self.mean, self.std

    def stamp(self) -> object:
        """The times and sizes of files that can change, because the description alone does not determine their
        content."""
        return None

    def collection(self, split: Split) -> Collection | None:
        """The published files that a split needs; None if it needs only the package or the user's own files."""
        return None

    def available(self) -> bool:
        """Whether both splits can be loaded from this machine without fetching anything."""
        needed = (self.collection("train"), self.collection("test"))
        return all(files is None or files.available() is not None for files in needed)

    @property
    def num_classes(self) -> int:
        """N, the number of classes that are kept."""
        if self.classes is not None:
            return len(self.classes)
        if self.count is not None:
            return self.count
        return 1 + max(int(self.decode(split).labels.max()) for split in ("train", "test"))

    @property
    def label(self) -> str:
        """The readable name."""
        return self.title or self.kind

    def load(self, split: Split = "train", split_seed: int | None = None) -> Images:
        """The chosen samples of a split, in the order of their ids; repeated loads share the same tensors.

        Args:
            split: "train" or "test".
            split_seed: seed for two new splits. The samples of both splits are pooled and drawn again, with as many
                samples per class in each split as before. A sample with id i in the data set's own test split gets the
                id -1 - i, so that no two ids are equal. None keeps the data set's own splits.

        Raises:
            ValueError: an unknown split, a class that is empty or has too few samples, a resolution above the size of
                the images, or damaged content.
            FileNotFoundError: the files are not on this machine and could not be fetched; the message lists what was
                tried.
        """
        checks.one_of("split", split, ("train", "test"))
        if split_seed is not None:
            return _load_again(self, split, self.stamp(), split_seed)
        return _load(self, split, self.stamp())


@lru_cache(maxsize=4)  # cached: both splits of two data sets; the full CIFAR-10 takes .7 GB
def _load(dataset: Dataset, split: Split, stamp: object) -> Images:
    import torch

    raw = dataset.decode(split)
    counts = dataset.per_class if split == "train" else dataset.test_per_class
    classes = tuple(range(dataset.num_classes)) if dataset.classes is None else dataset.classes
    where, labels = prepare.select(raw.labels, classes, counts, f"{dataset.label} ({split})")
    images = prepare.pixels(
        torch.from_numpy(raw.images[where]), dataset.preprocessing, dataset.resolution, *dataset.statistics()
    )
    return Images(images, torch.from_numpy(labels), torch.from_numpy(raw.ids[where]), len(classes))


@lru_cache(maxsize=4)
def _load_again(dataset: Dataset, split: Split, stamp: object, split_seed: int) -> Images:
    """A new split, drawn from the pooled samples of both splits and stratified by class."""
    import torch

    first, second = (_load(dataset, name, stamp) for name in ("train", "test"))
    images, labels = torch.cat([first.images, second.images]), torch.cat([first.labels, second.labels])
    ids = torch.cat([first.ids, -1 - second.ids])
    generator = torch.Generator().manual_seed(split_seed)
    training = torch.zeros(len(labels), dtype=torch.bool)
    for label, count in enumerate(first.labels.bincount(minlength=dataset.num_classes).tolist()):
        places = (labels == label).nonzero()[:, 0]
        training[places[torch.randperm(len(places), generator=generator)[:count]]] = True
    rows = (training if split == "train" else ~training).nonzero()[:, 0]
    rows = rows[ids[rows].argsort(stable=True)]
    return Images(images[rows], labels[rows], ids[rows], first.num_classes)
