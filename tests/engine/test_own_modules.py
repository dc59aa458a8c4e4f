"""A user's own modules in a stack; torch.func.vmap computes all runs of any module at once."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from devices import same
from torch import nn

from byrote.networks import CNN8, MLP, Own, ResNet32

from .stacks import stack_of
from .test_ensemble import step


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(6, 4))
        self.head = nn.Linear(4, 2)


def branching(input_shape, num_outputs):
    return Branching()


class Doubling(nn.BatchNorm1d):
    """A user's own normalization: torch's result times two."""

    def forward(self, x):
        return 2 * super().forward(x)


def signals(input_shape, num_outputs):
    """A module that normalizes signals of shape (B, C, L)."""
    module = Branching()
    layers = nn.Conv1d(2, 5, 3), nn.BatchNorm1d(5), nn.ReLU(), nn.Flatten(), nn.Linear(20, 4)
    module.features = nn.Sequential(*layers)
    return module


def chain(norm, **linear):
    def build(input_shape, num_outputs):
        module = Branching()
        module.features = nn.Sequential(nn.Flatten(), nn.Linear(12, 4, **linear), norm(), nn.ReLU())
        return module

    return build


class Shared(nn.Module):
    """A module that uses one batch norm twice, changes its output in place, and accesses the layer itself."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(12, 4), nn.Linear(4, 4)
        self.norm = self.again = nn.BatchNorm1d(4)

    def forward(self, x):
        h = self.norm(self.first(x.flatten(1)))
        h = self.again(self.second(h.clone().mul_(2)))
        h += 1
        return F.relu(h, inplace=True)


def shared(input_shape, num_outputs):
    module = Branching()
    module.features = Shared()
    return module


class Looking(nn.Module):
    """A module that uses views, hooks, lists, and attributes of its layers."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.steps = [self.conv, self.norm]
        self.last = nn.Linear(48, 4)
        self.norm.register_forward_hook(lambda module, inputs, output: output.clamp(-0.5, 0.5))

    def forward(self, x):
        h = self.norm(self.conv(x.unsqueeze(1))) / self.norm.num_features
        return self.last(h.view(len(h), -1))


def looking(input_shape, num_outputs):
    module = Branching()
    module.features = Looking()
    return module


without_bias = chain(lambda: nn.BatchNorm1d(4), bias=False)
cumulative = chain(lambda: nn.BatchNorm1d(4, momentum=None))
slow = chain(lambda: nn.BatchNorm1d(4, momentum=0.01))
without_scale = chain(lambda: nn.BatchNorm1d(4, affine=False))
doubling = chain(lambda: Doubling(4))

HERE = __name__


def generators(runs):
    return [torch.Generator().manual_seed(s) for s in range(runs)]


def test_own_modules_stack_and_train(device):
    net = Own("byrote.networks.own:perceptron", head="out")
    stacked = stack_of(net, (3, 2), 2, generators(3)).to(device)
    alone = net.build((3, 2), 2, generators(3)[2]).to(device)
    draw = torch.Generator().manual_seed(6)
    x, y = torch.randn(3, 5, 3, 2, generator=draw).to(device), torch.randint(0, 2, (3, 5), generator=draw).to(device)
    logits, grads = step(stacked, x, y)
    one, slopes = step(alone, x[2], y[2])
    same(logits[2], one, device)
    for g, h in zip(grads, slopes, strict=True):
        same(g[2], h, device)
    same(stacked.run_module(2)(x[2].cpu()), alone(x[2]), device)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("network", "shape"), [(MLP(3, 16, 4), (6,)), (ResNet32(), (3, 8, 8)), (CNN8(), (1, 8, 8))])
@pytest.mark.every(5)
def test_all_runs_at_once_are_the_runs_one_by_one(network, shape, precision, device):
    together = stack_of(network, shape, 2, generators(3), precision=precision, batched=True).to(device)
    apart = stack_of(network, shape, 2, generators(3), precision=precision, compiled=False).to(device)
    tolerance = 1e-4 if precision == "fp32" else 0.08
    draw = torch.Generator().manual_seed(4)
    for shared in (False, True):
        x = torch.randn(*(() if shared else (3,)), 8, *shape, generator=draw).to(device)
        y = torch.randint(0, 2, (3, 8), generator=draw).to(device)
        logits, grads = step(together, x, y)
        wanted, slopes = step(apart, x, y)
        assert (logits - wanted).norm() / wanted.norm() < tolerance
        if precision == "fp32":  # in bfloat16, some ReLU gates flip
            for g, h in zip(grads, slopes, strict=True):
                torch.testing.assert_close(g, h, rtol=1e-2, atol=2e-4)
        apart.load_state_dict(together.state_dict())
    for name, value in apart.state_dict().items():
        torch.testing.assert_close(together.state_dict()[name], value)
    assert together.state_dict()[next(n for n in together.state_dict() if "tracked" in n)].tolist() == [2, 2, 2]


UNUSUAL = ["signals", "shared", "without_bias", "cumulative", "slow", "without_scale", "doubling"]


@pytest.mark.parametrize(("name", "precision"), [*product(UNUSUAL, ["fp32", "bf16"]), ("looking", "fp32")])
def test_layers_that_look_like_ours_keep_their_own_meaning(name, precision, device):
    net = Own(f"{HERE}:{name}")
    stacked = stack_of(net, (2, 6), 2, generators(2), precision=precision).to(device)
    twin = net.build((2, 6), 2, generators(2)[1]).to(device)
    draw = torch.Generator().manual_seed(5)
    for _ in range(3):
        x = torch.randn(2, 40, 2, 6, generator=draw).add(1).to(device)
        y = torch.randint(0, 2, (2, 40), generator=draw).to(device)
        logits, _ = step(stacked, x, y)
        plain, _ = step(twin, x[1], y[1])
    bar = 1e-4 if precision == "fp32" else 0.1  # a few ReLU gates flip
    bar *= 1 if device == "cpu" else 2

    def near(got, wanted):
        return (got - wanted).double().norm() <= bar * wanted.double().norm()

    assert near(logits[1], plain)
    exported = stacked.run_module(1).state_dict()
    for key, value in twin.state_dict().items():
        assert near(exported[key], value.cpu()), key
    stacked.eval(), twin.eval()
    with torch.no_grad():
        assert near(stacked(x)[1], twin(x[1]))
