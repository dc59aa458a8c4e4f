"""The driver: the tasks that it hands out, the events that it records, and how it waits for other drivers."""

import json
import os
import re
import signal
from types import SimpleNamespace

import pytest
from toys import tiny

from byrote.cli import main
from byrote.cli.watch import Bar
from byrote.store import Plan, committed, state_of
from byrote.store.cancel import Cancelled, cancel
from byrote.store.leases import held as leases_held
from byrote.store.log import EVENTS, read_costs, read_events
from byrote.store.plan import Entry
from byrote.store.progress import problems_of, progress_of
from byrote.store.status import mark_running
from byrote.sweep import Event, Outcome, Stop, Task, Watcher, run
from byrote.sweep.drive import Driver

from .test_run import MINI, files, importable  # noqa: F401
from .test_work import task as message

RUN = ["run", str(MINI), "--import", "toys", "--on", "serial"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(MINI, tmp_path_factory.mktemp("whole"), imports=["toys"], on="serial")


def test_events_say_what_happened_and_a_reader_needs_no_byrote(whole):
    (path,) = (whole.root / "log").glob("events-*.jsonl")
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert [event["event"] for event in events] == ["begin", *["run"] * 8, "end"]
    assert {event["event"] for event in events} <= set(EVENTS)
    begin, end = events[0], events[-1]
    assert (begin["pid"], begin["on"], begin["planned"], begin["done"], begin["todo"]) == (
        os.getpid(),
        "serial",
        8,
        0,
        8,
    )
    assert (end["done"], end["left"], end["reason"]) == (8, 0, "")
    assert {event["key"] for event in events[1:-1]} == set(committed(whole.root))
    assert sum(event["cost"] for event in events[1:-1]) == pytest.approx(begin["cost"])
    assert read_costs(whole.root).keys() == set(committed(whole.root))
    assert all(event["driver"] == begin["driver"] and event["time"] >= begin["time"] for event in events)


def test_each_run_has_a_log(whole):
    for key in committed(whole.root):
        lines = (whole.root / "log" / f"{key}.txt").read_text().splitlines()
        assert f"process {os.getpid()}, 4 runs together" in lines[0]
        assert [line.split(": ")[0].rpartition(" epoch ")[2] for line in lines[1:-1]] == ["2 of 4", "4 of 4"]
        assert lines[-1].endswith(" done")


def test_a_run_that_raises_has_its_traceback_in_its_log_and_status_names_it(tmp_path, capsys):
    over = ["--set", "loss=toys:Broken", "--set", "noise.rate=0.1"]
    assert main([*RUN, "--out", str(tmp_path / "s"), *over]) == 1
    capsys.readouterr()
    assert main(["status", str(tmp_path / "s")]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if " x " in line]
    key = line.split(", the first ")[1][:16]
    assert line.startswith("2 x RuntimeError, the first ")
    where = r"this loss is broken \(toys\.py, line \d+, in formula\) "
    assert re.search(where + re.escape(f"({tmp_path / 's' / 'log' / key}.txt)"), line)
    assert 'raise RuntimeError("this loss is broken")' in (tmp_path / "s" / "log" / f"{key}.txt").read_text()


class Pretended:
    """A simulated executor whose tasks end as scripted; the runs of `done` tasks are copied from another store."""

    def __init__(self, *rounds):
        self.rounds, self.submitted, self.todo, self.closed = list(rounds), [], [], False

    def submit(self, task):
        self.submitted.append(task)
        self.todo.append(task)

    def wait(self, pass_on):
        if not self.todo:
            return
        kind = self.rounds.pop(0)
        for task in self.todo:
            kind(task, pass_on)
        self.todo = []

    def close(self):
        self.closed = True


def held(task, pass_on):
    pass_on(Event(task, "held", {}))


@pytest.fixture
def books(tmp_path, monkeypatch):
    """Make a store with a plan of two runs, and a driver whose executor follows a script."""
    monkeypatch.setattr("byrote.sweep.drive._LOOK", 0.01)
    pair = [tiny(seed=s) for s in (0, 1)]
    plan = Plan("two", "", {}, (), tuple(Entry(e.key, "part", e.spec()) for e in pair))
    plan.write(tmp_path)
    outcome, stop = Outcome(tmp_path, 2), Stop()
    return SimpleNamespace(
        root=tmp_path,
        pair=pair,
        outcome=outcome,
        stop=stop,
        task=Task("both", tuple(pair), 10.0),
        driver=lambda executor: Driver(executor, plan, {e.key: 5.0 for e in pair}, stop, outcome, Watcher()),
    )


def commit_one(root, experiment):
    from byrote.sweep.work import work

    work(message(root, [experiment]), lambda event: None)


def test_what_another_driver_holds_is_looked_at_again_until_it_is_done(books):
    def other_does_one(task, pass_on):
        commit_one(books.root, books.pair[0])
        held(task, pass_on)

    def we_do_the_rest(task, pass_on):
        commit_one(books.root, task.experiments[0])
        pass_on(Event(task, "run", {"key": task.keys[0], "status": "done", "error": ""}))
        pass_on(Event(task, "done", {}))

    executor = Pretended(held, other_does_one, we_do_the_rest)
    books.driver(executor).carry_out([books.task], "pretended")
    sizes = [len(task.keys) for task in executor.submitted]
    assert sizes == [2, 2, 1]
    assert executor.submitted[-1].keys == (books.pair[1].key,)
    assert executor.submitted[-1].cost == 5.0
    assert executor.submitted[-1].name == "both", (
        "the continued task has the same name, by which its checkpoint is found"
    )
    assert executor.closed


def test_a_stop_ends_the_wait_for_others(books):
    def held_and_stop(task, pass_on):
        held(task, pass_on)
        books.stop.ask("enough")

    executor = Pretended(held_and_stop)
    books.driver(executor).carry_out([books.task], "pretended")
    assert len(executor.submitted) == 1
    assert read_events(books.root)[-1]["reason"] == "enough"


def test_a_store_that_cannot_be_written_ends_the_executor_and_is_in_the_events(books):
    def full(task, pass_on):
        pass_on(Event(task, "error", {"type": "WriteError", "message": "the disk is full"}))

    executor = Pretended(full)
    with pytest.raises(OSError, match="the disk is full; 0 of 2 runs are stored in"):
        books.driver(executor).carry_out([books.task], "pretended")
    assert executor.closed
    assert "the disk is full" in read_events(books.root)[-1]["reason"]


def test_notes_of_killed_workers_are_removed_and_those_of_living_ones_stay(books):
    def killed(task, pass_on):
        mark_running(books.root, [books.pair[1].key], {"epoch": 1, "epochs": 4})
        mark_running(books.root, [books.pair[0].key], {"epoch": 1, "epochs": 4})
        ours.__enter__()
        raise KeyboardInterrupt

    ours = leases_held(books.root, "other", [books.pair[1].key])
    with pytest.raises(KeyboardInterrupt):
        books.driver(Pretended(killed)).carry_out([books.task], "pretended")
    ours.__exit__(None, None, None)
    assert [path.stem for path in (books.root / ".running").glob("*.json")] == [books.pair[1].key]


def test_cancel_concerns_the_drivers_of_that_moment_alone(tmp_path):
    with pytest.raises(ValueError, match="is not a store"):
        cancel(tmp_path)
    (tmp_path / "plan.json").write_text("{}")
    before = Cancelled(tmp_path)
    cancel(tmp_path)
    after = Cancelled(tmp_path)
    for one in (before, after):
        one._looked -= 2.0
    assert before()
    assert not after()
    cancel(tmp_path)
    after._looked -= 2.0
    assert after()


def test_a_cancelled_sweep_keeps_a_checkpoint_and_is_130(tmp_path, monkeypatch, capsys):
    root = tmp_path / "s"
    monkeypatch.setattr("byrote.store.cancel._EVERY", 0.0)
    monkeypatch.setattr(Bar, "event", lambda self, event, outcome: cancel(root))
    assert main([*RUN, "--out", str(root)]) == 130
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("byrote: ")]
    assert line == f"byrote: cancelled: 0 of 8 runs are stored in {root}, 8 are left; run the same command to continue"
    assert len(list((root / ".running").glob("*.checkpoint"))) == 1
    monkeypatch.undo()
    assert main([*RUN, "--out", str(root)]) == 0
    assert main(["cancel", str(root)]) == 0
    assert "will stop after the current epoch" in capsys.readouterr().err
    assert main(["cancel", str(tmp_path)]) == 2


