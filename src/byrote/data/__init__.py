"""Data sets: images with true labels and stable sample ids. See docs/data.md."""

from byrote.component import discover
from byrote.data.arrays import Arrays
from byrote.data.base import Dataset, Images
from byrote.data.bundled import FashionMNISTSubset
from byrote.data.cifar import CIFAR10, HUMAN, human_labels, recorded_file
from byrote.data.fetch.catalogue import COLLECTIONS, get
from byrote.data.image_folder import ImageFolder
from byrote.data.mnist import MNIST, FashionMNIST
from byrote.data.svhn import SVHN
from byrote.data.table import Table
from byrote.files import DataUnavailableError

__all__ = [
    "CIFAR10",
    "COLLECTIONS",
    "HUMAN",
    "MNIST",
    "SVHN",
    "Arrays",
    "DataUnavailableError",
    "Dataset",
    "FashionMNIST",
    "FashionMNISTSubset",
    "ImageFolder",
    "Images",
    "Table",
    "get",
    "human_labels",
    "recorded_file",
]

discover(__name__)
