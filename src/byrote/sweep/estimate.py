"""`byrote run --dry-run`: how many runs and tasks a study has and how long they will take, without training them.

The time of a run is its number of multiply-adds divided by a rate. For each network, the rate comes from the finished
runs in the store. If there are none, a few batches and one evaluation are timed here.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import torch

from byrote.data import Images
from byrote.experiment import Experiment
from byrote.measures.snapshot import read
from byrote.sweep.cost import training_cost
from byrote.sweep.plan import Task
from byrote.training import Cohort, optimizer_of, prepare, train_epoch
from byrote.training.evaluate import snapshots

__all__ = ["Estimate", "estimate"]

_TIMED = 6  # the most kinds of runs that are timed; others get the median rate
_SECONDS = 1.0  # seconds for which training is timed


@dataclass(frozen=True)
class Estimate:
    """What a sweep would do.

    Attributes:
        planned, done, runs, tasks: the numbers of planned runs, of finished runs, of runs that would be trained, and of
            their tasks.
        flop: floating-point operations of this training, two per multiply-add, without evaluations.
        core_seconds: the time that one worker would need for all tasks; NaN if no rate is known.
        seconds: the time that all workers together would need, at least the time of the longest task.
        source: the source of the rate, in words.
        parts: runs, flop and core_seconds of each part of the study.
    """

    planned: int
    done: int
    runs: int
    tasks: int
    flop: float
    core_seconds: float
    seconds: float
    source: str
    parts: tuple[dict[str, Any], ...]


def estimate(
    todo: Sequence[Task],
    parts: Mapping[str, str],
    done: Mapping[str, Mapping[str, Any]],
    experiments: Mapping[str, Experiment],
    sizes: Mapping[str, tuple[int, ...]],
    workers: int,
    device: str,
) -> Estimate:
    """Estimate the time of the tasks of a sweep.

    Args:
        todo: the tasks to be done.
        parts: the part of the study that each run belongs to, by key.
        done: the manifests of the finished runs, by their keys in the plan.
        experiments: all runs of the plan, by key.
        sizes: (n, C, H, W) of the training images, by the digest of their data set.
        workers: the number of workers.
        device: the device on which the workers would train.
    """

    def cost(e: Experiment) -> float:
        return training_cost(e, sizes[e.data.digest()])

    rates, source = _rates(todo, done, experiments, cost, device)
    seconds = {e.key: cost(e) / rates[_kind(e)] for task in todo for e in task.experiments}
    rows: dict[str, dict[str, Any]] = {}
    for task in todo:
        for e in task.experiments:
            row = rows.setdefault(parts[e.key], {"part": parts[e.key], "runs": 0, "flop": 0.0, "core_seconds": 0.0})
            row["runs"] += 1
            row["flop"] += 2 * cost(e)
            row["core_seconds"] += seconds[e.key]
    total = sum(seconds.values())
    longest = max((sum(seconds[key] for key in task.keys) for task in todo), default=0.0)
    return Estimate(
        planned=len(experiments),
        done=len(done),
        runs=len(seconds),
        tasks=len(todo),
        flop=sum(row["flop"] for row in rows.values()),
        core_seconds=total,
        seconds=max(total / workers, longest),
        source=source,
        parts=tuple(rows.values()),
    )


def _kind(experiment: Experiment) -> str:
    """The kind of a run: runs of the same kind train at the same rate."""
    return f"{experiment.network.digest()} {experiment.training.precision} {experiment.training.batch_size}"


def _rates(
    todo: Sequence[Task],
    done: Mapping[str, Mapping[str, Any]],
    experiments: Mapping[str, Experiment],
    cost: Callable[[Experiment], float],
    device: str,
) -> tuple[dict[str, float], str]:
    """Multiply-adds per second for each kind of run that is left, and the source of these rates."""
    stored: dict[str, list[float]] = defaultdict(list)
    for key, manifest in done.items():
        clock = manifest.get("seconds", {})
        spent = (clock.get("training", 0.0) + clock.get("evaluation", 0.0)) / clock.get("cohort_size", 1.0)
        same = manifest.get("numerics", {}).get("device", device) == device
        if manifest.get("status") == "done" and spent > 0 and same and key in experiments:
            stored[_kind(experiments[key])].append(cost(experiments[key]) / spent)
    rates = {kind: median(values) for kind, values in stored.items()}
    kinds: dict[str, Task] = {}
    for task in todo:
        kinds.setdefault(_kind(task.experiments[0]), task)
    timed = [kind for kind in kinds if kind not in rates][:_TIMED]
    began = time.perf_counter()
    for kind in timed:
        with suppress(Exception):  # a user's own code can raise anything; the sweep itself reports it
            spent = _seconds_a_run(kinds[kind].experiments, device)
            rates[kind] = cost(kinds[kind].experiments[0]) / max(spent, 1e-9)
    rest = median([rate for rate in rates.values() if rate > 0] or [math.nan])
    here = f"timed here for {time.perf_counter() - began:.0f} s" if timed else ""
    there = f"from {sum(len(values) for values in stored.values())} runs in the store" if stored else ""
    return {kind: rates.get(kind, rest) or rest for kind in kinds}, " and ".join(p for p in (there, here) if p)


def _seconds_a_run(experiments: Sequence[Experiment], device: str) -> float:
    """Time some batches and one evaluation of a cohort; returns the seconds that training one run would take."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        cohort = prepare(experiments, device)
        settings, samples = cohort.experiments[0].training, len(cohort.train.labels)
        one = _seconds(lambda: _train_on(cohort, settings.batch_size))
        count = min(max(int(_SECONDS / max(one, 1e-6)), 1) * settings.batch_size, samples)
        epoch = _seconds(lambda: _train_on(cohort, count)) * samples / count
        few = min(max(count, 256), samples)
        part = _part(cohort, few)
        evaluation = _seconds(lambda: [read(snapshot) for snapshot in snapshots(part)]) * samples / few
    finally:
        torch.set_num_threads(threads)
    stages = 1 if experiments[0].start is None else 2
    return (epoch * settings.epochs * stages + evaluation * settings.epochs / settings.evaluate_every) / cohort.size


def _train_on(cohort: Cohort, samples: int) -> None:
    """Train one epoch on only the first samples."""
    optimizer = optimizer_of(cohort.network, [e.training for e in cohort.experiments])
    train_epoch(_part(cohort, samples), optimizer, 0)


def _part(cohort: Cohort, samples: int) -> Cohort:
    """The same runs with only the first training samples and the same fraction of the test samples."""
    held_out = max(len(cohort.test.labels) * samples // len(cohort.train.labels), 1)
    return replace(
        cohort,
        train=_first(cohort.train, samples),
        test=_first(cohort.test, held_out),
        observed=cohort.observed[:, :samples],
        redrawn=[None if which is None else which[:samples] for which in cohort.redrawn],
        test_observed=[None if labels is None else labels[:held_out] for labels in cohort.test_observed],
    )


def _first(images: Images, samples: int) -> Images:
    return Images(images.images[:samples], images.labels[:samples], images.ids[:samples])


def _seconds(action: Callable[[], object]) -> float:
    """The seconds that an action takes, from repeated calls."""
    action()
    began = time.perf_counter()
    action()
    return time.perf_counter() - began
