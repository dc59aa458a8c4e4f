"""A store, its compacted tables and any mixture of the two say the same."""

import json
from dataclasses import replace

import numpy as np
import pytest
from toys import tiny

import byrote
from byrote.store import commit, open_store, state_of
from byrote.store.plan import Entry, Plan, mark_running
from byrote.training import train

EXPERIMENTS = [tiny(seed=s, loss=loss) for s in (0, 1) for loss in ("cross_entropy", "robust_log")]


@pytest.fixture(scope="module")
def runs():
    return train(EXPERIMENTS)


@pytest.fixture
def root(tmp_path, runs):
    plan = Plan("study", "", {}, (), tuple(Entry(e.key, f"part {e.seed}", e.spec()) for e in EXPERIMENTS))
    plan.write(tmp_path)
    for run in runs:
        commit(tmp_path, run)
    return tmp_path


def test_the_table_has_every_run_with_its_facts(root, runs):
    history = byrote.open(root).results.history
    assert len(history) == sum(len(run.history["epoch"]) for run in runs)
    for run in runs:
        rows = history.where(key=run.key)
        np.testing.assert_array_equal(rows["j1"], run.history["j1"])
        np.testing.assert_array_equal(rows["train_loss"], run.history["loss"])
        assert set(rows["loss"]) == {run.experiment.loss.label}
        assert set(rows["seed"]) == {run.experiment.seed}
        assert set(rows["part"]) == {f"part {run.experiment.seed}"}
        assert set(rows["rate"]) == {0.4}
        assert set(rows["effective_rate"]) == {0.2}
        assert set(rows["dataset"]) == {"toys:Blobs"}
    assert np.isnan(history.where(loss="CE")["alpha"]).all()
    assert set(history.where(loss="RLL")["alpha"]) == {0.1}


def test_features_are_a_second_table(root, runs):
    features = open_store(root).results.features
    assert set(features["key"]) == {run.key for run in runs}
    one = features.where(key=runs[0].key)
    np.testing.assert_array_equal(one["x"], runs[0].features["x"])


def test_compacted_results_are_the_same_table(root, tmp_path):
    whole = open_store(root).results
    out = open_store(root).compact(tmp_path / "results")
    assert {p.name for p in out.iterdir()} == {"table.parquet", "features.parquet", "about.json"}
    alone = open_store(out).results
    assert alone.history == whole.history
    assert alone.features == whole.features
    assert alone.about == whole.about


def test_a_store_compacted_half_way_reads_the_rest_from_the_runs(root, runs):
    whole = open_store(root).results
    last = root / runs[-1].key
    moved = root.parent / f"{root.name}-aside"
    last.rename(moved)
    open_store(root).compact()
    moved.rename(last)
    mixed = open_store(root).results
    assert mixed.history == whole.history
    assert mixed.about["planned"] == whole.about["planned"]
    assert mixed.about["seconds"] == pytest.approx(whole.about["seconds"], abs=0.02)


def test_history_is_a_relation(root):
    relation = byrote.open(root).history()
    assert relation.filter("loss = 'CE'").aggregate("count(DISTINCT key)").fetchall() == [(2,)]
    assert len(relation.df()) == len(open_store(root).results.history)


def test_samples_are_read_run_by_run(root, runs):
    samples = open_store(root).samples(runs[0].key)
    np.testing.assert_array_equal(samples["observed"], runs[0].samples["observed"])
    with pytest.raises(ValueError, match="keeps no samples"):
        open_store(root).samples("0" * 16)


def test_states(root, runs):
    assert {k: state_of(root)[k] for k in ("missing", "running", "done", "failed")} == {
        "missing": 0,
        "running": 0,
        "done": 4,
        "failed": 0,
    }
    for run in runs[:2]:
        (root / run.key).rename(root.parent / f"{root.name}-{run.key}")
    mark_running(root, [runs[0].key], {"epoch": 1, "epochs": 4})
    state = state_of(root)
    assert (state["missing"], state["running"], state["done"]) == (1, 1, 2)
    assert state["in_hand"][0]["epoch"] == 1
    note = root / ".running" / f"{runs[0].key}.json"
    dead = json.loads(note.read_text()) | {"pid": 2**22 + 1}
    note.write_text(json.dumps(dead))
    assert state_of(root)["running"] == 0, "the note of a process that is gone counts as missing"
    note.write_text(json.dumps(dead | {"host": "elsewhere"}))
    assert state_of(root)["running"] == 1, "another machine's fresh note is believed"
    note.write_text(json.dumps(dead | {"host": "elsewhere", "time": 0}))
    assert state_of(root)["running"] == 0
    note.write_text("{")
    assert state_of(root)["running"] == 0


def test_a_plan_is_kept_to(root):
    other = Plan("study", "", {}, (), (Entry("0" * 16, "part", {}),))
    with pytest.raises(ValueError, match="made from a different spec"):
        other.write(root)
    (root / "plan.json").write_text("[]")
    with pytest.raises(ValueError, match="not a plan"):
        open_store(root)


def test_a_study_that_asks_for_more_keeps_what_is_there(root):
    before = Plan.read(root)
    more = replace(before, entries=(*before.entries, Entry("0" * 16, "part", {})))
    more.write(root)
    assert Plan.read(root) == more
    assert (state_of(root)["missing"], state_of(root)["done"]) == (1, 4)
    with pytest.raises(ValueError, match=r"made from a different spec .* 4 of them among the 4 asked for"):
        before.write(root)
    for other in (replace(more, scale="small"), replace(more, study="another")):
        with pytest.raises(ValueError, match="holds study 'study', not '"):
            other.write(root)
    assert Plan.read(root) == more


def test_what_is_no_store_is_named(tmp_path):
    with pytest.raises(ValueError, match="neither a store nor a results folder"):
        open_store(tmp_path / "nothing")
    with pytest.raises(ValueError, match="not a store"):
        state_of(tmp_path)
    (tmp_path / "file.txt").write_text("mine")
    with pytest.raises(ValueError, match="not an empty folder"):
        Plan("s", "", {}, (), ()).write(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]
