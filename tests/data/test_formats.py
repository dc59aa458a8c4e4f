"""Each file format: bytes written by hand are read correctly; truncated, changed and hostile files are refused."""

import io
import os
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from byrote import data
from byrote.data import mnist
from byrote.data.fetch.sources import Collection
from byrote.data.formats import idx, png
from byrote.data.formats.pickles import load_arrays
from byrote.data.formats.png import read_png

from .conftest import put, to_idx

UINT8 = arrays.arrays(np.uint8, arrays.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5))

# ------------------------------------------------------------------------------------------------- idx


@given(UINT8)
def test_idx_round_trip(array: np.ndarray) -> None:
    assert np.array_equal(idx.read_idx(to_idx(array)), array)


@given(UINT8.filter(lambda a: a.size > 0), st.data())
def test_idx_of_another_length_is_refused(array: np.ndarray, draw: st.DataObject) -> None:
    content = to_idx(array)
    cut = draw.draw(st.integers(0, len(content) - 1))
    for wrong in (content[:cut], content + b"\0"):
        with pytest.raises(ValueError, match=r"expected an idx file|expected .* bytes for an idx file"):
            idx.read_idx(wrong)
    with pytest.raises(ValueError, match="expected an idx file of unsigned bytes"):
        idx.read_idx(b"\0\0\x0d" + content[3:])


def test_idx_header_that_announces_too_much() -> None:
    with pytest.raises(
        ValueError, match=r"expected 79228162458924105385300197391 bytes for an idx file of shape .*, got 116"
    ):
        idx.read_idx(b"\0\0\x08\x03" + b"\xff" * 12 + b"\0" * 100)


def test_gzip_is_bounded_and_checked(tmp_path: Path) -> None:
    packed = put(tmp_path, {"a": b"0" * 100_000}, packed=True) / "a.gz"
    content = packed.read_bytes()
    assert len(content) < 1000
    assert idx.unpacked(content) == b"0" * 100_000
    assert idx.unpacked(content, 100_000) == b"0" * 100_000
    with pytest.raises(ValueError, match="more than the 99999 bytes"):
        idx.unpacked(content, 99_999)
    with pytest.raises(ValueError, match="truncated"):
        idx.unpacked(content[:-3])
    with pytest.raises(ValueError, match="damaged"):
        idx.unpacked(content[:-6] + b"\0" * 6)
    assert idx.unpacked(b"plain") == b"plain"


def test_mnist_decodes_by_hand(tiny_mnist: Collection, tiny_idx: dict[str, bytes]) -> None:
    put(tiny_mnist.cache, tiny_idx)
    for split, prefix, n in (("train", "train", 30), ("test", "t10k", 20)):
        loaded = data.MNIST(preprocessing="raw").load(split)  # type: ignore[arg-type]
        assert loaded.shape == (1, 5, 4)
        assert loaded.ids.tolist() == list(range(n))
        pixels = tiny_idx[f"{prefix}-images-idx3-ubyte"][16:]
        labels = tiny_idx[f"{prefix}-labels-idx1-ubyte"][8:]
        assert loaded.labels.tolist() == list(labels)
        assert loaded.images.flatten().tolist() == list(pixels)


