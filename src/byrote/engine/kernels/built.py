"""The library of compiled kernels in byrote's cache folder: built once, and used only after a check.

The folder `kernels` belongs to the user and is closed to all others (mode 0700). The name of a library contains a
digest of its sources, the compiler, the flags and the processor, and the SHA-256 of its own bytes. The bytes are
compared with this checksum before the system loads the library, so a library that was truncated or altered is built
again and never runs. A library that was just built must first reproduce known answers in a separate process
(`byrote.engine.kernels.known_answers`).
"""

import hashlib
import logging
import os
import platform
import stat
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from byrote.engine.kernels import known_answers
from byrote.files import cache_folder, sha256, write_atomic
from byrote.files.atomic import put

__all__ = ["UnsafeCacheError", "built"]

log = logging.getLogger("byrote")


class UnsafeCacheError(OSError):
    """Others can write to the folder of compiled kernels, so nothing in it may be run."""


def built(compiler: str, flags: Sequence[str], sources: Sequence[Path], headers: Sequence[Path]) -> Path:
    """The file of the library, which is built if it is missing or damaged; its bytes have not changed since it was
    built.

    Raises:
        UnsafeCacheError: the folder is not the user's own, or others can write to it.
        OSError, subprocess.SubprocessError: the library cannot be built, or does not reproduce the known answers.
    """
    texts = [*(path.read_text() for path in (*sources, *headers)), _version(compiler), *flags, _processor()]
    name = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
    try:
        folder = _private(cache_folder() / "kernels")
    except UnsafeCacheError:
        raise
    except OSError:  # the cache is read-only: build for this process alone
        folder = Path(tempfile.mkdtemp())
    note = folder / f"{name}.sha256"
    digest = _noted(note)
    path = folder / f"{name}-{digest[:16]}.so"
    if digest and path.is_file():
        if sha256(path) == digest:
            return path
        log.warning("the compiled kernels %s were changed after they were built; they are built again", path)
    return _build(compiler, flags, sources, note)


def _build(compiler: str, flags: Sequence[str], sources: Sequence[Path], note: Path) -> Path:
    with tempfile.TemporaryDirectory(dir=note.parent) as folder:
        library = Path(folder) / "kernels.so"
        command = [compiler, *flags, "-o", str(library), *map(str, sources)]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        test = [sys.executable, "-I", str(Path(known_answers.__file__)), str(library)]
        if subprocess.run(test, check=False, capture_output=True, timeout=60).returncode != 0:
            raise OSError("the compiled kernels do not reproduce the known answers")
        digest = sha256(library)
        path = note.with_name(f"{note.stem}-{digest[:16]}.so")
        put(library, path)
        write_atomic(note, digest)
    return path


def _private(folder: Path) -> Path:
    """The folder, which is created if it is missing. It must be the user's own, and others must not be able to write to
    it.

    Raises:
        UnsafeCacheError: the folder belongs to another user, others can write to it, or it is a link.
        OSError: it cannot be created.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    state = folder.lstat()
    wanted = f"{folder} must be a folder that you own and that nobody else can write to"
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid():
        raise UnsafeCacheError(f"{wanted}; remove it, or set BYROTE_CACHE")
    if state.st_mode & 0o022:
        raise UnsafeCacheError(
            f"{wanted} (its mode is {stat.S_IMODE(state.st_mode):04o}); remove the folder and its contents"
        )
    if state.st_mode & 0o077:
        folder.chmod(0o700)
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{folder} cannot be written to")
    return folder


def _noted(note: Path) -> str:
    """The digest that was recorded after the library had reproduced the known answers; empty if there is none."""
    try:
        text = note.read_text("ascii")
    except (OSError, ValueError):
        return ""
    return text if len(text) == 64 and all(c in "0123456789abcdef" for c in text) else ""


def _version(compiler: str) -> str:
    shown = subprocess.run([compiler, "--version"], check=True, capture_output=True, text=True, timeout=30)
    return compiler + shown.stdout


def _processor() -> str:
    """The properties of the processor that `-march=native` uses, as text."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    features = sorted({line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))})
    return "\n".join([platform.platform(), platform.processor(), *features])
