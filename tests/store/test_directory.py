"""A run is whole or absent; equal runs are equal files; damage is a sentence."""

import json

import numpy as np
import pytest
from toys import tiny

from byrote.store import commit, committed, open_store
from byrote.store import directory as d
from byrote.store.plan import Entry, Plan
from byrote.training import train


@pytest.fixture(scope="module")
def run():
    return train([tiny()])[0]


def plan_of(*experiments):
    entries = tuple(Entry(e.key, "part", e.spec()) for e in experiments)
    return Plan("study", "", {}, (), entries)


@pytest.mark.parametrize("name", ["plain", "a [b] *c? 'd' é"])
def test_what_is_written_is_what_is_read(tmp_path, run, name):
    tmp_path = tmp_path / name
    folder = commit(tmp_path, run, {"threads": 1})
    assert committed(tmp_path) == [run.key]
    history = d.read_parquet(folder / "history.parquet")
    for name, column in run.history.items():
        np.testing.assert_array_equal(history[name], column, err_msg=name)
    samples = d.read_parquet(folder / "samples.parquet")
    for name, column in run.samples.items():
        np.testing.assert_array_equal(samples[name], column, err_msg=name)
    manifest = d.read_manifest(tmp_path, run.key)
    assert manifest["status"] == "done"
    assert manifest["numerics"] == {"threads": 1}
    for name, checksum in manifest["files"].items():
        assert d.sha256(folder / name) == checksum
    assert set(manifest["files"]) == {"spec.json", "history.parquet", "samples.parquet", "features.parquet"}


def test_equal_runs_are_equal_files(tmp_path, run):
    again = train([tiny(), tiny(seed=1)])[0]
    a, b = commit(tmp_path / "a", run), commit(tmp_path / "b", again)
    for name in ("spec.json", "history.parquet", "samples.parquet", "features.parquet"):
        assert (a / name).read_bytes() == (b / name).read_bytes(), name


@pytest.mark.parametrize("step", range(6))
def test_a_run_that_is_interrupted_anywhere_leaves_nothing(tmp_path, run, monkeypatch, step):
    calls = iter(range(100))

    def stop(original):
        def wrapped(*args):
            if next(calls) == step:
                raise KeyboardInterrupt
            return original(*args)

        return wrapped

    for name in ("write_parquet", "write_atomic", "_sync"):
        monkeypatch.setattr(d, name, stop(getattr(d, name)))
    with pytest.raises(KeyboardInterrupt):
        commit(tmp_path, run)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    commit(tmp_path, run)
    assert committed(tmp_path) == [run.key]


def test_a_folder_without_a_manifest_is_no_run(tmp_path, run):
    folder = commit(tmp_path, run)
    (folder / "manifest.json").unlink()
    assert committed(tmp_path) == []


def test_a_run_under_another_key_is_refused(tmp_path, run):
    folder = commit(tmp_path, run)
    spec = json.loads((folder / "spec.json").read_text())
    spec["seed"] = 9
    (folder / "spec.json").write_text(json.dumps(spec))
    with pytest.raises(ValueError, match="made by a different spec"):
        d.read_manifest(tmp_path, run.key)


def test_damaged_files_are_named(tmp_path, run):
    plan_of(tiny()).write(tmp_path)
    folder = commit(tmp_path, run)
    (folder / "history.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(ValueError, match="damaged"):
        _ = open_store(tmp_path).results
    (folder / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="cannot be read"):
        _ = open_store(tmp_path).results


def test_missing_values_come_back_as_nan_and_text_as_text(tmp_path):
    columns = {"x": np.array([1.0, np.nan]), "s": np.array(["a", "b"], dtype=object), "n": np.array([1, 2])}
    d.write_parquet(tmp_path / "t.parquet", columns)
    back = d.read_parquet(tmp_path / "t.parquet")
    assert np.isnan(back["x"]).tolist() == [False, True]
    assert back["s"].tolist() == ["a", "b"]
    assert back["n"].dtype.kind == "i"


def test_a_failed_run_is_kept_with_its_reason(tmp_path):
    bad = tiny(loss={"kind": "toys:Explosive"})
    plan_of(bad, tiny()).write(tmp_path)
    commit(tmp_path, train([bad])[0])
    results = open_store(tmp_path).results
    assert len(results.history) == 0
    (failure,) = results.about["failures"]
    assert failure["key"] == bad.key
    assert "diverged in epoch 1" in failure["error"]
