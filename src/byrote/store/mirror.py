"""A store in a bucket, `s3://bucket/prefix`, has a local copy, which this module keeps up to date.

All parts of byrote work on folders. So a store in a bucket is copied to byrote's cache folder, and only this module
handles what differs in the bucket:

| in the bucket | what |
|---|---|
| `plan.json`, `unavailable.json`, compacted tables, a report | as in a folder |
| `runs/KEY.tar` | all files of a run in one object, so that one conditional put commits it |
| `.running/` | leases (`byrote.store.board`), notes, checkpoints |
| `log/` | the events of the drivers, costs, a text per run |

Files are written to the bucket first and to the copy afterwards, so that a run is never in the copy unless it is in the
bucket. `refresh` fetches new objects from the bucket. For a store in a folder, the functions here do nothing.
"""

import hashlib
import io
import json
import os
import re
import tarfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from byrote.files import cache_folder, is_address, write_atomic
from byrote.store.bucket import Bucket, endpoint
from byrote.store.drafts import draft, publish, remove
from byrote.store.runs import is_key

__all__ = [
    "address_of",
    "bucket_of",
    "discard",
    "exists",
    "fetch_file",
    "fetch_run",
    "located",
    "object_of",
    "refresh",
    "share",
    "shown",
    "upload_run",
]

_URL = re.compile(r"s3:/+([a-z0-9][a-z0-9.-]+)(?:/+(.*?))?/*")
_NOTE = ".bucket"  # in the copy: the URL, and then the last known version of each object, one per line
_FILE = re.compile(r"[a-z]+\.(json|parquet|safetensors)")
_MEMBER_BYTES = 5 << 30
_AT_ONCE = 16  # parallel downloads
_EVERY = 10.0  # seconds between two uploads of a file that changes repeatedly
_attached: dict[str, str] = {}  # the URL for the path of each copy
_seen: dict[tuple[Path, str], float] = {}  # when a file was last seen in its bucket
_sent: dict[Path, tuple[float, int]] = {}  # by file: when it was last uploaded, and its modification time then


def located(name: str | Path) -> Path:
    """The folder of a store: the local copy of `s3://bucket/prefix`, else the path itself.

    Raises:
        ValueError: an address of another kind.
        ImportError: obstore is not installed.
    """
    text = str(name)
    if not is_address(text):
        root = Path(name)
        bucket_of(root)
        return root
    match = _URL.fullmatch(text)
    if match is None or not match[2]:
        raise ValueError(f"a store is a folder or s3://BUCKET/PREFIX, got {text}")
    url = f"s3://{match[1]}/{match[2]}"
    Bucket(url)
    digits = hashlib.sha256(f"{endpoint()} {url}".encode()).hexdigest()[:8]
    root = cache_folder() / "stores" / match[1] / f"{match[2].replace('/', '-')[:80]}-{digits}"
    if not (root / _NOTE).is_file():
        write_atomic(root / _NOTE, json.dumps({"url": url}) + "\n")
    bucket_of(root)
    if not (root / "plan.json").exists():
        refresh(root)
    return root


def bucket_of(root: Path) -> Bucket | None:
    """The bucket whose local copy is this folder; None if the store itself is a folder."""
    try:
        with open(f"{root}/{_NOTE}", encoding="utf-8") as file:
            return _bucket(str(root), json.loads(file.readline())["url"])
    except (FileNotFoundError, NotADirectoryError):
        return None


@lru_cache(maxsize=16)
def _bucket(root: str, url: str) -> Bucket:
    _attached[root] = url
    return Bucket(url)


def address_of(root: Path) -> str:
    """The address of this store for another machine: its URL, or the absolute path of the folder."""
    bucket = bucket_of(root)
    return str(root.resolve()) if bucket is None else bucket.url


def shown(text: str) -> str:
    """The sentence, with the path of each local copy replaced by the URL of its bucket."""
    for path, url in _attached.items():
        text = text.replace(path, url)
    return text


def object_of(key: str) -> str:
    """The name of the object that contains a run."""
    return f"runs/{key}.tar"


def exists(root: Path, name: str, every: float = 0.0) -> bool:
    """Whether a file exists in the store.

    Args:
        root: the store.
        name: the file.
        every: for how many seconds the last answer of a bucket stays valid.
    """
    bucket = bucket_of(root)
    if bucket is None or not (root / name).exists():
        return (root / name).exists()
    if time.monotonic() - _seen.get((root, name), -every) >= every:
        if bucket.look(name) is None:
            return False
        _seen[root, name] = time.monotonic()
    return True


def _versions(root: Path) -> dict[str, str]:
    """The version of each object in the copy."""
    versions: dict[str, str] = {}
    for line in (root / _NOTE).read_text("utf-8").splitlines()[1:]:
        with suppress(ValueError):
            versions |= json.loads(line)
    return versions


