"""Edits of data and code are detected: new contents give new runs, and older runs are used only if accepted."""

import importlib
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import toys

import byrote
from byrote.cli import main
from byrote.identity import file_digest, source_digest
from byrote.losses import Loss
from byrote.store import committed, state_of
from byrote.study import Study
from byrote.sweep import Watcher, run
from byrote.sweep import work as worker

MODULE = '''
"""A user's loss."""

from own_helper import factor

from byrote.losses import Loss


class Mine(Loss):
    """Cross-entropy times a number."""

    def formula(self, z, y):
        return -factor() * z.log_softmax(-1).gather(-1, y[..., None])[..., 0]  # a comment
'''
HELPER = "def factor():\n    return 2.0\n"
STUDY = """
name = "own"
[base]
network = { kind = "mlp", depth = 2, width = 8 }
training = { epochs = 2, batch_size = 8 }
noise = { kind = "uniform", rate = 0.3 }
data = { kind = "arrays", path = "mine.npz" }
[[part]]
name = "grid"
[part.axes]
loss = ["cross_entropy", "own_loss:Mine"]
seed = [0, 1]
"""
RUN = ["run", "own.toml", "--import", "own_loss", "--out", "s"]


def arrays(path, seed):
    rng = np.random.default_rng(seed)
    np.savez(path, images=rng.integers(0, 256, (40, 4, 4), dtype=np.uint8), labels=np.arange(40) % 2)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Make a working folder with a user's study, data and modules; unload the modules afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    paths = [str(tmp_path), os.path.dirname(toys.__file__), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    (tmp_path / "own.toml").write_text(STUDY)
    (tmp_path / "own_loss.py").write_text(MODULE)
    (tmp_path / "own_helper.py").write_text(HELPER)
    arrays(tmp_path / "mine.npz", 0)
    importlib.invalidate_caches()
    yield tmp_path
    for name in ("own_loss", "own_helper"):
        sys.modules.pop(name, None)
        worker._imported.pop(name, None)
    Loss.registry.pop("own_loss:Mine", None)


