"""A cohort that was stopped goes on to the same final numbers, also when some of its members are done."""

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


def stop_after(epochs):
    def heard(progress):
        if progress.epoch == epochs:
            raise Stop

    return heard


@pytest.mark.parametrize("stops", [(1,), (4,), (2, 5, 6)])
@pytest.mark.parametrize("experiments", [EXPERIMENTS, ADAM], ids=["sgd", "adam"])
def test_a_stopped_cohort_ends_with_the_same_numbers(tmp_path, stops, experiments, device):
    whole = train(experiments, device)
    path = tmp_path / "c.checkpoint"
    for epochs in stops:
        with pytest.raises(Stop):
            train(experiments, device, stop_after(epochs), checkpoint=Checkpoint(path, seconds=0))
    seen = []
    again = train(experiments, device, lambda p: seen.append(p.epoch), checkpoint=Checkpoint(path, seconds=0))
    assert seen[0] == stops[-1] + 1, "it went on instead of starting anew"
    for a, b in zip(whole, again, strict=True):
        same(a, b, device)


@pytest.mark.parametrize("experiments", [EXPERIMENTS, ADAM], ids=["sgd", "adam"])
def test_one_epoch_after_a_stop_is_the_epoch_without_it(tmp_path, experiments, device):
    """Every state and the loss of the second epoch, also where bits hang on the kernels of a device."""
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


def test_the_members_that_are_left_go_on_alone(tmp_path, device):
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
    assert torch.load(path, weights_only=True)["epoch"] == 2


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
    """Resuming is exact because nothing else is remembered: without any one part the numbers differ."""
    whole = train([EXPERIMENTS[2]])[0]
    path = tmp_path / "c.checkpoint"
    for part in ("network", "optimizer", "order", "loss"):
        with pytest.raises(Stop):
            train([EXPERIMENTS[2]], on_epoch=stop_after(4), checkpoint=Checkpoint(path, seconds=0))
        saved = torch.load(path, weights_only=True)
        fresh = tmp_path / "fresh.checkpoint"
        with pytest.raises(Stop):
            train([EXPERIMENTS[2]], on_epoch=stop_after(1), checkpoint=Checkpoint(fresh, seconds=0))
        first = torch.load(fresh, weights_only=True)["runs"][whole.key]
        saved["runs"][whole.key][part] = first[part]
        torch.save(saved, path)
        (run,) = train([EXPERIMENTS[2]], checkpoint=Checkpoint(path, seconds=0))
        assert run.history["train_loss"][-1] != whole.history["train_loss"][-1], part
        path.unlink()
        fresh.unlink()
