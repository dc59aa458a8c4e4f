"""The base class `Loss`: a frozen spec that is called like a torch loss, with classes on the last axis.

To add a loss, write a class with one method, `formula(z, y)`, which computes the loss of each sample as in its paper.
The base class handles shapes, precision, checks, reductions and the `nn.Module`.
"""

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Any, ClassVar, Literal, Self, final

import torch
from pydantic import AfterValidator
from torch import Tensor, nn

from byrote import checks
from byrote.component import Component

__all__ = [
    "Loss",
    "LossModule",
    "PlainLoss",
    "Reduction",
    "result_dtype",
    "widen",
    "without_autocast",
]

Reduction = Literal["mean", "sum", "none"]


def widen(logits: Tensor) -> Tensor:
    """Convert half-precision logits to float32: probabilities and their logarithms need more than 8 or 11 bits."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def result_dtype(logits: Tensor) -> torch.dtype:
    """The dtype of a loss: the dtype of the logits, except float32 for half-precision logits under autocast.

    Why: a GradScaler multiplies the loss by 65,536, which overflows float16. torch's own losses do the same.
    """
    return widen(logits).dtype if torch.is_autocast_enabled(logits.device.type) else logits.dtype


def without_autocast(logits: Tensor) -> AbstractContextManager[None]:
    """A context in which autocast uses no half precision, not even for matrix products."""
    kind = logits.device.type
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()


class Loss(Component, family="losses"):
    """A classification loss of logits z (..., N) and integer labels y (...).

    Subclasses define `formula`. If the loss under all N labels can be computed cheaply at once, they also define
    `formula_of_all`. A subclass with a known range defines `_bounds`, and a subclass with a constant sum over all
    labels defines `_symmetry`. `bounds` and `symmetry` check their argument and return these values.

    Example:
        >>> import torch
        >>> from byrote import losses
        >>> loss = losses.CrossEntropy()
        >>> round(loss(torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 1])).item(), 4)
        0.41
        >>> loss(torch.zeros(3, 4, 10), torch.zeros(3, 4, dtype=torch.int64), reduction="none").shape
        torch.Size([3, 4])
    """

    main: ClassVar[str | None] = None
    short: ClassVar[str] = ""
    stateful: ClassVar[bool] = False

    def formula(self, z: Tensor, y: Tensor) -> Tensor:
        """The loss of each sample, (..., N), (...) -> (...); z is float32 or float64, y is int64 in 0..N-1."""
        raise NotImplementedError(f"{type(self).__name__} needs a method formula(z, y)")

    def formula_of_all(self, z: Tensor) -> Tensor:
        """The loss of each sample under every label, (..., N) -> (..., N).

        This default evaluates `formula` for all N labels in one call, which takes N times the memory.
        """
        N = z.shape[-1]
        every = torch.arange(N, device=z.device).expand(z.shape)  # (..., N)
        return self.formula(z.unsqueeze(-2).expand(*z.shape, N), every)

    def sample_weight(self, y: Tensor, dtype: torch.dtype) -> Tensor | None:
        """The weight of each sample in the mean, or None if all weights are equal."""
        return None

    @final
    def bounds(self, num_classes: int) -> tuple[float, float]:
        """The infimum and supremum of the loss over all logits in R^N and all labels.

        Args:
            num_classes: N, at least 2.

        Returns:
            The two ends; -inf and inf for a loss with unknown range.

        Example:
            >>> from byrote import losses
            >>> losses.MeanSquaredError(on="probabilities").bounds(10)
            (0.0, 2.0)
        """
        return self._bounds(_at_least_two(num_classes))

    @final
    def symmetry(self, num_classes: int) -> float | None:
        """The constant C with sum_j L(z, j) = C for every z, or None if the loss is not symmetric.

        Why: under `Symmetric(eta)` noise the noisy risk of a symmetric loss is C eta/(N-1) + (1 - eta N/(N-1)) times
        the clean risk. So noise does not change the order of risks for eta < (N-1)/N (Ghosh, Kumar & Sastry 2017).

        Args:
            num_classes: N, at least 2.

        Example:
            >>> from byrote import losses
            >>> round(losses.RobustLog(alpha=.1).symmetry(10), 4), losses.CrossEntropy().symmetry(10)
            (23.979, None)
        """
        return self._symmetry(_at_least_two(num_classes))

    def _bounds(self, num_classes: int) -> tuple[float, float]:
        """The range that `bounds` returns; by default all real numbers, for a loss with unknown range."""
        return -math.inf, math.inf

    def _symmetry(self, num_classes: int) -> float | None:
        """The constant that `symmetry` returns; by default None, for a loss whose sum over all labels depends on z."""
        return None

    @classmethod
    def example(cls, num_classes: int) -> Self:
        """An instance with default values, and with typical values for required arguments."""
        return cls()

    @property
    def label(self) -> str:
        """The short name in tables and figures."""
        return self.short or type(self).__name__

    @property
    def parameter(self) -> float:
        """The main parameter (alpha, q, gamma, ...) as a number; NaN if there is none."""
        return math.nan if self.main is None else float(getattr(self, self.main))

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of each sample for training loops: without checks and without waiting for the device.

        Args:
            logits: (..., N), any floating dtype; half precision is computed in float32.
            labels: (...), int64 within 0..N-1 (not checked).

        Returns:
            (...), in the dtype of the logits; under autocast at least float32.
        """
        dtype = result_dtype(logits)
        with without_autocast(logits):
            return self.formula(widen(logits), labels).to(dtype)

    def __call__(
        self, logits: Tensor, labels: Tensor, reduction: Reduction = "mean", index: Tensor | None = None
    ) -> Tensor:
        """The loss of a batch.

        Args:
            logits: (..., N), classes on the last axis, any leading batch shape, N >= 2.
            labels: (...), integer classes within 0..N-1.
            reduction: "mean" or "sum" over all samples, or "none".
            index: (...), the numbers of the samples; only losses that remember samples use it.

        Returns:
            A scalar, or (...) without reduction, in the dtype of the logits; under autocast at least float32, like
            torch's losses.

        Raises:
            ValueError: shapes that do not fit, labels outside 0..N-1, an unknown reduction.
            TypeError: logits that are not floating point, labels that are not integers.
        """
        y = self.checked(logits, labels, reduction)
        dtype = result_dtype(logits)
        with without_autocast(logits):
            return self.reduced(self.formula(widen(logits), y), y, reduction).to(dtype)

    def ignores(self, y: Tensor) -> Tensor | None:
        """A mask (...) of the labels to ignore, or None if every label is a class."""
        return None

    def checked(self, logits: Tensor, labels: Tensor, reduction: str) -> Tensor:
        """Check shape, dtype and range of the labels and return them as int64.

        The range is not checked in compiled code."""
        checks.one_of("reduction", reduction, ("mean", "sum", "none"))
        if not isinstance(logits, Tensor):
            raise TypeError(f"logits must be a torch.Tensor, got a {type(logits).__name__}")
        if not logits.is_floating_point():
            raise TypeError(f"logits must be floating point, got {logits.dtype}")
        labels = checks.integers("labels", labels).to(logits.device)
        if logits.dim() == 0 or logits.shape[-1] < 2:
            raise ValueError(f"logits must have 2 or more classes on the last axis, got {tuple(logits.shape)}")
        if labels.shape != logits.shape[:-1]:
            raise ValueError(
                f"labels must have the shape {tuple(logits.shape[:-1])} of the logits without their last axis, "
                f"got {tuple(labels.shape)}{_shape_hint(labels, logits)}"
            )
        if not torch.compiler.is_compiling():
            ignored = self.ignores(labels)
            checks.classes("labels", labels if ignored is None else labels[~ignored], logits.shape[-1])
        return labels.long()

    def reduced(self, values: Tensor, y: Tensor, reduction: str) -> Tensor:
        """Reduce the values (...); a weighted mean divides by the sum of the weights, as in torch."""
        if reduction == "none":
            return values
        if reduction == "sum":
            return values.sum()
        weight = self.sample_weight(y, values.dtype)
        return values.mean() if weight is None else values.sum() / weight.sum()

    def module(
        self, num_samples: int | None = None, num_classes: int | None = None, runs: int | None = None
    ) -> "LossModule":
        """Wrap this loss in an `nn.Module`; only losses that remember samples use the arguments.

        Example:
            >>> import torch
            >>> from byrote import losses
            >>> criterion = losses.RobustLog(alpha=.1).module()
            >>> criterion(torch.zeros(4, 10), torch.arange(4)).shape
            torch.Size([])
        """
        return LossModule(self)