def test_published_files_are_bounded_and_plain(
    tmp_path: Path, tiny_mnist: Collection, tiny_idx: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A huge file, or a pipe, that has the name of a published file is refused."""
    put(tmp_path, tiny_idx)
    part = tmp_path / "train-images-idx3-ubyte"
    monkeypatch.setenv("BYROTE_DATA", str(tmp_path))
    assert len(data.MNIST(classes=(0, 1)).decode("train").labels) == 30
    with part.open("wb") as file:
        file.truncate(1 << 40)  # a sparse file takes no space on the disk
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte of at most 256\.0 MiB, but .* 1\.0 TiB"):
        data.MNIST().decode("train")
    part.unlink()
    os.mkfifo(part)
    with pytest.raises(FileNotFoundError, match="has no train-images-idx3-ubyte"):
        data.MNIST().decode("train")


def test_idx_files_that_do_not_belong_together(tiny_idx: dict[str, bytes]) -> None:
    mixed = tiny_idx | {"train-labels-idx1-ubyte": tiny_idx["t10k-labels-idx1-ubyte"]}
    with pytest.raises(ValueError, match="and n labels, got"):
        mnist.decode_split(mixed, "train")


# ------------------------------------------------------------------------------------------------- PNG


def write_png(pixels: np.ndarray, filters: list[int], color: int, parts: int = 1) -> bytes:
    """Write a PNG byte by byte, as the standard defines it, with the given filter for each row."""
    height, width, channels = pixels.shape
    lines = bytearray()
    for y in range(height):
        lines.append(filters[y % len(filters)])
        for x in range(width):
            for c in range(channels):
                a = int(pixels[y, x - 1, c]) if x else 0
                b = int(pixels[y - 1, x, c]) if y else 0
                d = int(pixels[y - 1, x - 1, c]) if x and y else 0
                p = a + b - d
                nearest = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - d), 2, d))[2]
                guess = (0, a, b, (a + b) // 2, nearest)[filters[y % len(filters)]]
                lines.append((int(pixels[y, x, c]) - guess) % 256)
    packed = zlib.compress(bytes(lines))
    step = -(-len(packed) // parts)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0))]
    chunks += [(b"IDAT", packed[i : i + step]) for i in range(0, len(packed), step)]
    chunks += [(b"IEND", b"")]
    return wrap(chunks)


def wrap(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """Make a PNG file from these chunks."""
    body = b"".join(struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


@given(
    st.sampled_from([1, 3]).flatmap(
        lambda c: arrays.arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(c)))
    ),
    st.lists(st.integers(0, 4), min_size=1, max_size=5),
    st.integers(1, 3),
)
def test_png_round_trip(pixels: np.ndarray, filters: list[int], parts: int) -> None:
    content = write_png(pixels, filters, {1: 0, 3: 2}[pixels.shape[2]], parts)
    assert np.array_equal(read_png(content), pixels)
    with pytest.MonkeyPatch.context() as without:
        without.setattr(png, "_by_pillow", lambda *_: None)
        assert np.array_equal(read_png(content), pixels)


def test_paeth_prefers_the_pixel_above_to_the_corner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png, "_by_pillow", lambda *_: None)
    pixels = np.array([[10, 8], [11, 50]], np.uint8)[:, :, None]  # estimate 9: above and corner are equally near
    content = write_png(pixels, [4], 0)
    assert np.array_equal(read_png(content), pixels)


def test_png_against_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png, "_by_pillow", lambda *_: None)
    pillow = pytest.importorskip("PIL.Image")
    x, y = np.meshgrid(np.arange(60), np.arange(40))
    pixels = np.stack([x * 4, y * 6, (x * y) % 256], axis=-1).astype(np.uint8)
    stream = io.BytesIO()
    pillow.fromarray(pixels).save(stream, "PNG")
    assert np.array_equal(read_png(stream.getvalue()), pixels)


@pytest.mark.parametrize("pillow", [True, False])
def test_a_bad_png_gives_one_sentence(monkeypatch: pytest.MonkeyPatch, pillow: bool) -> None:
    if pillow:
        pytest.importorskip("PIL")
    else:
        monkeypatch.setattr(png, "_by_pillow", lambda *_: None)
    good = write_png(np.arange(48, dtype=np.uint8).reshape(4, 4, 3), [1], 2)
    for wrong in (b"", b"GIF89a", good[:-20], good[:8], good[:30] + b"\xff" + good[31:]):
        with pytest.raises(ValueError, match="PNG"):
            read_png(wrong)
    with pytest.raises(ValueError, match="8-bit gray or RGB"):
        read_png(write_png(np.zeros((2, 2, 1), np.uint8), [0], 3))
    small, large = (struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0) for side in (1, 60_000))
    other_filter = wrap([(b"IHDR", small), (b"IDAT", zlib.compress(b"\x07\0")), (b"IEND", b"")])
    with pytest.raises(ValueError, match="damaged" if pillow else "filter 7"):
        read_png(other_filter)
    too_few = wrap([(b"IHDR", small), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")])
    with pytest.raises(ValueError, match="its number of pixels differs from its header"):
        read_png(too_few)
    bomb = wrap([(b"IHDR", large), (b"IDAT", b""), (b"IEND", b"")])
    with pytest.raises(ValueError, match="at most"):
        read_png(bomb)
    with pytest.raises(ValueError, match="no header or no pixels"):
        read_png(wrap([(b"IHDR", small), (b"IEND", b"")]))


# --------------------------------------------------------------------------------------------- pickles


@given(
    arrays.arrays(st.sampled_from(["u1", "<i8", ">i4", "<f4", "f8", "?"]), arrays.array_shapes(max_dims=3, max_side=4)),
    st.integers(0, 3),
    st.booleans(),
)
def test_pickled_arrays_round_trip(array: np.ndarray, protocol: int, fortran: bool) -> None:
    stored = np.asfortranarray(array) if fortran else array
    content = pickle.dumps({"a": stored, b"b": [1, 2], "text": ["x"]}, protocol=protocol)
    read = load_arrays(io.BytesIO(content))
    assert set(read) == {"a", "b"}
    assert np.array_equal(read["a"], array, equal_nan=array.dtype.kind == "f")
    assert isinstance(read["a"], np.ndarray)
    assert read["a"].dtype == array.dtype
    assert read["b"] == [1, 2]


class Evil:
    def __init__(self, *call: object) -> None:
        self.call = call

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call[0], tuple(self.call[1:])


@pytest.mark.parametrize(
    "value",
    [
        Evil(os.system, "touch {marker}"),
        Evil(eval, "open('{marker}', 'w')"),
        Evil(getattr, 1, "real"),
        Evil(np.array, [1]),
        Evil(np.ndarray, (1 << 40,)),
        np.array([{"a": 1}], dtype=object),
        np.array(["a"], dtype="U1"),
        np.zeros(2, dtype=[("a", "u1")]),
        np.float64(1.0),
    ],
    ids=["system", "eval", "getattr", "array", "huge", "object", "text", "record", "scalar"],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_that_asks_for_more_is_not_run(tmp_path: Path, value: object, protocol: int) -> None:
    marker = tmp_path / "ran"
    if isinstance(value, Evil):
        value = Evil(*(part.format(marker=marker) if isinstance(part, str) else part for part in value.call))
    content = pickle.dumps({"a": value}, protocol=protocol)
    if isinstance(value, Evil) and value.call[0] is np.ndarray:
        assert load_arrays(io.BytesIO(content)) == {}  # the array becomes an empty placeholder, which is left out
    else:
        with pytest.raises(ValueError, match="the pickle is refused"):
            load_arrays(io.BytesIO(content))
    assert not marker.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04.",
        b"cos\nsystem\n(S'true'\ntR.",
        b"c__builtin__\nexec\n(S'1'\ntR.",
        b"Pexternal\n.",
        pickle.dumps([1, 2]),
        pickle.dumps({"a": np.arange(5)}, protocol=2)[:-20],
    ],
)
def test_broken_pickles_give_one_sentence(content: bytes) -> None:
    with pytest.raises(ValueError, match="the pickle is refused"):
        load_arrays(io.BytesIO(content))


def test_an_array_with_too_few_bytes() -> None:
    content = pickle.dumps({"a": np.zeros(40, np.uint8)}, protocol=3)
    assert content.count(b"K(\x85") == 1
    with pytest.raises(ValueError, match="cannot reshape"):
        load_arrays(io.BytesIO(content.replace(b"K(\x85", b"K)\x85")))


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02r\xff\xff\xff\x7f.",  # an entry at index 2,147,483,647 of the pickle memo, which would take 34 GB
        b"\x80\x02}r\x00\x00\x00\x10.",
        b"p4000000000\n.",
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f}.",  # a frame of 9 exabytes
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",  # bytes of 9 exabytes
        b"\x80\x04\x96\xff\xff\xff\xff\x00\x00\x00\x00.",  # a bytearray of 4 GB
    ],
)
def test_a_pickle_that_asks_for_memory_gets_none(content: bytes) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="the pickle is refused"):
        load_arrays(io.BytesIO(content))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB
