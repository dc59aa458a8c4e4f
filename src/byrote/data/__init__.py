"""Data sets: images with true labels and stable sample ids. See docs/data.md."""

from byrote.data.base import Dataset, Images
from byrote.data.bundled import FashionMNISTSubset
from byrote.data.idx import MNIST, FashionMNIST
from byrote.data.sources import DataUnavailableError

__all__ = ["MNIST", "DataUnavailableError", "Dataset", "FashionMNIST", "FashionMNISTSubset", "Images"]
