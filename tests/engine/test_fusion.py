"""Batch norm, addition and ReLU are fused only where a plain module computes them directly one after another."""

import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from byrote.engine.batchnorm import Norm, replace_norms
from byrote.engine.fusion import fused, fused_graph
from byrote.networks import CNN8, InceptionLite, ResNet18, ResNet32


def joined(module):
    """Return how many ReLUs the fused module computes together with a batch norm."""
    graph = fused_graph(module)
    return 0 if graph is None else sum("rectify" in node.kwargs for node in graph.nodes)


@pytest.mark.parametrize(
    ("network", "shape", "count"),
    [
        (ResNet32(), (3, 8, 8), 31),
        (ResNet18(), (1, 16, 16), 17),
        (InceptionLite(), (3, 12, 12), 19),
        (CNN8(), (3, 8, 8), 7),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_every_rectifier_of_a_known_network_is_joined(network, shape, count):
    assert joined(network.build(shape, 2).features) == count


class Part(nn.Module):
    """A convolution and its batch norm; each subclass uses them differently."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.relu = nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU()


class Residual(Part):
    def forward(self, x):
        return F.relu(x + self.norm(self.conv(x)))


class Layers(Part):
    def forward(self, x):
        return self.relu(self.norm(self.conv(x)))


class ReadTwice(Part):
    def forward(self, x):
        h = self.norm(self.conv(x))
        return F.relu(h) + h


class SumReadTwice(Part):
    def forward(self, x):
        h = self.norm(self.conv(x)) + x
        return F.relu(h) + h


class Scalar(Part):
    def forward(self, x):
        return F.relu(self.norm(self.conv(x)) + 0.5)


class Scaled(Part):
    def forward(self, x):
        return F.relu(torch.add(self.norm(self.conv(x)), x, alpha=2))


class InPlace(Part):
    def forward(self, x):
        a = self.conv(x) * 1
        h = self.norm(a.detach())
        a.mul_(2)
        return F.relu(h + a)


class Operator(Part):
    def forward(self, x):
        h = self.norm(self.conv(x))
        h += x
        return F.relu(h)


class InPlaceRelu(Part):
    def forward(self, x):
        return F.relu(self.norm(self.conv(x)), True)


class InPlaceLayer(Part):
    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.norm(self.conv(x)))


class Branching(Part):
    def forward(self, x):
        h = F.relu(self.norm(self.conv(x)))
        return 2 * h if self.training else h


class Looking(Part):
    def forward(self, x):
        return F.relu(self.norm(self.conv(x))) if x.is_contiguous() else x


class Doubled(nn.BatchNorm2d):
    def forward(self, x):
        return 2 * super().forward(x)


class Other(Part):
    def __init__(self):
        super().__init__()
        self.norm = Doubled(2)

    def forward(self, x):
        return F.relu(self.norm(self.conv(x)))


JOINED = [Residual, Layers]
LEFT = [
    ReadTwice,
    SumReadTwice,
    Scalar,
    Scaled,
    InPlace,
    Operator,
    InPlaceRelu,
    InPlaceLayer,
    Branching,
    Looking,
    Other,
]


def numbers(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", [*JOINED, *LEFT], ids=lambda kind: kind.__name__)
def test_the_joined_module_computes_what_the_plain_one_does(kind):
    torch.manual_seed(0)
    module, other = nn.Sequential(kind(), nn.Flatten()), nn.Sequential(kind(), nn.Flatten())
    other.load_state_dict(module.state_dict())
    graph = fused_graph(module)
    assert (graph is not None) == (kind in JOINED)
    module = replace_norms(module, compiled=False)
    module = module if graph is None else fused(module, graph)
    for training in (True, False):
        module.train(training), other.train(training)
        x = numbers(6, 2, 4, 4)
        torch.testing.assert_close(module(x), other(x))
    for (name, one), two in zip(other.state_dict().items(), module.state_dict().values(), strict=True):
        torch.testing.assert_close(one, two, msg=name)


def test_a_joined_module_can_be_pickled():
    module = nn.Sequential(Residual(), nn.Flatten())
    graph = fused_graph(module)
    again = pickle.loads(pickle.dumps(fused(replace_norms(module, compiled=False), graph)))
    assert any(isinstance(part, Norm) for part in again.modules())
    assert again(numbers(6, 2, 4, 4)).min() == 0
