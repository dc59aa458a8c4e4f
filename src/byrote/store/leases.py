"""Each task and each run has a lease, which shows who trains it, so that several drivers on one store share the work.

A lease is a series of numbered files, its generations, on the store's board (`byrote.store.board`). Only the highest
number is valid. A thread of the owner touches its file repeatedly. Another process takes over by creating the file with
the next number, which only one process can do:

* at once, if the owner was a process of the same system and has ended;
* after the lease has expired, that is, after its file was not touched for `seconds`. The age of the file is measured by
  the store's clock, the time that the store gives to a file written now. This clock may have been changed, so a process
  also watches the lease for `seconds` / 3 by its own monotonic clock before it takes over. If the store's clock was set
  back, so that the lease does not look old, the process watches it for all of `seconds`.

If a process was paused for longer than its lease, it is no longer the owner when it continues, and its training is
discarded. Leases only avoid duplicate work. Results do not depend on leases, because an undamaged run in the store is
never replaced; see `byrote.store.drafts`.
"""

import json
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from byrote.files.process import owner_of, signed
from byrote.store.board import Board, board_of
from byrote.store.directory import StoreLostError, is_committed, present_plan

__all__ = ["HeldError", "LeaseLostError", "Leases", "Watch", "clear_leases", "held", "leased", "seconds_of_a_lease"]

_FREE = "free"  # the owner that is written into an expired lease
_RENEWALS = 6  # how often a lease is touched while it is valid


def seconds_of_a_lease() -> float:
    """How long a lease is valid without being touched: $BYROTE_LEASE_SECONDS, at least 1; default 60."""
    text = os.environ.get("BYROTE_LEASE_SECONDS", "60")
    try:
        return max(1.0, float(text))
    except ValueError:
        raise ValueError(f"BYROTE_LEASE_SECONDS must be a number of seconds, got {text!r}") from None


class LeaseLostError(RuntimeError):
    """Another driver has taken over the task or run that this process was training."""


class HeldError(RuntimeError):
    """Another driver is training some runs of a task; its other runs are done."""

    def __init__(self, keys: Sequence[str]) -> None:
        super().__init__(f"another driver is training {len(keys)} of these runs")
        self.keys = list(keys)


@dataclass(frozen=True)
class _File:
    """A stored lease."""

    generation: int
    owner: str
    seconds: float
    version: object  # changes with every touch
    touched: float  # the time of the last touch, by the board's clock

    @property
    def is_free(self) -> bool:
        """Whether the owner is known to be gone. A lease that cannot be read, for example because it is being written,
        counts as held."""
        process = owner_of(self.owner)
        return self.owner == _FREE or (process is not None and process.alive is False)


def _read(board: Board, name: str, generation: int) -> _File | None:
    note = board.read(name, generation)
    if note is None:
        return None
    with suppress(ValueError, TypeError, KeyError):
        held = json.loads(note.text.partition("\n")[0])
        return _File(generation, str(held["owner"]), float(held["seconds"]), note.version, note.modified)
    return _File(generation, "", seconds_of_a_lease(), note.version, note.modified)


def _latest(board: Board, name: str) -> _File | None:
    """The newest generation of a lease, or None if there is no lease."""
    numbers = board.generations(name)
    return _read(board, name, numbers[-1]) if numbers else None


def _create(root: Path, name: str, generation: int, owner: str) -> bool:
    """Create a lease; False if another process was faster."""
    text = json.dumps({"owner": owner, "seconds": seconds_of_a_lease()})
    try:
        return board_of(root).create(name, generation, text)
    except FileNotFoundError:
        raise StoreLostError(root) from None


def leased(root: Path) -> set[str]:
    """The names of all leases whose owners seem to be at work; nothing is written to the store to find out."""
    leases = _latest_of_all(board_of(root))
    return {name for name, lease in leases if not lease.is_free and _age(lease) < 3 * lease.seconds}


def clear_leases(root: Path, *, dry_run: bool = False) -> list[str]:
    """Remove the leases whose owners are gone; returns their names."""
    board = board_of(root)
    lost = [name for name, lease in _latest_of_all(board) if lease.is_free or _age(lease) > 60 * lease.seconds]
    for name in lost if not dry_run else ():
        for generation in board.generations(name):
            board.delete(name, generation)
    return lost


def _latest_of_all(board: Board) -> Iterator[tuple[str, _File]]:
    for name, numbers in board.all().items():
        lease = _read(board, name, numbers[-1]) if numbers else None
        if lease is not None:
            yield name, lease


def _age(lease: _File) -> float:
    """Seconds since the last touch, by the clock of this machine."""
    return time.time() - lease.touched


