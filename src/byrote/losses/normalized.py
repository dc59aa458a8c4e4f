"""Normalized losses, and their sums of an active and a passive part (Ma et al. 2020)."""

import math
from typing import ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from byrote.losses.asymmetric import AGCE
from byrote.losses.base import Loss, PlainLoss
from byrote.losses.cross_entropy import CrossEntropy, Focal
from byrote.losses.robust import MeanAbsoluteError, ReverseCrossEntropy
from byrote.losses.stable import pick, weighted

__all__ = ["ActivePassive", "NCEAndAGCE", "NCEAndMAE", "NCEAndRCE", "NFLAndRCE", "Normalized"]


class Normalized(Loss):
    """L(z, y) / sum_j L(z, j) for a non-negative loss L: a symmetric loss with constant 1.

    The sum over classes must be positive and finite. `Normalized(CrossEntropy())` is NCE, and `Normalized(Focal(.5))`
    is NFL. Where the sum is 0 (label relaxation with alpha >= 1 - 1/N), the value is 0. Ma et al., "Normalized Loss
    Functions for Deep Learning with Noisy Labels", ICML 2020.

    The interval that `bounds` returns contains the range of the loss. For cross-entropy, focal and symmetric losses,
    the interval is exactly the range.

    Args:
        loss: a loss that is never negative.

    Example:
        >>> import torch
        >>> round(Normalized(CrossEntropy())(torch.zeros(1, 10), torch.tensor([3])).item(), 4)
        0.1
    """

    loss: PlainLoss = CrossEntropy()

    @model_validator(mode="after")
    def _never_negative(self) -> Self:
        low, high = self.loss.bounds(2)
        if low < 0:
            raise ValueError(
                f"Normalized needs a loss that is never negative, got {self.loss.label} with values from {low} to "
                f"{high}"
            )
        return self

    @property
    def label(self) -> str:
        """The letter N followed by the name of the inner loss: NCE, NFL, ..."""
        return f"N{self.loss.label}"

    @property
    def parameter(self) -> float:
        """The parameter of the inner loss."""
        return self.loss.parameter

    def formula(self, z: Tensor, y: Tensor) -> Tensor:
        return pick(self.formula_of_all(z), y)

    def formula_of_all(self, z: Tensor) -> Tensor:
        values = self.loss.formula_of_all(z)  # (..., N)
        endless = values.isposinf()  # in the limit, the masked classes together make up the whole sum
        share = values.masked_fill(endless, 0) / values.masked_fill(endless, 0).sum(-1, keepdim=True).clamp_min(
            torch.finfo(z.dtype).tiny
        )
        count = endless.sum(-1, keepdim=True)
        return torch.where(count > 0, endless.to(share.dtype) / count.clamp_min(1), share)

    def _bounds(self, num_classes: int) -> tuple[float, float]:
        low, high = self.loss.bounds(num_classes)
        total = self.loss.symmetry(num_classes)
        if total is not None:
            return low / total, high / total
        # L_y / (L_y + others), where the others are N - 1 numbers between low and high.
        least = 0.0 if math.isinf(high) else low / (low + (num_classes - 1) * high)
        return least, 1.0 if math.isinf(high) else high / (high + (num_classes - 1) * low)

    def _symmetry(self, num_classes: int) -> float | None:
        return 1.0


class _Sum(Loss, abstract=True):
    """alpha times one loss plus beta times another."""

    main: ClassVar[str | None] = "alpha"

    def terms(self) -> tuple[tuple[float, Loss], tuple[float, Loss]]:
        """((alpha, active), (beta, passive))."""
        raise NotImplementedError(f"{type(self).__name__} needs a method terms()")

    @property
    def label(self) -> str:
        """The two names joined by a plus: NCE+MAE, ..."""
        (_, active), (_, passive) = self.terms()
        return f"{active.label}+{passive.label}"

    def formula(self, z: Tensor, y: Tensor) -> Tensor:
        (alpha, active), (beta, passive) = self.terms()
        return weighted(alpha, active.formula(z, y)) + weighted(beta, passive.formula(z, y))

    def formula_of_all(self, z: Tensor) -> Tensor:
        (alpha, active), (beta, passive) = self.terms()
        return weighted(alpha, active.formula_of_all(z)) + weighted(beta, passive.formula_of_all(z))

    def _bounds(self, num_classes: int) -> tuple[float, float]:
        ranges = [(weight, part.bounds(num_classes)) for weight, part in self.terms() if weight > 0]
        return sum(w * low for w, (low, _) in ranges), sum(w * high for w, (_, high) in ranges)

    def _symmetry(self, num_classes: int) -> float | None:
        total = 0.0
        for weight, part in self.terms():
            if weight == 0:
                continue
            constant = part.symmetry(num_classes)
            if constant is None:
                return None
            total += weight * constant
        return total


