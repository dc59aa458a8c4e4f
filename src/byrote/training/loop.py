"""The training loop over epochs and batches for a whole cohort."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from byrote.engine import EnsembleOptimizer
from byrote.experiment import Experiment
from byrote.losses import LossModule
from byrote.training.checkpoint import Checkpoint
from byrote.training.cohort import Cohort, batches, prepare
from byrote.training.evaluate import snapshots
from byrote.training.record import Record
from byrote.training.run import Run
from byrote.training.steps import optimizer_of, rates

__all__ = ["Progress", "Stopped", "train", "train_epoch"]


@dataclass(frozen=True)
class Progress:
    """The progress after an epoch: the epochs done and, after an evaluation, the readings by run key."""

    epoch: int
    epochs: int
    readings: dict[str, dict[str, Any]]


class Stopped(Exception):
    """Training ended early at the request of `stop`; the checkpoint, if there is one, has the epochs done so far."""

    def __init__(self, epoch: int) -> None:
        super().__init__(f"stopped after epoch {epoch}")
        self.epoch = epoch


@contextmanager
def _float32() -> Iterator[None]:
    """In this block, float32 convolutions on a GPU do not use TF32, whose operands have a mantissa of only ten bits."""
    cudnn: Any = torch.backends.cudnn
    settings: list[tuple[Any, str, Any]] = [(cudnn, "allow_tf32", False)]
    if hasattr(cudnn, "conv"):  # torch 2.9 and later, where the older setting may be refused
        settings = [(cudnn.conv, "fp32_precision", "ieee"), (cudnn.rnn, "fp32_precision", "ieee")]
    before = [getattr(holder, name) for holder, name, _ in settings]
    try:
        for holder, name, exact in settings:
            setattr(holder, name, exact)
        yield
    finally:
        for (holder, name, _), value in zip(settings, before, strict=True):
            setattr(holder, name, value)


@_float32()
def train(
    experiments: Sequence[Experiment],
    device: str | torch.device = "cpu",
    on_epoch: Callable[[Progress], None] | None = None,
    keep_weights: bool = False,
    checkpoint: Checkpoint | None = None,
    stop: Callable[[], bool] | None = None,
) -> list[Run]:
    """Train experiments that share one cohort key as one stacked network, and measure each.

    Args:
        experiments: experiments with the same `cohort_key`.
        device: "cpu", "cuda", ...; never part of the key.
        on_epoch: called after every epoch.
        keep_weights: put each run's trained weights into its `Run`.
        checkpoint: saved periodically; if it contains these runs, training continues from it, with the same results.
        stop: called after every epoch except the last; if it returns true, the checkpoint is saved and training ends.

    Returns:
        One `Run` per experiment, in the order given. If the loss or the features of a run are no longer finite, the run
        ends with status "failed" and an error that gives the epoch; the other runs continue.

    Raises:
        Stopped: `stop` returned true before the last epoch.
    """
    began = time.perf_counter()
    cohort = prepare(experiments, device)
    optimizer = optimizer_of(cohort.network, [e.training for e in cohort.experiments])
    records = [Record() for _ in cohort.experiments]
    seconds = {"training": 0.0, "evaluation": 0.0}
    settings = cohort.experiments[0].training
    done = checkpoint.restore(cohort, optimizer, records) if checkpoint is not None else 0
    if cohort.start is not None and not done:
        optimizer = _train_start(cohort, cohort.start, stop)
    for epoch in range(done + 1, settings.epochs + 1):
        start = time.perf_counter()
        losses = train_epoch(cohort, optimizer, epoch - 1)
        _note_divergence(records, losses, epoch)
        middle = time.perf_counter()
        readings = {}
        if epoch % settings.evaluate_every == 0 or epoch == settings.epochs:
            readings = _evaluate(cohort, records, losses, epoch)
        seconds["training"] += middle - start
        seconds["evaluation"] += time.perf_counter() - middle
        if checkpoint is not None and epoch < settings.epochs:
            checkpoint.save(cohort, optimizer, records, epoch)
        if on_epoch is not None:
            on_epoch(Progress(epoch, settings.epochs, readings))
        if all(record.error for record in records):
            break
        if stop is not None and epoch < settings.epochs and stop():
            if checkpoint is not None:
                replace(checkpoint, seconds=0.0).save(cohort, optimizer, records, epoch)
            raise Stopped(epoch)
    seconds["cohort"] = time.perf_counter() - began
    runs = {
        experiment.key: record.finish(cohort, s, seconds, keep_weights)
        for s, (experiment, record) in enumerate(zip(cohort.experiments, records, strict=True))
    }
    return [runs[e.key] for e in experiments]


def _train_start(cohort: Cohort, start: LossModule, stop: Callable[[], bool] | None) -> EnsembleOptimizer:
    """Train with the `start` loss of the experiments, and return a new optimizer for the second, measured phase.

    Weights and running statistics are kept. No checkpoint is saved in this phase, so after a stop the phase starts
    again.
    """
    under = replace(cohort, losses=[(start, slice(0, cohort.size))])
    settings = [e.training for e in cohort.experiments]
    optimizer = optimizer_of(cohort.network, settings)
    for epoch in range(settings[0].epochs):
        train_epoch(under, optimizer, epoch)
        if stop is not None and stop():
            raise Stopped(0)
    return optimizer_of(cohort.network, settings)


def train_epoch(cohort: Cohort, optimizer: EnsembleOptimizer, epoch: int) -> list[float]:
    """One pass over the training samples (epochs count from 0); returns each run's mean loss.

    No operation here waits for the device.
    """
    settings = cohort.experiments[0].training
    network, images = cohort.network, cohort.train.images
    network.train()
    optimizer.set_rates(rates([e.training for e in cohort.experiments], epoch))
    order = cohort.permutations()
    bounds = batches(order.shape[1], settings.batch_size, settings.drop_last)
    losses = []
    for start, stop in bounds:
        index = order[:, start:stop]  # (S, B)
        labels = cohort.observed.gather(1, index)
        optimizer.zero_grad()
        logits = network.head(cohort.dropped(network.features(images, index)))
        loss = cohort.per_run_loss(logits, labels, index)  # (S,)
        loss.backward(torch.ones_like(loss))
        optimizer.step()
        losses.append(loss.detach())
    counts = torch.tensor([float(stop - start) for start, stop in bounds], dtype=torch.float64, device=cohort.device)
    means: list[float] = (counts @ torch.stack(losses).double() / counts.sum()).tolist()
    return means


def _note_divergence(records: list[Record], losses: list[float], epoch: int) -> None:
    for record, loss in zip(records, losses, strict=True):
        if not record.error and not math.isfinite(loss):
            record.error = f"diverged in epoch {epoch}: the training loss is {loss}; lower the learning rate"


def _evaluate(cohort: Cohort, records: list[Record], losses: list[float], epoch: int) -> dict[str, dict[str, Any]]:
    """The readings of every run that is still being trained, by key; they are also added to the runs' records."""
    readings = {}
    for experiment, record, loss, snapshot in zip(cohort.experiments, records, losses, snapshots(cohort), strict=True):
        row = None if record.error else record.note(snapshot, epoch, loss)
        if row is not None:
            readings[experiment.key] = row
    return readings
