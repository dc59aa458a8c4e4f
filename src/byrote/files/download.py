"""Download files, which are limited in size, checked, and complete or absent."""

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO

from byrote.files.atomic import atomic
from byrote.files.checksums import verify

__all__ = ["DataUnavailableError", "Progress", "download"]

Progress = Callable[[str, int, int | None], None]
"""The progress of a download: name, bytes so far, total bytes (None: unknown)."""

_CHUNK = 1 << 18


class DataUnavailableError(FileNotFoundError):
    """Files are not on this machine and could not be fetched; the message states what was tried or what to do."""


def download(
    url: str,
    path: str | Path,
    check: str | None = None,
    *,
    progress: Progress | None = None,
    limit: int = 1 << 30,
    timeout: float = 30.0,
) -> Path:
    """Fetch `url` into `path` unless a file with the right checksum exists; returns the path.

    Args:
        check: "md5:..." or "sha256:..." of the content; None checks only that it arrived completely.
        progress: called with (file name, bytes so far, total bytes or None).
        limit: the most bytes to accept.
        timeout: seconds to wait for the server.

    Raises:
        ValueError: not an http(s) address, more than `limit` bytes, or a wrong checksum.
        ConnectionError: the server cannot be reached, refuses the request, or closes the connection too early.
        WriteError: the disk is full or read-only.
    """
    path = Path(path)
    if check is not None and path.is_file():
        try:
            verify(path, check)
            return path
        except ValueError:
            pass  # a damaged file is fetched again below
    if not url.startswith(("https://", "http://")):
        raise ValueError(f"the address of a download must start with http:// or https://, got {url!r}")
    with atomic(path) as temporary:
        try:
            with (
                urllib.request.urlopen(url, timeout=timeout) as answer,
                temporary.open("wb") as file,
            ):
                length = answer.headers.get("Content-Length", "")
                _receive(answer, file, url, path.name, int(length) if length.isdigit() else None, progress, limit)
        except urllib.error.URLError as error:  # includes a refused request
            raise ConnectionError(f"{url} cannot be fetched: {error.reason}") from None
        except (http.client.HTTPException, ConnectionResetError) as error:
            raise ConnectionError(f"the download of {url} was interrupted: {error!r}") from None
        except TimeoutError:
            raise ConnectionError(f"{url} did not answer within {timeout:g} s") from None
        if check is not None:
            verify(temporary, check)
    return path


def _receive(
    answer: IO[bytes],
    file: IO[bytes],
    url: str,
    name: str,
    total: int | None,
    progress: Progress | None,
    limit: int,
) -> None:
    """Copy the body of a response: at most `limit` bytes, and at least as many as the server announced."""
    done = 0
    while done <= limit and (chunk := answer.read(_CHUNK)):
        done += len(chunk)
        file.write(chunk)
        if progress is not None:
            progress(name, done, total)
    if done > limit:
        raise ValueError(f"{url} sends more than the {limit} bytes that are allowed")
    if total is not None and done != total:
        raise ConnectionError(f"the download of {url} was interrupted after {done} of {total} bytes")
