"""Losses designed to resist wrong labels: bounded losses, symmetric losses, and compromises with cross-entropy."""

import math
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from byrote.losses.base import Loss
from byrote.losses.stable import log_p_and_rest, log_p_and_rest_of_all, pick

__all__ = [
    "GeneralizedCrossEntropy",
    "MeanAbsoluteError",
    "ReverseCrossEntropy",
    "RobustLog",
    "SymmetricCrossEntropy",
]


class RobustLog(Loss):
    """L = log((alpha+1)/alpha) - log(alpha+p_y) + sum_{k != y} log(alpha+p_k)/(N-1), the robust log loss (RLL).

    It is symmetric with constant N log((alpha+1)/alpha), bounded, and 0 at p_y = 1. The code uses log1p(p_k/alpha), so
    that small probabilities keep their gradient. Kumar & Sastry, "Robust Loss Functions for Learning Multi-Class
    Classifiers", SMC 2018; studied by LF.

    Args:
        alpha: softening of the logarithm, above 0. The paper LF does not state it; its released script uses .1, and .01
            and .45 were tried.

    Example:
        >>> import torch
        >>> z = torch.tensor([[3.0, 0.0, 1.0]]).expand(3, 3)
        >>> round(RobustLog(alpha=.1)(z, torch.arange(3), reduction="sum").item() / 3, 4)  # log 11
        2.3979
    """

    alpha: float = Field(default=0.1, gt=0)
    main: ClassVar[str | None] = "alpha"
    short: ClassVar[str] = "RLL"

    def formula(self, z: Tensor, y: Tensor) -> Tensor:
        N = z.shape[-1]
        logs = (z.softmax(-1) / self.alpha).log1p()  # log(alpha + p_k) - log(alpha)
        return math.log1p(1 / self.alpha) + logs.sum(-1) / (N - 1) - pick(logs, y) * (N / (N - 1))

    def formula_of_all(self, z: Tensor) -> Tensor:
        N = z.shape[-1]
        logs = (z.softmax(-1) / self.alpha).log1p()
        return math.log1p(1 / self.alpha) + logs.sum(-1, keepdim=True) / (N - 1) - logs * (N / (N - 1))

    def _bounds(self, num_classes: int) -> tuple[float, float]:
        # The last term is concave in p, so its maximum is where p_y = 0 and the other probabilities are equal.
        return 0.0, math.log1p(1 / self.alpha) + math.log1p(1 / (self.alpha * (num_classes - 1)))

    def _symmetry(self, num_classes: int) -> float | None:
        return num_classes * math.log1p(1 / self.alpha)


class MeanAbsoluteError(Loss):
    """L = scale (1 - p_y); with scale 2 this is sum_k |p_k - [k = y]|.

    It is robust and symmetric with constant scale (N-1), but it learns slowly if N is large, because its gradient is
    the gradient of cross-entropy times p_y. Ghosh, Kumar & Sastry, "Robust Loss Functions under Label Noise for Deep
    Neural Networks", AAAI 2017.

    Args:
        scale: above 0; 2 in the paper, 1 in the released code of Ma et al. 2020.

    Example:
        >>> import torch
        >>> MeanAbsoluteError()(torch.tensor([[0.0, 0.0]]), torch.tensor([1])).item()
        1.0
    """

    scale: float = Field(default=2.0, gt=0)
    short: ClassVar[str] = "MAE"

    def formula(self, z: Tensor, y: Tensor) -> Tensor:
        return self.scale * log_p_and_rest(z, y)[1].exp()

    def formula_of_all(self, z: Tensor) -> Tensor:
        return self.scale * log_p_and_rest_of_all(z)[1].exp()

    def _bounds(self, num_classes: int) -> tuple[float, float]:
        return 0.0, self.scale

    def _symmetry(self, num_classes: int) -> float | None:
        return self.scale * (num_classes - 1)


