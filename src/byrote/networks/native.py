"""The compiled kernels (`kernels.cpp`, `tiles.cpp`, `vectors.cpp`), built once by the machine's own C++ compiler.

They are called through ctypes and are an option: without a compiler `kernels()` is None, said once in a warning, and
callers take torch's own operators. The built library lies in byrote's cache folder and is checked before it is
loaded, see `byrote.networks.library`.
"""

import ctypes
import functools
import logging
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from byrote.files import sha256
from byrote.networks.answers import gives_known_answers
from byrote.networks.library import library

__all__ = ["Kernels", "Passes", "Units", "address", "address_of", "kernels"]

log = logging.getLogger("byrote")

_SOURCES = tuple(Path(__file__).with_name(f"{name}.cpp") for name in ("kernels", "tiles", "vectors"))
_HEADERS = tuple(Path(__file__).with_name(f"{name}.hpp") for name in ("numbers", "passes", "chain"))
_FLAGS = ("-O3", "-march=native", "-funroll-loops", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
_WIDE = "-mprefer-vector-width=512"
_POINTER, _COUNT, _REAL = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
_ARGUMENTS: dict[str, Sequence[type]] = {
    "norm_forward": [_POINTER] * 3 + [_COUNT] * 2 + [_POINTER] * 3 + [_REAL] * 2 + [_POINTER] * 4 + [_REAL],
    "norm_apply": [_POINTER] * 3 + [_COUNT] * 2 + [_POINTER] * 2 + [_REAL],
    "norm_backward": [_POINTER] * 5 + [_COUNT] * 2 + [_POINTER] * 5 + [_REAL],
    "descend": [_POINTER] * 3 + [_COUNT] + [_REAL] * 3,
}
_ROOM = [_POINTER] + [_COUNT] * 2
_FORWARD = [_POINTER] + [_COUNT] * 2 + [_POINTER, _COUNT] + [_POINTER, _COUNT] + [_POINTER] * 2
_EVALUATE = [_POINTER] + [_COUNT] * 2 + [_POINTER, _COUNT] + [_POINTER] * 2
_BACKWARD = [_POINTER] + [_COUNT] * 2 + [_POINTER, _COUNT, _POINTER] + [_REAL] * 3 + [ctypes.c_int32]


class Passes(NamedTuple):
    """What lies between the products, for one type of numbers; the functions take addresses and counts.

    `norm_*` are normalisation with rectifier, of activations of that type; `descend` is the step of `Descent` from a
    gradient of that type, on float32 momenta and parameters.
    """

    norm_forward: Any
    norm_apply: Any
    norm_backward: Any
    descend: Any


class Units(NamedTuple):
    """A dense chain in one call forward, backward and, where there is one, in evaluation, on one kind of units."""

    room: Any
    forward: Any
    backward: Any
    evaluate: Any


class Kernels:
    """The functions of the library, which must give the known answers here too.

    `bf16`, `fp32` and `rounded` (float32 that is rounded to bfloat16 when read and when written) hold the passes.
    `tiles` are chains with bfloat16 operands on tile units, None where the processor has none (AMX) or the system does
    not lend them; `vectors` are chains on 512-bit vector units, empty without: in float32, with rounded operands, and,
    with AVX-512 BF16, of bfloat16 pairs. `digest` are the first digits of the SHA-256 of the library.
    """

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        if not gives_known_answers(library):
            raise OSError(f"{path} does not give the answers that are known")
        self.digest = sha256(path)[:16]
        self.bf16, self.fp32, self.rounded = (self._passes(library, kind) for kind in ("bf16", "fp32", "rounded"))
        for name in ("cast", "widen", "to_nearest"):
            self._take(library, name, [_POINTER, _POINTER, _COUNT])
        self.cast = library.cast
        self.widen = library.widen
        self.to_nearest = library.to_nearest
        self.tiles = self._units(library, "tiles") if library.tiles_ready() else None
        kinds = [kind for kind in ("fp32", "rounded", "bf16") if hasattr(library, f"vectors_forward_{kind}")]
        self.vectors = {kind: self._units(library, "vectors", f"_{kind}") for kind in kinds}

    def _passes(self, library: ctypes.CDLL, kind: str) -> Passes:
        return Passes(*(self._take(library, f"{name}_{kind}", types) for name, types in _ARGUMENTS.items()))

    def _units(self, library: ctypes.CDLL, name: str, kind: str = "") -> Units:
        return Units(
            self._take(library, f"{name}_room{kind}", _ROOM, _COUNT),
            self._take(library, f"{name}_forward{kind}", _FORWARD, ctypes.c_int),
            self._take(library, f"{name}_backward{kind}", _BACKWARD),
            self._take(library, f"{name}_evaluate{kind}", _EVALUATE) if kind else None,
        )

    @staticmethod
    def _take(library: ctypes.CDLL, name: str, arguments: Sequence[type], result: type | None = None) -> Any:
        function = getattr(library, name)
        function.argtypes, function.restype = list(arguments), result
        return function


def address(tensor: Tensor | None) -> int | None:
    """Where a contiguous tensor's values start; None stays None (a null pointer)."""
    return None if tensor is None else tensor.data_ptr()


def address_of(tensor: Tensor, s: int) -> int:
    """Where the values of run s of a contiguous stacked tensor start; making a slice costs ten times as much."""
    return tensor.data_ptr() + s * tensor.stride(0) * tensor.element_size()


@functools.cache
def kernels() -> Kernels | None:
    """The compiled kernels, built when first asked for; None where that cannot be done, with a warning."""
    compiler = shutil.which(os.environ.get("CXX", "")) or shutil.which("g++") or shutil.which("clang++")
    if os.name == "nt" or compiler is None:
        log.warning("no C++ compiler was found: torch's own operators take the place of the compiled kernels")
        return None
    flags = [*_FLAGS, _WIDE] if platform.machine().lower() in ("x86_64", "amd64") else [*_FLAGS]
    try:
        return Kernels(library(compiler, flags, _SOURCES, _HEADERS))
    except (OSError, subprocess.SubprocessError, AttributeError) as error:
        log.warning("the compiled kernels cannot be used here (%s): torch's own operators take their place", error)
        return None
