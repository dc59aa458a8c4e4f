"""Collapse and memorization as `torchmetrics.Metric`s: the same numbers from one or several processes.

Samplers that divide a data set among processes pad it, so that some samples are seen twice. Every metric here gets the
position of each sample in its data set (`index`) and counts each sample once.

Each class here is an ordinary `Metric`, with `update`, `compute`, `reset`, `forward`, `plot` and `merge_state`. It can
be part of a `MetricCollection`, which must be called with keyword arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from byrote.adapters.optional import base
from byrote.adapters.states import (
    PerSample,
    first_of_each,
    joined,
    positions,
    positive,
    scalars,
    side_by_side,
    states_of,
)
from byrote.checks import class_labels, counted, integers, matrix
from byrote.checks import logits as checked_logits
from byrote.measures.blocks import checked
from byrote.measures.mem import distances, fates, j1, j2, memorization_of, observed_of
from byrote.measures.moments import ClassMoments
from byrote.measures.variability import Convention, nc1

__all__ = ["MemorizationDistance", "MemorizationRates", "NeuralCollapseNC1"]

if TYPE_CHECKING:
    from torchmetrics import Metric
else:
    Metric = base("torchmetrics", "Metric", "torchmetrics")

_PARTS = ("counts", "origin", "offsets", "packed", "spread")  # tensors of `ClassMoments` that added samples change
_LAST = ("last_index", "last_labels", "last_features")


class NeuralCollapseNC1(Metric):
    """Variability collapse NC1 over all processes, with each sample counted once; on test data it is the dilation.

    Formula: (1/N) tr(Sigma_W Sigma_B^+), see `byrote.measures.nc1`. State: class moments, float64 and centered
    (N x M means, M x M scatter), one byte per sample, and the last batch.

    Padded samples are counted once because padding occurs only in the last batch of a process. So the last batch of
    each process is kept separate and added only in `compute`, when the samples of the other processes are known.

    Args:
        num_classes: N. width: M. size: samples in the data set; `index` runs over 0..size-1.
        counts: (N,) final class counts, required for the class-averaged value if class sizes differ.
        convention: as for `byrote.measures.nc1`.
        options: those of `torchmetrics.Metric`, such as `process_group` or `sync_on_compute`.

    Called as a function, it takes a batch and returns NC1 of this batch alone, or NaN if a class is missing in the
    batch.

    Raises: ValueError if two processes have both seen a sample before their last batch. In this case each process
    iterated over the whole data set; use a DistributedSampler.

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
    plot_lower_bound = 0.0

    final: Tensor | None  # (N,)
    counts: Tensor  # (P, N): P is 1, or the number of processes after synchronization
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
        **options: Any,
    ) -> None:
        super().__init__(**options)
        N, M = positive("num_classes", num_classes), positive("width", width)
        self.num_classes, self.width, self.size, self.convention = N, M, positive("size", size), convention
        final = None if counts is None else integers("counts", counts)
        self.register_buffer("final", final, persistent=False)
        empty = self._of(torch.zeros(0, M, dtype=torch.float64), torch.zeros(0, dtype=torch.int64))
        for name in _PARTS:
            self.add_state(name, getattr(empty, name)[None], dist_reduce_fx=side_by_side)
        self.add_state("epsilon", torch.zeros(1, dtype=torch.float64), dist_reduce_fx=side_by_side)
        self.add_state("seen", torch.zeros(1, size, dtype=torch.uint8), dist_reduce_fx=side_by_side)
        for name in _LAST:
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, index: Tensor, features: Tensor, labels: Tensor) -> None:
        """Add a batch: positions `index` (B,) in the data set, `features` (B, M), integer `labels` (B,)."""
        features, labels = checked(features, labels, self.num_classes)
        if features.shape[1] != self.width:
            raise ValueError(f"expected features of width {self.width}, got {features.shape[1]}")
        index = positions(index, self.size, features)
        self._fold_last_batch()
        rows = first_of_each(index)
        rows = rows[self.seen[0, index[rows]] == 0]
        self.epsilon.clamp_(min=torch.finfo(features.dtype).eps if features.is_floating_point() else 0.0)
        self.last_index = [index[rows]]
        self.last_labels = [labels[rows]]
        self.last_features = [features[rows].to(torch.float64)]

    def forward(self, index: Tensor, features: Tensor, labels: Tensor) -> Tensor:
        """Take a batch and return NC1 of its samples alone, by the same convention."""
        self.update(index, features, labels)
        features, labels = self.last_features[0], self.last_labels[0]  # without copies
        counts = torch.bincount(labels, minlength=self.num_classes) if self.convention == "class-averaged" else None
        batch = ClassMoments.of(features, labels, self.num_classes, counts=counts)
        value = self._value(batch)
        self._forward_cache = value  # type: ignore[assignment]  # torchmetrics declares None, but keeps the value here
        return value

    def compute(self) -> Tensor:
        """NC1 as a float64 scalar; NaN in the same cases as `byrote.measures.nc1`."""
        return self._value(self._moments())

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Plot the current or earlier values of NC1, as `torchmetrics.Metric` does; needs matplotlib."""
        return self._plot(val, ax)

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Merge another metric over the same data set; samples of the last batches count once.

        Raises:
            ValueError: the kinds or sizes differ, or both have seen a sample before their last batch.
        """
        other = states_of(self, incoming_state)
        twice = int(((self.seen[0] > 0) & (other["seen"].amax(0) > 0)).sum())
        if twice:
            raise ValueError(
                f"each metric must see its own share of the samples, got {twice} samples that both have seen"
            )
        merged = self._part(0)
        for part in range(len(other["counts"])):
            merged = merged + self._part(part, other)
        for name in _PARTS:
            setattr(self, name, getattr(merged, name)[None])
        self.seen = torch.maximum(self.seen, other["seen"].amax(0, keepdim=True))
        self.epsilon.clamp_(min=float(other["epsilon"].max()))
        last = [joined([*getattr(self, name), *_listed(other[name])]) for name in _LAST]
        if last[0] is not None:
            rows = first_of_each(last[0])
            rows = rows[self.seen[0, last[0][rows]] == 0]
            for name, state in zip(_LAST, last, strict=True):
                setattr(self, name, [] if state is None else [state[rows]])
        self._update_count, self._computed = max(self._update_count, 1), None

    def moments(self) -> ClassMoments:
        """The class moments of all processes, from which the other measures of collapse can be computed."""
        with self.sync_context(should_unsync=True):
            return self._moments()

    def sync(
        self,
        dist_sync_fn: Callable[..., Any] | None = None,
        process_group: Any = None,
        should_sync: bool = True,
        distributed_available: Callable[[], bool] | None = None,
    ) -> None:
        """Gather the states; a process without a batch takes part with an empty batch of the right type."""
        if not self.last_index:
            self.last_index = [torch.zeros(0, dtype=torch.int64, device=self.device)]
            self.last_labels = [torch.zeros(0, dtype=torch.int64, device=self.device)]
            self.last_features = [torch.zeros(0, self.width, dtype=torch.float64, device=self.device)]
        super().sync(dist_sync_fn, process_group, should_sync, distributed_available)

    def _fold_last_batch(self) -> None:
        """Merge the batch that was kept separate into the moments of this process."""
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
                f"each process must see its own share of the samples, got {often} samples that more than one process "
                "has seen: give the loader a DistributedSampler"
            )
        moments = self._part(0)
        for part in range(1, len(self.counts)):
            moments = moments + self._part(part)
        index, labels, features = (joined(x) for x in (self.last_index, self.last_labels, self.last_features))
        if index is None or labels is None or features is None:
            return moments
        rows = first_of_each(index)
        rows = rows[self.seen.amax(0)[index[rows]] == 0]
        return moments + self._of(features[rows], labels[rows])

    def _value(self, moments: ClassMoments) -> Tensor:
        return torch.tensor(nc1(moments, convention=self.convention), dtype=torch.float64, device=self.device)

    def _part(self, part: int, states: dict[str, Any] | None = None) -> ClassMoments:
        """The moments of one process, from this metric or from other states."""
        parts = {name: (getattr(self, name) if states is None else states[name])[part] for name in _PARTS}
        return ClassMoments(**parts, final=self.final, epsilon=float(self.epsilon.max()))

    def _of(self, features: Tensor, labels: Tensor) -> ClassMoments:
        return ClassMoments.of(features, labels, self.num_classes, counts=self.final)


