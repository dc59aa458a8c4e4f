"""Reading single runs, compacted tables, or any mixture of both gives the same results."""

import json
from dataclasses import replace

import numpy as np
import pytest
from toys import tiny

import byrote
from byrote.files import sha256
from byrote.identity import run_key
from byrote.store import Entry, Plan, commit, compact, state_of
from byrote.store.leases import held
from byrote.store.parquet import metadata_of
from byrote.store.plan import older_versions
from byrote.store.sealed import read_sealed
from byrote.store.status import mark_running
from byrote.training import train

EXPERIMENTS = [tiny(seed=s, loss=loss) for s in (0, 1) for loss in ("cross_entropy", "robust_log")]
BIND = ("training.optimizer.lr",)


@pytest.fixture(scope="module")
def runs():
    return train(EXPERIMENTS)


def entry(experiment):
    return Entry(experiment.key, f"part {experiment.seed}", experiment.spec(), experiment.contents, BIND)


@pytest.fixture
def root(tmp_path, runs):
    plan = Plan("study", "", {}, (), tuple(entry(e) for e in EXPERIMENTS))
    plan.write(tmp_path)
    for run in runs:
        commit(tmp_path, run)
    return tmp_path


def test_the_tables_have_every_run_with_its_facts(root, runs):
    results = byrote.open(root).results
    assert len(results.history) == sum(len(run.history["epoch"]) for run in runs)
    assert results.runs["key"].tolist() == [e.key for e in EXPERIMENTS], "runs are in the order of the plan"
    by_key = {row["key"]: row for row in results.runs.rows()}
    for run in runs:
        rows = results.history.where(key=run.key)
        assert set(rows["run"]) == {results.runs["key"].tolist().index(run.key)}
        for name, column in run.history.arrays().items():
            np.testing.assert_array_equal(rows[name], column, err_msg=name)
        row = by_key[run.key]
        assert json.loads(row["spec"]) == run.experiment.spec() == results.specs[run.key]
        assert json.loads(row["contents"]) == run.experiment.contents
        assert json.loads(row["bind"]) == list(BIND)
        assert (row["part"], row["status"], row["error"]) == (f"part {run.experiment.seed}", "done", "")
        assert row["loss"] == run.experiment.loss.label
        assert (row["num_classes"], row["n_train"], row["n_test"], row["feature_width"]) == (2, 80, 80, 2)
        assert row["effective_rate"] == 0.2
        assert row["start_loss"] == ""
    assert np.isnan(results.runs.where(loss="CE")["alpha"]).all()
    assert set(results.runs.where(loss="RLL")["alpha"]) == {0.1}


def test_features_are_a_table_that_is_read_when_it_is_asked_for(root, runs):
    features = byrote.open(root).results.features
    assert set(features["key"]) == {run.key for run in runs}
    one = features.where(key=runs[0].key)
    for name in ("id", "true", "observed", "x", "y"):
        np.testing.assert_array_equal(one[name], runs[0].features[name], err_msg=name)
    results = byrote.open(root).results
    for run in runs:
        (root / run.key / "features.parquet").unlink()
    with pytest.raises(ValueError, match=r"is torn: .*features\.parquet is missing"):
        _ = results.features
    with pytest.raises(ValueError, match=r"is torn: .*features\.parquet is missing"):
        _ = byrote.open(root).results


def test_compacted_results_are_the_same_tables(root, tmp_path):
    whole = byrote.open(root).results
    out = byrote.open(root).compact(tmp_path / "results")
    names = {"table.parquet", "runs.parquet", "features.parquet"}
    assert {p.name for p in out.iterdir()} == {*names, "about.json"}
    alone = byrote.open(out).results
    assert alone.runs == whole.runs
    assert alone.history == whole.history
    assert alone.features == whole.features
    assert alone.about | {"files": {}} == whole.about
    assert alone.about["files"] == {name: sha256(out / name) for name in names}
    for name in names:
        assert {"format": "2", "study": "study"}.items() <= metadata_of(out / name).items()


