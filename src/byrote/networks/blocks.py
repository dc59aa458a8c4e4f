"""One Linear-BatchNorm-ReLU block of a dense chain, for all runs of a stack."""

from typing import NamedTuple

import torch
from torch import Tensor

from byrote.networks.native import Passes, address, address_of

__all__ = ["Block", "normalise", "run_of"]


class Block(NamedTuple):
    """The stacked states of one block, each with the leading axis of runs."""

    weight: Tensor  # (S, out, in)
    bias: Tensor  # (S, out)
    gamma: Tensor
    beta: Tensor
    running_mean: Tensor
    running_var: Tensor
    batches: Tensor  # (S,)
    eps: float
    momentum: float


def normalise(block: Block, s: int, a: Tensor, out: Tensor, passes: Passes) -> Tensor:
    """out = max(0, BN(a)) in training mode; moves the running statistics, returns mean and 1/std (2, out)."""
    rows, columns = a.shape
    found = torch.empty(2, columns, dtype=torch.float32)
    passes.norm_forward(
        *(address(a), None, address(out), rows, columns, address_of(block.gamma, s), address_of(block.beta, s)),
        *(address_of(block.bias, s), block.eps, block.momentum),
        *(address_of(block.running_mean, s), address_of(block.running_var, s)),
        *(address_of(found, 0), address_of(found, 1), 0.0),
    )
    return found


def run_of(x: Tensor, s: int) -> Tensor:
    """Run s of a stacked batch; the batch itself where it is shared."""
    return x if x.dim() == 2 else x[s]
