"""`byrote verify`: read every byte of a store or of a results folder, and name each run that is not as it should be."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byrote.store.parquet import metadata_of
from byrote.store.plan import Plan, older_versions
from byrote.store.query import is_results, read_results
from byrote.store.runs import MANIFEST, Flaw, is_key, read_spec
from byrote.store.status import not_run
from byrote.store.verified import whole_runs

if TYPE_CHECKING:
    pass

__all__ = ["Verification", "verify"]


@dataclass(frozen=True)
class Verification:
    """What `verify` found.

    Attributes:
        root: the folder.
        planned: how many runs its plan asks for; 0 for compacted results, which are checked as they are.
        whole: how many of them are there, and whole.
        flaws: what is wrong, by key; a run that is not there yet is "missing", but not one whose data are not here.
        unavailable, older: how many were left out for want of data, and how many lie there that an older content of a
            file or module made; neither is a flaw.
    """

    root: Path
    planned: int
    whole: int
    flaws: tuple[Flaw, ...]
    unavailable: int = 0
    older: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain data, for a program."""
        flaws = [{"key": f.key, "kind": f.kind, "file": f.file, "error": f.sentence(self.root)} for f in self.flaws]
        counts = {"planned": self.planned, "whole": self.whole, "unavailable": self.unavailable, "older": self.older}
        return {**counts, "flaws": flaws}


def verify(root: Path) -> Verification:
    """Read everything anew, whatever is remembered of it.

    Besides size and checksum of each file, the run that a Parquet file names must be the one it lies under, and the
    facts of a manifest must be those that its spec gives, as far as these need no data.

    Raises:
        ValueError: the folder is neither a store nor a results folder, or its plan, its notes or its compacted tables
            are damaged, in one sentence.
    """
    if not is_results(root):
        raise ValueError(f"{root} is neither a store nor a results folder; name what `byrote run` made")
    plan = Plan.read(root)
    if plan is None or (root / "about.json").exists():
        results = read_results(root)
        _ = results.history, results.features
        if plan is None:
            return Verification(root, 0, len(results.runs), ())
    with os.scandir(root) as entries:
        there = sorted(entry.name for entry in entries if is_key(entry.name))
    manifests, flaws = whole_runs(root, there, believed=False)
    for key, manifest in manifests.items():
        for flaw in _deeper(root, manifest):
            flaws.setdefault(key, flaw)
    present = plan.present(there)
    left_out = {run["key"] for run in not_run(root, plan, present)}
    older = {key for keys in older_versions(root, plan).values() for key in keys}
    for key in set(there) - set(present.values()) - older:
        flaws[key] = Flaw(key, "foreign", "", "belongs to no run of the plan")
    for entry in plan.entries:
        if entry.key not in present and entry.key not in left_out:
            flaws[entry.key] = Flaw(entry.key, "missing", "", "is not there")
    whole = sum(key not in flaws for key in present.values())
    ordered = tuple(flaws[key] for key in sorted(flaws))
    return Verification(root, len(plan.entries), whole, ordered, len(left_out), len(older))


def _deeper(root: Path, manifest: Mapping[str, Any]) -> Iterator[Flaw]:
    """What checksums do not tell: files of another run under right checksums, and facts of another spec."""
    key = str(manifest["key"])
    for name in manifest["files"]:
        if name.endswith(".parquet"):
            try:
                other = metadata_of(root / key / name).get("key", "")
            except ValueError as error:
                yield Flaw(key, "altered", name, str(error))
                continue
            if other != key:
                yield Flaw(key, "swapped", name, f"belongs to run {other or 'nobody'}")
    wrong = _wrong_facts(read_spec(root, key)[0], manifest["facts"])
    if wrong:
        yield Flaw(key, "altered", MANIFEST, f"has facts that its spec does not give ({wrong})")


def _wrong_facts(spec: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """The facts that the spec gives otherwise, in words; empty where there is none."""
    from byrote.experiment import Experiment
    from byrote.training.facts import facts_of

    try:
        experiment: Experiment = Experiment(**spec)
        counts = (facts.get(name) for name in ("n_train", "n_test", "feature_width"))
        given = facts_of(experiment, *counts)  # type: ignore[arg-type]
    except Exception:  # a user's own module, or a file that is not here: nothing can be said
        return ""
    return ", ".join(
        f"{name}: {facts.get(name)}, needs {value}" for name, value in given.items() if facts.get(name) != value
    )
