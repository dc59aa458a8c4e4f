"""`byrote prune`: remove what a store no longer needs."""

import json
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from byrote.store.drafts import leftovers
from byrote.store.leases import clear_leases, leased
from byrote.store.mirror import discard, refresh
from byrote.store.plan import Plan
from byrote.store.runs import committed
from byrote.store.verified import whole_runs
from byrote.store.verify import verify

__all__ = ["finished_checkpoints", "prune"]


def prune(root: Path, *, foreign: bool = False, dry_run: bool = False) -> list[Path]:
    """Remove the leftovers of dead processes, checkpoints of finished runs, and notes of runs that no process trains.

    Args:
        root: the store.
        foreign: also remove runs that the plan does not contain, except those made with older contents.
        dry_run: remove nothing.

    Returns:
        The paths that were removed, or that would be removed.

    Raises:
        ValueError: the folder is not a store.
    """
    refresh(root)
    if Plan.read(root) is None:
        raise ValueError(f"{root} is not a store: it has no plan.json; name the folder that `byrote run` created")
    whole = whole_runs(root, committed(root), ())[0]
    paths = [*leftovers(root), *finished_checkpoints(root, whole), *_idle_notes(root)]
    if foreign:
        paths += [root / flaw.key for flaw in verify(root).flaws if flaw.kind == "foreign"]
    leases = [root / ".running" / f"{name}.lease" for name in clear_leases(root, dry_run=dry_run)]
    if not dry_run:
        discard(root, paths)
    return paths + leases


def finished_checkpoints(root: Path, done: Collection[str]) -> Iterator[Path]:
    """The checkpoints whose runs are all done, and the checkpoints that cannot be read."""
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
    """The notes of runs that no process trains."""
    at_work = leased(root)
    for path in sorted((root / ".running").glob("*.json")):
        if path.stem not in at_work and not path.name.startswith("."):
            yield path
