"""Dense chains on a processor's tile units (AMX): see `tiles.cpp` for the layouts.

A block's product is normalised while it lies in the innermost cache, and what the next product needs leaves that
visit in the layout the tiles read. Weights are narrowed to bfloat16 32 rows (backward: 32 columns) at a time on their
way to the tiles: no narrow copy of them is written to memory, whose speed limits a step of a small batch. The last block,
which makes the features, is computed in float32 as in `dense`.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from byrote.networks.blocks import Block, normalise, padded, run_of
from byrote.networks.native import Kernels, address

__all__ = ["Tiled", "fits_tiles"]


class _Trace(NamedTuple):
    """What the backward pass of one hidden block and run needs."""

    h: Tensor  # the input as flips
    xhat: Tensor  # (out, P), bfloat16
    gates: Tensor  # (out, P / 16), one bit a sample
    inverse: Tensor  # (out,)


class _Last(NamedTuple):
    """What the backward pass of the last block needs."""

    h: Tensor  # (in, B), float32
    weight: Tensor  # (out, in), float32 holding bfloat16 values
    a: Tensor  # (B, out)
    mean: Tensor
    inverse: Tensor


def fits_tiles(blocks: list[Block], found: Kernels) -> bool:
    """Are there tile units, and hidden blocks whose widths are multiples of 32?"""
    hidden = blocks[:-1]
    return found.has_tiles and bool(hidden) and all(block.weight.shape[1] % 32 == 0 for block in hidden)


def _pack(x: Tensor, found: Kernels) -> tuple[Tensor, Tensor]:
    """A batch (B, in) as pairs and as flips."""
    rows, inputs = x.shape
    plain, pairs, flips = torch.empty(3, padded(rows), padded(inputs), dtype=torch.bfloat16).unbind()
    x = x.contiguous()
    found.tiles_input(
        *(address(x), rows, inputs, padded(rows), padded(inputs), address(plain), address(pairs), address(flips))
    )
    return pairs, flips


class _Scratch:
    """What a pass writes and reads again at once, in memory that stays in the caches from block to block."""

    def __init__(self, blocks: list[Block], rows: int) -> None:
        widest = max(padded(size) for block in blocks for size in block.weight.shape[1:])
        self.slab = torch.empty(32 * widest, dtype=torch.bfloat16)  # 32 rows or columns of weights
        self.room = torch.empty(32 * padded(rows))  # 32 features of the batch
        self.plain = torch.empty(widest, padded(rows), dtype=torch.bfloat16)
        self._pairs = [torch.empty(widest * padded(rows), dtype=torch.bfloat16) for _ in range(2)]

    def pairs(self) -> Tensor:
        """Room for one block's output; that of the block before stays as it is."""
        self._pairs.reverse()
        return self._pairs[0]


