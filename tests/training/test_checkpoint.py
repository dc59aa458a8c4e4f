"""A stopped cohort continues to the same final numbers, even if some of its runs are finished."""

import hashlib
import io
import json

import pytest
import torch
from devices import same as alike
from toys import tiny

from byrote.training import Checkpoint, prepare, train
from byrote.training.loop import train_epoch
from byrote.training.record import Record
from byrote.training.steps import optimizer_of

from .test_cohort import same

EXPERIMENTS = [
    tiny(**{"training.epochs": 7}),
    tiny(seed=1, loss="robust_log", **{"training.epochs": 7}),
    tiny(seed=2, loss={"kind": "early_learning"}, **{"training.epochs": 7}),
    tiny(seed=3, loss={"kind": "early_learning"}, **{"training.epochs": 7}),
]
ADAM = [e.replace(training=e.training.replace(optimizer="adam")) for e in EXPERIMENTS[:2]]


class Stop(Exception):
    pass


def read(path):
    """Return the first line of a checkpoint file and its unpacked content."""
    line, _, tensors = path.read_bytes().partition(b"\n")[2].partition(b"\n")
    return line, torch.load(io.BytesIO(tensors), weights_only=True)


def write(path, line, saved):
    """Write a checkpoint file with a correct checksum."""
    buffer = io.BytesIO()
    torch.save(saved, buffer)
    rest = line + b"\n" + buffer.getvalue()
    path.write_bytes(hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest)


def stop_after(epochs):
    def stop_at(progress):
        if progress.epoch == epochs:
            raise Stop

    return stop_at


@pytest.mark.parametrize("stops", [(1,), (4,), (2, 5, 6)])
@pytest.mark.parametrize("experiments", [EXPERIMENTS, ADAM], ids=["sgd", "adam"])
@pytest.mark.every(5)
def test_a_stopped_cohort_ends_with_the_same_numbers(tmp_path, stops, experiments, device):
    whole = train(experiments, device)
    path = tmp_path / "c.checkpoint"
    for epochs in stops:
        with pytest.raises(Stop):
            train(experiments, device, stop_after(epochs), checkpoint=Checkpoint(path, seconds=0))
    seen = []
    again = train(experiments, device, lambda p: seen.append(p.epoch), checkpoint=Checkpoint(path, seconds=0))
    assert seen[0] == stops[-1] + 1, "training continued instead of starting over"
    for a, b in zip(whole, again, strict=True):
        same(a, b, device)


@pytest.mark.parametrize("experiments", [EXPERIMENTS, ADAM], ids=["sgd", "adam"])
def test_one_epoch_after_a_stop_is_the_epoch_without_it(tmp_path, experiments, device):
    """After a stop and a restart, every state and the loss of the second epoch are the same (on a GPU, nearly)."""
    cohorts = [prepare(experiments, device) for _ in range(2)]
    optimizers = [optimizer_of(c.network, [e.training for e in c.experiments]) for c in cohorts]
    records = [Record() for _ in experiments]
    train_epoch(cohorts[0], optimizers[0], 0)
    Checkpoint(tmp_path / "c", seconds=0).save(cohorts[0], optimizers[0], records, 1)
    assert Checkpoint(tmp_path / "c").restore(cohorts[1], optimizers[1], records) == 1
    losses = [torch.tensor(train_epoch(c, o, 1)) for c, o in zip(cohorts, optimizers, strict=True)]
    alike(losses[1], losses[0], device)
    wanted = cohorts[0].network.state_dict()
    for name, value in cohorts[1].network.state_dict().items():
        alike(value, wanted[name], device)
    for s in range(len(experiments)):
        for one, other in zip(optimizers[1].state_of(s), optimizers[0].state_of(s), strict=True):
            assert one.keys() == other.keys()
            for name, value in one.items():
                assert value.device == other[name].device
                alike(value, other[name], device)


@pytest.mark.every(2)
def test_the_remaining_members_continue_alone(tmp_path, device):
    path = tmp_path / "c.checkpoint"
    with pytest.raises(Stop):
        train(EXPERIMENTS, device, stop_after(4), checkpoint=Checkpoint(path, seconds=0))
    left = [EXPERIMENTS[3], EXPERIMENTS[1]]
    resumed = train(left, device, checkpoint=Checkpoint(path, seconds=0))
    for run, expected in zip(resumed, train(left, device), strict=True):
        same(run, expected, device)


def test_a_damaged_or_foreign_checkpoint_means_starting_anew(tmp_path):
    path = tmp_path / "c.checkpoint"
    for content in (b"", b"not a checkpoint", b"PK\x03\x04 torn"):
        path.write_bytes(content)
        seen = []
        (run,) = train([EXPERIMENTS[0]], on_epoch=lambda p, s=seen: s.append(p.epoch), checkpoint=Checkpoint(path))
        assert seen[0] == 1
        same(run, train([EXPERIMENTS[0]])[0])
    with pytest.raises(Stop):
        train([EXPERIMENTS[1]], on_epoch=stop_after(3), checkpoint=Checkpoint(path, seconds=0))
    same(train([EXPERIMENTS[0]], checkpoint=Checkpoint(path))[0], train([EXPERIMENTS[0]])[0])


def test_a_checkpoint_holds_no_code(tmp_path):
    path = tmp_path / "c.checkpoint"
    with pytest.raises(Stop):
        train(EXPERIMENTS, on_epoch=stop_after(2), checkpoint=Checkpoint(path, seconds=0))
    assert read(path)[1]["epoch"] == 2


def test_saving_waits_for_its_time(tmp_path):
    path = tmp_path / "c.checkpoint"
    train([EXPERIMENTS[0]], checkpoint=Checkpoint(path, seconds=3600))
    assert not path.exists()


