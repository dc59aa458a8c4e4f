"""`byrote.open(DIR)` opens a store for reading. It imports torch only to compute some facts (`byrote.store.facts`)."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from byrote.analysis.runs import Analysis
from byrote.analysis.shown import store_html
from byrote.component import did_you_mean
from byrote.store import Results, compact, read_results
from byrote.store.mirror import located, refresh
from byrote.store.parquet import read_parquet
from byrote.store.query import is_results
from byrote.store.runs import check_run, read_manifest, read_weights
from byrote.table import Table

if TYPE_CHECKING:
    from byrote.experiment import Experiment
    from byrote.networks import Classifier

__all__ = ["Store", "open_store"]


class Store:
    """A store (`byrote run --out`) or a folder of compacted results (`results/...`), opened for reading.

    Args:
        root: the folder, or `s3://bucket/prefix`; the copy of the bucket in byrote's cache folder is updated first.

    Raises:
        ValueError: the folder is neither a store nor compacted results.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = located(root)
        refresh(self.root)
        if not is_results(self.root):
            raise ValueError(
                f"{self.root} is neither a store nor a results folder; name a folder that `byrote run` created"
            )

    def _repr_html_(self) -> str:
        """The notebook view: the name of the study, and one row for each setting."""
        return store_html(self.root, self.results.about, self.analysis)

    @cached_property
    def results(self) -> Results:
        """The tables as they are stored.

        Raises:
            ValueError: a file is damaged, or was written by an older byrote.
        """
        return read_results(self.root)

    @cached_property
    def analysis(self) -> Analysis:
        """The runs grouped into settings: the input of claims, figures and reports."""
        return Analysis.of(self.results)

    def history(self) -> Table:
        """The table behind claims and figures: `.to_pandas()`, `.to_polars()`, `.to_duckdb()` for SQL, `history["j1"]`.

        One row per finished run and evaluated epoch. Besides the readings, a row has the run's key, part, setting
        (digest and title), loss, rate and seed, and the facts of its data. Each field of the specs that differs within
        the table is a column, named by its dotted path.

        >>> import byrote
        >>> byrote.open("runs/demo").history().where(loss="CE").to_pandas()  # doctest: +SKIP
        """
        return self.analysis.table()

    def samples(self, key: str) -> Table:
        """The outcome of every training sample of one run: id, true, observed, learned_epoch, margin.

        Raises:
            ValueError: the folder has no samples of this run, or the file has changed since it was written.
        """
        path = self.root / key / "samples.parquet"
        if not path.is_file():
            raise ValueError(f"{self.root} keeps no samples of run {key!r}; compacted results leave them out")
        check_run(self.root, key, read_manifest(self.root, key), ("spec.json", "samples.parquet"))
        return Table(read_parquet(path))

    def experiment(self, key: str) -> Experiment:
        """The specification of one run, from which its data can be loaded, its noise drawn, and the run trained again.

        If it has components from a user's own modules, Python must be able to import these modules.

        Raises:
            ValueError: the folder has no run with this key, or a module cannot be imported.
        """
        import byrote.experiment

        specs = self.results.specs
        if key not in specs:
            raise ValueError(f"{self.root} has no run {key!r}; {did_you_mean(key, list(specs))}")
        return byrote.experiment.Experiment(**specs[key])

    def model(self, key: str) -> Classifier:
        """The trained network of one run in eval mode: `model(x)` returns logits, `model.features(x)` features.

        Its input is what `store.experiment(key).data.load(...)` gives: float32 (B, C, H, W), prepared as in training.

        Args:
            key: the key of a run that was trained with `keep_weights=True`.

        Raises:
            ValueError: no such run, no stored weights, a damaged file, or a module that cannot be imported.

        >>> import byrote
        >>> byrote.open("runs/mine").model("0f3a5c9e21b4d6e8")  # doctest: +SKIP
        """
        from byrote.training.run import trained

        return trained(self.experiment(key), read_weights(self.root, key))

    def compact(self, out: str | Path | None = None) -> Path:
        """Write all tables into `out` (default: the store); see `byrote.store.compact`."""
        return compact(self.root, out)


def open_store(root: str | Path) -> Store:
    """Open a store or a results folder for reading; see `Store`."""
    return Store(root)
