"""`byrote run`: train what is missing of a study, with progress for a terminal and for a file."""

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

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
    limit: int | None = None,
    max_time: float | None = None,
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
        Stop after this many minutes; what is finished is kept, and the same command goes on.
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
    from byrote.sweep import run as sweep

    overrides = _overrides(set_ or [])
    if precision is not None:
        overrides["training.precision"] = precision
    folder = out or Path("runs") / "-".join(part for part in (Path(study).stem, scale) if part)
    watcher = Bar()
    try:
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
            max_time=max_time,
            keep_weights=weights,
            watcher=watcher,
        )
    except KeyboardInterrupt:
        watcher.close()
        kept = (
            f"{watcher.kept} runs are kept in {folder}; the same command goes on" if watcher.begun else "nothing begun"
        )
        return fail(f"interrupted: {kept}", 130)
    finally:
        watcher.close()
    return _said(outcome, folder)


def _said(outcome: "Outcome", folder: Path) -> int:
    """Say how a sweep ended, and give the exit code: 1 where a run could not be carried out."""
    kept = f"{outcome.kept} of {outcome.planned} runs are kept in {folder}"
    if outcome.raised:
        key, error = next(iter(outcome.raised.items()))
        return fail(f"{len(outcome.raised)} runs raised an exception, the first {key}: {error}; {kept}", 1)
    if outcome.broken:
        return fail(f"{outcome.broken[0]}; {kept}", 1)
    if outcome.failed:
        key, error = next(iter(outcome.failed.items()))
        say(f"{len(outcome.failed)} runs failed, the first {key}: {error}; {kept}")
        return 0
    if outcome.stopped:
        say(f"stopped after --max-time: {kept}; the same command goes on")
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
