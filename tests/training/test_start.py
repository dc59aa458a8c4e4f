"""A start under another loss: its weights are handed on, its optimiser is not."""

import numpy as np
import pytest
import torch
from toys import tiny

from byrote.experiment import Experiment
from byrote.losses import Loss
from byrote.training import Checkpoint, cohort_key, train


class Idle(Loss):
    """Nothing to descend: what it leaves behind is what it was given."""

    def formula(self, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return 0 * z.gather(-1, y[..., None])[..., 0]


IDLE = {"kind": f"{__name__}:Idle"}


def test_the_second_training_begins_where_the_first_ended_and_without_its_momentum():
    (plain,) = train([tiny()], keep_weights=True)
    (handed_on,) = train([tiny(loss=IDLE, start="cross_entropy")], keep_weights=True)
    (scratch,) = train([tiny(loss=IDLE)], keep_weights=True)
    names = [name for name in plain.weights if "running" not in name and "num_batches" not in name]
    assert names
    for name in names:
        np.testing.assert_array_equal(handed_on.weights[name], plain.weights[name])
    assert any(not np.array_equal(scratch.weights[name], plain.weights[name]) for name in names)


def test_only_the_second_training_is_measured():
    (run,) = train([tiny(loss="robust_log", start="cross_entropy")])
    assert run.history["epoch"].tolist() == [2, 4]
    assert run.facts["start"] == "memorised"
    (scratch,) = train([tiny(loss="robust_log")])
    assert scratch.facts["start"] == "scratch"
    assert run.history["loss"][0] != scratch.history["loss"][0]


def test_runs_with_one_start_train_together_to_the_same_numbers():
    pair = [tiny(loss=loss, start="cross_entropy", seed=seed) for loss, seed in (("robust_log", 0), (IDLE, 1))]
    together = train(pair, keep_weights=True)
    for one, experiment in zip(together, pair, strict=True):
        (alone,) = train([experiment], keep_weights=True)
        for name, value in alone.weights.items():
            np.testing.assert_array_equal(one.weights[name], value)
    assert cohort_key(pair[0]) == cohort_key(pair[1]) != cohort_key(tiny())
    with pytest.raises(ValueError, match="a cohort needs"):
        train([pair[0], tiny()])


def test_a_stop_after_the_start_goes_on_without_it(tmp_path, monkeypatch):
    experiment = tiny(loss="robust_log", start="cross_entropy")
    (whole,) = train([experiment], keep_weights=True)

    def stop(progress):
        if progress.epoch == 3:
            raise KeyboardInterrupt

    checkpoint = Checkpoint(tmp_path / "c", seconds=0)
    with pytest.raises(KeyboardInterrupt):
        train([experiment], on_epoch=stop, checkpoint=checkpoint)
    monkeypatch.setattr("byrote.training.loop._train_start", lambda *_: pytest.fail("the start was repeated"))
    (resumed,) = train([experiment], keep_weights=True, checkpoint=checkpoint)
    for name, value in whole.weights.items():
        np.testing.assert_array_equal(resumed.weights[name], value)


def test_a_start_is_part_of_the_spec_only_where_there_is_one():
    with_start = tiny(start="cross_entropy")
    assert "start" not in tiny().spec()
    assert with_start.spec()["start"] == {"kind": "cross_entropy"}
    assert Experiment(**with_start.spec()) == with_start
    assert with_start.key != tiny().key != tiny(start="robust_log").key
    with pytest.raises(ValueError, match="did you mean 'cross_entropy'") as caught:
        tiny(start="cross_entrpy")
    assert "\n" not in str(caught.value)
