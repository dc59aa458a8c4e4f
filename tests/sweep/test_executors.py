"""Every executor runs tasks, reports events, gives the same bits, and does nothing after a stop; options for Ray."""

import os
import signal
import sys

import pytest
from toys import tiny

from byrote.cli import main
from byrote.store import committed
from byrote.sweep import Stop, Task, run
from byrote.sweep.executors import Local, Ray, Request, Serial, Setting
from byrote.sweep.executors import ray as module

from .pretended_ray import Pretended
from .test_run import MINI, files, importable  # noqa: F401

RUNS = [tiny(seed=s) for s in range(4)]
TASKS = [Task("pair", tuple(RUNS[:2])), Task("other", tuple(RUNS[2:]))]


@pytest.fixture
def pretended(monkeypatch):
    ray = Pretended()
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(module, "find_spec", lambda name: object())
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", module._LOOPBACK):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return ray


def executor(name, root, stop=lambda: False):
    root.mkdir(exist_ok=True)
    (root / "plan.json").touch()  # without a plan, a folder is not a store
    setting = Setting(str(root))
    return {
        "serial": lambda: Serial(setting, stop),
        "local": lambda: Local(setting, stop, 1),
        "ray": lambda: Ray(setting, stop, 2),
    }[name]()


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    root = tmp_path_factory.mktemp("reference")
    one = executor("serial", root)
    for experiment in RUNS:
        one.submit(Task(experiment.key, (experiment,)))
    one.wait(lambda event: None)
    return files(root)


@pytest.mark.parametrize("name", ["serial", "local", "ray"])
def test_every_executor_keeps_the_contract(name, tmp_path, pretended, reference):
    one, events = executor(name, tmp_path), []
    try:
        one.wait(events.append)
        assert events == [], "nothing was submitted"
        for task in TASKS:
            one.submit(task)
        one.wait(events.append)
        for task in TASKS:
            kinds = [event.kind for event in events if event.task is task]
            assert kinds[-1] == "done"
            assert kinds.count("done") == 1
            runs = {event.data["key"] for event in events if event.task is task and event.kind == "run"}
            assert runs == set(task.keys)
        assert files(tmp_path) == reference
    finally:
        one.close()
    assert not list((tmp_path / ".running").iterdir())


@pytest.mark.parametrize("name", ["serial", "local", "ray"])
def test_no_executor_starts_a_task_once_the_sweep_stops(name, tmp_path, pretended):
    one, events, stop = executor(name, tmp_path, lambda: True), [], Stop()
    stop.ask("enough")
    for task in TASKS:
        one.submit(task)
    one.wait(events.append)
    one.close()
    assert events == []
    assert committed(tmp_path) == []


def test_a_worker_that_fails_says_the_same_wherever_it_runs(tmp_path, pretended):
    wrong = Task("wrong", (RUNS[0],))
    errors = {}
    for name in ("serial", "ray"):
        one = executor(name, tmp_path / name)
        original = one._setting.message
        object.__setattr__(one._setting, "message", lambda task, message=original: message(task) | {"keys": ["0" * 16]})
        one.submit(wrong)
        events = []
        one.wait(events.append)
        (event,) = events
        errors[name] = (event.kind, event.data["type"], event.data["message"])
    assert errors["serial"] == errors["ray"]
    assert errors["ray"][:2] == ("error", "ValueError")


def test_ray_is_asked_for_what_the_pages_say(tmp_path, pretended):
    before, folder = signal.getsignal(signal.SIGTERM), os.getcwd()
    one = executor("ray", tmp_path)
    for task in TASKS:
        one.submit(task)
    one.wait(lambda event: None)
    options = pretended.init_options
    assert (options["address"], options["num_cpus"], options["_node_ip_address"]) == ("local", 2, "127.0.0.1")
    assert (options["include_dashboard"], options["object_store_memory"]) == (False, 100_000_000)
    assert options["_temp_dir"].startswith(os.path.join(os.environ.get("TMPDIR", "/tmp"), "byrote-ray-"))
    assert pretended.options == {"num_cpus": 1, "max_retries": 3, "max_calls": 50}
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
    assert (signal.getsignal(signal.SIGTERM), os.getcwd()) == (before, folder)
    one.close()
    assert not pretended.open
    assert not os.path.exists(options["_temp_dir"])


