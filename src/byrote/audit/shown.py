"""Show samples from the user's files in a form that a person can judge: a picture, table cells, or numbers.

The files are only read, and only for the requested samples. A missing file raises no error.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from byrote import inputs
from byrote.audit.result import Audit
from byrote.checks import require
from byrote.data.formats.images import decode
from byrote.data.formats.layout import channels_first
from byrote.data.formats.tables import open_table

__all__ = ["Fields", "Picture", "Samples"]

Fields = tuple[tuple[str, str], ...]
"""The fields of a sample as (name, text) pairs, in order."""
_SHARP = 64  # largest side, in pixels, of a picture with lossless compression
_NUMBERS = 16  # largest number of values shown for a row
_LIKELIEST = 5  # number of classes whose probabilities are shown


@dataclass(frozen=True)
class Picture:
    """A picture that a browser can show.

    Attributes:
        data: the file.
        kind: "image/png" or "image/jpeg".
        width, height: in pixels.
    """

    data: bytes
    kind: str
    width: int
    height: int


class Samples:
    """The samples of an audit, read from the files that were audited.

    Args:
        audit: an audit that `byrote audit` wrote with the paths of the files; an audit made in Python has only ids.
    """

    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        self._source: Mapping[str, Any] = audit.about.get("source") or {}
        self._kind = str(self._source.get("kind", ""))
        self._array = self._stored_array()
        self.pictured: bool = self._kind == "images" or (self._array is not None and self._array.ndim > 2)

    def _stored_array(self) -> NDArray[Any] | None:
        """The audited array, memory-mapped; None if there was no array, or if the file is missing or has changed."""
        if self._kind not in ("embeddings", "probabilities"):
            return None
        try:
            path = inputs.plain_file(Path(self._source["path"]), "an npy file")
            array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError):
            return None
        return array if len(array) == len(self._audit) else None

    def picture(self, row: int, side: int) -> Picture | None:
        """A picture of a sample; None if it cannot be read.

        Args:
            row: the row of the sample.
            side: the maximum length of the longer side in pixels; a smaller picture keeps its size.
        """
        try:
            if self._kind == "images":
                pixels = decode(Path(self._source["path"]) / str(self._audit.samples["id"][row]), 3)[0]
            elif self._array is not None and self._array.ndim > 2:
                pixels = channels_first(np.asarray(self._array[row : row + 1]), "", "the sample")[0]
            else:
                return None
            return _encoded(pixels, side)
        except (OSError, ValueError):
            return None

    def fields(self, rows: Sequence[int], length: int) -> dict[int, Fields]:
        """The fields of samples by row, without the picture and the given label.

        Args:
            rows: the rows of the samples.
            length: the maximum number of characters of a text.
        """
        cells = self._cells(rows, length)
        return {row: (*cells.get(row, ()), *self._numbers(row)) for row in rows}

    def _cells(self, rows: Sequence[int], length: int) -> dict[int, Fields]:
        """The cells of the audited table or, if an array was audited, of the table with its labels."""
        place = self._source.get("path" if self._kind == "table" else "labels")
        if not rows or place is None or Path(place).suffix.lower() not in (".csv", ".parquet"):
            return {}
        label = self._source.get("label") or "label"
        try:
            with open_table(Path(place)) as table:
                if table.rows != len(self._audit):
                    return {}
                texts = table.texts(rows, length + 1)
        except (OSError, ValueError):
            return {}
        if len(next(iter(texts.values()), {})) == 1:  # a table that has only the labels
            return {}
        return {
            row: tuple((name, _cut(text, length)) for name, text in cells.items() if name != label)
            for row, cells in texts.items()
        }

    def _numbers(self, row: int) -> Fields:
        """The first numbers of a row, or the probabilities of its most likely classes."""
        if self._array is None or self._array.ndim != 2:
            return ()
        values = np.asarray(self._array[row], dtype=np.float64)
        if self._kind == "probabilities":
            best = np.argsort(-values, kind="stable")[:_LIKELIEST].tolist()
            return (("probabilities", ", ".join(f"{self._audit.names[k]} {values[k]:.2g}" for k in best)),)
        more = f", … ({len(values)} numbers)" if len(values) > _NUMBERS else ""
        return (("embedding", ", ".join(f"{value:.3g}" for value in values[:_NUMBERS]) + more),)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}…"


def _encoded(pixels: NDArray[Any], side: int) -> Picture:
    """Encode pixels (C, H, W) of any depth as a picture: as PNG if it is small, otherwise as JPEG."""
    pillow = require("PIL.Image", "images")
    if pixels.shape[0] not in (1, 3):
        raise ValueError(f"pictures have 1 or 3 channels, got {pixels.shape[0]}")
    image = pillow.fromarray(_bytes(pixels).transpose(1, 2, 0).squeeze())
    sharp = max(image.size) <= _SHARP
    image.thumbnail((side, side))
    file = io.BytesIO()
    image.save(file, "PNG" if sharp else "JPEG", **({"optimize": True} if sharp else {"quality": 85}))
    return Picture(file.getvalue(), "image/png" if sharp else "image/jpeg", *image.size)


def _bytes(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Convert pixels to bytes: bytes are kept, numbers in [0, 1] are scaled by 255, others stretched to [0, 255]."""
    if pixels.dtype == np.uint8:
        return pixels
    values = pixels.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        values = (values - low) / (high - low) if high > low else np.zeros_like(values)
    return (values * 255).round().astype(np.uint8)
