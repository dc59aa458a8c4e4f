"""`byrote run`: train the missing runs of a study, with progress for a terminal or a file."""

import tomllib
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from byrote.cli.completion import scales, studies
from byrote.cli.interrupts import interruptible
from byrote.cli.output import fail, say
from byrote.cli.own import Imports
from byrote.cli.places import Place

if TYPE_CHECKING:
    from byrote.sweep import Outcome, Stop

__all__ = ["run"]

_Repeated = Annotated[list[str] | None, Parameter(negative=())]


def run(
    study: Annotated[str, Parameter(completer=studies)],
    /,
    *,
    scale: Annotated[str, Parameter(completer=scales)] = "",
    out: Place | None = None,
    workers: int | None = None,
    device: str = "cpu",
    precision: Literal["fp32", "bf16"] | None = None,
    on: Literal["local", "serial", "ray", "slurm"] = "local",
    address: str = "",
    gpus_per_task: float | None = None,
    cohort: int | None = None,
    limit: Annotated[int | None, Parameter(name=["--max-runs", "--limit"])] = None,
    max_time: str | None = None,
    where: _Repeated = None,
    first: Literal["longest", "claims"] = "longest",
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    imports: Imports = None,
    accept: _Repeated = None,
    set_: Annotated[list[str] | None, Parameter(name="--set", negative=())] = None,
    keep_weights: Annotated[bool, Parameter(negative=())] = False,
    array: str = "",
    time: str = "",
    partition: str = "",
    script: Path | None = None,
) -> int:
    """Train the runs of a study; the same command continues after a stop.

    The first Ctrl-C ends the training after the current epoch, with a checkpoint; the second ends it at once.

    Parameters
    ----------
    study
        A built-in study (`byrote list studies`) or a TOML file.
    scale
        One of the study's scales.
    out
        The store: a folder, or s3://BUCKET/PREFIX (default: runs/STUDY or runs/STUDY-SCALE).
    workers
        The number of worker processes (default: one per core, or one on an accelerator); with --on slurm, per task.
    device
        auto, cpu or cuda.
    precision
        Overrides training.precision, which is part of a run's key.
    on
        local: worker processes; serial: this process; ray: a Ray cluster; slurm: write a script for sbatch. See
        docs/machines.md.
    address
        With --on ray, auto or HOST:PORT of a running cluster (default: a private cluster on this machine).
    gpus_per_task
        With --on ray, the number of GPUs, or the fraction of one, that a cohort takes (default: 1 with --device cuda).
    cohort
        The largest number of runs that are trained together as one stack.
    limit
        Train at most this many runs, in the order of the plan.
    max_time
        Stop after this time, such as 90m, 2h or 3600 (seconds): no further runs start, current runs finish their epoch
        and save a checkpoint, and the same command continues from there.
    where
        path=value: train only runs whose spec has this value, such as noise.rate=0.4 or loss=cross_entropy. May be
        given several times: values of the same path are alternatives, and different paths must all match.
    first
        longest: the longest runs start first, so that all workers end together; claims: the runs start first that are
        likely to decide an inconclusive claim soonest.
    dry_run
        Print what would be done and how long it would take; nothing is written.
    imports
        A module of your own that defines components, measures, claims or figures, by its name as in Python's import
        statement; may be given several times. It is recorded in the store.
    accept
        The first digits (at least six) of the digest of older content of a file or module: runs made with that content
        still count as done. May be given several times.
    set_
        path=value: set this value in the spec of every run, such as training.epochs=5; may be given several times.
    keep_weights
        Store the trained weights of each run that this command trains.
    array
        With --on slurm, the tasks of the job array, such as 0-15 or 0-15%4 (at most four at once).
    time
        With --on slurm, the time limit of each task, such as 2:00:00.
    partition
        With --on slurm, the partition.
    script
        With --on slurm, the script to write (default: slurm.sh in the store; required if the store is in a bucket).
    """
    from byrote.store.mirror import located

    folder = located(out or Path("runs") / "-".join(part for part in (Path(study).stem, scale) if part))
    overrides = _settings(set_ or [], "--set")
    if precision is not None:
        overrides["training.precision"] = precision
    options: dict[str, Any] = {"scale": scale, "overrides": overrides, "imports": imports or [], "accept": accept or []}
    options |= {"device": device, "cohort": cohort, "limit": limit, "where": _choices(where or [])}
    if dry_run:
        from byrote.cli.ahead import show_price

        return show_price(study, folder, options | {"workers": workers})
    if on == "slurm":
        from byrote.cli.ahead import write_script

        return write_script(study, folder, options, (array, time, partition, workers), script, keep_weights)
    if array or time or partition or script is not None:
        raise ValueError(f"--array, --time, --partition and --script require --on slurm, got --on {on}")
    if first == "claims":
        options["worth"] = _worth(folder, imports or [])
    options |= {"workers": workers, "on": on, "address": address, "gpus_per_task": gpus_per_task}
    return _sweep(study, folder, options | {"keep_weights": keep_weights}, max_time)


