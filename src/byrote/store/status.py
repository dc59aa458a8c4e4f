"""The state of a store: which runs are done, failed, being trained, or left out.

A run is being trained while its lease is held (`byrote.store.leases`); its progress is in `DIR/.running/<key>.json`.
`DIR/unavailable.json` lists the runs whose data were not available when the study was last run, with the reason for
each.
"""

import json
import os
import socket
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from byrote.files import write_atomic
from byrote.store.facts import Facts
from byrote.store.leases import leased
from byrote.store.mirror import discard, refresh, share
from byrote.store.plan import Plan, older_versions
from byrote.store.runs import committed
from byrote.store.sealed import read_sealed, write_sealed
from byrote.store.verified import whole_runs

__all__ = ["clear_abandoned", "clear_running", "mark_running", "mark_unavailable", "not_run", "state_of"]

_EVERY = 10.0  # seconds between two uploads of the note of a run, if the store is a bucket


def mark_running(root: Path, keys: Iterable[str], facts: Mapping[str, Any]) -> None:
    """Note that this process is training these runs, and how many epochs are done."""
    folder = root / ".running"
    folder.mkdir(exist_ok=True)
    about = {"pid": os.getpid(), "host": socket.gethostname(), "time": time.time()}
    note = json.dumps({**about, **facts}, allow_nan=False)
    for key in keys:
        write_atomic(folder / f"{key}.json", note, durable=False, parents=False)
        share(root, folder / f"{key}.json", every=_EVERY)


def clear_running(root: Path, keys: Iterable[str]) -> None:
    """Remove the notes of runs that are no longer being trained."""
    discard(root, [root / ".running" / f"{key}.json" for key in keys])


def clear_abandoned(root: Path, keys: Iterable[str]) -> None:
    """Remove the notes of these runs unless a process is still training them."""
    there = {path.stem for path in (root / ".running").glob("*.json")}.intersection(keys)
    if there:
        clear_running(root, there - leased(root))


def mark_unavailable(root: Path, reasons: Mapping[str, str]) -> None:
    """Note which runs (by key) have no data on this machine and why; this replaces earlier notes."""
    path = root / "unavailable.json"
    if reasons:
        write_sealed(path, reasons, parents=False)
        share(root, path)
    else:
        discard(root, [path])


def not_run(root: Path, plan: Plan, done: Iterable[str]) -> list[dict[str, str]]:
    """Key, part and reason of every run that was left out because its data are unavailable, except runs that are done.

    Raises:
        ValueError: the file that names them is damaged.
    """
    path = root / "unavailable.json"
    try:
        reasons, _ = read_sealed(path)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError) as error:
        raise ValueError(f"{error}; delete it, and the next `byrote run` writes it again") from None
    whole = set(done)
    return [
        {"key": entry.key, "part": entry.part, "reason": f"not run: data not available: {reasons[entry.key]}"}
        for entry in plan.entries
        if entry.key in reasons and entry.key not in whole
    ]


def state_of(root: Path) -> dict[str, Any]:
    """The numbers of missing, running, done, failed, damaged and unavailable runs, with the reasons for the last three
    kinds.

    A run counts as damaged if its manifest has changed since it was written, or if its facts are known to contradict
    its spec (`byrote.store.facts`). Only `byrote verify` checks the other files of a run.

    Raises:
        ValueError: the folder is not a store.
    """
    refresh(root)
    plan = Plan.read(root)
    if plan is None:
        raise ValueError(f"{root} is not a store: it has no plan.json; name the folder that `byrote run` created")
    present = plan.present(committed(root))
    manifests, flaws = whole_runs(root, present.values(), ())
    runs = ((entry, manifests.get(present.get(entry.key, ""))) for entry in plan.entries)
    flaws |= Facts(compute=False).flaws(runs)
    states: Counter[str] = Counter(missing=0, running=0, done=0, failed=0, damaged=0, unavailable=0)
    missing, failures, running, left_out = [], [], [], not_run(root, plan, present)
    without_data, in_hand = {run["key"] for run in left_out}, leased(root)
    for entry in plan.entries:
        if present.get(entry.key) in flaws:
            states["damaged"] += 1
        elif entry.key in present:
            manifest = manifests[present[entry.key]]
            states[manifest["status"]] += 1
            if manifest["status"] == "failed":
                failures.append({"key": entry.key, "part": entry.part, "error": manifest["error"]})
        elif entry.key in in_hand:
            states["running"] += 1
            running.append({"key": entry.key, "part": entry.part, **_note(root, entry.key)})
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
        "damages": [{"key": flaw.key, "error": flaw.sentence(root)} for flaw in flaws.values()],
        "not_run": left_out,
        "in_hand": running,
        "older_versions": {version: len(keys) for version, keys in older_versions(root, plan).items()},
    }


def _note(root: Path, key: str) -> dict[str, Any]:
    """The last note of the process that trains a run: pid, host, time, epoch, epochs."""
    with suppress(OSError, ValueError):
        note = json.loads((root / ".running" / f"{key}.json").read_text("utf-8"))
        if isinstance(note, dict) and "epoch" in note and "epochs" in note:
            return note
    return {"epoch": 0, "epochs": 0}