def test_ctrl_c_once_ends_after_the_epoch_with_one_sentence(tmp_path, whole, monkeypatch, capsys):
    root, handler = tmp_path / "s", signal.getsignal(signal.SIGINT)
    kinds = []

    def interrupt(self, event, outcome):
        kinds.append(event.kind)
        if len(kinds) == 1:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Bar, "event", interrupt)
    assert main([*RUN, "--out", str(root)]) == 130
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "0/8 runs",
        f"byrote: interrupted: 0 of 8 runs are stored in {root}, 8 are left; run the same command to continue",
    ]
    assert kinds == ["epoch", "stopped"]
    assert signal.getsignal(signal.SIGINT) is handler
    monkeypatch.undo()
    assert main([*RUN, "--out", str(root)]) == 0
    assert files(root) == files(whole.root)


def test_ctrl_c_twice_ends_now_and_counts_what_is_kept(tmp_path, monkeypatch, capsys):
    kinds = []

    def interrupt(self, event, outcome):
        kinds.append(event.kind)
        if outcome.done == 2 and event.kind == "epoch":
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Bar, "event", interrupt)
    root = tmp_path / "s"
    assert main([*RUN, "--out", str(root), "--cohort", "2"]) == 130
    count = len(committed(root))
    last = capsys.readouterr().err.splitlines()[-1]
    assert count == 2
    assert kinds[-1] == "epoch", "no event was handled after the interruption"
    assert f"interrupted: {count} of 8 runs are stored in {root}, {8 - count} are left" in last


