"""Dropout of features before the classifier keeps their mean, has separate random streams, and survives a restart."""

import pytest
import torch

from byrote import data, losses, networks, noise
from byrote.experiment import Experiment
from byrote.recipe import SGD, Training
from byrote.training import prepare, train
from byrote.training.checkpoint import Checkpoint

from .test_cohort import same


def tiny(dropout=0.5, seed=0, epochs=3):
    return Experiment(
        data.FashionMNISTSubset(classes=(0, 1), per_class=12, test_per_class=6),
        noise.Uniform(0.2),
        losses.CrossEntropy(),
        networks.MLP(depth=2, width=8, feature_width=6),
        Training(epochs=epochs, batch_size=8, optimizer=SGD(lr=0.05), dropout=dropout),
        seed=seed,
    )


def test_features_are_zeroed_with_their_probability_and_keep_their_mean(device):
    cohort = prepare([tiny(0.25), tiny(0.25, seed=1)], device)
    dropped = cohort.dropped(torch.ones(2, 500, 40, device=device))
    assert dropped.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert float((dropped == 0).double().mean()) == pytest.approx(0.25, abs=0.01)
    assert float(dropped.mean()) == pytest.approx(1.0, abs=0.02)
    assert not torch.equal(dropped[0], dropped[1])


def test_it_acts_in_training_and_its_draw_is_the_seeds_own(device):
    (plain,), (alone,) = train([tiny(0.0)], device), train([tiny()], device)
    beside = train([tiny(seed=1), tiny(), tiny(seed=2)], device)[1]
    assert plain.history["train_loss"].tolist() != alone.history["train_loss"].tolist()
    if device == "cpu":
        for name, values in alone.history.arrays().items():
            assert values.tolist() == pytest.approx(beside.history[name].tolist(), abs=0, nan_ok=True)
    same(alone, beside, device)
    same(alone, train([tiny()])[0], device)


def test_a_resumed_run_drops_what_it_would_have_dropped(tmp_path, device):
    (whole,) = train([tiny()], device)

    class Stop(Exception):
        pass

    def stop(progress):
        if progress.epoch == 2:
            raise Stop

    with pytest.raises(Stop):
        train([tiny()], device, stop, checkpoint=Checkpoint(tmp_path / "c.pt", seconds=0))
    (resumed,) = train([tiny()], device, checkpoint=Checkpoint(tmp_path / "c.pt", seconds=0))
    assert resumed.history["train_loss"].tolist() == pytest.approx(
        whole.history["train_loss"].tolist(), rel=0 if device == "cpu" else 0.02, abs=0
    )


def test_dropout_is_part_of_the_spec():
    assert tiny(0.0).spec()["training"]["dropout"] == 0.0
    assert tiny().spec()["training"]["dropout"] == 0.5
    assert Experiment(**tiny().spec()) == tiny()
    assert tiny().key != tiny(0.0).key


@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_a_share_outside_its_range_is_named(value):
    with pytest.raises(ValueError, match="dropout"):
        Training(dropout=value)
