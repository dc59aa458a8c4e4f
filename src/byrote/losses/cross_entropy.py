"""Cross-entropy and its relatives: smoothed, relaxed and focal."""

import math
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from byrote.losses.base import Loss
from byrote.losses.stable import finite_log, log_p_and_rest, log_p_and_rest_of_all, weighted

__all__ = ["CrossEntropy", "Focal", "LabelRelaxation", "LabelSmoothing"]


class CrossEntropy(Loss):
    """L = -log p_y.

    The usual loss. It is unbounded and not symmetric, and of all losses it memorizes most readily (MD; LF).

    Example:
        >>> import torch
        >>> CrossEntropy()(torch.tensor([[1e4, 0.0]]), torch.tensor([1])).item()
        10000.0
    """

    short: ClassVar[str] = "CE"

    def formula(self, z: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(z.reshape(-1, z.shape[-1]), y.reshape(-1), reduction="none").view(y.shape)

    def formula_of_all(self, z: Tensor) -> Tensor:
        return -z.log_softmax(-1)

    def _bounds(self, num_classes: int) -> tuple[float, float]:
        return 0.0, math.inf


class LabelSmoothing(Loss):
    """L = -sum_k t_k log p_k with t = (1 - alpha) e_y + (alpha/N) 1.

    The optimal logit gap is finite, because the minimum is at p_y = 1 - alpha + alpha/N. This is torch's
    `label_smoothing`. Szegedy et al. 2016; MD uses alpha = .1.

    Args:
        alpha: the share of the target that is spread evenly over all classes, 0 <= alpha < 1; 0 is cross-entropy.

    Example:
        >>> import torch
        >>> round(LabelSmoothing(alpha=.1)(torch.tensor([[0.0, 9.0]]), torch.tensor([1])).item(), 4)
        0.4501
    """

    alpha: float = Field(default=0.1, ge=0, lt=1)
    main: ClassVar[str | None] = "alpha"
    short: ClassVar[str] = "LS"

    def formula(self, z: Tensor, y: Tensor) -> Tensor:
        flat = z.reshape(-1, z.shape[-1])
        values = F.cross_entropy(flat, y.reshape(-1), reduction="none", label_smoothing=self.alpha)
        return values.view(y.shape)

    def formula_of_all(self, z: Tensor) -> Tensor:
        log_p = z.log_softmax(-1)
        return -(1 - self.alpha) * log_p - weighted(self.alpha, log_p.mean(-1, keepdim=True))

    def _bounds(self, num_classes: int) -> tuple[float, float]:
        rest = self.alpha / num_classes
        top = 1 - self.alpha + rest
        entropy = -top * math.log(top) - (num_classes - 1) * (rest * math.log(rest) if rest > 0 else 0.0)
        return entropy, math.inf


class LabelRelaxation(Loss):
    """L = 0 if p_y > 1 - alpha, else (1-alpha) log((1-alpha)/p_y) + alpha log(alpha/(1-p_y)).

    The loss is the divergence of the prediction from the nearest distribution that gives the label a probability of at
    least 1 - alpha: the label is trusted, but not completely. Lienen & Huellermeier, "From Label Smoothing to Label
    Relaxation", AAAI 2021; MD uses alpha = .1.

    With the margin m = log(p_y/(1-p_y)), the second case is (1-alpha) softplus(-m) + alpha softplus(m) - H(alpha), and
    the boundary p_y = 1 - alpha is m = log((1-alpha)/alpha). In this form 1 - p_y is not lost to rounding, and no
    branch becomes NaN.

    Args:
        alpha: the share of the target that the label does not determine, 0 <= alpha < 1; 0 is cross-entropy.

    Example:
        >>> import torch
        >>> LabelRelaxation(alpha=.1)(torch.tensor([[0.0, 9.0]]), torch.tensor([1])).item()
        0.0
    """

    alpha: float = Field(default=0.1, ge=0, lt=1)
    main: ClassVar[str | None] = "alpha"
    short: ClassVar[str] = "LR"

    def formula(self, z: Tensor, y: Tensor) -> Tensor:
        return self._of(*log_p_and_rest(z, y))

    def formula_of_all(self, z: Tensor) -> Tensor:
        return self._of(*log_p_and_rest_of_all(z))

    def _of(self, log_p: Tensor, log_rest: Tensor) -> Tensor:
        alpha = self.alpha
        if alpha == 0:
            return -log_p
        constant = (1 - alpha) * math.log1p(-alpha) + alpha * math.log(alpha)
        divergence = constant - (1 - alpha) * log_p - alpha * log_rest
        return torch.where(log_p > math.log1p(-alpha), 0.0, divergence).clamp_min(0)

    def _bounds(self, num_classes: int) -> tuple[float, float]:
        return 0.0, math.inf


class Focal(Loss):
    """L = -(1 - p_y)^gamma log p_y.

    Cross-entropy with less weight on samples that are already predicted correctly. The factor is also differentiated
    (some released code treats it as a constant). Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017.

    Args:
        gamma: at least 0; 0 is cross-entropy. It is 2 in the paper and .5 in studies of label noise (Ma et al. 2020).

    Example:
        >>> import torch
        >>> round(Focal(gamma=2.)(torch.tensor([[0.0, 0.0]]), torch.tensor([1])).item(), 4)
        0.1733
    """

    gamma: float = Field(default=2.0, ge=0)
    main: ClassVar[str | None] = "gamma"
    short: ClassVar[str] = "FL"

    def formula(self, z: Tensor, y: Tensor) -> Tensor:
        return self._of(*log_p_and_rest(z, y))

    def formula_of_all(self, z: Tensor) -> Tensor:
        return self._of(*log_p_and_rest_of_all(z))

    def _of(self, log_p: Tensor, log_rest: Tensor) -> Tensor:
        if self.gamma == 0:
            return -log_p
        value = -(self.gamma * log_rest).exp() * finite_log(log_p)
        return value.masked_fill(log_p.isneginf(), torch.inf)

    def _bounds(self, num_classes: int) -> tuple[float, float]:
        return 0.0, math.inf
