"""Two stores of one study are merged: every run keeps its committed files, and damaged runs are left out."""

from dataclasses import replace

import pytest
from toys import tiny

import byrote
from byrote.store import Entry, Plan, commit, committed, merge
from byrote.store.sealed import read_sealed, write_sealed
from byrote.training import train

EXPERIMENTS = [tiny(seed=seed) for seed in (0, 1, 2)]


@pytest.fixture(scope="module")
def runs():
    return train(EXPERIMENTS)


def plan_of(experiments, **fields):
    entries = tuple(Entry(e.key, f"part {e.seed}", e.spec(), e.contents) for e in experiments)
    return replace(Plan("study", "", {}, (), entries), **fields)


def store(root, runs, plan=None):
    (plan or plan_of(EXPERIMENTS)).write(root)
    for run in runs:
        commit(root, run)
    return root


def contents(root):
    return {
        f"{key}/{file.name}": file.read_bytes() for key in committed(root) for file in sorted((root / key).iterdir())
    }


def test_two_stores_become_one_with_every_run_as_it_was(runs, tmp_path):
    first, second = store(tmp_path / "a", runs[:2]), store(tmp_path / "b", runs[2:])
    assert merge([first, second], tmp_path / "c") == 3
    assert contents(tmp_path / "c") == contents(first) | contents(second)
    assert Plan.read(tmp_path / "c") == Plan.read(first)
    assert byrote.open(tmp_path / "c").results.history.runs == 3


def test_plans_that_differ_in_size_are_joined(runs, tmp_path):
    first = store(tmp_path / "a", runs[:1], plan_of(EXPERIMENTS[:1], imports=("toys",), accepted={"x": ("1",)}))
    second = store(tmp_path / "b", runs[1:], plan_of(EXPERIMENTS[1:], imports=("stored",), accepted={"x": ("2",)}))
    assert merge([first, second], tmp_path / "c") == 3
    plan = Plan.read(tmp_path / "c")
    assert [entry.key for entry in plan.entries] == [e.key for e in EXPERIMENTS]
    assert (plan.imports, plan.accepted) == (("toys", "stored"), {"x": ("1", "2")})


def test_a_run_of_both_is_taken_from_the_first_and_one_that_is_there_stays(runs, tmp_path):
    first, second = store(tmp_path / "a", runs[:2]), store(tmp_path / "b", runs)
    manifest = first / runs[0].key / "manifest.json"
    write_sealed(manifest, read_sealed(manifest)[0] | {"error": "mine"})
    assert merge([first, second], tmp_path / "c") == 3
    assert '"mine"' in (tmp_path / "c" / runs[0].key / "manifest.json").read_text()
    assert merge([second, first], tmp_path / "c") == 0
    assert '"mine"' in (tmp_path / "c" / runs[0].key / "manifest.json").read_text()


@pytest.mark.parametrize("damage", ["flip", "remove", "manifest"])
def test_a_run_that_does_not_verify_is_refused_and_nothing_is_written(damage, runs, tmp_path):
    first, second = store(tmp_path / "a", runs[:1]), store(tmp_path / "b", runs[1:])
    path = second / runs[2].key / ("manifest.json" if damage == "manifest" else "history.parquet")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(b"{" if damage == "manifest" else bytes(content))
    if damage == "remove":
        path.unlink()
    with pytest.raises(ValueError, match=r"history\.parquet is not as byrote wrote it|is missing|is damaged") as caught:
        merge([first, second], tmp_path / "c")
    assert runs[2].key in str(caught.value)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"study": "another"}, "contains study 'another'"),
        ({"scale": "small"}, "at scale 'small'"),
        (None, "not a store"),
    ],
)
def test_stores_of_different_studies_are_refused(other, message, runs, tmp_path):
    first, second = store(tmp_path / "a", runs[:1]), tmp_path / "b"
    if other is None:
        second.mkdir()
    else:
        store(second, runs[1:], plan_of(EXPERIMENTS, **other))
    with pytest.raises(ValueError, match=message):
        merge([first, second], tmp_path / "c")


def test_what_cannot_be_merged_gives_one_sentence(runs, tmp_path):
    first, second = store(tmp_path / "a", runs[:1]), store(tmp_path / "b", runs[1:])
    with pytest.raises(ValueError, match="at least two stores, got 1"):
        merge([first], tmp_path / "c")
    with pytest.raises(ValueError, match="is one of the stores to merge"):
        merge([first, second], tmp_path / "b")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "note.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not a store and not an empty folder"):
        merge([first, second], tmp_path / "c")
