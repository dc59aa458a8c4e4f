"""Components, defined as in a user's own module, that raise an exception at different stages of a run."""

import torch
from torch import nn
from toys import Blobs

from byrote.networks import MLP
from byrote.noise.base import Noise
from byrote.recipe import Schedule


class Law(Noise):
    """A noise law that raises when it draws labels."""

    def effective_rate(self, num_classes):
        return 0.25

    def _observe(self, samples):
        raise LookupError("in the noise law")


class RatelessLaw(Law):
    """A noise law that raises when its rate is read."""

    def effective_rate(self, num_classes):
        raise LookupError("in the rate of the law")


class Built(MLP):
    """A network that raises when it is built."""

    def create(self, input_shape, num_outputs, generator):
        raise LookupError("in the network's constructor")


class Forward(nn.Module):
    """A network that raises in its forward pass."""

    def __init__(self, outputs):
        super().__init__()
        self.features = Inner()
        self.head = nn.Linear(16, outputs)


class Inner(nn.Module):
    def forward(self, x):
        raise LookupError("in the forward pass")


def module(input_shape, num_outputs):
    return Forward(num_outputs)


def factory(input_shape, num_outputs):
    raise LookupError("in the factory")


class Data(Blobs):
    """A data set that tries to end Python when it is read."""

    def decode(self, split):
        raise SystemExit("in the leaving data")


class Late(Schedule):
    """A loss that raises from the second epoch on."""

    def factor(self, epoch, epochs):
        if epoch:
            raise LookupError("in the schedule")
        return 1.0


class Leaving(Schedule):
    """A schedule that tries to end Python."""

    def factor(self, epoch, epochs):
        raise SystemExit("in the leaving schedule")


def busy(snapshot):
    """A reading that raises if many labels are wrong."""
    if float(snapshot.corrupted.double().mean()) > 0.12:
        raise LookupError("in the reading")
    return float(torch.tensor(1.0))