class ReverseCrossEntropy(Loss):
    """L = -sum_k p_k log [k = y] with log 0 replaced by a constant A < 0, that is -A (1 - p_y).

    This is mean absolute error with scale -A, so it is symmetric with constant -A (N-1). Wang et al., "Symmetric Cross
    Entropy for Robust Learning with Noisy Labels", ICCV 2019.

    Args:
        log_zero: A, below 0. The released code clips the one-hot label at 1e-4, so A = log 1e-4 = -9.21.

    Example:
        >>> import torch
        >>> round(ReverseCrossEntropy()(torch.tensor([[0.0, 0.0]]), torch.tensor([1])).item(), 4)
        4.6052
    """

    log_zero: float = Field(default=math.log(1e-4), lt=0)
    short: ClassVar[str] = "RCE"

    def formula(self, z: Tensor, y: Tensor) -> Tensor:
        return -self.log_zero * log_p_and_rest(z, y)[1].exp()

    def formula_of_all(self, z: Tensor) -> Tensor:
        return -self.log_zero * log_p_and_rest_of_all(z)[1].exp()

    def _bounds(self, num_classes: int) -> tuple[float, float]:
        return 0.0, -self.log_zero

    def _symmetry(self, num_classes: int) -> float | None:
        return -self.log_zero * (num_classes - 1)


class GeneralizedCrossEntropy(Loss):
    """L = (1 - p_y^q) / q.

    It interpolates between cross-entropy (the limit q -> 0) and 1 - p_y (q = 1, the only symmetric case). Zhang &
    Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels", NeurIPS 2018.

    Args:
        q: 0 < q <= 1; .7 in the paper.

    Example:
        >>> import torch
        >>> round(GeneralizedCrossEntropy(q=.5)(torch.tensor([[0.0, 0.0]]), torch.tensor([1])).item(), 4)
        0.5858
    """

    q: float = Field(default=0.7, gt=0, le=1)
    main: ClassVar[str | None] = "q"
    short: ClassVar[str] = "GCE"

    def formula(self, z: Tensor, y: Tensor) -> Tensor:
        return self._of(log_p_and_rest(z, y)[0])

    def formula_of_all(self, z: Tensor) -> Tensor:
        return self._of(log_p_and_rest_of_all(z)[0])

    def _of(self, log_p: Tensor) -> Tensor:
        return -torch.expm1(self.q * log_p) / self.q

    def _bounds(self, num_classes: int) -> tuple[float, float]:
        return 0.0, 1 / self.q

    def _symmetry(self, num_classes: int) -> float | None:
        return float(num_classes - 1) if self.q == 1 else None


class SymmetricCrossEntropy(Loss):
    """L = -alpha log p_y - beta A (1 - p_y): cross-entropy plus reverse cross-entropy (SCE).

    It is symmetric in label and prediction, but not in the sense of `symmetry`: the cross-entropy part is unbounded.
    Wang et al., ICCV 2019.

    Args:
        alpha: weight of CE, above 0; .1 for CIFAR-10 in the paper, 6 for CIFAR-100.
        beta: weight of RCE, above 0; 1 for CIFAR-10 in the paper, .1 for CIFAR-100.
        log_zero: A, see `ReverseCrossEntropy`.

    Example:
        >>> import torch
        >>> round(SymmetricCrossEntropy()(torch.tensor([[0.0, 0.0]]), torch.tensor([1])).item(), 4)
        4.6745
    """

    alpha: float = Field(default=0.1, gt=0)
    beta: float = Field(default=1.0, gt=0)
    log_zero: float = Field(default=math.log(1e-4), lt=0)
    main: ClassVar[str | None] = "alpha"
    short: ClassVar[str] = "SCE"

    def formula(self, z: Tensor, y: Tensor) -> Tensor:
        return self._of(*log_p_and_rest(z, y))

    def formula_of_all(self, z: Tensor) -> Tensor:
        return self._of(*log_p_and_rest_of_all(z))

    def _of(self, log_p: Tensor, log_rest: Tensor) -> Tensor:
        return -self.beta * self.log_zero * log_rest.exp() - self.alpha * log_p

    def _bounds(self, num_classes: int) -> tuple[float, float]:
        return 0.0, math.inf
