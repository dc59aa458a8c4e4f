"""Show the progress of one run during training: a bar on a terminal, an occasional line elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from byrote.experiment import Experiment
from byrote.given import GIVEN
from byrote.training.loop import Progress

__all__ = ["in_words", "shown"]

_LINE_EVERY = 1.0  # seconds between two lines


def in_words(experiment: Experiment, row: Mapping[str, Any]) -> str:
    """J1 and J2 of one evaluation; if true labels are unknown, J2 is called agreement with the given labels.

    >>> from byrote import data
    >>> in_words(Experiment(data.FashionMNISTSubset()), {"j1": 0.75, "j2": 0.5})
    'J1 0.750 J2 0.500'
    """
    only_given = getattr(experiment.data, "labels", "") == GIVEN
    return f"J1 {row['j1']:.3f} {'agreement with the given labels' if only_given else 'J2'} {row['j2']:.3f}"


@contextmanager
def shown(experiment: Experiment, progress: bool) -> Iterator[Callable[[Progress], None] | None]:
    """A callback for `train` that shows the progress on standard error; None if nothing is to be shown."""
    if not progress:
        yield None
    elif sys.stderr.isatty():
        columns = (
            TextColumn("epoch"),
            MofNCompleteColumn(),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[latest]}"),
        )
        with Bar(*columns, console=Console(stderr=True)) as bar:
            yield _Drawn(experiment, bar)
    else:
        yield _Lines(experiment)


@dataclass
class _Latest:
    """The readings of the latest evaluation, in words."""

    experiment: Experiment
    text: str = field(default="", init=False)

    def update(self, progress: Progress) -> str:
        for row in progress.readings.values():
            self.text = f"train loss {row['train_loss']:.4g} {in_words(self.experiment, row)}"
        return self.text


class _Drawn:
    """A bar that counts epochs."""

    def __init__(self, experiment: Experiment, bar: Bar) -> None:
        self._latest, self._bar = _Latest(experiment), bar
        self._task = bar.add_task("epochs", total=experiment.training.epochs, latest="")

    def __call__(self, progress: Progress) -> None:
        self._bar.update(self._task, completed=progress.epoch, latest=self._latest.update(progress))


class _Lines:
    """Prints a line after the last epoch, and at most one line per second before that."""

    def __init__(self, experiment: Experiment) -> None:
        self._latest, self._last_line = _Latest(experiment), time.monotonic()

    def __call__(self, progress: Progress) -> None:
        text = self._latest.update(progress)
        if progress.epoch == progress.epochs or time.monotonic() - self._last_line >= _LINE_EVERY:
            self._last_line = time.monotonic()
            sys.stderr.write(f"epoch {progress.epoch}/{progress.epochs} {text}\n")
            sys.stderr.flush()
