"""Distinguish paths on this machine from addresses such as `s3://bucket/prefix`, which `Path` shortens to
`s3:/bucket/prefix`."""

import re
from pathlib import Path

__all__ = ["is_address", "on_this_machine"]

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/")


def is_address(path: str | Path) -> bool:
    """Whether a path is an address, such as the URL of a bucket, and not a path on this machine.

    >>> is_address(Path("s3://bucket/x")), is_address("runs/s3:x")
    (True, False)
    """
    return _ADDRESS.match(str(path)) is not None


def on_this_machine(path: str | Path, name: str = "a file") -> Path:
    """The path, after a check that it is not an address, because writing there would create a folder called `s3:`.

    Args:
        path: a file or a folder.
        name: the name of the path in the error message.

    Raises:
        ValueError: it is an address.

    >>> on_this_machine("s3://bucket/x", "--out")
    Traceback (most recent call last):
    ValueError: --out must be a path on this machine, got s3://bucket/x; only stores and their reports can be in a
    bucket
    """
    if is_address(path):
        scheme, _, rest = str(path).partition(":")
        raise ValueError(
            f"{name} must be a path on this machine, got {scheme}://{rest.lstrip('/')}; only stores and their "
            "reports can be in a bucket"
        )
    return Path(path)
