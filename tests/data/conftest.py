"""Tiny files in each format, and an empty cache without downloads, so that tests run the same on any machine."""

import dataclasses
import gzip
import hashlib
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from byrote import data, files
from byrote.data import base, bundled, cifar, mnist, own
from byrote.data.fetch.sources import Collection

REAL = files.cache_folder()  # this machine's data sets, for the tests that read real data


def needs(name: str) -> pytest.MarkDecorator:
    """Skip a test if this machine's cache lacks the real files of a data set."""
    have = all((REAL / name / part).is_file() for part in data.COLLECTIONS[name].parts)
    return pytest.mark.skipif(not have, reason=f"{name} is not in the cache: byrote data get {name}")


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BYROTE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BYROTE_OFFLINE", "1")
    monkeypatch.delenv("BYROTE_DATA", raising=False)
    places = Collection.local
    mine = tmp_path_factory.getbasetemp()
    monkeypatch.setattr(  # the tests must not depend on the packages installed on this machine
        Collection, "local", lambda self: (p for p in places(self) if p[1] not in self.system or mine in p[1].parents)
    )
    for cached in (base._load, own._read, bundled._arrays, cifar._human_arrays):
        cached.cache_clear()


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test read this machine's real files."""
    monkeypatch.setenv("BYROTE_CACHE", str(REAL))


def to_idx(array: np.ndarray) -> bytes:
    """Encode an array in the idx format, byte by byte."""
    return bytes([0, 0, 8, array.ndim]) + b"".join(struct.pack(">I", n) for n in array.shape) + array.tobytes()


@pytest.fixture
def tiny_idx() -> dict[str, bytes]:
    """Make the four idx files of a data set: 30 + 20 images of 5 x 4 pixels in 10 classes."""
    rng = np.random.default_rng(0)
    contents = {}
    for prefix, n in (("train", 30), ("t10k", 20)):
        contents[f"{prefix}-images-idx3-ubyte"] = to_idx(rng.integers(0, 256, (n, 5, 4), dtype=np.uint8))
        contents[f"{prefix}-labels-idx1-ubyte"] = to_idx((np.arange(n) * 7 % 10).astype(np.uint8))
    return contents


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Collection]:
    """Make a module's collection expect the checksums of these contents instead of the published ones."""

    def pin(module: object, name: str, contents: dict[str, bytes], **changes: object) -> Collection:
        parts = {part: f"md5:{hashlib.md5(content).hexdigest()}" for part, content in contents.items()}
        collection = dataclasses.replace(getattr(module, name), parts=parts, system=(), **changes)  # type: ignore[arg-type]
        monkeypatch.setattr(module, name, collection)
        return collection

    return pin


@pytest.fixture
def tiny_mnist(tiny_idx: dict[str, bytes], pinned: Callable[..., Collection]) -> Collection:
    return pinned(mnist, "MNIST_FILES", tiny_idx, remotes=())


def put(folder: Path, contents: dict[str, bytes], packed: bool = False) -> Path:
    """Write the files into a folder, gzipped if requested."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        path = folder / (f"{name}.gz" if packed else name)
        path.write_bytes(gzip.compress(content) if packed else content)
    return folder
