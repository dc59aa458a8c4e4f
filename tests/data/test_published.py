"""Published data sets: each format is decoded as by hand; damaged and hostile files are refused."""

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import io as matlab

from byrote import data, noise
from byrote.data import cifar, svhn
from byrote.data.fetch.sources import Collection
from byrote.data.formats.mat import read_mat

from .conftest import put
from .test_formats import Evil, write_png

# ------------------------------------------------------------------------------------------- CIFAR-10


@pytest.fixture
def tiny_cifar(pinned: Callable[..., Collection]) -> dict[str, bytes]:
    """Make CIFAR batches of 4 images; images and labels differ by batch and position."""
    rng = np.random.default_rng(1)
    contents = {}
    for name in cifar._NAMES:
        rows = rng.integers(0, 256, (4, 3073), dtype=np.uint8)
        rows[:, 0] = rng.integers(0, 10, 4)
        contents[f"{name}.bin"] = rows.tobytes()
    pinned(cifar, "CIFAR10_FILES", contents, remotes=())
    return contents


def as_python(folder: Path, contents: dict[str, bytes]) -> None:
    for name, content in contents.items():
        rows = np.frombuffer(content, np.uint8).reshape(-1, 3073)
        batch = {b"data": rows[:, 1:].copy(), b"labels": rows[:, 0].tolist(), b"filenames": [b"a.png"] * 4}
        (folder / name.removesuffix(".bin")).write_bytes(pickle.dumps(batch, protocol=2))


def as_png(folder: Path, contents: dict[str, bytes]) -> None:
    labels: dict[str, list[int]] = {"train": [], "test": []}
    for name, content in contents.items():
        rows = np.frombuffer(content, np.uint8).reshape(-1, 3073)
        pixels = rows[:, 1:].reshape(-1, 3, 1024).transpose(0, 2, 1)
        (folder / name.replace(".bin", ".png")).write_bytes(write_png(pixels, [1], 2))
        labels["test" if name.startswith("test") else "train"] += rows[:, 0].tolist()
    for split, numbers in labels.items():
        (folder / f"{split}_lables.json").write_text(json.dumps(numbers))


