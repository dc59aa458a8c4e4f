"""`byrote.run`: do what is missing of a study, and say what was kept."""

import logging
import os
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from byrote.analysis import Store
from byrote.experiment import Experiment, Study, list_studies
from byrote.files import DataUnavailableError, write_atomic
from byrote.noise import Recorded
from byrote.own_code import described, import_modules, own_trace
from byrote.store import Plan
from byrote.store.directory import present_plan
from byrote.store.drafts import leftovers, remove
from byrote.store.leases import Watch, abandoned
from byrote.store.plan import older_versions
from byrote.store.prune import finished_checkpoints
from byrote.store.runs import WEIGHTS, committed
from byrote.store.status import mark_unavailable
from byrote.store.verified import whole_runs
from byrote.sweep.executors import Event, Setting, local, serial
from byrote.sweep.plan import Task, plan_study, tasks

__all__ = ["Outcome", "Watcher", "run"]

log = logging.getLogger("byrote")
_LOOK = 0.2  # seconds between two looks at what other drivers have in hand
_DISK = ("OSError", "WriteError", "StoreLostError")  # what a worker says when the store cannot take a result


@dataclass
class Outcome:
    """What a sweep did.

    Attributes:
        planned, kept, done_before: runs of the plan, runs that are whole now, runs that were whole before.
        failed: runs that ended "failed" (diverged), by key.
        raised: runs in which an exception was raised, a user's own code among it, by key: what it was and where.
        broken: tasks that could not be carried out at all, such as those whose worker died twice, in words.
        unavailable: runs that were left out, by key, and why their data are not to be had.
        older_versions: how many runs lie there that other contents of a file or module made and that do not count,
            by its name and the first digits of that content.
        without_weights: runs that were done before, keep no weights, and were asked to.
    """

    root: Path
    planned: int = 0
    done_before: int = 0
    kept: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    raised: dict[str, str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    unavailable: dict[str, str] = field(default_factory=dict)
    older_versions: dict[str, int] = field(default_factory=dict)
    without_weights: int = 0
    _traces: set[str] = field(default_factory=set, repr=False)

    def note(self, event: Event) -> None:
        """Take in what a worker said."""
        if event.kind == "run":
            self.kept += 1
            if event.data["status"] == "failed":
                self.failed[event.data["key"]] = event.data["error"]
        elif event.kind == "raised":
            self.note_raised([event.data["key"]], event.data["error"], event.data["trace"], event.data["own"])
        elif event.kind == "error":
            self.broken.append(f"{len(event.task.keys)} runs: {event.data['message']}")
        elif event.kind == "lost" and not event.data["again"]:
            self.broken.append(f"{len(event.task.keys)} runs: their worker died twice (exit code {event.data['code']})")

    def note_raised(self, keys: Sequence[str], error: str, trace: str, own: bool) -> None:
        """Note runs in which an exception was raised; each traceback is logged once, of a user's code as an error."""
        self.raised |= dict.fromkeys(keys, error)
        if trace not in self._traces:
            self._traces.add(trace)
            log.log(logging.ERROR if own else logging.INFO, "run %s raised an exception\n%s", keys[0], trace)

    @property
    def store(self) -> Store:
        """The store, opened for reading."""
        return Store(self.root)


class Watcher:
    """Hears how a sweep goes; the command line draws a progress bar from it. The default is silent."""

    def begin(self, outcome: Outcome, todo: Sequence[Task], experiments: Mapping[str, Experiment]) -> None:
        """The plan is made: these tasks will be carried out."""

    def event(self, event: Event, outcome: Outcome) -> None:
        """A worker said something."""

    def end(self, outcome: Outcome) -> None:
        """All is done."""


def default_workers(device: str = "cpu") -> int:
    """One a core this process may use; on an accelerator, which a cohort fills, a single one.

    >>> default_workers("cuda:0")
    1
    """
    if not device.startswith("cpu"):
        return 1
    usable: Callable[[int], Any] | None = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable is not None else os.cpu_count() or 1


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
    cohort: int | None = None,
    limit: int | None = None,
    keep_weights: bool = False,
    watcher: Watcher | None = None,
) -> Outcome:
    """Train the missing runs of a study into the store `out`.

    Args:
        study: a built-in study's name, a TOML file, or a `Study`.
        out: the store's folder; made when absent, resumed when it holds the same plan.
        scale, overrides: which grid; see `Study.experiments`.
        imports: modules that define the user's own components.
        accept: the first digits, at least six, of older contents of a file or module whose runs still count; the store
            keeps them.
        workers: processes (default: one a core, on an accelerator one); ignored when `on` is "serial".
        device: "cpu", "cuda", or "auto".
        on: "local" or "serial".
        cohort: most runs that train together (default: by size, see `sweep.plan.together`).
        limit: do at most this many runs.
        keep_weights: store each run's weights.
        watcher: hears of progress.

    Returns:
        What was done; `.store` opens the results. Runs that diverged, runs in which an exception was raised, tasks
        that could not be carried out, and runs whose data set cannot be had here are values there (`failed`, `raised`,
        `broken`, `unavailable`), not exceptions: the rest of the grid is kept.

    Raises:
        ValueError: a spec, a folder, a data set or an accepted content is not what is needed; nothing was trained.
        RuntimeError: the user's own data set raises in every run; nothing was trained.
        DataUnavailableError: no run has its data.
        OSError: the disk filled up on the way; the runs committed before are kept.

    >>> import byrote
    >>> byrote.run("demo", out="runs/demo", limit=2).store.history().df()  # doctest: +SKIP
    """
    if on not in ("local", "serial"):
        raise ValueError(f"--on needs local or serial, got {on!r}")
    if workers is not None and workers < 1:
        raise ValueError(f"at least 1 worker is needed, got {workers}")
    if limit is not None and limit < 1:
        raise ValueError(f"--limit needs at least 1 run, got {limit}")
    root, watcher = Path(out), watcher or Watcher()
    import_modules(imports)
    file = "" if isinstance(study, Study) or str(study) in list_studies() else str(study)
    study = study if isinstance(study, Study) else Study.load(study)
    device = _device(device)
    plan, experiments = plan_study(study, scale, overrides, imports, file)
    data = _check_data(experiments)
    plan = _claim(root, plan, accept)
    manifests, flaws = whole_runs(root, plan.present(committed(root)).values())
    before = plan.present(manifests)
    for flaw in flaws.values():
        log.warning("%s", flaw.sentence(root))
    for key in before:
        data.unavailable.pop(key, None)
    mark_unavailable(root, data.unavailable)
    trainable = {key: e for key, e in experiments.items() if key not in data.unavailable and key not in data.raised}
    todo = tasks(plan, trainable, before, data.sizes, cohort, limit, device)
    outcome = Outcome(root, len(experiments), len(before), len(before), unavailable=data.unavailable)
    outcome.older_versions = {version: len(keys) for version, keys in older_versions(root, plan).items()}
    outcome.without_weights = sum(map(_lacks_weights, manifests.values())) if keep_weights else 0
    for key, (error, trace) in data.raised.items():
        if key not in before:
            outcome.note_raised([key], error, trace, own=True)
    watcher.begin(outcome, todo, experiments)
    setting = Setting(str(root), device, 1, keep_weights, tuple(imports))
    others = Watch(root)
    while todo:
        held: list[Task] = []
        events = serial(todo, setting) if on == "serial" else local(todo, setting, workers or default_workers(device))
        for event in events:
            outcome.note(event)
            watcher.event(event, outcome)
            if event.kind == "held":
                held.append(event.task)
            if event.kind == "error" and event.data["type"] in _DISK:
                events.close()
                raise OSError(f"{event.data['message']}; {outcome.kept} of {outcome.planned} runs are kept in {root}")
        todo = _freed(held, plan, others, root)
    present_plan(root)
    present = plan.present(committed(root))  # other drivers may have done some
    outcome.kept = len(present)
    for path in (*leftovers(root), *abandoned(root), *finished_checkpoints(root, present.values())):
        remove(path)
    watcher.end(outcome)
    return outcome


