"""The compiled kernels (`norm.cpp`, `dense_amx.cpp`, `dense_avx512.cpp`), built once by the machine's own C++ compiler.

They are called through ctypes and are optional: without a compiler `kernels()` is None, with one warning, and callers
use torch's own operators. The built library is in byrote's cache folder and is checked before it is loaded; see
`byrote.engine.kernels.built`.
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

from byrote.engine.kernels.arguments import ChainPass, NormArguments
from byrote.engine.kernels.built import built
from byrote.engine.kernels.known_answers import gives_known_answers
from byrote.files import sha256

__all__ = ["Kernels", "NormKernels", "Units", "address", "address_of", "kernels"]

log = logging.getLogger("byrote")

_SOURCES = tuple(Path(__file__).with_name(f"{name}.cpp") for name in ("norm", "dense_amx", "dense_avx512"))
_HEADERS = tuple(Path(__file__).with_name(f"{name}.hpp") for name in ("numbers", "norm", "dense"))
_FLAGS = ("-O3", "-march=native", "-funroll-loops", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
_WIDE = "-mprefer-vector-width=512"
_POINTER, _COUNT, _REAL = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
_NORM, _PASS = [ctypes.POINTER(NormArguments)], [ctypes.POINTER(ChainPass)]
_ARGUMENTS: dict[str, Sequence[type]] = {
    "norm_relu_forward": _NORM,
    "norm_relu_apply": _NORM,
    "norm_relu_backward": _NORM,
    "momentum_step": [_POINTER] * 3 + [_COUNT] + [_REAL] * 3,
}


class NormKernels(NamedTuple):
    """The functions for the work between products, for one type of numbers.

    `forward`, `apply` (evaluation) and `backward` compute normalization with rectifier for activations of that type,
    and take `NormArguments`. `momentum_step` takes the step of `Descent` with a gradient of that type (or null) on
    float32 momenta and parameters; its arguments are three addresses, a count, rate, momentum and decay.
    """

    forward: Any
    apply: Any
    backward: Any
    momentum_step: Any


class Units(NamedTuple):
    """The functions of a dense chain: forward, backward and, if it exists, evaluation; each takes a `ChainPass`."""

    bytes: Any
    forward: Any
    backward: Any
    evaluate: Any


class Kernels:
    """The functions of the library, which must reproduce the known answers in this process, too.

    `bf16`, `fp32` and `rounded` (float32 that is rounded to bfloat16 when read and when written) are the functions
    between products. `tiles` is for chains with bfloat16 operands on tile units (AMX); it is None if the processor has
    no tile units or the operating system does not allow their use. `vectors` is for chains on 512-bit vector units: in
    float32, with rounded operands, and, if there is AVX-512 BF16, with pairs of bfloat16. It is empty without these
    units. `digest` has the first digits of the SHA-256 of the library.
    """

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        if not gives_known_answers(library):
            raise OSError(f"{path} does not reproduce the known answers")
        self.digest = sha256(path)[:16]
        self.bf16, self.fp32, self.rounded = (self._norm_kernels(library, kind) for kind in ("bf16", "fp32", "rounded"))
        for name in ("cast", "widen", "to_nearest"):
            self._take(library, name, [_POINTER, _POINTER, _COUNT])
        self.cast = library.cast
        self.widen = library.widen
        self.to_nearest = library.to_nearest
        self.tiles = self._units(library, "dense_amx") if library.dense_amx_ready() else None
        kinds = [kind for kind in ("fp32", "rounded", "bf16") if hasattr(library, f"dense_avx512_forward_{kind}")]
        self.vectors = {kind: self._units(library, "dense_avx512", f"_{kind}") for kind in kinds}

    def _norm_kernels(self, library: ctypes.CDLL, kind: str) -> NormKernels:
        return NormKernels(*(self._take(library, f"{name}_{kind}", types) for name, types in _ARGUMENTS.items()))

    def _units(self, library: ctypes.CDLL, name: str, kind: str = "") -> Units:
        return Units(
            self._take(library, f"{name}_bytes{kind}", _PASS, _COUNT),
            self._take(library, f"{name}_forward{kind}", _PASS, ctypes.c_int),
            self._take(library, f"{name}_backward{kind}", _PASS),
            self._take(library, f"{name}_evaluate{kind}", _PASS) if kind else None,
        )

    @staticmethod
    def _take(library: ctypes.CDLL, name: str, arguments: Sequence[type], result: type | None = None) -> Any:
        function = getattr(library, name)
        function.argtypes, function.restype = list(arguments), result
        return function


def address(tensor: Tensor | None) -> int | None:
    """The address of a contiguous tensor's values; None stays None (a null pointer)."""
    return None if tensor is None else tensor.data_ptr()


def address_of(tensor: Tensor, s: int) -> int:
    """The address of run s in a contiguous stacked tensor; making a slice to get it would take ten times as long."""
    return tensor.data_ptr() + s * tensor.stride(0) * tensor.element_size()


@functools.cache
def kernels() -> Kernels | None:
    """The compiled kernels, built on first use; None, with a warning, if that fails."""
    compiler = shutil.which(os.environ.get("CXX", "")) or shutil.which("g++") or shutil.which("clang++")
    if os.name == "nt" or compiler is None:
        log.warning("no C++ compiler was found: torch's own operators replace the compiled kernels")
        return None
    flags = [*_FLAGS, _WIDE] if platform.machine().lower() in ("x86_64", "amd64") else [*_FLAGS]
    try:
        return Kernels(built(compiler, flags, _SOURCES, _HEADERS))
    except (OSError, subprocess.SubprocessError, AttributeError) as error:
        log.warning("the compiled kernels cannot be used here (%s): torch's own operators replace them", error)
        return None
