"""Sweeps give the same table with any executor, train only missing runs, and lose nothing if a worker is killed."""

import os
import re
import signal
from pathlib import Path

import pytest
from toys import Blobs

import byrote
from byrote.store import Plan, committed, state_of
from byrote.study import Study
from byrote.sweep import Stop, Watcher, run
from byrote.sweep.executors import Local, Setting
from byrote.sweep.plan import plan_study, tasks

MINI = Path(__file__).with_name("mini.toml")


@pytest.fixture(scope="module", autouse=True)
def importable():
    """Let worker processes import the components defined in these tests."""
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(MINI.parent.parent), before])
    yield
    os.environ["PYTHONPATH"] = before


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    return run(MINI, tmp_path_factory.mktemp("serial"), imports=["toys"], on="serial")


def files(root):
    return {
        f"{folder.name}/{file.name}": file.read_bytes()
        for folder in root.iterdir()
        if folder.is_dir() and not folder.name.startswith(".") and folder.name != "log"
        for file in folder.iterdir()
        if file.name != "manifest.json"
    }


def test_serial_does_the_whole_grid(serial):
    assert serial.planned == serial.done == 8
    assert not serial.broken
    assert not serial.failed
    assert state_of(serial.root)["done"] == 8
    assert serial.store.results.history.runs == 8
    assert list((serial.root / ".running").glob("*.json")) == []


def test_local_workers_and_cohorts_give_the_same_bits(serial, tmp_path):
    outcome = run(MINI, tmp_path / "out", imports=["toys"], workers=2, cohort=3)
    assert files(outcome.root) == files(serial.root)
    assert outcome.store.results.history == serial.store.results.history


def test_a_sweep_does_only_what_is_missing(serial, tmp_path):
    some = run(MINI, tmp_path / "out", imports=["toys"], on="serial", limit=3)
    assert (some.done, some.done_before) == (3, 0)
    stamps = {key: (some.root / key).stat().st_mtime_ns for key in committed(some.root)}
    rest = run(MINI, tmp_path / "out", imports=["toys"], on="serial")
    assert (rest.done, rest.done_before) == (8, 3)
    assert all((rest.root / key).stat().st_mtime_ns == stamp for key, stamp in stamps.items())
    assert files(rest.root) == files(serial.root)
    again = run(MINI, tmp_path / "out", imports=["toys"], on="serial")
    assert again.done_before == again.done == 8


@pytest.mark.parametrize("on", ["local", "serial"])
def test_a_sweep_stops_when_its_time_is_over_and_goes_on_to_the_same_bits(on, serial, tmp_path):
    first = run(MINI, tmp_path / "out", imports=["toys"], on=on, workers=1, cohort=2, stop=Stop(1e-5))
    assert first.stopped
    assert first.done == len(committed(first.root)) < 8
    rest = run(MINI, tmp_path / "out", imports=["toys"], on=on, workers=1, cohort=2, stop=Stop(3600))
    assert (rest.done, rest.stopped) == (8, "")
    assert rest.done_before == first.done
    assert files(rest.root) == files(serial.root)


def test_a_killed_worker_costs_the_task_in_hand_and_it_is_done_again(serial, tmp_path):
    plan, experiments = plan_study(Study.load(MINI), imports=["toys"])
    plan.write(tmp_path)
    todo = tasks(plan, experiments, (), {Blobs().digest(): (80, 1, 4, 4)}, cohort=1)
    kinds, killed = [], []

    def note(event):
        kinds.append(event.kind)
        if event.kind == "epoch" and not killed and len(committed(tmp_path)) == 2:
            killed.append(event.task.keys)
            _kill_workers()

    executor = Local(Setting(str(tmp_path), imports=("toys",)), lambda: False, workers=1)
    for task in todo:
        executor.submit(task)
    executor.wait(note)
    assert killed
    assert kinds.count("lost") == 1
    assert kinds.count("run") == 8
    assert files(tmp_path) == files(serial.root)


