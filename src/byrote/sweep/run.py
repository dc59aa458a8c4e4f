"""`byrote.run`: train the missing runs of a study, and report the outcome."""

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from byrote.experiment import Experiment
from byrote.files import DataUnavailableError, write_atomic
from byrote.noise import Recorded
from byrote.own_code import described, import_modules, own_trace
from byrote.store import Entry, Plan
from byrote.store.cancel import Cancelled
from byrote.store.drafts import leftovers, remove
from byrote.store.facts import Facts
from byrote.store.leases import clear_leases
from byrote.store.log import write_costs
from byrote.store.mirror import address_of, bucket_of, discard, fetch_run, located, refresh
from byrote.store.plan import older_versions
from byrote.store.prune import finished_checkpoints
from byrote.store.runs import WEIGHTS, committed
from byrote.store.status import clear_abandoned, mark_unavailable
from byrote.store.verified import whole_runs
from byrote.study import Study, list_studies
from byrote.sweep.choose import chosen
from byrote.sweep.cost import training_cost
from byrote.sweep.drive import Driver
from byrote.sweep.estimate import Estimate, estimate
from byrote.sweep.executors import Request, Setting, named
from byrote.sweep.executors.local import default_workers
from byrote.sweep.outcome import Outcome, Watcher
from byrote.sweep.plan import by_worth, plan_study, tasks
from byrote.sweep.stop import Stop

__all__ = ["make_store", "price", "run"]

log = logging.getLogger("byrote")
Worth = Callable[[Sequence[Entry], Mapping[str, float]], Mapping[str, float]]


def run(
    study: str | Path | Study,
    out: str | Path,
    *,
    scale: str = "",
    overrides: Mapping[str, Any] | None = None,
    imports: Sequence[str] = (),
    accept: Sequence[str] = (),
    workers: int | None = None,
    device: str = "cpu",
    on: str = "local",
    address: str = "",
    gpus_per_task: float | None = None,
    cohort: int | None = None,
    limit: int | None = None,
    keep_weights: bool = False,
    watcher: Watcher | None = None,
    stop: Stop | None = None,
    where: Mapping[str, Sequence[Any]] | None = None,
    worth: Worth | None = None,
) -> Outcome:
    """Train the missing runs of a study into the store `out`.

    Args:
        study: a built-in study's name, a TOML file, or a `Study`.
        out: the folder of the store. It is created if it does not exist, and continued if it has the same plan.
        scale, overrides: the scale of the study, and values that override its fields; see `Study.experiments`.
        imports: modules that define the user's own components.
        accept: the first digits, at least six, of the digests of older contents of a file or module: runs made with
            them still count as done. The store records these digests.
        workers: the number of processes (default: one per core, or one on an accelerator); ignored when `on` is
            "serial".
        device: "cpu", "cuda", or "auto".
        on: "local", "serial" or "ray".
        address: with "ray", "auto" or HOST:PORT of a running cluster; empty: a private cluster on this machine.
        gpus_per_task: with "ray" and "cuda", the number of GPUs, or the fraction of a GPU, that a cohort takes
            (default: 1).
        cohort: the largest number of runs that are trained together (default: by size, see `sweep.plan.together`).
        limit: train at most this many runs.
        keep_weights: store each run's weights.
        watcher: an object whose methods are called with the progress.
        stop: ends the sweep early, such as `Stop(seconds=3600)`: no further task starts, and the current cohorts keep a
            checkpoint after their epoch, from which the next sweep continues.
        where: train only the runs whose spec has one of the given values at each given path; see `sweep.choose.chosen`.
        worth: a function that computes the worth of each missing run, by key, from the entries and costs; the tasks
            with the highest worth start first (None: the longest first).

    Returns:
        What was done; `.store` opens the results. Some problems are listed in the outcome and raise no exception, so
        that the rest of the grid is kept: runs that diverged (`failed`), runs in which an exception was raised
        (`raised`), tasks that could not be trained (`broken`), and runs whose data set is not available here
        (`unavailable`).

    Raises:
        ValueError: a spec, a folder, a data set or an accepted content is invalid; nothing was trained.
        RuntimeError: the user's own data set raises an exception in every run; nothing was trained.
        DataUnavailableError: the data are unavailable for every run.
        OSError: the disk filled up during the sweep; the runs that were committed before that are kept.

    >>> import byrote
    >>> byrote.run("demo", out="runs/demo", limit=2).store.history().to_pandas()  # doctest: +SKIP
    """
    kind, request = named(on), Request(workers, address, gpus_per_task)
    kind.check(request, device)
    _check_counts(workers, limit)
    root, watcher, stop = located(out), watcher or Watcher(), stop or Stop()
    device = device if on == "ray" and device == "cuda" else _device(device)  # with Ray, the driver needs no GPU
    plan, experiments, data = _read(study, scale, overrides, imports)
    only = chosen(plan.entries, where) if where else None
    plan = _claim(root, plan, accept)
    manifests = _whole(root, plan)
    before = plan.present(manifests)
    for key in before:
        data.unavailable.pop(key, None)
    mark_unavailable(root, data.unavailable)
    trainable = {key: e for key, e in experiments.items() if key not in data.unavailable and key not in data.raised}
    todo = tasks(plan, trainable, before, data.sizes, cohort, limit, device, only)
    outcome = Outcome(root, len(experiments), len(before), len(before), unavailable=data.unavailable)
    outcome.older_versions = {version: len(keys) for version, keys in older_versions(root, plan).items()}
    outcome.without_weights = sum(map(_lacks_weights, manifests.values())) if keep_weights else 0
    outcome.failed = {m["key"]: m["error"] for m in manifests.values() if m["status"] == "failed"}
    for key, (error, trace) in data.raised.items():
        if key not in before:
            outcome.note_raised([key], error, trace, own=True)
    costs = {e.key: training_cost(e, data.sizes[e.data.digest()]) for task in todo for e in task.experiments}
    if worth is not None:
        todo = by_worth(todo, worth([entry for entry in plan.entries if entry.key in costs], costs))
    watcher.begin(outcome, todo, experiments)
    setting = Setting(address_of(root) if on == "ray" else str(root), device, 1, keep_weights, tuple(imports))
    executor = kind.of(setting, stop, request)
    write_costs(root, costs)
    stop.also("cancelled", Cancelled(root))
    Driver(executor, plan, costs, stop, outcome, watcher).carry_out(todo, on)
    _count_again(outcome, plan, [key for task in todo for key in task.keys])
    outcome.stopped = stop.reason if outcome.left else ""
    watcher.end(outcome)
    return outcome


