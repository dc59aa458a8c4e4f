"""No command accepts facts of a run that were altered along with all checksums, and none loads torch needlessly."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from toys import tiny

import byrote
from byrote import data, losses
from byrote.cli import main
from byrote.files import sha256
from byrote.store import Entry, Plan, commit, facts, state_of
from byrote.store.facts import Facts
from byrote.store.parquet import read_parquet, write_parquet
from byrote.store.runs import DamagedRunError
from byrote.store.sealed import read_sealed, write_sealed
from byrote.store.verify import verify
from byrote.training import train

EMBEDDED = data.FashionMNISTSubset(classes=(0, 1), per_class=8, test_per_class=4)
EXPERIMENTS = [tiny(seed=s).replace(data=EMBEDDED, loss=losses.LabelSmoothing(0.1)) for s in range(2)]
A, B = (e.key for e in EXPERIMENTS)
ALTERED = {
    "effective_rate": (0.9, "0.9 instead of 0.2"),
    "loss": ("RLL", "RLL instead of LS"),
    "alpha": (0.3, "0.3 instead of 0.1"),
    "num_classes": (10, "10 instead of 2"),
    "start_loss": ("CE", "CE instead of "),
}


@pytest.fixture(scope="module")
def runs():
    return train(EXPERIMENTS)


@pytest.fixture
def root(tmp_path, runs, monkeypatch):
    monkeypatch.setattr(facts, "cache_folder", lambda: tmp_path / "cache")
    root = tmp_path / "store"
    root.mkdir()
    Plan("study", "", {}, (), tuple(Entry(e.key, "part", e.spec(), e.contents) for e in EXPERIMENTS)).write(root)
    for run in runs:
        commit(root, run)
    return root


def alter(root, **changed):
    """Replace facts of a run, and write matching checksums."""
    path = root / A / "manifest.json"
    manifest = read_sealed(path)[0]
    write_sealed(path, manifest | {"facts": manifest["facts"] | changed})


@pytest.mark.parametrize("name", ALTERED)
def test_a_reader_refuses_a_fact_that_the_spec_does_not_give(root, name):
    value, words = ALTERED[name]
    assert len(byrote.open(root).results.runs) == 2
    alter(root, **{name: value})
    with pytest.raises(DamagedRunError, match=f"run {A} is altered: .*has facts that contradict its spec") as error:
        _ = byrote.open(root).results
    assert f"({name}: {words})" in str(error.value)


COMMANDS = ["claims", "report", "figures", "compact", "show", "export", "compare", "list claims"]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("what", ["manifest", "plan"])
def test_no_command_takes_altered_facts(root, command, what, tmp_path, capsys):
    if what == "manifest":
        alter(root, effective_rate=0.9)
    else:  # with this noise rate, the claims would use the runs
        plan = Plan.read(root)
        spec = plan.entries[0].spec | {"noise": {"kind": "uniform", "rate": 0.9}}
        write_sealed(root / "plan.json", replace(plan, entries=(replace(plan.entries[0], spec=spec),))._sealed())
        alter(root, effective_rate=0.9)
    more = {"export": ["--to", "csv"], "compare": [str(root)]}.get(command, [])
    assert main([*command.split(), str(root), *more]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    places = {"manifest": root / A / "manifest.json", "plan": root / "plan.json"}
    assert f"{places[what]} {'has facts' if what == 'manifest' else 'is not as byrote'}" in line
    assert "same `byrote run` command" in line
    assert {path.name for path in root.iterdir()} == {A, B, "plan.json"}


@pytest.mark.parametrize("command", ["claims", "report", "verify"])
@pytest.mark.parametrize("planned", [True, False])
def test_compacted_facts_are_compared_with_their_specs(root, command, planned, capsys):
    assert main(["compact", str(root)]) == 0
    if not planned:
        (root / "plan.json").unlink()
    columns = read_parquet(root / "runs.parquet")
    columns["effective_rate"][1] = 0.9
    write_parquet(root / "runs.parquet", columns)
    about = read_sealed(root / "about.json")[0]
    about["files"]["runs.parquet"] = sha256(root / "runs.parquet")
    write_sealed(root / "about.json", about)
    capsys.readouterr()
    assert main([command, str(root)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"runs.parquet has facts of run {B} that contradict its spec (effective_rate: 0.9 instead of 0.2)" in line


def test_verify_notices_an_altered_plan_and_a_run_writes_it_anew(root):
    plan = Plan.read(root)
    spec = plan.entries[0].spec | {"seed": 7}
    write_sealed(
        root / "plan.json", replace(plan, entries=(replace(plan.entries[0], spec=spec), plan.entries[1]))._sealed()
    )
    with pytest.raises(ValueError, match=f"the spec of run {A} differs"):
        verify(root)
    plan.write(root)
    assert verify(root).flaws == ()


def test_status_counts_such_a_run_as_damaged_where_the_facts_are_known(root):
    alter(root, effective_rate=0.9)
    assert state_of(root)["done"] == 2, "status computes no facts, and no facts are cached yet"
    Facts().learn(Plan.read(root).entries)
    state = state_of(root)
    assert (state["done"], state["damaged"]) == (1, 1)
    assert [one["key"] for one in state["damages"]] == [A]


def test_known_facts_are_read_without_torch(root, tmp_path):
    code = (
        "import sys; from pathlib import Path; from byrote.store import facts; from byrote.cli import main;"
        "facts.cache_folder = lambda: Path(sys.argv[2]); code = main(['show', sys.argv[1], '--json']);"
        "print(code, 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(root), str(tmp_path / "cache")]
    loaded = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-2:] for _ in range(2)]
    assert loaded == [["0", "True"], ["0", "False"]]
    alter(root, effective_rate=0.9)
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-2:] == ["2", "False"]


def test_facts_are_computed_anew_by_another_byrote(root, monkeypatch, tmp_path):
    Facts().learn(Plan.read(root).entries)
    path = tmp_path / "cache" / "facts.json"
    stored = read_sealed(path)[0]
    wrong = {name: {**given, "effective_rate": 0.9} for name, given in stored["facts"].items()}
    write_sealed(path, {**stored, "facts": wrong})
    assert Facts().of(EXPERIMENTS[0].spec(), {})["effective_rate"] == 0.9
    monkeypatch.setattr(facts, "_code", lambda: "another")
    assert Facts().of(EXPERIMENTS[0].spec(), {})["effective_rate"] == pytest.approx(0.2)
    path.write_text(json.dumps(stored)[:-9])
    assert Facts().of(EXPERIMENTS[0].spec(), {})["effective_rate"] == pytest.approx(0.2)


def test_a_reader_imports_no_module_of_the_users(tmp_path, monkeypatch):
    monkeypatch.setattr(facts, "cache_folder", lambda: tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "planted.py").write_text("from pathlib import Path\nPath(__file__).with_name('ran').touch()\n")
    spec = EXPERIMENTS[0].spec() | {"loss": {"kind": "planted:Loss"}}
    assert Facts().of(spec, {"module:planted": "0" * 64}) is None
    assert not (tmp_path / "ran").exists()


def test_only_run_and_verify_read_a_file_for_it(tmp_path, monkeypatch):
    monkeypatch.setattr(facts, "cache_folder", lambda: tmp_path)
    path = tmp_path / "mine.npz"
    np.savez(path, images=np.zeros((90, 4, 4), np.uint8), labels=np.arange(90) % 3)
    experiment = EXPERIMENTS[0].replace(data=data.Arrays(path=str(path)))
    about = experiment.spec(), experiment.contents
    assert Facts().of(*about) is None
    known = Facts(own=True)
    assert known.of(*about)["num_classes"] == 3
    known.keep()
    assert Facts().of(*about)["num_classes"] == 3
    np.savez(path, images=np.zeros((90, 4, 4), np.uint8), labels=np.arange(90) % 9)
    other = experiment.replace(seed=5)
    (tmp_path / "facts.json").unlink()
    assert Facts(own=True).of(other.spec(), about[1]) is None, "the content of the file has changed"


def test_the_tab_key_computes_no_facts(root):
    from types import SimpleNamespace

    from byrote.cli.completion import run_keys

    context = {"folder": SimpleNamespace(raw=str(root))}
    assert set(run_keys(context)) == {A, B}
    assert not (root.parent / "cache" / "facts.json").exists()
