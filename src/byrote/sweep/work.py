"""What a worker does with one task: train its cohort and commit each run. Also what `serial` calls."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from byrote.experiment import Experiment
from byrote.files import sha256
from byrote.store import commit
from byrote.store.plan import clear_running, mark_running
from byrote.training import Progress, train

__all__ = ["work"]


def work(task: Mapping[str, Any], emit: Callable[[dict[str, Any]], object]) -> None:
    """Train the experiments of one task and commit each run.

    Args:
        task: {"root", "device", "threads", "weights", "imports", "specs"}.
        emit: called with every event, a JSON-ready mapping.
    """
    torch.set_num_threads(task["threads"])
    root = Path(task["root"])
    experiments = [Experiment(**spec) for spec in task["specs"]]
    keys = [e.key for e in experiments]
    mark_running(root, keys, {"epoch": 0, "epochs": experiments[0].training.epochs})

    def heard(progress: Progress) -> None:
        if progress.readings:
            mark_running(root, keys, {"epoch": progress.epoch, "epochs": progress.epochs})
        rows = {key: {name: row[name] for name in ("j1", "j2")} for key, row in progress.readings.items()}
        emit({"event": "epoch", "epoch": progress.epoch, "epochs": progress.epochs, "rows": rows})

    try:
        for run in train(experiments, device=task["device"], on_epoch=heard, keep_weights=task["weights"]):
            numerics = {"precision": run.experiment.training.precision, "threads": task["threads"], "compiled": False}
            commit(root, run, {**numerics, "device": task["device"]}, _sources(task["imports"]))
            emit({"event": "run", "key": run.key, "status": run.status, "error": run.error})
    finally:
        clear_running(root, keys)


def _sources(modules: list[str]) -> dict[str, str]:
    """The checksum of the source of each of the user's modules."""
    files = {module: getattr(sys.modules.get(module), "__file__", None) for module in modules}
    return {module: sha256(file) for module, file in files.items() if file}
