"""The arguments of kernels: structures with the same names and fields as structures in the C++ headers.

The fields are addresses (`library.address`) and counts; fields that a call does not use stay null.
"""

import ctypes

__all__ = ["BlockArguments", "ChainPass", "NormArguments"]

_POINTER, _COUNT, _REAL = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float


def _of(kind: type, names: str) -> list[tuple[str, type]]:
    return [(name, kind) for name in names.split()]


class NormArguments(ctypes.Structure):
    """`NormArguments` of norm.hpp: one batch normalization with its rectifier, in one direction."""

    _fields_ = [
        *_of(_POINTER, "x residual out gate dy dx dresidual gamma beta offset scale shift"),
        *_of(_POINTER, "running_mean running_var mean inverse dgamma dbeta"),
        *_of(_COUNT, "rows columns stride"),
        *_of(_REAL, "eps momentum floor"),
    ]


class BlockArguments(ctypes.Structure):
    """`Block` of dense.hpp: the stacked states of one block, and the addresses for its gradients or momenta (`to_`)."""

    _fields_ = [
        *_of(_POINTER, "weight bias gamma beta running_mean running_var batches"),
        *_of(_POINTER, "to_weight to_bias to_gamma to_beta"),
        *_of(_COUNT, "outputs inputs"),
        *_of(_REAL, "eps momentum"),
    ]


class ChainPass(ctypes.Structure):
    """`ChainPass` of dense.hpp: one run's pass through a chain of blocks, in one direction."""

    _fields_ = [
        ("blocks", ctypes.POINTER(BlockArguments)),
        *_of(_COUNT, "depth run"),
        *_of(_POINTER, "x"),
        *_of(_COUNT, "samples"),
        *_of(_POINTER, "index"),
        *_of(_COUNT, "rows"),
        *_of(_POINTER, "workspace features dy"),
        *_of(_REAL, "rate momentum decay"),
        *_of(ctypes.c_int32, "steps"),
    ]
