"""One attempt at a task, in any process; its last event reports how it ended."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

from byrote.own_code import import_modules
from byrote.store.leases import HeldError
from byrote.sweep.work import work
from byrote.training import Stopped

__all__ = ["attempt"]


def attempt(task: Mapping[str, Any], emit: Callable[[dict[str, Any]], object], stop: Callable[[], bool]) -> None:
    """Run a task and emit its events, the last of which is "done", "held", "stopped" or "error"; no exception is
    raised.

    The driver's module search path is appended to the search path of this process, so that no user module shadows a
    library.

    Args:
        task, emit, stop: see `work`.
    """
    try:
        sys.path += [place for place in task["path"] if place not in sys.path]
        import_modules(task["imports"])
        work(task, emit, stop)
        last: dict[str, Any] = {"event": "done"}
    except HeldError as held:
        last = {"event": "held", "keys": held.keys}
    except Stopped as stopped:
        last = {"event": "stopped", "epoch": stopped.epoch}
    except Exception as error:  # the driver reports the error and goes on to the next task
        last = {"event": "error", "type": type(error).__name__, "message": str(error) or repr(error)}
    emit(last)
