"""A worker process: trains one cohort after another, importing torch once.

`python -m byrote.sweep.worker` reads one JSON task per line from its standard input and writes one JSON event per line
to its standard output: {"event": "epoch" | "run" | "raised" | "done" | "held" | "stopped" | "error", ...}. Results
go straight into the store. The line "stop" ends the current task after its epoch. The process ends when its input
closes, even in the middle of a task, so that no worker outlives its driver.
"""

import json
import os
import sys
import threading
from queue import Queue
from typing import Any, TextIO

__all__ = ["main"]


def _listen(queue: "Queue[dict[str, Any] | None]", stop: threading.Event) -> None:
    """Put tasks into the queue; when the driver is gone, end the process at once."""
    for line in sys.stdin:
        task = json.loads(line)
        if task == "stop":
            stop.set()
            continue
        queue.put(task)
        if task is None:
            return
    os._exit(3)


def main() -> int:
    """The worker's loop."""
    out: TextIO = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # output of libraries goes to standard error, not into the events
    queue: Queue[dict[str, Any] | None] = Queue()
    stop = threading.Event()
    threading.Thread(target=_listen, args=(queue, stop), daemon=True).start()

    def emit(event: dict[str, Any]) -> None:
        out.write(json.dumps(event) + "\n")

    task = queue.get()
    if task is not None:
        from byrote.sweep.attempt import attempt
    while task is not None:
        attempt(task, emit, stop.is_set)
        task = queue.get()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
