"""The backward pass of a dense chain either stores gradients for an optimizer or uses them for a descent's step at
once.

A weight's gradient that is used at once is still in cache and does not have to be written to memory.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from byrote.engine.dense.block import Block
from byrote.engine.dense.matmul import Products
from byrote.engine.kernels.library import address, address_of
from byrote.engine.momentum import Descent

__all__ = ["Gradients", "Steps"]


class Gradients:
    """Stores every gradient in its run's slice of a stacked tensor."""

    def __init__(self, blocks: Sequence[Block], products: Products) -> None:
        self._blocks, self._products = blocks, products
        self._gradients = [[torch.empty_like(state) for state in (b.weight, b.gamma, b.beta)] for b in blocks]
        self._weights = [dweight.unbind(0) for dweight, *_ in self._gradients]

    def of_norm(self, i: int, s: int) -> tuple[int, int]:
        """The addresses to which the gradients of gamma and beta of block i and run s are written."""
        _, dgamma, dbeta = self._gradients[i]
        return address_of(dgamma, s), address_of(dbeta, s)

    def close(self, i: int, s: int, da: Tensor, h: Tensor) -> None:
        """Finish the backward pass of block i of run s, whose weight has the gradient da^T h."""
        self._products.weight_gradient(da, h, self._weights[i][s], i == len(self._blocks) - 1)

    def returned(self) -> list[Tensor | None]:
        """The gradients of weight, bias, gamma and beta of each block; the bias before a normalization has none."""
        flat: list[Tensor | None] = []
        for block, (dweight, dgamma, dbeta) in zip(self._blocks, self._gradients, strict=True):
            flat += [dweight, torch.zeros_like(block.bias), dgamma, dbeta]
        return flat


class Steps:
    """Updates every parameter as soon as its gradient is known and its old value is no longer needed.

    Args:
        momenta: the momenta of weight, bias, gamma and beta of each block.
    """

    def __init__(
        self, blocks: Sequence[Block], products: Products, descent: Descent, momenta: Sequence[Sequence[Tensor]]
    ) -> None:
        self._blocks, self._products, self._descent, self._momenta = blocks, products, descent, momenta
        widest = max(block.weight.shape[1] for block in blocks)
        self._norm = torch.empty(2, widest, dtype=torch.float32)
        self._buffers = {block.weight.shape[1:]: torch.empty_like(block.weight[0]) for block in blocks}

    def of_norm(self, i: int, s: int) -> tuple[int, int]:
        """The addresses to which the gradients of gamma and beta are written until `close` uses them."""
        return address_of(self._norm, 0), address_of(self._norm, 1)

    def close(self, i: int, s: int, da: Tensor, h: Tensor) -> None:
        """Finish the backward pass of block i of run s, whose weight has the gradient da^T h, by updating its
        parameters."""
        block, last = self._blocks[i], i == len(self._blocks) - 1
        step = self._descent.rates[s], self._descent.momentum, self._descent.decays[s]
        slope = self._products.slope(da, h, self._buffers[block.weight.shape[1:]], last)
        fp32 = self._products.library.fp32
        norm_kernels = fp32 if last else self._products.norm_kernels
        weight, *others = self._momenta[i]
        norm_kernels.momentum_step(
            address(slope), address_of(weight, s), address_of(block.weight, s), slope.numel(), *step
        )
        gradients = (None, *self.of_norm(i, s))  # the bias before a normalization has no gradient
        for momenta, state, gradient in zip(others, (block.bias, block.gamma, block.beta), gradients, strict=True):
            fp32.momentum_step(gradient, address_of(momenta, s), address_of(state, s), state.shape[1], *step)

    def returned(self) -> list[Tensor | None]:
        """No gradient, for the one parameter that makes autograd call the backward pass.

        It marks the parameters as changed, so that autograd refuses graphs that were made before.
        """
        torch.autograd.graph.increment_version([state for block in self._blocks for state in block[:4]])
        return [None]
