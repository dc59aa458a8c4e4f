"""A board keeps the leases of a store: small files that are created in one step by one process, touched, read and
removed.

A lease called NAME has generations 1, 2, ..., each of which is a file in `.running/NAME.lease/`. So the cost of reading
one lease does not depend on the number of leases. A board is in a folder or in a bucket; `byrote.store.leases` works
with both.
"""

import os
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from byrote.store.bucket import Bucket
from byrote.store.drafts import store_time
from byrote.store.mirror import bucket_of

__all__ = ["Board", "Note", "board_of"]

_SUFFIX = ".lease"
_TIMES_TRIED = 8


@dataclass(frozen=True)
class Note:
    """A file of a board.

    Attributes:
        text: its content.
        version: a string that changes with every touch.
        modified: the time of the last touch by the board's own clock, in seconds since 1970.
    """

    text: str
    version: object
    modified: float


class Board(Protocol):
    """The files of leases, by name and generation."""

    def generations(self, name: str) -> list[int]:
        """The existing generations of a lease, sorted."""

    def all(self) -> dict[str, list[int]]:
        """The generations of every name."""

    def create(self, name: str, generation: int, text: str) -> bool:
        """Create a file; False if it exists already.

        Raises:
            FileNotFoundError: the store is gone.
        """

    def read(self, name: str, generation: int) -> Note | None:
        """A file; None if it does not exist."""

    def touch(self, name: str, generation: int) -> None:
        """Set the modification time of a file that this process created to now; a removed file is not created again."""

    def delete(self, name: str, generation: int) -> None:
        """Remove a file; a file that is gone is not an error."""

    def clock(self) -> float:
        """The time by the board's own clock, in seconds since 1970."""


@lru_cache(maxsize=8)
def _in_bucket(bucket: Bucket) -> "_BucketBoard":
    return _BucketBoard(bucket)


def board_of(root: Path) -> Board:
    """The board of a store."""
    bucket = bucket_of(root)
    return _FolderBoard(root) if bucket is None else _in_bucket(bucket)


@dataclass(frozen=True)
class _FolderBoard:
    """A board in a folder: files are created exclusively (O_EXCL), without links, so network folders work too."""

    root: Path

    def _folder(self, name: str) -> str:
        return f"{self.root}/.running/{name}{_SUFFIX}"

    def generations(self, name: str) -> list[int]:
        try:
            return sorted(int(entry) for entry in os.listdir(self._folder(name)) if entry.isdigit())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def all(self) -> dict[str, list[int]]:
        with suppress(FileNotFoundError, NotADirectoryError):
            names = [entry for entry in os.listdir(self.root / ".running") if entry.endswith(_SUFFIX)]
            return {name: self.generations(name) for name in (entry.removesuffix(_SUFFIX) for entry in names)}
        return {}

    def create(self, name: str, generation: int, text: str) -> bool:
        folder = self._folder(name)
        for attempt in range(_TIMES_TRIED):
            with suppress(FileExistsError):
                os.mkdir(folder)
            try:
                opened = os.open(f"{folder}/{generation}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
            except FileExistsError:
                return False
            except FileNotFoundError:  # the last owner of a lease has just removed the folder
                if attempt == _TIMES_TRIED - 1:
                    raise
                continue
            with os.fdopen(opened, "w") as file:
                file.write(text)
            return True
        return False

    def read(self, name: str, generation: int) -> Note | None:
        path = Path(self._folder(name), str(generation))
        try:
            state, text = path.stat(), path.read_text("utf-8", "replace")
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Note(text, (state.st_ino, state.st_mtime_ns), state.st_mtime_ns / 1e9)

    def touch(self, name: str, generation: int) -> None:
        with suppress(FileNotFoundError):
            os.utime(f"{self._folder(name)}/{generation}")

    def delete(self, name: str, generation: int) -> None:
        with suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(f"{self._folder(name)}/{generation}")
        with suppress(OSError):  # the folder contains other files, or it is gone
            os.rmdir(self._folder(name))

    def clock(self) -> float:
        return store_time(self.root)


@dataclass(frozen=True, eq=False)
class _BucketBoard:
    """A board in a bucket: a conditional put creates an object, and a touch replaces the version written last."""

    bucket: Bucket
    mine: dict[str, tuple[str, str]] = field(default_factory=dict)  # the version and text of each object

    def _object(self, name: str, generation: int) -> str:
        return f".running/{name}{_SUFFIX}/{generation}"

    def generations(self, name: str) -> list[int]:
        numbers = (entry.rpartition("/")[2] for entry in self.bucket.list(f".running/{name}{_SUFFIX}"))
        return sorted(int(entry) for entry in numbers if entry.isdigit())

    def all(self) -> dict[str, list[int]]:
        generations: dict[str, list[int]] = {}
        for entry in self.bucket.list(".running"):
            folder, _, number = entry.rpartition("/")
            if folder.endswith(_SUFFIX) and number.isdigit():
                generations.setdefault(folder.rpartition("/")[2].removesuffix(_SUFFIX), []).append(int(number))
        return {name: sorted(numbers) for name, numbers in generations.items()}

    def create(self, name: str, generation: int, text: str) -> bool:
        entry = self._object(name, generation)
        tag = self.bucket.create(entry, text.encode())
        if tag is not None:
            self.mine[entry] = tag, text
        return tag is not None

    def read(self, name: str, generation: int) -> Note | None:
        there = self.bucket.read(self._object(name, generation))
        return None if there is None else Note(there[0].decode("utf-8", "replace"), there[1], there[1].modified)

    def touch(self, name: str, generation: int) -> None:
        entry = self._object(name, generation)
        tag, text = self.mine.get(entry, ("", ""))
        if tag:
            beat = f"{text}\n{time.time():.3f} {secrets.token_hex(4)}"  # equal versions have equal content
            new = self.bucket.replace(entry, beat.encode(), tag)
            if new is None:
                self.mine.pop(entry, None)
            else:
                self.mine[entry] = new, text

    def delete(self, name: str, generation: int) -> None:
        self.mine.pop(self._object(name, generation), None)
        self.bucket.delete(self._object(name, generation))

    def clock(self) -> float:
        return self.bucket.clock()
