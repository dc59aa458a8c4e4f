"""Image files of any depth, mode and format give the values computed by hand, or an error of one sentence."""

import logging
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from byrote import data, inputs
from byrote.data.formats import images

pillow = pytest.importorskip("PIL.Image")

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (6, 5), dtype=np.uint8)
RGB = RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (6, 5), dtype=np.uint16)


def png16(pixels: np.ndarray) -> bytes:
    """Write a 16-bit PNG as the standard defines it: gray (H, W) or RGB (H, W, 3)."""
    height, width = pixels.shape[:2]
    color = 0 if pixels.ndim == 2 else 2
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, color, 0, 0, 0)), (b"IDAT", zlib.compress(lines))]
    body = b"".join(
        struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in [*chunks, (b"IEND", b"")]
    )
    return b"\x89PNG\r\n\x1a\n" + body


def pgm(pixels: np.ndarray, white: int) -> bytes:
    kind = "P5" if pixels.ndim == 2 else "P6"
    return (
        f"{kind}\n{pixels.shape[1]} {pixels.shape[0]}\n{white}\n".encode()
        + pixels.astype(">u2" if white > 255 else "u1").tobytes()
    )


def tiff32(pixels: np.ndarray) -> bytes:
    """Write a TIFF of unsigned 32-bit numbers as the standard defines it."""
    height, width = pixels.shape
    tags = {256: width, 257: height, 258: 32, 259: 1, 262: 1, 273: 134, 277: 1, 278: height, 279: pixels.nbytes, 339: 1}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + b"\0" * 4 + pixels.tobytes()


def saved(folder: Path, name: str, content: Any, **how: Any) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        (pillow.fromarray(content) if isinstance(content, np.ndarray) else content).save(path, **how)
    return path


def read(path: Path, channels: int = 1) -> np.ndarray:
    return images.decode(path, channels)[0]


# ------------------------------------------------------------------------------------------------- depth


def test_sixteen_bits_become_parts_of_white(tmp_path: Path) -> None:
    expected = (DEEP / 65535).astype(np.float32)
    for name, content in (
        ("a.png", png16(DEEP)),
        ("a.tif", DEEP),
        ("b.tif", DEEP.astype(">u2")),
        ("a.pgm", pgm(DEEP, 65535)),
    ):
        for channels in (1, 3):
            image = read(saved(tmp_path, name, content), channels)
            assert image.dtype == np.float32
            np.testing.assert_allclose(image, np.repeat(expected[None], channels, axis=0), atol=1e-6)


@pytest.mark.parametrize("white", [1, 15, 255, 256, 1023, 4095, 65535])
def test_gray_maps_of_any_white(tmp_path: Path, white: int) -> None:
    pixels = (np.arange(30) * 7919 % (white + 1)).reshape(6, 5)
    image = read(saved(tmp_path, "a.pgm", pgm(pixels, white)))
    unit = image[0] / 255 if white <= 255 else image[0]
    np.testing.assert_allclose(unit, pixels / white, atol=0.5 / min(max(white, 255), 65535) + 1e-6)


def test_numbers_without_a_white_stay_as_they_are(tmp_path: Path) -> None:
    for pixels in (
        RNG.normal(0, 1000, (6, 5)).astype(np.float32),
        RNG.integers(-(2**20), 2**20, (6, 5)).astype(np.int32),
    ):
        assert np.array_equal(read(saved(tmp_path, "a.tif", pixels))[0], pixels)
    large = np.full((2, 2), 2**31 + 5, np.uint32)
    with pytest.raises(ValueError, match=r"integers of 2\*\*31 or more"):
        read(saved(tmp_path, "b.tif", tiff32(large)))
    assert np.array_equal(read(saved(tmp_path, "b.tif", tiff32(large - 6)))[0], np.full((2, 2), 2.0**31))


def test_deep_images_in_a_folder_are_not_constant(tmp_path: Path) -> None:
    for i in range(10):
        saved(tmp_path, f"{'ab'[i % 2]}/{i}.png", png16(np.roll(DEEP, i)))
    for preprocessing, white in (("unit", 1), ("raw", 255)):
        own = data.ImageFolder(path=str(tmp_path), channels=1, preprocessing=preprocessing)
        np.testing.assert_allclose(own.load().images[1, 0], np.roll(DEEP, 2) / 65535 * white, rtol=1e-5, atol=1e-6)
    assert abs(float(data.ImageFolder(path=str(tmp_path)).load().images.std()) - 1) < 0.1


