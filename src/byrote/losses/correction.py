"""Cross-entropy corrected for label noise by a known transition matrix or by the model's own predictions."""

import math
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import torch
from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from torch import Tensor

from byrote.losses.base import Loss
from byrote.losses.stable import finite_log, log_sum_exp, pick, row_of, weighted

__all__ = ["BackwardCorrection", "ForwardCorrection", "HardBootstrap", "SoftBootstrap"]


def _rows(value: Any) -> Any:
    """Convert a matrix (rows, array or tensor) to a tuple of rows."""
    return value.tolist() if hasattr(value, "tolist") else value


def _stochastic(rows: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
    N = len(rows)
    if N < 2 or any(len(row) != N for row in rows):
        raise ValueError(f"expected a square matrix of at least 2 classes, got rows of length {[len(r) for r in rows]}")
    for n, row in enumerate(rows):
        if min(row) < 0 or abs(sum(row) - 1) > 1e-6:
            raise ValueError(f"each row must be non-negative and sum to 1, but row {n} is {row}")
    return rows


Transition = Annotated[tuple[tuple[float, ...], ...], BeforeValidator(_rows), AfterValidator(_stochastic)]


def _even(num_classes: int, rate: float = 0.3) -> tuple[tuple[float, ...], ...]:
    """An example of a transition with unequal columns, where most wrong labels are 0."""
    N = num_classes
    weights = [2.0] + [1.0] * (N - 1)
    rows = []
    for n in range(N):
        others = sum(weights) - weights[n]
        rows.append(tuple(1 - rate if k == n else rate * weights[k] / others for k in range(N)))
    return tuple(rows)


def _columns(rows: tuple[tuple[float, ...], ...], z: Tensor) -> None:
    if len(rows) != z.shape[-1]:
        raise ValueError(
            f"the transition has {len(rows)} classes, but the logits have {z.shape[-1]}: both must be equal"
        )


class ForwardCorrection(Loss):
    """L = -log sum_k p_k T[k, y]: cross-entropy of the predicted probabilities after the noise.

    If T is the true transition matrix, the noisy risk and the clean risk have the same minimizer. Patrini et al.,
    "Making Deep Neural Networks Robust to Label Noise: a Loss Correction Approach", CVPR 2017.

    Args:
        transition: T, N rows (true class) of N probabilities (observed class); tuples, lists, an array or a tensor,
            such as `noise.transition(N)`. No column may be all zeros: every class must be observable.

    Example:
        >>> import torch
        >>> loss = ForwardCorrection(((.8, .2), (.2, .8)))
        >>> round(loss(torch.tensor([[1e4, 0.0]]), torch.tensor([1])).item(), 4)  # -log .2, not 10000
        1.6094
    """

    transition: Transition
    short: ClassVar[str] = "FWD"

    @model_validator(mode="after")
    def _observable(self) -> Self:
        for k, column in enumerate(zip(*self.transition, strict=True)):
            if max(column) == 0:
                raise ValueError(f"ForwardCorrection.transition never gives class {k}: its column is zero")
        return self

    @classmethod
    def example(cls, num_classes: int) -> Self:
        return cls(transition=_even(num_classes))

    def formula(self, z: Tensor, y: Tensor) -> Tensor:
        _columns(self.transition, z)
        logs = torch.tensor(self.transition, dtype=torch.float64).log().to(z, non_blocking=True)
        to_label = row_of(logs.T, y)  # log T[k, y], (..., N)
        return -log_sum_exp(z.log_softmax(-1) + to_label)

    def _bounds(self, num_classes: int) -> tuple[float, float]:
        entries = [entry for row in self.transition for entry in row]
        return -math.log(max(entries)), math.inf if min(entries) == 0 else -math.log(min(entries))

    def _symmetry(self, num_classes: int) -> float | None:
        if any(row != self.transition[0] for row in self.transition):
            return None
        return -sum(math.log(entry) for entry in self.transition[0])


class BackwardCorrection(Loss):
    """L = -sum_j T^-1[y, j] log p_j: a combination of losses whose mean over the noise is the clean loss.

    The loss is unbiased for any model: sum_k T[n, k] L(z, k) = -log p_n for every z. It has no lower bound, because
    T^-1 has negative entries. Patrini et al., CVPR 2017.

    Args:
        transition: T, as in `ForwardCorrection`; must be invertible.

    Example:
        >>> import torch
        >>> z = torch.tensor([[1.0, 0.0]]).expand(2, 2)
        >>> each = BackwardCorrection(((.8, .2), (.2, .8)))(z, torch.tensor([0, 1]), reduction="none")
        >>> round((.8 * each[0] + .2 * each[1]).item(), 4)  # the clean loss of class 0
        0.3133
    """

    transition: Transition
    short: ClassVar[str] = "BWD"

    @model_validator(mode="after")
    def _invertible(self) -> Self:
        condition = float(np.linalg.cond(np.array(self.transition)))
        if condition > 1e12:
            raise ValueError(f"BackwardCorrection.transition must be invertible, got condition number {condition:.1e}")
        return self

    @classmethod
    def example(cls, num_classes: int) -> Self:
        return cls(transition=_even(num_classes))

    def formula(self, z: Tensor, y: Tensor) -> Tensor:
        _columns(self.transition, z)
        matrix = torch.tensor(self.transition, dtype=torch.float64)
        inverse: Tensor = torch.linalg.inv_ex(matrix).inverse.to(z, non_blocking=True)
        rows, log_p = row_of(inverse, y), z.log_softmax(-1)
        masked = (rows * log_p.isneginf()).sum(-1)  # the total weight of the masked classes
        return torch.where(masked == 0, -(rows * finite_log(log_p)).sum(-1), masked.sign() * torch.inf)

    def _bounds(self, num_classes: int) -> tuple[float, float]:
        return (-math.inf if np.linalg.inv(np.array(self.transition)).min() < -1e-12 else 0.0), math.inf


class SoftBootstrap(Loss):
    """L = -sum_k (beta [k = y] + (1 - beta) p_k) log p_k = beta CE + (1 - beta) H(p).

    The target is a mixture of the label and the prediction itself. The gradient also flows through the target, so the
    second term pulls toward low entropy. Reed et al., "Training Deep Neural Networks on Noisy Labels with
    Bootstrapping", 2014 (ICLR 2015 workshop).

    Args:
        beta: weight of the label, 0 to 1; .95 in the paper.

    Example:
        >>> import torch
        >>> round(SoftBootstrap()(torch.zeros(1, 10), torch.tensor([3])).item(), 4)
        2.3026
    """

    beta: float = Field(default=0.95, ge=0, le=1)
    main: ClassVar[str | None] = "beta"
    short: ClassVar[str] = "BS-soft"

    def formula(self, z: Tensor, y: Tensor) -> Tensor:
        log_p = z.log_softmax(-1)
        entropy = -(log_p.exp() * finite_log(log_p)).sum(-1)
        return (1 - self.beta) * entropy + weighted(-self.beta, pick(log_p, y))

    def formula_of_all(self, z: Tensor) -> Tensor:
        log_p = z.log_softmax(-1)
        entropy = -(log_p.exp() * finite_log(log_p)).sum(-1, keepdim=True)
        return (1 - self.beta) * entropy + weighted(-self.beta, log_p)

    def _bounds(self, num_classes: int) -> tuple[float, float]:
        return 0.0, math.inf if self.beta > 0 else math.log(num_classes)


class HardBootstrap(Loss):
    """L = -beta log p_y - (1 - beta) log max_k p_k.

    Like `SoftBootstrap`, but with the predicted class instead of the predicted probabilities. Reed et al. 2014.

    Args:
        beta: weight of the label, 0 to 1; .8 in the paper.

    Example:
        >>> import torch
        >>> round(HardBootstrap()(torch.tensor([[9.0, 0.0]]), torch.tensor([1])).item(), 4)  # .8 of 9.0001
        7.2001
    """

    beta: float = Field(default=0.8, ge=0, le=1)
    main: ClassVar[str | None] = "beta"
    short: ClassVar[str] = "BS-hard"

    def formula(self, z: Tensor, y: Tensor) -> Tensor:
        log_p = z.log_softmax(-1)
        return weighted(-self.beta, pick(log_p, y)) - (1 - self.beta) * log_p.amax(-1)

    def formula_of_all(self, z: Tensor) -> Tensor:
        log_p = z.log_softmax(-1)
        return weighted(-self.beta, log_p) - (1 - self.beta) * log_p.amax(-1, keepdim=True)

    def _bounds(self, num_classes: int) -> tuple[float, float]:
        return 0.0, math.inf if self.beta > 0 else math.log(num_classes)
