"""`byrote run`: train what is missing of a study, with progress for a terminal and for a file."""

import sys
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from byrote.cli.output import fail, quiet, say

if TYPE_CHECKING:
    from byrote.experiment import Experiment
    from byrote.sweep import Event, Outcome

__all__ = ["run"]

_LINE_EVERY = 10.0  # seconds between two lines when standard error is a file


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
    imports: Annotated[list[str] | None, Parameter(name="--import", negative=())] = None,
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
        Worker processes (default: one a core).
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
    imports
        A module that defines your own components; may be given several times.
    set_
        path=value over every run's spec, e.g. training.epochs=5; may be given several times.
    weights
        Keep each run's trained weights.
    """
    from byrote.sweep import run as sweep

    overrides = _overrides(set_ or [])
    if precision is not None:
        overrides["training.precision"] = precision
    folder = out or Path("runs") / "-".join(part for part in (Path(study).stem, scale) if part)
    watcher = _Watcher()
    try:
        outcome = sweep(
            study,
            folder,
            scale=scale,
            overrides=overrides,
            imports=imports or [],
            workers=workers,
            device=device,
            on=on,
            cohort=cohort,
            limit=limit,
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
    kept = f"{outcome.kept} of {outcome.planned} runs are kept in {folder}"
    if outcome.broken:
        return fail(f"{outcome.broken[0]}; {kept}", 1)
    if outcome.failed:
        key, error = next(iter(outcome.failed.items()))
        say(f"{len(outcome.failed)} runs failed, the first {key}: {error}; {kept}")
        return 0
    say(f"{kept}; next: byrote report {folder}")
    return 0


def _overrides(settings: list[str]) -> dict[str, Any]:
    """`path=value` settings; the value is TOML where it can be read as such, else text."""
    found: dict[str, Any] = {}
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals or not path:
            raise ValueError(f"--set needs path=value, got {setting!r}")
        try:
            found[path.strip()] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            found[path.strip()] = text
    return found


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


class _Watcher:
    """Draws a bar on a terminal; writes a line now and then into a file."""

    def __init__(self) -> None:
        self.begun, self.kept = False, 0
        self._bar: Progress | None = None
        self._work = self._done = 0.0
        self._todo = self._finished = 0
        self._epochs: dict[int, tuple[float, float]] = {}  # by task: share done, its weight
        self._latest = ""
        self._experiments: Mapping[str, Experiment] = {}
        self._started = self._said = 0.0

    def begin(self, outcome: "Outcome", todo: int, experiments: "Mapping[str, Experiment]") -> None:
        self.begun, self.kept, self._todo, self._experiments = True, outcome.kept, todo, experiments
        self._started = self._said = time.monotonic()
        if outcome.done_before:
            say(f"{outcome.done_before} of {outcome.planned} runs are there already")
        if not todo or quiet():
            return
        if sys.stderr.isatty():
            self._bar = Progress(
                TextColumn("{task.fields[count]}"),
                BarColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[left]}"),
                TextColumn("{task.fields[latest]}", style="dim"),
                console=Console(stderr=True),
            )
            self._bar.add_task("runs", total=float(todo), count=f"0/{todo} runs", left="", latest="")
            self._bar.start()
        else:
            say(f"0/{todo} runs")

    def event(self, event: "Event", outcome: "Outcome") -> None:
        self.kept = outcome.kept
        weight = float(len(event.task.keys))
        if event.kind == "epoch":
            self._epochs[id(event.task)] = (event.data["epoch"] / event.data["epochs"], weight)
            for key, row in event.data["rows"].items():
                self._latest = f"{self._name(key)}: J1 {row['j1']:.3f} J2 {row['j2']:.3f} (epoch {event.data['epoch']})"
        elif event.kind == "run":
            self._finished += 1
        elif event.kind in ("done", "error"):
            self._epochs[id(event.task)] = (1.0, weight)
        elif event.kind == "lost":
            say(f"a worker died (exit code {event.data['code']}); its {len(event.task.keys)} runs start again")
            self._epochs.pop(id(event.task), None)
        self._show(final=False)

    def end(self, outcome: "Outcome") -> None:
        self._show(final=True)
        self.close()

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _name(self, key: str) -> str:
        experiment = self._experiments[key]
        rate = experiment.noise.nominal_rate
        return f"{experiment.loss.label} eta {rate:g} seed {experiment.seed}"

    def _show(self, final: bool) -> None:
        if quiet() or not self._todo:
            return
        done = sum(share * weight for share, weight in self._epochs.values())
        elapsed = time.monotonic() - self._started
        left = f"{_clock(elapsed * (self._todo - done) / done)} left" if done > 0 else ""
        count = f"{self._finished}/{self._todo} runs"
        if self._bar is not None:
            task = self._bar.task_ids[0]
            self._bar.update(task, completed=done, count=count, left=left, latest=self._latest)
        elif final or time.monotonic() - self._said >= _LINE_EVERY:
            self._said = time.monotonic()
            parts = [count, f"{_clock(elapsed)} elapsed", "" if final else left, self._latest]
            say(", ".join(part for part in parts if part))
