"""Known answers of the compiled kernels, which a library must reproduce before it is used for training.

Run as a program with the path of a library, this file exits with 0 if the library reproduces them. A library that
crashes then crashes only this process. Only Python's standard library is used, so that the program starts quickly; the
structure of the arguments is read from the file next to this one, since importing its package would load torch.
"""

import ctypes
import importlib.util
import math
import struct
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["gives_known_answers"]

_COUNT = 37  # not a multiple of the length of a vector
_VALUES = tuple((-1) ** i * (0.37 + 1.618 * i) * 10.0 ** (i % 7 - 3) for i in range(_COUNT))
_SLACK = 2e-6  # tolerance for sums of a few float32 numbers, which a compiler may fuse


def gives_known_answers(library: ctypes.CDLL) -> bool:
    """Whether conversions are exact, and whether a step of descent and a normalization are correct to float32's
    precision."""
    return _converts(library) and _descends(library) and _normalizes(library)


def _floats(values: Sequence[float]) -> "ctypes.Array[ctypes.c_float]":
    return (ctypes.c_float * len(values))(*values)


def _bits(value: float) -> int:
    return int(struct.unpack("<I", struct.pack("<f", value))[0])


def _nearest(value: float) -> int:
    """The upper half of a float32, rounded to the nearest bfloat16, ties to even."""
    bits = _bits(value)
    return (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16


def _converts(library: ctypes.CDLL) -> bool:
    ties = [struct.unpack("<f", struct.pack("<I", 0x3F808000 + (i << 16)))[0] for i in range(3)]
    values = [*_VALUES, *ties, 0.0, -0.0]
    count, given = ctypes.c_int64(len(values)), _floats(values)
    narrow, wide, rounded = (ctypes.c_uint16 * len(values))(), _floats(values), _floats(values)
    library.cast(given, narrow, count)
    library.widen(narrow, wide, count)
    library.to_nearest(given, rounded, count)
    right = [_nearest(value) for value in given]
    return (
        list(narrow) == right
        and [_bits(value) for value in wide] == [value << 16 for value in right]
        and [_bits(value) for value in rounded] == [value << 16 for value in right]
    )


def _close(got: Iterable[float], wanted: Sequence[float], slack: float = _SLACK) -> bool:
    return all(abs(a - b) <= slack * (1 + abs(b)) for a, b in zip(got, wanted, strict=True))


def _descends(library: ctypes.CDLL) -> bool:
    """m <- momentum m + (g + decay theta); theta <- theta - rate m."""
    gradient, momenta, weights = _VALUES, _VALUES[::-1], tuple(1.0 + value / 100 for value in _VALUES)
    g, m, theta = _floats(gradient), _floats(momenta), _floats(weights)
    rate, momentum, decay = 0.1, 0.9, 0.01
    settings = [ctypes.c_float(value) for value in (rate, momentum, decay)]
    library.momentum_step_fp32(g, m, theta, ctypes.c_int64(_COUNT), *settings)
    moved = [momentum * a + (b + decay * c) for a, b, c in zip(momenta, gradient, weights, strict=True)]
    return _close(m, moved, 1e-5) and _close(theta, [w - rate * v for w, v in zip(weights, moved, strict=True)], 1e-5)


def _norm_arguments() -> Any:
    """The structure `NormArguments`."""
    spec = importlib.util.spec_from_file_location("arguments", Path(__file__).with_name("arguments.py"))
    if spec is None or spec.loader is None:
        raise ImportError("the file of the kernels' arguments is missing")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.NormArguments


def _normalizes(library: ctypes.CDLL) -> bool:
    """max(0, gamma (x - mean) / sqrt(var + eps) + beta), column by column."""
    rows, columns, eps, momentum = 5, 20, 1e-5, 0.1
    x = [math.sin(1.0 + 0.7 * i) for i in range(rows * columns)]
    gamma, beta = [0.5 + 0.05 * j for j in range(columns)], [0.1 * j - 0.8 for j in range(columns)]
    arrays = {"x": x, "gamma": gamma, "beta": beta, "out": [0.0] * len(x), "mean": [0.0] * columns}
    arrays |= {"inverse": [0.0] * columns, "running_mean": [0.0] * columns, "running_var": [1.0] * columns}
    held = {name: _floats(values) for name, values in arrays.items()}
    addresses = {name: ctypes.addressof(array) for name, array in held.items()}
    size = {"rows": rows, "columns": columns, "stride": columns}
    arguments = _norm_arguments()(**addresses, **size, eps=eps, momentum=momentum, floor=0.0)
    library.norm_relu_forward_fp32(ctypes.byref(arguments))
    wanted = [0.0] * len(x)
    for j in range(columns):
        column = x[j::columns]
        middle = sum(column) / rows
        spread = sum((value - middle) ** 2 for value in column) / rows
        wanted[j::columns] = [
            max(0.0, gamma[j] * (value - middle) / math.sqrt(spread + eps) + beta[j]) for value in column
        ]
    return _close(held["out"], wanted, 1e-4)


if __name__ == "__main__":
    raise SystemExit(0 if gives_known_answers(ctypes.CDLL(sys.argv[1])) else 1)