def _claim(root: Path, plan: Plan, accept: Sequence[str]) -> Plan:
    """Make the store or take up the one that is there, and see that it can be written to.

    The modules that it was made with before stay remembered.
    """
    plan = plan.accepting(root, accept)
    there = Plan.read(root)
    if there is not None:
        plan = replace(plan, imports=tuple(dict.fromkeys([*there.imports, *plan.imports])))
    try:
        plan.write(root)
        (root / ".running").mkdir(exist_ok=True)
        for path in (*leftovers(root), *abandoned(root)):
            remove(path)
        write_atomic(root / ".running" / ".probe", "")
        remove(root / ".running" / ".probe")
    except OSError as error:
        raise ValueError(f"the store {root} cannot be written to: {error}; choose another --out") from None
    return plan


def _freed(held: Sequence[Task], plan: Plan, others: Watch, root: Path) -> list[Task]:
    """Wait until some runs that other drivers had in hand are done or free, and give the tasks that are left then."""
    missing = [key for task in held for key in task.keys]
    while missing:
        done = plan.present(committed(root))
        free = others.look([*missing, *(task.name for task in held)])
        left = [replace(task, experiments=tuple(e for e in task.experiments if e.key not in done)) for task in held]
        left = [task for task in left if task.experiments]
        if not left or any(task.name in free and free.intersection(task.keys) for task in left):
            return left
        time.sleep(_LOOK)
    return []


def _lacks_weights(manifest: Mapping[str, Any]) -> bool:
    return manifest["status"] == "done" and WEIGHTS not in manifest["files"]


@dataclass
class _Data:
    """What loading all data told.

    Attributes:
        sizes: (n, C, H, W) of the training images, by the digest of their data set.
        unavailable: the runs whose files are not to be had, by key, and why.
        raised: the runs whose data set or noise is the user's own code and raises, by key: what, and the traceback.
    """

    sizes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)
    raised: dict[str, tuple[str, str]] = field(default_factory=dict)


def _check_data(experiments: Mapping[str, Experiment]) -> _Data:
    """Load all data and recorded labels once, so that what is broken is said before anything is trained.

    What is the matter with all runs is an error.
    """
    sources: dict[tuple[str, int, str], list[Experiment]] = defaultdict(list)
    for e in experiments.values():
        sources[e.data.digest(), -1 if e.split_seed is None else e.split_seed, e.noise.digest()].append(e)
    data = _Data()
    for (name, _, _), (first, *others) in sorted(sources.items()):  # a data set is loaded once, all its noise after it
        try:
            train = first.data.load("train", first.split_seed)
            data.sizes[name] = tuple(train.images.shape)
            first.data.load("test", first.split_seed)
            first.noise.effective_rate(first.data.num_classes)
            if isinstance(first.noise, Recorded):  # it must have a label for each sample
                first.noise.corrupt(train.labels, first.data.num_classes, first.generator("noise"), ids=train.ids)
        except DataUnavailableError as error:
            data.unavailable |= {e.key: str(error) for e in (first, *others)}
            if len(data.unavailable) == len(experiments):
                raise
        except Exception as error:
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
        raise ValueError(f"--device {name} cannot be used: {str(error).splitlines()[0]}") from None
    return name
