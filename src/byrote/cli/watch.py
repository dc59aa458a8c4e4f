"""The progress of a sweep: a bar on a terminal, an occasional line in a file."""

import math
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn

from byrote.cli.output import duration, older, quiet, say
from byrote.experiment import Experiment
from byrote.sweep import Event, Outcome, Task, Watcher
from byrote.training.progress import in_words

__all__ = ["Bar", "columns"]

_LINE_EVERY = 10.0  # seconds between two lines if standard error is a file


def columns() -> list[ProgressColumn]:
    """The columns of the bar; names of losses may contain square brackets, so markup is off."""
    return [
        TextColumn("{task.fields[count]}", markup=False),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}", markup=False),
        TextColumn("{task.fields[latest]}", style="dim", markup=False),
    ]


class Bar(Watcher):
    """Draws a bar on a terminal; writes an occasional line into a file."""

    def __init__(self) -> None:
        self.begun = False
        self._bar: Progress | None = None
        self._todo = self._finished = 0
        self._cost = 0.0
        self._done: dict[tuple[str, ...], float] = {}  # the cost done so far, by task
        self._latest = ""
        self._stopping = False
        self._experiments: Mapping[str, Experiment] = {}
        self._started = self._last_line = 0.0

    def begin(self, outcome: Outcome, todo: Sequence[Task], experiments: Mapping[str, Experiment]) -> None:
        self.begun, self._experiments = True, experiments
        self._todo, self._cost = sum(len(task.keys) for task in todo), sum(task.cost for task in todo)
        self._started = self._last_line = time.monotonic()
        if outcome.done_before:
            say(f"{outcome.done_before} of {outcome.planned} runs are already done")
        if outcome.older_versions:
            say(older(outcome.older_versions, outcome.root))
        if outcome.without_weights:
            say(
                f"the weights of {outcome.without_weights} of these runs were not kept, and --keep-weights does not "
                "train them again; to get their weights, run the same command with another --out"
            )
        for reason, runs in Counter(outcome.unavailable.values()).items():
            say(f"{runs} runs are left out, because their data are not available: {reason}")
        if not todo or quiet():
            return
        if sys.stderr.isatty():
            self._bar = Progress(*columns(), console=Console(stderr=True))
            self._bar.add_task("runs", total=self._cost, count=f"0/{self._todo} runs", left="", latest="")
            self._bar.start()
        else:
            say(f"0/{self._todo} runs")

    def event(self, event: Event, outcome: Outcome) -> None:
        if event.kind == "epoch":
            self._done[event.task.keys] = event.task.cost * event.data["epoch"] / event.data["epochs"]
            for key, row in event.data["rows"].items():
                shares = in_words(self._experiments[key], row)
                self._latest = f"{self._name(key)}: {shares} (epoch {event.data['epoch']})"
        elif event.kind in ("run", "raised"):
            self._finished += 1
        elif event.kind in ("done", "error"):
            self._done[event.task.keys] = event.task.cost
        elif event.kind == "lost":
            say(f"a worker died ({event.data['how']}); its {len(event.task.keys)} runs are started again")
            self._done.pop(event.task.keys, None)
        self._show(final=False)

    def stopping(self) -> None:
        """Note that the sweep is stopping; then the terminal shows that it waits for the end of the current epoch."""
        self._stopping = True
        self._show(final=False)

    def end(self, outcome: Outcome) -> None:
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
        labels = f"eta {rate:g}" if math.isfinite(rate) else f"{experiment.noise.kind} labels"
        return f"{experiment.loss.label} {labels} seed {experiment.seed}"

    def _show(self, final: bool) -> None:
        if quiet() or not self._todo:
            return
        done = sum(self._done.values())
        elapsed = time.monotonic() - self._started
        left = f"{duration(elapsed * (self._cost - done) / done)} left" if done > 0 else ""
        left = "stops after this epoch; Ctrl-C again to stop now" if self._stopping else left
        count = f"{self._finished}/{self._todo} runs"
        if self._bar is not None:
            task = self._bar.task_ids[0]
            self._bar.update(task, completed=done, count=count, left=left, latest=self._latest)
        elif (final and not self._stopping) or time.monotonic() - self._last_line >= _LINE_EVERY:
            self._last_line = time.monotonic()
            parts = [count, f"{duration(elapsed)} elapsed", "" if final else left, self._latest]
            say(", ".join(part for part in parts if part))
