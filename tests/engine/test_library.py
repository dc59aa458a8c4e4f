"""A library of compiled kernels is loaded only if it is in the user's own folder, unchanged, and computes correctly."""

import ctypes
import logging
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from byrote.engine.kernels import built as library
from byrote.engine.kernels import known_answers as answers
from byrote.engine.kernels import library as native
from byrote.engine.kernels.built import UnsafeCacheError
from byrote.files import sha256

KERNELS = native.kernels()
COMPILER = os.name != "nt" and any(shutil.which(name) for name in (os.environ.get("CXX", ""), "g++", "clang++"))
pytestmark = pytest.mark.skipif(not COMPILER, reason="no compiler")


def test_a_machine_with_a_compiler_has_kernels():
    """Otherwise every test of a kernel would be skipped where the kernels give wrong answers."""
    assert KERNELS is not None


@pytest.fixture
def built(tmp_path, monkeypatch):
    """Replace the compiler by a script that copies this machine's own library, and count its calls."""
    (real,) = [p for p in (library.cache_folder() / "kernels").glob("*.so") if sha256(p).startswith(KERNELS.digest)][:1]
    copy = shutil.copy(real, tmp_path / "real.so")
    compiler, source = tmp_path / "c++", tmp_path / "source.cpp"
    compiler.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exit\ncp {copy} "$2"\necho >> {tmp_path}/count\n')
    compiler.chmod(0o755)
    source.write_text("")
    monkeypatch.setenv("BYROTE_CACHE", str(tmp_path / "cache"))

    def build():
        return library.built(str(compiler), ("-o",), (), (source,))

    def counted():
        path = tmp_path / "count"
        return path.read_text().count("\n") if path.exists() else 0

    # the command is "compiler *flags -o PATH", so that without flags PATH is the third word
    monkeypatch.setattr(library, "_build", with_plain_command(library._build))
    build.count, build.folder, build.copy = counted, tmp_path / "cache" / "kernels", tmp_path / "real.so"
    return build


def with_plain_command(build):
    return lambda compiler, flags, sources, note: build(compiler, (), sources, note)


def test_a_library_is_built_once_into_a_folder_of_the_users_own(built):
    path = built()
    assert built() == path
    assert built.count() == 1
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert sorted(p.suffix for p in path.parent.iterdir()) == [".sha256", ".so"]
    assert sha256(path) == path.with_name(path.name.split("-")[0] + ".sha256").read_text()


@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty", "planted", "gone"])
def test_a_library_that_is_not_as_it_was_built_is_built_again(built, damage, caplog):
    path = built()
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    content = {"flipped": flipped, "truncated": whole[:middle], "empty": b"", "planted": b"\x7fELF" + whole[9:]}
    path.unlink()
    if damage in content:
        path.write_bytes(content[damage])
    assert built().read_bytes() == whole
    assert built.count() == 2
    assert ("were changed after they were built" in caplog.text) == (damage != "gone")


@pytest.mark.parametrize("note", ["", "0" * 64, "x" * 64, "../../planted"])
def test_a_note_that_is_not_the_one_that_was_written_is_not_believed(built, note):
    path = built()
    (sealed,) = path.parent.glob("*.sha256")
    sealed.write_text(note)
    assert built() == path
    assert built.count() == 2


def test_planted_code_in_an_open_folder_is_never_loaded(built, monkeypatch, caplog):
    path = built()
    path.parent.chmod(0o777)
    with pytest.raises(UnsafeCacheError, match=r"nobody else can write to \(its mode is 0777\); remove the folder and"):
        built()
    path.parent.chmod(0o755)
    assert built() == path, "a folder that others may read, but not write to, is made private and used"
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    aside = path.parent.rename(path.parent.with_name("elsewhere"))
    path.parent.symlink_to(aside)
    with pytest.raises(UnsafeCacheError, match="a folder that you own"):
        built()
    monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 1)
    path.parent.unlink()
    aside.rename(path.parent)
    with pytest.raises(UnsafeCacheError, match="a folder that you own"):
        built()


def test_what_cannot_be_used_is_a_warning_and_torch_computes(built, monkeypatch, caplog):
    built().parent.chmod(0o777)
    with caplog.at_level(logging.WARNING, "byrote"):
        assert native.kernels.__wrapped__() is None
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "torch's own operators replace them" in record.getMessage()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    caplog.clear()
    assert native.kernels.__wrapped__() is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize(
    "change", ["narrow[0] += 1", "m[36] += m[36] / 1000", "theta[20] *= 1.01", 'held["out"][7] += 0.001']
)
def test_a_library_with_wrong_answers_is_refused(built, change, tmp_path):
    """Each answer is altered in a copy of the self-test; run as a program, the copy must exit with status 1."""
    assert answers.gives_known_answers(ctypes.CDLL(str(built.copy)))
    text = Path(answers.__file__).read_text()
    name = change.split("[")[0]
    places = {"narrow": "    library.widen(", "m": "    moved = [", "theta": "    moved = [", "held": "    wanted = ["}
    head, place, tail = text.partition(places[name])
    assert place
    program = tmp_path / "answers.py"
    shutil.copy(Path(answers.__file__).with_name("arguments.py"), tmp_path)
    program.write_text(f"{head}    {change}\n{place}{tail}")
    test = [sys.executable, "-I", str(program), str(built.copy)]
    assert subprocess.run(test, capture_output=True).returncode == 1
    program.write_text(text)
    assert subprocess.run(test, capture_output=True).returncode == 0


def test_a_library_that_brings_its_process_down_is_not_kept(built):
    built.copy.write_bytes(built.copy.read_bytes()[:9000])
    with pytest.raises(OSError, match="do not reproduce the known answers"):
        built()
    assert list(built.folder.iterdir()) == []