def test_progress_has_rates_and_the_time_left_by_cost():
    begin = {"event": "begin", "driver": "d", "time": 1000.0, "host": os.uname().nodename, "pid": os.getpid()}
    runs = [{"event": "run", "driver": "d", "time": 1000.0 + 10 * n, "key": f"{n}", "cost": 6.0} for n in (1, 2)]
    note = {"key": "c", "host": os.uname().nodename, "epoch": 1, "epochs": 4}
    state = {"in_hand": [note], "missing_keys": ["a", "b"], "failures": []}

    def progress_after(events):
        import byrote.store.progress as module

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "read_events", lambda root: events)
            patch.setattr(module, "read_costs", lambda root: {"a": 10.0, "b": 20.0, "c": 8.0})
            return progress_of(None, state, now=1028.0)

    progress = progress_after([begin, *runs])
    assert progress["drivers"] == 1
    assert progress["runs_per_hour"] == pytest.approx(2 / 28 * 3600)
    assert progress["seconds_left"] == pytest.approx((10 + 20 + 6) * 28 / (6 + 6 + 2))
    ended = progress_after([begin, *runs, {"event": "end", "driver": "d", "time": 1025.0}])
    assert (ended["drivers"], ended["seconds_left"], ended["runs_per_hour"]) == (0, None, None)
    gone = progress_after([begin | {"pid": 2**22 + 5}, *runs])
    assert gone["drivers"] == 0


def test_failures_come_by_kind_and_what_was_made_good_is_over():
    events = [
        {"event": "raised", "key": "a", "error": "ValueError: bad\nmore"},
        {"event": "raised", "key": "b", "error": "ValueError: worse"},
        {"event": "lost", "keys": ["c", "d"], "how": "exit code -9", "again": True},
        {"event": "error", "keys": ["d"], "message": "mine changed"},
        {"event": "run", "key": "e"},
    ]
    problems = problems_of(events, [{"key": "z", "error": "diverged in epoch 3"}], {"a", "b", "d"})
    assert [(p["kind"], p["runs"], p["first"], p["key"]) for p in problems] == [
        ("ValueError", 2, "ValueError: bad", "a"),
        ("diverged", 1, "diverged in epoch 3", "z"),
        ("not carried out", 1, "mine changed", "d"),
    ]


def test_status_watch_ends_when_nothing_runs_and_gives_json_lines(whole, capsys):
    assert main(["status", str(whole.root), "--watch"]) == 0
    assert capsys.readouterr().out == "8 runs: 8 done\n"
    assert main(["status", str(whole.root), "--watch", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["done"] == state_of(whole.root)["done"] == 8
