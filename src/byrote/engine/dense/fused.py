"""Dense chains in one call per direction: `dense_amx.cpp` for tile units, `dense_avx512.cpp` for vector units.

A block's product is normalized while it is in the innermost cache, and the input of the next product is written in the
layout that the next product reads. Weights are narrowed or rounded to bfloat16 when they are read; no copies are kept.
The last block, which computes the features, has the same types of operands as the others but computes everything after
its product in float32, as in `chain`.
"""

import ctypes
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from byrote.engine import bfloat16
from byrote.engine.dense.block import Block
from byrote.engine.kernels.arguments import BlockArguments, ChainPass
from byrote.engine.kernels.library import Kernels, Units, address, address_of
from byrote.engine.momentum import Descent

__all__ = ["Buffers", "Fused", "FusedChain", "evaluated", "units_for"]

_MOST = 64  # the most blocks of a chain
_CHUNK = 256  # samples per pass in evaluation, so that their activations stay in a core's cache
_STEPPED = ("weight", "bias", "gamma", "beta")
_STATES = (*_STEPPED, "running_mean", "running_var", "batches")


class Buffers:
    """Memory for passes, reused as soon as its graph is gone, because new memory costs page faults."""

    def __init__(self) -> None:
        self._free: dict[tuple[int, int], list[Tensor]] = defaultdict(list)

    def lend(self, runs: int, size: int) -> "_Loan":
        free = self._free[runs, size]
        return _Loan(free.pop() if free else torch.empty(runs, size, dtype=torch.uint8), free)


class _Loan:
    def __init__(self, memory: Tensor, home: list[Tensor]) -> None:
        self.memory = memory
        self._home = home

    def __del__(self) -> None:
        self._home.append(self.memory)


class FusedChain:
    """The blocks of a stack as arguments of the passes; the backward pass gives gradients or takes a step.

    Args:
        blocks: their states, whose memory must not move while this object is in use.
        units: the functions that compute the passes.
        buffers: the source of memory for the passes.
        descent: the descent whose step the backward pass takes; `momenta` are those of weight, bias, gamma and beta of
            each block.
    """

    def __init__(
        self, blocks: list[Block], units: Units, buffers: Buffers, descent: Descent | None, momenta: list[list[Tensor]]
    ) -> None:
        self.blocks, self.units, self.buffers, self.descent = blocks, units, buffers, descent
        self.stepped: list[Tensor] = [state for b in blocks for state in (b.weight, b.bias, b.gamma, b.beta)]
        # tensors that must not change after the forward pass; a descent changes all, so one suffices
        self.watched = [blocks[0].weight] if descent else [state for b in blocks for state in (b.weight, b.gamma)]
        self.runs, self.outputs, _ = blocks[-1].weight.shape
        # with a descent, one parameter is enough to make autograd call the backward pass
        self.states = [blocks[0].weight] if descent else self.stepped
        self.addresses = self.towards(momenta)

    def towards(self, targets: list[list[Tensor]]) -> "ctypes.Array[BlockArguments]":
        """The arguments of a pass; `targets` are gradients or momenta, or none for a forward pass."""
        return (BlockArguments * len(self.blocks))(
            *(
                BlockArguments(
                    *(address(getattr(block, name)) for name in _STATES),
                    *((address(t) for t in targets[i]) if targets else (None,) * len(_STEPPED)),
                    *block.weight.shape[1:],
                    block.eps,
                    block.momentum,
                )
                for i, block in enumerate(self.blocks)
            )
        )


def evaluated(x: Tensor, chain: FusedChain) -> Tensor:
    """Features (S, B, M) of x, (S, B, in) or shared (B, in), with the running statistics and without gradients."""
    arguments = ChainPass(chain.addresses, len(chain.blocks), rows=min(x.shape[-2], _CHUNK))
    loan = chain.buffers.lend(1, chain.units.bytes(arguments))
    arguments.workspace = address(loan.memory)
    features = torch.empty(chain.runs, x.shape[-2], chain.outputs, dtype=torch.float32)
    for s in range(chain.runs):
        samples = x if x.dim() == 2 else x[s]
        arguments.run = s
        for part, target in zip(samples.split(_CHUNK), features[s].split(_CHUNK), strict=True):
            arguments.x, arguments.rows, arguments.features = address(part), len(part), address(target)
            chain.units.evaluate(arguments)
    return features


def units_for(blocks: list[Block], precision: str, library: Kernels) -> tuple[str, Units] | None:
    """The units that compute a chain: "tiles", "vectors" or "pairs"; None if torch's products compute it.

    Tile units need hidden blocks whose widths are multiples of 32. Vector units compute in float32. For bfloat16 they
    multiply pairs if this is faster than float32, or rounded float32 operands if no units are faster
    (`bfloat16.units_in`).
    """
    if len(blocks) > _MOST:
        return None
    units = "" if precision == "fp32" else bfloat16.units()
    if units in ("", "pairs"):
        kind = "fp32" if precision == "fp32" else "bf16" if units else "rounded"
        return (units or "vectors", library.vectors[kind]) if kind in library.vectors else None
    hidden = blocks[:-1]
    fits = bool(hidden) and all(block.weight.shape[1] % 32 == 0 for block in hidden)
    return ("tiles", library.tiles) if library.tiles is not None and fits else None


class Fused(torch.autograd.Function):
    """Features (S, B, M) of x in training mode; no gradient for x.

    x is (S, B, in) or shared (B, in), or, with an index (S, B), the samples (n, in) from which the index selects rows.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor | None, chain: FusedChain, *states: Tensor) -> Tensor:
        x, index = x.contiguous(), None if index is None else index.long().contiguous()
        rows = x.shape[-2] if index is None else index.shape[-1]
        arguments = ChainPass(chain.addresses, len(chain.blocks), samples=x.shape[-2], rows=rows)
        loan = chain.buffers.lend(chain.runs, chain.units.bytes(arguments))
        features = torch.empty(chain.runs, rows, chain.outputs, dtype=torch.float32)
        for s in range(chain.runs):
            arguments.run, arguments.x = s, address(x) if x.dim() == 2 else address_of(x, s)
            arguments.index = None if index is None else address_of(index, s)
            arguments.workspace, arguments.features = address_of(loan.memory, s), address_of(features, s)
            if chain.units.forward(arguments):
                raise IndexError(f"an index into {x.shape[-2]} samples must lie within 0..{x.shape[-2] - 1}")
        ctx.save_for_backward(*chain.watched)
        ctx.chain, ctx.loan, ctx.stepped = chain, loan, False
        return features

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        chain: FusedChain = ctx.chain
        descent, dy = chain.descent, upstream[0].contiguous()
        if descent and ctx.stepped:
            raise RuntimeError("with a descent, a graph allows only one backward pass, which changes the weights")
        ctx.stepped, _ = True, ctx.saved_tensors
        gradients = [] if descent else [[torch.empty_like(state) for state in block[:4]] for block in chain.blocks]
        blocks = chain.addresses if descent else chain.towards(gradients)
        arguments = ChainPass(blocks, len(chain.blocks), rows=dy.shape[1], steps=descent is not None)
        for s in range(chain.runs):
            arguments.run, arguments.dy = s, address_of(dy, s)
            arguments.workspace = address_of(ctx.loan.memory, s)
            if descent:
                arguments.rate, arguments.decay = descent.rates[s], descent.decays[s]
                arguments.momentum = descent.momentum
            chain.units.backward(arguments)
        if descent:
            torch.autograd.graph.increment_version(chain.stepped)
        return None, None, None, *((None,) if descent else (gradient for block in gradients for gradient in block))