def _kill_workers():
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _is_ours(entry):
            os.kill(int(entry.name), signal.SIGKILL)


def _is_ours(entry):
    try:
        command = (entry / "cmdline").read_bytes()
        parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return False
    return b"byrote.sweep.worker" in command and parent == os.getpid()


@pytest.mark.long
def test_a_task_whose_worker_always_dies_is_said_and_the_rest_goes_on(tmp_path, serial):
    study = Study.load(MINI)
    deadly = study.replace(part=(study.part[0], {"name": "deadly", "base": {"loss": "toys:Deadly", "seed": 9}}))
    outcome = run(deadly, tmp_path / "out", imports=["toys"], workers=2)
    assert outcome.done == 8
    assert outcome.planned == 9
    assert outcome.broken == ["1 runs: their worker died twice (exit code 7)"]
    assert state_of(outcome.root)["missing"] == 1


def test_a_task_that_raises_is_said_and_the_rest_goes_on(tmp_path):
    study = Study.load(MINI)
    broken = study.replace(part=(study.part[0], {"name": "broken", "base": {"loss": "toys:Broken", "seed": 9}}))
    outcome = run(broken, tmp_path / "out", imports=["toys"], on="serial")
    assert outcome.done == 8
    assert outcome.broken == []
    ((key, error),) = outcome.raised.items()
    assert key in {entry.key for entry in Plan.read(outcome.root).entries if entry.part == "broken"}
    assert re.fullmatch(r"RuntimeError: this loss is broken \(toys.py, line \d+, in formula\)", error)


@pytest.mark.parametrize("on", ["serial", "local"])
def test_a_run_that_raises_costs_itself_and_its_traceback_is_logged_once(tmp_path, serial, on, caplog):
    """Runs in the same cohort as a run that raises give the same bits as in a sweep without it."""
    study = Study.load(MINI)
    axes = study.part[0].axes | {"loss": ["cross_entropy", "robust_log", "toys:Broken"]}
    mixed = study.replace(part=(study.part[0].replace(axes=axes),))
    outcome = run(mixed, tmp_path / "out", imports=["toys"], on=on, workers=1, cohort=12)
    assert (outcome.planned, outcome.done, len(outcome.raised)) == (12, 8, 4)
    assert files(outcome.root) == files(serial.root)
    assert state_of(outcome.root)["missing"] == 4
    assert not list((outcome.root / ".running").iterdir())
    traces = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(traces) == 1
    first = next(iter(outcome.raised))
    assert traces[0].startswith(f"run {first} raised an exception\nTraceback (most recent call last):\n")
    assert 'raise RuntimeError("this loss is broken")' in traces[0]
    frames = [line for line in traces[0].splitlines() if line.startswith('  File "')]
    assert frames
    assert all('toys.py"' in line for line in frames), "the traceback shows only frames of the user's own code"


def test_a_loss_that_exits_costs_its_run_and_not_the_process(tmp_path):
    study = Study.load(MINI)
    leaving = study.replace(part=(study.part[0], {"name": "exit", "base": {"loss": "toys:Leaving", "seed": 9}}))
    outcome = run(leaving, tmp_path / "out", imports=["toys"], on="serial")
    assert outcome.done == 8
    assert [error.split(" (")[0] for error in outcome.raised.values()] == ["SystemExit: 5"]


def test_a_data_set_that_raises_spares_the_runs_of_others(tmp_path, caplog):
    study = Study.load(MINI)
    bad = study.replace(part=(study.part[0], {"name": "bad", "base": {"data": "toys:Unreadable", "seed": 9}}))
    outcome = run(bad, tmp_path / "out", imports=["toys"], on="serial")
    assert (outcome.planned, outcome.done) == (9, 8)
    assert [error.split(" (")[0] for error in outcome.raised.values()] == ["KeyError: 'pixels'"]
    assert sum("KeyError: 'pixels'" in record.getMessage() for record in caplog.records) == 1


