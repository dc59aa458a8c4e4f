"""Send rows of the history to an experiment tracker, also offline: TensorBoard, MLflow, Weights & Biases.

Readings are logged under `byrote/`, so that the user can log other values to the same run. A reading without a value
(NaN) leaves a gap.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, Self

from byrote.checks import require
from byrote.table import Table

__all__ = ["Exporter", "MLflow", "TensorBoard", "WandB", "export", "log", "readings"]

Fact = str | int | float | bool
_PREFIX = "byrote/"


class Exporter(Protocol):
    """The interface to a tracker. An exporter of your own needs these three methods."""

    def describe(self, facts: Mapping[str, Fact]) -> None:
        """Record the facts of the whole run: loss, rate, seed, ..."""

    def write(self, epoch: int, values: Mapping[str, float]) -> None:
        """Record the readings after `epoch` epochs; all readings are finite."""

    def close(self) -> None:
        """Close a handle that this object opened; a handle that the user opened stays open."""


def export(rows: Table | Iterable[Mapping[str, Any]], exporter: Exporter, *, facts: Collection[str] = ()) -> None:
    """Send the rows of one run, in the order of their epochs, to a tracker, which stays open.

    Args:
        rows: a `Table`, or mappings that an Observer's `evaluate` returned, with a column `epoch`.
        exporter: `TensorBoard`, `MLflow`, `WandB`, or anything with the methods of `Exporter`.
        facts: the columns that describe the run (rate, seed, ...). Columns of text always describe the run; all other
            numbers are readings. For a run of a store, use `set(table.columns) - set(analysis.history.columns)` with
            `table = analysis.table()`.

    Raises:
        ValueError: rows of several runs, or rows without `epoch` or without a column that `facts` names.

    >>> class Printed:
    ...     def describe(self, facts): print(facts)
    ...     def write(self, epoch, values): print(epoch, values)
    ...     def close(self): ...
    >>> rows = [{"loss": "CE", "seed": 3, "epoch": epoch, "j1": j1} for epoch, j1 in ((1, 0.5), (2, 0.9))]
    >>> export(rows, Printed(), facts=["seed"])
    {'loss': 'CE', 'seed': 3}
    1 {'j1': 0.5}
    2 {'j1': 0.9}
    """
    listed = rows.rows() if isinstance(rows, Table) else [dict(row) for row in rows]
    if any("epoch" not in row for row in listed):
        raise ValueError("every row to export must have a column 'epoch', got a row without it")
    absent = sorted(name for name in facts if any(name not in row for row in listed))
    if absent:
        raise ValueError(f"every row to export must have the columns that facts names, got a row without {absent[0]!r}")
    keys = {row.get("key") for row in listed}
    if len(keys) > 1:
        raise ValueError(f"expected the rows of one run, got {len(keys)} runs: export each table.groups('key') alone")
    for position, row in enumerate(sorted(listed, key=lambda row: int(row["epoch"]))):
        if position == 0:
            exporter.describe(_facts(row, facts))
        exporter.write(int(row["epoch"]), readings(row, facts))


def log(row: Mapping[str, Any], exporter: Exporter) -> None:
    """Send one row during training: call this after each `observer.evaluate` or `observer.finish` in your own loop.

    Args:
        row: the row that `evaluate` or `finish` returned.
        exporter: as for `export`; to record facts of the run, call the exporter's `describe` once yourself.

    >>> class Printed:
    ...     def write(self, epoch, values): print(epoch, values)
    >>> log({"epoch": 2, "train_loss": 0.25, "j1": 0.5, "nc1_test": float("nan")}, Printed())
    2 {'train_loss': 0.25, 'j1': 0.5}
    """
    exporter.write(int(row["epoch"]), readings(row))


def readings(row: Mapping[str, Any], facts: Collection[str] = ()) -> dict[str, float]:
    """The finite readings of a row, without its epoch and the facts of the run.

    >>> row = {"epoch": 3, "loss": "CE", "seed": 1, "j1": 0.5, "collapsed": False, "mem_mean": float("nan")}
    >>> readings(row, facts={"seed"})
    {'j1': 0.5, 'collapsed': 0.0}
    """
    numbers = {
        name: float(value)
        for name, value in row.items()
        if name != "epoch" and name not in facts and value is not None and not isinstance(value, str)
    }
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


def _facts(row: Mapping[str, Any], names: Collection[str]) -> dict[str, Fact]:
    """The strings and facts of the run as plain Python values, without absent values."""
    facts: dict[str, Fact] = {}
    for name, value in row.items():
        plain = value.item() if hasattr(value, "item") else value
        absent = plain is None or plain == "" or (isinstance(plain, float) and math.isnan(plain))
        if not absent and (name in names or isinstance(plain, str)):
            facts[name] = plain
    return facts


@contextmanager
def _no_draws() -> Iterator[None]:
    """Restore Python's random state at the end of the block: MLflow draws names from it, and training may use it."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


