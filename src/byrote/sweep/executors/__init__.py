"""Where tasks run: in this process (`serial`), in worker processes of this machine (`local`), or on Ray (`ray`)."""

from byrote.component import discover
from byrote.sweep.executors.base import Event, Executor, Request, Setting
from byrote.sweep.executors.local import Local
from byrote.sweep.executors.ray import Ray
from byrote.sweep.executors.serial import Serial

__all__ = ["Event", "Executor", "Local", "Ray", "Request", "Serial", "Setting", "named"]

discover(__name__)


def named(on: str) -> type[Executor]:
    """The executor with the given name.

    Raises:
        ValueError: there is no such executor.

    >>> named("serial").__name__
    'Serial'
    """
    if on not in Executor.registry:
        *names, last = sorted(Executor.registry)
        raise ValueError(f"`on=` must be {', '.join(names)} or {last}, got {on!r}")
    return Executor.registry[on]
