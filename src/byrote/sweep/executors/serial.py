"""The executor `serial`: tasks run in this process, one after another."""

from collections import deque
from collections.abc import Callable
from typing import Self

import torch

from byrote.sweep.attempt import attempt
from byrote.sweep.executors.base import Event, Executor, OnEvent, Request, Setting
from byrote.sweep.plan import Task

__all__ = ["Serial"]


class Serial(Executor):
    """Runs tasks here; see `Executor`.

    Args:
        setting: the settings that all tasks share.
        stop: returns whether the sweep should stop; called after every epoch.
    """

    def __init__(self, setting: Setting, stop: Callable[[], bool]) -> None:
        self._setting, self._stop = setting, stop
        self._todo: deque[Task] = deque()

    @classmethod
    def of(cls, setting: Setting, stop: Callable[[], bool], request: Request) -> Self:
        return cls(setting, stop)

    def submit(self, task: Task) -> None:
        self._todo.append(task)

    def wait(self, on_event: OnEvent) -> None:
        threads = torch.get_num_threads()
        try:
            while self._todo and not self._stop():
                self._carry_out(self._todo.popleft(), on_event)
        finally:
            torch.set_num_threads(threads)

    def close(self) -> None:
        self._todo.clear()

    def _carry_out(self, task: Task, pass_on: OnEvent) -> None:
        attempt(self._setting.message(task), lambda data: pass_on(Event(task, data["event"], data)), self._stop)