class MemorizationRates(PerSample):
    """J1, J2 and the fate of clean and corrupted samples over all processes, with each sample counted once.

    Formula: J1 = share predicted as the observed label, J2 = share predicted as the true label (Patel & Sastry, PAKDD
    2021), see `byrote.measures.j1` and `fates`. State: 25 bytes per sample. Feed it in eval mode, at the end of an
    epoch.

    Args:
        size: samples in the training set; `index` runs over 0..size-1.
        options: those of `torchmetrics.Metric`, such as `process_group` or `sync_on_compute`.

    >>> import torch
    >>> metric = MemorizationRates(size=3)
    >>> logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    >>> metric.update(torch.arange(3), logits, true_labels=torch.tensor([0, 0, 1]),
    ...               observed_labels=torch.tensor([0, 1, 1]))
    >>> {name: round(value.item(), 2) for name, value in metric.compute().items() if name in ("j1", "j2")}
    {'j1': 1.0, 'j2': 0.67}
    """

    plot_lower_bound, plot_upper_bound = 0.0, 1.0
    predicted: Tensor  # (P, size) int64

    def __init__(self, size: int, **options: Any) -> None:
        super().__init__(size, **options)
        self._add("predicted", torch.int64)

    def update(self, index: Tensor, logits: Tensor, true_labels: Tensor, observed_labels: Tensor) -> None:
        """Take a batch: positions (B,), logits (B, N) or predicted classes (B,), and both labels (B,).

        Raises: ValueError for logits that predict no class (NaN, infinite, one column) and for wrong shapes or labels;
        TypeError for labels that are not integers. Such a batch is discarded completely.
        """
        if len(np.shape(logits)) == 1:
            predicted = counted("predictions", logits)
            true, observed = counted("true_labels", true_labels), counted("observed_labels", observed_labels)
        else:
            answers = checked_logits("logits", logits)
            predicted, N = answers.argmax(-1), answers.shape[1]
            true = class_labels("true_labels", true_labels, N, len(answers))
            observed = class_labels("observed_labels", observed_labels, N, len(answers))
        self._put(positions(index, self.size, predicted), predicted=predicted, true=true, observed=observed)

    def compute(self) -> dict[str, Tensor]:
        """The columns of the history j1, j2, realised_rate, clean_accuracy, corrupted_as_observed,
        corrupted_as_true."""
        predicted, true, observed = self._columns("predicted", "true", "observed")
        shares = fates(predicted, true, observed).columns()
        return scalars({"j1": j1(predicted, observed), "j2": j2(predicted, true), **shares}, self.device)