def _plain(loss: Loss) -> Loss:
    if loss.stateful:
        raise ValueError(f"the inner loss must not remember samples, but {loss.label} remembers every sample")
    return loss


PlainLoss = Annotated[Loss, AfterValidator(_plain)]


class LossModule(nn.Module):
    """A loss as a module: `forward` checks its arguments and reduces the result, `per_sample` does neither."""

    def __init__(self, loss: Loss) -> None:
        super().__init__()
        self.loss = loss

    def per_sample(self, logits: Tensor, labels: Tensor, index: Tensor | None = None) -> Tensor:
        """Like `Loss.per_sample`; only losses that remember samples use the index."""
        return self.loss.per_sample(logits, labels)

    def forward(
        self, logits: Tensor, labels: Tensor, reduction: Reduction = "mean", index: Tensor | None = None
    ) -> Tensor:
        """Like calling the loss itself."""
        return self.loss(logits, labels, reduction, index)

    def extra_repr(self) -> str:
        return repr(self.loss)


def _shape_hint(labels: Tensor, logits: Tensor) -> str:
    """A hint for the user if the labels are a column (..., 1) or one-hot."""
    if labels.shape == (*logits.shape[:-1], 1):
        return ": pass them without the last axis, [..., 0]"
    return ": one-hot labels become classes with .argmax(-1)" if labels.shape == logits.shape else ""


def _at_least_two(num_classes: Any) -> int:
    if not isinstance(num_classes, int) or num_classes < 2:
        raise ValueError(f"num_classes must be an integer of at least 2, got {num_classes!r}")
    return num_classes
