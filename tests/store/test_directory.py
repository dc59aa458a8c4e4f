"""A stored run is complete or absent; equal runs have equal files; files name their run; damage gives a clear error."""

import json

import numpy as np
import pytest
from safetensors import safe_open
from toys import tiny

import byrote
from byrote.files import sha256
from byrote.store import Entry, Plan, commit, committed, drafts
from byrote.store import directory as d
from byrote.store import runs as r
from byrote.store.parquet import metadata_of, read_parquet, write_parquet
from byrote.store.sealed import read_sealed, write_sealed
from byrote.store.verified import flaw_of
from byrote.training import train


@pytest.fixture(scope="module")
def run():
    return train([tiny()])[0]


def plan_of(*experiments):
    entries = tuple(Entry(e.key, "part", e.spec(), e.contents) for e in experiments)
    return Plan("study", "", {}, (), entries)


@pytest.mark.parametrize("name", ["plain", "a [b] *c? 'd' é"])
def test_what_is_written_is_what_is_read(tmp_path, run, name):
    tmp_path = tmp_path / name
    folder = commit(tmp_path, run, {"threads": 1})
    assert committed(tmp_path) == [run.key]
    history = read_parquet(folder / "history.parquet")
    for name, column in run.history.arrays().items():
        np.testing.assert_array_equal(history[name], column, err_msg=name)
    samples = read_parquet(folder / "samples.parquet")
    for name, column in run.samples.arrays().items():
        np.testing.assert_array_equal(samples[name], column, err_msg=name)
    manifest = r.read_manifest(tmp_path, run.key)
    assert manifest["status"] == "done"
    assert manifest["numerics"] == {"threads": 1}
    for name, checksum in manifest["files"].items():
        assert sha256(folder / name) == checksum
    assert set(manifest["files"]) == {"spec.json", "history.parquet", "samples.parquet", "features.parquet"}
    assert r.read_spec(tmp_path, run.key) == (run.experiment.spec(), run.experiment.contents)


def test_every_file_names_its_run(tmp_path):
    (run,) = train([tiny()], keep_weights=True)
    folder = commit(tmp_path, run)
    parquet = sorted(path.name for path in folder.glob("*.parquet"))
    assert parquet == ["features.parquet", "history.parquet", "samples.parquet"]
    for name in parquet:
        assert metadata_of(folder / name)["key"] == run.key, name
    with safe_open(folder / "weights.safetensors", "numpy") as weights:
        assert weights.metadata() == {"key": run.key}
        for name, value in run.weights.items():
            np.testing.assert_array_equal(weights.get_tensor(name), value)
    for name in ("spec.json", "manifest.json"):
        stored = json.loads((folder / name).read_text())
        assert (stored["key"], stored["format"]) == (run.key, 2), name
        assert read_sealed(folder / name)[1], name
    assert {path.name for path in folder.iterdir()} == {*parquet, "weights.safetensors", "spec.json", "manifest.json"}


def test_equal_runs_are_equal_files(tmp_path, run):
    again = train([tiny(), tiny(seed=1)])[0]
    a, b = commit(tmp_path / "a", run), commit(tmp_path / "b", again)
    for name in ("spec.json", "history.parquet", "samples.parquet", "features.parquet"):
        assert (a / name).read_bytes() == (b / name).read_bytes(), name


@pytest.mark.parametrize("step", range(8))
def test_a_run_that_is_interrupted_anywhere_leaves_nothing(tmp_path, run, monkeypatch, step):
    calls = iter(range(100))

    def stop(original):
        def wrapped(*args, **options):
            if next(calls) == step:
                raise KeyboardInterrupt
            return original(*args, **options)

        return wrapped

    for name in ("write_parquet", "write_sealed", "sync"):
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


@pytest.mark.parametrize("change", [{"seed": 9}, {"noise": {"kind": "clean"}}, {"start": {"kind": "cross_entropy"}}])
def test_a_run_of_another_spec_is_refused(tmp_path, run, change):
    folder = commit(tmp_path, run)
    stored, _ = read_sealed(folder / "spec.json")
    write_sealed(folder / "spec.json", stored | {"spec": stored["spec"] | change})
    with pytest.raises(ValueError, match=r"is swapped: .*spec\.json is the spec of run \w{16}; the same `byrote run`"):
        r.read_spec(tmp_path, run.key)
    assert flaw_of(tmp_path, run.key).file == "spec.json"


