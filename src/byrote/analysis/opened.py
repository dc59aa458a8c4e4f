"""A store as a user opens it: `byrote.open(DIR)`. Never loads torch."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import duckdb

from byrote.analysis.runs import Analysis
from byrote.store import Results, compact, read_results
from byrote.store.parquet import read_parquet
from byrote.store.query import is_results
from byrote.table import Table

__all__ = ["Store", "open_store"]


class Store:
    """A folder of runs (`byrote run --out`) or of compacted results (`results/...`), opened for reading.

    Args:
        root: the folder.

    Raises:
        ValueError: the folder is neither.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        if not is_results(self.root):
            raise ValueError(f"{self.root} is neither a store nor a results folder; name what `byrote run --out` made")

    @cached_property
    def results(self) -> Results:
        """The tables as they are stored.

        Raises:
            ValueError: a file is damaged, or an older byrote wrote it.
        """
        return read_results(self.root)

    @cached_property
    def analysis(self) -> Analysis:
        """The runs made comparable: what claims, figures and reports see."""
        return Analysis.of(self.results)

    def history(self) -> duckdb.DuckDBPyRelation:
        """What claims and figures see, as a DuckDB relation: `.df()`, `.filter(...)`, `.aggregate(...)`.

        One row a finished run and evaluated epoch. Beside the readings stand the run's key, part, setting (its digest
        and its title), loss, rate and seed, the facts of its data, and each field of the specs that differs within the
        table under its dotted path.

        >>> import byrote
        >>> byrote.open("runs/demo").history().filter("loss = 'CE'").df()  # doctest: +SKIP
        """
        table = self.analysis.table()
        self._connection = duckdb.connect(":memory:", config={"threads": 1})
        self._connection.register("history", {name: table[name] for name in table.columns})
        return self._connection.sql("SELECT * FROM history")

    def samples(self, key: str) -> Table:
        """The outcome of every training sample of one run: id, true, observed, learned_epoch, margin.

        Raises:
            ValueError: the folder keeps no samples of that run.
        """
        path = self.root / key / "samples.parquet"
        if not path.is_file():
            raise ValueError(f"{self.root} keeps no samples of run {key!r}; compacted results leave them out")
        return Table(read_parquet(path))

    def compact(self, out: str | Path | None = None) -> Path:
        """Write all tables into `out` (default: the store); see `byrote.store.compact`."""
        return compact(self.root, out)


def open_store(root: str | Path) -> Store:
    """Open a store or a results folder for reading; see `Store`."""
    return Store(root)
