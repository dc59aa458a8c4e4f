"""Where tasks run: in this process (`serial`), or in one long-lived worker process a core (`local`).

Both carry out the same `work` with one torch thread, so results are the same bits. An executor yields events: what a
worker said, with the task it belongs to. A worker that dies costs the task in hand and nothing else: the slot starts
another and tries the task once more.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from byrote.identity import is_own
from byrote.store.leases import HeldError
from byrote.sweep.plan import Task
from byrote.sweep.work import work

__all__ = ["Event", "Setting", "local", "serial"]

_ATTEMPTS = 2  # times a task is tried when its worker dies


@dataclass(frozen=True)
class Setting:
    """What every task of a sweep shares."""

    root: str
    device: str = "cpu"
    threads: int = 1
    weights: bool = False
    imports: tuple[str, ...] = ()

    def message(self, task: Task) -> dict[str, Any]:
        """The task as a worker reads it."""
        return {
            "root": self.root,
            "device": self.device,
            "threads": self.threads,
            "weights": self.weights,
            "imports": list(self.imports),
            "path": [place for place in sys.path if place],
            "name": task.name,
            "specs": [experiment.spec() for experiment in task.experiments],
            "keys": list(task.keys),
            "contents": [experiment.contents for experiment in task.experiments],
        }


@dataclass(frozen=True)
class Event:
    """Something a worker said of a task; `kind` is epoch, run, raised, done, held, error or lost."""

    task: Task
    kind: str
    data: dict[str, Any]


def serial(tasks: Sequence[Task], setting: Setting) -> Generator[Event, None, None]:
    """Run the tasks here, one after another."""
    import torch

    threads = torch.get_num_threads()
    try:
        for task in tasks:
            said: list[dict[str, Any]] = []
            try:
                work(setting.message(task), said.append)
            except HeldError as error:
                said.append({"event": "held", "keys": error.keys})
            except Exception as error:
                said.append({"event": "error", "type": type(error).__name__, "message": str(error) or repr(error)})
            yield from (Event(task, e["event"], e) for e in said)
            if said[-1]["event"] not in ("held", "error"):
                yield Event(task, "done", {})
    finally:
        torch.set_num_threads(threads)


def local(tasks: Sequence[Task], setting: Setting, workers: int) -> Generator[Event, None, None]:
    """Run the tasks in `workers` processes; closing the iterator ends them."""
    todo: Queue[Task] = Queue()
    for task in tasks:
        todo.put(task)
    events: Queue[Event | None] = Queue()
    slots = [_Slot(todo, setting, events.put) for _ in range(min(workers, len(tasks)))]
    try:
        for slot in slots:
            slot.start()
        open_slots = len(slots)
        while open_slots:
            event = events.get()
            if event is None:
                open_slots -= 1
            else:
                yield event
    finally:
        for slot in slots:
            slot.stop()


class _Slot(threading.Thread):
    """One thread that owns one worker process and feeds it tasks."""

    def __init__(self, todo: "Queue[Task]", setting: Setting, say: Callable[[Event | None], None]) -> None:
        super().__init__(daemon=True)
        self._todo, self._setting, self._say = todo, setting, say
        self._process: subprocess.Popen[str] | None = None
        self._stopped = threading.Event()

    def run(self) -> None:
        try:
            while not self._stopped.is_set():
                try:
                    task = self._todo.get_nowait()
                except Empty:
                    break
                self._carry_out(task)
            self._end()
        finally:
            self._say(None)

    def stop(self) -> None:
        """End the worker now, whatever it does."""
        self._stopped.set()
        if self._process is not None:
            self._process.kill()
            _close(self._process)

    def _carry_out(self, task: Task) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            code = self._attempt(task)
            if code is None or self._stopped.is_set():
                return
            self._say(Event(task, "lost", {"code": code, "attempt": attempt, "again": attempt < _ATTEMPTS}))

    def _attempt(self, task: Task) -> int | None:
        """Give the task to the worker and pass on what it says; its exit code when it died on the way."""
        process = self._worker()
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("a worker needs pipes")
        try:
            process.stdin.write(json.dumps(self._setting.message(task)) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                data = json.loads(line)
                self._say(Event(task, data["event"], data))
                if data["event"] in ("done", "held", "error"):
                    return None
        except (BrokenPipeError, ValueError):
            pass  # died while it was written to, or in the middle of a line
        return process.wait()

    def _worker(self) -> "subprocess.Popen[str]":
        if self._process is not None and self._process.poll() is not None:
            _close(self._process)
        if self._process is None or self._process.poll() is not None:
            threads = str(self._setting.threads)
            environment = dict(os.environ, OMP_NUM_THREADS=threads, MKL_NUM_THREADS=threads, PYTHONPATH=_python_path())
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "byrote.sweep.worker"],  # -P: no file here stands in for a library
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                env=environment,
            )
        return self._process

    def _end(self) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        try:
            process.stdin.write("null\n")
            process.stdin.flush()
            process.wait(timeout=10)
        except (OSError, ValueError, subprocess.TimeoutExpired):
            process.kill()
        _close(process)


def _python_path() -> str:
    """Where a worker looks for modules besides the installed ones: as here, and in the folder that holds byrote."""
    places = [*os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    house = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join([place for place in places if place] + ([house] if is_own(Path(house)) else []))


def _close(process: "subprocess.Popen[str]") -> None:
    """Wait for a process that ends, and close its pipes."""
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