def test_a_run_of_other_contents_is_refused(tmp_path, run):
    folder = commit(tmp_path, run)
    stored, _ = read_sealed(folder / "spec.json")
    assert list(stored["contents"]) == ["module:toys"]
    write_sealed(folder / "spec.json", stored | {"contents": {"module:toys": "0" * 16}})
    with pytest.raises(ValueError, match="is the spec of run"):
        r.read_spec(tmp_path, run.key)
    assert flaw_of(tmp_path, run.key).file == "spec.json"


def test_a_folder_under_another_name_is_refused(tmp_path, run):
    folder = commit(tmp_path, run)
    folder.rename(tmp_path / ("0" * 16))
    assert committed(tmp_path) == ["0" * 16]
    with pytest.raises(ValueError, match=f"is swapped: .* belongs to run {run.key}"):
        r.read_manifest(tmp_path, "0" * 16)


def test_damaged_files_are_named(tmp_path, run):
    plan_of(tiny()).write(tmp_path)
    folder = commit(tmp_path, run)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match=f"run {run.key} is altered: .*manifest.json is damaged"):
        _ = byrote.open(tmp_path).results


@pytest.mark.parametrize("name", ["history.parquet", "features.parquet"])
def test_one_bit_that_flips_gives_one_sentence_that_names_the_file(tmp_path, run, name):
    plan_of(tiny()).write(tmp_path)
    path = commit(tmp_path, run) / name
    whole = path.read_bytes()
    for place in (len(whole) // 3, len(whole) - 1):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(
            ValueError, match=r"is altered: .* \(its checksum differs\); the same `byrote run` command trains"
        ) as caught:
            _ = byrote.open(tmp_path).results.features
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    path.write_bytes(whole)
    assert len(byrote.open(tmp_path).results.features)


def test_missing_values_come_back_as_nan_and_text_as_text(tmp_path):
    columns = {"x": np.array([1.0, np.nan]), "s": np.array(["a", "b"], dtype=object), "n": np.array([1, 2])}
    write_parquet(tmp_path / "t.parquet", columns)
    back = read_parquet(tmp_path / "t.parquet")
    assert np.isnan(back["x"]).tolist() == [False, True]
    assert back["s"].tolist() == ["a", "b"]
    assert back["n"].dtype.kind == "i"


def test_metadata_comes_back_as_it_was_given(tmp_path):
    texts = {"key": "0123456789abcdef", "study": "somebody's 'own' ünï"}
    write_parquet(tmp_path / "t.parquet", {"n": np.array([1, 2])}, texts)
    assert texts.items() <= metadata_of(tmp_path / "t.parquet").items()


def test_a_failed_run_is_kept_with_its_reason(tmp_path):
    bad = tiny(loss={"kind": "toys:Explosive"})
    plan_of(bad, tiny()).write(tmp_path)
    commit(tmp_path, train([bad])[0])
    results = byrote.open(tmp_path).results
    assert len(results.history) == 0
    (failure,) = results.runs.rows()
    assert (failure["key"], failure["status"]) == (bad.key, "failed")
    assert "diverged in epoch 1" in failure["error"]
    assert byrote.open(tmp_path).analysis.failed == 1


@pytest.mark.parametrize("exchanges", [True, False], ids=["in one step", "aside first"])
def test_a_whole_run_stays_and_a_damaged_one_is_replaced(tmp_path, run, monkeypatch, exchanges):
    """A complete run is kept and a damaged run replaced, even if the system cannot exchange two folders."""
    if not exchanges:
        monkeypatch.setattr(drafts, "_renameat2", lambda: None)
    folder = commit(tmp_path, run)
    before = (folder / "manifest.json").stat().st_mtime_ns
    commit(tmp_path, run)
    assert (folder / "manifest.json").stat().st_mtime_ns == before, (
        "if two drivers train the same run, the first result stays"
    )
    for damage in (lambda: (folder / "history.parquet").unlink(), lambda: (folder / "manifest.json").write_text("{")):
        damage()
        assert flaw_of(tmp_path, run.key) is not None
        commit(tmp_path, run)
        assert flaw_of(tmp_path, run.key) is None
    assert (folder / "manifest.json").stat().st_mtime_ns != before
    assert [path.name for path in tmp_path.iterdir()] == [run.key]


def test_a_run_that_must_not_be_committed_is_not(tmp_path, run):
    """`permit` is called before any file is written, and again just before the run is moved to its final place."""
    for refused_at in (1, 2):
        calls = iter(range(1, 10))

        def permit(calls=calls, refused_at=refused_at):
            if next(calls) == refused_at:
                raise RuntimeError("taken over")

        with pytest.raises(RuntimeError, match="taken over"):
            commit(tmp_path, run, permit=permit)
        assert list(tmp_path.iterdir()) == []