def test_ray_that_would_listen_beyond_the_loopback_is_refused(tmp_path, pretended):
    pretended.listens_at = "192.0.2.7"
    one = executor("ray", tmp_path)
    one.submit(TASKS[0])
    with pytest.raises(OSError, match="Ray would accept connections from other machines"):
        one.wait(lambda event: None)
    assert pretended.calls == []
    one.close()
    assert not pretended.open


def test_a_running_cluster_is_joined_with_its_own_settings(tmp_path, pretended):
    one = Ray(Setting(str(tmp_path), "cuda"), lambda: False, None, "10.0.0.1:6379", 0.5)
    pretended.resources = {"CPU": 8.0, "GPU": 1.0}
    one._connected()
    assert pretended.init_options["address"] == "10.0.0.1:6379"
    assert not {"num_cpus", "_node_ip_address", "_temp_dir"} & set(pretended.init_options)
    assert pretended.options["num_gpus"] == 0.5
    assert one._room() == 4, "two tasks run on the GPU, and two more may wait"
    assert "RAY_AUTH_TOKEN" not in os.environ, "the user must provide the token of an existing cluster"
    one.close()


def test_tasks_are_handed_out_as_there_is_room(tmp_path, pretended):
    pretended.resources = {"CPU": 1.0}
    one = executor("ray", tmp_path)
    for experiment in RUNS:
        one.submit(Task(experiment.key, (experiment,)))
    one.wait(lambda event: None)
    assert pretended.most == 2


def test_a_task_that_ray_gives_up_is_lost_and_the_others_go_on(tmp_path, pretended):
    pretended.crash_of = {RUNS[2].key}
    one, events = executor("ray", tmp_path), []
    for task in TASKS:
        one.submit(task)
    one.wait(events.append)
    (lost,) = [event for event in events if event.kind == "lost"]
    assert lost.task is TASKS[1]
    assert lost.data == {"event": "lost", "how": "WorkerCrashedError", "attempt": 4, "again": False}
    assert committed(tmp_path) == sorted(TASKS[0].keys)


def test_a_stop_reaches_ray_workers_through_a_file_in_the_store(tmp_path, pretended):
    stop = Stop()
    one, events = executor("ray", tmp_path, stop), []

    def note(event):
        events.append(event)
        stop.ask("enough")

    for task in TASKS:
        one.submit(task)
    one.wait(note)
    assert [event.kind for event in events if event.task is TASKS[1]] == ["stopped"]
    assert committed(tmp_path) == sorted(TASKS[0].keys)
    assert list((tmp_path / ".running").glob("stop-*"))
    one.close()
    assert not list((tmp_path / ".running").glob("stop-*"))


def test_run_on_ray_gives_the_bits_of_serial(tmp_path, pretended):
    settings = {"imports": ["toys"], "limit": 3}
    one = run(MINI, tmp_path / "ray", on="ray", workers=2, cohort=2, **settings)
    other = run(MINI, tmp_path / "serial", on="serial", **settings)
    assert one.done == other.done == 3
    assert files(one.root) == files(other.root)


def test_without_ray_it_gives_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert main(["run", str(MINI), "--import", "toys", "--on", "ray", "--out", str(tmp_path / "s")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "byrote: --on ray needs the package ray; install it with `pip install 'byrote[ray]'`"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("ray://head:10001", None, "cpu"), "auto or HOST:PORT"),
        (("", 0.5, "cpu"), "`gpus_per_task=` must be above 0 and requires `device='cuda'`, got 0.5 on cpu"),
        (("", -1.0, "cuda"), "must be above 0"),
        (("", None, "cuda:1"), "give `device='cuda'` instead of cuda:1"),
    ],
)
def test_what_ray_cannot_be_asked_for_gives_one_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=sentence.replace("(", r"\(")):
        Ray.check(Request(None, *arguments[:2]), arguments[2])
