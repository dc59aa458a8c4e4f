"""`byrote status DIR --watch` and `byrote cancel DIR`."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from byrote.cli.output import duration, say
from byrote.cli.places import Place

__all__ = ["cancel", "pace", "show_problems", "watch"]

_EVERY = 2.0  # seconds between two checks
_COUNTS = ("done", "failed", "running", "missing", "damaged", "unavailable")


def cancel(folder: Place, /) -> int:
    """Ask every `byrote run` on a store to stop after the current epoch.

    A checkpoint of each current run is saved, from which the same command continues.

    Parameters
    ----------
    folder
        The store.
    """
    from byrote.store.cancel import cancel as ask
    from byrote.store.mirror import located

    folder = located(folder)
    ask(folder)
    say(f"every byrote run on {folder} will stop after the current epoch; the same command continues later")
    return 0


def pace(state: Mapping[str, Any]) -> str:
    """The number of drivers, their speed, and the time left; empty if no driver is at work."""
    if not state["drivers"]:
        return ""
    parts = [f"{state['drivers']} driver" + ("s" if state["drivers"] > 1 else "")]
    if state["runs_per_hour"] is not None:
        parts.append(f"{state['runs_per_hour']:.3g} runs an hour")
    if state["seconds_left"] is not None:
        parts.append(f"{duration(state['seconds_left'])} left")
    return ", ".join(parts)


def show_problems(state: Mapping[str, Any], folder: Path) -> None:
    """Print one line for each kind of failure, with the first line of one error and the name of its log."""
    for problem in state["problems"]:
        log = folder / "log" / f"{problem['key']}.txt"
        more = f" ({log})" if log.is_file() else ""
        say(f"{problem['runs']} x {problem['kind']}, the first {problem['key']}: {problem['first']}{more}")


def watch(folder: Path, as_json: bool) -> int:
    """Print the state repeatedly until no driver is at work and no run is in training; as JSON, one object per line."""
    from byrote.cli.results import state_and_progress

    last = ""
    while True:
        state = state_and_progress(folder)
        if as_json:
            from json import dumps

            sys.stdout.write(dumps(state, allow_nan=False) + "\n")
            sys.stdout.flush()
        else:
            counts = ", ".join(f"{state[name]} {name}" for name in _COUNTS if state[name])
            line = f"{state['runs']} runs: {counts}" + (f"; {pace(state)}" if state["drivers"] else "")
            if line != last:
                sys.stdout.write(("\r\x1b[K" if last and sys.stdout.isatty() else "") + line)
                sys.stdout.write("" if sys.stdout.isatty() else "\n")
                sys.stdout.flush()
            last = line
        if not state["drivers"] and not state["running"]:
            break
        time.sleep(_EVERY)
    if not as_json:
        sys.stdout.write("\n" if sys.stdout.isatty() else "")
        show_problems(state, folder)
    return 0
