"""Tile units where the processor has none: `dense_amx.cpp` compiled with its eight instructions written out in C++."""

import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from byrote import files
from byrote.engine.kernels import built, library

SHIM = Path(__file__).with_name("emulated_tiles.hpp")


@functools.cache
def tiles() -> library.Units | None:
    """The processor's own, or the emulated ones; None where the instructions around them are missing too."""
    found = library.kernels()
    if found is None or found.tiles is not None:
        return None if found is None else found.tiles
    compiler = shutil.which(os.environ.get("CXX", "")) or shutil.which("g++") or shutil.which("clang++")
    flags = [*library._FLAGS, "-mprefer-vector-width=512", "-D__AMX_BF16__", "-include", str(SHIM)]
    return _built([compiler, *flags, *map(str, library._SOURCES)])


def _built(command: list[str]) -> library.Units | None:
    """What the command builds, kept in the cache folder under a digest of all that it reads; None where it fails."""
    sources = [SHIM, *library._SOURCES, *Path(library.__file__).parent.glob("*.hpp")]
    digest = hashlib.sha256(
        b"\0".join([repr(command).encode(), built._processor().encode(), *(Path(p).read_bytes() for p in sources)])
    )
    kept = files.cache_folder() / "kernels" / f"emulated-{digest.hexdigest()[:16]}.so"
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            made = Path(folder) / "emulated.so"
            if subprocess.run([*command, "-o", str(made)], capture_output=True, check=False).returncode != 0:
                return None
            os.replace(made, kept)
    return library.Kernels(kept).tiles
