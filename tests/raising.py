"""Components of a user's own module, each with a line that raises: what a run costs, and what it spares."""

import torch
from torch import nn
from toys import Blobs

from byrote.networks import MLP
from byrote.noise.base import Noise
from byrote.recipe import Schedule


class Law(Noise):
    """Cannot draw labels."""

    def effective_rate(self, num_classes):
        return 0.25

    def _observe(self, samples):
        raise LookupError("in the noise law")


class RatelessLaw(Law):
    """Does not know its own rate."""

    def effective_rate(self, num_classes):
        raise LookupError("in the rate of the law")


class Built(MLP):
    """Cannot be built."""

    def create(self, input_shape, num_outputs, generator):
        raise LookupError("in the network's making")


class Forward(nn.Module):
    """Cannot compute."""

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
    """Ends Python where it is read, or tries to."""

    def decode(self, split):
        raise SystemExit("in the leaving data")


class Late(Schedule):
    """Raises from the second epoch on."""

    def factor(self, epoch, epochs):
        if epoch:
            raise LookupError("in the schedule")
        return 1.0


class Leaving(Schedule):
    """Ends Python, or tries to."""

    def factor(self, epoch, epochs):
        raise SystemExit("in the leaving schedule")


def busy(snapshot):
    """A reading that raises where many labels are wrong."""
    if float(snapshot.corrupted.double().mean()) > 0.12:
        raise LookupError("in the reading")
    return float(torch.tensor(1.0))
