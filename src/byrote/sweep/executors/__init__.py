"""Where tasks run: in this process (`serial`), in worker processes of this machine (`local`), or on Ray (`ray`)."""

from byrote.sweep.executors.base import Event, Executor, Setting
from byrote.sweep.executors.local import Local
from byrote.sweep.executors.ray import Ray, check_ray
from byrote.sweep.executors.serial import Serial

__all__ = ["EXECUTORS", "Event", "Executor", "Local", "Ray", "Serial", "Setting", "check_executor"]

EXECUTORS = ("local", "serial", "ray")


def check_executor(on: str, address: str, gpus_per_task: float | None, device: str) -> None:
    """See that there is such an executor and that it takes what was asked for.

    Raises:
        ValueError: there is none, or what was asked for does not fit.
        ImportError: Ray is not installed.
    """
    if on not in EXECUTORS:
        raise ValueError(f"`on=` needs {', '.join(EXECUTORS[:-1])} or {EXECUTORS[-1]}, got {on!r}")
    if on == "ray":
        check_ray(address, gpus_per_task, device)
    elif address or gpus_per_task is not None:
        raise ValueError(f"`address=` and `gpus_per_task=` are for `on='ray'`, and this is `on={on!r}`")