def _hidden(
    block: Block, s: int, pairs: Tensor, flips: Tensor, rows: int, scratch: _Scratch, found: Kernels
) -> tuple[Tensor, Tensor, _Trace]:
    """One hidden block forward: its output as pairs and flips (as plain in the scratch), and the trace."""
    _, outputs, inputs = block.weight.shape
    wide = padded(rows)
    xhat, out_flips = torch.empty(2, outputs, wide, dtype=torch.bfloat16).unbind()
    gates = torch.empty(outputs, wide // 16, dtype=torch.int16)
    inverse, out_pairs = torch.empty(outputs), scratch.pairs()
    found.tiles_forward(
        *(address(block.weight[s]), address(pairs), outputs, inputs, padded(inputs), rows, wide),
        *(address(block.gamma[s]), address(block.beta[s]), address(block.bias[s]), block.eps, block.momentum),
        *(address(block.running_mean[s]), address(block.running_var[s]), address(inverse), address(xhat)),
        *(address(gates), address(scratch.plain), address(out_pairs), address(out_flips)),
        *(address(scratch.slab), address(scratch.room)),
    )
    return out_pairs, out_flips, _Trace(flips, xhat, gates, inverse)


class Tiled(torch.autograd.Function):
    """Features (S, B, M) of x, (S, B, in) or shared (B, in), in training mode; no gradient for x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, blocks: list[Block], found: Kernels, *states: Tensor) -> Tensor:
        last, rows = blocks[-1], x.shape[-2]
        runs = len(last.weight)
        features = torch.empty(runs, rows, last.weight.shape[1])
        scratch = _Scratch(blocks, rows)
        shared = _pack(x, found) if x.dim() == 2 else None
        traces: list[tuple[list[_Trace], _Last]] = []
        for s in range(runs):
            pairs, flips = shared or _pack(run_of(x, s), found)
            trace = []
            for block in blocks[:-1]:
                pairs, flips, step = _hidden(block, s, pairs, flips, rows, scratch, found)
                trace.append(step)
            h = scratch.plain[: last.weight.shape[2], :rows].float()
            narrow = last.weight[s].to(torch.bfloat16).float()
            a = (narrow @ h).t().contiguous()
            traces.append((trace, _Last(h, narrow, a, *normalise(last, s, a, features[s], found))))
        ctx.save_for_backward(features, *(block.gamma for block in blocks), *(block.weight for block in blocks))
        ctx.blocks, ctx.found, ctx.traces = blocks, found, traces
        return features

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        blocks: list[Block] = ctx.blocks
        features, *states = ctx.saved_tensors
        gammas, weights = states[: len(blocks)], states[len(blocks) :]
        grads = [[torch.empty_like(state) for state in (b.weight, b.gamma, b.beta)] for b in blocks]
        upward = upstream[0].contiguous()
        rows = upward.shape[1]
        scratch = _Scratch(blocks, rows)
        for s, (trace, last) in enumerate(ctx.traces):
            dy = _last_backward(last, features[s], upward[s], gammas[-1][s], [g[s] for g in grads[-1]], ctx.found)
            behind: tuple[Tensor, Tensor] | None = None  # weights and da of the block behind
            for i in reversed(range(len(trace))):
                step, into = trace[i], [g[s] for g in grads[i]]
                pairs = _hidden_backward(step, dy, behind, gammas[i][s], into, rows, scratch, ctx.found)
                behind = (weights[i][s], pairs)
        flat: list[Tensor] = []
        for block, (dweight, dgamma, dbeta) in zip(blocks, grads, strict=True):
            flat += [dweight, torch.zeros_like(block.bias), dgamma, dbeta]
        return None, None, None, *flat


def _last_backward(last: _Last, out: Tensor, dy: Tensor, gamma: Tensor, into: list[Tensor], found: Kernels) -> Tensor:
    """Gradients of the last block; returns that of its input, (in, P), padding 0."""
    da = torch.empty_like(last.a)
    found.norm_backward_fp32(
        *(address(last.a), address(out), address(dy), address(da), None, *last.a.shape, address(gamma)),
        *(address(last.mean), address(last.inverse), address(into[1]), address(into[2]), 0.0),
    )
    torch.mm(da.t(), last.h.t(), out=into[0])
    inputs, rows = last.h.shape
    below = torch.zeros(inputs, padded(rows))
    below[:, :rows] = last.weight.t() @ da.t()
    return below


def _hidden_backward(
    step: _Trace,
    dy: Tensor,
    behind: tuple[Tensor, Tensor] | None,
    gamma: Tensor,
    into: list[Tensor],
    rows: int,
    scratch: _Scratch,
    found: Kernels,
) -> Tensor:
    """Gradients of one hidden block, from `dy` for the last one, else from the block behind; returns da as pairs."""
    outputs, wide = step.xhat.shape
    inputs = into[0].shape[1]
    pairs = scratch.pairs()
    weights, theirs = behind or (None, None)
    found.tiles_backward(
        *(address(dy) if behind is None else None, address(weights), address(theirs)),
        *(0 if weights is None else len(weights), address(step.xhat), address(step.gates), outputs, rows, wide),
        *(address(gamma), address(step.inverse), address(into[1]), address(into[2])),
        *(address(scratch.plain), address(pairs), address(scratch.slab), address(scratch.room)),
    )
    found.tiles_gradient(
        *(address(scratch.plain), address(step.h), outputs, inputs, padded(inputs), wide, address(into[0]))
    )
    return pairs