def test_eight_and_sixteen_bits_share_one_white_and_numbers_have_none(tmp_path: Path) -> None:
    for i in range(5):
        saved(tmp_path, f"a/{i}.png", GRAY)
        saved(tmp_path, f"b/{i}.png", png16(GRAY.astype(np.uint16) * 257))
    images = data.ImageFolder(path=str(tmp_path), channels=1, preprocessing="unit").load().images
    assert float((images - images[0]).abs().max()) < 1e-6
    saved(tmp_path, "b/5.tif", GRAY.astype(np.float32))
    with pytest.raises(
        ValueError, match=r"5\.tif contains plain numbers \(32 bits\) and .*a/0\.png fractions of white \(8 bits\)"
    ):
        data.ImageFolder(path=str(tmp_path)).load()


# ------------------------------------------------------------------------------------------------- modes


def gray_of(rgb: np.ndarray) -> np.ndarray:
    """Return the gray value (luma) that the documentation gives for a color."""
    return rgb.astype(float) @ np.array([0.299, 0.587, 0.114])


def test_modes_of_eight_bits(tmp_path: Path) -> None:
    opaque = np.dstack([RGB, np.full((6, 5), 255, np.uint8)])
    palette = pillow.fromarray(RGB).quantize(30)
    exact = np.asarray(palette.convert("RGB"))
    for name, content, expected in (
        ("rgb.png", RGB, RGB),
        ("rgba.png", opaque, RGB),
        ("palette.png", palette, exact),
        ("palette.gif", palette, exact),
        ("rgb.bmp", RGB, RGB),
        ("rgb.ppm", RGB, RGB),
        ("rgb.tif", RGB, RGB),
        ("rgb.webp", pillow.fromarray(RGB), RGB),
    ):
        path = saved(tmp_path, name, content, **({"lossless": True} if name.endswith("webp") else {}))
        assert np.array_equal(read(path, 3), expected.transpose(2, 0, 1)), name
        assert np.abs(read(path, 1)[0] - gray_of(expected)).max() <= 1, name
    for mode, pixels in (("1", (GRAY > 99) * np.uint8(255)), ("L", GRAY), ("LA", GRAY)):
        converted = pillow.fromarray(pixels).convert(mode)
        for channels in (1, 3):
            image = read(saved(tmp_path, "gray.png", converted), channels)
            assert np.array_equal(image, np.repeat(pixels[None], channels, axis=0)), mode
    ink = pillow.merge("CMYK", [pillow.fromarray(GRAY)] * 4)
    image = read(saved(tmp_path, "ink.tif", ink), 3)
    assert np.abs(image[0] - (255 - GRAY.astype(float)) ** 2 / 255).max() <= 2


def test_what_decoding_leaves_out_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clear = np.dstack([RGB, GRAY])
    for i in range(6):
        saved(tmp_path, f"a/{i}.png", clear if i < 2 else RGB)
        frames = [pillow.fromarray(np.roll(RGB, k)) for k in range(3)]
        saved(tmp_path, f"b/{i}.png", frames[0], **({"save_all": True, "append_images": frames[1:]} if i < 3 else {}))
    saved(tmp_path, "a/7.png", png16(RGB.astype(np.uint16) * 257))
    saved(tmp_path, "b/7.ppm", pgm(RGB.astype(np.uint16) * 257, 65535))
    own = data.ImageFolder(path=str(tmp_path), preprocessing="raw")
    with caplog.at_level(logging.WARNING, "byrote"):
        loaded = own.load()
    expected = RGB.transpose(2, 0, 1)
    assert all(np.array_equal(one, expected) for one in loaded.images.numpy())
    assert own.notes() == tuple(caplog.messages)
    assert sorted(note.split(": ")[1] for note in own.notes()) == [
        "colors of 16 bits are reduced to 8 (2 of 14 images)",
        "only the first of several frames is read (3 of 14 images)",
        "transparency is left out (2 of 14 images)",
    ]


@pytest.mark.parametrize("suffix", ["gif", "tif", "webp", "png"])
def test_the_first_frame(tmp_path: Path, suffix: str) -> None:
    frames = [pillow.fromarray(np.full((4, 4, 3), 60 * k, np.uint8)) for k in range(3)]
    how = {"lossless": True} if suffix == "webp" else {}
    path = saved(tmp_path, f"a.{suffix}", frames[0], save_all=True, append_images=frames[1:], **how)
    pixels, seen = images.decode(path, 3)
    assert pixels.max() == 0
    assert seen.notes == ("only the first of several frames is read",)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "tiff", "webp"])
def test_the_orientation_of_a_camera_is_applied(tmp_path: Path, suffix: str, orientation: int) -> None:
    """In the EXIF standard, orientation k states which edges of the picture the first row and column are."""
    stored = np.kron(np.array([[0, 80, 160], [240, 40, 120]], np.uint8), np.ones((8, 8), np.uint8))
    upright = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.T,
        6: stored[::-1].T,
        7: stored[::-1, ::-1].T,
        8: stored[:, ::-1].T,
    }[orientation]
    exif = pillow.Exif()
    exif[0x0112] = orientation
    how = {
        "jpg": {"quality": 100, "subsampling": 0},
        "webp": {"lossless": True},
        "tiff": {"compression": "tiff_lzw"},
    }.get(suffix, {})
    path = saved(
        tmp_path, f"a.{suffix}", pillow.fromarray(stored).convert("RGB" if suffix == "webp" else "L"), exif=exif, **how
    )
    image = read(path)[0].astype(int)
    assert image.shape == upright.shape
    assert np.abs(image - upright).max() <= 3


