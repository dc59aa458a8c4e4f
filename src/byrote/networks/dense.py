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

from byrote.networks.blocks import Block, normalise, run_of
from byrote.networks.descent import Descent
from byrote.networks.native import Kernels, address, address_of, kernels
from byrote.networks.products import Products
from byrote.networks.stack import Stack
from byrote.networks.tiled import Rooms, Tiled, TiledChain, fits_tiles

__all__ = ["DenseStack", "is_dense"]


def is_dense(module: nn.Module) -> bool:
    """Is it Flatten, then Linear-BatchNorm1d-ReLU blocks and nothing else?"""
    if not isinstance(module, nn.Sequential) or len(module) < 4:
        return False
    block = [nn.Linear, nn.BatchNorm1d, nn.ReLU]
    return [type(part) for part in module] == [nn.Flatten] + block * (len(module) // 3)


class _Trace(NamedTuple):
    """What the backward pass of one block and run needs."""

    h: Tensor  # (B, in), an operand of products
    a: Tensor  # (B, out), the product
    out: Tensor | None  # (B, out), after the rectifier; None for the last block, whose output autograd keeps
    moments: Tensor  # (2, out), mean and 1 / std of the batch


class DenseStack(Stack):
    """A stack of dense chains. Without kernels, and for gradients in evaluation, it is a plain stack."""

    def __init__(
        self, copies: Sequence[nn.Module], rank: int, precision: str, compiled: bool = True, batched: bool = False
    ) -> None:
        super().__init__(copies, rank, precision, compiled, batched)
        chain = copies[0]
        if not isinstance(chain, nn.Sequential) or not is_dense(chain):
            raise TypeError("a dense stack needs Flatten, then Linear-BatchNorm1d-ReLU blocks")
        self._norms = {i: part for i, part in enumerate(chain) if isinstance(part, nn.BatchNorm1d)}
        self._rooms = Rooms()
        self._kept: tuple[int, Descent | None, TiledChain | None] | None = None

    def forward(self, x: Tensor, index: Tensor | None = None) -> Tensor:  # (B, ...) or (S, B, ...) -> (S, B, M)
        usable = self.compiled and x.device.type == "cpu" and x.dtype == torch.float32
        found = kernels() if usable and (self.training or not torch.is_grad_enabled()) else None
        if found is None:
            return super().forward(x, index)
        x = x.flatten(1 if self.check(x) else 2)
        rows = x.shape[-2] if index is None else index.shape[-1]
        if self.training and rows < 2:
            raise ValueError(f"normalisation in training needs at least 2 samples a run, got {rows}")
        out: Tensor
        tiles = self._tiles(found) if self.training and not x.requires_grad and self.precision == "bf16" else None
        if tiles is not None:
            out = Tiled.apply(x, index, tiles, *tiles.states)  # type: ignore[no-untyped-call]
            return out
        if index is not None:
            x = x.index_select(0, index.reshape(-1)).unflatten(0, index.shape)
        blocks, products = self._blocks(), Products.of(self.precision, found)
        x = x.contiguous()
        if not self.training:
            h = products.operand(x)
            return torch.stack([_evaluate(blocks, s, run_of(h, s), products) for s in range(self.runs)])
        for block in blocks:
            block.batches.add_(1)
        states = [state for block in blocks for state in block[:4]]
        out = _Dense.apply(x, blocks, products, *states)  # type: ignore[no-untyped-call]
        return out

    def _tiles(self, found: Kernels) -> TiledChain | None:
        """The chain for tile units, where it fits.

        Kept from step to step: until the mode is set again, the states move all together, or the descent changes.
        """
        first = self._layer(next(iter(self._norms)) - 1).get_parameter("weight").data_ptr()
        if self._kept is None or self._kept[:2] != (first, self.descent):
            blocks = self._blocks()
            fits = fits_tiles(blocks, found)
            chain = TiledChain(blocks, found, self._rooms, self.descent, self._momenta()) if fits else None
            self._kept = (first, self.descent, chain)
        return self._kept[2]

    def train(self, mode: bool = True) -> "DenseStack":
        """As of any module; states that were exchanged one by one are looked up anew from here on."""
        self._kept = None
        super().train(mode)
        return self

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
                    momentum=0.1 if norm.momentum is None else norm.momentum,
                )
            )
        return blocks

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_kept": None}  # addresses belong to this copy

    def uses_kernels(self) -> bool:
        return self.compiled

    def descends(self) -> bool:
        """Is the step of `descent` carried out here, in training on a CPU?"""
        found = kernels() if self.compiled and self.precision == "bf16" else None
        return found is not None and fits_tiles(self._blocks(), found)

    def _layer(self, i: int) -> nn.Module:
        return self.get_submodule(str(i))

    def _held(self, i: int) -> dict[str, Tensor]:
        """The states of layer i by name."""
        held = {**self._layer(i)._parameters, **self._layer(i)._buffers}
        return {name: value for name, value in held.items() if value is not None}


