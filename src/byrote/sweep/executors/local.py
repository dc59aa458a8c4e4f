"""The executor `local`: tasks run in long-lived worker processes of this machine, one task per process at a time.

If a worker dies, only its current task is affected: its slot starts another worker and tries the task once more.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from typing import Any, Self

from byrote.identity import is_own
from byrote.sweep.executors.base import Event, Executor, OnEvent, Request, Setting
from byrote.sweep.plan import Task

__all__ = ["Local", "default_workers"]

_ATTEMPTS = 2  # attempts at a task whose worker dies
_TICK = 0.25  # seconds between two checks of whether to stop


def default_workers(device: str = "cpu") -> int:
    """One worker per core that this process may use; only one worker on an accelerator, because one cohort fills it.

    >>> default_workers("cuda:0")
    1
    """
    if not device.startswith("cpu"):
        return 1
    usable: Callable[[int], Any] | None = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable is not None else os.cpu_count() or 1


class Local(Executor):
    """Runs tasks in `workers` processes; see `Executor`.

    Args:
        setting: the settings that all tasks share.
        stop: returns whether the sweep should stop.
        workers: the largest number of processes.
    """

    def __init__(self, setting: Setting, stop: Callable[[], bool], workers: int) -> None:
        self._setting, self._stop, self._workers = setting, stop, workers
        self._todo: Queue[Task] = Queue()
        self._events: Queue[Event | None] = Queue()
        self._slots: list[_Slot] = []

    @classmethod
    def of(cls, setting: Setting, stop: Callable[[], bool], request: Request) -> Self:
        return cls(setting, stop, request.workers or default_workers(setting.device))

    def submit(self, task: Task) -> None:
        self._todo.put(task)

    def wait(self, on_event: OnEvent) -> None:
        if self._stop():
            return
        count = min(self._workers, self._todo.qsize())
        self._slots = [_Slot(self._todo, self._setting, self._events.put) for _ in range(count)]
        for slot in self._slots:
            slot.start()
        working, stopping = len(self._slots), False
        while working:
            if not stopping and self._stop():
                stopping = True
                for slot in self._slots:
                    slot.ask_to_stop()
            try:
                event = self._events.get(timeout=_TICK)
            except Empty:
                continue
            if event is None:
                working -= 1
            else:
                on_event(event)

    def close(self) -> None:
        for slot in self._slots:
            slot.kill()


class _Slot(threading.Thread):
    """One thread that owns a worker process and sends it one task after another."""

    def __init__(self, todo: "Queue[Task]", setting: Setting, say: Callable[[Event | None], None]) -> None:
        super().__init__(daemon=True)
        self._todo, self._setting, self._say = todo, setting, say
        self._process: subprocess.Popen[str] | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # one writer at a time; nothing is sent to a worker that is being ended

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    task = self._todo.get_nowait()
                except Empty:
                    break
                self._carry_out(task)
            self._end()
        finally:
            self._say(None)

    def ask_to_stop(self) -> None:
        """Start no further task, and make the worker stop the current task after its epoch."""
        with self._lock:
            self._stopping.set()
            if self._process is not None and self._process.stdin is not None:
                with suppress(OSError, ValueError):  # the worker died or ended
                    self._process.stdin.write('"stop"\n')
                    self._process.stdin.flush()

    def kill(self) -> None:
        """End the worker now, whatever it is doing."""
        with self._lock:
            self._stopping.set()
            if self._process is not None:
                self._process.kill()
        self.join()

    def _carry_out(self, task: Task) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            code = self._attempt(task)
            if code is None or self._stopping.is_set():
                return
            self._say(
                Event(task, "lost", {"how": f"exit code {code}", "attempt": attempt, "again": attempt < _ATTEMPTS})
            )

    def _attempt(self, task: Task) -> int | None:
        """Send the task to the worker and pass on its events; returns the exit code of a worker that died."""
        with self._lock:
            if self._stopping.is_set():
                return None
            process = self._worker()
            with suppress(OSError):  # the worker died while a line was written to it
                _pipe(process.stdin).write(json.dumps(self._setting.message(task)) + "\n")
                _pipe(process.stdin).flush()
        with suppress(ValueError):  # the worker died in the middle of a line
            for line in _pipe(process.stdout):
                data = json.loads(line)
                self._say(Event(task, data["event"], data))
                if data["event"] in ("done", "held", "stopped", "error"):
                    return None
        return process.wait()

    def _worker(self) -> "subprocess.Popen[str]":
        if self._process is not None and self._process.poll() is not None:
            _close(self._process)
        if self._process is None or self._process.poll() is not None:
            threads = str(self._setting.threads)
            environment = dict(os.environ, OMP_NUM_THREADS=threads, MKL_NUM_THREADS=threads, PYTHONPATH=_python_path())
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "byrote.sweep.worker"],  # -P, so that no local file shadows a library
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                env=environment,
                start_new_session=True,  # Ctrl-C reaches only the driver, which stops its workers
            )
        return self._process

    def _end(self) -> None:
        """Ask the worker to end, and kill it if it does not."""
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return
        try:
            _pipe(process.stdin).write("null\n")
            _pipe(process.stdin).flush()
            process.wait(timeout=10)
        except (OSError, ValueError, subprocess.TimeoutExpired):
            process.kill()
        _close(process)


def _pipe(pipe: Any) -> Any:
    """A pipe of a process that was started with pipes."""
    if pipe is None:
        raise RuntimeError("a worker needs pipes")
    return pipe


def _python_path() -> str:
    """The PYTHONPATH of a worker: the path of this process, and the folder of byrote if it is not installed."""
    places = [*os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    house = str(Path(__file__).resolve().parents[3])
    return os.pathsep.join([place for place in places if place] + ([house] if is_own(Path(house)) else []))


def _close(process: "subprocess.Popen[str]") -> None:
    """Wait until a process has ended, and close its pipes."""
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
