"""Tile units where the processor has none: `dense_amx.cpp` compiled with its eight instructions written out in C++."""

import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from byrote.engine.kernels import library

SHIM = Path(__file__).with_name("emulated_tiles.hpp")


@functools.cache
def tiles() -> library.Units | None:
    """The processor's own, or the emulated ones; None where the instructions around them are missing too."""
    found = library.kernels()
    if found is None or found.tiles is not None:
        return None if found is None else found.tiles
    compiler = shutil.which(os.environ.get("CXX", "")) or shutil.which("g++") or shutil.which("clang++")
    flags = [*library._FLAGS, "-mprefer-vector-width=512", "-D__AMX_BF16__", "-include", str(SHIM)]
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "emulated.so"
        command = [compiler, *flags, "-o", str(made), *map(str, library._SOURCES)]
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            return None
        return library.Kernels(made).tiles
