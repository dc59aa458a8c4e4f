"""The result of a sweep, and the interface through which its progress is followed."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from byrote.analysis import Store
from byrote.experiment import Experiment
from byrote.sweep.executors import Event
from byrote.sweep.plan import Task

__all__ = ["Outcome", "Watcher"]

log = logging.getLogger("byrote")


@dataclass
class Outcome:
    """The result of a sweep.

    Attributes:
        planned, done, done_before: the numbers of planned runs, of runs that are done now, and of runs that were done
            before this sweep.
        failed: runs that ended as "failed" (diverged), by key, including runs of earlier sweeps.
        raised: for each run in which byrote or a user's own code raised an exception, by key: the exception and its
            place.
        broken: tasks that could not be trained at all, such as those whose worker died twice, in words.
        unavailable: runs that were left out because their data are not available, by key, with the reason.
        older_versions: how many runs in the store were made with different content of a file or module and are not
            used, by the name of the file or module and the first digits of its content.
        without_weights: if weights were requested: how many runs were done before and have no stored weights.
        stopped: why the sweep stopped before all was done, such as "interrupted"; empty if it was completed.
        reported: the keys of the runs that this sweep put into the store.
    """

    root: Path
    planned: int = 0
    done_before: int = 0
    done: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    raised: dict[str, str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    unavailable: dict[str, str] = field(default_factory=dict)
    older_versions: dict[str, int] = field(default_factory=dict)
    without_weights: int = 0
    stopped: str = ""
    reported: set[str] = field(default_factory=set)
    _traces: set[str] = field(default_factory=set, repr=False)

    def note(self, event: Event) -> None:
        """Record an event of a worker."""
        if event.kind == "run":
            self.done += 1
            self.reported.add(event.data["key"])
            if event.data["status"] == "failed":
                self.failed[event.data["key"]] = event.data["error"]
        elif event.kind == "raised":
            self.note_raised([event.data["key"]], event.data["error"], event.data["trace"], event.data["own"])
        elif event.kind == "error":
            self.broken.append(f"{len(event.task.keys)} runs: {event.data['message']}")
        elif event.kind == "lost" and not event.data["again"]:
            times = "twice" if event.data["attempt"] == 2 else f"{event.data['attempt']} times"
            died = f"their worker died {times} ({event.data['how']})"
            self.broken.append(f"{len(event.task.keys)} runs: {died}")

    def note_raised(self, keys: Sequence[str], error: str, trace: str, own: bool) -> None:
        """Note runs in which an exception was raised; each traceback is logged once, and as an error if it is from a
        user's code."""
        self.raised |= dict.fromkeys(keys, error)
        if trace not in self._traces:
            self._traces.add(trace)
            log.log(logging.ERROR if own else logging.INFO, "run %s raised an exception\n%s", keys[0], trace)

    @property
    def left(self) -> int:
        """The number of runs that another sweep would train."""
        return self.planned - self.done - len(self.unavailable.keys() | self.raised.keys())

    @property
    def store(self) -> Store:
        """The store, opened for reading."""
        return Store(self.root)


class Watcher:
    """Receives the progress of a sweep and does nothing; the command line has a subclass that draws a progress bar."""

    def begin(self, outcome: Outcome, todo: Sequence[Task], experiments: Mapping[str, Experiment]) -> None:
        """Called after planning, when these tasks are about to be trained."""

    def event(self, event: Event, outcome: Outcome) -> None:
        """Called when a worker has reported an event."""

    def end(self, outcome: Outcome) -> None:
        """All is done."""
