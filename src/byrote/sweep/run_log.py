"""One log per run: a worker writes what happens to each run of its task, line by line, into `DIR/log/KEY.txt`."""

import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from byrote.store.log import note_run

__all__ = ["logged"]

Emit = Callable[[dict[str, Any]], object]


def logged(root: Path, keys: Sequence[str], emit: Emit) -> Emit:
    """Wrap `emit` so that events are also written to the logs of the runs; the first line, which names the process, is
    written at once."""
    beside = f", {len(keys)} runs together" if len(keys) > 1 else ""
    note_run(root, keys, f"begins on {socket.gethostname()}, process {os.getpid()}{beside}")

    def emit_and_note(event: dict[str, Any]) -> None:
        if event["event"] == "epoch":
            for key, row in event["rows"].items():
                numbers = ", ".join(f"{name.upper()} {value:.4f}" for name, value in row.items())
                note_run(root, [key], f"epoch {event['epoch']} of {event['epochs']}: {numbers}")
        elif event["event"] == "run":
            note_run(root, [event["key"]], event["status"] + (f": {event['error']}" if event["error"] else ""))
        elif event["event"] == "raised":
            note_run(root, [event["key"]], f"raised {event['error']}\n{event['trace'].rstrip()}")
        emit(event)

    return emit_and_note
