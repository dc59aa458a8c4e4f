"""Batch normalization, an optional residual and a rectifier as one operation: y = max(0, BN(x) + r).

BN(x) = gamma (x - mean) / sqrt(var + eps) + beta with each column's mean and biased variance in the batch (Ioffe &
Szegedy 2015); running statistics move by `momentum` towards the batch's mean and unbiased variance. Statistics, gamma
and beta are float32 whatever the type of x. The compiled kernels read x three times in the forward pass and twice in
the backward pass. Without them, torch's operators compute in the same types.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from byrote.engine.kernels.arguments import NormArguments
from byrote.engine.kernels.library import Kernels, NormKernels, address, kernels

__all__ = ["Norm", "is_standard", "replace_norms"]


_STANDARD = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def is_standard(module: nn.Module) -> bool:
    """Whether a module is one of torch's normalization layers, with gamma, beta, running statistics and a momentum.

    >>> is_standard(nn.BatchNorm2d(3)), is_standard(nn.BatchNorm2d(3, momentum=None)), is_standard(nn.Identity())
    (True, False, False)
    """
    if type(module) not in _STANDARD or not isinstance(module, _BatchNorm):
        return False
    return module.affine and module.track_running_stats and module.momentum is not None


class Norm(nn.Module):
    """A replacement for a plain BatchNorm layer, with the same state names, that computes in mixed types.

    Args:
        plain: the standard layer to replace; its momentum and eps are copied, and the caller sets the states.
        compiled: use the compiled kernels if they exist.
        widen: pass a float32 copy of x to torch's operator, which does not accept mixed types under `vmap`.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, plain: _BatchNorm, compiled: bool, widen: bool = False) -> None:
        super().__init__()
        self.weight = plain.weight
        self.bias = plain.bias
        for name, value in plain.named_buffers():
            self.register_buffer(name, value)
        self.momentum = plain.momentum or 0.0
        self.eps = plain.eps
        self.compiled = compiled
        self.widen = widen

    def forward(self, x: Tensor, residual: Tensor | None = None, rectify: bool = False) -> Tensor:
        if self.training:
            self.num_batches_tracked.add_(1)
        library = kernels() if self.compiled and self._fits(x, residual) else None
        if library is not None and not self.training and not torch.is_grad_enabled():
            return self._evaluated(x, residual, rectify, library)
        if library is None or not self.training:
            y = F.batch_norm(
                x.float() if self.widen else x,
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                self.training,
                self.momentum,
                self.eps,
            )
            y = y.to(x.dtype) if residual is None else y.to(x.dtype) + residual
            return F.relu(y) if rectify else y
        state = (self.running_mean, self.running_var, self.momentum, self.eps)
        out: Tensor = _Norm.apply(x, residual, self.weight, self.bias, state, rectify, library)  # type: ignore[no-untyped-call]
        return out

    def _fits(self, x: Tensor, residual: Tensor | None) -> bool:
        """Whether the kernels accept these tensors; this must be checked here, because kernels receive only
        addresses."""
        if x.device.type != "cpu" or x.dtype not in (torch.bfloat16, torch.float32) or x.dim() not in (2, 4):
            return False
        if residual is not None and (residual.dtype != x.dtype or residual.shape != x.shape or not residual.is_cpu):
            return False
        states = (self.weight, self.bias, self.running_mean, self.running_var)
        usable = all(v.dtype == torch.float32 and v.is_cpu and v.is_contiguous() for v in states)
        return usable and all(v.shape == x.shape[1:2] for v in states)

    def _evaluated(self, x: Tensor, residual: Tensor | None, rectify: bool, library: Kernels) -> Tensor:
        """Normalize with the running statistics, without gradients."""
        x, residual = _rows_first(x), None if residual is None else _rows_first(residual)
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - scale * self.running_mean
        out = torch.empty_like(x)
        arguments = NormArguments(x=address(x), residual=address(residual), out=address(out), **_size(x))
        arguments.scale, arguments.shift, arguments.floor = address(scale), address(shift), _floor(rectify)
        _kernels_for(x, library).apply(arguments)
        return out


def replace_norms(module: nn.Module, compiled: bool, widen: bool = False) -> nn.Module:
    """Replace, in place, every standard normalization layer (and no other layer) by a `Norm`; returns the module."""
    for part in list(module.modules()):
        for name, child in part._modules.items():
            if isinstance(child, _BatchNorm) and is_standard(child):
                part._modules[name] = Norm(child, compiled, widen)
    return module


def _rows_first(x: Tensor) -> Tensor:
    """x, of shape (B, C) or (B, C, H, W), as rows in which the columns C are adjacent in memory."""
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x.contiguous()


def _size(x: Tensor) -> dict[str, int]:
    columns = x.shape[1]
    return {"rows": x.numel() // columns, "columns": columns, "stride": columns}


def _floor(rectify: bool) -> float:
    return 0.0 if rectify else -math.inf


def _kernels_for(x: Tensor, library: Kernels) -> NormKernels:
    return library.bf16 if x.dtype == torch.bfloat16 else library.fp32


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        residual: Tensor | None,
        weight: Tensor,
        bias: Tensor,
        state: tuple[Tensor, Tensor, float, float],
        rectify: bool,
        library: Kernels,
    ) -> Tensor:
        running_mean, running_var, momentum, eps = state
        x = _rows_first(x)
        residual = None if residual is None else _rows_first(residual)
        size = _size(x)
        if size["rows"] < 2:
            raise ValueError(f"normalization in training needs at least 2 values per column, got {size['rows']}")
        out = torch.empty_like(x)
        mean, inverse = torch.empty(2, size["columns"], dtype=torch.float32).unbind()
        arguments = NormArguments(x=address(x), residual=address(residual), out=address(out), **size)
        arguments.gamma, arguments.beta, arguments.floor = address(weight), address(bias), _floor(rectify)
        arguments.running_mean, arguments.running_var = address(running_mean), address(running_var)
        arguments.mean, arguments.inverse, arguments.eps = address(mean), address(inverse), eps
        arguments.momentum = momentum
        _kernels_for(x, library).forward(arguments)
        # Without a rectifier, the output is not saved, because later code may change it in place. The backward pass
        # then compares x with the floor, -infinity, so that every gradient passes.
        ctx.save_for_backward(x, out if rectify else x, weight, mean, inverse)
        ctx.rectify, ctx.library, ctx.has_residual = rectify, library, residual is not None
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, out, weight, mean, inverse = ctx.saved_tensors
        dy = _rows_first(grads[0].to(x.dtype))
        dx = torch.empty_like(x)
        dresidual = torch.empty_like(x) if ctx.has_residual else None
        dweight, dbias = torch.empty(2, len(weight), dtype=torch.float32).unbind()
        arguments = NormArguments(x=address(x), gate=address(out), dy=address(dy), dx=address(dx), **_size(x))
        arguments.dresidual, arguments.floor = address(dresidual), _floor(ctx.rectify)
        arguments.gamma, arguments.mean, arguments.inverse = address(weight), address(mean), address(inverse)
        arguments.dgamma, arguments.dbeta = address(dweight), address(dbias)
        _kernels_for(x, ctx.library).backward(arguments)
        return dx, dresidual, dweight, dbias, None, None, None
