"""Emulated tile units: `dense_amx.cpp` compiled with its eight instructions written in C++."""

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
    """Use the processor's tile units or emulate them; None if the processor lacks other instructions of the kernel."""
    kernels = library.kernels()
    if kernels is None or kernels.tiles is not None:
        return None if kernels is None else kernels.tiles
    compiler = shutil.which(os.environ.get("CXX", "")) or shutil.which("g++") or shutil.which("clang++")
    flags = [*library._FLAGS, "-mprefer-vector-width=512", "-D__AMX_BF16__", "-include", str(SHIM)]
    return _built([compiler, *flags, *map(str, library._SOURCES)])


def _built(command: list[str]) -> library.Units | None:
    """Build the library, or reuse one built from the same sources; None if the compiler fails."""
    sources = [SHIM, *library._SOURCES, *Path(library.__file__).parent.glob("*.hpp")]
    digest = hashlib.sha256(
        b"\0".join([repr(command).encode(), built._processor().encode(), *(Path(p).read_bytes() for p in sources)])
    )
    cached = files.cache_folder() / "kernels" / f"emulated-{digest.hexdigest()[:16]}.so"
    if not cached.is_file():
        cached.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cached.parent) as folder:
            fresh = Path(folder) / "emulated.so"
            if subprocess.run([*command, "-o", str(fresh)], capture_output=True, check=False).returncode != 0:
                return None
            os.replace(fresh, cached)
    return library.Kernels(cached).tiles
