"""What a worker does with one task: train its cohort and commit each run. Also what `serial` calls."""

import gc
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from byrote.experiment import Experiment, digest_contents
from byrote.store import commit
from byrote.store.status import clear_running, mark_running
from byrote.training import Checkpoint, Progress, train

__all__ = ["work"]

log = logging.getLogger("byrote")

Emit = Callable[[dict[str, Any]], object]
_imported: dict[str, tuple[object, str]] = {}  # by module its import and the digest of its source at that time


def work(task: Mapping[str, Any], emit: Emit) -> None:
    """Train the experiments of one task and commit each run; out of memory, in two halves, and so on.

    Args:
        task: {"root", "device", "threads", "weights", "imports", "name", "specs", "keys", "contents"}; the last two
            are those of the plan.
        emit: called with every event, a JSON-ready mapping.

    Raises:
        ValueError: a file or module changed since the study was planned; nothing was trained.
    """
    torch.set_num_threads(task["threads"])
    experiments = [Experiment(**spec) for spec in task["specs"]]
    digest_contents(experiments)
    _check_unchanged(experiments, task)
    keys = [e.key for e in experiments]
    mark_running(Path(task["root"]), keys, {"epoch": 0, "epochs": experiments[0].training.epochs})
    try:
        _halving(task, experiments, task["name"], emit)
    finally:
        clear_running(Path(task["root"]), keys)


def _check_unchanged(experiments: Sequence[Experiment], task: Mapping[str, Any]) -> None:
    """What is trained here must be what was planned: runs are named by the contents of files and modules."""
    for experiment, key, planned in zip(experiments, task["keys"], task["contents"], strict=True):
        names = dict.fromkeys([*planned, *experiment.contents])
        changed = [name for name in names if planned.get(name) != experiment.contents.get(name)]
        changed += [name for name in _stale(experiment.contents) if name not in changed]
        if changed:
            listed = ", ".join(name.replace(":", " ", 1) for name in changed)
            raise ValueError(f"{listed} changed after the study was planned; start the same command again")
        if experiment.key != key:
            raise ValueError(f"run {key} is run {experiment.key} here; use one version of byrote for the whole study")


def _stale(contents: Mapping[str, str]) -> Iterator[str]:
    """The modules whose source changed after this process imported them, as far as it has seen them before."""
    for name, content in contents.items():
        kind, _, module = name.partition(":")
        origin = getattr(sys.modules.get(module), "__spec__", None)
        if kind == "module" and origin is not None:
            first, known = _imported.setdefault(module, (origin, content))
            if first is not origin:  # it was imported again
                _imported[module] = origin, content
            elif known != content:
                yield name


def _halving(task: Mapping[str, Any], experiments: Sequence[Experiment], name: str, emit: Emit) -> None:
    """Train a cohort; if memory does not hold it, its halves one after the other."""
    try:
        _train(task, experiments, name, emit)
    except RuntimeError as error:
        if len(experiments) == 1 or not _out_of_memory(error):
            raise
        log.warning("a cohort of %d runs does not fit into memory and is trained in halves", len(experiments))
    else:
        return
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    middle = len(experiments) // 2
    _halving(task, experiments[:middle], f"{name}-a", emit)
    _halving(task, experiments[middle:], f"{name}-b", emit)


def _out_of_memory(error: RuntimeError) -> bool:
    """CUDA has a class for it; the CPU's allocator only a sentence."""
    return isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error)


def _train(task: Mapping[str, Any], experiments: Sequence[Experiment], name: str, emit: Emit) -> None:
    root, device = Path(task["root"]), task["device"]
    keys = [e.key for e in experiments]
    checkpoint = Checkpoint(root / ".running" / f"{name}.checkpoint")

    def heard(progress: Progress) -> None:
        if progress.readings:
            mark_running(root, keys, {"epoch": progress.epoch, "epochs": progress.epochs})
        rows = {key: {column: row[column] for column in ("j1", "j2")} for key, row in progress.readings.items()}
        emit({"event": "epoch", "epoch": progress.epoch, "epochs": progress.epochs, "rows": rows})

    numerics = {"precision": experiments[0].training.precision, "threads": task["threads"], "device": device}
    for run in train(experiments, device, heard, task["weights"], checkpoint):
        commit(root, run, numerics | dict(run.numerics))
        emit({"event": "run", "key": run.key, "status": run.status, "error": run.error})
    checkpoint.discard()
