"""The plan of a store: which runs a study asks for, written once, read as plain data.

`DIR/plan.json` names the study, its scale, the overrides and imported modules, and every run by key, part and spec.
`DIR/.running/<key>.json` is a run in hand: who trains it and how far it is. `DIR/unavailable.json` names the runs whose
data were not to be had when the study was last run, with the reason.
"""

import itertools
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from byrote.component import digest
from byrote.files import write_atomic
from byrote.identity import FORMAT, run_key
from byrote.store.directory import committed, read_manifest, read_spec

__all__ = [
    "Entry",
    "Plan",
    "clear_running",
    "mark_running",
    "mark_unavailable",
    "not_run",
    "older_versions",
    "state_of",
]

_STALE = 120.0  # seconds after which a run in hand on another machine counts as abandoned


@dataclass(frozen=True)
class Entry:
    """One run of a plan.

    Attributes:
        key: the run's name.
        part: the part of the study that asks for it.
        spec: its spec as plain data.
        contents: the digests of the files and modules that the spec names, see `byrote.identity`.
        bind: the fields of the spec that are chosen for its loss, see `byrote.experiment.Part`.
    """

    key: str
    part: str
    spec: dict[str, Any]
    contents: dict[str, str] = field(default_factory=dict)
    bind: tuple[str, ...] = ()

    def keys(self, accepted: Mapping[str, Iterable[str]]) -> Iterator[str]:
        """Its own key, then those it would have with the older contents that were accepted."""
        yield self.key
        choices = [[new, *accepted.get(name, ())] for name, new in self.contents.items()]
        for digests in itertools.islice(itertools.product(*choices), 1, None):
            yield run_key(self.spec, dict(zip(self.contents, digests, strict=True)))


@dataclass(frozen=True)
class Plan:
    """What a store is for.

    Attributes:
        study, scale, overrides, imports: what `byrote run` was asked for.
        entries: every run, in the order of the study.
        accepted: the digests of older contents whose runs still count, by the name of the file or module.
    """

    study: str
    scale: str
    overrides: dict[str, Any]
    imports: tuple[str, ...]
    entries: tuple[Entry, ...]
    accepted: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, root: Path) -> "Plan | None":
        """The plan of a store; None where there is none.

        Raises:
            ValueError: the file is there and cannot be understood, or an older byrote wrote it.
        """
        path = root / "plan.json"
        try:
            data = json.loads(path.read_text("utf-8"))
            if data["format"] != FORMAT:
                raise ValueError(
                    f"{path} has format {data['format']}, this byrote reads format {FORMAT}; "
                    "run the study again into another --out, or read the store with the byrote that wrote it"
                )
            entries = tuple(Entry(**{**entry, "bind": tuple(entry["bind"])}) for entry in data["entries"])
            accepted = {name: tuple(digests) for name, digests in data["accepted"].items()}
            return cls(data["study"], data["scale"], data["overrides"], tuple(data["imports"]), entries, accepted)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, KeyError, TypeError, AttributeError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not a plan that byrote wrote ({error}); choose another --out") from None

    def present(self, committed_keys: Iterable[str]) -> dict[str, str]:
        """Of each entry (by key) that is done, the key of the committed run that answers it.

        It is the entry's own run or, where older contents were accepted, a run that was made with them.
        """
        whole = set(committed_keys)
        found = {}
        for entry in self.entries:
            for key in entry.keys(self.accepted) if self.accepted else (entry.key,):
                if key in whole:
                    found[entry.key] = key
                    break
        return found

    def write(self, root: Path) -> None:
        """Write the plan into a new store, or over one that it takes up whole: a study may ask for more than before.

        Raises:
            ValueError: the folder holds another study or scale, runs that this study does not ask for, or files that
                are no store.
        """
        there = Plan.read(root)
        if there is not None:
            if (there.study, there.scale) != (self.study, self.scale):
                raise ValueError(
                    f"{root} holds study {there.study!r}{_scale(there.scale)}, not {self.study!r}{_scale(self.scale)}; "
                    f"choose another --out"
                )
            # older contents of the same files and modules do not make another study
            held, asked = ({digest(entry.spec) for entry in plan.entries} for plan in (there, self))
            if not held <= asked:
                raise ValueError(
                    f"{root} holds study {there.study!r}{_scale(there.scale)} made from a different spec "
                    f"({len(held)} runs, {len(held & asked)} of them among the {len(asked)} asked for); "
                    f"choose another --out"
                )
            if there != self:
                self._store(root)
            return
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise ValueError(f"{root} is not a store and not an empty folder; choose another --out")
        root.mkdir(parents=True, exist_ok=True)
        self._store(root)

    def _store(self, root: Path) -> None:
        content = {"format": FORMAT, **asdict(self)}
        write_atomic(root / "plan.json", json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n")


def older_versions(root: Path, plan: Plan) -> dict[str, tuple[str, ...]]:
    """Committed runs of the plan's specs that were made with other contents of a file or module and not accepted.

    Returns:
        By "NAME DIGEST", such as "module:mine 0f3a...", the keys of the runs made with that content.
    """
    keys = committed(root)
    used = set(plan.present(keys).values())
    entries = {digest(entry.spec): entry for entry in plan.entries if entry.contents}
    found: dict[str, list[str]] = {}
    for key in keys if entries else ():
        if key in used:
            continue
        spec, contents = read_spec(root, key)
        entry = entries.get(digest(spec))
        for name, old in contents.items() if entry is not None else ():
            if entry is not None and entry.contents.get(name) != old and old not in plan.accepted.get(name, ()):
                found.setdefault(f"{name} {old}", []).append(key)
    return {version: tuple(keys) for version, keys in sorted(found.items())}


def _scale(scale: str) -> str:
    return f" at scale {scale!r}" if scale else ""


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
    failures, running, left_out = [], [], not_run(root, plan, present)
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
    return {
        "study": plan.study,
        "scale": plan.scale,
        "runs": len(plan.entries),
        **states,
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
