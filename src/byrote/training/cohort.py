"""A cohort is a group of runs with the same tensor shapes, which are trained as one stacked network.

The runs of a cohort may differ in loss and its parameter, noise and its rate, seed, learning rate, weight decay and
schedule. All randomness comes from generators with the run's own seed, so a run's numbers do not depend on the other
runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from byrote.component import digest
from byrote.data import Images
from byrote.engine import StackedNetwork, prefers_batched, stack
from byrote.experiment import Experiment
from byrote.losses import Loss, LossModule
from byrote.noise import TransitionNoise

__all__ = ["Cohort", "batches", "cohort_key", "prepare"]


def cohort_key(experiment: Experiment) -> str:
    """A key that is equal for experiments that can be trained together."""
    spec = experiment.spec()
    training = dict(spec["training"], schedule=None)
    training["optimizer"] = dict(training["optimizer"], lr=None, weight_decay=None)
    same = {name: spec[name] for name in ("data", "network", "start", "split_seed")}
    return digest({**same, "training": training, "outputs": experiment.num_outputs})


def batches(samples: int, size: int, drop_last: bool) -> list[tuple[int, int]]:
    """The (start, stop) of every batch of an epoch; a last batch of one sample joins the batch before it.

    >>> batches(10, 4, drop_last=False), batches(9, 4, drop_last=False), batches(10, 4, drop_last=True)
    ([(0, 4), (4, 8), (8, 10)], [(0, 4), (4, 9)], [(0, 4), (4, 8)])
    """
    starts = list(range(0, samples, size))
    if len(starts) > 1 and samples - starts[-1] == 1:
        starts.pop()
    ends = [*starts[1:], samples]
    bounds = list(zip(starts, ends, strict=True))
    whole = [(a, b) for a, b in bounds if b - a >= size]
    return whole if drop_last and whole else bounds


@dataclass
class Cohort:
    """S prepared runs: data on the device, noisy labels, the stacked network, and one order generator per run."""

    experiments: list[Experiment]
    device: torch.device
    train: Images
    test: Images
    observed: Tensor  # (S, n)
    redrawn: list[Tensor | None]  # (n,) bool, samples whose label the noise law redrew; None: it redraws no labels
    test_observed: list[Tensor | None]  # test labels with the run's noise, only for estimates; None: not possible
    network: StackedNetwork
    order: list[torch.Generator]
    masks: list[torch.Generator]
    losses: list[tuple[LossModule, slice]]  # runs with the same loss are adjacent
    start: LossModule | None = None  # the loss of the first phase of training, for all runs

    @property
    def size(self) -> int:
        return len(self.experiments)

    @property
    def feature_width(self) -> int:
        """M, the width of the features that go into the classifier."""
        return max(int(value.shape[-1]) for value in self.network.head.state_dict().values() if value.ndim == 3)

    def permutations(self) -> Tensor:
        """Each run's next order of the training samples (S, n)."""
        n = len(self.train.labels)
        return torch.stack([torch.randperm(n, generator=g) for g in self.order]).to(self.device)

    def dropped(self, features: Tensor) -> Tensor:
        """Features (S, B, M) after dropout, which is drawn separately for each run; unchanged if there is no
        dropout."""
        share_kept = 1 - self.experiments[0].training.dropout
        if share_kept == 1:
            return features
        shape = features.shape[1:]
        masks = torch.stack([torch.rand(shape, generator=g) < share_kept for g in self.masks])
        masks = masks.pin_memory() if self.device.type == "cuda" else masks  # otherwise the host waits for the copy
        return features * masks.to(features.device, non_blocking=True) / share_kept

    def per_run_loss(self, logits: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        """The mean loss of each run on its batch: logits (S, B, outputs), labels and sample numbers (S, B) -> (S,)."""
        if len(self.losses) == 1:
            return self.losses[0][0].per_sample(logits, labels, index).mean(-1)
        parts = [loss.per_sample(logits[s], labels[s], index[s]).mean(-1) for loss, s in self.losses]
        return torch.cat(parts)


def _is_long(network: StackedNetwork, samples: int, epochs: int) -> bool:
    """Whether training is so long (10^15 FLOP or more, at 6 per weight and sample) that compiling for 30 s pays off."""
    return 6.0 * sum(p.numel() for p in network.parameters()) * samples * epochs >= 1e15


def _observed(experiment: Experiment, train: Images) -> Tensor:
    return experiment.noise.corrupt(
        train.labels,
        experiment.data.num_classes,
        experiment.generator("noise"),
        features=train.images.flatten(1),
        ids=train.ids,
    )


def _redrawn(experiment: Experiment, train: Images) -> Tensor | None:
    """The samples whose labels `_observed` has redrawn, computed from the same generator state."""
    return experiment.noise.redrawn(train.labels, experiment.data.num_classes, experiment.generator("noise"))


def _held_out(experiment: Experiment, test: Images) -> Tensor | None:
    """Noisy labels for the test samples; None unless the noise law is a transition matrix over the classes."""
    noise, classes = experiment.noise, experiment.data.num_classes
    if not isinstance(noise, TransitionNoise) or noise.num_outputs(classes) != classes:
        return None
    return noise.corrupt(test.labels, classes, experiment.generator("held-out noise"))


def prepare(experiments: Sequence[Experiment], device: str | torch.device = "cpu") -> Cohort:
    """Load the data, draw the noise and initialize the stacked network for experiments with the same cohort key.

    The experiments are sorted by loss, so that each loss is applied to one slice of the stack.

    Raises:
        ValueError: no experiments, experiments with different cohort keys, or too few training samples.
    """
    if len({cohort_key(e) for e in experiments}) != 1:
        raise ValueError("a cohort needs experiments that share data, network, batch size, epochs and optimizer kind")
    ordered = sorted(experiments, key=lambda e: (e.loss.digest(), e.key))
    first, device = ordered[0], torch.device(device)
    train, test = first.data.load("train", first.split_seed), first.data.load("test", first.split_seed)
    if len(train.labels) < 2:
        raise ValueError(f"training needs at least 2 samples, got {len(train.labels)}")
    network = _stacked(ordered, tuple(train.images.shape[1:]), device)
    if device.type == "cuda" and _is_long(network, len(train.labels), first.training.epochs):
        network.compile_with()
    near = Images(train.images.to(device), train.labels.to(device), train.ids)
    held_out = Images(test.images.to(device), test.labels.to(device), test.ids)
    return Cohort(
        experiments=ordered,
        device=device,
        train=near,
        test=held_out,
        redrawn=[_redrawn(e, near) for e in ordered],
        observed=torch.stack([_observed(e, train) for e in ordered]).to(device),
        test_observed=[_held_out(e, held_out) for e in ordered],
        network=network.to(device),
        order=[e.generator("order") for e in ordered],
        masks=[e.generator("dropout") for e in ordered],
        losses=_losses(ordered, len(train.labels), device),
        start=None if first.start is None else _module(first.start, ordered, len(train.labels), device),
    )


def _stacked(ordered: Sequence[Experiment], input_shape: tuple[int, ...], device: torch.device) -> StackedNetwork:
    """The experiments' networks as one stack; only this function uses both `byrote.networks` and `byrote.engine`."""
    first = ordered[0]
    modules = [first.network.build(input_shape, first.num_outputs, e.generator("weights")) for e in ordered]
    return stack(
        modules,
        input_shape,
        precision=first.training.precision,
        batched=prefers_batched(modules[0], device),
        fuse=first.network.layers_only,
    )


def _module(loss: Loss, members: Sequence[Experiment], samples: int, device: torch.device) -> LossModule:
    """The loss; if it remembers samples, it gets a memory for each of these runs."""
    return loss.module(num_samples=samples, num_classes=members[0].num_outputs, runs=len(members)).to(device)


def _losses(ordered: Sequence[Experiment], samples: int, device: torch.device) -> list[tuple[LossModule, slice]]:
    """Each loss with the slice of runs that use it; a loss that remembers samples gets a memory for each run."""
    losses: list[tuple[LossModule, slice]] = []
    for _, group in groupby(ordered, key=lambda e: e.loss.digest()):
        members = list(group)
        start = losses[-1][1].stop if losses else 0
        losses.append((_module(members[0].loss, members, samples, device), slice(start, start + len(members))))
    return losses