class ActivePassive(_Sum):
    """L = alpha L_active + beta L_passive.

    Active losses only increase p_y; passive losses also decrease some p_k. A single robust loss underfits, while a pair
    fits well and stays robust. The pair is symmetric if both parts are. Ma et al. 2020.

    `bounds` adds the ranges of the parts. The result is exact if both parts have their extremes at the same p, as in
    all pairs of this module.

    Args:
        active: a loss.
        passive: a loss.
        alpha: weight of the active loss, at least 0; 1 in the paper's CIFAR-10 runs.
        beta: weight of the passive loss, at least 0; 1 in the paper's CIFAR-10 runs.

    Example:
        >>> import torch
        >>> both = ActivePassive(Normalized(CrossEntropy()), MeanAbsoluteError(scale=1.0))
        >>> both.label, round(both(torch.zeros(1, 10), torch.tensor([3])).item(), 4)
        ('NCE+MAE', 1.0)
    """

    active: PlainLoss = Normalized()
    passive: PlainLoss = MeanAbsoluteError(scale=1.0)
    alpha: float = Field(default=1.0, ge=0)
    beta: float = Field(default=1.0, ge=0)

    def terms(self) -> tuple[tuple[float, Loss], tuple[float, Loss]]:
        return (self.alpha, self.active), (self.beta, self.passive)


_NCE = Normalized()
_NFL = Normalized(loss=Focal(gamma=0.5))
_MAE = MeanAbsoluteError(scale=1.0)
_RCE = ReverseCrossEntropy()
_AGCE = AGCE(a=6.0, q=1.5)


class _Pair(_Sum, abstract=True):
    """A pair of losses with its own name, which is part of a run's key; its only fields are the two weights."""

    parts: ClassVar[tuple[Loss, Loss]]
    alpha: float = Field(default=1.0, ge=0)
    beta: float = Field(default=1.0, ge=0)

    def terms(self) -> tuple[tuple[float, Loss], tuple[float, Loss]]:
        return (self.alpha, self.parts[0]), (self.beta, self.parts[1])


class NCEAndMAE(_Pair, kind="nce_mae"):
    """L = alpha NCE + beta (1 - p_y). Ma et al. 2020.

    Args:
        alpha: weight of NCE, at least 0; 1 in the paper's CIFAR-10 runs, 10 for CIFAR-100.
        beta: weight of 1 - p_y, at least 0; 1 in the paper's CIFAR-10 runs and for CIFAR-100.

    Example:
        >>> import torch
        >>> round(NCEAndMAE()(torch.zeros(1, 10), torch.tensor([3])).item(), 4)
        1.0
    """

    parts: ClassVar[tuple[Loss, Loss]] = (_NCE, _MAE)


class NCEAndRCE(_Pair, kind="nce_rce"):
    """L = alpha NCE + beta RCE, with A = log 1e-4. Ma et al. 2020.

    Args:
        alpha: weight of the normalized loss, at least 0; 1 in the paper's CIFAR-10 runs, 10 for CIFAR-100.
        beta: weight of RCE, at least 0; 1 in the paper's CIFAR-10 runs, .1 for CIFAR-100.

    Example:
        >>> import torch
        >>> round(NCEAndRCE()(torch.zeros(1, 10), torch.tensor([3])).item(), 4)
        8.3893
    """

    parts: ClassVar[tuple[Loss, Loss]] = (_NCE, _RCE)


class NFLAndRCE(_Pair, kind="nfl_rce"):
    """L = alpha NFL + beta RCE, with gamma = .5 and A = log 1e-4. Ma et al. 2020.

    Args:
        alpha: weight of the normalized loss, at least 0; 1 in the paper's CIFAR-10 runs, 10 for CIFAR-100.
        beta: weight of RCE, at least 0; 1 in the paper's CIFAR-10 runs, .1 for CIFAR-100.

    Example:
        >>> import torch
        >>> round(NFLAndRCE()(torch.zeros(1, 10), torch.tensor([3])).item(), 4)
        8.3893
    """

    parts: ClassVar[tuple[Loss, Loss]] = (_NFL, _RCE)


class NCEAndAGCE(_Pair, kind="nce_agce"):
    """L = alpha NCE + beta AGCE(a=6, q=1.5). Zhou et al. 2021.

    This pair is not symmetric, because AGCE is not.

    Args:
        alpha: weight of NCE, at least 0; 1 in the authors' CIFAR-10 runs.
        beta: weight of AGCE, at least 0; 4 in the authors' CIFAR-10 runs.

    Example:
        >>> import torch
        >>> symmetric = NCEAndAGCE().symmetry(10)
        >>> print(symmetric)
        None
    """

    parts: ClassVar[tuple[Loss, Loss]] = (_NCE, _AGCE)
    beta: float = Field(default=4.0, ge=0)
