"""What a worker does with one task: train its cohort and commit each run. Also what `serial` calls."""

import gc
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from byrote.experiment import Experiment
from byrote.files import sha256
from byrote.store import commit
from byrote.store.plan import clear_running, mark_running
from byrote.training import Checkpoint, Progress, train

__all__ = ["work"]

log = logging.getLogger("byrote")

Emit = Callable[[dict[str, Any]], object]


def work(task: Mapping[str, Any], emit: Emit) -> None:
    """Train the experiments of one task and commit each run; out of memory, in two halves, and so on.

    Args:
        task: {"root", "device", "threads", "weights", "imports", "name", "specs"}.
        emit: called with every event, a JSON-ready mapping.
    """
    torch.set_num_threads(task["threads"])
    experiments = [Experiment(**spec) for spec in task["specs"]]
    keys = [e.key for e in experiments]
    mark_running(Path(task["root"]), keys, {"epoch": 0, "epochs": experiments[0].training.epochs})
    try:
        _halving(task, experiments, task["name"], emit)
    finally:
        clear_running(Path(task["root"]), keys)


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
        commit(root, run, numerics | dict(run.numerics), _sources(task["imports"]))
        emit({"event": "run", "key": run.key, "status": run.status, "error": run.error})
    checkpoint.discard()


def _sources(modules: list[str]) -> dict[str, str]:
    """The checksum of the source of each of the user's modules."""
    files = {module: getattr(sys.modules.get(module), "__file__", None) for module in modules}
    return {module: sha256(file) for module, file in files.items() if file}
