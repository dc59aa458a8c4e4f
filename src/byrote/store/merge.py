"""Merge stores of the same study, for example from several machines, into one store; each run is copied as it was
committed."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from byrote.files.atomic import sync
from byrote.store.directory import place_run
from byrote.store.drafts import draft
from byrote.store.mirror import located, refresh
from byrote.store.plan import Entry, Plan
from byrote.store.runs import committed
from byrote.store.verified import flaw_of

__all__ = ["merge"]


def merge(sources: Sequence[str | Path], out: str | Path) -> int:
    """Copy the committed runs of several stores of the same study into one store.

    Everything is verified before anything is written: each run's folder must contain the files that its manifest lists,
    with their checksums. If several stores have the same run, the copy of the first store is taken.

    Args:
        sources: at least two stores of the same study, scale and overrides; their plans may include different runs.
        out: a new folder, or a store of the same study; runs that are already in it are kept.

    Returns:
        The number of runs copied.

    Raises:
        ValueError: a folder is not a store, the stores are of different studies, a run is damaged, or `out` contains
            something else; nothing was written.
    """
    if len(sources) < 2:
        raise ValueError(f"merge needs at least two stores, got {len(sources)}")
    roots, target = [located(source) for source in sources], located(out)
    for root in (*roots, target):
        refresh(root)
    if target.resolve() in {root.resolve() for root in roots}:
        raise ValueError(f"{target} is one of the stores to merge; choose another `out=`")
    plan = _joined(roots)
    wanted = {entry.key for entry in plan.entries} | {
        key for entry in plan.entries for key in entry.keys(plan.accepted)
    }
    there = set(committed(target))
    chosen: dict[str, Path] = {}
    for root in roots:
        for key in committed(root):
            if key in wanted and key not in there:
                _verify(root, key)
                chosen.setdefault(key, root)
    plan.write(target)
    for key, root in chosen.items():
        _copy(root / key, target)
    return len(chosen)


def _joined(roots: Sequence[Path]) -> Plan:
    """One plan with all runs from the plans of these stores."""
    plans = []
    for root in roots:
        plan = Plan.read(root)
        if plan is None:
            raise ValueError(f"{root} is not a store; name a folder that `byrote run` created")
        plans.append(plan)
    first = plans[0]
    entries: dict[str, Entry] = {}
    accepted: dict[str, tuple[str, ...]] = {}
    for root, plan in zip(roots, plans, strict=True):
        if (plan.study, plan.scale, plan.overrides) != (first.study, first.scale, first.overrides):
            raise ValueError(
                f"{root} contains study {plan.study!r} at scale {plan.scale!r} with overrides {plan.overrides}, "
                f"but {roots[0]} contains {first.study!r} at {first.scale!r} with {first.overrides}; merge stores of "
                "the same study"
            )
        for entry in plan.entries:
            entries.setdefault(entry.key, entry)
        for name, digests in plan.accepted.items():
            accepted[name] = tuple(dict.fromkeys([*accepted.get(name, ()), *digests]))
    imports = tuple(dict.fromkeys(module for plan in plans for module in plan.imports))
    return replace(first, imports=imports, entries=tuple(entries.values()), accepted=accepted)


def _verify(root: Path, key: str) -> None:
    """Check that a run is as it was committed."""
    flaw = flaw_of(root, key)
    if flaw is not None:
        raise ValueError(f"{flaw.sentence(root)}, then merge again")


def _copy(folder: Path, target: Path) -> None:
    """Copy a run's folder completely or not at all."""
    with draft(target, folder.name) as copy:
        for path in folder.iterdir():
            shutil.copy2(path, copy / path.name)
            sync(copy / path.name)
        place_run(target, folder.name, copy)
