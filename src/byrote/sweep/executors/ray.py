"""The executor `ray`: tasks run on a Ray cluster, or on a private cluster on this machine. Only Ray Core is used.

A task trains one cohort and takes one CPU; on an accelerator it also takes a GPU or a fraction of one. Results go into
the store, which every node must reach under the same path or address; only the keys of the runs and their outcomes come
back. When a worker or its node dies, Ray starts its unfinished tasks again, on any node, from their last checkpoint.

If the store is a bucket, a task carries the endpoint and the region. It carries no credentials, because Ray may write
what it transports to a disk. Each worker takes the credentials from its own environment.
"""

import gc
import logging
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from byrote.store.bucket import adopt_settings, public_settings
from byrote.store.mirror import bucket_of, discard, fetch_file, located, share
from byrote.sweep.executors.base import Event, Executor, OnEvent, Request, Setting
from byrote.sweep.plan import Task

__all__ = ["Ray"]

_RETRIES = 3  # restarts of a task after its worker or node has died
_CALLS = 50  # tasks after which a worker process is replaced, to limit memory leaks at little cost
_MEMORY = 100_000_000  # bytes of the private object store; results do not use it, but Ray requires 75 MB
_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # if 0, Ray keeps 127.0.0.1; otherwise it uses a public address
_TICK = 0.25  # seconds between two checks of whether to stop
_EVERY = 5.0  # seconds between two checks of the size of the cluster


