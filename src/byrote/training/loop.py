"""The training loop: one straight pass over epochs and batches for a whole cohort."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from byrote.experiment import Experiment
from byrote.measures.snapshot import Snapshot, read
from byrote.training.cohort import Cohort, batches, prepare
from byrote.training.evaluate import features_of, margins, snapshots
from byrote.training.facts import facts_of
from byrote.training.optimizer import CohortOptimizer
from byrote.training.run import Columns, Run

__all__ = ["Progress", "train", "train_epoch"]

log = logging.getLogger("byrote")


@dataclass(frozen=True)
class Progress:
    """What a caller hears after each epoch: epochs done and, where it was evaluated, the readings by run key."""

    epoch: int
    epochs: int
    readings: dict[str, dict[str, Any]]


@dataclass
class _Record:
    """One run's notes while it trains."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    learned: Tensor | None = None  # (n,) epoch at which the observed label was first predicted, 0: not yet
    last: Snapshot | None = None
    error: str = ""


def train(
    experiments: Sequence[Experiment],
    device: str | torch.device = "cpu",
    on_epoch: Callable[[Progress], None] | None = None,
    keep_weights: bool = False,
) -> list[Run]:
    """Train experiments that share one cohort key as one stacked network, and measure each.

    Args:
        experiments: see `cohort_key` for what they may differ in.
        device: "cpu", "cuda", ...; never part of the key.
        on_epoch: called after every epoch.
        keep_weights: put each run's trained weights into its `Run`.

    Returns:
        One `Run` an experiment, in the order given. A run whose loss or features stop being finite ends with
        status "failed" and the epoch; its neighbours go on.
    """
    began = time.perf_counter()
    cohort = prepare(experiments, device)
    optimizer = CohortOptimizer(list(cohort.network.parameters()), [e.training for e in cohort.experiments])
    records = [_Record() for _ in cohort.experiments]
    spent = {"training": 0.0, "evaluation": 0.0}
    epochs, every = cohort.experiments[0].training.epochs, cohort.experiments[0].training.evaluate_every
    for epoch in range(epochs):
        start = time.perf_counter()
        losses = train_epoch(cohort, optimizer, epoch)
        _note_divergence(records, losses, epoch + 1)
        middle = time.perf_counter()
        readings = {}
        if (epoch + 1) % every == 0 or epoch + 1 == epochs:
            readings = _evaluate(cohort, records, losses, epoch + 1)
        spent["training"] += middle - start
        spent["evaluation"] += time.perf_counter() - middle
        if on_epoch is not None:
            on_epoch(Progress(epoch + 1, epochs, readings))
        if all(record.error for record in records):
            break
    spent["cohort"] = time.perf_counter() - began
    runs = {
        experiment.key: _finish(cohort, s, record, spent, keep_weights)
        for s, (experiment, record) in enumerate(zip(cohort.experiments, records, strict=True))
    }
    return [runs[e.key] for e in experiments]


def train_epoch(cohort: Cohort, optimizer: CohortOptimizer, epoch: int) -> list[float]:
    """One pass over the training samples; returns each run's mean loss. No synchronisation with the host inside."""
    settings = cohort.experiments[0].training
    network, images = cohort.network, cohort.train.images
    network.train()
    optimizer.set_epoch(epoch)
    order = cohort.permutations()
    bounds = batches(order.shape[1], settings.batch_size, settings.drop_last)
    total = torch.zeros(cohort.size, device=cohort.device, dtype=torch.float64)
    for start, stop in bounds:
        index = order[:, start:stop]  # (S, B)
        x = images.index_select(0, index.reshape(-1)).unflatten(0, index.shape)  # (S, B, C, H, W)
        labels = cohort.observed.gather(1, index)
        optimizer.zero_grad()
        loss = cohort.per_run_loss(network(x), labels)  # (S,)
        loss.sum().backward()
        optimizer.step()
        total += loss.detach().double() * (stop - start)
    means: list[float] = (total / bounds[-1][1]).tolist()
    return means


def _note_divergence(records: list[_Record], losses: list[float], epoch: int) -> None:
    for record, loss in zip(records, losses, strict=True):
        if not record.error and not math.isfinite(loss):
            record.error = f"diverged in epoch {epoch}: the training loss is {loss}; lower the learning rate"


def _evaluate(cohort: Cohort, records: list[_Record], losses: list[float], epoch: int) -> dict[str, dict[str, Any]]:
    readings = {}
    for s, snapshot in enumerate(snapshots(cohort)):
        record, experiment = records[s], cohort.experiments[s]
        if record.error:
            continue
        if not bool(snapshot.features.isfinite().all() and snapshot.logits.isfinite().all()):
            record.error = f"diverged in epoch {epoch}: features or logits are not finite; lower the learning rate"
            continue
        row = {"epoch": epoch, "loss": losses[s], **read(snapshot)}
        hit = snapshot.predicted == snapshot.observed
        learned = record.learned if record.learned is not None else torch.zeros_like(snapshot.observed)
        record.learned = torch.where((learned == 0) & hit, epoch, learned)
        record.rows.append(row)
        record.last = snapshot
        readings[experiment.key] = row
    return readings


def _columns(rows: list[dict[str, Any]]) -> Columns:
    return {name: np.array([row[name] for row in rows]) for name in rows[0]} if rows else {}


def _finish(cohort: Cohort, s: int, record: _Record, spent: dict[str, float], keep_weights: bool) -> Run:
    experiment = cohort.experiments[s]
    samples: Columns = {}
    features: Columns = {}
    if record.last is not None and record.learned is not None:
        samples = {
            "id": cohort.train.ids.numpy(),
            "true": cohort.train.labels.cpu().numpy(),
            "observed": cohort.observed[s].cpu().numpy(),
            "learned_epoch": record.learned.cpu().numpy(),
            "margin": margins(record.last.logits, record.last.observed).cpu().numpy(),
        }
        features = features_of(record.last, cohort.train.ids, cohort.test.ids)
    weights = {}
    if keep_weights and not record.error:
        twin = cohort.network.twin(s)
        weights = {name: value.detach().cpu().numpy() for name, value in twin.state_dict().items()}
    return Run(
        experiment=experiment,
        status="failed" if record.error else "done",
        error=record.error,
        history=_columns(record.rows),
        samples=samples,
        features=features,
        facts=facts_of(experiment, len(cohort.train.labels), len(cohort.test.labels)),
        weights=weights,
        seconds={"cohort_size": float(cohort.size), **{name: round(t, 4) for name, t in spent.items()}},
    )
