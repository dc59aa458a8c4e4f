"""A user's own module as a network: how it is found and initialized, and which modules are refused."""

import pytest
import torch
from torch import nn

from byrote.networks import Network, Own


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(6, 4))
        self.head = nn.Linear(4, 2)


def branching(input_shape, num_outputs):
    return Branching()


def broken(input_shape, num_outputs):
    return "no module"


HERE = __name__


def test_own_modules_are_built_from_the_runs_generator_alone():
    net = Own("byrote.networks.own:perceptron", head="out")
    before = torch.random.get_rng_state()
    a, b, c = (net.build((3, 2), 2, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(a.head.weight, b.head.weight)
    assert not torch.equal(a.head.weight, c.head.weight)
    assert not torch.equal(a.features.hidden.weight, c.features.hidden.weight)


def test_features_and_head_are_taken_where_the_module_has_them():
    net = Own(f"{HERE}:branching")
    assert net.build((6,), 2).features(torch.zeros(3, 6)).shape == (3, 4)
    assert Network.from_spec(net.spec()) == net
    assert (Own(f"{HERE}:branching", head="head").build((6,), 2)).head.out_features == 2


@pytest.mark.parametrize(
    ("factory", "head", "message"),
    [
        ("nowhere.at_all:thing", None, "cannot be imported"),
        (f"{HERE}:missing", None, "cannot be imported"),
        (f"{HERE}:HERE", None, "must be callable"),
        (f"{HERE}:broken", None, "must return an nn.Module"),
        (f"{HERE}:branching", "haed", "did you mean 'head'"),
        ("byrote.networks.own:perceptron", None, "the head 'head'"),
    ],
)
def test_what_cannot_be_built_is_named(factory, head, message):
    with pytest.raises(ValueError, match=message):
        Own(factory, head=head).build((6,), 2)
    with pytest.raises(ValueError, match="pattern"):
        Own("no_colon")
