"""Draw initial weights from a given generator, as torch's default initialization does from its global generator."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

__all__ = ["initialize", "unallocated"]

ModuleT = TypeVar("ModuleT", bound=nn.Module)


@contextmanager
def unallocated() -> Iterator[None]:
    """Modules made in this block have only shapes: no memory is allocated and no random numbers are drawn."""
    with torch.device("meta"):
        yield


def initialize(module: ModuleT, generator: torch.Generator) -> ModuleT:
    """Allocate memory and draw initial values for a module that was made in an `unallocated` block.

    Linear and convolution weights and biases are uniform on +-1/sqrt(fan_in) (torch's default: Kaiming-uniform
    with a = sqrt 5); normalization starts at scale 1, shift 0. Draws follow the order of the modules.

    Raises:
        TypeError: a module has parameters for which no initialization is defined here.
    """
    module.to_empty(device="cpu")
    for name, part in module.named_modules():
        if isinstance(part, nn.Linear | _ConvNd):
            nn.init.kaiming_uniform_(part.weight, a=math.sqrt(5), generator=generator)
            if part.bias is not None:
                bound = 1 / math.sqrt(part.weight[0].numel())
                nn.init.uniform_(part.bias, -bound, bound, generator=generator)
        elif isinstance(part, _BatchNorm):
            part.reset_parameters()
        elif next(part.parameters(recurse=False), None) is not None:
            raise TypeError(f"no initialization is defined for {type(part).__name__} at {name!r}")
    return module
