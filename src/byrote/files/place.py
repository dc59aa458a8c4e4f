"""Paths of this machine, and addresses such as `s3://bucket/prefix`, which `Path` shortens to `s3:/bucket/prefix`."""

import re
from pathlib import Path

__all__ = ["is_address", "on_this_machine"]

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/")


def is_address(path: str | Path) -> bool:
    """Whether a path is the address of something beyond this machine's folders.

    >>> is_address(Path("s3://bucket/x")), is_address("runs/s3:x")
    (True, False)
    """
    return _ADDRESS.match(str(path)) is not None


def on_this_machine(path: str | Path, name: str = "a file") -> Path:
    """The path, if it is not an address, which would become a folder called `s3:` here.

    Args:
        path: a file or a folder.
        name: of the path in the error message.

    Raises:
        ValueError: it is an address.

    >>> on_this_machine("s3://bucket/x", "--out")
    Traceback (most recent call last):
    ValueError: --out needs a path on this machine, got s3://bucket/x; only stores and their reports can lie in a bucket
    """
    if is_address(path):
        scheme, _, rest = str(path).partition(":")
        raise ValueError(
            f"{name} needs a path on this machine, got {scheme}://{rest.lstrip('/')}; only stores and their reports "
            "can lie in a bucket"
        )
    return Path(path)
