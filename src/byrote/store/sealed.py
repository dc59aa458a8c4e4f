"""Sealed JSON: a file whose first line holds the SHA-256 of the rest, so that no bit of it changes unnoticed.

A seal tells damage and hasty editing, not forgery: whoever can write a store can seal what they write. Files from
before there were seals start with a line that holds a brace alone; no damaged bit makes one out of a sealed file.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from byrote.files import write_atomic
from byrote.identity import FORMAT

__all__ = ["read_sealed", "sealed", "write_sealed"]

_START, _END = b'{"digest": "', b'",\n'
_DIGITS = 64


def sealed(value: Mapping[str, Any]) -> str:
    """A JSON object as sealed text.

    >>> print(sealed({"b": 1, "a": [2]}), end="")
    {"digest": "3f6363592017ca5ace873b9e4ae7d92ed697593bfa64442d27d4ed711d46e337",
     "a": [
      2
     ],
     "b": 1
    }
    """
    rest = (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()[2:]
    return (_START + hashlib.sha256(rest).hexdigest().encode() + _END + rest).decode()


def write_sealed(path: Path, value: Mapping[str, Any], *, durable: bool = True, parents: bool = True) -> None:
    """Write a JSON object, sealed; see `byrote.files.atomic` for the rest."""
    write_atomic(path, sealed(value), durable=durable, parents=parents)


def read_sealed(path: Path) -> tuple[dict[str, Any], bool]:
    """The object in a file, without its seal, and whether it had one; another format is left to the caller to refuse.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no JSON object, or it is not as it was written.
    """
    raw = path.read_bytes()
    try:
        value = json.loads(raw)
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error})") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path} is damaged (it holds no JSON object)")
    digest = value.pop("digest", None)
    if digest is None and raw.startswith(b"{\n"):
        return value, False
    length = len(_START) + _DIGITS + len(_END)
    head, rest = raw[:length], raw[length:]
    right = head == _START + hashlib.sha256(rest).hexdigest().encode() + _END
    if not right and value.get("format", FORMAT) == FORMAT:
        raise ValueError(f"{path} is not as byrote wrote it (its checksum differs)")
    return value, True
