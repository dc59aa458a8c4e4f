"""How a dense chain multiplies: in float32, in bfloat16, or in float32 what bfloat16 would hold.

The last kind is for processors without bfloat16 units, where a bfloat16 product takes two or more times as long as a
float32 one. Operands and results keep the type float32; the kernels between the products round what they read and what
they write. The numbers are those of bfloat16 operands and results, without a cast before and after every product.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from byrote.engine import bfloat16
from byrote.engine.alignment import ALIGNED
from byrote.engine.kernels.library import Kernels, Passes, address

__all__ = ["Products"]


@dataclass(frozen=True)
class Products:
    """The products of one chain but the last block's, whose sums, result and gradient are float32 (`bfloat16.Wide`)."""

    kind: Literal["fp32", "bf16", "rounded"]
    found: Kernels

    @classmethod
    def of(cls, precision: str, found: Kernels) -> "Products":
        """Those that a precision means on this processor."""
        if precision == "fp32":
            return cls("fp32", found)
        return cls("bf16" if bfloat16.has_units() else "rounded", found)

    @property
    def passes(self) -> Passes:
        """The kernels that read and write what the products do."""
        passes: Passes = getattr(self.found, self.kind)
        return passes

    def operand(self, x: Tensor) -> Tensor:
        """x, contiguous float32, as a product takes it: itself, narrowed, or rounded.

        Of weights that is done in every forward pass: torch's fused optimisers change a tensor without counting up its
        version, so nothing tells an old copy from a fresh one.
        """
        if self.kind == "fp32":
            return x
        narrow = self.kind == "bf16"
        made = torch.empty(x.shape, dtype=torch.bfloat16 if narrow else torch.float32)
        convert = self.found.cast if narrow else self.found.to_nearest
        convert(address(x), address(made), x.numel())
        return made

    def result(self, a: Tensor) -> Tensor:
        """The result of a product as float32 numbers, for a reader that does not round."""
        return a.float() if self.kind == "bf16" else self.operand(a)

    def slope(self, da: Tensor, h: Tensor, room: Tensor, last: bool) -> Tensor:
        """da^T h, (out, B) x (B, in), for a kernel of `passes`, or of float32 for the last block.

        Args:
            room: float32 (out, in), where it is put unless it is bfloat16.
        """
        if self.kind == "bf16" and not last:
            return da.t() @ h
        return torch.mm(da.t(), h.float(), out=room)

    def weight_gradient(self, da: Tensor, h: Tensor, dweight: Tensor, last: bool) -> None:
        """dweight = da^T h as float32 numbers, rounded but for the last block.

        Products are made at aligned addresses (see `stack.aligned`), and dweight is a run's slice.
        """
        narrow = self.kind == "bf16" and not last
        room = dweight if narrow or dweight.data_ptr() % ALIGNED == 0 else torch.empty_like(dweight)
        slope = self.slope(da, h, room, last)
        if last or self.kind == "fp32":
            if room is not dweight:
                dweight.copy_(room)
            return
        convert = self.found.to_nearest if self.kind == "rounded" else self.found.widen
        convert(address(slope), address(dweight), slope.numel())
