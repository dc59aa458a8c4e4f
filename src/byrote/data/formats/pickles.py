"""Pickles of arrays, read without running them.

A pickle is a program. CIFAR-10 and CIFAR-10N are published as pickles; this module reads the arrays in them. It admits
only the four names that a pickle needs to rebuild an array, and replaces each of them by a stand-in.
"""

import io
import pickle
import pickletools
from typing import IO, Any

import numpy as np

__all__ = ["load_arrays"]

_LIMIT = 1 << 28


class _Dtype:
    """Stands in for numpy.dtype while a pickle is read; it accepts plain number types only."""

    def __init__(self, code: object, *_: object) -> None:
        text = code.decode("ascii", "replace") if isinstance(code, bytes) else str(code)
        if text not in ("u1", "i1", "i2", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8", "b1"):
            raise pickle.UnpicklingError(f"arrays of type {text!r} are not allowed")
        self.text = text

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1].decode() if isinstance(state[1], bytes) else state[1]
        self.text = (order if order in ("<", ">") else "|") + self.text.lstrip("<>|")


class _Array:
    """Stands in for numpy.ndarray: it receives shape, type and bytes, and makes the array from them."""

    value: "np.ndarray[Any, Any]"

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, raw = state
        if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes):
            raise pickle.UnpicklingError("expected an array of plain numbers")
        flat = np.frombuffer(raw, dtype=np.dtype(dtype.text))
        self.value = flat.reshape(shape, order="F" if fortran else "C").copy()


def _latin1(text: str, encoding: str) -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"encoding {encoding!r} is not allowed")
    return text.encode("latin1")


_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _latin1,
}


class _ArrayUnpickler(pickle.Unpickler):
    """Admits only the names that rebuild an array, and returns a stand-in for each."""

    def find_class(self, module: str, name: str) -> Any:
        admitted = _ADMITTED.get((module, name))
        if admitted is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return admitted

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to an object outside itself")


def _check_sizes(program: bytes) -> None:
    """Check that unpickling cannot make Python reserve more memory than the pickle has bytes.

    `pickletools` lists the opcodes of the pickle without running them, and refuses a length that goes beyond the end of
    the pickle. This function checks the indices of the memo, the table in which unpickling stores values. An index may
    not exceed the number of opcodes so far, because the table grows to the largest index.
    """
    if len(program) > _LIMIT:
        raise pickle.UnpicklingError(f"it has more than {_LIMIT} bytes")
    for count, (opcode, argument, _) in enumerate(pickletools.genops(program)):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and isinstance(argument, int) and argument > count:
            raise pickle.UnpicklingError(f"it asks for {argument} entries of memory")
        if opcode.name == "FRAME" and isinstance(argument, int) and argument > len(program):
            raise pickle.UnpicklingError(f"it announces {argument} bytes, but has {len(program)}")


def load_arrays(stream: IO[bytes]) -> dict[str, "np.ndarray[Any, Any] | list[int]"]:
    """Read a pickled mapping of names to numpy arrays or lists of integers, running none of its code.

    Other values (strings, lists of file names) are left out. Only plain number types are admitted.

    Raises:
        ValueError: the pickle refers to any other name, is broken, or is not a mapping.

    Example:
        >>> import io
        >>> load_arrays(io.BytesIO(pickle.dumps({"a": np.arange(3), "b": [1], "c": "x"}, protocol=2)))
        {'a': array([0, 1, 2]), 'b': [1]}
        >>> load_arrays(io.BytesIO(pickle.dumps({"a": print})))
        Traceback (most recent call last):
        ValueError: the pickle is refused: it asks for builtins.print
    """
    try:
        program = stream.read(_LIMIT + 1)
        _check_sizes(program)
        # old pickles store byte strings as text
        content = _ArrayUnpickler(io.BytesIO(program), encoding="bytes").load()
    except Exception as error:  # a hostile or broken pickle can raise any exception
        raise ValueError(f"the pickle is refused: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"the pickle is refused: expected a mapping, got {type(content).__name__}")
    arrays: dict[str, np.ndarray[Any, Any] | list[int]] = {}
    for key, value in content.items():
        name = key.decode("latin1") if isinstance(key, bytes) else str(key)
        if isinstance(value, _Array) and hasattr(value, "value"):
            arrays[name] = value.value
        elif isinstance(value, list) and all(type(item) is int for item in value):
            arrays[name] = value
    return arrays