class TensorBoard:
    """Write scalars and a table of facts to an event file, through `torch.utils.tensorboard.SummaryWriter`.

    Args:
        writer: a SummaryWriter of yours; `TensorBoard.at(folder)` opens one.
    """

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self._own = False

    @classmethod
    def at(cls, folder: str | Path) -> Self:
        """Write event files into `folder`. Raises ModuleNotFoundError without tensorboard."""
        require("tensorboard", "loggers")
        exporter = cls(require("torch.utils.tensorboard", "loggers").SummaryWriter(str(folder)))
        exporter._own = True
        return exporter

    def describe(self, facts: Mapping[str, Fact]) -> None:
        lines = ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts.items())]
        self._writer.add_text(f"{_PREFIX}facts", "\n".join(lines))

    def write(self, epoch: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(_PREFIX + name, value, epoch)
        self._writer.flush()

    def close(self) -> None:
        if self._own:
            self._writer.close()


class MLflow:
    """Log metrics and parameters to an MLflow run, through `mlflow.MlflowClient`: the active run is not affected.

    Args:
        client: an MlflowClient of yours. run_id: the id of one of its runs. `MLflow.at(uri)` creates both.
    """

    def __init__(self, client: Any, run_id: str) -> None:
        self._client = client
        self.run_id = run_id
        self._own = False

    @classmethod
    def at(cls, uri: str, experiment: str = "byrote", name: str | None = None) -> Self:
        """Start a run `name` in `experiment` in the tracking store at `uri`; both are created if they do not exist.

        `uri` is a database file, `sqlite:///FILE` (no network), or a server. Raises ModuleNotFoundError without mlflow.
        """
        client = require("mlflow", "loggers").MlflowClient(tracking_uri=uri)
        with _no_draws():
            known = client.get_experiment_by_name(experiment)
            number = client.create_experiment(experiment) if known is None else known.experiment_id
            exporter = cls(client, client.create_run(number, run_name=name).info.run_id)
        exporter._own = True
        return exporter

    def describe(self, facts: Mapping[str, Fact]) -> None:
        for name, value in facts.items():
            self._client.log_param(self.run_id, _PREFIX + name, value)

    def write(self, epoch: int, values: Mapping[str, float]) -> None:
        Metric = require("mlflow.entities", "loggers").Metric
        now = int(time.time() * 1000)
        self._client.log_batch(
            self.run_id, [Metric(_PREFIX + name, value, now, epoch) for name, value in values.items()]
        )

    def close(self) -> None:
        if self._own:
            self._client.set_terminated(self.run_id)


class WandB:
    """Log to the history (over `byrote/epoch`) and config of a Weights & Biases run; the run's own steps do not change.

    Args:
        run: the result of `wandb.init`; `WandB.offline(folder)` opens a run that sends nothing.
    """

    def __init__(self, run: Any) -> None:
        self._run = run
        self._own = False
        run.define_metric(f"{_PREFIX}*", step_metric=f"{_PREFIX}epoch")

    @classmethod
    def offline(cls, folder: str | Path, project: str = "byrote", name: str | None = None) -> Self:
        """Write a run under `folder/wandb`, which may be sent later with `wandb sync`.

        Raises ModuleNotFoundError without wandb.
        """
        wandb = require("wandb", "loggers")
        Path(folder).mkdir(parents=True, exist_ok=True)
        quiet = wandb.Settings(silent=True, console="off", disable_git=True, save_code=False)
        exporter = cls(wandb.init(project=project, name=name, dir=str(folder), mode="offline", settings=quiet))
        exporter._own = True
        return exporter

    def describe(self, facts: Mapping[str, Fact]) -> None:
        self._run.config.update({_PREFIX + name: value for name, value in facts.items()})

    def write(self, epoch: int, values: Mapping[str, float]) -> None:
        row = {_PREFIX + name: value for name, value in values.items()}
        self._run.log({f"{_PREFIX}epoch": epoch, **row})

    def close(self) -> None:
        if self._own:
            self._run.finish()
