"""Read image files with Pillow: inspect them, check their size, then decode them to arrays of the same depth.

Values of 8 bits stay bytes. Values of 16 bits are divided by 65,535, so that white is 1, as for bytes after their
division by 255. Integers and floats of more bits have no standard white and are not scaled. The orientation that a
camera stored (EXIF) is applied.
"""

import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from byrote import checks, inputs
from byrote.data.prepare import area_weights

__all__ = ["SUFFIXES", "Look", "decode", "look", "stack"]

SUFFIXES = frozenset(
    (
        ".png",
        ".apng",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".webp",
        ".pgm",
        ".ppm",
        ".pbm",
        ".pnm",
    )
)
_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM")  # not EPS, for which Pillow runs a program
_PIXELS = 1 << 27

Depth = Literal["8 bits", "16 bits", "numbers"]
Array = np.ndarray[Any, Any]


class Look(NamedTuple):
    """The header of an image file, read before it is decoded."""

    width: int
    height: int
    depth: Depth
    white: int  # the stored value that means white; 1 for plain numbers
    notes: tuple[str, ...]  # one sentence for each thing that is lost in decoding


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The image, opened by Pillow but not decoded; every failure raises an error of one sentence."""
    pillow = checks.require("PIL.Image", "images")
    place = inputs.plain_file(path, "an image")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # no warnings about metadata, or sizes (our limit is lower)
            # an open file, because from a name Pillow maps the file and scrambles a TIFF that is stored sideways
            with place.open("rb") as file, pillow.open(file, formats=_FORMATS) as image:
                yield image
    except Exception as error:  # Pillow raises many types of errors
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        if type(error).__name__ == "UnidentifiedImageError":
            reason = "its format is none of " + ", ".join(_FORMATS)
        raise ValueError(f"{inputs.shown(path)} is not an image that can be read: {reason}") from None


def _seen(image: Any) -> Look:
    width, height = image.size
    if width * height > _PIXELS:
        raise ValueError(f"it has {width:,} x {height:,} pixels, but at most {_PIXELS:,} are supported")
    notes = []
    if getattr(image, "is_animated", False) and image.format != "MPO":  # its second picture is a camera's preview
        notes.append("only the first of several frames is read")
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        return Look(width, height, "numbers", 1, tuple(notes))
    if image.mode == "I" or image.mode.startswith("I;16"):
        bits = image.tag_v2.get(258, (16,))[0] if image.format == "TIFF" else 16
        return Look(width, height, "16 bits", (1 << bits) - 1, tuple(notes))
    if _deep_colors(image):
        notes.append("colors of 16 bits are reduced to 8")
    return Look(width, height, "8 bits", 255, tuple(notes))


def _deep_colors(image: Any) -> bool:
    """Whether the file has more than the eight bits per color that Pillow returns."""
    for tile in image.tile:
        args = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        if any(";16" in arg if isinstance(arg, str) else image.format == "PPM" and arg > 255 for arg in args):
            return True
    return False


def look(path: Path) -> Look:
    """The header of an image file, without decoding the image.

    Raises:
        ValueError: not an image, or an image of more than 134 million pixels.
        ModuleNotFoundError: Pillow is not installed.
    """
    with _opened(path) as image:
        return _seen(image)


def _upright(image: Any) -> Any:
    return checks.require("PIL.ImageOps", "images").exif_transpose(image)


def _eight_bits(image: Any, channels: int) -> tuple[Array, bool]:
    """The image as (H, W, C) bytes, and whether any pixel is transparent."""
    transparent = False
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        transparent = image.getextrema()[3][0] < 255
    if image.mode != "L" or channels == 3:
        image = image.convert("RGB")
    pixels = np.asarray(image if channels == 3 else image.convert("L"))
    return pixels.reshape(*pixels.shape[:2], channels), transparent


def decode(path: Path, channels: int) -> tuple[Array, Look]:
    """One image as (C, H, W), upright, and its header.

    Args:
        channels: 1 (gray: .299 R + .587 G + .114 B) or 3 (gray is repeated).

    Returns:
        uint8 for 8 bits, else float32: the fraction of white for 16 bits, the stored numbers for more bits.

    Raises:
        ValueError: not an image, damaged, truncated, too large, or in an unsupported color space.
    """
    with _opened(path) as image:
        seen = _seen(image)
        image.load()
        unsigned = image.mode == "I" and image.format == "TIFF" and image.tag_v2.get(339, (1,))[0] == 1
        if unsigned and image.getextrema()[0] < 0:  # Pillow reads these as negative
            raise ValueError("it contains integers of 2**31 or more")
        upright = _upright(image)
        if seen.depth == "8 bits":
            pixels, transparent = _eight_bits(upright, channels)
            if transparent:
                seen = seen._replace(notes=(*seen.notes, "transparency is left out"))
            return np.ascontiguousarray(pixels.transpose(2, 0, 1)), seen
        gray = np.asarray(upright).astype(np.float32) / np.float32(seen.white)
        return np.repeat(gray[None], channels, axis=0), seen


def _resized(image: Array, side: int, path: Path) -> Array:
    """The image averaged down to (C, side, side) with exact area weights; bytes are rounded."""
    if image.shape[1:] == (side, side):
        return image
    try:
        rows, columns = (area_weights(size, side) for size in image.shape[1:])
    except ValueError as error:
        raise ValueError(f"{inputs.shown(path)}: {error}") from None
    averaged: Array = rows @ image.astype(np.float64) @ columns.T
    return averaged.round().astype(np.uint8) if image.dtype == np.uint8 else averaged.astype(np.float32)


def _one_depth(paths: list[Path], looks: list[Look]) -> bool:
    """Whether all images have 8 bits; a mixture of fractions of white and plain numbers is refused."""
    numbers = [path for path, seen in zip(paths, looks, strict=True) if seen.depth == "numbers"]
    if numbers and len(numbers) < len(looks):
        other = next(path for path, seen in zip(paths, looks, strict=True) if seen.depth != "numbers")
        raise ValueError(
            f"expected images of one kind, but {inputs.shown(numbers[0])} contains plain numbers (32 bits) and "
            f"{inputs.shown(other)} fractions of white ({looks[paths.index(other)].depth}); save all of them in one "
            "of these ways"
        )
    return all(seen.depth == "8 bits" for seen in looks)


def stack(paths: list[Path], channels: int, resolution: int | None, white: float = 1.0) -> tuple[Array, list[str]]:
    """The images as one array (n, C, H, W), and one sentence for each thing that is lost in decoding.

    Args:
        channels: 1 or 3.
        resolution: the side to which they are averaged down; None requires images of the same size.
        white: the value that white gets if not all images have 8 bits.

    Raises:
        ValueError: see `decode`; images of several sizes without a resolution; images that do not fit in memory.

    Returns:
        uint8 if all images have 8 bits, else float32.
    """
    looks = [look(path) for path in paths]
    small = _one_depth(paths, looks)
    numbers = looks[0].depth == "numbers"
    pixels = max(resolution**2 if resolution else seen.width * seen.height for seen in looks)
    largest = max(seen.width * seen.height for seen in looks)
    inputs.fits(
        len(paths) * channels * pixels * (6 if small else 12) + channels * largest * (16 if resolution else 4),
        f"{len(paths)} images of {pixels:,} pixels",
    )
    images: Array | None = None
    notes: Counter[str] = Counter()
    for place, path in enumerate(paths):
        image, seen = decode(path, channels)
        if image.dtype == np.uint8 and not small:
            image = image.astype(np.float32) / 255
        image = image if resolution is None else _resized(image, resolution, path)
        if images is None:
            images = np.empty((len(paths), *image.shape), np.uint8 if small else np.float32)
        if image.shape != images.shape[1:]:
            first, other = (f"{w}x{h}" for _, h, w in (images.shape[1:], image.shape))
            raise ValueError(
                f"expected images of the same size, but {inputs.shown(paths[0])} has {first} and {inputs.shown(path)} "
                f"{other} (width x height): set a resolution"
            )
        images[place] = image if small or numbers else image * np.float32(white)
        notes.update(seen.notes)
    if images is None:
        raise ValueError("expected at least one image, got none")
    return images, [f"{what} ({count} of {len(paths)} images)" for what, count in notes.items()]
