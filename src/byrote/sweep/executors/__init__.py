"""Where tasks run: in this process (`serial`), in worker processes of this machine (`local`), or on Ray (`ray`)."""

from byrote.sweep.executors.base import Event, Executor, Setting
from byrote.sweep.executors.local import Local
from byrote.sweep.executors.ray import Ray, check_ray
from byrote.sweep.executors.serial import Serial

__all__ = ["EXECUTORS", "Event", "Executor", "Local", "Ray", "Serial", "Setting", "check_ray"]

EXECUTORS = ("local", "serial", "ray")
