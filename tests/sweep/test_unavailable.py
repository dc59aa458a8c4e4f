"""A run whose data are unavailable does not stop the study; every list of runs shows the run and the reason."""

import json
from typing import ClassVar

import pytest
import toys

import byrote
from byrote.cli import main
from byrote.files import DataUnavailableError
from byrote.noise import save_labels
from byrote.report.tables import limits
from byrote.store import Plan, state_of
from byrote.store.status import mark_unavailable
from byrote.study import Study
from byrote.sweep import run


class Away(toys.Blobs):
    """The data set `Blobs`, but available only after a test switches it on."""

    here: ClassVar[bool] = False

    def decode(self, split):
        if not Away.here:
            raise DataUnavailableError("blobs could not be obtained; tried: the cache")
        return super().decode(split)

    def stamp(self):
        return Away.here


@pytest.fixture(autouse=True)
def away():
    Away.here = False
    yield
    Away.here = False


def study(*parts):
    base = {
        "network": {"kind": "mlp", "depth": 2, "width": 8},
        "noise": {"kind": "uniform", "rate": 0.2},
        "training": {"epochs": 2, "batch_size": 16},
    }
    return Study(name="s", title="S", base=base, part=parts)


HERE = {"name": "here", "base": {"data": {"kind": "toys:Blobs"}}, "axes": {"seed": [0, 1]}}
GONE = {"name": "gone", "base": {"data": {"kind": f"{__name__}:Away"}}, "axes": {"seed": [0, 1, 2]}}
REASON = "not run: data not available: blobs could not be obtained; tried: the cache"


def test_the_rest_of_the_study_runs_and_the_status_says_what_was_left_out(tmp_path, capsys):
    outcome = run(study(GONE, HERE), tmp_path / "s", on="serial")
    assert (outcome.planned, outcome.done, outcome.broken, outcome.failed) == (5, 2, [], {})
    assert len(outcome.unavailable) == 3
    state = state_of(outcome.root)
    counts = {name: state[name] for name in ("missing", "running", "done", "failed", "unavailable")}
    assert counts == {"missing": 0, "running": 0, "done": 2, "failed": 0, "unavailable": 3}
    assert {(row["part"], row["reason"]) for row in state["not_run"]} == {("gone", REASON)}
    assert {row["key"] for row in state["not_run"]} == set(outcome.unavailable)
    assert main(["status", str(outcome.root)]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[1].split("\t")[3:] == ["0", "0", "2", "0", "0", "3"]
    assert f"gone, 3 runs: {REASON}" in printed.err


def test_a_report_says_it_from_the_store_and_from_compacted_results(tmp_path):
    outcome = run(study(HERE, GONE), tmp_path / "s", on="serial")
    for folder in (outcome.root, outcome.store.compact(tmp_path / "results")):
        text = " ".join(limits(byrote.open(folder).analysis))
        assert f"gone, three runs: {REASON}" in text
        assert "planned runs are not done" not in text


def test_once_the_data_are_there_the_same_command_does_what_was_left_out(tmp_path):
    first = run(study(HERE, GONE), tmp_path / "s", on="serial")
    Away.here = True
    second = run(study(HERE, GONE), tmp_path / "s", on="serial")
    assert (second.done_before, second.done, second.unavailable) == (2, 5, {})
    assert state_of(first.root)["done"] == 5
    assert state_of(first.root)["not_run"] == []
    Away.here = False
    third = run(study(HERE, GONE), tmp_path / "s", on="serial")
    assert (third.done, third.unavailable) == (5, {}), "finished runs need no data"
    assert state_of(first.root)["unavailable"] == 0


def test_limit_counts_runs_that_can_be_done(tmp_path):
    outcome = run(study(GONE, HERE), tmp_path / "s", on="serial", limit=1)
    assert outcome.done == 1
    assert state_of(outcome.root)["missing"] == 1


def test_a_study_without_any_data_is_an_error_and_leaves_nothing(tmp_path):
    with pytest.raises(DataUnavailableError, match="blobs could not be obtained"):
        run(study(GONE), tmp_path / "s", on="serial")
    assert not (tmp_path / "s").exists()


def test_labels_of_the_cache_folder_that_are_not_there_count_as_data(tmp_path, monkeypatch):
    monkeypatch.setenv("BYROTE_CACHE", str(tmp_path / "cache"))
    human = {"kind": "recorded", "path": "cache:human/labels.csv"}
    both = study(HERE, {**HERE, "name": "human", "base": {**HERE["base"], "noise": human}})
    outcome = run(both, tmp_path / "s", on="serial")
    assert outcome.done == 2
    (reason,) = {row["reason"] for row in state_of(outcome.root)["not_run"]}
    assert "try `byrote data get human`" in reason
    train = toys.Blobs().load("train")
    save_labels(tmp_path / "cache" / "human" / "labels.csv", train.ids, train.labels, 1 - train.labels, num_classes=2)
    assert run(both, tmp_path / "s", on="serial").done == 4


def test_a_recorded_file_that_is_named_wrongly_is_an_error_before_anything_is_trained(tmp_path):
    human = {"kind": "recorded", "path": str(tmp_path / "labels.csv")}
    with pytest.raises(FileNotFoundError, match="no file of noisy labels"):
        run(study(HERE, {**HERE, "name": "h", "base": {**HERE["base"], "noise": human}}), tmp_path / "s", on="serial")
    assert not (tmp_path / "s").exists()


def test_recorded_labels_that_do_not_cover_a_new_split_are_an_error_before_anything_is_trained(tmp_path):
    train = toys.Blobs().load("train")
    save_labels(tmp_path / "labels.csv", train.ids, train.labels, 1 - train.labels, num_classes=2)
    human = {**HERE["base"], "noise": {"kind": "recorded", "path": str(tmp_path / "labels.csv")}}
    assert run(study({**HERE, "base": human}), tmp_path / "s", on="serial").done == 2
    with pytest.raises(ValueError, match=r"labels.csv has no label for \d+ of 80 samples, such as id -\d+"):
        run(study(HERE, {**HERE, "name": "h", "base": human | {"split_seed": 0}}), tmp_path / "t", on="serial")
    assert not (tmp_path / "t").exists()


def test_a_damaged_note_gives_one_sentence(tmp_path):
    outcome = run(study(HERE, GONE), tmp_path / "s", on="serial")
    path = outcome.root / "unavailable.json"
    assert set(json.loads(path.read_text())) == {*outcome.unavailable, "digest"}
    path.write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        state_of(outcome.root)


def test_a_run_that_another_machine_did_is_not_listed(tmp_path):
    """Of two machines that share a store, one notes that it lacks the data, and the other trains the run."""
    outcome = run(study(HERE), tmp_path / "s", on="serial")
    first = Plan.read(outcome.root).entries[0].key
    mark_unavailable(outcome.root, {first: "blobs could not be obtained"})
    state = state_of(outcome.root)
    assert (state["done"], state["unavailable"], state["not_run"]) == (2, 0, [])
    assert byrote.open(outcome.root).results.about["not_run"] == []


def test_tables_that_are_shared_do_not_name_the_home_folder(tmp_path, monkeypatch):
    outcome = run(study(HERE, GONE), tmp_path / "s", on="serial")
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    mark_unavailable(outcome.root, {next(iter(outcome.unavailable)): f"not in {home}/data"})
    about = (outcome.store.compact(tmp_path / "results") / "about.json").read_text()
    assert "not in ~/data" in about
    assert str(home) not in about
