"""Dense chains on a processor's tile units (AMX): see `tiles.cpp` for the layouts.

All blocks of a run are one call forward and one backward. A block's product is normalised while it lies in the
innermost cache, and what the next product needs leaves that visit in the layout the tiles read. Weights are narrowed to
bfloat16 on their way to the tiles: no narrow copy of them outlives the pass. The last block, which makes the features,
has bfloat16 operands and computes everything after its product in float32, as in `dense`.
"""

import ctypes
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor

from byrote.networks.blocks import Block
from byrote.networks.descent import Descent
from byrote.networks.native import Kernels, address

__all__ = ["Rooms", "Tiled", "TiledChain", "fits_tiles"]

_MOST = 64  # blocks that `tiles.cpp` has room for
_STEPPED = ("weight", "bias", "gamma", "beta")
_HELD = (*_STEPPED, "running_mean", "running_var", "batches")


class _Block(ctypes.Structure):
    """`Block` of tiles.cpp."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in _HELD),
        *((f"to_{name}", ctypes.c_void_p) for name in _STEPPED),
        *(("outputs", ctypes.c_int64), ("inputs", ctypes.c_int64)),
        *(("eps", ctypes.c_float), ("momentum", ctypes.c_float)),
    )


class Rooms:
    """Memory for passes, lent again as soon as the graph that held it is gone: fresh memory costs page faults."""

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


class TiledChain:
    """The blocks of a stack as tiles.cpp takes them, and how their backward pass ends: in gradients or a step.

    Args:
        blocks: states whose memory stays where it is as long as this is used.
        found: the kernels.
        rooms: where memory for the passes comes from.
        descent: its momenta are `momenta`, those of weight, bias, gamma and beta of each block.
    """

    def __init__(
        self, blocks: list[Block], found: Kernels, rooms: Rooms, descent: Descent | None, momenta: list[list[Tensor]]
    ) -> None:
        self.blocks, self.found, self.rooms, self.descent = blocks, found, rooms, descent
        self.weights, self.gammas = [b.weight for b in blocks], [b.gamma for b in blocks]
        self.runs, self.outputs, _ = blocks[-1].weight.shape
        # in descent one parameter is enough to make autograd call the backward pass
        self.states = [blocks[0].weight] if descent else [state for block in blocks for state in block[: len(_STEPPED)]]
        self.addresses = self.towards(momenta)

    def towards(self, targets: list[list[Tensor]]) -> "ctypes.Array[_Block]":
        """What tiles.cpp takes; `targets` are gradients or momenta, or none for a forward pass."""
        return (_Block * len(self.blocks))(
            *(
                _Block(
                    *(address(getattr(block, name)) for name in _HELD),
                    *((address(t) for t in targets[i]) if targets else (None,) * len(_STEPPED)),
                    *block.weight.shape[1:],
                    block.eps,
                    block.momentum,
                )
                for i, block in enumerate(self.blocks)
            )
        )


def fits_tiles(blocks: list[Block], found: Kernels) -> bool:
    """Are there tile units, and hidden blocks whose widths are multiples of 32?"""
    hidden = blocks[:-1]
    few = len(blocks) <= _MOST
    return found.has_tiles and bool(hidden) and few and all(block.weight.shape[1] % 32 == 0 for block in hidden)


class Tiled(torch.autograd.Function):
    """Features (S, B, M) of x in training mode; no gradient for x.

    x is (S, B, in) or shared (B, in), or with an index (S, B) the samples (n, in) whose rows it names.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor | None, chain: TiledChain, *states: Tensor) -> Tensor:
        found, passed, depth = chain.found, chain.addresses, len(chain.blocks)
        x, index = x.contiguous(), None if index is None else index.contiguous()
        rows = x.shape[-2] if index is None else index.shape[-1]
        loan = chain.rooms.lend(chain.runs, found.chain_room(passed, depth, rows))
        features = torch.empty(chain.runs, rows, chain.outputs)
        for s in range(chain.runs):
            batch = address(x if x.dim() == 2 else x[s])
            order = None if index is None else address(index[s])
            memory, target = address(loan.memory[s]), address(features[s])
            if found.chain_forward(passed, depth, s, batch, x.shape[-2], order, rows, memory, target):
                raise IndexError(f"a batch of {x.shape[-2]} samples needs an index within 0..{x.shape[-2] - 1}")
        if chain.descent is None:  # refuses weights changed meanwhile: they are read again
            ctx.save_for_backward(*chain.gammas, *chain.weights)
        ctx.chain, ctx.loan, ctx.stepped = chain, loan, False
        return features

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        chain: TiledChain = ctx.chain
        _ = ctx.saved_tensors
        descent, depth, dy = chain.descent, len(chain.blocks), upstream[0].contiguous()
        if descent and ctx.stepped:
            raise RuntimeError("a graph in descent can be passed backward once, its weights have moved on")
        ctx.stepped = True
        gradients = [] if descent else [[torch.empty_like(state) for state in block[:4]] for block in chain.blocks]
        passed = chain.addresses if descent else chain.towards(gradients)
        for s in range(chain.runs):
            step = (descent.rates[s], descent.momentum, descent.decays[s], 1) if descent else (0.0, 0.0, 0.0, 0)
            memory = address(ctx.loan.memory[s])
            chain.found.chain_backward(passed, depth, s, address(dy[s]), dy.shape[1], memory, *step)
        return None, None, None, *((None,) if descent else (gradient for block in gradients for gradient in block))
