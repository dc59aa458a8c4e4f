"""Sealed JSON: a file whose first line contains the SHA-256 of all other lines, so that any change to the file is
noticed.

A seal reveals damage and accidental edits, but not forgery: anyone who can write to a store can also seal a file. Older
files without a seal start with a line that contains only a brace; a flipped bit cannot turn a sealed file into a file
without a seal.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from byrote.files import write_atomic
from byrote.identity import FORMAT
from byrote.store.uncollected import uncollected

__all__ = ["read_sealed", "sealed", "write_sealed", "write_sealed_line"]

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
    return _with_digest(json.dumps(value, indent=1, sort_keys=True, allow_nan=False)[2:])


def _with_digest(rest: str) -> str:
    content = rest.encode() + b"\n"
    return (_START + hashlib.sha256(content).hexdigest().encode() + _END + content).decode()


def write_sealed(path: Path, value: Mapping[str, Any], *, durable: bool = True, parents: bool = True) -> None:
    """Write a JSON object as a sealed file, atomically; see `byrote.files.atomic`."""
    write_atomic(path, sealed(value), durable=durable, parents=parents)


def write_sealed_line(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object as a sealed file with its data on one line, without fsync, if the data can be made again."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    write_atomic(path, _with_digest(text[1:]), durable=False, parents=False)


def read_sealed(path: Path) -> tuple[dict[str, Any], bool]:
    """The object in a file, without its seal, and whether it had a seal; the caller must check the format.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not a JSON object, or has changed since it was written.
    """
    raw = path.read_bytes()
    try:
        with uncollected():
            value = json.loads(raw)
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error})") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path} is damaged (it does not contain a JSON object)")
    digest = value.pop("digest", None)
    if digest is None and raw.startswith(b"{\n"):
        return value, False
    length = len(_START) + _DIGITS + len(_END)
    head, rest = raw[:length], raw[length:]
    right = head == _START + hashlib.sha256(rest).hexdigest().encode() + _END
    if not right and value.get("format", FORMAT) == FORMAT:
        raise ValueError(f"{path} is not as byrote wrote it (its checksum differs)")
    return value, True
