"""The estimated cost of a run equals a count by hand and by torch, and the costliest tasks start first."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from toys import Blobs, tiny

from byrote.networks import CNN8, MLP, InceptionLite, Own, ResNet18, ResNet32
from byrote.study import Study
from byrote.sweep import Watcher, run
from byrote.sweep.cost import multiply_adds, training_cost
from byrote.sweep.plan import plan_study, tasks

PERCEPTRON = Own(factory="byrote.networks.own:perceptron", head="out")


def grouped(input_shape, num_outputs):
    """A user's network: a convolution in two groups with stride 2, and a dropout."""
    conv = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2)
    return nn.Sequential(conv, nn.Flatten(), nn.Dropout(), nn.Linear(6 * 2 * 2, num_outputs))


def impossible(input_shape, num_outputs):
    raise RuntimeError("this network cannot be made")


GROUPED = Own(factory=f"{__name__}:grouped", head="3")
IMPOSSIBLE = Own(factory=f"{__name__}:impossible")


@pytest.mark.parametrize(
    ("network", "shape", "outputs", "counted"),
    [
        (MLP(depth=3, width=8, feature_width=2), (1, 4, 4), 5, 16 * 8 + 8 * 8 + 8 * 2 + 2 * 5),
        (
            CNN8(),
            (1, 8, 8),
            10,
            64 * 9 * (1 * 64 + 64 * 64)  # layers on 8 x 8, 4 x 4 and 2 x 2 pixels
            + 16 * 9 * (64 * 128 + 128 * 128)
            + 4 * 9 * (128 * 196 + 196 * 196)
            + 196 * 256  # these layers work on a single pixel
            + 256 * 10,
        ),
        (PERCEPTRON, (1, 2, 2), 3, 4 * 8 + 8 * 3),
        (GROUPED, (4, 4, 4), 3, 6 * 2 * 2 * (2 * 9) + 24 * 3),
        (IMPOSSIBLE, (1, 4, 4), 3, 0),
    ],
    ids=lambda value: getattr(value, "factory", getattr(value, "kind", "")),
)
def test_a_forward_pass_counted_by_hand(network, shape, outputs, counted):
    assert multiply_adds(network, shape, outputs) == counted


def test_any_network_is_counted_and_the_global_generator_stays():
    class Listed(MLP, kind="listed-widths"):
        widths: list[int] = []  # a list is not hashable

        def assemble(self, input_shape, num_outputs):
            torch.rand(3)  # a user's own network may draw random numbers
            return super().assemble(input_shape, num_outputs)

    before = torch.random.get_rng_state()
    assert multiply_adds(Listed(depth=2, width=8, widths=[1]), (1, 4, 4), 2) == 16 * 8 + 8 * 2 + 2 * 2
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (MLP(depth=9, width=64), (3, 16, 16)),
        (CNN8(), (3, 32, 32)),
        (ResNet32(), (3, 32, 32)),
        (ResNet18(), (1, 28, 28)),
        (ResNet18(stem="3x3"), (3, 16, 16)),
        (InceptionLite(), (3, 32, 32)),
        (InceptionLite(variant="released"), (3, 32, 32)),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_networks_counted_by_torchs_own_counter(network, shape):
    module = network.build(shape, 10).eval()
    with FlopCounterMode(display=False) as counter:
        module(torch.zeros(1, *shape))
    assert multiply_adds(network, shape, 10) == counter.get_total_flops() / 2


def test_counting_leaves_the_global_random_stream_alone():
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    for network in (ResNet32(), GROUPED):
        multiply_adds(network, (4, 4, 4), 7)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_run_costs_three_passes_over_each_sample_of_each_epoch_and_twice_that_after_another_start():
    e = tiny(**{"training.epochs": 7, "network.feature_width": 2})
    once = 3 * 7 * 80 * (16 * 16 + 16 * 2 + 2 * 2)
    assert training_cost(e, (80, 1, 4, 4)) == once
    assert training_cost(e.replace(start="normalized_mse"), (80, 1, 4, 4)) == 2 * once
    latent = e.replace(noise={"kind": "latent_class", "rate": 0.2})
    assert training_cost(latent, (80, 1, 4, 4)) == once + 3 * 7 * 80 * 2 * 2, "the network has 2N outputs"


@pytest.mark.parametrize(("width", "first"), [(256, "resnet32"), (512, "mlp")])
def test_the_longest_comes_first_whatever_the_network(width, first, tmp_path):
    """ResNet-32 on 4 x 4 pixels has 1.08 million multiply-adds; the MLPs have .46 and 1.84 million."""
    mlp = {"kind": "mlp", "depth": 9, "width": width, "feature_width": 2}
    grid = {"name": "a", "base": {"data": "toys:Blobs"}, "axes": {"network": [mlp, "resnet32"]}}
    for axes in (grid["axes"], {"network": grid["axes"]["network"][::-1]}):
        plan, experiments = plan_study(Study(name="two", part=[grid | {"axes": axes}]))
        todo = tasks(plan, experiments, (), {Blobs().digest(): (80, 1, 4, 4)})
        assert todo[0].experiments[0].network.kind == first
        assert len(todo) == 2


class Costs(Watcher):
    """An executor that records the tasks it receives."""

    def begin(self, outcome, todo, experiments):
        self.costs = [(len(task.keys), task.cost) for task in todo]


def test_a_sweep_counts_the_samples_that_are_there_and_a_network_that_cannot_be_made_stops_nothing(tmp_path):
    base = {"network": {"kind": "mlp", "depth": 2, "width": 8, "feature_width": 2}, "training": {"epochs": 2}}
    parts = [
        {"name": "few", "base": {"data": {"kind": "toys:Blobs", "samples": 10}}, "axes": {"seed": [0, 1]}},
        {"name": "more", "base": {"data": {"kind": "toys:Blobs", "samples": 30, "per_class": 20}}},
        {"name": "broken", "base": {"data": "toys:Blobs", "network": IMPOSSIBLE.spec()}},
    ]
    costs = Costs()
    outcome = run(Study(name="s", base=base, part=parts), tmp_path / "s", on="serial", watcher=costs)
    each = 3 * 2 * (16 * 8 + 8 * 2 + 2 * 2)
    assert costs.costs == [(2, 2 * 20 * each), (1, 40 * each), (1, 0)]
    assert outcome.done == 3
    assert [error.split(" (")[0] for error in outcome.raised.values()] == ["RuntimeError: this network cannot be made"]
