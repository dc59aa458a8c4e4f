"""Identify the process that owns a temporary file, a draft or a lease, and find out whether the process still runs.

A process number (PID) alone does not identify a process, because PIDs are reused after a restart and in every
container. So a process is identified by its system (the boot and the PID namespace), its PID, and its start time.
Whether a process on another system still runs is unknown.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import socket
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

__all__ = ["Process", "owner_of", "signed", "this_process"]

_SIGNED = re.compile(r"([0-9a-f]{12})-(\d+)-(\d+)-[0-9a-f]{12}")


@dataclass(frozen=True)
class Process:
    """A process of some system.

    Attributes:
        system: a digest that identifies one boot of one machine, or one container on it.
        number: the process number in that system.
        started: clock ticks from the boot to the start of the process; 0 if unknown.
    """

    system: str
    number: int
    started: int

    def __str__(self) -> str:
        return f"{self.system}-{self.number}-{self.started}"

    @property
    def alive(self) -> bool | None:
        """Whether the process is still running; None (unknown) if it is in another system.

        A process that has ended counts as gone even if its parent has not yet collected it (a zombie).
        """
        if self.system != _system() or sys.platform == "win32":  # os.kill(pid, 0) would end a Windows process
            return None
        if Path("/proc/self/stat").exists():
            state, started = _stat(self.number)
            return state not in ("", "Z", "X") and started == self.started
        try:  # pragma: no cover - a system without /proc
            os.kill(self.number, 0)
        except ProcessLookupError:  # pragma: no cover
            return False
        except PermissionError:  # pragma: no cover
            return True
        return True  # pragma: no cover


def this_process() -> Process:
    """The current process."""
    return _process(os.getpid())


@lru_cache(maxsize=4)
def _process(number: int) -> Process:
    return Process(_system(), number, _stat(number)[1])


@lru_cache(maxsize=1)
def _system() -> str:
    """Twelve digits that two processes share if and only if they can see each other's process numbers."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        seen = f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # pragma: no cover - a system without /proc
        seen = socket.gethostname()
    return hashlib.sha256(seen.encode()).hexdigest()[:12]


def _stat(number: int) -> tuple[str, int]:
    """The state and the start of a process of this system; an empty state if the process does not exist."""
    try:
        text = Path(f"/proc/{number}/stat").read_text("utf-8", "replace")
    except OSError:
        return "", 0
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19])


def signed() -> str:
    """A part of a file name that names this process; it ends in a random token, so every call returns a different
    string.

    >>> owner_of(f".draft-{signed()}") == this_process()
    True
    """
    return f"{this_process()}-{secrets.token_hex(6)}"


def owner_of(name: str) -> Process | None:
    """The process whose signature is in a file's name; None if there is no signature."""
    match = _SIGNED.search(name)
    return None if match is None else Process(match[1], int(match[2]), int(match[3]))
