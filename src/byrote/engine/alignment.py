"""Slices of stacked tensors at aligned addresses, so that a run's bits do not depend on the other runs.

On AMD processors the bits of MKL's products depend on the addresses of operands and result. A run's slice of a stacked
tensor may start at any address. A slice that is not aligned is copied before it enters a product, and its gradient is
copied as well.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["ALIGNED", "aligned", "batches", "joined", "matrices", "slices"]

ALIGNED = 64  # bytes


def aligned(x: Tensor) -> Tensor:
    """x itself if it begins at an aligned address, otherwise a copy."""
    out: Tensor = x
    if x.is_cpu and x.data_ptr() % ALIGNED:
        out = _Aligned.apply(x)  # type: ignore[no-untyped-call]
    return out


def slices(value: Tensor) -> Sequence[Tensor]:
    """The S slices; for S = 1 this is a view, so that no gradient is copied."""
    return [value.squeeze(0)] if len(value) == 1 else value.unbind(0)


def batches(x: Tensor) -> Sequence[Tensor]:
    """The S slices, each at an aligned address."""
    return [aligned(batch) for batch in slices(x)]


def matrices(value: Tensor) -> Sequence[Tensor]:
    """The S slices, aligned if they have a single row or column, because products of these depend on the address."""
    if value.dim() == 3 and 1 in value.shape[1:]:
        return batches(value)
    return slices(value)


def joined(outputs: Sequence[Tensor]) -> Tensor:
    """The outputs of the runs along a leading axis, without a copy if there is only one run."""
    first = outputs[0]
    if len(outputs) == 1:
        return first.unsqueeze(0)
    if first.is_cpu and first.numel() * first.element_size() % ALIGNED:  # the outputs' gradients will be slices
        outputs = [_Aligned.apply(output) for output in outputs]  # type: ignore[no-untyped-call]
    return torch.stack(list(outputs))


class _Aligned(torch.autograd.Function):
    """Copies to an aligned address, in the forward pass and for the gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone() if x.data_ptr() % ALIGNED else x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Tensor:
        (g,) = upstream
        return g.clone() if g.data_ptr() % ALIGNED else g
