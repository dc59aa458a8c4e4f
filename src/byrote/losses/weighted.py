"""Class weights and a label to ignore, for any loss."""

from typing import Self

import torch
from pydantic import field_validator
from torch import Tensor

from byrote.losses.base import Loss, PlainLoss
from byrote.losses.cross_entropy import CrossEntropy
from byrote.losses.stable import row_of

__all__ = ["Weighted"]


class Weighted(Loss):
    """w_y L(z, y), and 0 if y is `ignore_index`; the mean divides by the sum of the weights, as in torch.

    An ignored sample has value 0 and gradient 0 for any logits, even NaN. If every sample of a batch is ignored, the
    mean is NaN.

    Args:
        loss: the loss to weight.
        weights: one number per class, at least 0 and not all 0; None: all 1.
        ignore_index: the label of ignored samples (-100 in torch); None: no label is ignored.

    Example:
        >>> import torch
        >>> loss = Weighted(CrossEntropy(), weights=(1.0, 3.0), ignore_index=-100)
        >>> z = torch.tensor([[0.0, 0.0], [2.0, 0.0], [5.0, 5.0]])
        >>> loss(z, torch.tensor([0, 1, -100]), reduction="none")
        tensor([0.6931, 6.3808, 0.0000])
        >>> torch.nn.functional.cross_entropy(z, torch.tensor([0, 1, -100]), torch.tensor([1.0, 3.0])).item()
        1.768...
        >>> loss(z, torch.tensor([0, 1, -100])).item()
        1.768...
    """

    loss: PlainLoss = CrossEntropy()
    weights: tuple[float, ...] | None = None
    ignore_index: int | None = None

    @field_validator("weights")
    @classmethod
    def _usable(cls, weights: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if weights is not None and (len(weights) < 2 or min(weights) < 0 or max(weights) == 0):
            raise ValueError(f"expected two or more weights of at least 0, not all 0, got {weights}")
        return weights

    @classmethod
    def example(cls, num_classes: int) -> Self:
        return cls(weights=tuple(1.0 + n for n in range(num_classes)), ignore_index=-100)

    @property
    def label(self) -> str:
        """The letter w followed by the name of the inner loss."""
        return f"w{self.loss.label}"

    @property
    def parameter(self) -> float:
        """The parameter of the inner loss."""
        return self.loss.parameter

    def ignores(self, y: Tensor) -> Tensor | None:
        return None if self.ignore_index is None else y == self.ignore_index

    def sample_weight(self, y: Tensor, dtype: torch.dtype) -> Tensor | None:
        ignored = self.ignores(y)
        classes = y if ignored is None else y.masked_fill(ignored, 0)
        if self.weights is None:
            weight = torch.ones_like(classes, dtype=dtype)
        else:
            weights = torch.tensor(self.weights, dtype=dtype).to(y.device, non_blocking=True)
            weight = row_of(weights, classes)
        return weight if ignored is None else weight.masked_fill(ignored, 0)

    def formula(self, z: Tensor, y: Tensor) -> Tensor:
        if self.weights is not None and len(self.weights) != z.shape[-1]:
            raise ValueError(f"expected {z.shape[-1]} weights, one per class, got {len(self.weights)}")
        weight = self.sample_weight(y, z.dtype)
        ignored = self.ignores(y)
        if ignored is not None:
            z, y = z.masked_fill(ignored.unsqueeze(-1), 0), y.masked_fill(ignored, 0)
        values = self.loss.formula(z, y)
        return values if weight is None else values * weight

    def _bounds(self, num_classes: int) -> tuple[float, float]:
        low, high = self.loss.bounds(num_classes)
        weights = [w for w in self.weights or (1.0,) if w > 0]
        ends = [w * low for w in weights] + [w * high for w in weights]
        if len(weights) < len(self.weights or (1.0,)):
            ends.append(0.0)
        return min(ends), max(ends)

    def _symmetry(self, num_classes: int) -> float | None:
        constant = self.loss.symmetry(num_classes)
        weights = set(self.weights or (1.0,))
        ignores_a_class = self.ignore_index is not None and 0 <= self.ignore_index < num_classes
        if constant is None or len(weights) > 1 or ignores_a_class:
            return None
        return constant * weights.pop()
