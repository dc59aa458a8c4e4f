"""The driver: gives tasks to an executor, records events, and waits for runs that other drivers are training."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from byrote.store import Plan, committed
from byrote.store.directory import present_plan
from byrote.store.drafts import leftovers, remove
from byrote.store.leases import Watch, clear_leases, seconds_of_a_lease
from byrote.store.log import EventLog, note_run
from byrote.store.mirror import refresh
from byrote.store.status import clear_abandoned
from byrote.sweep.executors import Event, Executor
from byrote.sweep.outcome import Outcome, Watcher
from byrote.sweep.plan import Task
from byrote.sweep.stop import Stop

__all__ = ["Driver"]

_DISK = ("OSError", "WriteError", "StoreLostError")  # types of errors when the store cannot be written to
_LOOK, _SLOWER = 0.2, 1.3  # seconds until the runs of other drivers are checked again, and the growth of this wait
_TICK = 0.25  # seconds between two checks of whether to stop


class Driver:
    """Gives tasks to an executor, and records their events.

    Args:
        executor: where the tasks run.
        plan: the plan of the store.
        costs: multiply-adds of each run, by key.
        stop: returns whether the sweep should stop.
    """

    def __init__(
        self,
        executor: Executor,
        plan: Plan,
        costs: Mapping[str, float],
        stop: Stop,
        outcome: Outcome,
        watcher: Watcher,
    ) -> None:
        self._executor, self._plan, self._costs, self._stop = executor, plan, costs, stop
        self._outcome, self._watcher, self._root = outcome, watcher, outcome.root
        self._log = EventLog(outcome.root)
        self._held: dict[str, Task] = {}  # another driver is training them

    def carry_out(self, todo: Sequence[Task], on: str) -> None:
        """Run these tasks. In every case, the workers are ended and the notes of their runs are removed at the end.

        Raises:
            OSError: the store cannot be written to.
        """
        runs, cost = sum(len(task.keys) for task in todo), sum(task.cost for task in todo)
        host, pid = self._log.driver.rsplit("-", 2)[:2]
        about = {"host": host, "pid": int(pid), "study": self._plan.study, "on": on, "planned": self._outcome.planned}
        about |= {"done": self._outcome.done, "todo": runs, "tasks": len(todo), "cost": cost}
        self._log.write("begin", about)
        reason = "interrupted"
        try:
            self._submit(todo)
            self._executor.wait(self._note)
            others = Watch(self._root)
            while self._held and not self._stop():
                self._submit(self._freed(others))
                self._executor.wait(self._note)
            present_plan(self._root)
            reason = self._stop.reason
        except OSError as error:
            reason = str(error)
            raise
        finally:
            self._executor.close()
            for path in leftovers(self._root):
                remove(path)
            clear_leases(self._root)
            # including the notes of drivers that died
            clear_abandoned(self._root, [entry.key for entry in self._plan.entries])
            self._log.write("end", {"done": self._outcome.done, "left": self._outcome.left, "reason": reason})

    def _submit(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            self._executor.submit(task)

    def _freed(self, others: Watch) -> list[Task]:
        """Wait until some of the runs that other drivers are training are done or free; returns the tasks that are
        left."""
        held, self._held = list(self._held.values()), {}
        names = [name for task in held for name in (task.name, *task.keys)]
        wait, longest = _LOOK, seconds_of_a_lease() / 6
        while not self._stop():
            refresh(self._root)
            done = self._plan.present(committed(self._root))
            free = others.look(name for name in names if name not in done)
            left = [task for task in (_without(task, done) for task in held) if task is not None]
            if not left or any(task.name in free and free.intersection(task.keys) for task in left):
                return left
            self._pause(wait)
            wait = min(wait * _SLOWER, longest)
        return []

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self._stop():
            time.sleep(min(_TICK, seconds))

    def _note(self, event: Event) -> None:
        """Record an event and pass it to the watcher."""
        keys = list(event.task.keys)
        if event.kind == "held":
            self._held[event.task.name] = event.task
        self._outcome.note(event)
        self._watcher.event(event, self._outcome)
        fields = {name: value for name, value in event.data.items() if name not in ("event", "trace", "own", "rows")}
        if event.kind in ("run", "raised"):
            self._log.write(event.kind, {**fields, "cost": self._costs.get(str(event.data["key"]), 0.0)})
        elif event.kind in ("held", "lost", "error", "stopped"):
            self._log.write(event.kind, {"keys": keys, **fields})
        if event.kind == "lost":
            again = "starts again" if event.data["again"] else "is given up"
            note_run(self._root, keys, f"the worker died ({event.data['how']}); the run {again}")
        elif event.kind == "error":
            note_run(self._root, keys, f"could not be trained: {event.data['message']}")
            if event.data["type"] in _DISK:
                progress = f"{self._outcome.done} of {self._outcome.planned} runs are stored in {self._root}"
                raise OSError(f"{event.data['message']}; {progress}")


def _without(task: Task, done: Collection[str]) -> Task | None:
    """The task without its finished runs; None if no runs are left."""
    left = tuple(e for e in task.experiments if e.key not in done)
    return replace(task, experiments=left, cost=task.cost * len(left) / len(task.experiments)) if left else None
