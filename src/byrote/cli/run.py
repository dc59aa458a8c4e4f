"""`byrote run`: train what is missing of a study, with progress for a terminal and for a file."""

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from byrote.cli.interrupts import interruptible
from byrote.cli.output import fail, say
from byrote.cli.own import Imports

if TYPE_CHECKING:
    from byrote.sweep import Outcome

__all__ = ["run"]


def run(
    study: str,
    /,
    *,
    scale: str = "",
    out: Path | None = None,
    workers: int | None = None,
    device: str = "cpu",
    precision: Literal["fp32", "bf16"] | None = None,
    on: Literal["local", "serial"] = "local",
    cohort: int | None = None,
    limit: Annotated[int | None, Parameter(name=["--max-runs", "--limit"])] = None,
    max_time: str | None = None,
    imports: Imports = None,
    accept: Annotated[list[str] | None, Parameter(negative=())] = None,
    set_: Annotated[list[str] | None, Parameter(name="--set", negative=())] = None,
    weights: bool = False,
) -> int:
    """Train the missing runs of a study; the same command again goes on where it stopped.

    Parameters
    ----------
    study
        A built-in study (`byrote list studies`) or a TOML file.
    scale
        One of the study's scales.
    out
        The store's folder (default: runs/STUDY or runs/STUDY-SCALE).
    workers
        Worker processes (default: one a core, on an accelerator one).
    device
        auto, cpu or cuda.
    precision
        Overrides training.precision; part of a run's key.
    on
        local: worker processes; serial: this process.
    cohort
        Most runs that train together as one stack.
    limit
        Do at most this many runs, the first of the plan.
    max_time
        Stop after this time, such as 90m, 2h or 3600 (seconds): no further runs start, those in hand finish their epoch
        and keep a checkpoint, and the same command goes on from there.
    imports
        A module of your own (its name, as Python's import takes it) that defines components, measures, claims or
        figures; may be given several times. The store remembers it.
    accept
        The first digits (at least six) of an older content of a file or module whose runs still count; may be given
        several times.
    set_
        path=value over every run's spec, e.g. training.epochs=5; may be given several times.
    weights
        Keep the trained weights of each run that is trained now.
    """
    from byrote.cli.watch import Bar
    from byrote.sweep import Stop
    from byrote.sweep import run as sweep
    from byrote.sweep.stop import read_seconds

    stop = Stop(None if max_time is None else read_seconds(max_time))
    overrides = _overrides(set_ or [])
    if precision is not None:
        overrides["training.precision"] = precision
    folder = out or Path("runs") / "-".join(part for part in (Path(study).stem, scale) if part)
    watcher = Bar()

    def ask() -> None:
        stop.ask("interrupted")
        watcher.stopping()

    try:
        with interruptible(lambda: watcher.begun, ask):
            outcome = sweep(
                study,
                folder,
                scale=scale,
                overrides=overrides,
                imports=imports or [],
                accept=accept or [],
                workers=workers,
                device=device,
                on=on,
                cohort=cohort,
                limit=limit,
                keep_weights=weights,
                watcher=watcher,
                stop=stop,
            )
    except KeyboardInterrupt:
        watcher.close()
        return fail(f"interrupted: {_kept(folder)}" if watcher.begun else "interrupted: nothing begun", 130)
    finally:
        watcher.close()
    return _said(outcome, folder)


def _kept(folder: Path) -> str:
    """What the store holds now, in words."""
    from byrote.store import Plan, committed

    plan = Plan.read(folder)
    planned, kept = (0, 0) if plan is None else (len(plan.entries), len(plan.present(committed(folder))))
    return f"{kept} of {planned} runs are kept in {folder}, {planned - kept} are left; the same command goes on"


def _said(outcome: "Outcome", folder: Path) -> int:
    """Say how a sweep ended, and give the exit code; see `byrote.cli.main`."""
    kept = f"{outcome.kept} of {outcome.planned} runs are kept in {folder}"
    if outcome.raised:
        key, error = next(iter(outcome.raised.items()))
        return fail(f"{len(outcome.raised)} runs raised an exception, the first {key}: {error}; {kept}", 1)
    if outcome.broken:
        return fail(f"{outcome.broken[0]}; {kept}", 1)
    if outcome.stopped in ("interrupted", "cancelled"):
        return fail(f"{outcome.stopped}: {kept}, {outcome.left} are left; the same command goes on", 130)
    left = f", {outcome.left} are left; the same command goes on" if outcome.stopped else ""
    if outcome.failed:
        key, error = next(iter(outcome.failed.items()))
        return fail(f"{len(outcome.failed)} runs diverged, the first {key}: {error}; {kept}{left}", 3)
    if outcome.stopped:
        say(f"{outcome.stopped}: {kept}{left}")
        return 0
    say(f"{kept}; next: byrote report {folder}")
    return 0


def _overrides(settings: list[str]) -> dict[str, Any]:
    """`path=value` settings; the value is TOML where it can be read as such, `none` for no value, else text."""
    found: dict[str, Any] = {}
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals or not path:
            raise ValueError(f"--set needs path=value, got {setting!r}")
        try:
            found[path.strip()] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            found[path.strip()] = None if text.strip() == "none" else text
    return found
