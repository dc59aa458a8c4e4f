"""Dense chains of all runs side by side, for accelerators: one batched product a layer, in torch's operators.

Between products lie a few operators on (S, B, features), which `compile_with` lets a compiler join. In "bf16" products
have bfloat16 operands; the last block's sums, normalisation, states and their gradients are float32, as in `dense`. As
there, the bias before a normalisation moves the running mean alone in training, and its gradient is exactly 0.

In descent the products of "bf16" read copies that the step has narrowed, and leave bfloat16 gradients in them.
Compiled, that is 26 bytes a weight: 6 of the products, 20 of the step.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from byrote.networks.blocks import Block
from byrote.networks.compiled import InOneGraph
from byrote.networks.dense import DenseStack
from byrote.networks.descent import AtOnce

__all__ = ["SideBySide"]

log = logging.getLogger("byrote")


class SideBySide(DenseStack):
    """A stack of dense chains that computes all runs at once. A run's bits depend on the products its cohort takes."""

    def __init__(self, copies: Sequence[nn.Module], rank: int, precision: str) -> None:
        super().__init__(copies, rank, precision, compiled=False)
        self.batched = True
        self.at_once = AtOnce()
        self._through: Callable[[Tensor, list[Tensor]], Tensor] = self._chain_of_all

    def compile_with(self, **options: Any) -> None:
        """From now on passes, and in descent the step, are compiled by `torch.compile(..., **options)`.

        Where that fails they are not, said once.
        """

        def refused(error: Exception) -> None:
            log.info("the step cannot be compiled here (%s): it runs uncompiled", str(error).split("\n")[0])
            self.at_once.leave_uncompiled()

        self._through = through = InOneGraph(self._chain_of_all, refused, **options)
        if through.works:
            self.at_once.compile_with(**options)

    def forward(self, x: Tensor, index: Tensor | None = None) -> Tensor:  # (B, ...) or (S, B, ...) -> (S, B, M)
        x = self.rows(x, index, self._blocks()[0].weight.shape[-1])
        if index is not None:
            x = x.index_select(0, index.reshape(-1)).unflatten(0, index.shape)
        return self._through(x.expand(self.runs, *x.shape[-2:]), self._weights())

    def _weights(self) -> list[Tensor]:
        """The weights of all blocks but the last as they enter their products; in descent, narrowed ones are kept."""
        weights = [block.weight for block in self._blocks()[:-1]]
        if self.descent is not None and self.precision == "bf16":
            return self.at_once.narrowed(weights)
        return weights

    def _chain_of_all(self, h: Tensor, weights: list[Tensor]) -> Tensor:
        blocks = self._blocks()
        for block, weight in zip(blocks[:-1], weights, strict=True):
            h = self._normalised(block, _product(h, weight, self.precision == "bf16"))
        last = blocks[-1]
        if self.precision == "bf16":
            a = _product(h.bfloat16().float(), last.weight.bfloat16().float(), narrow=False)
        else:
            a = _product(h, last.weight, narrow=False)
        return self._normalised(last, a)

    def _normalised(self, block: Block, a: Tensor) -> Tensor:
        """max(0, BN(a + bias)) of every run."""
        if self.training:
            var, mean = torch.var_mean(a, 1, correction=0, keepdim=True)
            self._move(block, mean[:, 0].detach(), var[:, 0].detach(), a.shape[1])
        else:
            mean, var = (block.running_mean - block.bias)[:, None], block.running_var[:, None]
        scale = (var + block.eps).rsqrt() * block.gamma[:, None]
        bias = block.bias[:, None] * 0 if self.training else 0.0  # its gradient is 0, not missing
        return F.relu((a - mean) * scale + block.beta[:, None] + bias)

    @torch.no_grad()
    def _move(self, block: Block, mean: Tensor, var: Tensor, rows: int) -> None:
        block.running_mean.lerp_(mean + block.bias, block.momentum)
        block.running_var.lerp_(var * (rows / (rows - 1)), block.momentum)
        block.batches.add_(1)

    def descends(self) -> bool:
        return False

    def __getstate__(self) -> dict[str, object]:
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name not in ("_through", "at_once")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.at_once = AtOnce()
        self._through = self._chain_of_all  # a copy is compiled anew, if at all


def _product(h: Tensor, weight: Tensor, narrow: bool) -> Tensor:
    """(S, B, in) x (S, out, in) -> (S, B, out), float32."""
    if weight.dtype == torch.bfloat16:
        out: Tensor = _Narrow.apply(h.bfloat16(), weight).float()  # type: ignore[no-untyped-call]
        return out
    if narrow:
        return torch.bmm(h.bfloat16(), weight.bfloat16().transpose(1, 2)).float()
    return torch.bmm(h, weight.transpose(1, 2))


class _Narrow(torch.autograd.Function):
    """h W^T. The gradient of W is made in the layout of W; torch's own is transposed, and laid out in another pass."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(h, weight)
        return torch.bmm(h, weight.transpose(1, 2))

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (da,), (h, weight) = upstream, ctx.saved_tensors
        dh = torch.bmm(da, weight) if ctx.needs_input_grad[0] else None
        dweight = torch.bmm(da.transpose(1, 2), h) if ctx.needs_input_grad[1] else None
        return dh, dweight