def test_the_tables_of_one_part_hold_its_runs_alone(root, tmp_path, runs):
    whole = byrote.open(root).results
    part = byrote.open(compact(root, tmp_path / "results", part="part 1")).results
    keys = [e.key for e in EXPERIMENTS if e.seed == 1]
    assert part.runs["key"].tolist() == keys
    assert (part.about["planned"], part.about["part"], part.partial) == (2, "part 1", "")
    assert whole.about["planned"] == 4
    assert 0 < part.about["seconds"] < whole.about["seconds"]
    own = whole.history.where(key=tuple(keys))
    for name in part.history.columns:
        if name != "run":
            np.testing.assert_array_equal(part.history[name], own[name], err_msg=name)
    assert set(part.features["key"].tolist()) == set(keys)


def test_a_part_needs_a_folder_of_its_own_and_a_name_of_the_study(root, tmp_path):
    for out in (None, root):
        with pytest.raises(ValueError, match="needs `out=` with a folder other than"):
            compact(root, out, part="part 1")
    with pytest.raises(ValueError, match=r"without a part 'part 3'; did you mean 'part [01]'\?"):
        compact(root, tmp_path / "results", part="part 3")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("name", ["table.parquet", "runs.parquet", "features.parquet"])
def test_one_bit_of_a_compacted_file_that_flips_gives_one_sentence(root, tmp_path, name):
    path = byrote.open(root).compact(tmp_path / "results") / name
    whole = path.read_bytes()
    for place in (9, len(whole) // 2, len(whole) - 9):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(ValueError, match="is not the file that byrote wrote") as caught:
            _ = byrote.open(path.parent).results.features
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(ValueError, match=r"is missing|neither a store nor a results folder"):
        _ = byrote.open(path.parent).results.features
    path.write_bytes(whole)
    assert len(byrote.open(path.parent).results.features)


def test_what_an_older_byrote_wrote_gives_one_sentence_that_says_what_to_do(root, tmp_path):
    results = byrote.open(root).compact(tmp_path / "results")
    about, is_sealed = read_sealed(results / "about.json")
    assert is_sealed
    for old in ({"format": 1}, {}):
        (results / "about.json").write_text(
            json.dumps({k: v for k, v in about.items() if k not in ("format", "files")} | old, indent=1)
        )
        with pytest.raises(
            ValueError, match="has results of format 1, but this version of byrote reads format 2"
        ) as caught:
            _ = byrote.open(results).results
        assert "\n" not in str(caught.value)
    (results / "about.json").unlink()
    with pytest.raises(ValueError, match=r"about.json is missing or damaged"):
        _ = byrote.open(results).results
    plan = json.loads((root / "plan.json").read_text())
    (root / "plan.json").write_text(json.dumps(plan | {"format": 1}))
    for read in (lambda: byrote.open(root).results, lambda: state_of(root), lambda: Plan.read(root)):
        with pytest.raises(
            ValueError, match="has format 1, but this version of byrote reads format 2; run the study"
        ) as caught:
            read()
        assert "\n" not in str(caught.value)


def test_a_store_compacted_half_way_reads_the_rest_from_the_runs(root, runs):
    whole = byrote.open(root).results
    last = root / runs[-1].key
    moved = root.parent / f"{root.name}-aside"
    last.rename(moved)
    byrote.open(root).compact()
    moved.rename(last)
    mixed = byrote.open(root).results
    assert mixed.runs == whole.runs
    assert mixed.history == whole.history
    assert set(mixed.features["key"]) == set(whole.features["key"])
    assert len(mixed.features) == len(whole.features)
    assert mixed.about["planned"] == whole.about["planned"]
    assert mixed.about["seconds"] == pytest.approx(whole.about["seconds"], abs=0.02)


def test_history_is_a_relation(root):
    history = byrote.open(root).history()
    relation = history.to_duckdb()
    assert relation.filter("loss = 'CE'").aggregate("count(DISTINCT key)").fetchall() == [(2,)]
    assert len(history) == len(byrote.open(root).results.history)


def test_samples_are_read_run_by_run(root, runs):
    samples = byrote.open(root).samples(runs[0].key)
    np.testing.assert_array_equal(samples["observed"], runs[0].samples["observed"])
    with pytest.raises(ValueError, match="keeps no samples"):
        byrote.open(root).samples("0" * 16)


def test_states(root, runs):
    assert {k: state_of(root)[k] for k in ("missing", "running", "done", "failed")} == {
        "missing": 0,
        "running": 0,
        "done": 4,
        "failed": 0,
    }
    for run in runs[:2]:
        (root / run.key).rename(root.parent / f"{root.name}-{run.key}")
    with held(root, "task", [runs[0].key]):
        mark_running(root, [runs[0].key], {"epoch": 1, "epochs": 4})
        state = state_of(root)
        assert (state["missing"], state["running"], state["done"]) == (1, 1, 2)
        assert state["in_hand"][0]["epoch"] == 1
        (root / ".running" / f"{runs[0].key}.json").write_text("{")
        assert state_of(root)["in_hand"][0]["epoch"] == 0, (
            "a leased run counts as in training, whatever its note contains"
        )
    assert state_of(root)["running"] == 0, "a note without a lease does not count as a running task"


def test_a_plan_is_kept_to(root):
    other = Plan("study", "", {}, (), (Entry("0" * 16, "part", {"seed": 9}),))
    with pytest.raises(ValueError, match="made from a different spec"):
        other.write(root)
    (root / "plan.json").write_text("[]")
    with pytest.raises(ValueError, match="does not contain a JSON object"):
        _ = byrote.open(root).results


def test_a_study_that_asks_for_more_keeps_what_is_there(root):
    before = Plan.read(root)
    more = replace(before, entries=(*before.entries, Entry("0" * 16, "part", {"seed": 9})))
    more.write(root)
    assert Plan.read(root) == more
    assert (state_of(root)["missing"], state_of(root)["done"]) == (1, 4)
    with pytest.raises(ValueError, match=r"made from a different spec .* 4 of them among the 4 of this study"):
        before.write(root)
    for other in (replace(more, scale="small"), replace(more, study="another")):
        with pytest.raises(ValueError, match="contains study 'study', not '"):
            other.write(root)
    assert Plan.read(root) == more


def test_what_is_no_store_is_named(tmp_path):
    with pytest.raises(ValueError, match="neither a store nor a results folder"):
        byrote.open(tmp_path / "nothing")
    with pytest.raises(ValueError, match="not a store"):
        state_of(tmp_path)
    (tmp_path / "file.txt").write_text("mine")
    with pytest.raises(ValueError, match="not an empty folder"):
        Plan("s", "", {}, (), ()).write(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]


def renamed(experiment, digest):
    """Return the plan entry of an experiment after the contents of its module changed."""
    contents = {"module:toys": digest}
    return replace(entry(experiment), key=run_key(experiment.spec(), contents), contents=contents)


def test_runs_of_an_older_version_do_not_count_until_they_are_accepted(root, runs):
    old = EXPERIMENTS[0].contents["module:toys"]
    plan = replace(Plan.read(root), entries=tuple(renamed(e, "f" * 16) for e in EXPERIMENTS))
    plan.write(root)
    everything = {f"toys {old[:12]}": tuple(sorted(run.key for run in runs))}
    assert older_versions(root, plan) == everything
    state = state_of(root)
    assert (state["done"], state["missing"], state["older_versions"]) == (0, 4, {f"toys {old[:12]}": 4})
    results = byrote.open(root).results
    assert (len(results.runs), len(results.history)) == (0, 0)
    assert results.about["older_versions"] == {f"toys {old[:12]}": 4}
    accepted = plan.accepting(root, [old[:6]])
    assert accepted.accepted == {"module:toys": (old,)}
    assert Plan.read(root).accepted == {}, "accepting changes no file until the plan is written"
    accepted.write(root)
    assert plan.accepting(root).accepted == accepted.accepted, "a store remembers the accepted versions"
    assert plan.accepting(root, [old[:8]]).accepted == accepted.accepted, (
        "accepting the same version again is not an error"
    )
    assert older_versions(root, accepted) == {}
    state = state_of(root)
    assert (state["done"], state["missing"], state["older_versions"]) == (4, 0, {})
    results = byrote.open(root).results
    assert results.runs["key"].tolist() == [e.key for e in EXPERIMENTS], "accepted runs keep their keys"
    assert {json.loads(text)["module:toys"] for text in results.runs["contents"]} == {"f" * 16}, (
        "accepted runs are shown with the present version"
    )
    assert len(results.history) == sum(len(run.history["epoch"]) for run in runs)
    assert results.about["accepted"] == {"module:toys": [old]}


def test_of_an_accepted_run_and_a_new_one_the_new_one_counts(root, runs):
    old = EXPERIMENTS[0].contents["module:toys"]
    plan = Plan.read(root)
    new = replace(plan, entries=tuple(renamed(e, "f" * 16) for e in EXPERIMENTS)).accepting(root, [old])
    assert new.present([run.key for run in runs]) == {
        e.key: one.key for e, one in zip(new.entries, plan.entries, strict=True)
    }
    first = new.entries[0].key
    assert new.present([first, *(run.key for run in runs)])[first] == first


@pytest.mark.parametrize(
    ("digits", "sentence"),
    [
        ("abcdef", r"`accept=\[\'abcdef\'\]` matches no older content of the runs in .*; known: toys {old}$"),
        ("abc", r"`accept=` needs at least the first 6 digits of a digest, got 'abc'"),
    ],
)
def test_an_accepted_digest_that_no_run_has_gives_one_sentence(root, digits, sentence):
    old = EXPERIMENTS[0].contents["module:toys"]
    plan = replace(Plan.read(root), entries=tuple(renamed(e, "f" * 16) for e in EXPERIMENTS))
    with pytest.raises(ValueError, match=sentence.format(old=old[:12])):
        plan.accepting(root, [digits])


def test_digits_that_begin_several_contents_are_refused_and_all_are_named(root, runs):
    plan = replace(
        Plan.read(root),
        entries=tuple(renamed(e, "f" * 16) for e in EXPERIMENTS),
        accepted={"module:toys": ("abcdef0000000000", "abcdef1111111111")},
    )
    plan.write(root)
    with pytest.raises(
        ValueError, match=r"several contents \(toys abcdef000000, toys abcdef111111\); give more digits"
    ):
        plan.accepting(root, ["abcdef"])
    assert plan.accepting(root, ["abcdef1"]).accepted == plan.accepted


def test_a_store_without_older_versions_accepts_nothing(root):
    with pytest.raises(ValueError, match="known: none"):
        Plan.read(root).accepting(root, ["abcdef"])


def test_tables_that_are_shared_do_not_name_the_home_folder(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    np.savez(home / "mine.npz", images=np.arange(640, dtype=np.uint8).reshape(40, 4, 4), labels=np.arange(40) % 2)
    experiment = tiny(data={"kind": "arrays", "path": str(home / "mine.npz")}, noise="clean")
    Plan("study", "", {}, (), (entry(experiment),)).write(tmp_path / "s")
    (run,) = train([experiment])
    commit(tmp_path / "s", run)
    beside = byrote.open(byrote.open(tmp_path / "s").compact(tmp_path / "plain")).results
    assert str(home) in beside.runs["spec"][0]
    monkeypatch.setenv("HOME", str(home))
    shared = byrote.open(byrote.open(tmp_path / "s").compact(tmp_path / "results")).results
    spec, contents = (json.loads(shared.runs[name][0]) for name in ("spec", "contents"))
    assert spec["data"]["path"] == "~/mine.npz"
    assert str(home) not in shared.runs["contents"][0]
    assert run_key(spec, contents) == experiment.key, "the key of the run does not change"
    monkeypatch.setenv("HOME", str(home)[:-1])  # a folder whose path is a prefix of the old path
    again = byrote.open(byrote.open(tmp_path / "s").compact(tmp_path / "again")).results
    assert str(home) in again.runs["spec"][0]
