"""One Linear-BatchNorm-ReLU block of a dense chain, for all runs of a stack."""

from typing import NamedTuple

import torch
from torch import Tensor

from byrote.networks.native import Kernels, address

__all__ = ["Block", "Shadow", "normalise", "padded", "run_of"]


def padded(size: int) -> int:
    """The next multiple of 32, the side of a block of tiles."""
    return -(-size // 32) * 32


class Shadow:
    """bfloat16 copies of one stacked weight (S, out, in), made again only after it has changed.

    They get new memory each time: a backward pass still to come keeps the weights its forward pass saw.
    """

    def __init__(self) -> None:
        self._rows: tuple[tuple[int, int] | None, list[Tensor]] = (None, [])
        self._tiles: tuple[tuple[int, int] | None, list[tuple[Tensor, Tensor]]] = (None, [])

    def rows(self, weight: Tensor, found: Kernels) -> list[Tensor]:
        """S matrices (out, in)."""
        state = (weight.data_ptr(), weight._version)
        if self._rows[0] != state:
            copy = torch.empty(weight.shape, dtype=torch.bfloat16)
            found.cast(address(weight), address(copy), weight.numel())
            self._rows = (state, list(copy.unbind(0)))
        return self._rows[1]

    def tiles(self, weight: Tensor, found: Kernels) -> list[tuple[Tensor, Tensor]]:
        """S pairs: (out, in) with `in` padded to tiles, and its transpose."""
        state = (weight.data_ptr(), weight._version)
        if self._tiles[0] != state:
            runs, outputs, inputs = weight.shape
            plain = torch.empty(runs, outputs, padded(inputs), dtype=torch.bfloat16)
            flipped = torch.empty(runs, padded(inputs), outputs, dtype=torch.bfloat16)
            for w, p, f in zip(weight.unbind(0), plain.unbind(0), flipped.unbind(0), strict=True):
                found.tiles_weights(address(w), outputs, inputs, padded(inputs), address(p), address(f))
            self._tiles = (state, list(zip(plain.unbind(0), flipped.unbind(0), strict=True)))
        return self._tiles[1]


class Block(NamedTuple):
    """The stacked states of one block, each with the leading axis of runs, and its bfloat16 weights."""

    weight: Tensor  # (S, out, in)
    bias: Tensor  # (S, out)
    gamma: Tensor
    beta: Tensor
    running_mean: Tensor
    running_var: Tensor
    batches: Tensor  # (S,)
    eps: float
    momentum: float
    shadow: Shadow


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
