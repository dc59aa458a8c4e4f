"""The log of a store, `DIR/log/`, for people and programs that watch it.

| file | what |
|---|---|
| `events-HOST-PID-TOKEN.jsonl` | one JSON object per line, appended by one driver (see `EVENTS`) |
| `KEY.txt` | what happened to one run, in words: its process, its evaluated epochs, its end, a traceback |
| `costs.json` | multiply-adds of each run's training, by key, from which the remaining time is predicted |

Nothing here is needed to continue or to read results. If a line cannot be written, it is left out and the sweep
continues.
"""

import json
import os
import secrets
import socket
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from byrote.files import write_atomic
from byrote.store.mirror import share

__all__ = ["EVENTS", "EventLog", "note_run", "read_costs", "read_events", "write_costs"]

_EVERY = 10.0  # seconds between two uploads of the events, if the store is a bucket

EVENTS = {
    "begin": "a driver starts: host, pid, study, on (its executor), planned, done, todo (runs), tasks, cost",
    "run": "a run is in the store: key, status (done or failed), error, cost",
    "raised": "a run raised an exception: key, error",
    "held": "another driver is training the runs: keys",
    "lost": "a worker died: keys, how (its exit code), attempt, again (whether the runs start again)",
    "error": "the runs could not be trained: keys, type, message",
    "stopped": "the runs were stopped after an epoch, with a checkpoint: keys, epoch",
    "end": "the driver ends: done, left, reason (empty, interrupted, cancelled, or the time is up)",
}
"""The events by name, with their fields in addition to `event`, `driver` and `time` (seconds since 1970)."""


class EventLog:
    """The events of one driver.

    Args:
        root: the store.
    """

    def __init__(self, root: Path) -> None:
        self.driver = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._root, self._path = root, root / "log" / f"events-{self.driver}.jsonl"
        with suppress(OSError):
            self._path.parent.mkdir(exist_ok=True)

    def write(self, event: str, fields: Mapping[str, Any]) -> None:
        """Append one event, in one write, so that a reader never sees half a line of a running driver."""
        line = {"time": round(time.time(), 3), "driver": self.driver, "event": event, **fields}
        _append(self._path, json.dumps(line) + "\n")
        with suppress(OSError):
            share(self._root, self._path, every=0.0 if event in ("begin", "end") else _EVERY)


def note_run(root: Path, keys: Iterable[str], text: str) -> None:
    """Append a line, or several, to the logs of runs, with the time."""
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    for key in keys:
        _append(root / "log" / f"{key}.txt", f"{stamp} {text}\n")


def _append(path: Path, text: str) -> None:
    with suppress(OSError):  # results will show a full disk; a lost store is not recreated
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, text.encode())
        finally:
            os.close(file)


def read_events(root: Path) -> list[dict[str, Any]]:
    """Every event of every driver, by time; an incomplete line is left out."""
    events = []
    for path in sorted((root / "log").glob("events-*.jsonl")):
        with suppress(OSError):
            for line in path.read_text("utf-8", errors="replace").splitlines():
                with suppress(ValueError):
                    event = json.loads(line)
                    if isinstance(event, dict) and isinstance(event.get("time"), (int, float)) and "event" in event:
                        events.append(event)
    return sorted(events, key=lambda event: float(event["time"]))


def write_costs(root: Path, costs: Mapping[str, float]) -> None:
    """Add the multiply-adds of these runs, by key, to the stored costs."""
    known = read_costs(root)
    if not costs.keys() <= known.keys():
        with suppress(OSError):
            write_atomic(root / "log" / "costs.json", json.dumps({**known, **costs}, sort_keys=True) + "\n")
            share(root, root / "log" / "costs.json")


def read_costs(root: Path) -> dict[str, float]:
    """The multiply-adds of each run, by key; empty if none are known."""
    try:
        costs = json.loads((root / "log" / "costs.json").read_text("utf-8"))
        return {str(key): float(cost) for key, cost in costs.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