class Ray(Executor):
    """Runs tasks on Ray; see `Executor`.

    Args:
        setting: the settings that all tasks share; the path of the store must be absolute.
        stop: returns whether the sweep should stop.
        workers: the largest number of parallel tasks, and the number of CPUs of a private cluster; None: as many as
            there is room for.
        address: "auto" or HOST:PORT of a running cluster; empty: a private cluster is started on this machine. It
            listens only on the loopback interface, requires a random token, and is shut down at the end.
        gpus_per_task: the number of GPUs, or the fraction of a GPU, that a task takes; None: 1 on an accelerator.
    """

    def __init__(
        self,
        setting: Setting,
        stop: Callable[[], bool],
        workers: int | None,
        address: str = "",
        gpus_per_task: float | None = None,
    ) -> None:
        self.check(Request(workers, address, gpus_per_task), setting.device)
        self._setting, self._stop, self._workers, self._address = setting, stop, workers, address
        self._gpus = (1.0 if gpus_per_task is None else gpus_per_task) if setting.device.startswith("cuda") else 0.0
        self._todo: deque[Task] = deque()
        self._root, self._flag = located(setting.root), f".running/stop-{secrets.token_hex(8)}"
        self._folder = ""
        self._ray: Any = None
        self._remote: Any = None
        self._looked, self._slots = -_EVERY, 1

    @classmethod
    def of(cls, setting: Setting, stop: Callable[[], bool], request: Request) -> Self:
        return cls(setting, stop, request.workers, request.address, request.gpus_per_task)

    @classmethod
    def check(cls, request: Request, device: str) -> None:
        address, gpus_per_task = request.address, request.gpus_per_task
        if "://" in address:
            raise ValueError(
                f"`address=` must be auto or HOST:PORT of a cluster that this machine belongs to, got {address}"
            )
        if gpus_per_task is not None and not (device.startswith("cuda") and gpus_per_task > 0):
            raise ValueError(
                f"`gpus_per_task=` must be above 0 and requires `device='cuda'`, got {gpus_per_task:g} on {device}"
            )
        if device.startswith("cuda:"):
            raise ValueError(
                f"with `on='ray'`, Ray chooses the GPU of each task; give `device='cuda'` instead of {device}"
            )
        if find_spec("ray") is None:
            raise ImportError("`on='ray'` needs the package ray; install it with `pip install 'byrote[ray]'`")

    def submit(self, task: Task) -> None:
        self._todo.append(task)

    def wait(self, on_event: OnEvent) -> None:
        if not self._todo or self._stop():
            return
        ray = self._connected()
        in_hand: dict[Any, Task] = {}
        while in_hand or (self._todo and not self._stop()):
            while self._todo and len(in_hand) < self._room() and not self._stop():
                task = self._todo.popleft()
                in_hand[self._remote.remote(self._message(task))] = task
            if self._stop() and not (self._root / self._flag).exists():
                (self._root / self._flag).touch()
                share(self._root, self._root / self._flag)
            ready, _ = ray.wait(list(in_hand), num_returns=1, timeout=_TICK)
            for reference in ready:
                self._end(reference, in_hand.pop(reference), on_event)

    def close(self) -> None:
        self._todo.clear()
        if self._ray is not None:
            self._ray.shutdown()
            self._ray = None
        with suppress(OSError):
            discard(self._root, [self._root / self._flag])
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _message(self, task: Task) -> dict[str, Any]:
        settings = {} if bucket_of(self._root) is None else public_settings()
        return self._setting.message(task) | {"stop": self._flag, "cwd": os.getcwd(), "bucket": settings}

    def _end(self, reference: Any, task: Task, pass_on: OnEvent) -> None:
        """Pass on the events of a task, or the event that its worker died in the last attempt."""
        try:
            events = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:  # no start; is byrote installed there?
            message = f"a Ray worker could not start: {str(error).strip().splitlines()[-1]}"
            events = [{"event": "error", "type": type(error).__name__, "message": message}]
        except self._ray.exceptions.RayError as error:
            how = {"how": type(error).__name__, "attempt": _RETRIES + 1, "again": False}
            events = [{"event": "lost", **how}]
        for data in events:
            pass_on(Event(task, data["event"], data))

    def _room(self) -> int:
        """How many tasks to submit to Ray: twice the number that run in parallel, so that no worker has to wait."""
        if self._workers is not None and self._address:
            return self._workers
        if time.monotonic() - self._looked >= _EVERY:
            self._looked, there = time.monotonic(), self._ray.cluster_resources()
            fit = [there.get("CPU", 1.0)] + ([there.get("GPU", 0.0) / self._gpus] if self._gpus else [])
            self._slots = max(int(min(fit)), 1)
        return 2 * self._slots

    def _connected(self) -> Any:
        """Ray, connected to its cluster."""
        if self._ray is not None:
            return self._ray
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        if not self._address:  # for Ray's own processes, which inherit this environment
            os.environ[_LOOPBACK] = "0"
            os.environ.setdefault("RAY_AUTH_MODE", "token")
            if "RAY_AUTH_TOKEN_PATH" not in os.environ:
                os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        ray: Any = import_module("ray")

        here, in_main = os.getcwd(), threading.current_thread() is threading.main_thread()
        before = signal.getsignal(signal.SIGTERM)
        self._folder = tempfile.mkdtemp(prefix="byrote-ray-")
        try:
            os.chdir(self._folder)  # Ray puts the driver's folder first in the module path of its workers
            ray.init(**self._options())
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            where = f"the Ray cluster at {self._address}" if self._address else "a private Ray cluster"
            raise OSError(f"{where} cannot be used: {str(error).strip().splitlines()[0]}") from None
        finally:
            os.chdir(here)
            if in_main:
                signal.signal(signal.SIGTERM, before)  # Ray reads this variable
        self._ray = ray
        if not self._address and ray.util.get_node_ip_address() != "127.0.0.1":
            raise OSError(f"Ray would accept connections from other machines; set {_LOOPBACK}=0 before ray is imported")
        if self._gpus and not ray.cluster_resources().get("GPU"):
            raise ValueError("the Ray cluster has no GPU; leave `device='cuda'` out")
        options: dict[str, Any] = {"num_cpus": 1, "max_retries": _RETRIES, "max_calls": _CALLS}
        self._remote = ray.remote(**options, **({"num_gpus": self._gpus} if self._gpus else {}))(_carry_out)
        return ray

    def _options(self) -> dict[str, Any]:
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
        if self._address:
            return {"address": self._address, **quiet}
        return {
            "address": "local",
            "num_cpus": self._workers or len(os.sched_getaffinity(0)),
            "include_dashboard": False,
            "object_store_memory": _MEMORY,
            "_node_ip_address": "127.0.0.1",
            "_temp_dir": self._folder,
            **quiet,
        }


def _carry_out(task: dict[str, Any]) -> list[dict[str, Any]]:
    """One attempt at a task, in a Ray worker; returns all its events except "epoch" events."""
    from byrote.sweep.attempt import attempt

    with suppress(OSError):  # paths in a spec are relative to the driver's folder
        os.chdir(task["cwd"])
    adopt_settings(task["bucket"])
    try:
        root = located(task["root"])
    except OSError as error:
        message = f"{error}; the workers of a running cluster have the environment of the `ray start` on their node"
        return [{"event": "error", "type": "OSError", "message": message}]
    events: list[dict[str, Any]] = []
    attempt(task, events.append, _StopRequested(root, task["stop"]))
    gc.collect()
    if "torch" in sys.modules and sys.modules["torch"].cuda.is_initialized():
        sys.modules["torch"].cuda.empty_cache()  # the process stays alive for other tasks and shares its GPU
    return [event for event in events if event["event"] != "epoch"]


class _StopRequested:
    """Whether the driver has requested a stop, through a file in the store; checks at most once a second."""

    def __init__(self, root: Path, flag: str) -> None:
        self._root, self._path, self._looked = root, root / flag, -1.0

    def __call__(self) -> bool:
        if time.monotonic() - self._looked < 1.0:
            return False
        self._looked = time.monotonic()
        fetch_file(self._root, self._path)
        return self._path.exists()
