"""The first Ctrl-C or SIGTERM ends the work after the current epoch, with a checkpoint; the second ends it at once."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["interruptible"]


@contextmanager
def interruptible(begun: Callable[[], bool], ask: Callable[[], object]) -> Iterator[None]:
    """In this block, the first Ctrl-C calls `ask`, and the second raises KeyboardInterrupt.

    Args:
        begun: returns whether the work has begun; until then, even the first Ctrl-C raises KeyboardInterrupt.
        ask: asks the work to stop.
    """
    signaled = False

    def handle(number: int, frame: Any) -> None:
        nonlocal signaled
        if signaled or not begun():
            raise KeyboardInterrupt
        signaled = True
        ask()

    if threading.current_thread() is not threading.main_thread():  # Python handles signals only in the main thread
        yield
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
