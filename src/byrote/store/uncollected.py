"""Pause garbage collection while many long-lived objects are created, because it would scan all of them repeatedly."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["uncollected"]


@contextmanager
def uncollected() -> Iterator[None]:
    """Pause garbage collection in the block; use it for short blocks that create long-lived objects."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
