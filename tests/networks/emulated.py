"""Tile units where the processor has none: `tiles.cpp` compiled with its eight instructions written out in C++."""

import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from byrote.networks import native

SHIM = Path(__file__).with_name("emulated_tiles.hpp")


@functools.cache
def tiles() -> native.Units | None:
    """The processor's own, or the emulated ones; None where the instructions around them are missing too."""
    found = native.kernels()
    if found is None or found.tiles is not None:
        return None if found is None else found.tiles
    compiler = shutil.which(os.environ.get("CXX", "")) or shutil.which("g++") or shutil.which("clang++")
    flags = [*native._FLAGS, "-mprefer-vector-width=512", "-D__AMX_BF16__", "-include", str(SHIM)]
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "emulated.so"
        command = [compiler, *flags, "-o", str(made), *map(str, native._SOURCES)]
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            return None
        return native.Kernels(made).tiles
