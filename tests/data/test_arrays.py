"""Arrays: image layouts, pairs of npy files, and headers that announce more data than their file contains."""

import io
import logging
import os
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from byrote import data, files, inputs

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (20, 6, 6), dtype=np.uint8)
LABELS = np.arange(20) % 2


def npz(folder: Path, **arrays: Any) -> data.Arrays:
    np.savez(folder / "a.npz", **arrays)
    return data.Arrays(path=str(folder / "a.npz"), preprocessing="raw")


# -------------------------------------------------------------------------------------------------- layout


@pytest.mark.parametrize(
    ("shape", "layout", "expected"),
    [
        ((28, 28, 1), "nhwc", (1, 28, 28)),
        ((32, 32, 4), "nhwc", (4, 32, 32)),  # RGBA, which an earlier version read as 32 channels
        ((4, 32, 32), "nchw", (4, 32, 32)),
        ((64, 48, 3), "nhwc", (3, 64, 48)),
        ((2, 64, 48), "nchw", (2, 64, 48)),
        ((13, 64, 64), "nchw", (13, 64, 64)),  # as many channels as a satellite image
        ((64, 64, 13), "nhwc", (13, 64, 64)),
        ((3, 4, 4), "nchw", (3, 4, 4)),
        ((4, 4, 3), "nhwc", (3, 4, 4)),
        ((1, 1, 1), "nchw", (1, 1, 1)),
    ],
)
def test_a_layout_that_is_certain(
    tmp_path: Path, shape: tuple[int, ...], layout: str, expected: tuple[int, ...]
) -> None:
    images = RNG.integers(0, 256, (20, *shape), dtype=np.uint8)
    own = npz(tmp_path, images=images, labels=LABELS)
    plain = images if layout == "nchw" else images.transpose(0, 3, 1, 2)
    for read in (own, own.replace(layout=layout)):
        assert read.load().shape == expected
        assert np.array_equal(read.load().images.numpy(), plain[read.load().ids.numpy()])