def test_a_data_set_that_raises_in_every_run_is_an_error_and_nothing_is_written(tmp_path):
    with pytest.raises(RuntimeError, match=r"raised KeyError: 'pixels' \(toys.py, line \d+, in decode\)"):
        run(MINI, tmp_path / "out", imports=["toys"], on="serial", overrides={"data": "toys:Unreadable"})
    assert not (tmp_path / "out").exists()


def test_weights_of_runs_that_are_done_are_counted_as_missing(tmp_path):
    run(MINI, tmp_path / "out", imports=["toys"], on="serial", limit=3)
    again = run(MINI, tmp_path / "out", imports=["toys"], on="serial", limit=2, keep_weights=True)
    assert (again.done, again.without_weights) == (5, 3)
    assert len(list(again.root.glob("*/weights.safetensors"))) == 2
    assert run(MINI, tmp_path / "out", imports=["toys"], on="serial", limit=1).without_weights == 0


def test_a_store_remembers_the_modules_and_the_file_of_its_study(tmp_path):
    run(MINI, tmp_path / "out", imports=["toys"], on="serial", limit=1)
    plan = Plan.read(tmp_path / "out")
    assert (plan.imports, plan.file) == (("toys",), str(MINI))
    run(MINI, tmp_path / "out", imports=["stored"], on="serial", limit=1)
    assert Plan.read(tmp_path / "out").imports == ("toys", "stored")


def test_a_diverging_run_is_kept_as_failed_and_not_tried_again(tmp_path):
    over = {"loss": "toys:Explosive", "noise.rate": 0.1}
    outcome = run(MINI, tmp_path / "out", imports=["toys"], on="serial", overrides=over)
    assert outcome.done == 2
    assert len(outcome.failed) == 2
    assert all("diverged in epoch 1" in error for error in outcome.failed.values())
    assert state_of(outcome.root)["failed"] == 2
    assert run(MINI, outcome.root, imports=["toys"], on="serial", overrides=over).done_before == 2


def test_a_watcher_hears_everything(tmp_path):
    class Notes(Watcher):
        def __init__(self):
            self.notes = []

        def begin(self, outcome, todo, experiments):
            self.notes.append(("begin", len(todo)))

        def event(self, event, outcome):
            self.notes.append((event.kind, outcome.done))

        def end(self, outcome):
            self.notes.append(("end", outcome.done))

    notes = Notes()
    run(MINI, tmp_path / "out", imports=["toys"], on="serial", limit=1, watcher=notes)
    assert notes.notes == [("begin", 1)] + [("epoch", 0)] * 4 + [("run", 1), ("done", 1), ("end", 1)]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"workers": 0}, "`workers=` must be at least 1"),
        ({"limit": 0}, "`limit=` must be at least 1"),
        ({"on": "moon"}, "local, ray or serial"),
        ({"device": "abacus"}, "cannot be used"),
        ({"scale": "huge"}, "no scale 'huge'"),
        ({"overrides": {"data.poisoned": True}}, "images must be finite"),
        ({"overrides": {"data.classes": [0, 5]}}, "class 5"),
        ({"overrides": {"noise.rate": 1.0}}, "less than 1"),
        ({"imports": ["no_such_module"]}, "no_such_module"),
    ],
)
def test_a_wrong_request_gives_one_sentence_and_nothing_is_written(tmp_path, settings, sentence):
    with pytest.raises(ValueError) as caught:
        run(MINI, tmp_path / "out", **({"imports": ["toys"], "on": "serial"} | settings))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_store_of_another_study_is_refused(tmp_path):
    run(MINI, tmp_path / "out", imports=["toys"], on="serial", limit=1)
    with pytest.raises(ValueError, match="made from a different spec"):
        run(MINI, tmp_path / "out", imports=["toys"], on="serial", overrides={"seed": 5})


def test_byrote_run_is_this_run(tmp_path):
    outcome = byrote.run(str(MINI), out=tmp_path / "out", imports=["toys"], on="serial", limit=1)
    assert outcome.store.results.history.runs == 1
