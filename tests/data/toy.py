"""A data set that is generated in memory: 400 + 100 images of 3x6x6 in 10 classes."""

from typing import ClassVar

import numpy as np

from byrote.data.base import Dataset, Raw, Split


class Toy(Dataset):
    """Labels cycle through ten classes; one class may be left out."""

    title: ClassVar[str] = "Toy"
    count: ClassVar[int | None] = 10
    mean: ClassVar[tuple[float, ...]] = (0.5, 0.4, 0.3)
    std: ClassVar[tuple[float, ...]] = (0.1, 0.2, 0.3)

    missing: int | None = None

    def decode(self, split: Split) -> Raw:
        n = 400 if split == "train" else 100
        images = np.random.default_rng(n).integers(0, 256, (n, 3, 6, 6), dtype=np.uint8)
        labels = np.arange(n, dtype=np.int64) * 3 % 10
        keep = np.flatnonzero(labels != self.missing) if self.missing is not None else np.arange(n)
        return Raw(images[keep], labels[keep], keep)