class MemorizationDistance(PerSample):
    """The readings of mem over all processes, with each sample counted once.

    Formula: sum over corrupted i of ||h_i - mu_true(i)||, mu_n the TEST class means (Nguyen et al., ICLR 2023, eq. 3),
    see `byrote.measures.memorization`. State: 25 bytes per sample; features are not kept. The test means must be set
    first, from `NeuralCollapseNC1.moments().means` over the test set, and again at each evaluation, because they
    change.

    Args:
        size: samples in the training set; `index` runs over 0..size-1.
        options: those of `torchmetrics.Metric`, such as `process_group` or `sync_on_compute`.

    Raises: RuntimeError if `update` is called before `measure_from`.

    >>> import torch
    >>> metric = MemorizationDistance(size=3)
    >>> metric.measure_from(torch.tensor([[0.0, 0.0], [4.0, 0.0]]))
    >>> metric.update(torch.arange(3), torch.tensor([[0.0, 0.0], [3.0, 0.0], [4.0, 0.0]]),
    ...               true_labels=torch.tensor([0, 0, 1]), observed_labels=torch.tensor([0, 1, 1]))
    >>> metric.compute()["mem_relative"].item()
    0.75
    """

    plot_lower_bound = 0.0
    away: Tensor  # (P, size) float64
    epsilon: Tensor  # (P,)
    test_means: Tensor | None

    def __init__(self, size: int, **options: Any) -> None:
        super().__init__(size, **options)
        self._add("away", torch.float64)
        self.add_state("epsilon", torch.zeros(1, dtype=torch.float64), dist_reduce_fx=side_by_side)
        self.register_buffer("test_means", None, persistent=False)

    def measure_from(self, test_means: Tensor) -> None:
        """Begin an evaluation: discard all samples, and measure from these class means of the test data (N, M)."""
        test_means = matrix("test_means", test_means)
        self.reset()
        self.test_means = test_means.to(self.device, torch.float64)

    def update(self, index: Tensor, features: Tensor, true_labels: Tensor, observed_labels: Tensor) -> None:
        """Add a batch: positions (B,), features (B, M), and true and observed labels (B,)."""
        if self.test_means is None:
            raise RuntimeError("mem is measured from test class means: call measure_from(test_means) first")
        features, true = checked(features, true_labels, len(self.test_means))
        if features.shape[1] != self.test_means.shape[1]:
            raise ValueError(f"expected features of width {self.test_means.shape[1]}, got {features.shape[1]}")
        index = positions(index, self.size, features)
        observed = observed_of(observed_labels, len(self.test_means), len(features))
        self.epsilon.clamp_(min=torch.finfo(features.dtype).eps if features.is_floating_point() else 0.0)
        away = distances(features, true, self.test_means)
        self._put(index, away=away, true=true, observed=observed)

    def compute(self) -> dict[str, Tensor]:
        """The columns of the history from mem_total to mem_clean_mean."""
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
        return scalars(row, self.device)

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Merge as in `PerSample`; both metrics must have measured from the same test means.

        Raises:
            ValueError: the kinds, the sizes or the test means differ.
        """
        if isinstance(incoming_state, MemorizationDistance):
            mine, theirs = self.test_means, incoming_state.test_means
            if mine is None or theirs is None or not torch.equal(mine, theirs.to(mine.device)):
                raise ValueError("the metrics must measure from the same test means, got different means")
        super().merge_state(incoming_state)


def _listed(state: list[Tensor] | Tensor) -> list[Tensor]:
    """A list state as a list: torchmetrics has a tensor after synchronization."""
    return [state] if isinstance(state, Tensor) else state
