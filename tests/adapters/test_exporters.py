"""Each experiment tracker writes rows that read back equal, stays offline, and draws no random numbers."""

import importlib
import json
import random
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch
from stored import results_of

from adapters.small import N, Problem, net
from byrote.adapters.exporters import MLflow, TensorBoard, WandB, export, log, readings
from byrote.analysis import Analysis
from byrote.measures import Observer
from byrote.table import Table

ROWS = [
    {"key": "a", "loss": "CE", "rate": 0.2, "seed": 3, "epoch": 2, "j1": 0.75, "mem_mean": 1.5, "collapsed": False},
    {"key": "a", "loss": "CE", "rate": 0.2, "seed": 3, "epoch": 1, "j1": 0.5, "mem_mean": None, "collapsed": True},
]
SERIES = {
    "byrote/j1": [(1, 0.5), (2, 0.75)],
    "byrote/mem_mean": [(2, 1.5)],
    "byrote/collapsed": [(1, 1.0), (2, 0.0)],
}
FACTS = {"byrote/key": "a", "byrote/loss": "CE", "byrote/rate": 0.2, "byrote/seed": 3}


def states():
    """Return the states of the three global random generators that training may use."""
    return random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002


@pytest.fixture(autouse=True)
def no_network_and_no_draws(monkeypatch):
    """Refuse connections to other machines, and check that the states of the global generators do not change."""
    import socket

    connect = socket.socket.connect

    def local(self, address):
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise OSError(f"this test allows no network connections, got one to {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local)
    before = states()
    yield
    after = states()
    assert after[0] == before[0]
    np.testing.assert_equal(after[1], before[1])
    assert torch.equal(after[2], before[2])


@pytest.mark.parametrize("rows", [ROWS, Table.of(ROWS)], ids=["rows", "table"])
def test_tensorboard(rows, tmp_path):
    pytest.importorskip("tensorboard", reason="needs the extra: pip install 'byrote[loggers]'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    exporter = TensorBoard.at(tmp_path)
    export(rows, exporter, facts=("rate", "seed"))
    exporter.close()
    board = EventAccumulator(str(tmp_path)).Reload()
    assert {
        name: [(event.step, event.value) for event in board.Scalars(name)] for name in board.Tags()["scalars"]
    } == SERIES
    (text,) = board.Tensors("byrote/facts/text_summary")
    table = text.tensor_proto.string_val[0].decode()
    assert all(f"| {name.removeprefix('byrote/')} | {value} |" in table for name, value in FACTS.items())


@pytest.mark.parametrize("rows", [ROWS, Table.of(ROWS)], ids=["rows", "table"])
@pytest.mark.every(2)
def test_mlflow(rows, tmp_path):
    pytest.importorskip("mlflow", reason="needs the extra: pip install 'byrote[loggers]'")
    exporter = MLflow.at(f"sqlite:///{tmp_path}/runs.db", name="first")
    export(rows, exporter, facts=("rate", "seed"))
    exporter.close()
    second = MLflow.at(f"sqlite:///{tmp_path}/runs.db")  # a second run of the same experiment
    client = second._client
    run = client.get_run(exporter.run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "first"
    assert run.info.experiment_id == client.get_run(second.run_id).info.experiment_id
    assert run.data.params == {name: str(value) for name, value in FACTS.items()}
    assert {
        name: [(metric.step, metric.value) for metric in client.get_metric_history(exporter.run_id, name)]
        for name in run.data.metrics
    } == SERIES


def wandb_records(path):
    """Read the records of an offline wandb run: a header of 7 bytes, then LevelDB's log format in 32 KiB blocks."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, position, parts = path.read_bytes(), 7, b""
    assert data[:4] == b":W&B"
    while position + 7 <= len(data):
        left = 2**15 - position % 2**15
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        parts += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # a full record, or the last part of a record
            record = Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


@pytest.mark.parametrize("rows", [Table.of(ROWS)], ids=["table"])
def test_wandb(rows, tmp_path):
    pytest.importorskip("wandb", reason="needs the extra: pip install 'byrote[loggers]'")
    exporter = WandB.offline(tmp_path / "new", name="first")
    export(rows, exporter, facts=("rate", "seed"))
    exporter.close()
    importlib.import_module("wandb").teardown()  # wait for the service, which writes in the background
    (file,) = (tmp_path / "new").glob("wandb/offline-run-*/*.wandb")
    series, config = {}, {}
    for record in wandb_records(file):
        config |= {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.run.config.update}
        config |= {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.config.update}
        row = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
        for name in row.keys() & SERIES.keys():
            series.setdefault(name, []).append((row["byrote/epoch"], row[name]))
    assert series == SERIES
    assert {name: value for name, value in config.items() if name in FACTS} == FACTS


class Stored:
    def __init__(self):
        self.facts, self.rows = [], []

    def describe(self, facts):
        self.facts.append(facts)

    def write(self, epoch, values):
        self.rows.append((epoch, values))

    def close(self): ...


def loop(exporter):
    """Run a user's own training loop of three epochs, which logs the row of each epoch immediately."""
    problem, network = Problem(), net()
    solver = torch.optim.SGD(network.parameters(), lr=0.1)
    with Observer(network, problem.true, N) as observer:
        for epoch in range(1, 4):
            solver.zero_grad()
            torch.nn.functional.cross_entropy(network(problem.images), problem.observed).backward()
            solver.step()
            row = observer.evaluate(epoch, *problem.batches())
            log(row, exporter)
    exporter.close()
    return observer.history.rows()


def test_live_rows_of_a_loop_of_ones_own(tmp_path):
    """Each of the three libraries stores the readings of each epoch under the right names and epoch numbers."""
    pytest.importorskip("tensorboard", reason="needs the extra: pip install 'byrote[loggers]'")
    mlflow = pytest.importorskip("mlflow", reason="needs the extra: pip install 'byrote[loggers]'")
    pytest.importorskip("wandb", reason="needs the extra: pip install 'byrote[loggers]'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with torch.random.fork_rng():
        table = loop(TensorBoard.at(tmp_path / "board"))
    events = EventAccumulator(str(tmp_path / "board")).Reload().Scalars("byrote/nc1_test")
    assert [event.step for event in events] == [1, 2, 3]
    assert [event.value for event in events] == pytest.approx([row["nc1_test"] for row in table])

    tracker = MLflow.at(f"sqlite:///{tmp_path / 'runs.db'}")
    with torch.random.fork_rng():
        table = loop(tracker)
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'runs.db'}")
    history = client.get_metric_history(tracker.run_id, "byrote/j1")
    assert [(point.step, point.value) for point in history] == [(row["epoch"], row["j1"]) for row in table]

    written = []

    class Run:
        def define_metric(self, name, step_metric): ...
        def log(self, row):
            written.append(row)

    with torch.random.fork_rng():
        table = loop(WandB(Run()))
    assert [row["byrote/epoch"] for row in written] == [1, 2, 3]
    assert [row["byrote/j2"] for row in written] == [row["j2"] for row in table]


def test_what_describes_a_stored_run_is_no_reading():
    """When a stored run is exported, the columns of its history are readings, and all other columns are facts."""
    row = {"key": "a", "loss": "RLL", "alpha": 0.1, "rate": 0.2, "seed": 3, "n_train": 60, "num_classes": 3}
    other = row | {"key": "b", "seed": 4, "spec": {"training.clip": 1.0}}
    history = [one | {"epoch": epoch, "j1": 0.5, "collapsed": False} for one in (row, other) for epoch in (1, 2)]
    analysis = Analysis.of(results_of(history))
    table, exporter = analysis.table(), Stored()
    export(table.where(key="b"), exporter, facts=set(table.columns) - set(analysis.history.columns))
    assert exporter.rows == [(epoch, {"j1": 0.5, "collapsed": 0.0}) for epoch in (1, 2)]
    (facts,) = exporter.facts
    wanted = {"key": "b", "loss": "RLL", "rate": 0.2, "seed": 4, "n_train": 60, "training.clip": 1.0}
    assert {name: facts[name] for name in wanted} == wanted
    assert facts["setting"] != table.where(key="a")["setting"][0]
    assert not set(facts) & {"epoch", "j1", "collapsed", "run"}


def test_a_fact_that_a_row_lacks_is_an_error():
    with pytest.raises(ValueError, match="the columns that facts names, got a row without 'seed'"):
        export([{"epoch": 1, "seed": 3}, {"epoch": 2}], Stored(), facts=["seed"])


def test_nothing_to_export_is_nothing_written():
    exporter = Stored()
    export([], exporter)
    assert (exporter.facts, exporter.rows) == ([], [])


def test_values_that_are_no_numbers_leave_a_gap():
    row = {"a": float("nan"), "b": float("inf"), "c": None, "d": "text", "e": np.float32(0.5), "f": np.bool_(True)}
    assert readings(row) == {"e": 0.5, "f": 1.0}


@pytest.mark.parametrize(
    ("rows", "words"),
    [([{"j1": 1.0}], "must have a column 'epoch'"), ([{"epoch": 1, "key": k} for k in "ab"], "got 2 runs")],
)
def test_a_mistake_gives_one_sentence(rows, words):
    with pytest.raises(ValueError, match=words):
        export(rows, Stored())


@pytest.mark.parametrize(
    ("module", "call"),
    [
        ("tensorboard", "TensorBoard.at('x')"),
        ("mlflow", "MLflow.at('sqlite:///x')"),
        ("wandb", "WandB.offline('x')"),
    ],
)
def test_a_missing_tracker_gives_one_line(module, call):
    program = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from byrote.adapters.exporters import *\n"
        f"try: {call}\nexcept ModuleNotFoundError as error: print(error)"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert "byrote[loggers]" in out.stdout, out.stderr
    assert out.stdout.count("\n") == 1
