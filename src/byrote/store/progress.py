"""The speed, remaining time and problems of the sweeps on a store, from its events and notes. This module never loads
torch."""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from byrote.store.log import read_costs, read_events

__all__ = ["problems_of", "progress_of"]

_LATEST = 50  # number of the latest finished runs from which the rate is computed

Event = Mapping[str, Any]


def progress_of(root: Path, state: Mapping[str, Any], now: float | None = None) -> dict[str, Any]:
    """The drivers, rate, remaining time and problems of a store, in addition to the counts of `state_of`.

    Args:
        root: the store.
        state: the result of `state_of`.
        now: seconds since 1970; None: the current time.

    Returns:
        drivers: the number of drivers at work; runs_per_hour: the rate of their latest runs (None: unknown);
            seconds_left: the remaining time, from this rate and the cost of the missing runs (None: unknown); problems:
            see `problems_of`.
    """
    now = time.time() if now is None else now
    events, costs = read_events(root), read_costs(root)
    drivers = _active(events, {str(note.get("host")) for note in state["in_hand"]})
    done = [event for event in events if event["event"] == "run" and event.get("driver") in drivers]
    since = min((float(event["time"]) for event in drivers.values()), default=now)
    if len(done) > _LATEST:
        since = float(done[-_LATEST - 1]["time"])
    latest, elapsed = done[-_LATEST:], max(now - since, 1e-9)
    in_hand = [
        (costs.get(note["key"], 0.0), min(note.get("epoch", 0) / max(note.get("epochs", 1), 1), 1.0))
        for note in state["in_hand"]
    ]
    spent = sum(float(event.get("cost", 0.0)) for event in latest) + sum(cost * share for cost, share in in_hand)
    left = sum(costs.get(key, 0.0) for key in state["missing_keys"]) + sum(c * (1 - share) for c, share in in_hand)
    return {
        "drivers": len(drivers),
        "runs_per_hour": len(latest) / elapsed * 3600 if latest else None,
        "seconds_left": left * elapsed / spent if spent > 0 and drivers else None,
        "problems": problems_of(events, state["failures"], set(state["missing_keys"])),
    }


def _active(events: Sequence[Event], hosts: Iterable[str]) -> dict[str, Event]:
    """The first event of each driver that still seems to be at work, by the driver's name."""
    import socket

    begun: dict[str, Event] = {}
    for event in events:
        driver = str(event.get("driver"))
        if event["event"] == "begin":
            begun[driver] = event
        elif event["event"] == "end":
            begun.pop(driver, None)
    here, busy = socket.gethostname(), set(hosts)
    return {
        driver: event
        for driver, event in begun.items()
        if (_is_running(int(event.get("pid", 0))) if event.get("host") == here else event.get("host") in busy)
    }


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def problems_of(
    events: Iterable[Event], failures: Iterable[Mapping[str, Any]], missing: set[str]
) -> list[dict[str, Any]]:
    """Problems by kind, the most frequent first.

    Args:
        events: the events of the store, by time.
        failures: the runs that ended "failed": key and error.
        missing: the keys of the runs that are not finished; earlier problems of finished runs are left out.

    Returns:
        One mapping per kind: kind (diverged, the type of an exception, "worker died", or "not carried out"), runs,
        first (the first line of one run's error message), and key (the key of that run, whose log has the full
        message).
    """
    latest: dict[str, tuple[str, str]] = {failure["key"]: ("diverged", failure["error"]) for failure in failures}
    for event in events:
        if event["event"] == "raised":
            about = [str(event.get("key"))], str(event.get("error", "")).partition(":")[0], str(event.get("error", ""))
        elif event["event"] == "lost":
            again = "starts again" if event.get("again") else "is given up"
            about = list(event.get("keys", ())), "worker died", f"{event.get('how')}; the run {again}"
        elif event["event"] == "error":
            about = list(event.get("keys", ())), "not carried out", str(event.get("message", ""))
        else:
            continue
        keys, kind, text = about
        latest |= {key: (kind, text) for key in keys if key in missing}
    kinds: dict[str, dict[str, Any]] = {}
    for key, (kind, text) in latest.items():
        problem = kinds.setdefault(kind, {"kind": kind, "runs": 0, "first": (text.splitlines() or [""])[0], "key": key})
        problem["runs"] += 1
    return sorted(kinds.values(), key=lambda problem: (-problem["runs"], problem["kind"]))