def test_a_diverged_member_stays_failed_after_a_stop(tmp_path, device):
    pair = [tiny(loss={"kind": "toys:Explosive"}), tiny()]
    path = tmp_path / "c.checkpoint"
    with pytest.raises(Stop):
        train(pair, device, stop_after(2), checkpoint=Checkpoint(path, seconds=0))
    failed, done = train(pair, device, checkpoint=Checkpoint(path, seconds=0))
    assert failed.error.startswith("diverged in epoch 1")
    same(done, train([pair[1]], device)[0], device)


def test_every_state_of_the_engine_is_saved(tmp_path):
    """A checkpoint saves all parts of the state, and each part is necessary: without it the numbers differ."""
    whole = train([EXPERIMENTS[2]])[0]
    path = tmp_path / "c.checkpoint"
    for part in ("network", "optimizer", "order", "loss"):
        with pytest.raises(Stop):
            train([EXPERIMENTS[2]], on_epoch=stop_after(4), checkpoint=Checkpoint(path, seconds=0))
        line, saved = read(path)
        fresh = tmp_path / "fresh.checkpoint"
        with pytest.raises(Stop):
            train([EXPERIMENTS[2]], on_epoch=stop_after(1), checkpoint=Checkpoint(fresh, seconds=0))
        first = read(fresh)[1]["runs"][whole.key]
        saved["runs"][whole.key][part] = first[part]
        write(path, line, saved)
        (run,) = train([EXPERIMENTS[2]], checkpoint=Checkpoint(path, seconds=0))
        assert run.history["train_loss"][-1] != whole.history["train_loss"][-1], part
        path.unlink()
        fresh.unlink()


def resumed(path, experiment=EXPERIMENTS[2]):
    """Continue from a checkpoint saved after epoch 4; return the first epoch that was trained, and the run."""
    seen = []
    (run,) = train([experiment], on_epoch=lambda p: seen.append(p.epoch), checkpoint=Checkpoint(path, seconds=3600))
    return seen[0], run


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "c.checkpoint"
    with pytest.raises(Stop):
        train([EXPERIMENTS[2]], on_epoch=stop_after(4), checkpoint=Checkpoint(path, seconds=0))
    return path.read_bytes(), train([EXPERIMENTS[2]])[0]


def test_a_bit_that_flips_anywhere_or_a_cut_means_starting_anew(tmp_path, saved, caplog):
    content, whole = saved
    path = tmp_path / "c.checkpoint"
    for place in (0, 30, 70, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:place] + bytes([content[place] ^ 8]) + content[place + 1 :])
        first, run = resumed(path)
        assert first == 1, place
        same(run, whole)
    for length in (0, 64, 200, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        assert resumed(path)[0] == 1, length
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 10, "every discarded checkpoint gives one line"
    assert all("cannot be used and is discarded: its checksum differs" in line for line in lines)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda run: run["network"].popitem(), "network has different names"),
        (lambda run: run["network"].update(extra=torch.zeros(1)), "network has different names"),
        # would broadcast
        (lambda run: each(run["network"], lambda t: t.flatten()[:1]), "network has different names, shapes"),
        (lambda run: each(run["network"], lambda t: t.double()), "network has different names, shapes or types"),
        (lambda run: each(run["loss"], lambda t: t[:1]), "loss has different names, shapes"),
        (lambda run: run["optimizer"].pop(), "optimizer has different names"),
        (lambda run: each(run["optimizer"][0], lambda t: t[:1]), "optimizer has different names, shapes"),
        (lambda run: run["optimizer"][0].update(more=torch.zeros(1)), "optimizer has different names"),
        (lambda run: run.update(order=run["order"][:-1]), "order generator has a different size"),
        (lambda run: run.update(order=torch.full_like(run["order"], 255)), "Invalid mt19937 state"),
        (lambda run: run.update(error=None), "history does not match its epoch"),
        (lambda run: run["rows"][-1].update(epoch=6), "history does not match its epoch"),
        (lambda run: run["rows"].append({"epoch": 3}), "history does not match its epoch"),
        (lambda run: each(run["samples"], lambda t: t[:-1]), "record covers different samples"),
        (lambda run: run.pop("masks"), "parts have different names"),
    ],
)
def test_what_does_not_fit_is_discarded_as_a_whole(tmp_path, saved, change, reason, caplog):
    path = tmp_path / "c.checkpoint"
    path.write_bytes(saved[0])
    line, content = read(path)
    change(content["runs"][EXPERIMENTS[2].key])
    write(path, line, content)
    first, run = resumed(path)
    assert first == 1
    same(run, saved[1])
    (record,) = caplog.records
    assert reason in record.getMessage()
    assert "\n" not in record.getMessage()


def each(states, change):
    for name, value in states.items():
        states[name] = change(value)


@pytest.mark.parametrize("name", ["code", "numerics"])
def test_other_code_or_arithmetic_starts_anew(tmp_path, saved, name, caplog):
    path = tmp_path / "c.checkpoint"
    path.write_bytes(saved[0])
    line, content = read(path)
    write(path, line, content)
    assert resumed(path)[0] == 5, "the unchanged checkpoint is accepted"
    write(path, json.dumps(json.loads(line) | {name: "other"}).encode(), content)
    assert resumed(path)[0] == 1
    assert f"it was made with a different value of {name} (other, here" in caplog.text


@pytest.mark.parametrize("epoch", [0, 7, "4", None])
def test_an_epoch_that_cannot_be_starts_anew(tmp_path, saved, epoch):
    path = tmp_path / "c.checkpoint"
    path.write_bytes(saved[0])
    line, content = read(path)
    write(path, line, content | {"epoch": epoch})
    assert resumed(path)[0] == 1
