"""Chains of Linear-BatchNorm-ReLU blocks: all runs are one differentiable operation, in bfloat16 or float32.

At batch size 128, a bfloat16 product of width 512 takes a tenth of a millisecond, and a float32 product of width 128 a
thirtieth, so the work between products determines the speed. Here this work is one compiled pass per block and
direction and, in bfloat16, one cast of each weight per step. Gradients are written directly into their slice of the
stacked tensor.

The bias of a linear layer before a normalization cannot change the output in training, because the batch mean removes
it. It is therefore left out of the product and added to the running mean, and its gradient is exactly 0.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from byrote.engine.alignment import aligned, matrices
from byrote.engine.dense.block import Block, blocks_of, normalize, norms_of, rows_of, run_of
from byrote.engine.dense.fused import Buffers, Fused, FusedChain, evaluated, units_for
from byrote.engine.dense.matmul import Products
from byrote.engine.dense.updates import Gradients, Steps
from byrote.engine.ensemble import Ensemble
from byrote.engine.kernels.arguments import NormArguments
from byrote.engine.kernels.library import Kernels, address, address_of, kernels
from byrote.engine.momentum import BatchedStep, Descent
from byrote.engine.run_by_run import RunByRun, gathered

__all__ = ["CompiledChain"]


class _Trace(NamedTuple):
    """The data that the backward pass of one block and run needs."""

    h: Tensor  # (B, in), an operand of products
    a: Tensor  # (B, out), the product
    out: Tensor | None  # (B, out), after the rectifier; None for the last block, whose output autograd keeps
    moments: Tensor  # (2, out), mean and 1 / std of the batch


class _Chain(NamedTuple):
    """The states of a stack as arguments of the passes, cached for many steps."""

    where: tuple[int, ...]  # the addresses of all states
    descent: Descent | None
    blocks: list[Block]
    momenta: list[list[Tensor]]  # with a descent: the momenta of weight, bias, gamma and beta of each block
    fused: FusedChain | None  # None on processors without the units for it


class CompiledChain:
    """Dense chains in compiled kernels. Without kernels, and for gradients in evaluation, torch's operators compute run
    by run.

    Args:
        chain: one of the modules, of which only the structure is used.
        precision: "fp32", or "bf16" for products in bfloat16.
        compiled: whether kernels may be used.
    """

    batched = False
    batched_step: BatchedStep | None = None

    def __init__(self, chain: nn.Module, precision: str = "fp32", compiled: bool = True) -> None:
        self.precision = precision
        self._compiled = compiled
        self._norms = norms_of(chain)
        self._uncompiled = RunByRun(chain, precision, compiled)
        self._buffers = Buffers()
        self._cached: _Chain | None = None
        self._slots: list[tuple[dict[str, Tensor], str]] = []

    def forward(self, ensemble: Ensemble, x: Tensor, index: Tensor | None) -> Tensor:
        """See `Ensemble.forward`: (B, ...) or (S, B, ...) -> (S, B, M)."""
        training = ensemble.training
        usable = self._compiled and x.device.type == "cpu" and x.dtype == torch.float32
        library = kernels() if usable and (training or not torch.is_grad_enabled()) else None
        chain = None if library is None else self._chain(ensemble, library)
        if library is None or chain is None:
            return self._uncompiled.forward(ensemble, x, index)
        x = rows_of(ensemble, x, index, chain.blocks[0].weight.shape[-1])
        out: Tensor
        if chain.fused is not None and training and not x.requires_grad:
            out = Fused.apply(x, index, chain.fused, *chain.fused.states)  # type: ignore[no-untyped-call]
            return out
        x, products = gathered(x, index).contiguous(), Products.of(self.precision, library)
        if not training:
            return _evaluated(x, chain, products)
        for block in chain.blocks:
            block.batches.add_(1)
        # with a descent, one parameter is enough to make autograd call the backward pass
        states = [chain.blocks[0].weight] if chain.descent else [state for block in chain.blocks for state in block[:4]]
        out = _Dense.apply(x, chain, products, *states)  # type: ignore[no-untyped-call]
        return out

    def _chain(self, ensemble: Ensemble, library: Kernels) -> _Chain | None:
        """The states as arguments, cached until an address or the descent changes; None if kernels cannot read them."""
        states = [table[name] for table, name in self._state_slots(ensemble)]
        if not all(state.is_cpu for state in states):
            return None
        where, descent = tuple(state.data_ptr() for state in states), ensemble.descent
        if self._cached is None or self._cached.where != where or self._cached.descent is not descent:
            if not all(s.is_contiguous() and s.dtype in (torch.float32, torch.int64) for s in states):
                return None
            blocks, momenta = blocks_of(ensemble, self._norms), self._momenta(descent)
            _check(blocks, momenta)
            units = units_for(blocks, self.precision, library)
            fused = FusedChain(blocks, units[1], self._buffers, descent, momenta) if units else None
            self._cached = _Chain(where, descent, blocks, momenta, fused)
        return self._cached

    def _state_slots(self, ensemble: Ensemble) -> list[tuple[dict[str, Tensor], str]]:
        """The dictionaries in which the states are stored, and the names of the states there."""
        if not self._slots:
            layers = [ensemble.layer(str(i + at)) for i in self._norms for at in (-1, 0)]
            tables = [table for layer in layers for table in (layer._parameters, layer._buffers)]
            self._slots = [(table, name) for table in tables for name in table]  # type: ignore[misc]
        return self._slots

    def _momenta(self, descent: Descent | None) -> list[list[Tensor]]:
        """The momenta of weight, bias, gamma and beta of each block, if there is a descent."""
        if descent is None:
            return []
        memory = descent.memory
        return [[memory[f"{i + at}.{leaf}"] for at in (-1, 0) for leaf in ("weight", "bias")] for i in self._norms]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_cached": None, "_slots": [], "_buffers": Buffers()}  # addresses are not copied

    def way(self, ensemble: Ensemble) -> str:
        """The units that can compute the chain, "products" if there are none, or "plain" without kernels."""
        library = kernels() if self._compiled and all(p.is_cpu for p in ensemble.parameters()) else None
        if library is None:
            return "plain"
        units = units_for(blocks_of(ensemble, self._norms), self.precision, library)
        return units[0] if units else "products"

    def uses_kernels(self) -> bool:
        """Whether kernels may compute here."""
        return self._compiled

    def steps_backward(self) -> bool:
        """Whether the backward pass takes the step of a descent, as it does in training on a CPU."""
        return self._compiled and kernels() is not None

    def compile_with(self, **options: Any) -> None:
        """Do nothing, because the kernels are compiled already."""


def _check(blocks: Sequence[Block], momenta: Sequence[Sequence[Tensor]]) -> None:
    """Check the momenta before kernels write to their addresses."""
    for block, held in zip(blocks, momenta, strict=False):
        for state, m in zip(block[:4], held, strict=True):
            if not (m.is_cpu and m.dtype == torch.float32 and m.is_contiguous() and m.shape == state.shape):
                raise RuntimeError(
                    f"the momenta of a descent must be on the CPU, in float32 and with the shape {tuple(state.shape)} "
                    f"of their parameters, got {m.dtype} {tuple(m.shape)} on {m.device}: start a new descent"
                )


def _evaluated(x: Tensor, chain: _Chain, products: Products) -> Tensor:
    """The features of all runs in evaluation mode, with the running statistics."""
    if chain.fused is not None and chain.fused.units.evaluate:
        return evaluated(x, chain.fused)
    h = products.operand(x)
    runs = range(len(chain.blocks[0].weight))
    return torch.stack([_evaluate(chain.blocks, s, aligned(run_of(h, s)), products) for s in runs])


def _evaluate(blocks: list[Block], s: int, h: Tensor, products: Products) -> Tensor:
    for block in blocks:
        last = block is blocks[-1]
        weight = products.operand(block.weight[s].detach())
        a = h.float() @ weight.float().t() if last else h @ weight.t()
        scale = block.gamma[s] * (block.running_var[s] + block.eps).rsqrt()
        shift = block.beta[s] + scale * (block.bias[s] - block.running_mean[s])
        h = torch.empty_like(a)
        rows, columns = a.shape
        arguments = NormArguments(x=address(a), out=address(h), rows=rows, columns=columns, stride=columns)
        arguments.scale, arguments.shift = address(scale), address(shift)
        (products.library.fp32 if last else products.norm_kernels).apply(arguments)
    return h


class _Dense(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, chain: _Chain, products: Products, *states: Tensor) -> Tensor:
        blocks, narrow = chain.blocks, products.operand(x)
        runs, last = len(blocks[0].weight), len(blocks) - 1
        features = torch.empty(runs, x.shape[-2], blocks[-1].weight.shape[1], dtype=torch.float32)
        traces: list[list[_Trace]] = []
        weights = [matrices(products.operand(block.weight.detach())) for block in blocks]
        for s in range(runs):
            h, trace = aligned(run_of(narrow, s)), []
            for i, block in enumerate(blocks):
                weight = weights[i][s]
                a = h.float() @ weight.float().t() if i == last else h @ weight.t()
                out = features[s] if i == last else torch.empty_like(a)
                norm_kernels = products.library.fp32 if i == last else products.norm_kernels
                trace.append(_Trace(h, a, None if i == last else out, normalize(block, s, a, out, norm_kernels)))
                h = out
            traces.append(trace)
        read_again = [block.gamma for block in blocks]  # autograd raises an error if one of them has changed
        if products.kind == "fp32":
            read_again += [block.weight for block in blocks]
        ctx.save_for_backward(features, *read_again)
        ctx.chain, ctx.weights, ctx.products, ctx.traces, ctx.shared = chain, weights, products, traces, x.dim() == 2
        ctx.stepped = False
        return features

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        chain: _Chain = ctx.chain
        if chain.descent and ctx.stepped:
            raise RuntimeError("with a descent, a graph allows only one backward pass, which changes the weights")
        features, *gammas = ctx.saved_tensors  # the others were saved only to detect changes
        blocks, products, dy, dx = chain.blocks, ctx.products, upstream[0].contiguous(), []
        ctx.stepped, updates = True, _updates(chain, products)
        for s, trace in enumerate(ctx.traces):
            g = dy[s]
            for i in reversed(range(len(blocks))):
                step, last = trace[i], i == len(blocks) - 1
                out = features[s] if step.out is None else step.out
                da = torch.empty_like(step.a)
                arguments = NormArguments(x=address(step.a), gate=address(out), dy=address(g), dx=address(da))
                arguments.rows, arguments.columns = step.a.shape
                arguments.stride, arguments.gamma = arguments.columns, address_of(gammas[i], s)
                arguments.mean, arguments.inverse = address_of(step.moments, 0), address_of(step.moments, 1)
                arguments.dgamma, arguments.dbeta = updates.of_norm(i, s)
                (products.library.fp32 if last else products.norm_kernels).backward(arguments)
                if i or ctx.needs_input_grad[0]:  # before the step, which may change this weight
                    weight = ctx.weights[i][s]
                    g = (da @ weight.float()).to(weight.dtype) if last else da @ weight
                updates.close(i, s, da, step.h)
            if ctx.needs_input_grad[0]:
                dx.append(products.result(g))
        total = None
        if dx:
            total = torch.stack(dx).sum(0) if ctx.shared else torch.stack(dx)
        return total, None, None, *updates.returned()


def _updates(chain: _Chain, products: Products) -> Gradients | Steps:
    if chain.descent is None:
        return Gradients(chain.blocks, products)
    return Steps(chain.blocks, products, chain.descent, chain.momenta)