def _note(root: Path, versions: dict[str, str]) -> None:
    """Append versions (empty for an object that is gone) in a single write, because several processes append."""
    file = os.open(root / _NOTE, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(file, (json.dumps(versions) + "\n").encode())
    finally:
        os.close(file)


def refresh(root: Path, *, anew: bool = False) -> None:
    """Update the copy to the present content of the bucket.

    Args:
        root: the store.
        anew: fetch every object again, even if its version is known.

    Raises:
        OSError: the bucket cannot be reached.
    """
    bucket = bucket_of(root)
    if bucket is None:
        return
    began = time.time()
    before = _versions(root)  # read before the listing: an object that is uploaded after it must not look deleted
    there = {name: version.tag for name, version in bucket.list().items() if _is_copied(name)}
    known = {} if anew else before
    new = [name for name, tag in there.items() if known.get(name) != tag or not _place(root, name).exists()]
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        list(threads.map(lambda name: _fetch(root, bucket, name), new))
    for path in root.iterdir():
        if is_key(path.name) and object_of(path.name) not in there:
            with suppress(OSError):
                if path.stat().st_mtime < began:  # otherwise another process has added it to the bucket meanwhile
                    remove(path)
    gone = [name for name, tag in before.items() if tag and name not in there and _is_copied(name)]
    for name in gone:
        remove(_place(root, name))
    if gone:
        _note(root, dict.fromkeys(gone, ""))
    _shorten(root)


def _shorten(root: Path) -> None:
    """Rewrite the versions if most lines are outdated; a line that gets lost meanwhile only costs another download."""
    lines = (root / _NOTE).read_text("utf-8").splitlines()
    versions = {name: tag for name, tag in _versions(root).items() if tag}
    if len(lines) > 2 * len(versions) + 1000:
        write_atomic(root / _NOTE, f"{lines[0]}\n{json.dumps(versions)}\n", durable=False)


def _is_copied(name: str) -> bool:
    """Whether `refresh` copies an object; others, such as checkpoints, are fetched only when they are used."""
    folder, _, file = name.rpartition("/")
    if folder == ".running":
        return file.endswith(".json")
    if folder == "log":
        return not file.endswith(".txt")
    return folder in ("", "runs") and not file.startswith(".")


def _place(root: Path, name: str) -> Path:
    return root / name.removeprefix("runs/").removesuffix(".tar") if name.startswith("runs/") else root / name


def _fetch(root: Path, bucket: Bucket, name: str) -> None:
    if name.startswith("runs/"):
        fetch_run(root, _place(root, name).name)
    else:
        fetch_file(root, root / name)


def fetch_file(root: Path, path: Path) -> None:
    """Fetch a file of the store, unless the copy is up to date."""
    bucket = bucket_of(root)
    if bucket is None:
        return
    name = path.relative_to(root).as_posix()
    version = bucket.look(name)
    if version is not None and (_versions(root).get(name) != version.tag or not path.exists()):
        there = bucket.read(name)
        if there is not None:
            write_atomic(path, there[0], durable=False)
            _note(root, {name: there[1].tag})


def fetch_run(root: Path, key: str) -> None:
    """Fetch all files of a run from the bucket and overwrite the copy; damaged files are fetched as they are."""
    bucket = bucket_of(root)
    there = None if bucket is None else bucket.read(object_of(key))
    if there is None:
        return
    with draft(root, key) as folder:
        _unpack(there[0], folder)
        publish(folder, root / key, lambda: False)
    _note(root, {object_of(key): there[1].tag})


def _unpack(data: bytes, folder: Path) -> None:
    """Write the files of a packed run as far as they can be read; their checksums will show any damage."""
    with suppress(tarfile.TarError, ValueError, EOFError), tarfile.open(fileobj=io.BytesIO(data)) as packed:
        for member in packed:
            content = packed.extractfile(member) if member.isfile() and _FILE.fullmatch(member.name) else None
            if content is not None and member.size <= _MEMBER_BYTES:
                (folder / member.name).write_bytes(content.read())


def _packed(folder: Path) -> bytes:
    """The files of a run as one archive; equal files give equal bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as packed:
        for path in sorted(folder.iterdir(), key=lambda path: (path.name == "manifest.json", path.name)):
            member = tarfile.TarInfo(path.name)
            member.size = path.stat().st_size
            with path.open("rb") as content:
                packed.addfile(member, content)
    return buffer.getvalue()


def upload_run(root: Path, key: str, folder: Path, is_whole: Callable[[], bool]) -> bool:
    """Upload a finished draft of a run to the bucket, in one step; if there is no bucket, return True at once.

    Args:
        root: the store.
        key: the run.
        folder: its files.
        is_whole: whether the run in the copy is undamaged.

    Returns:
        Whether the run is in place; False if the bucket already has an undamaged run with that key, which is then
        copied.
    """
    bucket = bucket_of(root)
    if bucket is None:
        return True
    data, name = _packed(folder), object_of(key)
    for _ in range(8):
        tag = bucket.create(name, data)
        if tag is None:
            version = bucket.look(name)
            fetch_run(root, key)
            if is_whole():
                return False
            tag = None if version is None else bucket.replace(name, data, version.tag)
        if tag is not None:
            _note(root, {name: tag})
            os.utime(folder)  # a process that listed the bucket earlier must not take it for a removed run
            return True
    raise OSError(f"other processes keep writing to {bucket.url}/{name}")


def share(root: Path, *paths: Path, every: float = 0.0) -> None:
    """Upload files of the copy.

    Args:
        root: the store.
        paths: the files; those that do not exist are skipped.
        every: skip a file that was uploaded less than this many seconds ago or has not changed since; 0: skip none.
    """
    bucket = bucket_of(root)
    if bucket is None:
        return
    for path in paths:
        last, changed = _sent.get(path, (-_EVERY, 0))
        if every and time.monotonic() - last < every:
            continue
        with suppress(FileNotFoundError):
            now = path.stat().st_mtime_ns
            if not (every and now == changed):
                name = path.relative_to(root).as_posix()
                _note(root, {name: bucket.put(name, path.read_bytes())})
                _sent[path] = time.monotonic(), now


def discard(root: Path, paths: Iterable[Path]) -> None:
    """Remove files or runs from the store."""
    bucket = bucket_of(root)
    known = {} if bucket is None else _versions(root)
    for path in paths:
        inside = path.relative_to(root).as_posix()
        for name in (inside, object_of(inside)):
            if bucket is not None and known.get(name):
                bucket.delete(name)
                _note(root, {name: ""})
                _sent.pop(path, None)
        remove(path)
