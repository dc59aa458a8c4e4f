"""Make the Fashion-MNIST subset that ships inside the package, from the four idx files.

    python scripts/make_subset.py FOLDER [OUT]

FOLDER contains the four files, compressed with gzip or not. The subset consists of the first 1,000 training images of
each class, the first 1,000 test images of classes 0 and 1, and the first 200 test images of the other classes, each
with its index in the full set. The file is the same on every machine with the same zlib. This script prints the SHA-256
of the content, which `byrote.data.bundled` checks.
"""

import argparse
from pathlib import Path

import numpy as np

from byrote.data import bundled, mnist
from byrote.files import atomic

TRAIN, TEST = (1000,) * 10, (1000, 1000, *(200,) * 8)


def subset(folder: Path) -> dict[str, np.ndarray]:
    """The arrays of the subset: images (n, 28, 28) uint8, labels uint8 and ids int32 of both splits."""
    files = mnist.FASHION_MNIST.read(folder)
    arrays: dict[str, np.ndarray] = {}
    for split, counts in (("train", TRAIN), ("test", TEST)):
        raw = mnist.decode_split(files, split)
        places = np.sort(np.concatenate([np.flatnonzero(raw.labels == c)[:k] for c, k in enumerate(counts)]))
        arrays[f"{split}_images"] = raw.images[places, 0]
        arrays[f"{split}_labels"] = raw.labels[places].astype(np.uint8)
        arrays[f"{split}_ids"] = raw.ids[places].astype(np.int32)
    return arrays


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path, nargs="?", default=bundled.FILE)
    options = parser.parse_args()
    arrays = subset(options.folder)
    with atomic(options.out) as temporary:
        np.savez_compressed(temporary, **arrays)
    print(f"{options.out}: {options.out.stat().st_size} bytes, content {bundled.content_digest(arrays)}")


if __name__ == "__main__":
    main()
