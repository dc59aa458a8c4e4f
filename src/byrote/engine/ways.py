"""A table of the ways to compute a step of training: file, processor, and precision.

`network.features.way()` returns the name of the row that applies to the network on its current device.
"""

from typing import NamedTuple

__all__ = ["WAYS", "Way"]


class Way(NamedTuple):
    """One way to compute a step of training."""

    name: str
    modules: str
    precision: str
    where: str
    file: str  # in `byrote/engine`
    step: str


_DENSE, _ONE_CALL = "dense chain", "one call forward, one backward"
WAYS = (
    Way("tiles", f"{_DENSE}, hidden widths multiples of 32", "bf16", "CPU, tile units (AMX)",
        "kernels/dense_amx.cpp", _ONE_CALL),
    Way("pairs", _DENSE, "bf16", "CPU, AMD's AVX-512 BF16", "kernels/dense_avx512.cpp", _ONE_CALL),
    Way("vectors", _DENSE, "fp32; bf16 if no units multiply it faster", "CPU, AVX-512",
        "kernels/dense_avx512.cpp", _ONE_CALL),
    Way("products", _DENSE, "any", "CPU, a C++ compiler", "dense/matmul.py",
        "torch's products, one compiled pass per block and direction between them (`kernels/norm.cpp`)"),
    Way("batched", _DENSE, "any", "accelerator, `batched`",
        "dense/batched.py", "one batched product per layer of all runs"),
    Way("layers", "any with normalization; in fp32 only `torch.nn` layers", "any", "CPU, a C++ compiler",
        "kernels/norm.cpp", "torch's products, one compiled pass per normalization and direction"),
    Way("plain", "any", "any", "any", "run_by_run.py", "the plain module in torch's operators"),
    Way("vmap", "any but a dense chain", "any", "any, `batched`",
        "run_by_run.py", "the plain module under `torch.func.vmap`"),
)  # fmt: skip
