"""The work on one task: train its cohort and commit each run. Workers do this, and `serial` does it in its own
process."""

import gc
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from byrote.contents import digest_contents
from byrote.experiment import Experiment
from byrote.own_code import described, own_trace, traced
from byrote.store import commit
from byrote.store.directory import present_plan
from byrote.store.facts import Facts
from byrote.store.leases import HeldError, LeaseLostError, Leases, held
from byrote.store.mirror import discard, fetch_file, fetch_run, located, share
from byrote.store.status import clear_running, mark_running
from byrote.store.verified import whole_runs
from byrote.sweep.run_log import logged
from byrote.training import Checkpoint, Progress, Stopped, train

__all__ = ["work"]

log = logging.getLogger("byrote")

Emit = Callable[[dict[str, Any]], object]
Stop = Callable[[], bool]
_EVERY = 10.0  # seconds between two uploads of a checkpoint, if the store is a bucket
_imported: dict[str, tuple[object, str]] = {}  # by name: the imported module, and the digest that its source had then


def work(task: Mapping[str, Any], emit: Emit, stop: Stop = lambda: False) -> None:
    """Train the experiments of one task and commit each run; `_carry_out` handles exceptions and running out of memory.

    Runs that another driver is training are left to that driver, and runs that it has finished are not trained again.

    Args:
        task: {"root", "device", "threads", "weights", "imports", "path", "name", "specs", "keys", "contents"}; the last
            two are from the plan.
        emit: called with every event, a JSON-ready mapping.
        stop: called after every epoch; once it returns True, the cohort saves a checkpoint and ends.

    Raises:
        ValueError: a file or module changed since the study was planned; nothing was trained.
        OSError: the store cannot be written to, or is gone.
        HeldError: another driver is training some of the runs or has taken them over; the other runs are done.
        Stopped: `stop` returned True before the last epoch.
    """
    if stop():
        raise Stopped(0)
    torch.set_num_threads(task["threads"])
    experiments = [Experiment(**spec) for spec in task["specs"]]
    digest_contents(experiments)
    _check_unchanged(experiments, task)
    root, keys = located(task["root"]), [e.key for e in experiments]
    with held(root, task["name"], keys) as leases:
        for key in keys:
            if key in leases and not (root / key).exists():
                fetch_run(root, key)
        done = whole_runs(root, [key for key in keys if key in leases and (root / key).exists()])[0]
        for e in experiments:  # a damaged run is trained again
            if e.key in done and Facts(own=True).wrong(e.spec(), e.contents, done[e.key]["facts"]):
                del done[e.key]
        for key, manifest in done.items():
            emit({"event": "run", "key": key, "status": manifest["status"], "error": manifest["error"]})
        missing = [e for e in experiments if e.key in leases and e.key not in done]
        if missing:
            mark_running(root, [e.key for e in missing], {"epoch": 0, "epochs": missing[0].training.epochs})
            try:
                noted = logged(root, [e.key for e in missing], emit)
                _carry_out(task, missing, task["name"], _Hands(noted, stop, leases))
            finally:
                clear_running(root, [e.key for e in missing])
                share(root, *(root / "log" / f"{e.key}.txt" for e in missing))
        left = [key for key in keys if key not in leases or key in leases.lost]
    if left:
        raise HeldError(left)


@dataclass(frozen=True)
class _Hands:
    """The state that all attempts at training the runs of one task share."""

    emit: Emit
    stop: Stop
    leases: Leases


def _check_unchanged(experiments: Sequence[Experiment], task: Mapping[str, Any]) -> None:
    """Check that the runs still have the keys in the plan, which depend on the contents of files and modules."""
    for experiment, key, planned in zip(experiments, task["keys"], task["contents"], strict=True):
        names = dict.fromkeys([*planned, *experiment.contents])
        changed = [name for name in names if planned.get(name) != experiment.contents.get(name)]
        changed += [name for name in _stale(experiment.contents) if name not in changed]
        if changed:
            listed = ", ".join(name.replace(":", " ", 1) for name in changed)
            raise ValueError(f"{listed} changed after the study was planned; start the same command again")
        if experiment.key != key:
            raise ValueError(
                f"run {key} of the plan has key {experiment.key} here; use one version of byrote for the whole study"
            )


