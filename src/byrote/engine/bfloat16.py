"""Prepare a plain module for bfloat16 products, with all sums in float32.

Convolutions and linear layers keep their class: the stack gives them bfloat16 casts of their float32 weights, made once
per step, and the activations between layers are bfloat16. Normalization computes its statistics in float32 (`Norm`).
The last product before the features is summed and kept in float32, so that the geometry of collapsed features is not
dominated by rounding.

On a processor without bfloat16 units a bfloat16 product takes at least twice as long as a float32 product. On such a
processor the rounded operands are multiplied in float32 and the result is rounded, which is equivalent and costs about
as much as float32.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from byrote.engine.batchnorm import Norm, replace_norms

__all__ = ["has_units", "narrow", "reduce", "reduced_names", "units", "units_in"]

_PRODUCTS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@functools.cache
def units() -> str:
    """The units of this processor that multiply bfloat16; see `units_in`."""
    about = Path("/proc/cpuinfo")
    return units_in(about.read_text() if about.exists() else "")


def has_units() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32."""
    return bool(units())


def units_in(cpuinfo: str) -> str:
    """The units that multiply bfloat16 faster than float32, found in a processor's description; "" if there are none.

    "matrix" means AMX and Armv8.6 BF16, which multiply whole blocks; "pairs" means AMD's AVX-512 BF16, on vector units.
    Intel's AVX-512 BF16 without AMX, as on a virtual machine that hides AMX, reached half the float32 rate (83 against
    162 GFLOP/s, torch 2.13, products of 1024); AMD's reached twice the float32 rate.

    >>> units_in("vendor_id: GenuineIntel flags: avx512_bf16"), units_in("vendor_id: AuthenticAMD flags: avx512_bf16")
    ('', 'pairs')
    """
    words = set(cpuinfo.replace(":", " ").split())
    if not words.isdisjoint({"amx_bf16", "bf16"}):
        return "matrix"
    return "pairs" if words >= {"avx512_bf16", "AuthenticAMD"} else ""


def reduce(module: nn.Module, compiled: bool, batched: bool) -> nn.Module:
    """Replace, in place, the layers that compute differently in bfloat16; returns the module.

    A layer keeps its class and its fields, which a user's module may inspect, but gets a different forward method.
    """
    replace_norms(module, compiled, widen=batched)
    for part in module.modules():
        if type(part) in _ROUNDED and not batched and not has_units():
            _give(part, _ROUNDED[type(part)])
    end = module
    while isinstance(end, nn.Sequential) and len(end):
        product, norm, last = [None, None, *end][-3:]
        if type(product) is nn.Linear and isinstance(norm, Norm) and isinstance(last, nn.ReLU):
            _give(product, _wide_linear)
        end = last
    return module


def _give(layer: nn.Module, forward: Callable[[Any, Tensor], Tensor]) -> None:
    layer.forward = functools.partial(forward, layer)


def _rounded_linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """A linear layer with bfloat16 operands and result, multiplied in float32 on a CPU."""
    return _wide_linear(layer, x).to(x.dtype) if x.is_cpu else nn.Linear.forward(layer, x)


def _rounded_conv(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """A convolution with bfloat16 operands and result, multiplied in float32 on a CPU."""
    if not x.is_cpu:
        return nn.Conv2d.forward(layer, x)
    bias = None if layer.bias is None else layer.bias.float()
    out: Tensor = layer._conv_forward(x.float(), layer.weight.float(), bias)
    return out.to(x.dtype)


def _wide_linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """A linear layer with bfloat16 operands, and float32 sums and result."""
    bias = None if layer.bias is None else layer.bias.float()
    return F.linear(x.float(), layer.weight.float(), bias)


_ROUNDED: dict[type[nn.Module], Callable[[Any, Tensor], Tensor]] = {
    nn.Linear: _rounded_linear,
    nn.Conv2d: _rounded_conv,
}


def reduced_names(module: nn.Module) -> frozenset[str]:
    """The names of the states that enter products and are therefore cast to bfloat16."""
    names = set()
    for path, part in module.named_modules():
        if isinstance(part, _PRODUCTS):
            names |= {f"{path}.{leaf}" if path else leaf for leaf, _ in part.named_parameters(recurse=False)}
    return frozenset(names)


def narrow(value: Tensor, channels_last: bool = True) -> Tensor:
    """Cast to bfloat16; with `channels_last`, the channels of images and filters also become adjacent in memory."""
    if channels_last and value.dim() == 4:
        return value.to(torch.bfloat16, memory_format=torch.channels_last)
    return value.to(torch.bfloat16)
