"""If a sweep is stopped, no new task starts and running tasks save checkpoints; continued, it gives the same bits."""

import numpy as np
import pytest
from toys import tiny

from byrote.cli import main
from byrote.store import committed
from byrote.sweep import Stop, Watcher, run
from byrote.sweep.stop import read_seconds
from byrote.sweep.work import work
from byrote.training import Checkpoint, Stopped, train

from .test_run import MINI, files, importable  # noqa: F401
from .test_work import FOUR, task


class After(Watcher):
    """Requests a stop at the first event of this kind."""

    def __init__(self, stop, kind):
        self.stop, self.kind, self.kinds = stop, kind, []

    def event(self, event, outcome):
        self.kinds.append(event.kind)
        if event.kind == self.kind:
            self.stop.ask("enough")


@pytest.mark.parametrize(
    ("text", "seconds"), [("3600", 3600), ("90m", 5400), ("2h", 7200), ("1h30m", 5400), ("1d", 86400), ("1.5s", 1.5)]
)
def test_a_duration_is_read(text, seconds):
    assert read_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0m", "-5", "2 weeks", "h", "30m1h", "inf", "nan", "1e3"])
def test_what_is_no_duration_gives_one_sentence(text):
    with pytest.raises(ValueError, match="a duration must be above 0, in seconds or with units such as 90m, 2h"):
        read_seconds(text)


def test_a_stop_remembers_its_first_reason_and_the_time():
    stop = Stop(0.0)
    assert stop()
    assert stop.reason == "the time is up"
    stop.ask("interrupted")
    assert stop.reason == "the time is up"
    assert not Stop(60.0)()


def test_training_stops_after_the_epoch_in_hand_and_goes_on_to_the_same_numbers(tmp_path):
    # half a minute has not passed, so the checkpoint is saved because of the stop
    checkpoint = Checkpoint(tmp_path / "c")
    answers = iter([False, True])
    with pytest.raises(Stopped) as stopped:
        train([tiny()], checkpoint=checkpoint, stop=lambda: next(answers))
    assert stopped.value.epoch == 2
    epochs = []
    (run,) = train([tiny()], "cpu", lambda progress: epochs.append(progress.epoch), checkpoint=checkpoint)
    assert epochs[0] == 3
    (whole,) = train([tiny()])
    for name, column in whole.history.arrays().items():
        np.testing.assert_array_equal(run.history[name], column)


def test_the_last_epoch_is_not_stopped():
    (run,) = train([tiny(**{"training.epochs": 1})], stop=lambda: True)
    assert run.status == "done"


def test_a_task_does_not_begin_where_the_sweep_stops_already(tmp_path):
    with pytest.raises(Stopped):
        work(task(tmp_path, FOUR), lambda event: None, lambda: True)
    assert not (tmp_path / ".running").exists()


LONG = {"training.epochs": 24, "training.evaluate_every": 8}


@pytest.mark.parametrize("on", ["serial", "local"])
def test_a_stopped_sweep_goes_on_to_the_same_bits(tmp_path, on):
    settings = {"imports": ["toys"], "overrides": LONG, "cohort": 4}
    whole = run(MINI, tmp_path / "whole", on="serial", **settings)
    stop = Stop()
    watcher = After(stop, "epoch")
    some = run(MINI, tmp_path / "out", on=on, workers=1, watcher=watcher, stop=stop, **settings)
    assert some.stopped == "enough"
    assert some.done < some.planned
    if on == "serial":
        assert watcher.kinds == ["epoch", "stopped"]
        assert len(list((some.root / ".running").glob("*.checkpoint"))) == 1
    assert not list((some.root / ".running").glob("*.json"))
    rest = run(MINI, tmp_path / "out", on="serial", **settings)
    assert rest.done == rest.planned == 8
    assert files(rest.root) == files(whole.root)
    assert not list((rest.root / ".running").glob("*.checkpoint"))


def test_max_time_is_exit_code_zero_with_what_is_left(tmp_path, capsys):
    arguments = ["run", str(MINI), "--import", "toys", "--on", "serial", "--out", str(tmp_path / "s")]
    assert main([*arguments, "--max-time", "0.001s"]) == 0
    last = capsys.readouterr().err.splitlines()[-1]
    assert (
        last
        == f"the time is up: 0 of 8 runs are stored in {tmp_path / 's'}, 8 are left; run the same command to continue"
    )
    assert main([*arguments, "--max-time", "10m"]) == 0
    assert "8 of 8 runs are stored" in capsys.readouterr().err
    assert len(committed(tmp_path / "s")) == 8
    assert main([*arguments, "--max-time", "soon"]) == 2


def test_max_runs_is_what_limit_was(tmp_path, capsys):
    arguments = ["run", str(MINI), "--import", "toys", "--on", "serial", "--out", str(tmp_path / "s")]
    assert main([*arguments, "--max-runs", "2"]) == 0
    assert main([*arguments, "--limit", "1"]) == 0
    assert len(committed(tmp_path / "s")) == 3
