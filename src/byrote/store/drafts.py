"""How a run enters a store in one step: its folder is written under another name and then renamed.

If no folder of that name exists, one atomic rename is enough. If an undamaged run already exists, it is kept, so two
drivers that train the same run leave one result. A damaged run is exchanged for the new run in one step if the system
supports this. Otherwise the damaged run is moved aside first, so for an instant a reader finds no run. The parent
folder is synced after the rename.
"""

import ctypes
import errno
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from byrote.files.atomic import sync_folder
from byrote.files.process import owner_of, signed

__all__ = ["draft", "leftovers", "publish", "remove", "store_time"]

_TAKEN = {errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR, errno.ENOTDIR}
_CANNOT = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM}
_ABANDONED = 600.0  # seconds until an unfinished file of another system counts as left behind
_HERE = -100  # AT_FDCWD
_EXCHANGE = 2  # RENAME_EXCHANGE
_TIMES_TRIED = 8


@contextmanager
def draft(root: Path, key: str) -> Iterator[Path]:
    """Yield an empty folder in the store for one run; if the folder still exists at the end of the block, it is
    removed.

    Raises:
        OSError: the store is gone, or cannot be written to.
    """
    folder = root / f".draft-{key}-{signed()}"
    try:
        folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, target: Path, is_whole: Callable[[], bool]) -> bool:
    """Rename a finished draft to its final name.

    Args:
        folder: the finished draft, beside `target`.
        target: the final path.
        is_whole: returns whether an undamaged run is already there; if so, it is kept.

    Returns:
        Whether the draft has its final name now; False if an earlier run was kept.
    """
    for _ in range(_TIMES_TRIED):
        try:
            os.rename(folder, target)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
        else:
            sync_folder(target.parent)
            return True
        if is_whole():
            return False
        if _exchange(folder, target):
            sync_folder(target.parent)
            return True
        aside = target.with_name(f".draft-{target.name}-{signed()}")
        with suppress(FileNotFoundError):  # another writer was faster
            target.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
    raise OSError(errno.EBUSY, f"other processes keep writing to {target}")


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False if the system or file system does not support it, or if one name is
    gone."""
    call = _renameat2()
    if call is None or call(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0:
        return call is not None
    code = ctypes.get_errno()
    if code in _CANNOT or code == errno.ENOENT:
        return False
    raise OSError(code, os.strerror(code), str(other))


@lru_cache(maxsize=1)
def _renameat2() -> Any:
    if not sys.platform.startswith("linux"):  # pragma: no cover
        return None
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is not None:
        call.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    return call


def leftovers(root: Path) -> list[Path]:
    """The unfinished folders and files, in a store and in its `.running`, that belong to writers that are gone.

    A process of this system counts as gone once it has ended. Nothing is known about processes of another system, so
    their drafts count as left behind ten minutes after they were last written to, by the clock of the store.
    """
    now, abandoned = None, []
    for folder in (root, root / ".running"):
        with suppress(OSError):
            for path in [Path(entry) for entry in os.scandir(folder) if _is_unfinished(entry.name)]:
                owner = owner_of(path.name)
                alive = None if owner is None else owner.alive
                if alive is None:
                    now = store_time(root) if now is None else now
                    with suppress(OSError):
                        alive = now - path.stat().st_mtime < _ABANDONED
                if not alive:
                    abandoned.append(path)
    return sorted(abandoned)


def _is_unfinished(name: str) -> bool:
    return name.startswith(".draft-") or (name.startswith(".") and ".tmp" in name)


def store_time(root: Path) -> float:
    """The time by the store's own clock: the time that its file system gives to a file written now."""
    path = root / ".running" / f".clock-{signed()}.tmp"
    try:
        path.parent.mkdir(exist_ok=True)
        path.touch()
        return path.stat().st_mtime
    finally:
        path.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove a file or a folder; a path that is gone is not an error."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(FileNotFoundError):
            path.unlink()
