"""`byrote cancel DIR`: ask every driver of a store, on any host, to stop after the current epoch.

The request is one file in the store with a random token. A driver notes the current token when it starts, and stops
when another token appears. So the file does not have to be removed, and drivers that start later are not affected.
"""

import json
import secrets
import time
from pathlib import Path

from byrote.files import write_atomic
from byrote.store.mirror import fetch_file, share

__all__ = ["Cancelled", "cancel"]

_EVERY = 1.0  # seconds between two checks


def _place(root: Path) -> Path:
    return root / ".running" / "cancel"


def cancel(root: Path) -> None:
    """Ask the drivers that are working on a store to stop.

    Raises:
        ValueError: the folder is not a store.
    """
    if not (root / "plan.json").is_file():
        raise ValueError(f"{root} is not a store: it has no plan.json; name the folder that `byrote run` created")
    write_atomic(_place(root), json.dumps({"token": secrets.token_hex(16)}) + "\n")
    share(root, _place(root))


class Cancelled:
    """Whether anyone has asked the drivers of a store to stop since this object was created; it checks at most once a
    second."""

    def __init__(self, root: Path) -> None:
        self._root, self._path = root, _place(root)
        self._first, self._looked = self._token(), time.monotonic()

    def __call__(self) -> bool:
        if time.monotonic() - self._looked < _EVERY:
            return False
        self._looked = time.monotonic()
        token = self._token()
        return token not in ("", self._first)

    def _token(self) -> str:
        try:
            fetch_file(self._root, self._path)
            return str(json.loads(self._path.read_text("utf-8"))["token"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""
