"""Pause garbage collection while very many lasting objects are made: it would scan all of them repeatedly."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["uncollected"]


@contextmanager
def uncollected() -> Iterator[None]:
    """No garbage is collected while the block lasts; for blocks that end soon, and whose objects stay."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
