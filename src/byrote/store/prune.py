"""`byrote prune`: what a store no longer needs."""

import json
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from byrote.store.drafts import leftovers, remove
from byrote.store.leases import abandoned, leased
from byrote.store.plan import Plan
from byrote.store.runs import committed
from byrote.store.verified import whole_runs
from byrote.store.verify import verify

__all__ = ["finished_checkpoints", "prune"]


def prune(root: Path, *, foreign: bool = False, dry_run: bool = False) -> list[Path]:
    """Remove what dead processes left, checkpoints of runs that are done, and notes of runs that nobody trains.

    Args:
        root: the store.
        foreign: also remove runs that the plan does not ask for, older versions excepted.
        dry_run: remove nothing.

    Returns:
        What was removed, or would be.

    Raises:
        ValueError: the folder is not a store.
    """
    if Plan.read(root) is None:
        raise ValueError(f"{root} is not a store: it has no plan.json; name the folder that `byrote run` made")
    whole = whole_runs(root, committed(root), ())[0]
    found = [*leftovers(root), *abandoned(root), *finished_checkpoints(root, whole), *_idle_notes(root)]
    if foreign:
        found += [root / flaw.key for flaw in verify(root).flaws if flaw.kind == "foreign"]
    for path in found if not dry_run else ():
        remove(path)
    return found


def finished_checkpoints(root: Path, done: Collection[str]) -> Iterator[Path]:
    """The checkpoints all of whose runs are done, or that do not say whose they are."""
    for path in sorted((root / ".running").glob("*.checkpoint")):
        with suppress(OSError):
            with path.open("rb") as file:
                lines = [file.readline(1 << 20) for _ in range(2)]
            try:
                keys = json.loads(lines[1])["keys"]
            except (ValueError, KeyError, TypeError):
                keys = []
            if set(keys) <= set(done):
                yield path


def _idle_notes(root: Path) -> Iterator[Path]:
    """The notes of runs that nobody trains."""
    at_work = leased(root)
    for path in sorted((root / ".running").glob("*.json")):
        if path.stem not in at_work and not path.name.startswith("."):
            yield path