@pytest.mark.parametrize(
    "shape", [(3, 8, 3), (3, 3, 3), (1, 28, 1), (1, 1, 28), (8, 8, 8), (10, 20, 30), (3, 3, 20), (3, 20, 1)]
)
def test_an_ambiguous_layout_must_be_given(tmp_path: Path, shape: tuple[int, ...]) -> None:
    images = RNG.integers(0, 256, (20, *shape), dtype=np.uint8)
    own = npz(tmp_path, images=images, labels=LABELS)
    with pytest.raises(ValueError, match=r"can be read as .*: set layout='nchw' \(channels first\) or 'nhwc' \(last\)"):
        own.load()
    assert own.replace(layout="nchw").load().shape == shape
    assert own.replace(layout="nhwc").load().shape == (shape[2], *shape[:2])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": GRAY[:, :0], "labels": LABELS}, "images need at least one pixel"),
        ({"images": GRAY[0, 0], "labels": LABELS[:6]}, "expected images"),
        ({"images": GRAY * 1j, "labels": LABELS}, "images must be numbers, got complex128"),
        ({"images": GRAY.astype("datetime64[s]"), "labels": LABELS}, "expected plain numbers or strings"),
        ({"images": GRAY[:0], "labels": LABELS[:0]}, "has no train samples"),
        (
            {"images": np.where(np.arange(20)[:, None] == 7, 1e300, GRAY[:, 0]), "labels": LABELS},
            "values in the sample with id 7",
        ),
    ],
)
def test_arrays_that_are_no_images(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        npz(tmp_path, **arrays).load()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_images": GRAY[:10] / 255}, "must have the same type, got uint8 and float32"),
        ({"test_images": GRAY[:10, :5]}, r"must have the same shape, got \(1, 6, 6\) and \(1, 5, 6\)"),
        ({"test_labels": np.array(["a", "b"] * 5)}, "must both be numbers or both be strings"),
    ],
)
def test_splits_that_do_not_belong_together(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    good = {"train_images": GRAY, "train_labels": LABELS, "test_images": GRAY[:10], "test_labels": LABELS[:10]}
    assert npz(tmp_path, **good).load("test").labels.tolist() == [0, 1] * 5
    with pytest.raises(ValueError, match=message):
        npz(tmp_path, **(good | change)).load()


def test_other_arrays_are_left_out_with_a_note(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = npz(tmp_path, images=GRAY, labels=LABELS, names=np.array(["x"]), val_images=GRAY)
    with caplog.at_level(logging.WARNING, "byrote"):
        own.load()
    assert own.notes() == (f"{own.path}: left out 2 other arrays: names, val_images",) == tuple(caplog.messages)


def test_md_needs_numbers_up_to_one(tmp_path: Path) -> None:
    for images, high in ((GRAY.astype(float), 255), (GRAY.astype(np.int64), 255), (GRAY / 128, 2)):
        own = npz(tmp_path, images=images, labels=LABELS).replace(preprocessing="md")
        with pytest.raises(ValueError, match=rf"'md' needs bytes or numbers from 0 to 1, got .* to {high}|to 1\.99"):
            own.load()
    whole = npz(tmp_path, images=GRAY, labels=LABELS).replace(preprocessing="md").load().images
    parts = npz(tmp_path, images=GRAY / 255, labels=LABELS).replace(preprocessing="md").load().images
    assert float((whole - parts).abs().max()) < 1e-5


# ------------------------------------------------------------------------------------------------- npy pairs


@pytest.mark.parametrize("whole", [False, True])
def test_npy_files_beside_each_other(tmp_path: Path, whole: bool) -> None:
    top = tmp_path / "mine[1]"
    top.mkdir()
    np.save(top / "images.npy", np.asfortranarray(GRAY))
    np.save(top / "labels.npy", LABELS)
    np.save(top / "other.npy", LABELS)
    own = data.Arrays(path=str(top if whole else top / "images.npy"), preprocessing="raw")
    assert np.array_equal(own.load("test").images[:, 0].numpy(), GRAY[[8, 9, 18, 19]])
    name = own.content()
    assert name == inputs.content(top, [top / "images.npy", top / "labels.npy"])
    np.save(top / "labels.npy", 1 - LABELS)
    assert own.content() != name
    assert own.load("test").labels.tolist() == [1, 0, 1, 0]
    assert own.notes() == ((f"{top}: left out 1 other array: other.npy",) if whole else ())
    (top / "labels.npy").unlink()
    with pytest.raises((ValueError, FileNotFoundError), match=r"no array 'labels'|no file at .*labels\.npy"):
        own.load()


def test_npy_files_of_two_splits(tmp_path: Path) -> None:
    for name, array in (
        ("train_images", GRAY),
        ("train_labels", LABELS),
        ("test_images", GRAY[:4]),
        ("test_labels", LABELS[:4]),
    ):
        np.save(tmp_path / f"{name}.npy", array)
    for path in (tmp_path, tmp_path / "train_images.npy"):
        assert data.Arrays(path=str(path)).load("test").ids.tolist() == [20, 21, 22, 23]


def test_npy_files_under_other_names(tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", GRAY)
    with pytest.raises(
        ValueError, match=r"X\.npy has no array 'images': \.npy files must be named images\.npy and labels\.npy"
    ):
        data.Arrays(path=str(tmp_path / "X.npy")).load()
    with pytest.raises(ValueError, match=r"must contain images\.npy and labels\.npy"):
        data.Arrays(path=str(tmp_path)).load()


# ------------------------------------------------------------------------------------------------ hostile


def header(shape: object, kind: str = "|u1") -> bytes:
    text = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


HOSTILE = [
    (header((1 << 50,)) + b"\0" * 100, "announces .* 1,?024.0 TiB, but 100 bytes follow"),
    (header((1 << 62, 1 << 62)), "bytes follow|not a complete"),
    (header((20, 6, 6)) + b"\0" * 719, "720 bytes, but 719 bytes follow"),
    (header((20, 6, 6)) + b"\0" * 721, "720 bytes, but 721 bytes follow"),
    (header((-20, -36)) + b"\0" * 720, r"announces the shape \(-20, -36\)"),
    (header((1,), "|O") + b"cos\nsystem\n(S'true'\ntR.", "Python objects are pickles, which are never read"),
    (header((1,), [("a", "<i4")]) + b"\0" * 4, "expected plain numbers or strings"),  # type: ignore[arg-type]
    (b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535, "not a complete"),
    (b"\x93NUMPY\x09\x00", "not a complete"),
    (b"", "not a complete"),
]


@pytest.mark.parametrize(("content", "message"), HOSTILE)
def test_headers_that_lie(tmp_path: Path, content: bytes, message: str) -> None:
    np.save(tmp_path / "labels.npy", LABELS)
    (tmp_path / "images.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", content)
        archive.write(tmp_path / "labels.npy", "labels.npy")
    for name in ("images.npy", "a.npz"):
        with pytest.raises(ValueError, match=message) as caught:
            data.Arrays(path=str(tmp_path / name)).load()
        assert "\n" not in str(caught.value)
        assert name in str(caught.value)


def test_a_bomb_is_refused_before_it_unpacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 1 << 26
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", header((size, 1)) + bytes(size))
        archive.writestr("labels.npy", header((size,)) + bytes(size))
    assert (tmp_path / "a.npz").stat().st_size < 1 << 18
    monkeypatch.setattr(inputs, "available_memory", lambda: size)
    read: list[str] = []
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda self, name: read.append(name))
    with pytest.raises(ValueError, match=r"content of .*a\.npz would take 128\.0 MiB of memory, but only 64\.0 MiB"):
        data.Arrays(path=str(tmp_path / "a.npz")).load()
    assert read == []


def test_a_flipped_bit_and_a_second_copy_are_refused(tmp_path: Path) -> None:
    own = npz(tmp_path, images=GRAY, labels=LABELS)
    content = bytearray(Path(own.path).read_bytes())
    content[400] ^= 1
    Path(own.path).write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"not a complete npz file of plain arrays: Bad CRC-32"):
        own.load()
    stream = io.BytesIO()
    np.save(stream, GRAY)
    with zipfile.ZipFile(own.path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("images.npy", stream.getvalue())
    with pytest.raises(ValueError, match="it contains two arrays with the same name"):
        own.load()


def test_pipes_and_devices_do_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.npz")
    np.save(tmp_path / "images.npy", GRAY)
    (tmp_path / "labels.npy").symlink_to("/dev/zero")
    for name, kind in (("a.npz", "a named pipe"), ("images.npy", "a device")):
        for call in ("load", "content", "stamp", "notes"):
            with pytest.raises(ValueError, match=f"expected .*, but .* is {kind}"):
                getattr(data.Arrays(path=str(tmp_path / name)), call)()


# --------------------------------------------------------------------------------------- content and labels


def test_content_is_the_checksum_of_the_file(tmp_path: Path) -> None:
    own = npz(tmp_path, images=GRAY, labels=LABELS)
    assert own.content() == files.sha256(own.path)
    np.savez(own.path, images=255 - GRAY, labels=LABELS)
    assert own.content() == files.sha256(own.path)
    with pytest.raises(FileNotFoundError, match="there is no file at"):
        data.Arrays(path=str(tmp_path / "b.npz")).content()


def test_labels_are_given_unless_they_are_known(tmp_path: Path) -> None:
    given = npz(tmp_path, images=GRAY, labels=LABELS)
    assert given.labels == "given" == given.spec()["labels"]
    known = given.replace(labels="known")
    assert known.digest() != given.digest()
    assert data.Dataset.from_spec(known.spec()) == known
    with pytest.raises(ValueError, match=r"Arrays\.labels"):
        given.replace(labels="true")


def test_reading_needs_no_torch(tmp_path: Path) -> None:
    import subprocess
    import sys

    own = npz(tmp_path, images=GRAY, labels=LABELS)
    code = f"""
import sys
from byrote import data
own = data.Arrays(path={own.path!r})
own.content(), own.stamp(), own.notes(), own.num_classes, own.class_names()
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    "text", ["{'descr': '|u1', 'shape': (3,", "  {'a': 1\n 'b'", "'''", "9" * 5000, "(" * 400, "{'descr': x}"]
)
def test_headers_that_are_not_python_give_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "images.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text.encode() + b"\n" + bytes(30))
    np.save(tmp_path / "labels.npy", LABELS)
    with pytest.raises(ValueError, match="is not a complete npy file of plain arrays") as caught:
        data.Arrays(path=str(path)).load()
    assert "\n" not in str(caught.value)
    assert " at 0x" not in str(caught.value)
