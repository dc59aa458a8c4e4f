"""Where tasks run: in this process (`serial`), or in worker processes of this machine (`local`)."""

from byrote.sweep.executors.base import Event, Executor, Setting
from byrote.sweep.executors.local import Local
from byrote.sweep.executors.serial import Serial

__all__ = ["Event", "Executor", "Local", "Serial", "Setting"]