def test_an_upright_folder_of_stored_sideways_images(tmp_path: Path) -> None:
    exif = pillow.Exif()
    exif[0x0112] = 6
    for i in range(5):
        saved(tmp_path, f"a/{i}.png", RGB)
        saved(tmp_path, f"b/{i}.png", np.ascontiguousarray(np.rot90(RGB)), exif=exif)
    images = data.ImageFolder(path=str(tmp_path), preprocessing="raw").load().images
    assert float((images - images[0]).abs().max()) == 0


# ------------------------------------------------------------------------------------ damaged and hostile


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "gif", "tif", "webp", "pgm"])
def test_a_truncated_image_is_refused_wherever_it_is_cut(tmp_path: Path, suffix: str) -> None:
    noise = RNG.integers(0, 256, (40, 40), dtype=np.uint8)
    content = saved(tmp_path, f"a.{suffix}", pillow.fromarray(noise)).read_bytes()
    for cut in (0, 1, 10, len(content) // 4, len(content) // 2, len(content) - 200):
        path = saved(tmp_path, f"b.{suffix}", content[:cut])
        with pytest.raises(ValueError, match=rf"b\.{suffix} is not an image that can be read") as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_a_damaged_png_is_refused(tmp_path: Path) -> None:
    content = bytearray(saved(tmp_path, "a.png", RNG.integers(0, 256, (40, 40), dtype=np.uint8)).read_bytes())
    content[len(content) // 2] ^= 1
    with pytest.raises(ValueError, match="not an image that can be read"):
        read(saved(tmp_path, "b.png", bytes(content)))


@pytest.mark.parametrize(
    "content", [b"<html>", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"%PDF-1.4\n", b"\x93NUMPY"]
)
def test_other_files_under_the_name_of_an_image(tmp_path: Path, content: bytes) -> None:
    """A PostScript file is a program that Pillow would execute."""
    with pytest.raises(ValueError, match="is not an image that can be read: its format is none of PNG, JPEG"):
        read(saved(tmp_path, "a.png", content))


def header_only(width: int, height: int) -> bytes:
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0" * 99))]
    body = b"".join(struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def test_headers_that_announce_more_than_memory_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for side in (12_000, 60_000, 2**31 - 1):
        with pytest.raises(ValueError, match=r"not an image that can be read: (it has [\d,]+ x|Image size)"):
            read(saved(tmp_path, "a.png", header_only(side, side)))
    monkeypatch.setattr(inputs, "available_memory", lambda: 1 << 30)
    decoded: list[Path] = []
    monkeypatch.setattr(images, "decode", lambda path, _: decoded.append(path))
    for i in range(10):
        saved(tmp_path, f"f/{'ab'[i % 2]}/{i}.png", header_only(4000, 4000))
    with pytest.raises(ValueError, match=r"10 images of 16,000,000 pixels would take 2\.9 GiB of memory, but only"):
        data.ImageFolder(path=str(tmp_path / "f")).load()
    assert decoded == []


def test_a_resolution_above_an_image_names_it(tmp_path: Path) -> None:
    for i in range(4):
        saved(tmp_path, f"{'ab'[i % 2]}/{i}.png", np.zeros((8 + i, 9, 3), np.uint8))
    with pytest.raises(ValueError, match=r"a/0\.png: the resolution must be at most .* 8 pixels, got 9"):
        data.ImageFolder(path=str(tmp_path), resolution=9).load()


def test_averaging_keeps_the_mean_in_every_depth(tmp_path: Path) -> None:
    for name, pixels in (("a.png", GRAY), ("a.tif", GRAY.astype(np.float32)), ("b.png", png16(DEEP))):
        path = saved(tmp_path, name, pixels)
        full = read(path).astype(float)
        small, _ = images.stack([path], 1, 3)
        rows = full[0].reshape(3, 2, 5).mean(axis=1)  # reduce 6 rows to 3
        # reduce 5 columns to 3 by cutting each into 3 parts
        fine = np.repeat(rows, 3, axis=1).reshape(3, 3, 5).mean(axis=2)
        assert small.dtype == (np.uint8 if name == "a.png" else np.float32)
        np.testing.assert_allclose(small[0, 0], fine, atol=0.51 if name == "a.png" else 1e-3)


def test_a_named_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"expected an image, but .* is a named pipe"):
        read(tmp_path / "a.png")
