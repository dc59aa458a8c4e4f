"""A run that starts from a run under another loss takes over the weights, but not the optimizer state."""

import numpy as np
import pytest
import torch
from devices import same as alike
from toys import tiny

from byrote.experiment import Experiment
from byrote.losses import Loss
from byrote.training import Checkpoint, cohort_key, train

from .test_cohort import same


class Idle(Loss):
    """A loss with zero gradient, which leaves the weights as they are."""

    def formula(self, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return 0 * z.gather(-1, y[..., None])[..., 0]


IDLE = {"kind": f"{__name__}:Idle"}


def test_the_second_training_begins_where_the_first_ended_and_without_its_momentum(device):
    (plain,) = train([tiny()], device, keep_weights=True)
    (handed_on,) = train([tiny(loss=IDLE, start="cross_entropy")], device, keep_weights=True)
    (scratch,) = train([tiny(loss=IDLE)], device, keep_weights=True)
    names = [name for name in plain.weights if "running" not in name and "num_batches" not in name]
    assert names
    for name in names:
        alike(torch.from_numpy(handed_on.weights[name]), torch.from_numpy(plain.weights[name]), device, bar=0.03)
    assert any(not np.array_equal(scratch.weights[name], plain.weights[name]) for name in names)


def test_only_the_second_training_is_measured(device):
    (run,) = train([tiny(loss="robust_log", start="cross_entropy")], device)
    assert run.history["epoch"].tolist() == [2, 4]
    assert run.facts["start_loss"] == "CE"
    (scratch,) = train([tiny(loss="robust_log")], device)
    assert scratch.facts["start_loss"] == ""
    assert run.history["train_loss"][0] != scratch.history["train_loss"][0]


@pytest.mark.every(2)
def test_runs_with_one_start_train_together_to_the_same_numbers(device):
    pair = [tiny(loss=loss, start="cross_entropy", seed=seed) for loss, seed in (("robust_log", 0), (IDLE, 1))]
    together = train(pair, device, keep_weights=True)
    for one, experiment in zip(together, pair, strict=True):
        (alone,) = train([experiment], device, keep_weights=True)
        same(one, alone, device)
        for name, value in alone.weights.items() if device == "cpu" else ():
            np.testing.assert_array_equal(one.weights[name], value)
    assert cohort_key(pair[0]) == cohort_key(pair[1]) != cohort_key(tiny())
    with pytest.raises(ValueError, match="a cohort needs"):
        train([pair[0], tiny()])


def test_a_stop_after_the_start_continues_without_it(tmp_path, monkeypatch, device):
    experiment = tiny(loss="robust_log", start="cross_entropy")
    (whole,) = train([experiment], device, keep_weights=True)

    def stop(progress):
        if progress.epoch == 3:
            raise KeyboardInterrupt

    checkpoint = Checkpoint(tmp_path / "c", seconds=0)
    with pytest.raises(KeyboardInterrupt):
        train([experiment], device, stop, checkpoint=checkpoint)
    monkeypatch.setattr("byrote.training.loop._train_start", lambda *_: pytest.fail("the start was repeated"))
    (resumed,) = train([experiment], device, keep_weights=True, checkpoint=checkpoint)
    same(resumed, whole, device, bar=0.03)
    for name, value in whole.weights.items() if device == "cpu" else ():
        np.testing.assert_array_equal(resumed.weights[name], value)


def test_a_start_is_part_of_the_spec():
    with_start = tiny(start="cross_entropy")
    assert tiny().spec()["start"] is None
    assert with_start.spec()["start"] == {"kind": "cross_entropy"}
    assert Experiment(**with_start.spec()) == with_start
    assert len({e.key for e in (with_start, tiny(), tiny(start="robust_log"))}) == 3
    with pytest.raises(ValueError, match="did you mean 'cross_entropy'") as caught:
        tiny(start="cross_entrpy")
    assert "\n" not in str(caught.value)
