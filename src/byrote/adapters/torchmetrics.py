"""Collapse and memorization as `torchmetrics.Metric`s: the numbers of one process, from any number of them.

Samplers that share a data set among processes pad it: some samples are seen twice. Every state here is told the
position of each sample in its data set (`index`) and counts it once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from byrote.adapters.optional import base
from byrote.checks import class_labels, counted, integers, matrix, same_length
from byrote.checks import logits as checked_logits
from byrote.measures.blocks import checked
from byrote.measures.mem import distances, fates, j1, j2, memorization_of, observed_of
from byrote.measures.moments import ClassMoments
from byrote.measures.variability import Convention, nc1

__all__ = ["MemorizationDistance", "MemorizationRates", "NeuralCollapseNC1"]

_PARTS = ("counts", "origin", "offsets", "packed", "spread")  # the tensors of `ClassMoments` that a sum changes


class NeuralCollapseNC1(base("torchmetrics", "Metric", "torchmetrics")):  # type: ignore[misc]
    """Variability collapse NC1 over every process, each sample counted once; on test data it is the dilation.

    Formula: (1/N) tr(Sigma_W Sigma_B^+), see `byrote.measures.nc1`. State: class moments, float64 and centred
    (N x M means, M x M scatter), one byte a sample, and the last batch.

    How a padded sample is counted once: padding sits in the last batch of a process, so the last batch of each is
    kept apart and joins only in `compute`, when it is known which samples the other processes have seen.

    Args:
        num_classes: N. width: M. size: samples in the data set; `index` runs over 0..size-1.
        counts: (N,) final class counts, needed for the class-averaged value of unequal classes.
        convention: as for `byrote.measures.nc1`.

    Raises: ValueError where two processes have both seen a sample before their last batch: then each iterated the
        whole data set, and it needs a DistributedSampler.

    >>> import torch
    >>> metric = NeuralCollapseNC1(num_classes=2, width=1, size=4)
    >>> metric.update(torch.tensor([0, 1]), torch.tensor([[0.0], [2.0]]), torch.tensor([0, 0]))
    >>> metric.update(torch.tensor([2, 3, 0]), torch.tensor([[10.0], [12.0], [0.0]]), torch.tensor([1, 1, 0]))
    >>> round(metric.compute().item(), 12)
    0.02
    """

    full_state_update = True
    higher_is_better = False
    is_differentiable = False

    final: Tensor | None  # (N,)
    counts: Tensor  # (P, N): P is 1, or the number of processes once they are synchronised
    origin: Tensor  # (P, M)
    offsets: Tensor  # (P, N, M)
    packed: Tensor  # (P, packed_size(M))
    spread: Tensor  # (P, N)
    epsilon: Tensor  # (P,)
    seen: Tensor  # (P, size), without the last batch
    last_index: list[Tensor]  # (B,) int64
    last_labels: list[Tensor]  # (B,) int64
    last_features: list[Tensor]  # (B, M) float64

    def __init__(
        self,
        num_classes: int,
        width: int,
        size: int,
        counts: Tensor | Sequence[int] | None = None,
        convention: Convention = "class-averaged",
    ) -> None:
        super().__init__()
        N, M = _positive("num_classes", num_classes), _positive("width", width)
        self.num_classes, self.width, self.size, self.convention = N, M, _positive("size", size), convention
        final = None if counts is None else integers("counts", counts)
        self.register_buffer("final", final, persistent=False)
        empty = self._of(torch.zeros(0, M, dtype=torch.float64), torch.zeros(0, dtype=torch.int64))
        for name in _PARTS:
            self.add_state(name, getattr(empty, name)[None], dist_reduce_fx=_side_by_side)
        self.add_state("epsilon", torch.zeros(1, dtype=torch.float64), dist_reduce_fx=_side_by_side)
        self.add_state("seen", torch.zeros(1, size, dtype=torch.uint8), dist_reduce_fx=_side_by_side)
        for name in ("last_index", "last_labels", "last_features"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, index: Tensor, features: Tensor, labels: Tensor) -> None:
        """Take a batch: positions `index` (B,) in the data set, `features` (B, M), integer `labels` (B,)."""
        features, labels = checked(features, labels, self.num_classes)
        if features.shape[1] != self.width:
            raise ValueError(f"features of width {self.width} are needed, got {features.shape[1]}")
        index = _index(index, self.size, features)
        self._fold_last_batch()
        rows = _first_of_each(index)
        rows = rows[self.seen[0, index[rows]] == 0]
        self.epsilon.clamp_(min=torch.finfo(features.dtype).eps if features.is_floating_point() else 0.0)
        self.last_index = [index[rows]]
        self.last_labels = [labels[rows]]
        self.last_features = [features[rows].to(torch.float64)]

    def compute(self) -> Tensor:
        """NC1, a float64 scalar; NaN as for `byrote.measures.nc1`."""
        return torch.tensor(nc1(self._moments(), convention=self.convention), dtype=torch.float64, device=self.device)

    def moments(self) -> ClassMoments:
        """The class moments of all processes, for every other measure of collapse."""
        with self.sync_context(should_unsync=True):
            return self._moments()

    def sync(
        self,
        dist_sync_fn: Callable[..., Any] | None = None,
        process_group: Any = None,
        should_sync: bool = True,
        distributed_available: Callable[[], bool] | None = None,
    ) -> None:
        """Gather the states; a process without a batch takes part with an empty one of the right type."""
        if not self.last_index:
            self.last_index = [torch.zeros(0, dtype=torch.int64, device=self.device)]
            self.last_labels = [torch.zeros(0, dtype=torch.int64, device=self.device)]
            self.last_features = [torch.zeros(0, self.width, dtype=torch.float64, device=self.device)]
        super().sync(dist_sync_fn, process_group, should_sync, distributed_available)

    def _fold_last_batch(self) -> None:
        """Merge the batch kept apart into the moments of this process."""
        if not self.last_index or not len(self.last_index[0]):
            return
        self.seen[0, self.last_index[0]] = 1
        merged = self._part(0) + self._of(self.last_features[0], self.last_labels[0])
        for name in _PARTS:
            setattr(self, name, getattr(merged, name)[None])

    def _moments(self) -> ClassMoments:
        often = int((self.seen.sum(0) > 1).sum())
        if often:
            raise ValueError(
                f"each process needs its own share of the samples, got {often} that more than one has seen: "
                "give the loader a DistributedSampler"
            )
        moments = self._part(0)
        for part in range(1, len(self.counts)):
            moments = moments + self._part(part)
        index, labels, features = (_joined(x) for x in (self.last_index, self.last_labels, self.last_features))
        if index is None or labels is None or features is None:
            return moments
        rows = _first_of_each(index)
        rows = rows[self.seen.amax(0)[index[rows]] == 0]
        return moments + self._of(features[rows], labels[rows])

    def _part(self, part: int) -> ClassMoments:
        parts = {name: getattr(self, name)[part] for name in _PARTS}
        return ClassMoments(**parts, final=self.final, epsilon=float(self.epsilon.max()))

    def _of(self, features: Tensor, labels: Tensor) -> ClassMoments:
        return ClassMoments.of(features, labels, self.num_classes, counts=self.final)


class _PerSample(base("torchmetrics", "Metric", "torchmetrics")):  # type: ignore[misc]
    """A number or two for each sample of a data set of known size, at its position: a sample seen twice is one."""

    full_state_update = True
    is_differentiable = False
    size: int

    seen: Tensor  # (P, size)
    true: Tensor  # (P, size) int64
    observed: Tensor  # (P, size) int64

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = _positive("size", size)
        self._add("seen", torch.uint8)
        self._add("true", torch.int64)
        self._add("observed", torch.int64)

    def _add(self, name: str, dtype: torch.dtype) -> None:
        self.add_state(name, torch.zeros(1, self.size, dtype=dtype), dist_reduce_fx=_side_by_side)

    def _put(self, index: Tensor, **columns: Tensor) -> None:
        """Note a batch; of a sample that comes again, what came first stays."""
        same_length(index=index, **columns)
        index = index.to(self.seen.device)
        rows = _first_of_each(index)
        rows = rows[self.seen[0, index[rows]] == 0]
        self.seen[0, index[rows]] = 1
        for name, values in columns.items():
            column = getattr(self, name)
            column[0, index[rows]] = values.to(rows.device)[rows].to(column.device, column.dtype)

    def _columns(self, *names: str) -> tuple[Tensor, ...]:
        """The named columns over the samples that any process has seen, in the order of the data set."""
        owner = self.seen.argmax(0)  # (size,) first process that has it
        position = self.seen.amax(0).nonzero()[:, 0]
        return tuple(getattr(self, name)[owner[position], position] for name in names)


class MemorizationRates(_PerSample):
    """J1, J2 and the fate of clean and corrupted samples over every process, each sample counted once.

    Formula: J1 = share predicted as the observed label, J2 = as the true one (Patel & Sastry, PAKDD 2021), see
    `byrote.measures.j1` and `fates`. State: 25 bytes a sample. Feed it in eval mode, at the end of an epoch.

    Args:
        size: samples in the training set; `index` runs over 0..size-1.

    >>> import torch
    >>> metric = MemorizationRates(size=3)
    >>> logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    >>> metric.update(torch.arange(3), logits, true_labels=torch.tensor([0, 0, 1]),
    ...               observed_labels=torch.tensor([0, 1, 1]))
    >>> {name: round(value.item(), 2) for name, value in metric.compute().items() if name in ("j1", "j2")}
    {'j1': 1.0, 'j2': 0.67}
    """

    predicted: Tensor  # (P, size) int64

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._add("predicted", torch.int64)

    def update(self, index: Tensor, logits: Tensor, true_labels: Tensor, observed_labels: Tensor) -> None:
        """Take a batch: positions (B,), logits (B, N) or predicted classes (B,), and both labels (B,).

        Raises: ValueError for logits that predict no class (NaN, infinite, one column), shapes and labels that do not
            fit; TypeError for labels that are not integers. Nothing of such a batch is kept.
        """
        if len(np.shape(logits)) == 1:
            predicted = counted("predictions", logits)
            true, observed = counted("true_labels", true_labels), counted("observed_labels", observed_labels)
        else:
            answers = checked_logits("logits", logits)
            predicted, N = answers.argmax(-1), answers.shape[1]
            true = class_labels("true_labels", true_labels, N, len(answers))
            observed = class_labels("observed_labels", observed_labels, N, len(answers))
        self._put(_index(index, self.size, predicted), predicted=predicted, true=true, observed=observed)

    def compute(self) -> dict[str, Tensor]:
        """Columns of the history: j1, j2, realised_rate, clean_accuracy, corrupted_as_observed, corrupted_as_true."""
        predicted, true, observed = self._columns("predicted", "true", "observed")
        fate = fates(predicted, true, observed)
        row = {
            "j1": j1(predicted, observed),
            "j2": j2(predicted, true),
            "realised_rate": fate.realised_rate,
            "clean_accuracy": fate.clean_accuracy,
            "corrupted_as_observed": fate.corrupted_as_observed,
            "corrupted_as_true": fate.corrupted_as_true,
        }
        return _scalars(row, self.device)


class MemorizationDistance(_PerSample):
    """The readings of mem over every process, each sample counted once.

    Formula: sum over corrupted i of ||h_i - mu_true(i)||, mu_n the TEST class means (Nguyen et al., ICLR 2023, eq. 3),
    see `byrote.measures.memorization`. State: 25 bytes a sample; features are not kept. The test means come first,
    from `NeuralCollapseNC1.moments().means` over the test set, and are given anew at each evaluation, as they move.

    Args:
        size: samples in the training set; `index` runs over 0..size-1.

    Raises: RuntimeError in `update` before `measure_from`.

    >>> import torch
    >>> metric = MemorizationDistance(size=3)
    >>> metric.measure_from(torch.tensor([[0.0, 0.0], [4.0, 0.0]]))
    >>> metric.update(torch.arange(3), torch.tensor([[0.0, 0.0], [3.0, 0.0], [4.0, 0.0]]),
    ...               true_labels=torch.tensor([0, 0, 1]), observed_labels=torch.tensor([0, 1, 1]))
    >>> metric.compute()["mem_relative"].item()
    0.75
    """

    away: Tensor  # (P, size) float64
    epsilon: Tensor  # (P,)
    test_means: Tensor | None

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._add("away", torch.float64)
        self.add_state("epsilon", torch.zeros(1, dtype=torch.float64), dist_reduce_fx=_side_by_side)
        self.register_buffer("test_means", None, persistent=False)

    def measure_from(self, test_means: Tensor) -> None:
        """Begin an evaluation: forget the samples, and measure from these test class means (N, M)."""
        test_means = matrix("test_means", test_means)
        self.reset()
        self.test_means = test_means.to(self.device, torch.float64)

    def update(self, index: Tensor, features: Tensor, true_labels: Tensor, observed_labels: Tensor) -> None:
        """Take a batch: positions (B,), features (B, M) and both labels (B,)."""
        if self.test_means is None:
            raise RuntimeError("mem is measured from test class means: call measure_from(test_means) first")
        features, true = checked(features, true_labels, len(self.test_means))
        if features.shape[1] != self.test_means.shape[1]:
            raise ValueError(f"features of width {self.test_means.shape[1]} are needed, got {features.shape[1]}")
        index = _index(index, self.size, features)
        observed = observed_of(observed_labels, len(self.test_means), len(features))
        self.epsilon.clamp_(min=torch.finfo(features.dtype).eps if features.is_floating_point() else 0.0)
        away = distances(features, true, self.test_means)
        self._put(index, away=away, true=true, observed=observed)

    def compute(self) -> dict[str, Tensor]:
        """Columns of the history: mem_total, mem_mean, mem_noise_weighted, mem_relative, mem_weighted_relative,
        mem_clean_mean."""
        if self.test_means is None:
            raise RuntimeError("mem is measured from test class means: call measure_from(test_means) first")
        away, true, observed = self._columns("away", "true", "observed")
        value = memorization_of(away, true, observed, self.test_means, float(self.epsilon.max()))
        row = {
            "mem_total": value.total,
            "mem_mean": value.mean,
            "mem_noise_weighted": value.noise_weighted,
            "mem_relative": value.relative,
            "mem_weighted_relative": value.noise_weighted_relative,
            "mem_clean_mean": value.clean_mean,
        }
        return _scalars(row, self.device)


def _positive(name: str, value: int) -> int:
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
    return value


def _side_by_side(stacked: Tensor) -> Tensor:
    """States of several processes as parts of one: (processes, P, ...) -> (processes * P, ...)."""
    return stacked.flatten(0, 1)


def _index(index: Tensor, size: int, beside: Tensor) -> Tensor:
    """Positions (B,) int64 where the batch is, checked against the data set and the batch."""
    index = class_labels("index", index, size)
    same_length(index=index, batch=beside)
    return index.to(beside.device)


def _first_of_each(index: Tensor) -> Tensor:
    """Rows at which a position occurs for the first time, in order."""
    positions, inverse = torch.unique(index, return_inverse=True)
    rows = torch.arange(len(index), device=index.device)
    first = torch.full_like(positions, len(index)).scatter_reduce(0, inverse, rows, "amin")
    return first.sort().values


def _joined(parts: list[Tensor] | Tensor) -> Tensor | None:
    """A list state as one tensor: torchmetrics leaves a list in one process and a tensor after synchronising."""
    if isinstance(parts, Tensor):
        return parts
    return torch.cat(parts) if parts else None


def _scalars(row: dict[str, float], device: torch.device) -> dict[str, Tensor]:
    return {name: torch.tensor(value, dtype=torch.float64, device=device) for name, value in row.items()}
