"""Chains of Linear-BatchNorm-ReLU blocks, all runs in one differentiable operation, in bfloat16 or float32.

At batch 128 a bfloat16 product of width 512 takes a tenth of a millisecond, a float32 one of width 128 a thirtieth, so
what lies between products decides the speed. Here that is one compiled pass a block and direction, in bfloat16 one cast
of each weight a step, and gradients written straight into their slice of the stacked tensor.

The bias of a linear layer before a normalisation cannot change the output in training: the batch mean takes it away.
It is therefore left out of the product, added to the running mean, and its gradient is exactly 0.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from byrote.networks.blocks import Block, normalise, run_of
from byrote.networks.descent import Descent
from byrote.networks.endings import Gradients, Steps
from byrote.networks.fused import Fused, FusedChain, Rooms, evaluated, units_for
from byrote.networks.native import Kernels, address, address_of, kernels
from byrote.networks.norm import is_standard
from byrote.networks.products import Products
from byrote.networks.stack import Stack, aligned, matrices

__all__ = ["DenseStack", "is_dense"]


def is_dense(module: nn.Module) -> bool:
    """Is it Flatten, then Linear-BatchNorm1d-ReLU blocks and nothing else, with biases and standard normalisation?"""
    if not isinstance(module, nn.Sequential) or len(module) < 4:
        return False
    block = [nn.Linear, nn.BatchNorm1d, nn.ReLU]
    parts = list(module)
    if [type(part) for part in parts] != [nn.Flatten] + block * (len(parts) // 3):
        return False
    return all(linear.bias is not None for linear in parts[1::3]) and all(is_standard(norm) for norm in parts[2::3])


class _Trace(NamedTuple):
    """What the backward pass of one block and run needs."""

    h: Tensor  # (B, in), an operand of products
    a: Tensor  # (B, out), the product
    out: Tensor | None  # (B, out), after the rectifier; None for the last block, whose output autograd keeps
    moments: Tensor  # (2, out), mean and 1 / std of the batch


class _Chain(NamedTuple):
    """The states of a stack as the passes take them, looked up once for many steps."""

    where: tuple[int, ...]  # the addresses of all states
    descent: Descent | None
    blocks: list[Block]
    momenta: list[list[Tensor]]  # in descent: of weight, bias, gamma and beta of each block
    fused: FusedChain | None  # where there are units for it


class DenseStack(Stack):
    """A stack of dense chains. Without kernels, and for gradients in evaluation, it is a plain stack."""

    def __init__(self, copies: Sequence[nn.Module], rank: int, precision: str = "fp32", compiled: bool = True) -> None:
        super().__init__(copies, rank, precision, compiled)
        chain = copies[0]
        if not isinstance(chain, nn.Sequential) or not is_dense(chain):
            raise TypeError("a dense stack needs Flatten, then Linear-BatchNorm1d-ReLU blocks")
        self._norms = {i: part for i, part in enumerate(chain) if isinstance(part, nn.BatchNorm1d)}
        self._rooms = Rooms()
        self._kept: _Chain | None = None
        self._tables: list[tuple[dict[str, Tensor], str]] = []

    def forward(self, x: Tensor, index: Tensor | None = None) -> Tensor:  # (B, ...) or (S, B, ...) -> (S, B, M)
        usable = self.compiled and x.device.type == "cpu" and x.dtype == torch.float32
        found = kernels() if usable and (self.training or not torch.is_grad_enabled()) else None
        if found is None:
            return super().forward(x, index)
        chain = self._chain(found)
        if chain is None:
            return super().forward(x, index)
        x, products = self.rows(x, index, chain.blocks[0].weight.shape[-1]), Products.of(self.precision, found)
        out: Tensor
        if chain.fused is not None and self.training and not x.requires_grad:
            out = Fused.apply(x, index, chain.fused, *chain.fused.states)  # type: ignore[no-untyped-call]
            return out
        if index is not None:
            x = x.index_select(0, index.reshape(-1)).unflatten(0, index.shape)
        x = x.contiguous()
        if not self.training:
            return _evaluated(x, chain, products)
        for block in chain.blocks:
            block.batches.add_(1)
        # in descent one parameter is enough to make autograd call the backward pass
        states = [chain.blocks[0].weight] if chain.descent else [state for block in chain.blocks for state in block[:4]]
        out = _Dense.apply(x, chain, products, *states)  # type: ignore[no-untyped-call]
        return out

    def rows(self, x: Tensor, index: Tensor | None, inputs: int) -> Tensor:
        """x, checked, as (S, B, inputs) or (B, inputs); kernels are given addresses and check nothing."""
        shared = self.check(x)
        x = x.flatten(1 if shared else 2)
        if x.shape[-1] != inputs:
            raise ValueError(f"the first layer takes {inputs} numbers a sample, got {x.shape[-1]}")
        if index is not None and index.device != x.device:
            raise RuntimeError(f"an index lies on the same device as its samples: {x.device}, got {index.device}")
        if index is not None and (not shared or index.dim() != 2 or len(index) != self.runs):
            raise ValueError(
                f"an index names rows of shared samples for each of {self.runs} runs, (S, B), got {tuple(index.shape)}"
            )
        rows = x.shape[-2] if index is None else index.shape[-1]
        if self.training and rows < 2:
            raise ValueError(f"normalisation in training needs at least 2 samples a run, got {rows}")
        return x

    def _chain(self, found: Kernels) -> _Chain | None:
        """The states, kept until one of them moves or the descent changes; None where kernels cannot read them."""
        states = [table[name] for table, name in self._seats()]
        if not all(state.is_cpu for state in states):
            return None
        where = tuple(state.data_ptr() for state in states)
        if self._kept is None or self._kept.where != where or self._kept.descent is not self.descent:
            if not all(s.is_contiguous() and s.dtype in (torch.float32, torch.int64) for s in states):
                return None
            blocks, momenta = self._blocks(), self._momenta()
            _check(blocks, momenta)
            units = units_for(blocks, self.precision, found)
            fused = FusedChain(blocks, units[1], self._rooms, self.descent, momenta) if units else None
            self._kept = _Chain(where, self.descent, blocks, momenta, fused)
        return self._kept

    def _seats(self) -> list[tuple[dict[str, Tensor], str]]:
        """The tables that hold the states, and their names there."""
        if not self._tables:
            layers = [self._layer(i + at) for i in self._norms for at in (-1, 0)]
            tables = [table for layer in layers for table in (layer._parameters, layer._buffers)]
            self._tables = [(table, name) for table in tables for name in table]  # type: ignore[misc]
        return self._tables

    def _momenta(self) -> list[list[Tensor]]:
        """The momenta of weight, bias, gamma and beta of each block, in descent."""
        if self.descent is None:
            return []
        memory = self.descent.memory
        return [[memory[f"{i + at}.{leaf}"] for at in (-1, 0) for leaf in ("weight", "bias")] for i in self._norms]

    def _blocks(self) -> list[Block]:
        blocks = []
        for i, norm in self._norms.items():
            linear, states = self._held(i - 1), self._held(i)
            blocks.append(
                Block(
                    weight=linear["weight"],
                    bias=linear["bias"],
                    gamma=states["weight"],
                    beta=states["bias"],
                    running_mean=states["running_mean"],
                    running_var=states["running_var"],
                    batches=states["num_batches_tracked"],
                    eps=norm.eps,
                    momentum=norm.momentum or 0.0,
                )
            )
        return blocks

    def __getstate__(self) -> dict[str, object]:
        # addresses belong to this one, and so does who steps it
        return {**self.__dict__, "descent": None, "_kept": None, "_tables": [], "_rooms": Rooms()}

    def uses_kernels(self) -> bool:
        return self.compiled

    def descends(self) -> bool:
        """Is the step of `descent` carried out here, in training on a CPU?"""
        return self.compiled and kernels() is not None

    def units(self) -> str:
        found = kernels() if self.compiled else None
        units = None if found is None else units_for(self._blocks(), self.precision, found)
        return units[0] if units else ""

    def _layer(self, i: int) -> nn.Module:
        return self.get_submodule(str(i))

    def _held(self, i: int) -> dict[str, Tensor]:
        """The states of layer i by name."""
        held = {**self._layer(i)._parameters, **self._layer(i)._buffers}
        return {name: value for name, value in held.items() if value is not None}


def _check(blocks: Sequence[Block], momenta: Sequence[Sequence[Tensor]]) -> None:
    """Kernels write momenta by their address."""
    for block, held in zip(blocks, momenta, strict=False):
        for state, m in zip(block[:4], held, strict=True):
            if not (m.is_cpu and m.dtype == torch.float32 and m.is_contiguous() and m.shape == state.shape):
                raise RuntimeError(
                    f"momenta of a descent lie on the CPU in float32, as their parameters {tuple(state.shape)}, got "
                    f"{m.dtype} {tuple(m.shape)} on {m.device}: begin another"
                )


def _evaluated(x: Tensor, chain: _Chain, products: Products) -> Tensor:
    """The features of all runs in evaluation mode, by their running statistics."""
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
        passes = products.found.fp32 if last else products.passes
        h = torch.empty_like(a)
        passes.norm_apply(address(a), None, address(h), *a.shape, address(scale), address(shift), 0.0)
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
                passes = products.found.fp32 if i == last else products.passes
                trace.append(_Trace(h, a, None if i == last else out, normalise(block, s, a, out, passes)))
                h = out
            traces.append(trace)
        read_again = [block.gamma for block in blocks]  # autograd refuses what is changed meanwhile
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
            raise RuntimeError("a graph in descent can be passed backward once, its weights have moved on")
        features, *gammas = ctx.saved_tensors  # behind the gammas, what is only watched
        blocks, products, dy, dx = chain.blocks, ctx.products, upstream[0].contiguous(), []
        ctx.stepped, ending = True, _ending(chain, products)
        for s, trace in enumerate(ctx.traces):
            g = dy[s]
            for i in reversed(range(len(blocks))):
                step, last = trace[i], i == len(blocks) - 1
                out = features[s] if step.out is None else step.out
                da = torch.empty_like(step.a)
                passes = products.found.fp32 if last else products.passes
                passes.norm_backward(
                    *(address(step.a), address(out), address(g), address(da), None, *step.a.shape),
                    *(address_of(gammas[i], s), address_of(step.moments, 0), address_of(step.moments, 1)),
                    *(*ending.of_norm(i, s), 0.0),
                )
                if i or ctx.needs_input_grad[0]:  # before a step: the weight may be the parameter itself
                    weight = ctx.weights[i][s]
                    g = (da @ weight.float()).to(weight.dtype) if last else da @ weight
                ending.close(i, s, da, step.h)
            if ctx.needs_input_grad[0]:
                dx.append(products.result(g))
        total = None
        if dx:
            total = torch.stack(dx).sum(0) if ctx.shared else torch.stack(dx)
        return total, None, None, *ending.returned()


def _ending(chain: _Chain, products: Products) -> Gradients | Steps:
    if chain.descent is None:
        return Gradients(chain.blocks, products)
    return Steps(chain.blocks, products, chain.descent, chain.momenta)
