"""One Linear-BatchNorm-ReLU block of a dense chain, for all runs of a stack."""

from typing import NamedTuple

import torch
from torch import Tensor

from byrote.networks.native import Kernels, address

__all__ = ["Block", "normalise", "operands", "run_of"]


def operands(weight: Tensor, dtype: torch.dtype, found: Kernels) -> list[Tensor]:
    """A stacked weight (S, out, in) as products take it: S matrices (out, in), bfloat16 copies or the weight itself.

    Copies are made in every forward pass: torch's fused optimisers change a tensor without counting up its version, so
    nothing tells an old copy from a fresh one.
    """
    if dtype == weight.dtype:
        return list(weight.detach().unbind(0))
    copy = torch.empty(weight.shape, dtype=torch.bfloat16)
    found.cast(address(weight), address(copy), weight.numel())
    return list(copy.unbind(0))


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


def normalise(block: Block, s: int, a: Tensor, out: Tensor, found: Kernels) -> tuple[Tensor, Tensor]:
    """out = max(0, BN(a)) in training mode; returns the batch's mean and 1/std and moves the running statistics."""
    rows, columns = a.shape
    mean, inverse = torch.empty(2, columns).unbind()
    run = found.norm_forward_bf16 if a.dtype == torch.bfloat16 else found.norm_forward_fp32
    run(
        *(address(a), None, address(out), rows, columns, address(block.gamma[s]), address(block.beta[s])),
        *(address(block.bias[s]), block.eps, block.momentum),
        *(address(block.running_mean[s]), address(block.running_var[s]), address(mean), address(inverse), 0.0),
    )
    return mean, inverse


def run_of(x: Tensor, s: int) -> Tensor:
    """Run s of a stacked batch; the batch itself where it is shared."""
    return x if x.dim() == 2 else x[s]
