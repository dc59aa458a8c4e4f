"""The history of each sample over training: when its label is learned or forgotten, and with what margin."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from byrote.checks import (
    class_labels,
    classes,
    counted,
    epoch_number,
    integers,
    matrix,
    one_axis,
    same_length,
)
from byrote.checks import (
    logits as checked_logits,
)
from byrote.measures.mem import Fates, fates

__all__ = ["SampleHistory", "margins"]

_ROWS = 1024  # number of rows copied together


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """How far the logit of the label is above the largest other logit; negative if the label is not predicted.

    Formula: z_y - max_{k != y} z_k, (n,) in the dtype of the logits (n, C), C at least 2. A NaN logit gives NaN. A
    masked class (logit -inf) is left out of the maximum, and a masked label has margin -inf.

    Raises: ValueError for a single column, or labels that do not fit; TypeError for labels that are not integers.

    >>> import torch
    >>> margins(torch.tensor([[3.0, 1.0, 2.5], [0.0, 4.0, 1.0]]), torch.tensor([0, 2])).tolist()
    [0.5, -3.0]
    """
    logits = matrix("logits", logits)
    if logits.shape[1] < 2:
        raise ValueError(f"logits need 2 or more columns, one per class, got {logits.shape[1]}")
    labels = class_labels("labels", labels, logits.shape[1], len(logits)).to(logits.device)
    parts = [_margins(rows, own[:, None]) for rows, own in zip(logits.split(_ROWS), labels.split(_ROWS), strict=True)]
    return torch.cat(parts)


def _margins(logits: Tensor, labels: Tensor) -> Tensor:
    others = logits.scatter(1, labels, float("-inf"))
    return logits.gather(1, labels)[:, 0] - others.amax(1)


@dataclass(frozen=True, eq=False)
class SampleHistory:
    """The history of n samples over training, as an immutable value. All tensors are (n,).

    The method `after(epoch, logits)` returns the history after the next evaluation.

    Why: wrong labels are learned late (first-learned epoch), forgotten again (forgetting events: Toneva et al. 2019)
    and predicted with small margins (area under the margin, the mean margin over epochs: Pleiss et al. 2020).

    Call `start` with the labels. Then, at each evaluated epoch, call `after` either once with the logits of all samples
    or once per batch with the batch's logits and the `index` of its samples. One epoch of 50,000 samples and 100
    classes takes tens of milliseconds.

    >>> import torch
    >>> history = SampleHistory.start(true=torch.tensor([0, 1]), observed=torch.tensor([0, 0]))
    >>> history = history.after(1, torch.tensor([[2.0, 0.0], [1.0, 3.0]]))
    >>> history = history.after(2, torch.tensor([[0.0, 1.0], [4.0, 3.0]]))
    >>> history.learned_epoch.tolist(), history.forgotten.tolist(), history.aum.tolist()
    ([1, 2], [1, 0], [0.5, -0.5])
    >>> history.fates.corrupted_as_observed
    1.0
    """

    true: Tensor  # int64
    observed: Tensor  # int64
    predicted: Tensor  # int64, the class predicted at the last evaluation; -1 before the first
    learned_epoch: Tensor  # int64, first epoch (from 1) at which the observed label was predicted; 0: never
    forgotten: Tensor  # int64, how often the observed label was predicted but not at the next evaluation
    margin: Tensor  # float64, margin of the observed label at the last evaluation; NaN before the first
    margin_sum: Tensor  # float64
    evaluations: Tensor  # int64

    @classmethod
    def start(cls, true: Tensor, observed: Tensor) -> SampleHistory:
        """Create the history before training from `true` and `observed` labels, (n,) integers in any container.

        Raises: ValueError for other shapes or negative labels, TypeError for floats.
        """
        true, observed = counted("true", true), counted("observed", observed)
        same_length(true=true, observed=observed)
        observed = observed.to(true.device)
        count = torch.zeros(len(true), dtype=torch.int64, device=true.device)
        amount = torch.zeros(len(true), dtype=torch.float64, device=true.device)
        return cls(true, observed, count - 1, count, count, amount * float("nan"), amount, count)

    def after(self, epoch: int, logits: Tensor, index: Tensor | None = None) -> SampleHistory:
        """Add an evaluation at `epoch`: `logits` (n, C) of all samples, or (B, C) of the samples at `index` (B,).

        Raises ValueError for an epoch below 1, for logits that do not fit the samples, for a sample that occurs twice
        in `index`, or for a row of logits that predicts no class (NaN, infinite, all masked). The history itself never
        changes, so a bad batch cannot damage it.
        """
        epoch = epoch_number(epoch)
        logits = checked_logits("logits", logits)
        rows = self._rows(logits, index)
        observed, before = self.observed[rows], self.predicted[rows]
        classes("observed labels", observed, logits.shape[1])
        classes("true labels", self.true[rows], logits.shape[1])
        predicted = logits.argmax(1)
        correct = predicted == observed
        margin = margins(logits, observed).to(torch.float64)
        learned = self.learned_epoch[rows]
        return replace(
            self,
            predicted=_put(self.predicted, rows, predicted),
            learned_epoch=_put(self.learned_epoch, rows, torch.where((learned == 0) & correct, epoch, learned)),
            forgotten=_put(self.forgotten, rows, self.forgotten[rows] + ((before == observed) & ~correct)),
            margin=_put(self.margin, rows, margin),
            margin_sum=_put(self.margin_sum, rows, self.margin_sum[rows] + margin),
            evaluations=_put(self.evaluations, rows, self.evaluations[rows] + 1),
        )

    @property
    def aum(self) -> Tensor:
        """Area under the margin: the mean margin over evaluations, float64; NaN for samples never evaluated."""
        return self.margin_sum / self.evaluations

    @property
    def corrupted(self) -> Tensor:
        """Bool mask of the samples whose observed label is not their true label."""
        return self.true != self.observed

    @property
    def fates(self) -> Fates:
        """Shares of the samples memorized or resisted at their last evaluation so far (see `byrote.measures.fates`)."""
        seen = self.evaluations > 0
        return fates(self.predicted[seen], self.true[seen], self.observed[seen])

    def _rows(self, logits: Tensor, index: Tensor | None) -> Tensor | slice:
        if index is not None:
            index = integers("index", index)
            one_axis("index", index)
        size = len(self.true) if index is None else len(index)
        if len(logits) != size:
            raise ValueError(f"expected logits ({size}, C) for {size} samples, got shape {tuple(logits.shape)}")
        if index is None:
            return slice(None)
        classes("index", index, len(self.true))
        if len(torch.unique(index)) < size:
            raise ValueError(
                f"each sample must occur once in index, got {size - len(torch.unique(index))} repeated entries"
            )
        return index.to(self.true.device)


def _put(column: Tensor, rows: Tensor | slice, values: Tensor) -> Tensor:
    """Copy the column and put new values in the given rows."""
    column = column.clone()
    column[rows] = values.to(column.device)
    return column
