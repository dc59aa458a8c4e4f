"""Where the files of a data set come from: a named folder, the cache, a system package, an address, a registry.

A `Collection` names its parts, each with the checksum of its decoded bytes. So every source gives the same bytes,
whatever its archive format, or an error is raised. Only files that passed the check are kept.
"""

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from byrote.data.fetch.remote import Remote
from byrote.files import DataUnavailableError, Progress, cache_folder, write_atomic

__all__ = ["Collection", "Served", "first_file"]

log = logging.getLogger("byrote")


@dataclass(frozen=True)
class Served:
    """The source that provided the files, and the folder from which they are read."""

    source: str
    folder: Path


def first_file(folder: Path, subfolders: tuple[str, ...], names: tuple[str, ...]) -> Path | None:
    """The first of `names` that is a file in `folder` or in one of its `subfolders`."""
    for base in (folder, *(folder / sub for sub in subfolders)):
        for name in names:
            if (base / name).is_file():
                return base / name
    return None


@dataclass(frozen=True)
class Collection:
    """The files of one data set.

    Args:
        name: the name of the collection in the cache and in `byrote data get`.
        title, license, size: strings shown to the user (`size` is the size of the download).
        parts: canonical file name -> "md5:..." or "sha256:..." of the decoded content.
        find: a function (folder, part) that returns the decoded content of the part from any folder layout that it
            recognizes, or None if the part is not there.
        system: folders into which a system package puts the files.
        remotes: sources on the network, in the order they are tried.
        note: instructions for the user if every source fails.
    """

    name: str
    title: str
    license: str
    size: str
    parts: dict[str, str]
    find: Callable[[Path, str], bytes | None]
    system: tuple[Path, ...] = ()
    remotes: tuple[Remote, ...] = ()
    note: str = ""

    def read(self, folder: Path, parts: tuple[str, ...] | None = None) -> dict[str, bytes]:
        """The content of the parts (None: all parts) in a folder of any known layout, after a check.

        Raises:
            FileNotFoundError: a part is not there.
            ValueError: a part is damaged.
        """
        contents = {}
        for part in parts or tuple(self.parts):
            content = self.find(folder, part) if folder.is_dir() else None
            if content is None:
                raise FileNotFoundError(f"{folder} has no {part}")
            kind, _, wanted = self.parts[part].partition(":")
            digest = hashlib.new(kind, content, usedforsecurity=False).hexdigest()
            if digest != wanted:
                raise ValueError(
                    f"{part} in {folder} is damaged or a different file: expected {kind} {wanted}, got {digest}"
                )
            contents[part] = content
        return contents

    def local(self) -> Iterator[tuple[str, Path]]:
        """Name and folder of each place on this machine, in the order they are tried."""
        if named := os.environ.get("BYROTE_DATA"):
            yield "the folder that BYROTE_DATA names", Path(named).expanduser()
        yield "the cache", self.cache
        for folder in self.system:
            yield "a system package", folder

    @property
    def cache(self) -> Path:
        """The folder where fetched parts are kept."""
        return cache_folder() / self.name

    def available(self) -> Served | None:
        """The first place on this machine that has files with the names of all parts; nothing is fetched."""
        for source, folder in self.local():
            try:
                if all((folder / part).is_file() for part in self.parts) or (
                    folder.is_dir() and all(self.find(folder, part) is not None for part in self.parts)
                ):
                    return Served(source, folder)
            except (ValueError, OSError):
                continue
        return None

    def open(self, parts: tuple[str, ...]) -> dict[str, bytes]:
        """The checked parts from this machine; absent parts are fetched first unless BYROTE_OFFLINE is set.

        Raises:
            ValueError: a file on this machine is damaged, and no source had an undamaged copy.
            DataUnavailableError: no source had the files.
        """
        contents, failures = self._search(parts)
        if contents is not None:
            return contents[1]
        if os.environ.get("BYROTE_OFFLINE"):
            raise self._unavailable(failures, "nothing on the network, since BYROTE_OFFLINE is set")
        return self.read(self.fetch().folder, parts)

    def fetch(self, folder: Path | None = None, progress: Progress | None = None) -> Served:
        """Make all parts available on this machine, from the first source that has them.

        Args:
            folder: a folder to look into first; its files are copied into the cache.
            progress: called with (name, bytes so far, total bytes or None) during a transfer.

        Raises:
            ValueError: a file on this machine is damaged, and no source had an undamaged copy.
            DataUnavailableError: no source had the files; the message lists all sources tried.
            WriteError: the cache cannot be written.
        """
        failures: list[tuple[str, Exception]] = []
        if folder is not None:
            try:
                return self._keep(f"the folder {folder}", self.read(folder))
            except FileNotFoundError as error:
                failures.append((f"the folder {folder}", error))
        here, failures_here = self._search(tuple(self.parts))
        if here is not None:
            return here[0]
        failures += failures_here
        for remote in self.remotes:
            log.info("%s: trying %s", self.name, remote)
            with tempfile.TemporaryDirectory(prefix="byrote-") as working:
                try:
                    remote.download(Path(working), progress)
                    contents = self.read(Path(working))
                except (ValueError, OSError) as error:
                    failures.append((str(remote), error))
                    continue
            return self._keep(str(remote), contents)
        raise self._unavailable(failures)

    def _search(
        self, parts: tuple[str, ...]
    ) -> tuple[tuple[Served, dict[str, bytes]] | None, list[tuple[str, Exception]]]:
        """The first place on this machine with undamaged parts, and the reasons why the places before it failed."""
        failures: list[tuple[str, Exception]] = []
        for source, place in self.local():
            try:
                return (Served(source, place), self.read(place, parts)), failures
            except (ValueError, OSError) as error:
                failures.append((source, error))
                if isinstance(error, ValueError):
                    log.warning("%s: %s", self.name, error)
        return None, failures

    def _keep(self, source: str, contents: dict[str, bytes]) -> Served:
        for part, content in contents.items():
            write_atomic(self.cache / part, content)
        return Served(source, self.cache)

    def _unavailable(self, failures: list[tuple[str, Exception]], last: str = "") -> Exception:
        """One error that lists all failures; it is a ValueError if a file on this machine is damaged."""
        tried = [f"{source} ({error})" for source, error in failures] + [last] * bool(last)
        places = {source for source, _ in self.local()}
        damaged = any(source in places and isinstance(error, ValueError) for source, error in failures)
        note = f". {self.note}" if self.note else ""
        text = f"{self.name} could not be obtained; tried: {'; '.join(tried)}{note}"
        return ValueError(text) if damaged else DataUnavailableError(text)
