"""The operations on a bucket that a store needs, through obstore: create, replace, read, list, delete, clock.

A put is atomic: an object is complete or absent, and an interrupted upload leaves nothing. `create` and `replace` are
conditional (If-None-Match, If-Match), so only one of several writers succeeds. When a response is lost, obstore repeats
the request. The first request may have succeeded, so an object with exactly the requested content is taken as written
by this process.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

__all__ = ["Bucket", "ObjectVersion", "adopt_settings", "endpoint", "public_settings"]

_TIMEOUT, _RETRIES = "60s", 6
_UNSIGNED = ("Missing AccessKeyId", "Missing SecretAccessKey", "/latest/api/token")  # the last for a machine's role
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_PUBLIC = (_ENDPOINTS, ("AWS_REGION", "AWS_DEFAULT_REGION"))  # grouped by the setting; none is secret


@dataclass(frozen=True)
class ObjectVersion:
    """An object in the bucket: its version (ETag), and when it was last written, by the bucket's clock."""

    tag: str
    modified: float


class Bucket:
    """The objects below `s3://bucket/prefix`.

    Credentials, region and endpoint come from the environment, such as `AWS_ACCESS_KEY_ID` or `AWS_ENDPOINT_URL`.

    Raises:
        ImportError: obstore is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            import obstore
            from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
        except ImportError:
            raise ImportError(f"{url} needs the package obstore; install it with `pip install 'byrote[s3]'`") from None
        self.url, self._obstore, self._error = url, obstore, BaseError
        self._refused = (AlreadyExistsError, PreconditionError)

    @cached_property
    def _store(self) -> Any:
        from obstore.store import from_url

        plain = endpoint().startswith("http://")  # an endpoint with http:// allows plain HTTP
        options: Any = {"timeout": _TIMEOUT, "allow_http": plain}
        retries: Any = {"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=120)}
        return from_url(self.url, client_options=options, retry_config=retries)

    @contextmanager
    def _asking(self, name: str) -> Iterator[None]:
        """Turn errors of the bucket into one sentence, except FileNotFoundError for an absent object."""
        try:
            yield
        except (FileNotFoundError, *self._refused):
            raise
        except (self._error, OSError) as error:
            line = str(error).splitlines()[0]
            if any(words in line for words in _UNSIGNED):
                line = "there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            raise OSError(f"{self.url}/{name} cannot be reached: {line}") from None

    def create(self, name: str, data: bytes) -> str | None:
        """Write a new object; returns its version, None if the object exists already."""
        return self._put(name, data, "create")

    def replace(self, name: str, data: bytes, tag: str) -> str | None:
        """Overwrite the version `tag`; returns the new version, None if the object has a different version now or is
        gone."""
        return self._put(name, data, {"e_tag": tag})

    def put(self, name: str, data: bytes) -> str:
        """Write an object, over any earlier version; returns the new version."""
        with self._asking(name):
            return str(self._obstore.put(self._store, name, data)["e_tag"])

    def _put(self, name: str, data: bytes, mode: Any) -> str | None:
        try:
            with self._asking(name):
                return str(self._obstore.put(self._store, name, data, mode=mode, use_multipart=False)["e_tag"])
        except (FileNotFoundError, *self._refused):
            there = self.read(name)
            return there[1].tag if there is not None and there[0] == data else None

    def read(self, name: str) -> tuple[bytes, ObjectVersion] | None:
        """Content and version of an object; None if it does not exist."""
        try:
            with self._asking(name):
                answer = self._obstore.get(self._store, name)
                return bytes(answer.bytes()), _version_of(answer.meta)
        except FileNotFoundError:
            return None

    def look(self, name: str) -> ObjectVersion | None:
        """The version of an object; None if it does not exist."""
        try:
            with self._asking(name):
                return _version_of(self._obstore.head(self._store, name))
        except FileNotFoundError:
            return None

    def list(self, prefix: str = "") -> dict[str, ObjectVersion]:
        """All objects whose names begin with a folder, by name."""
        with self._asking(prefix):
            listed = self._obstore.list(self._store, prefix or None, chunk_size=1000)
            return {str(one["path"]): _version_of(one) for some in listed for one in some}

    def delete(self, name: str) -> None:
        """Remove an object; an object that is gone is not an error."""
        try:
            with self._asking(name):
                self._obstore.delete(self._store, name)
        except FileNotFoundError:
            pass

    def clock(self) -> float:
        """The time by the bucket's clock, in whole seconds, taken from an object that is written now.

        Raises:
            OSError: the bucket cannot be reached, or cannot be written to.
        """
        name = f".running/.clock-{secrets.token_hex(6)}"
        self.put(name, b"")
        try:
            there = self.look(name)
        finally:
            self.delete(name)
        if there is None:
            raise OSError(f"an object that was written to {self.url} is not there")
        return there.modified


def endpoint() -> str:
    """The address of the object store; empty for Amazon's."""
    return next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), "")


def public_settings() -> dict[str, str]:
    """The endpoint and the region from the environment, for another process: they are not secret, and a bucket cannot
    be found without them."""
    return {name: os.environ[name] for names in _PUBLIC for name in names if os.environ.get(name)}


def adopt_settings(given: Mapping[str, str]) -> None:
    """Set the endpoint and the region that another process passed, unless this process has its own."""
    for names in _PUBLIC:
        if not any(os.environ.get(name) for name in names):
            os.environ.update({name: given[name] for name in names if name in given})


def _version_of(meta: Any) -> ObjectVersion:
    return ObjectVersion(str(meta["e_tag"]), meta["last_modified"].timestamp())