def _whole(root: Path, plan: Plan) -> dict[str, dict[str, Any]]:
    """The manifests of the undamaged runs whose facts agree with their specs; the flaws of all other runs are
    logged."""
    present = plan.present(committed(root))
    manifests, flaws = whole_runs(root, present.values())
    if flaws and bucket_of(root) is not None:  # perhaps only the local copy is damaged, and the bucket is not
        for key in flaws:
            fetch_run(root, key)
        mended, flaws = whole_runs(root, flaws)
        manifests |= mended
    facts = Facts(own=True)
    facts.learn(plan.entries)
    wrong = facts.flaws((entry, manifests.get(present.get(entry.key, ""))) for entry in plan.entries)
    for flaw in (*flaws.values(), *wrong.values()):
        log.warning("%s", flaw.sentence(root))
    return {name: manifest for name, manifest in manifests.items() if name not in wrong}


def _check_counts(workers: int | None, limit: int | None) -> None:
    if workers is not None and workers < 1:
        raise ValueError(f"`workers=` must be at least 1, got {workers}")
    if limit is not None and limit < 1:
        raise ValueError(f"`limit=` must be at least 1, got {limit}")


def _count_again(outcome: Outcome, plan: Plan, keys: Sequence[str]) -> None:
    """Count the runs in the store again, because other drivers may have finished some, and remove old checkpoints."""
    refresh(outcome.root)
    present = plan.present(committed(outcome.root))
    outcome.done = len(present)
    discard(outcome.root, list(finished_checkpoints(outcome.root, present.values())))
    others = {present[key]: key for key in keys if key in present and key not in outcome.reported}
    for name, manifest in whole_runs(outcome.root, others, ())[0].items():
        if manifest["status"] == "failed":
            outcome.failed[others[name]] = manifest["error"]


def _read(
    study: str | Path | Study, scale: str, overrides: Mapping[str, Any] | None, imports: Sequence[str]
) -> tuple[Plan, dict[str, Experiment], "_Data"]:
    """The plan of a study, its experiments by key, and their data."""
    import_modules(imports)
    file = "" if isinstance(study, Study) or str(study) in list_studies() else str(study)
    study = study if isinstance(study, Study) else Study.load(study)
    plan, experiments = plan_study(study, scale, overrides, imports, file)
    return plan, experiments, _check_data(experiments)


def make_store(
    study: str | Path | Study,
    out: str | Path,
    *,
    scale: str = "",
    overrides: Mapping[str, Any] | None = None,
    imports: Sequence[str] = (),
    accept: Sequence[str] = (),
) -> int:
    """Create the store of a study without training anything, for drivers that start later; returns the number of
    planned runs.

    Raises:
        ValueError, RuntimeError, DataUnavailableError: see `run`.
    """
    plan, experiments, _ = _read(study, scale, overrides, imports)
    root = located(out)
    _claim(root, plan, accept)
    (root / "log").mkdir(exist_ok=True)
    return len(experiments)


