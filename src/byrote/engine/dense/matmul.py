"""The products of a dense chain: in float32, in bfloat16, or in float32 with values rounded to bfloat16.

The last kind is for processors without bfloat16 units, where a bfloat16 product takes at least twice as long as a
float32 product. Operands and results keep the type float32; the kernels between the products round the numbers that
they read and write. The numbers are the same as with bfloat16 operands and results, but no product needs casts.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from byrote.engine import bfloat16
from byrote.engine.alignment import ALIGNED
from byrote.engine.kernels.library import Kernels, NormKernels, address

__all__ = ["Products"]


@dataclass(frozen=True)
class Products:
    """The products of one chain except in the last block, whose products are float32 (see `bfloat16`)."""

    kind: Literal["fp32", "bf16", "rounded"]
    library: Kernels

    @classmethod
    def of(cls, precision: str, library: Kernels) -> "Products":
        """The products for a precision on this processor."""
        if precision == "fp32":
            return cls("fp32", library)
        return cls("bf16" if bfloat16.has_units() else "rounded", library)

    @property
    def norm_kernels(self) -> NormKernels:
        """The kernels for the types that the products read and write."""
        norm_kernels: NormKernels = getattr(self.library, self.kind)
        return norm_kernels

    def operand(self, x: Tensor) -> Tensor:
        """x, which is contiguous float32, as an operand of a product: unchanged, narrowed, or rounded.

        Weights are converted in every forward pass: torch's fused optimizers change a tensor without raising its
        version, so an outdated copy cannot be recognized.
        """
        if self.kind == "fp32":
            return x
        narrow = self.kind == "bf16"
        converted = torch.empty(x.shape, dtype=torch.bfloat16 if narrow else torch.float32)
        convert = self.library.cast if narrow else self.library.to_nearest
        convert(address(x), address(converted), x.numel())
        return converted

    def result(self, a: Tensor) -> Tensor:
        """The result of a product as float32 numbers, for code that does not round what it reads."""
        return a.float() if self.kind == "bf16" else self.operand(a)

    def slope(self, da: Tensor, h: Tensor, buffer: Tensor, last: bool) -> Tensor:
        """da^T h, (out, B) x (B, in), in the type that `norm_kernels` read, or in float32 for the last block.

        Args:
            buffer: float32 (out, in), into which the result is written unless it is bfloat16.
        """
        if self.kind == "bf16" and not last:
            return da.t() @ h
        return torch.mm(da.t(), h.float(), out=buffer)

    def weight_gradient(self, da: Tensor, h: Tensor, dweight: Tensor, last: bool) -> None:
        """Store dweight = da^T h as float32 numbers, rounded except in the last block.

        The product is made at an aligned address (see `alignment.aligned`), because dweight, a run's slice, may not be
        aligned.
        """
        narrow = self.kind == "bf16" and not last
        buffer = dweight if narrow or dweight.data_ptr() % ALIGNED == 0 else torch.empty_like(dweight)
        slope = self.slope(da, h, buffer, last)
        if last or self.kind == "fp32":
            if buffer is not dweight:
                dweight.copy_(buffer)
            return
        convert = self.library.to_nearest if self.kind == "rounded" else self.library.widen
        convert(address(slope), address(dweight), slope.numel())
