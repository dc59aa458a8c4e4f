"""Asymmetric losses: bounded functions of p_y that favor the most likely label (Zhou et al. 2021).

Xiong Zhou, Xianming Liu, Junjun Jiang, Xin Gao, Xiangyang Ji, "Asymmetric Loss Functions for Learning with Noisy
Labels", ICML 2021. If one label is more likely than every other label, an asymmetric loss is minimized by predicting
this label with certainty, even if the loss summed over all classes is not constant. The defaults are the values in the
authors' CIFAR-10 runs.
"""

import math
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from byrote.losses.base import Loss
from byrote.losses.stable import log_p_and_rest, log_p_and_rest_of_all

__all__ = ["AEL", "AGCE", "AUL"]


class AGCE(Loss):
    """L = ((a+1)^q - (a+p_y)^q) / q, the asymmetric generalized cross-entropy.

    At a = 0 it would be generalized cross-entropy. At q = 1 it is 1 - p_y, the only symmetric case.

    Args:
        a: above 0; .6 in the authors' CIFAR-10 runs.
        q: above 0; .6 in the same runs.

    Example:
        >>> import torch
        >>> round(AGCE(a=1., q=2.)(torch.tensor([[0.0, 0.0]]), torch.tensor([1])).item(), 4)
        0.875
    """

    a: float = Field(default=0.6, gt=0)
    q: float = Field(default=0.6, gt=0)
    main: ClassVar[str | None] = "a"
    short: ClassVar[str] = "AGCE"

    def formula(self, z: Tensor, y: Tensor) -> Tensor:
        return self._of(log_p_and_rest(z, y)[0])

    def formula_of_all(self, z: Tensor) -> Tensor:
        return self._of(log_p_and_rest_of_all(z)[0])

    def _of(self, log_p: Tensor) -> Tensor:
        ratio = (self.a + log_p.exp()) / (self.a + 1)
        return torch.expm1(self.q * ratio.log()) * (-math.pow(self.a + 1, self.q) / self.q)

    def _bounds(self, num_classes: int) -> tuple[float, float]:
        return 0.0, ((self.a + 1) ** self.q - self.a**self.q) / self.q

    def _symmetry(self, num_classes: int) -> float | None:
        return float(num_classes - 1) if self.q == 1 else None


class AUL(Loss):
    """L = ((a-p_y)^q - (a-1)^q) / q, the asymmetric unhinged loss.

    At q = 1 it is 1 - p_y, the only symmetric case.

    Args:
        a: above 1; 5.5 in the authors' CIFAR-10 runs.
        q: above 0; 3 in the same runs.

    Example:
        >>> import torch
        >>> round(AUL(a=2., q=2.)(torch.tensor([[0.0, 0.0]]), torch.tensor([1])).item(), 4)
        0.625
    """

    a: float = Field(default=5.5, gt=1)
    q: float = Field(default=3.0, gt=0)
    main: ClassVar[str | None] = "a"
    short: ClassVar[str] = "AUL"

    def formula(self, z: Tensor, y: Tensor) -> Tensor:
        return self._of(log_p_and_rest(z, y)[1])

    def formula_of_all(self, z: Tensor) -> Tensor:
        return self._of(log_p_and_rest_of_all(z)[1])

    def _of(self, log_rest: Tensor) -> Tensor:
        # a - p_y = (a - 1)(1 + (1 - p_y)/(a - 1))
        growth = (log_rest.exp() / (self.a - 1)).log1p()
        return torch.expm1(self.q * growth) * (math.pow(self.a - 1, self.q) / self.q)

    def _bounds(self, num_classes: int) -> tuple[float, float]:
        return 0.0, (self.a**self.q - (self.a - 1) ** self.q) / self.q

    def _symmetry(self, num_classes: int) -> float | None:
        return float(num_classes - 1) if self.q == 1 else None


class AEL(Loss):
    """L = exp(-p_y / a), the asymmetric exponential loss.

    Its values are between exp(-1/a) and 1, so it is never 0.

    Args:
        a: above 0; 2.5 in the authors' CIFAR-10 runs.

    Example:
        >>> import torch
        >>> round(AEL(a=.5)(torch.tensor([[0.0, 0.0]]), torch.tensor([1])).item(), 4)
        0.3679
    """

    a: float = Field(default=2.5, gt=0)
    main: ClassVar[str | None] = "a"
    short: ClassVar[str] = "AEL"

    def formula(self, z: Tensor, y: Tensor) -> Tensor:
        return (log_p_and_rest(z, y)[0].exp() / -self.a).exp()

    def formula_of_all(self, z: Tensor) -> Tensor:
        return (log_p_and_rest_of_all(z)[0].exp() / -self.a).exp()

    def _bounds(self, num_classes: int) -> tuple[float, float]:
        return math.exp(-1 / self.a), 1.0
