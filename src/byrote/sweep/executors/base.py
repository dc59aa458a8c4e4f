"""The interface of every executor: it takes tasks, carries them out somewhere, and reports what happens."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from byrote.sweep.plan import Task

__all__ = ["Event", "Executor", "OnEvent", "Request", "Setting"]


@dataclass(frozen=True)
class Setting:
    """The settings that all tasks of a sweep share."""

    root: str
    device: str = "cpu"
    threads: int = 1
    weights: bool = False
    imports: tuple[str, ...] = ()

    def message(self, task: Task) -> dict[str, Any]:
        """The task in the form that a worker reads."""
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
    """Something that happened to a task.

    Args:
        task: the task.
        kind: "epoch"; "run" (one of its runs is in the store) or "raised" (one of its runs raised an exception);
            "lost" (its worker died); and, as its last event, "done", "held" (another driver trains some of its runs),
            "stopped" (it ended after an epoch, because the sweep stops), or "error" (it could not be run).
        data: plain data about the event.
    """

    task: Task
    kind: str
    data: dict[str, Any]


OnEvent = Callable[[Event], object]


@dataclass(frozen=True)
class Request:
    """The options of an executor; each executor uses the options that apply to it.

    Args:
        workers: the largest number of parallel tasks; None: as many as the machine or cluster has room for.
        address: the address of a running cluster; empty: a private cluster.
        gpus_per_task: the number of GPUs, or the fraction of a GPU, that a task takes; None: 1 on an accelerator.
    """

    workers: int | None = None
    address: str = ""
    gpus_per_task: float | None = None


class Executor(ABC):
    """Where tasks run. Defining a subclass registers it under its name in lower case.

    With every executor, `work.work` executes a task with one torch thread. Results go straight into the store, and only
    events come back. So a study gives the same bits with every executor.
    """

    registry: ClassVar[dict[str, type["Executor"]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.registry[cls.__name__.lower()] = cls

    @classmethod
    @abstractmethod
    def of(cls, setting: Setting, stop: Callable[[], bool], request: Request) -> Self:
        """An executor for tasks with this setting; it calls `stop` to find out whether the sweep should stop."""

    @classmethod
    def check(cls, request: Request, device: str) -> None:
        """Check the request before anything starts.

        Raises:
            ValueError: the request does not fit this executor or the device.
            ImportError: a package is missing.
        """
        if request.address or request.gpus_per_task is not None:
            on = cls.__name__.lower()
            raise ValueError(f"`address=` and `gpus_per_task=` require `on='ray'`, got `on={on!r}`")

    @abstractmethod
    def submit(self, task: Task) -> None:
        """Take a task; it starts when there is room for it."""

    @abstractmethod
    def wait(self, on_event: OnEvent) -> None:
        """Wait until every submitted task has ended, and pass each event to `on_event`.

        The executor calls its `stop` at least twice a second (`Serial`: after every epoch). Once `stop` returns True,
        no further task starts, and the current tasks end after their epoch, each with a checkpoint.
        """

    @abstractmethod
    def close(self) -> None:
        """End all tasks now. The last checkpoint of each current task is kept."""