@pytest.mark.parametrize("layout", ["binary", "python", "png"])
def test_cifar10_in_three_packings(
    tmp_path: Path, tiny_cifar: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    names = {"binary": "cifar-10-batches-bin", "python": "cifar-10-batches-py", "png": "package"}
    folder = tmp_path / "root" / names[layout]
    folder.mkdir(parents=True)
    if layout == "binary":
        put(folder, tiny_cifar)
    else:
        (as_python if layout == "python" else as_png)(folder, tiny_cifar)
    monkeypatch.setenv("BYROTE_DATA", str(tmp_path / "root"))
    train = data.CIFAR10(preprocessing="raw", classes=tuple(range(10))).decode("train")
    assert train.images.shape == (20, 3, 32, 32)
    assert train.ids.tolist() == list(range(20))
    for place in (0, 7, 19):
        row = tiny_cifar[f"data_batch_{place // 4 + 1}.bin"][(place % 4) * 3073 :][:3073]
        assert train.labels[place] == row[0]
        assert train.images[place, 2, 5, 9] == row[1 + 2 * 1024 + 5 * 32 + 9]
    assert data.CIFAR10().decode("test").images.tobytes()[:1024] == tiny_cifar["test_batch.bin"][1:1025]


def test_a_hostile_cifar_pickle_is_not_run(
    tmp_path: Path, tiny_cifar: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    as_python(folder, tiny_cifar)
    (folder / "test_batch").write_bytes(pickle.dumps({"data": Evil(os.system, f"touch {tmp_path}/ran")}))
    monkeypatch.setenv("BYROTE_DATA", str(tmp_path))
    assert len(data.CIFAR10().decode("train").labels) == 20
    with pytest.raises(ValueError, match=r"asks for \w+\.system"):
        data.CIFAR10().load("test")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("change", [{"labels": [1, 2]}, {"labels": [300] * 4}, {"labels": "x"}, {"data": [1]}])
def test_a_cifar_pickle_without_images_and_labels(
    tmp_path: Path, tiny_cifar: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, change: dict[str, object]
) -> None:
    content = {"data": np.zeros((4, 3072), np.uint8), "labels": [0] * 4} | change
    (tmp_path / "test_batch").write_bytes(pickle.dumps(content, protocol=2))
    monkeypatch.setenv("BYROTE_DATA", str(tmp_path))
    with pytest.raises(ValueError, match="label"):
        data.CIFAR10().load("test")


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 100_000, b"\xff", b"[1, 2]", b'{"a": 1}'])
def test_a_list_of_labels_that_is_none(
    tmp_path: Path, tiny_cifar: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    as_png(tmp_path, tiny_cifar)
    (tmp_path / "train_lables.json").write_bytes(content)
    monkeypatch.setenv("BYROTE_DATA", str(tmp_path))
    with pytest.raises(ValueError, match=r"train_lables\.json is not a list of labels|a label for each of") as caught:
        data.CIFAR10().decode("train")
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------------------- CIFAR-10N


def human_file(arrays: dict[str, np.ndarray]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(arrays, protocol=2))
        archive.writestr("archive/version", "3\n")
    return stream.getvalue()


@pytest.mark.parametrize("packed", [False, True])
def test_human_labels_and_their_files(
    tmp_path: Path, pinned: Callable[..., Collection], monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    clean = np.array([3, 1, 4, 1], dtype=np.int64)
    labels_by_name = {name: (clean + n) % 10 for n, name in enumerate(cifar.HUMAN_LABELS.values(), start=1)}
    content = human_file(labels_by_name | {"clean_label": clean})
    pinned(cifar, "CIFAR10N_FILES", {"CIFAR-10_human.pt": content}, remotes=())
    if packed:
        with zipfile.ZipFile(tmp_path / "CIFAR-N.zip", "w") as archive:
            archive.writestr("CIFAR-N/CIFAR-10_human.pt", content)
    else:
        put(tmp_path, {"CIFAR-10_human.pt": content})
    monkeypatch.setenv("BYROTE_DATA", str(tmp_path))
    assert data.human_labels("worst").tolist() == labels_by_name["worse_label"].tolist() == [5, 3, 6, 3]
    assert data.human_labels("random3").tolist() == labels_by_name["random_label3"].tolist()
    path = data.human_labels_file("aggre")
    assert path.read_text() == "id,true,observed\n0,3,4\n1,1,2\n2,4,5\n3,1,2\n"
    recorded = noise.Recorded(path=str(path)).load()
    assert recorded.observed.tolist() == labels_by_name["aggre_label"].tolist()
    assert recorded.true.tolist() == clean.tolist()
    with pytest.raises(ValueError, match="human labels must be one of aggre"):
        data.human_labels("clean")


# ------------------------------------------------------------------------------------------------ SVHN


def as_mat(images: np.ndarray, labels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    matlab.savemat(stream, {"X": images.transpose(2, 3, 1, 0), "y": labels[:, None]})  # X is (H, W, C, n)
    return stream.getvalue()


def test_svhn_reads_its_layout(tmp_path: Path, pinned: Callable[..., Collection]) -> None:
    images = np.random.default_rng(2).integers(0, 256, (6, 3, 32, 32), dtype=np.uint8)
    stored = np.array([10, 1, 2, 10, 9, 1], dtype=np.uint8)
    content = as_mat(images, stored)
    test_content = as_mat(images[:3], stored[:3])
    collection = pinned(svhn, "SVHN_FILES", {"train_32x32.mat": content, "test_32x32.mat": test_content})
    raw_mat = matlab.loadmat(io.BytesIO(content))["X"]
    put(collection.cache, {"train_32x32.mat": content})
    loaded = data.SVHN(classes=(0, 1), preprocessing="raw").load()
    assert loaded.ids.tolist() == [0, 1, 3, 5]
    assert loaded.labels.tolist() == [0, 1, 0, 1]
    # X[row, column, channel, n]
    assert loaded.images[2, 1, 7, 20] == raw_mat[7, 20, 1, 3]
    assert not data.SVHN().available()


def test_a_mat_file_that_unpacks_to_more_than_is_allowed() -> None:
    stream = io.BytesIO()
    images = np.zeros((32, 32, 3, 2000), np.uint8)
    matlab.savemat(stream, {"X": images, "y": np.ones((2000, 1), np.uint8)}, do_compression=True)
    content = stream.getvalue()
    assert len(content) < 100_000
    assert len(read_mat(content, images.nbytes + 100_000)[1]) == 2000
    with pytest.raises(ValueError, match="the MATLAB file unpacks to more bytes than are allowed"):
        read_mat(content, images.nbytes // 2)


@pytest.mark.parametrize("labels", [[1.5, 2], [np.nan, 2], [-1, 2], [1e30, 2]])
def test_svhn_labels_are_never_rounded(labels: list[float]) -> None:
    with pytest.raises(ValueError, match=r"labels must lie in 1\.\.10"):
        svhn.decode_split(as_mat(np.zeros((2, 3, 32, 32), np.uint8), np.array(labels)))
    whole = svhn.decode_split(as_mat(np.zeros((2, 3, 32, 32), np.uint8), np.array([10.0, 2.0])))
    assert whole.labels.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "with X and y: "),
        (b"MATLAB 5.0 MAT-file" + b"\0" * 200, "with X and y: "),
        (as_mat(np.zeros((2, 3, 32, 32), np.uint8), np.array([1, 11], np.uint8)), "labels must lie in 1..10"),
        (as_mat(np.zeros((2, 3, 32, 32), np.uint8), np.array([0, 1], np.uint8)), "labels must lie in 1..10"),
        (as_mat(np.zeros((2, 3, 32, 32), np.uint8), np.array([1], np.uint8)), "and n labels, got"),
        (as_mat(np.zeros((2, 1, 32, 32), np.uint8), np.array([1, 2], np.uint8)), "and n labels, got"),
    ],
)
def test_svhn_refuses_other_files(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        svhn.decode_split(content)
