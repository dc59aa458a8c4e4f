"""`byrote verify`: read every byte of a store or of a results folder, and report each damaged run."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from byrote.store.directory import PLAN
from byrote.store.facts import Facts
from byrote.store.mirror import refresh
from byrote.store.plan import Plan, older_versions
from byrote.store.query import is_results, read_results
from byrote.store.runs import Flaw, facts_flaw, is_key, read_spec
from byrote.store.status import not_run
from byrote.store.verified import forget, whole_runs

__all__ = ["Verification", "verify"]


@dataclass(frozen=True)
class Verification:
    """The result of `verify`.

    Attributes:
        root: the folder.
        planned: how many runs its plan contains; 0 for compacted results, which have no plan.
        whole: how many of the planned runs are present and undamaged.
        flaws: the flaws, by the key of the run. A run that does not exist yet is "missing", unless its data are
            unavailable.
        unavailable, older: how many runs were left out because their data are unavailable, and how many were made with
            older contents of a file or module. Neither is a flaw.
    """

    root: Path
    planned: int
    whole: int
    flaws: tuple[Flaw, ...]
    unavailable: int = 0
    older: int = 0

    def to_json(self) -> dict[str, Any]:
        """The result as plain data, for programs."""
        flaws = [{"key": f.key, "kind": f.kind, "file": f.file, "error": f.sentence(self.root)} for f in self.flaws]
        counts = {"planned": self.planned, "whole": self.whole, "unavailable": self.unavailable, "older": self.older}
        return {**counts, "flaws": flaws}


def verify(root: Path) -> Verification:
    """Read every file again, without the results of earlier checks.

    Three things are checked: the size and checksum of each file, the run that each Parquet file names, and the facts
    that do not depend on data.

    Raises:
        ValueError: the folder is neither a store nor a results folder, or its plan, its notes or its compacted tables
            are damaged.
    """
    refresh(root, anew=True)
    if not is_results(root):
        raise ValueError(f"{root} is neither a store nor a results folder; name a folder that `byrote run` created")
    plan = Plan.read(root)
    if plan is None or (root / "about.json").exists():
        results = read_results(root)
        _ = results.history, results.features
        if plan is None:
            return Verification(root, 0, len(results.runs), ())
    plan.check_keys(root / PLAN)
    with os.scandir(root) as entries:
        there = sorted(entry.name for entry in entries if is_key(entry.name))
    manifests, flaws = whole_runs(root, there, believed=False)
    facts = Facts(own=True)
    for key, manifest in manifests.items():
        wrong = facts.wrong(*read_spec(root, key), manifest["facts"])
        if wrong:
            flaws[key] = facts_flaw(key, wrong)
    facts.keep()
    present = plan.present(there)
    left_out = {run["key"] for run in not_run(root, plan, present)}
    older = {key for keys in older_versions(root, plan).values() for key in keys}
    for key in set(there) - set(present.values()) - older:
        flaws[key] = Flaw(key, "foreign", "", "is not a run of the plan")
    for entry in plan.entries:
        if entry.key not in present and entry.key not in left_out:
            flaws[entry.key] = Flaw(entry.key, "missing", "", "is not there")
    whole = sum(key not in flaws for key in present.values())
    if flaws:
        forget(root)  # so that the next `byrote run` checks all files again and finds the same flaws
    ordered = tuple(flaws[key] for key in sorted(flaws))
    return Verification(root, len(plan.entries), whole, ordered, len(left_out), len(older))
