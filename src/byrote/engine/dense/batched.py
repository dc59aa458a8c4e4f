"""Dense chains of all runs in parallel, for accelerators: one batched product per layer, with torch's operators.

Between products there are a few operators on (S, B, features), which the compiler fuses after `compile_with`. In
"bf16", products have bfloat16 operands. The sums and the normalization of the last block, all states and their
gradients are float32, as in `chain`. As in `chain`, the bias before a normalization changes only the running mean in
training, and its gradient is exactly 0.

With a descent (`momentum.Descent`), "bf16" products read the weights from bfloat16 copies, which each step updates,
and bfloat16 gradients are stored in the copies. If compiled, a training step moves 26 bytes per weight: 6 in the
products and 20 in the update.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from byrote.engine.compiled import CompiledFunction
from byrote.engine.dense.block import Block, blocks_of, norms_of, rows_of
from byrote.engine.ensemble import Ensemble
from byrote.engine.momentum import BatchedStep
from byrote.engine.run_by_run import gathered

__all__ = ["BatchedChain"]

log = logging.getLogger("byrote")


class BatchedChain:
    """Dense chains of all runs at once. A run's bits depend on the batched products that its cohort uses.

    Args:
        chain: one of the modules, of which only the structure is used.
        precision: "fp32", or "bf16" for products in bfloat16.
    """

    batched = True

    def __init__(self, chain: nn.Module, precision: str = "fp32") -> None:
        self.precision = precision
        self._norms = norms_of(chain)
        self.batched_step = BatchedStep()
        self._pass: Callable[..., Tensor] = _features

    def compile_with(self, **options: Any) -> None:
        """Compile further passes, and the step of a descent, by `torch.compile(..., **options)`.

        If compilation fails, they run uncompiled, with one warning.
        """

        def refused(error: Exception) -> None:
            log.info("the step cannot be compiled here (%s): it runs uncompiled", str(error).split("\n")[0])
            self.batched_step.leave_uncompiled()

        self._pass = compiled = CompiledFunction(_features, refused, **options)
        if compiled.works:
            self.batched_step.compile_with(**options)

    def forward(self, ensemble: Ensemble, x: Tensor, index: Tensor | None) -> Tensor:
        """See `Ensemble.forward`: (B, ...) or (S, B, ...) -> (S, B, M)."""
        blocks = blocks_of(ensemble, self._norms)
        x = gathered(rows_of(ensemble, x, index, blocks[0].weight.shape[-1]), index)
        h, weights = x.expand(ensemble.runs, *x.shape[-2:]), self.weights(ensemble)
        return self._pass(h, weights, blocks, ensemble.training, self.precision == "bf16")

    def weights(self, ensemble: Ensemble) -> list[Tensor]:
        """The weights of all blocks except the last, in the type of their products; with a descent, these are bfloat16
        copies."""
        weights = [block.weight for block in blocks_of(ensemble, self._norms)[:-1]]
        if ensemble.descent is not None and self.precision == "bf16":
            return self.batched_step.narrowed(weights)
        return weights

    def way(self, ensemble: Ensemble) -> str:
        """Always "batched"."""
        return "batched"

    def uses_kernels(self) -> bool:
        """False, because a kernel computes one run at a time."""
        return False

    def steps_backward(self) -> bool:
        """False, because the step of all runs is taken at once after the backward pass."""
        return False

    def __getstate__(self) -> dict[str, object]:
        # a copy of this object must be compiled again, and has no narrowed weights
        return {**self.__dict__, "batched_step": BatchedStep(), "_pass": _features}


def _features(h: Tensor, weights: Sequence[Tensor], blocks: Sequence[Block], training: bool, narrow: bool) -> Tensor:
    """(S, B, in) -> (S, B, M). `weights` are the weights of all blocks except the last, in the type of their
    products."""
    for block, weight in zip(blocks[:-1], weights, strict=True):
        h = _normalized(block, _product(h, weight, narrow), training)
    last = blocks[-1]
    if narrow:
        a = _product(h.bfloat16().float(), last.weight.bfloat16().float(), narrow=False)
    else:
        a = _product(h, last.weight, narrow=False)
    return _normalized(last, a, training)


def _normalized(block: Block, a: Tensor, training: bool) -> Tensor:
    """max(0, BN(a + bias)) of every run."""
    if training:
        var, mean = torch.var_mean(a, 1, correction=0, keepdim=True)
        _move(block, mean[:, 0].detach(), var[:, 0].detach(), a.shape[1])
    else:
        mean, var = (block.running_mean - block.bias)[:, None], block.running_var[:, None]
    scale = (var + block.eps).rsqrt() * block.gamma[:, None]
    bias = block.bias[:, None] * 0 if training else 0.0  # so that its gradient is 0 and not None
    return F.relu((a - mean) * scale + block.beta[:, None] + bias)


@torch.no_grad()
def _move(block: Block, mean: Tensor, var: Tensor, rows: int) -> None:
    """Update the running statistics by one batch."""
    block.running_mean.lerp_(mean + block.bias, block.momentum)
    block.running_var.lerp_(var * (rows / (rows - 1)), block.momentum)
    block.batches.add_(1)


def _product(h: Tensor, weight: Tensor, narrow: bool) -> Tensor:
    """(S, B, in) x (S, out, in) -> (S, B, out), float32."""
    if weight.dtype == torch.bfloat16:
        out: Tensor = _Narrow.apply(h.bfloat16(), weight).float()  # type: ignore[no-untyped-call]
        return out
    if narrow:
        return torch.bmm(h.bfloat16(), weight.bfloat16().transpose(1, 2)).float()
    return torch.bmm(h, weight.transpose(1, 2))


class _Narrow(torch.autograd.Function):
    """h W^T, with a gradient of W that has the layout of W; torch's own gradient is transposed and needs one more
    pass."""

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