def _evaluate(blocks: list[Block], s: int, h: Tensor, products: Products) -> Tensor:
    """The features of run s in evaluation mode, by its running statistics."""
    for block in blocks:
        last = block is blocks[-1]
        weight = products.operand(block.weight[s].detach())
        a = h.float() @ weight.float().t() if last else h @ weight.t()
        scale = block.gamma[s] * (block.running_var[s] + block.eps).rsqrt()
        shift = block.beta[s] + scale * (block.bias[s] - block.running_mean[s])
        norms = products.found.fp32 if last else products.norms
        h = torch.empty_like(a)
        norms.apply(address(a), None, address(h), *a.shape, address(scale), address(shift), 0.0)
    return h


class _Dense(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, blocks: list[Block], products: Products, *states: Tensor) -> Tensor:
        narrow = products.operand(x)
        runs, last = len(blocks[0].weight), len(blocks) - 1
        features = torch.empty(runs, x.shape[-2], blocks[-1].weight.shape[1])
        traces: list[list[_Trace]] = []
        weights = [products.operand(block.weight.detach()).unbind(0) for block in blocks]
        for s in range(runs):
            h, trace = run_of(narrow, s), []
            for i, block in enumerate(blocks):
                weight = weights[i][s]
                a = h.float() @ weight.float().t() if i == last else h @ weight.t()
                out = features[s] if i == last else torch.empty_like(a)
                norms = products.found.fp32 if i == last else products.norms
                trace.append(_Trace(h, a, None if i == last else out, normalise(block, s, a, out, norms)))
                h = out
            traces.append(trace)
        read_again = [block.gamma for block in blocks]  # autograd refuses what is changed meanwhile
        if products.kind == "fp32":
            read_again += [block.weight for block in blocks]
        ctx.save_for_backward(features, *read_again)
        ctx.blocks, ctx.weights, ctx.products, ctx.traces, ctx.shared = blocks, weights, products, traces, x.dim() == 2
        return features

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        features, *gammas = ctx.saved_tensors  # behind the gammas, what is only watched
        blocks: list[Block] = ctx.blocks
        products: Products = ctx.products
        dy = upstream[0].contiguous()
        grads = [[torch.empty_like(state) for state in (b.weight, b.gamma, b.beta)] for b in blocks]
        weight_grads = [dweight.unbind(0) for dweight, *_ in grads]
        dx = []
        for s, trace in enumerate(ctx.traces):
            g = dy[s]
            for i in reversed(range(len(blocks))):
                step, last = trace[i], i == len(blocks) - 1
                out = features[s] if step.out is None else step.out
                da = torch.empty_like(step.a)
                _, dgamma, dbeta = grads[i]
                norms = products.found.fp32 if last else products.norms
                norms.backward(
                    *(address(step.a), address(out), address(g), address(da), None, *step.a.shape),
                    *(address_of(gammas[i], s), address_of(step.moments, 0), address_of(step.moments, 1)),
                    *(address_of(dgamma, s), address_of(dbeta, s), 0.0),
                )
                products.weight_gradient(da, step.h, weight_grads[i][s], last)
                if i or ctx.needs_input_grad[0]:
                    weight = ctx.weights[i][s]
                    g = (da @ weight.float()).to(weight.dtype) if last else da @ weight
            if ctx.needs_input_grad[0]:
                dx.append(products.result(g))
        flat: list[Tensor] = []
        for block, (dweight, dgamma, dbeta) in zip(blocks, grads, strict=True):
            flat += [dweight, torch.zeros_like(block.bias), dgamma, dbeta]
        total = None
        if dx:
            total = torch.stack(dx).sum(0) if ctx.shared else torch.stack(dx)
        return total, None, None, *flat
