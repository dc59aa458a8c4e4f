"""A worker process: trains one cohort after another, importing torch once.

`python -m byrote.sweep.worker` reads one JSON task a line from its standard input and writes one JSON event a line
to its standard output: {"event": "epoch" | "done" | "error", ...}. Results go straight into the store. It ends when its
input closes, also in the middle of a task, so that no worker outlives its driver.
"""

import json
import os
import sys
import threading
from pathlib import Path
from queue import Queue
from typing import Any, TextIO

__all__ = ["main", "work"]


def work(task: dict[str, Any], emit: Any) -> None:
    """Train the experiments of one task and commit each run.

    Args:
        task: {"root", "device", "threads", "weights", "specs"}.
        emit: called with every event, a JSON-ready mapping.
    """
    import torch

    from byrote.experiment import Experiment
    from byrote.store import commit
    from byrote.store.plan import clear_running, mark_running
    from byrote.training import Progress, train

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
            commit(root, run, {**numerics, "device": task["device"]})
            emit({"event": "run", "key": run.key, "status": run.status, "error": run.error})
    finally:
        clear_running(root, keys)


def _listen(queue: "Queue[dict[str, Any] | None]") -> None:
    """Pass tasks on; when the driver is gone, end the process at once."""
    for line in sys.stdin:
        task = json.loads(line)
        queue.put(task)
        if task is None:
            return
    os._exit(3)


def main() -> int:
    """The worker's loop."""
    out: TextIO = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints goes to standard error, not into the events
    queue: Queue[dict[str, Any] | None] = Queue()
    threading.Thread(target=_listen, args=(queue,), daemon=True).start()

    def emit(event: dict[str, Any]) -> None:
        out.write(json.dumps(event) + "\n")

    first = queue.get()
    if first is not None:
        from byrote.sweep.plan import import_modules

        import_modules(first["imports"])
    task = first
    while task is not None:
        try:
            work(task, emit)
            emit({"event": "done"})
        except Exception as error:  # the driver reports it; the next task goes on
            emit({"event": "error", "type": type(error).__name__, "message": str(error) or repr(error)})
        task = queue.get()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
