"""A task is halved if memory runs out, saves checkpoints while it trains, and frees its memory at the end."""

import resource

import pytest
import torch
from toys import tiny

from byrote.files import WriteError
from byrote.store import committed
from byrote.sweep import work as module
from byrote.training import train

from .test_run import files


def task(root, experiments, name="cohort"):
    root.mkdir(exist_ok=True)
    (root / "plan.json").touch()
    return {
        "root": str(root),
        "device": "cpu",
        "threads": 1,
        "weights": False,
        "imports": [],
        "path": [],
        "name": name,
        "specs": [e.spec() for e in experiments],
        "keys": [e.key for e in experiments],
        "contents": [e.contents for e in experiments],
    }


FOUR = [tiny(seed=s) for s in range(4)]


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: not enough memory")]
)
@pytest.mark.every(3)
def test_a_cohort_that_does_not_fit_is_trained_in_halves(tmp_path, monkeypatch, error):
    sizes = []

    def limited(experiments, *arguments):
        sizes.append(len(experiments))
        if len(experiments) > 1:
            raise error
        return train(experiments, *arguments)

    module.work(task(tmp_path / "whole", FOUR), lambda event: None)
    monkeypatch.setattr(module, "train", limited)
    events = []
    module.work(task(tmp_path / "halves", FOUR), events.append)
    assert sizes == [4, 2, 1, 1, 2, 1, 1]
    assert files(tmp_path / "halves") == files(tmp_path / "whole")
    assert [event["key"] for event in events if event["event"] == "run"]
    assert not list((tmp_path / "halves" / ".running").iterdir())


def test_a_run_that_does_not_fit_alone_costs_itself(tmp_path, monkeypatch):
    def limited(experiments, *arguments):
        if len(experiments) > 1 or experiments[0].seed == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return train(experiments, *arguments)

    monkeypatch.setattr(module, "train", limited)
    events = []
    module.work(task(tmp_path, FOUR), events.append)
    (raised,) = [event for event in events if event["event"] == "raised"]
    assert raised["key"] == FOUR[2].key
    assert raised["error"].startswith("OutOfMemoryError: CUDA out of memory")
    assert sorted(committed(tmp_path)) == sorted(e.key for e in FOUR if e.seed != 2)


def test_other_errors_are_not_taken_for_a_lack_of_memory(tmp_path, monkeypatch):
    """If a run of a cohort of four raises, the runs are trained one by one, not in halves."""
    sizes = []

    def counted(experiments, *arguments):
        sizes.append(len(experiments))
        return train(experiments, *arguments)

    monkeypatch.setattr(module, "train", counted)
    events = []
    module.work(task(tmp_path, [*FOUR[:3], tiny(loss="toys:Broken")]), events.append)
    assert sizes == [4, 1, 1, 1, 1]
    assert [event["event"] for event in events if event["event"] != "epoch"].count("raised") == 1
    assert len(committed(tmp_path)) == 3


def test_a_store_that_cannot_be_written_stops_the_work(tmp_path, monkeypatch):
    def full(*arguments):
        raise WriteError(28, "no space left")

    monkeypatch.setattr(module, "commit", full)
    monkeypatch.setattr(module, "own_trace", lambda error: "")
    with pytest.raises(WriteError, match="no space left"):
        module.work(task(tmp_path, FOUR[:1]), lambda event: None)


def test_a_task_goes_on_from_its_checkpoint_and_removes_it(tmp_path, monkeypatch):
    class Stop(BaseException):
        pass

    original = module.Checkpoint
    monkeypatch.setattr(module, "Checkpoint", lambda path: original(path, seconds=0.0))

    def stop(event):
        if event["event"] == "epoch" and event["epoch"] == 2:
            raise Stop

    with pytest.raises(Stop):
        module.work(task(tmp_path / "a", FOUR), stop)
    assert committed(tmp_path / "a") == []
    seen = []
    module.work(task(tmp_path / "a", FOUR[1:]), seen.append)
    assert next(event["epoch"] for event in seen) == 3
    module.work(task(tmp_path / "b", FOUR[1:]), lambda event: None)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert not list((tmp_path / "a" / ".running").iterdir())


@pytest.mark.slow
@pytest.mark.long
def test_memory_does_not_grow_over_a_thousand_epochs():
    def epochs(number):
        train([tiny(**{"training.epochs": number, "training.evaluate_every": 10})])
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    settled = epochs(100)
    assert epochs(1000) - settled < 20_000, "memory grows by less than 20 MB after 100 epochs"
