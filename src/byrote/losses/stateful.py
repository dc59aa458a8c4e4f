"""Losses that remember every sample between epochs. The state is in the module, never in the spec."""

import math
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from byrote import checks
from byrote.losses.base import Loss, LossModule, Reduction, result_dtype, widen, without_autocast
from byrote.losses.stable import pick

__all__ = ["EarlyLearning", "RememberingLoss", "RememberingModule"]


class RememberingLoss(Loss, abstract=True):
    """Base of losses that store a vector t (N,) per sample; subclasses define `remembered` and `formula_with`."""

    stateful: ClassVar[bool] = True

    def remembered(self, z: Tensor, t: Tensor) -> Tensor:
        """The updated t (..., N) after the samples had the logits z (..., N)."""
        raise NotImplementedError(f"{type(self).__name__} needs a method remembered(z, t)")

    def formula_with(self, z: Tensor, y: Tensor, t: Tensor) -> Tensor:
        """The loss of each sample given its t, (..., N), (...), (..., N) -> (...)."""
        raise NotImplementedError(f"{type(self).__name__} needs a method formula_with(z, y, t)")

    def formula(self, z: Tensor, y: Tensor) -> Tensor:
        raise TypeError(
            f"{type(self).__name__} remembers every sample: use loss.module(num_samples=, num_classes=) and call "
            "this module with index="
        )

    def module(
        self, num_samples: int | None = None, num_classes: int | None = None, runs: int | None = None
    ) -> "RememberingModule":
        """Create a module with the loss and its memory, which starts at zero.

        Args:
            num_samples: n, the number of training samples; the index is in 0..n-1.
            num_classes: N.
            runs: S, if S runs are trained in parallel, with logits (S, ..., N), labels and index (S, ...).

        Raises:
            ValueError: num_samples or num_classes is missing or too small.
        """
        if num_samples is None or num_classes is None or num_samples < 1 or num_classes < 2:
            raise ValueError(
                f"{type(self).__name__}.module needs num_samples >= 1 and num_classes >= 2, got {num_samples} and "
                f"{num_classes}"
            )
        return RememberingModule(self, num_samples, num_classes, runs)


class RememberingModule(LossModule):
    """A loss and its memory: the buffer `state` (n, N), or (S, n, N) for S runs.

    In train mode each call updates the rows given by `index`, each row once; in eval mode the rows are only read. The
    memory of a sample does not change if its logits are NaN or infinite.
    """

    loss: RememberingLoss
    state: Tensor

    def __init__(self, loss: RememberingLoss, num_samples: int, num_classes: int, runs: int | None) -> None:
        super().__init__(loss)
        shape = (num_samples, num_classes) if runs is None else (runs, num_samples, num_classes)
        self.register_buffer("state", torch.zeros(shape))

    def per_sample(self, logits: Tensor, labels: Tensor, index: Tensor | None = None) -> Tensor:
        """The loss of each sample, unchecked: logits (..., N), labels (...), index (...) -> (...)."""
        if index is None:
            raise ValueError(f"{self.loss.label} needs index=, the number of each sample in 0..n-1")
        z = widen(logits)
        rows = self._rows(index)
        flat = self.state.view(-1, self.state.shape[-1])  # (S n, N)
        t = flat[rows].to(z.dtype)
        dtype = result_dtype(logits)
        with without_autocast(logits):
            if self.training:
                with torch.no_grad():
                    t = self._updated(z.detach(), t)
                    flat[rows] = t.to(flat.dtype)
            return self.loss.formula_with(z, labels, t).to(dtype)

    def _updated(self, z: Tensor, t: Tensor) -> Tensor:
        """The updated t (..., N); the old t where logits are NaN or infinite, so that a bad batch does no damage."""
        new = self.loss.remembered(z, t)
        return torch.where(new.isfinite().all(-1, keepdim=True), new, t)

    def _rows(self, index: Tensor) -> Tensor:
        if self.state.dim() == 2:
            return index
        S, n, _ = self.state.shape
        first = torch.arange(0, S * n, n, device=index.device)
        return index + first.view(S, *[1] * (index.dim() - 1))

    def forward(
        self, logits: Tensor, labels: Tensor, reduction: Reduction = "mean", index: Tensor | None = None
    ) -> Tensor:
        """Like calling a plain loss, with `index` (...), the number of each sample."""
        y = self.loss.checked(logits, labels, reduction)
        if logits.shape[-1] != self.state.shape[-1]:
            raise ValueError(
                f"the module remembers {self.state.shape[-1]} classes, but the logits have {logits.shape[-1]}"
            )
        if index is not None:
            index = checks.integers("index", index).to(y.device)
            self._check_index(index, y)
        values = self.per_sample(widen(logits), y, index)
        return self.loss.reduced(values, y, reduction).to(result_dtype(logits))

    def _check_index(self, index: Tensor, y: Tensor) -> None:
        if index.shape != y.shape:
            raise ValueError(f"index must have the shape {tuple(y.shape)} of the labels, got {tuple(index.shape)}")
        if self.state.dim() == 3 and (index.dim() == 0 or index.shape[0] != self.state.shape[0]):
            raise ValueError(f"index must start with the {self.state.shape[0]} runs, got {tuple(index.shape)}")
        if not torch.compiler.is_compiling():
            checks.classes("index", index, self.state.shape[-2])


