"""Mean squared error, in the two common conventions, and its normalized form."""

import math
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from byrote.losses.base import Loss
from byrote.losses.stable import one_hot

__all__ = ["MeanSquaredError", "NormalizedMSE"]


class MeanSquaredError(Loss):
    """Squared distance from the raw logits, or from the probabilities, to the one-hot label.

    on="logits":         L = (1/N) sum_k (z_k - [k = y])^2    (MD: mean over classes)
    on="probabilities":  L = sum_k (p_k - [k = y])^2          (LF: sum over classes; the Brier score)

    The two behave differently. The first is unbounded and pulls the logits to 0 and 1. The second is in [0, 2] and,
    like CE, lets the logits grow.

    Example:
        >>> import torch
        >>> z, y = torch.tensor([[3.0, 0.0]]), torch.tensor([1])
        >>> MeanSquaredError()(z, y).item(), round(MeanSquaredError("probabilities")(z, y).item(), 4)
        (5.0, 1.8148)
    """

    on: Literal["logits", "probabilities"] = "logits"

    @property
    def label(self) -> str:
        """MSE on logits, MSE-p on probabilities."""
        return "MSE" if self.on == "logits" else "MSE-p"

    def formula(self, z: Tensor, y: Tensor) -> Tensor:
        if self.on == "logits":
            return F.mse_loss(z, one_hot(z, y), reduction="none").mean(-1)
        return F.mse_loss(z.softmax(-1), one_hot(z, y), reduction="none").sum(-1)

    def formula_of_all(self, z: Tensor) -> Tensor:
        if self.on == "logits":
            return (z.square().sum(-1, keepdim=True) - 2 * z + 1) / z.shape[-1]
        p = z.softmax(-1)
        return p.square().sum(-1, keepdim=True) - 2 * p + 1

    def _bounds(self, num_classes: int) -> tuple[float, float]:
        return (0.0, math.inf) if self.on == "logits" else (0.0, 2.0)


class NormalizedMSE(Loss):
    """L = scale ||p - e_y||^2 / (N ||p||^2 + N - 2): the squared error on probabilities over its class sum.

    Division by the class sum makes it symmetric, with constant `scale`. LF finds that it resists memorization where
    plain MSE does not. LF's released code multiplies it by .1, which acts like a lower learning rate.

    At scale 1 it is `Normalized(MeanSquaredError("probabilities"))` in closed form, equal up to rounding. The closed
    form does not need the losses of the other classes. There is a separate class because keys of stored runs contain
    its name, and the stored results have the rounding of this form.

    Args:
        scale: factor on the loss, above 0; 1 in the paper, .1 in LF's released code.

    Example:
        >>> import torch
        >>> z = torch.tensor([[3.0, 0.0, 1.0]]).expand(3, 3)
        >>> round(NormalizedMSE()(z, torch.arange(3), reduction="sum").item(), 6)
        1.0
    """

    scale: float = Field(default=1.0, gt=0)
    short: ClassVar[str] = "nMSE"

    def formula(self, z: Tensor, y: Tensor) -> Tensor:
        N = z.shape[-1]
        p = z.softmax(-1)
        class_sum = N * p.square().sum(-1) + (N - 2)
        return self.scale * F.mse_loss(p, one_hot(z, y), reduction="none").sum(-1) / class_sum

    def formula_of_all(self, z: Tensor) -> Tensor:
        N = z.shape[-1]
        p = z.softmax(-1)
        squares = p.square().sum(-1, keepdim=True)
        return self.scale * (squares - 2 * p + 1) / (N * squares + (N - 2))

    def _bounds(self, num_classes: int) -> tuple[float, float]:
        # Largest where p_y = 0 and the other probabilities are equal: ||p||^2 = 1/(N-1).
        N = num_classes
        return 0.0, self.scale * N / (N + (N - 1) * (N - 2))

    def _symmetry(self, num_classes: int) -> float | None:
        return self.scale