def _sweep(study: str, folder: Path, options: dict[str, Any], max_time: str | None) -> int:
    """Run the study and report the outcome."""
    from byrote.cli.watch import Bar
    from byrote.sweep import Stop
    from byrote.sweep import run as sweep
    from byrote.sweep.stop import read_seconds

    stop = Stop(None if max_time is None else read_seconds(max_time))
    watcher = Bar()
    try:
        with interruptible(lambda: watcher.begun, lambda: _stop(stop, watcher)):
            outcome = sweep(study, folder, watcher=watcher, stop=stop, **options)
    except KeyboardInterrupt:
        watcher.close()
        return fail(
            f"interrupted: {_progress(folder)}" if watcher.begun else "interrupted before the first run began", 130
        )
    finally:
        watcher.close()
    return _conclude(outcome, folder)


def _worth(folder: Path, imports: list[str]) -> Any:
    """A function that computes how much each missing run helps to decide claims; None if the store has no runs yet."""
    from byrote.analysis import open_store
    from byrote.cli.own import import_own

    if not (folder / "plan.json").is_file():
        return None
    store = open_store(folder)
    import_own(store.results.about, imports)
    if not len(store.analysis.runs):
        return None
    from byrote import claims
    from byrote.claims.worth import worth

    verdicts = claims.evaluate(store.analysis)
    return lambda missing, costs: worth(store.analysis.settings, verdicts, missing, costs)


def _stop(stop: "Stop", watcher: Any) -> None:
    stop.ask("interrupted")
    watcher.stopping()


def _progress(folder: Path) -> str:
    """A sentence with the number of planned runs that are in the store."""
    from byrote.store import Plan, committed

    plan = Plan.read(folder)
    planned, done = (0, 0) if plan is None else (len(plan.entries), len(plan.present(committed(folder))))
    left = f"{planned - done} are left; run the same command to continue"
    return f"{done} of {planned} runs are stored in {folder}, {left}"


def _conclude(outcome: "Outcome", folder: Path) -> int:
    """Report how a sweep ended, and return the exit code; see `byrote.cli.main`."""
    progress = f"{outcome.done} of {outcome.planned} runs are stored in {folder}"
    if outcome.raised:
        key, error = next(iter(outcome.raised.items()))
        return fail(f"{len(outcome.raised)} runs raised an exception, the first is {key}: {error}; {progress}", 1)
    if outcome.broken:
        return fail(f"{outcome.broken[0]}; {progress}", 1)
    if outcome.stopped in ("interrupted", "cancelled"):
        return fail(f"{outcome.stopped}: {progress}, {outcome.left} are left; run the same command to continue", 130)
    left = f", {outcome.left} are left; run the same command to continue" if outcome.stopped else ""
    if outcome.failed:
        key, error = next(iter(outcome.failed.items()))
        return fail(f"{len(outcome.failed)} runs diverged, the first is {key}: {error}; {progress}{left}", 3)
    if outcome.stopped:
        say(f"{outcome.stopped}: {progress}{left}")
        return 0
    say(f"{progress}; next: byrote report {folder}")
    return 0


def _pairs(settings: list[str], option: str) -> list[tuple[str, Any]]:
    """`path=value` settings; a value is read as TOML if possible, `none` means no value, anything else is text."""
    pairs: list[tuple[str, Any]] = []
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals or not path:
            raise ValueError(f"{option} must be path=value, got {setting!r}")
        try:
            pairs.append((path.strip(), tomllib.loads(f"value = {text}")["value"]))
        except tomllib.TOMLDecodeError:
            pairs.append((path.strip(), None if text.strip() == "none" else text))
    return pairs


def _settings(settings: list[str], option: str) -> dict[str, Any]:
    """The settings by path; if a path is set twice, the later setting is used."""
    return dict(_pairs(settings, option))


def _choices(settings: list[str]) -> dict[str, list[Any]]:
    """All values given for each path."""
    values: dict[str, list[Any]] = defaultdict(list)
    for path, value in _pairs(settings, "--where"):
        values[path].append(value)
    return dict(values)