def command(*arguments, code=0):
    """Run the command in a new process, which has no module loaded yet; return the result."""
    done = subprocess.run([sys.executable, "-m", "byrote", *arguments], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done


def lines(done, text):
    return [line for line in done.stderr.splitlines() if text in line]


def serial(*more, code=0):
    return command(*RUN, "--on", "serial", *more, code=code)


@pytest.fixture
def here(folder, capsys):
    """Run the command in this process, for tests that edit no module."""

    def called(*more, code=0):
        capsys.readouterr()
        assert main([*RUN, "--on", "serial", *more]) == code
        return types.SimpleNamespace(stderr=capsys.readouterr().err)

    return called


def test_replaced_data_make_other_runs_until_the_older_ones_are_accepted(folder, here, capsys):
    here()
    old, first = file_digest("mine.npz"), committed(folder / "s")
    assert len(first) == 4
    assert lines(here(), "4 of 4 runs are already done")
    arrays("mine.npz", 1)
    done = here("--limit", "1")
    (line,) = lines(done, "older version")
    assert (
        line
        == f"4 runs of an older version are in s and do not count (mine.npz {old[:12]}: 4); use --accept to count them"
    )
    assert not lines(done, "are there already")
    assert len(committed(folder / "s")) == 5
    results = byrote.open("s").results
    assert len(results.runs) == 1, "runs of the two versions are not mixed"
    assert not set(results.runs["key"]) & set(first)
    assert results.about["older_versions"] == {f"mine.npz {old[:12]}": 4}
    assert main(["status", "s"]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines()[1].split("\t")[3:6] == ["3", "0", "1"]
    assert line in shown.err
    done = here("--accept", old[:6])
    assert lines(done, "4 of 4 runs are already done")
    assert not lines(done, "older version")
    assert len(committed(folder / "s")) == 5, "no run was trained"
    results = byrote.open("s").results
    assert len(results.runs) == 4
    assert len(set(results.runs["key"]) & set(first)) == 3, "a run of the new version replaces the accepted older run"
    assert results.about["older_versions"] == {}
    assert len(byrote.open("s").analysis.settings) == 1, "accepted and new runs are in the same setting"
    assert lines(here(), "4 of 4 runs are already done"), "the store remembers the accepted versions"
    capsys.readouterr()
    assert main(["status", "s", "--json"]) == 0
    state = json.loads(capsys.readouterr().out)
    assert (state["done"], state["missing"], state["older_versions"]) == (4, 0, {})


@pytest.mark.parametrize("name", [pytest.param("own_loss.py", marks=pytest.mark.long), "own_helper.py"])
def test_edited_code_makes_other_runs_and_edited_comments_do_not(folder, name):
    serial()
    before, old = byrote.open("s").results, source_digest("own_loss")
    path = folder / name
    path.write_text(
        "# a comment\n" + path.read_text().replace("Cross-entropy times", "The cross-entropy times") + "\n\n"
    )
    assert lines(serial(), "4 of 4 runs are already done")
    path.write_text(path.read_text().replace("return -", "return 2 * -").replace("2.0", "4.0"))
    done = serial()
    assert lines(done, "2 of 4 runs are already done"), "runs of the other loss do not depend on the module"
    assert lines(done, f"2 runs of an older version are in s and do not count (own_loss {old[:12]}: 2)")
    after = byrote.open("s").results
    assert len(after.runs) == 4
    for kind, unchanged in (("cross_entropy", True), ("own_loss:Mine", False)):
        (old_keys, old_loss), (new_keys, new_loss) = (_first_losses(results, kind) for results in (before, after))
        assert (old_keys == new_keys) == unchanged
        assert len(set(old_keys) & set(new_keys)) == (2 if unchanged else 0)
        assert new_loss[0] > 1.3 * old_loss[0] or unchanged, "the new code was trained"


def _first_losses(results, kind):
    """Return the training loss in the first epoch for each run of one loss, by key."""
    keys = [key for key, spec in results.specs.items() if spec["loss"]["kind"] == kind]
    return keys, [float(results.history.where(key=key, epoch=1)["train_loss"][0]) for key in keys]


def test_a_digest_that_no_run_has_gives_one_sentence_and_nothing_happens(folder, here):
    here("--limit", "1")
    old = file_digest("mine.npz")
    arrays("mine.npz", 1)
    before = (folder / "s" / "plan.json").read_text()
    done = here("--accept", "abcdef", code=2)
    wanted = f"--accept abcdef matches no older content of the runs in s; known: mine.npz {old[:12]}"
    assert done.stderr == f"byrote: {wanted}\n"
    assert here("--accept", old[:5], code=2).stderr.startswith("byrote: --accept needs at least the first 6 digits")
    assert (folder / "s" / "plan.json").read_text() == before
    assert len(committed(folder / "s")) == 1


def test_a_file_under_another_name_is_the_same_run(folder, here):
    here()
    (folder / "mine.npz").rename(folder / "yours.npz")
    (folder / "own.toml").write_text(STUDY.replace("mine.npz", "yours.npz"))
    done = here()
    assert lines(done, "4 of 4 runs are already done")
    assert state_of(folder / "s")["done"] == 4


class Editor(Watcher):
    """Calls a function after the study is planned and before any training."""

    def __init__(self, edit):
        self._edit = edit

    def begin(self, outcome, todo, experiments):
        self._edit()


@pytest.mark.parametrize("on", ["local", "serial"])
@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (lambda: arrays("mine.npz", 1), "file mine.npz"),
        (lambda: Path("own_helper.py").write_text(HELPER.replace("2.0", "3.0")), "module own_loss"),
    ],
    ids=["data", "code"],
)
def test_what_changes_after_the_plan_is_refused_by_its_name(folder, on, edit, named):
    outcome = run("own.toml", "s", imports=["own_loss"], on=on, workers=1, cohort=1, watcher=Editor(edit))
    refused = f"1 runs: {named} changed after the study was planned; start the same command again"
    count = 0 if named.startswith("file") else 2
    assert outcome.broken == [refused] * (4 - count)
    assert outcome.done == len(committed(folder / "s")) == count
    kinds = {spec["loss"]["kind"] for spec in byrote.open("s").results.specs.values()}
    assert kinds == ({"cross_entropy"} if count else set())


def test_a_process_that_imported_the_older_code_does_not_train_under_the_newer_name(folder):
    settings = {"imports": ["own_loss"], "on": "serial"}
    assert run("own.toml", "s", **settings).done == 4
    (folder / "own_loss.py").write_text(MODULE.replace("-factor()", "-0.5 * factor()"))
    outcome = run("own.toml", "s", **settings)
    assert outcome.broken == [
        "2 runs: module own_loss changed after the study was planned; start the same command again"
    ]
    assert outcome.done == 2
    importlib.reload(sys.modules["own_loss"])
    again = run("own.toml", "s", **settings)
    assert (again.broken, again.done) == ([], 4)


def test_a_component_without_a_source_file_is_refused_before_anything_is_trained(folder, monkeypatch):
    session = types.ModuleType("own_session")
    monkeypatch.setitem(sys.modules, "own_session", session)
    exec(
        "from byrote.losses import Loss\nclass Free(Loss):\n    def formula(self, z, y): return z.sum(-1)",
        vars(session),
    )
    try:
        study = Study.load("own.toml")
        free = study.replace(part=({"name": "free", "base": {"loss": "own_session:Free"}},))
        with pytest.raises(ValueError, match=r"'own_session' has none; write the components to a file") as caught:
            run(free, "s", on="serial")
        assert "\n" not in str(caught.value)
        assert not (folder / "s").exists()
    finally:
        Loss.registry.pop("own_session:Free", None)


def test_runs_of_two_versions_of_the_planners_byrote_are_refused(folder):
    experiment = toys.tiny()
    task = {"root": "s", "device": "cpu", "threads": 1, "weights": False, "imports": [], "name": "t"}
    task |= {"specs": [experiment.spec()], "keys": ["0" * 16], "contents": [experiment.contents]}
    with pytest.raises(ValueError, match=f"run {'0' * 16} of the plan has key {experiment.key} here; use one version"):
        worker.work(task, lambda event: None)
    assert not (folder / "s").exists()
