"""A damaged run is reported by key, refused by every reader, and trained again by the same command."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toys import tiny

import byrote
from byrote.cli import main
from byrote.files import sha256
from byrote.files.process import signed, this_process
from byrote.store import Entry, Plan, commit, committed, state_of
from byrote.store import verified as memory
from byrote.store.prune import prune
from byrote.store.sealed import read_sealed, write_sealed
from byrote.store.verify import verify
from byrote.training import train

EXPERIMENTS = [tiny(seed=s) for s in range(3)]


@pytest.fixture(scope="module")
def runs():
    return train(EXPERIMENTS, keep_weights=True)


@pytest.fixture
def root(tmp_path, runs):
    root = tmp_path / "store"
    root.mkdir()
    Plan("study", "", {}, (), tuple(Entry(e.key, "part", e.spec(), e.contents) for e in EXPERIMENTS)).write(root)
    for run in runs:
        commit(root, run)
    return root


def flip(path, place=0.5):
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 16
    path.write_bytes(content)


def swap(one, other):
    one_content, other_content = one.read_bytes(), other.read_bytes()
    one.write_bytes(other_content)
    other.write_bytes(one_content)


def resealed(root, key, **changes):
    """Return a forged manifest with a valid checksum of itself."""
    path = root / key / "manifest.json"
    manifest = read_sealed(path)[0]
    write_sealed(path, manifest | changes)


A, B, C = (e.key for e in EXPERIMENTS)
MINI = Path(__file__).parent.parent / "sweep" / "mini.toml"
DAMAGES = {
    "flipped": (lambda r: flip(r / A / "samples.parquet"), "altered", "samples.parquet"),
    "flipped manifest": (lambda r: flip(r / A / "manifest.json"), "altered", "manifest.json"),
    "cut": (lambda r: (r / A / "history.parquet").write_bytes(b"PAR1"), "torn", "history.parquet"),
    "deleted": (lambda r: (r / A / "features.parquet").unlink(), "torn", "features.parquet"),
    "no manifest": (lambda r: (r / A / "manifest.json").unlink(), "torn", "manifest.json"),
    "swapped": (lambda r: swap(r / A / "history.parquet", r / B / "history.parquet"), "swapped", "history.parquet"),
    "swapped manifest": (lambda r: swap(r / A / "manifest.json", r / B / "manifest.json"), "swapped", "manifest.json"),
    "swapped folder": (lambda r: shutil.copytree(r / B, r / A, dirs_exist_ok=True), "swapped", "manifest.json"),
    "gone": (lambda r: shutil.rmtree(r / A), "missing", ""),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_wrong_is_named_and_made_again(root, name, runs, capsys):
    whole = byrote.open(root).results
    assert verify(root).flaws == ()
    damage, kind, file = DAMAGES[name]
    damage(root)
    verification = verify(root)
    flaw = next(flaw for flaw in verification.flaws if flaw.key == A)
    assert (flaw.kind, flaw.file) == (kind, file)
    assert verification.whole == 3 - len(verification.flaws)
    assert "\n" not in flaw.sentence(root)
    assert main(["verify", str(root), "--json"]) == 1
    listed = json.loads(capsys.readouterr().out)["flaws"]
    assert [one["key"] for one in listed] == [one.key for one in verification.flaws]
    # an absent run is not an error, and these commands do not read samples
    if name not in ("no manifest", "gone", "flipped"):
        for command in ("claims", "report", "compact", "figures"):
            assert main([command, str(root)]) == 2, command
            assert f"run {A} is {kind}: {root / A / file}" in capsys.readouterr().err
    for run in runs:
        commit(root, run)
    assert verify(root).flaws == ()
    assert main(["verify", str(root)]) == 0
    assert byrote.open(root).results.history == whole.history
    assert {path.name for path in root.iterdir()} <= {A, B, C, "plan.json", "claims", ".running"}


def test_a_file_of_another_run_under_a_right_checksum_is_named(root):
    shutil.copy(root / B / "history.parquet", root / A / "history.parquet")
    manifest = read_sealed(root / A / "manifest.json")[0]
    resealed(root, A, files=manifest["files"] | {"history.parquet": sha256(root / A / "history.parquet")})
    (flaw,) = verify(root).flaws
    assert (flaw.key, flaw.kind, flaw.words) == (A, "swapped", f"belongs to run {B}")


def test_facts_that_the_spec_does_not_give_are_named(root):
    facts = read_sealed(root / A / "manifest.json")[0]["facts"]
    resealed(root, A, facts=facts | {"effective_rate": 0.9, "loss": "RLL"})
    (flaw,) = verify(root).flaws
    assert (flaw.kind, flaw.file) == ("altered", "manifest.json")
    assert (
        flaw.words == "has facts that contradict its spec (effective_rate: 0.9 instead of 0.2, loss: RLL instead of CE)"
    )


def test_the_command_makes_again_what_has_wrong_facts_or_files_of_another_run(tmp_path):
    root = tmp_path / "out"
    whole = byrote.run(MINI, root, imports=["toys"], on="serial")
    first, second, *_ = committed(root)
    resealed(root, first, facts=read_sealed(root / first / "manifest.json")[0]["facts"] | {"effective_rate": 0.9})
    shutil.copy(root / first / "samples.parquet", root / second / "samples.parquet")
    files = read_sealed(root / second / "manifest.json")[0]["files"]
    sums = files | {"samples.parquet": sha256(root / second / "samples.parquet")}
    resealed(root, second, files=sums)
    assert {flaw.key for flaw in verify(root).flaws} == {first, second}
    again = byrote.run(MINI, root, imports=["toys"], on="serial")
    assert again.reported == {first, second}
    assert (again.done, again.done_before) == (8, 6)
    assert verify(root).flaws == ()
    assert byrote.run(MINI, root, imports=["toys"], on="serial").reported == set()
    assert whole.done == 8


def test_verify_forgets_what_was_remembered_of_files_that_changed_unseen(root, monkeypatch):
    monkeypatch.setattr(memory, "_SETTLED", -1.0)
    monkeypatch.setattr(memory, "_WORTH", 1)
    path = root / A / "samples.parquet"
    state, keys = path.stat(), committed(root)
    unchanged = {key: {p.name: [0, 0, p.stat().st_size, 0] for p in (root / key).iterdir()} for key in keys}
    monkeypatch.setattr(memory._Memory, "_stamps", lambda self, key, names: unchanged[key])
    assert set(memory.whole_runs(root, keys)[0]) == set(keys)
    flip(path)
    assert path.stat().st_size == state.st_size
    assert memory.whole_runs(root, keys)[1] == {}
    assert {flaw.key for flaw in verify(root).flaws} == {A}
    assert set(memory.whole_runs(root, keys)[1]) == {A}


def test_samples_and_weights_are_verified_when_they_are_read(root):
    store = byrote.open(root)
    assert len(store.samples(A))
    assert store.model(A)
    for name, read in (("samples.parquet", store.samples), ("weights.safetensors", store.model)):
        flip(root / A / name)
        assert len(byrote.open(root).results.history), "tables that do not need the damaged file can be read"
        with pytest.raises(ValueError, match=rf"run {A} is altered: .*{name} is not as byrote wrote it"):
            read(A)


def test_status_counts_what_is_damaged_apart(root, capsys):
    flip(root / A / "manifest.json")
    state = state_of(root)
    assert (state["done"], state["damaged"], state["missing"]) == (2, 1, 0)
    assert main(["status", str(root)]) == 0
    assert f"run {A} is altered" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["plan.json", "unavailable.json"])
def test_a_damaged_file_of_the_store_gives_one_sentence(root, name, capsys):
    if name == "unavailable.json":
        write_sealed(root / name, {A: "no data"})
    whole = (root / name).read_bytes()
    for place in np.linspace(0, 1, 12):
        flip(root / name, place)
        for command in ("status", "claims", "verify"):
            assert main([command, str(root)]) == 2, (place, command)
            (line,) = capsys.readouterr().err.strip().splitlines()
            assert str(root / name) in line
        (root / name).write_bytes(whole)
    assert verify(root).flaws == ()


def test_a_foreign_run_is_named_and_pruned_on_request(root):
    (other,) = train([tiny(seed=9)])
    commit(root, other)
    (flaw,) = verify(root).flaws
    assert (flaw.key, flaw.kind) == (other.key, "foreign")
    assert "`byrote prune` with `foreign=` removes it" in flaw.sentence(root)
    assert prune(root) == []
    assert prune(root, foreign=True, dry_run=True) == [root / other.key]
    assert committed(root) == sorted([A, B, C, other.key])
    assert prune(root, foreign=True) == [root / other.key]
    assert committed(root) == sorted([A, B, C])


def test_prune_leaves_what_living_processes_work_on(root):
    dead = str(replace(this_process(), started=7)) + "-" + "0" * 12
    elsewhere = str(replace(this_process(), system="0" * 12)) + "-" + "0" * 12
    running = root / ".running"
    running.mkdir(exist_ok=True)
    for owner in (dead, elsewhere, signed()):
        (root / f".draft-{A}-{owner}").mkdir()
        (running / f".plan.{owner}.tmp.json").touch()
        (running / f"{owner}.lease").mkdir()
        (running / f"{owner}.lease" / "1").write_text(json.dumps({"owner": owner, "seconds": 60}))
    for name, keys in (("done", [A, B]), ("not", [A, "f" * 16])):
        (running / f"{name}.checkpoint").write_text("0\n" + json.dumps({"keys": keys}) + "\n")
    (running / f"{A}.json").write_text("{}")
    names = {f".draft-{A}-{dead}", f".plan.{dead}.tmp.json", f"{dead}.lease", "done.checkpoint", f"{A}.json"}
    assert {path.name for path in prune(root, dry_run=True)} == names
    assert {path.name for path in prune(root)} == names
    assert prune(root) == []
    assert (root / f".draft-{A}-{signed()}").parent.exists()


def test_a_whole_run_is_looked_at_and_not_read_again(root, monkeypatch):
    monkeypatch.setattr(memory, "_SETTLED", -1.0)
    monkeypatch.setattr(memory, "_WORTH", 1)
    read = []
    original = memory.check_file
    monkeypatch.setattr(memory, "check_file", lambda *arguments: (read.append(arguments[2]), original(*arguments)))
    keys = committed(root)
    assert len(memory.whole_runs(root, keys)[0]) == 3
    first = len(read)
    assert first == 3 * 5
    assert memory.whole_runs(root, keys)[0].keys() == set(keys)
    assert len(read) == first, "no file is read again"
    flip(root / A / "samples.parquet")
    assert set(memory.whole_runs(root, keys)[1]) == {A}
    assert set(memory.whole_runs(root, keys, ())[1]) == set(), "these runs are not verified"
    flip(root / A / "samples.parquet")
    assert memory.whole_runs(root, keys)[1] == {}
    flip(root / ".verified.json")
    assert memory.whole_runs(root, keys)[1] == {}, "a damaged cache of verified runs is rebuilt"


def test_a_store_of_before_there_were_seals_opens(root):
    whole = byrote.open(root).results
    for path in (root / "plan.json", *root.glob("*/spec.json"), *root.glob("*/manifest.json")):
        value = read_sealed(path)[0]
        if path.name == "manifest.json":
            del value["sizes"]
            value["files"]["spec.json"] = sha256(path.parent / "spec.json")
        path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")
    assert verify(root).flaws == ()
    assert byrote.open(root).results.history == whole.history
    value = json.loads((root / "plan.json").read_text())
    value["entries"][0]["spec"]["seed"] = 7
    (root / "plan.json").write_text(json.dumps(value, indent=1))
    with pytest.raises(ValueError, match=r"is not as byrote wrote it \(the spec of run \w{16} differs\)"):
        Plan.read(root)