def _stale(contents: Mapping[str, str]) -> Iterator[str]:
    """The modules whose source has changed since this process first imported them for a task."""
    for name, content in contents.items():
        kind, _, module = name.partition(":")
        origin = getattr(sys.modules.get(module), "__spec__", None)
        if kind == "module" and origin is not None:
            first, known = _imported.setdefault(module, (origin, content))
            if first is not origin:  # another import has replaced the module
                _imported[module] = origin, content
            elif known != content:
                yield name


def _carry_out(task: Mapping[str, Any], experiments: Sequence[Experiment], name: str, hands: "_Hands") -> None:
    """Train a cohort: in halves if it does not fit into memory, and run by run if training raises an exception.

    If a run that is trained alone raises an exception, it is reported as an event, so that no other run is lost.
    """
    try:
        _train(task, experiments, name, hands)
    except Stopped:
        raise
    except LeaseLostError as error:
        log.warning("%s", error)
        return
    except (Exception, SystemExit) as error:
        trace = own_trace(error)
        if isinstance(error, OSError) and not trace:
            raise  # the store cannot be written to
        raised = {"error": described(error), "own": bool(trace), "trace": traced(error)}
        halves = _out_of_memory(error)
    else:
        return
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if len(experiments) == 1:
        _discard(task, name)
        hands.emit({"event": "raised", "key": experiments[0].key, **raised})
    elif halves:
        log.warning("a cohort of %d runs does not fit into memory and is trained in halves", len(experiments))
        middle = len(experiments) // 2
        _carry_out(task, experiments[:middle], f"{name}-a", hands)
        _carry_out(task, experiments[middle:], f"{name}-b", hands)
    else:
        _discard(task, name)
        for experiment in experiments:
            _carry_out(task, [experiment], f"{name}-{experiment.key}", hands)


def _out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: CUDA has an exception class for it, the CPU's allocator raises a RuntimeError with this
    text."""
    short = isinstance(error, RuntimeError) and "not enough memory" in str(error)
    return short or isinstance(error, torch.OutOfMemoryError)


def _checkpoint(task: Mapping[str, Any], name: str) -> Checkpoint:
    return Checkpoint(located(task["root"]) / ".running" / f"{name}.checkpoint")


def _discard(task: Mapping[str, Any], name: str) -> None:
    discard(located(task["root"]), [_checkpoint(task, name).path])


def _train(task: Mapping[str, Any], experiments: Sequence[Experiment], name: str, hands: "_Hands") -> None:
    emit, leases = hands.emit, hands.leases
    root, device = located(task["root"]), task["device"]
    keys = [e.key for e in experiments]
    checkpoint = _checkpoint(task, name)
    fetch_file(root, checkpoint.path)  # another machine may have started to train these runs

    def report(progress: Progress) -> None:
        if leases.lost.issuperset(keys):
            raise LeaseLostError(f"another driver has taken over {len(keys)} runs; their training here ends")
        if progress.readings:
            present_plan(root, _EVERY)
            mark_running(root, keys, {"epoch": progress.epoch, "epochs": progress.epochs})
        share(root, checkpoint.path, every=_EVERY)
        rows = {key: {column: row[column] for column in ("j1", "j2")} for key, row in progress.readings.items()}
        emit({"event": "epoch", "epoch": progress.epoch, "epochs": progress.epochs, "rows": rows})

    numerics = {"precision": experiments[0].training.precision, "threads": task["threads"], "device": device}
    try:
        runs = train(experiments, device, report, task["weights"], checkpoint, hands.stop)
    except Stopped:
        share(root, checkpoint.path)
        raise
    for run in runs:
        try:
            commit(root, run, numerics | dict(run.numerics), partial(leases.check, run.key))
        except LeaseLostError as error:
            leases.lost.add(run.key)
            log.warning("%s", error)
        else:
            emit({"event": "run", "key": run.key, "status": run.status, "error": run.error})
    if task["name"] not in leases.lost:  # otherwise the checkpoint belongs to another driver now
        _discard(task, name)