class EarlyLearning(RememberingLoss):
    """L = -log p_y + lambda log(1 - <p, t>), early-learning regularization (ELR).

    t is the running mean of the sample's own predictions, t <- beta t + (1 - beta) p, treated as a constant in the
    gradient. So early predictions still attract the network when it starts to memorize wrong labels. As in the authors'
    code, p is clipped to [1e-4, 1 - 1e-4] in both terms of the regularizer and renormalized in t; without clipping, the
    loss has no lower bound. Liu et al., "Early-Learning Regularization Prevents Memorization of Noisy Labels", NeurIPS
    2020.

    Args:
        beta: decay of the running mean, 0 <= beta < 1; .7 in the authors' CIFAR-10 runs, .9 for CIFAR-100.
        strength: lambda, at least 0; 3 in the authors' CIFAR-10 runs, 7 for CIFAR-100.

    Example:
        >>> import torch
        >>> criterion = EarlyLearning().module(num_samples=4, num_classes=2)
        >>> z, y, index = torch.tensor([[2.0, 0.0]]), torch.tensor([1]), torch.tensor([3])
        >>> first = criterion(z, y, index=index)
        >>> bool(criterion(z, y, index=index) < first)  # the loss now prefers the prediction that it remembers
        True
        >>> criterion.state[3]
        tensor([0.4492, 0.0608])
    """

    beta: float = Field(default=0.7, ge=0, lt=1)
    strength: float = Field(default=3.0, ge=0)
    main: ClassVar[str | None] = "strength"
    short: ClassVar[str] = "ELR"
    clip: ClassVar[float] = 1e-4

    def remembered(self, z: Tensor, t: Tensor) -> Tensor:
        p = z.softmax(-1).clamp(self.clip, 1 - self.clip)
        return self.beta * t + (1 - self.beta) * p / p.sum(-1, keepdim=True)

    def formula_with(self, z: Tensor, y: Tensor, t: Tensor) -> Tensor:
        log_p = z.log_softmax(-1)
        agreement = (log_p.exp().clamp(self.clip, 1 - self.clip) * t).sum(-1)
        return self.strength * torch.log1p(-agreement) - pick(log_p, y)

    def _bounds(self, num_classes: int) -> tuple[float, float]:
        # The minimum is at p_y = 1, where t has converged to the same clipped p.
        rest = (num_classes - 1) * self.clip
        top = 1 - self.clip
        return self.strength * math.log1p(-(top**2 + rest * self.clip) / (top + rest)), math.inf
