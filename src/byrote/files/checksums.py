"""Checksums of files, and the folder where fetched files are kept."""

import hashlib
import os
import sys
from pathlib import Path

__all__ = ["cache_folder", "md5", "sha256", "verify"]


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file as hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def md5(path: str | Path) -> str:
    """The MD5 of a file as hexadecimal digits; some data sets are published with MD5 checksums."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, _md5).hexdigest()


def _md5() -> "hashlib._Hash":
    return hashlib.md5(usedforsecurity=False)


def verify(path: str | Path, check: str) -> None:
    """Check that a file has the checksum `check`, written "md5:..." or "sha256:...".

    Raises:
        ValueError: the checksum differs; the message gives both.
    """
    name, _, wanted = check.partition(":")
    if name not in ("md5", "sha256"):
        raise ValueError(f"a check must start with 'md5:' or 'sha256:', got {check!r}")
    digest = (md5 if name == "md5" else sha256)(path)
    if digest != wanted:
        raise ValueError(f"{path} is damaged or a different file: expected {name} {wanted}, got {digest}")


def cache_folder() -> Path:
    """The folder for fetched files: $BYROTE_CACHE, otherwise the platform's cache folder; it is not created here."""
    if named := os.environ.get("BYROTE_CACHE"):
        return Path(named).expanduser()
    if sys.platform == "win32":  # pragma: no cover
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "byrote" / "cache"
    if sys.platform == "darwin":  # pragma: no cover
        return Path.home() / "Library" / "Caches" / "byrote"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "byrote"
