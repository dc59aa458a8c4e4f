"""A plain module made ready for bfloat16 products with everything that adds up kept in float32.

Convolutions and linear layers keep their class: the stack binds bfloat16 casts of their float32 weights, made once a
step, and the activations between layers are bfloat16. Normalisation computes its statistics in float32 (`Norm`).
The last product before the features is summed and kept in float32, so that the geometry of collapsed features is
not that of the rounding grid.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from byrote.networks.norm import Norm

__all__ = ["Wide", "narrow", "reduce", "reduced_names"]

_PRODUCTS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Wide(nn.Linear):
    """A linear layer whose operands are bfloat16 and whose sums and result are float32."""

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.float()
        return F.linear(x.float(), self.weight.float(), bias)


def reduce(module: nn.Module, compiled: bool, batched: bool) -> nn.Module:
    """Replace, in place, what computes differently in bfloat16; returns the module."""
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm):
            setattr(module, name, Norm(child, compiled, widen=batched))
        else:
            reduce(child, compiled, batched)
    if isinstance(module, nn.Sequential) and len(module) >= 3:
        product, norm, last = module[-3], module[-2], module[-1]
        if isinstance(product, nn.Linear) and isinstance(norm, Norm) and isinstance(last, nn.ReLU):
            product.__class__ = Wide
    return module


def reduced_names(module: nn.Module) -> frozenset[str]:
    """The states that enter products, and are therefore cast to bfloat16."""
    names = set()
    for path, part in module.named_modules():
        if isinstance(part, _PRODUCTS):
            names |= {f"{path}.{leaf}" if path else leaf for leaf, _ in part.named_parameters(recurse=False)}
    return frozenset(names)


def narrow(value: Tensor, side_by_side: bool = True) -> Tensor:
    """Cast to bfloat16; `side_by_side` also lays the channels of images and filters next to each other."""
    if side_by_side and value.dim() == 4:
        return value.to(torch.bfloat16, memory_format=torch.channels_last)
    return value.to(torch.bfloat16)
