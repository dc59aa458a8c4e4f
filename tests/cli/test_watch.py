"""How the terminal names the run that a sweep is training."""

from types import SimpleNamespace

import pytest
from toys import tiny

from byrote.cli.watch import Bar
from byrote.noise import Recorded, Symmetric


@pytest.mark.parametrize(
    ("noise", "name"), [(Symmetric(0.2), "CE eta 0.2 seed 3"), (Recorded("labels.csv"), "CE recorded labels seed 3")]
)
def test_a_run_is_named_by_its_loss_noise_and_seed(noise, name):
    bar = Bar()
    loss = tiny(loss="cross_entropy").loss
    bar._experiments = {"key": SimpleNamespace(loss=loss, noise=noise, seed=3)}
    assert bar._name("key") == name