def price(
    study: str | Path | Study,
    out: str | Path,
    *,
    scale: str = "",
    overrides: Mapping[str, Any] | None = None,
    imports: Sequence[str] = (),
    accept: Sequence[str] = (),
    workers: int | None = None,
    device: str = "cpu",
    cohort: int | None = None,
    limit: int | None = None,
    where: Mapping[str, Sequence[Any]] | None = None,
) -> Estimate:
    """What `run` would do with these arguments, and how long it would take; nothing is written.

    Raises:
        ValueError, RuntimeError, DataUnavailableError: see `run`.
    """
    root, device = located(out), _device(device)
    refresh(root)
    plan, experiments, data = _read(study, scale, overrides, imports)
    only = chosen(plan.entries, where) if where else None
    plan = plan.accepting(root, accept)
    manifests, _ = whole_runs(root, plan.present(committed(root)).values(), ())
    present = plan.present(manifests)
    trainable = {key: e for key, e in experiments.items() if key not in data.unavailable and key not in data.raised}
    todo = tasks(plan, trainable, present, data.sizes, cohort, limit, device, only)
    parts = {entry.key: entry.part for entry in plan.entries}
    count = workers or default_workers(device)
    return estimate(
        todo, parts, {key: manifests[name] for key, name in present.items()}, trainable, data.sizes, count, device
    )


def _claim(root: Path, plan: Plan, accept: Sequence[str]) -> Plan:
    """Create the store or open an existing store, and check that it can be written to.

    The imported modules that an earlier plan lists are kept.
    """
    refresh(root)
    plan = plan.accepting(root, accept)
    there = Plan.read(root)
    if there is not None:
        plan = replace(plan, imports=tuple(dict.fromkeys([*there.imports, *plan.imports])))
    try:
        plan.write(root)
        (root / ".running").mkdir(exist_ok=True)
        for path in leftovers(root):
            remove(path)
        clear_leases(root)
        clear_abandoned(root, [entry.key for entry in plan.entries])
        write_atomic(root / ".running" / ".probe", "")
        remove(root / ".running" / ".probe")
    except OSError as error:
        raise ValueError(f"the store {root} cannot be written to: {error}; choose another `out=`") from None
    return plan


def _lacks_weights(manifest: Mapping[str, Any]) -> bool:
    return manifest["status"] == "done" and WEIGHTS not in manifest["files"]


@dataclass
class _Data:
    """The shapes and problems found while loading all data.

    Attributes:
        sizes: (n, C, H, W) of the training images, by the digest of their data set.
        unavailable: the runs whose files are not available, by key, and why.
        raised: the runs whose data set or noise is the user's own code and raises an exception, by key, with a
            description and the traceback.
    """

    sizes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)
    raised: dict[str, tuple[str, str]] = field(default_factory=dict)


def _check_data(experiments: Mapping[str, Experiment]) -> _Data:
    """Load all data and recorded labels once, so that problems are reported before anything is trained.

    A problem that affects all runs is raised as an error.
    """
    sources: dict[tuple[str, int, str], list[Experiment]] = defaultdict(list)
    for e in experiments.values():
        sources[e.data.digest(), -1 if e.split_seed is None else e.split_seed, e.noise.digest()].append(e)
    data = _Data()
    for (name, _, _), (first, *others) in sorted(sources.items()):  # data sets in turn, each with all its noise laws
        try:
            train = first.data.load("train", first.split_seed)
            data.sizes[name] = tuple(train.images.shape)
            first.data.load("test", first.split_seed)
            first.noise.effective_rate(first.data.num_classes)
            if isinstance(first.noise, Recorded):  # checks that the noise has a label for each sample
                first.noise.corrupt(train.labels, first.data.num_classes, first.generator("noise"), ids=train.ids)
        except DataUnavailableError as error:
            data.unavailable |= {e.key: str(error) for e in (first, *others)}
            if len(data.unavailable) == len(experiments):
                raise
        except (Exception, SystemExit) as error:
            trace = own_trace(error)
            if not trace:
                raise
            data.raised |= {e.key: (described(error), trace) for e in (first, *others)}
            if len(data.raised) == len(experiments):
                raise RuntimeError(f"run {first.key} raised {described(error)}") from error
    return data


def _device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"`device={name!r}` cannot be used: {str(error).splitlines()[0]}") from None
    return name