@dataclass
class Leases:
    """The leases that a process holds while it trains a task; see `held`."""

    root: Path
    owner: str = field(default_factory=signed)
    generations: dict[str, int] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)  # names that another process has taken over
    _stopped: threading.Event = field(default_factory=threading.Event)

    def __contains__(self, name: object) -> bool:
        return name in self.generations

    def acquire(self, name: str) -> bool:
        """Take a lease if nobody holds it; returns whether this process holds it now."""
        board = board_of(self.root)
        latest = _latest(board, name)
        if latest is not None and not latest.is_free:
            return False
        generation = 1 if latest is None else latest.generation + 1
        if not _create(self.root, name, generation, self.owner):
            return False
        before = None if latest is None else _read(board, name, latest.generation)
        if board.generations(name)[-1:] != [generation] or (
            before is not None and latest is not None and before.owner != latest.owner
        ):  # meanwhile the previous owner released the lease and another process took it
            board.delete(name, generation)
            return False
        self.generations[name] = generation
        return True

    def check(self, name: str) -> None:
        """Check that this process holds the lease and that the store is there.

        A lease whose file was deleted by hand is taken again, unless another process has taken it.

        Raises:
            LeaseLostError: another process has taken over.
            StoreLostError: the store is gone.
        """
        present_plan(self.root)
        (self.root / ".running").mkdir(exist_ok=True)
        latest, mine = _latest(board_of(self.root), name), self.generations.get(name)
        if latest is None and mine is not None and _create(self.root, name, mine, self.owner):
            return
        if latest is None or latest.generation != mine or latest.owner != self.owner:
            raise LeaseLostError(f"another driver has taken over {name}; its training here is discarded")

    def renew(self) -> None:
        """Touch every lease, with the time of the store's clock, and note which leases are lost."""
        board = board_of(self.root)
        with suppress(OSError):
            for name, generation in list(self.generations.items()):
                latest = max(board.generations(name), default=0)
                if latest > generation or (not latest and is_committed(self.root, name)):
                    self.lost.add(name)  # if the lease was deleted, a new owner has finished and released it
                elif latest:
                    board.touch(name, generation)

    def keep_renewing(self) -> None:
        """Start a thread that renews the leases until `release`."""
        wait = seconds_of_a_lease() / _RENEWALS

        def loop() -> None:
            while not self._stopped.wait(wait):
                self.renew()

        threading.Thread(target=loop, daemon=True, name="byrote-leases").start()

    def release(self) -> None:
        """Release every lease, and remove its older generations."""
        self._stopped.set()
        board = board_of(self.root)
        with suppress(OSError):
            for name, mine in self.generations.items():
                for generation in board.generations(name):
                    lease = _read(board, name, generation) if generation <= mine else None
                    if lease is not None and (generation < mine or lease.owner == self.owner):
                        board.delete(name, generation)
        self.generations.clear()


@contextmanager
def held(root: Path, task: str, keys: Sequence[str]) -> Iterator[Leases]:
    """Hold the leases of a task and of its runs during the block.

    If another driver is training this task, none of its runs is taken. If another driver trains some of these runs as
    part of another task, the free runs are taken.

    Args:
        task: the name of the task.
        keys: its runs; `key in leases` is true for the runs whose leases are held.
    """
    present_plan(root)
    (root / ".running").mkdir(exist_ok=True)
    leases = Leases(root)
    try:
        if leases.acquire(task):
            for key in keys:
                leases.acquire(key)
            leases.keep_renewing()
        yield leases
    finally:
        leases.release()


class Watch:
    """Checks the leases of other drivers repeatedly, and declares expired leases free.

    Two clocks are used: the clock of the store, and the monotonic clock of this machine, which cannot be set. If this
    process itself was paused between two checks, the pause counts only as a short wait.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen: dict[tuple[str, int], tuple[object, float]] = {}  # each lease's version, and time watched
        self._looked = time.monotonic()

    def look(self, names: Iterable[str]) -> set[str]:
        """Declare expired leases free; returns the names that are free now, which must still be acquired."""
        wait = min(time.monotonic() - self._looked, seconds_of_a_lease() / _RENEWALS)
        self._looked = time.monotonic()
        board, free, now = board_of(self._root), set(), None
        for name in names:
            lease = _latest(board, name)
            if lease is None or lease.is_free:
                free.add(name)
                continue
            version, watched = self._seen.get((name, lease.generation), (lease.version, -wait))
            watched = watched + wait if version == lease.version else 0.0
            self._seen[name, lease.generation] = lease.version, watched
            if watched >= lease.seconds / 3:
                now = board.clock() if now is None else now
                is_old = now - lease.touched > lease.seconds
                if (is_old or watched >= lease.seconds) and _create(self._root, name, lease.generation + 1, _FREE):
                    free.add(name)
        return free
