"""How far a store is: which runs are done, failed, in hand, or left out.

`DIR/.running/<key>.json` is a run in hand: who trains it and how far it is. `DIR/unavailable.json` names the runs whose
data were not to be had when the study was last run, with the reason.
"""

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from byrote.files import write_atomic
from byrote.store.directory import committed, read_manifest
from byrote.store.plan import Plan, older_versions

__all__ = ["clear_abandoned", "clear_running", "mark_running", "mark_unavailable", "not_run", "state_of"]

_STALE = 120.0  # seconds after which a run in hand on another machine counts as abandoned


def mark_running(root: Path, keys: Iterable[str], facts: Mapping[str, Any]) -> None:
    """Note that this process trains these runs, and how far it is."""
    folder = root / ".running"
    folder.mkdir(parents=True, exist_ok=True)
    note = json.dumps({"pid": os.getpid(), "host": _host(), "time": time.time(), **facts}, allow_nan=False)
    for key in keys:
        write_atomic(folder / f"{key}.json", note)


def clear_running(root: Path, keys: Iterable[str]) -> None:
    """Remove the notes of runs that are no longer in hand."""
    for key in keys:
        (root / ".running" / f"{key}.json").unlink(missing_ok=True)


def clear_abandoned(root: Path, keys: Iterable[str]) -> None:
    """Remove the notes of those of these runs whose process is gone."""
    there = {path.stem for path in (root / ".running").glob("*.json")}
    for key in there.intersection(keys):
        note = _note(root, key)
        if note is not None and not _alive(note):
            clear_running(root, [key])


def mark_unavailable(root: Path, reasons: Mapping[str, str]) -> None:
    """Note which runs (by key) have no data on this machine and why; those noted before are forgotten."""
    path = root / "unavailable.json"
    if reasons:
        write_atomic(path, json.dumps(dict(reasons), indent=1, sort_keys=True) + "\n")
    else:
        path.unlink(missing_ok=True)


def not_run(root: Path, plan: Plan, done: Iterable[str]) -> list[dict[str, str]]:
    """Key, part and reason of every run that was left out for want of data, those that are done excepted.

    Raises:
        ValueError: the file that names them is damaged.
    """
    path = root / "unavailable.json"
    try:
        reasons = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}); delete it, the next `byrote run` writes it anew") from None
    whole = set(done)
    return [
        {"key": entry.key, "part": entry.part, "reason": f"not run: data not available: {reasons[entry.key]}"}
        for entry in plan.entries
        if entry.key in reasons and entry.key not in whole
    ]


def _host() -> str:
    import socket

    return socket.gethostname()


def _alive(note: Mapping[str, Any]) -> bool:
    """Whether the process of a note still runs; on another host, whether the note is fresh."""
    if note.get("host") != _host() or sys.platform == "win32":  # os.kill(pid, 0) would end a Windows process
        return time.time() - float(note.get("time", 0)) < _STALE
    try:
        os.kill(int(note["pid"]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def state_of(root: Path) -> dict[str, Any]:
    """Counts of missing, running, done, failed and unavailable runs, why of the last two, and the runs in hand.

    Raises:
        ValueError: the folder is not a store.
    """
    plan = Plan.read(root)
    if plan is None:
        raise ValueError(f"{root} is not a store: it has no plan.json; name the folder given to `byrote run --out`")
    present = plan.present(committed(root))
    states: Counter[str] = Counter(missing=0, running=0, done=0, failed=0, unavailable=0)
    missing, failures, running, left_out = [], [], [], not_run(root, plan, present)
    without_data = {run["key"] for run in left_out}
    for entry in plan.entries:
        if entry.key in present:
            manifest = read_manifest(root, present[entry.key])
            states[manifest["status"]] += 1
            if manifest["status"] == "failed":
                failures.append({"key": entry.key, "part": entry.part, "error": manifest["error"]})
            continue
        note = _note(root, entry.key)
        if note is not None and _alive(note):
            states["running"] += 1
            running.append({"key": entry.key, "part": entry.part, **note})
        elif entry.key in without_data:
            states["unavailable"] += 1
        else:
            states["missing"] += 1
            missing.append(entry.key)
    return {
        "study": plan.study,
        "scale": plan.scale,
        "file": plan.file,
        "imports": list(plan.imports),
        "runs": len(plan.entries),
        **states,
        "missing_keys": missing,
        "failures": failures,
        "not_run": left_out,
        "in_hand": running,
        "older_versions": {version: len(keys) for version, keys in older_versions(root, plan).items()},
    }


def _note(root: Path, key: str) -> dict[str, Any] | None:
    try:
        note = json.loads((root / ".running" / f"{key}.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return note if isinstance(note, dict) and "pid" in note else None
