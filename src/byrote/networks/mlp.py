"""The fully connected network in the experiments of MD (Nguyen et al. 2023)."""

import math
from itertools import pairwise

from pydantic import Field
from torch import nn

from byrote.networks.base import Classifier, Layered, Network

__all__ = ["MLP", "dense_weights"]


class MLP(Layered, kind="mlp"):
    """Linear-BatchNorm-ReLU blocks, the last of which has width M and gives the features, then Linear M -> N.

    MD's network is `MLP(depth=9, width=2048)` with M = N: eight blocks of width 2048, a ninth of width M that is also
    normalized and rectified (so its features are nonnegative), and a classifier with bias. The defaults are a network
    that a laptop trains in seconds.

    Args:
        depth: the number of Linear-BatchNorm-ReLU blocks, including the last block of width M, at least 1.
        width: the outputs of every block except the last, at least 1.
        feature_width: M, at least 1; None means M = N.

    >>> net = MLP(depth=3, width=16, feature_width=2).build((1, 28, 28), 10)
    >>> net.head
    Linear(in_features=2, out_features=10, bias=True)
    """

    depth: int = Field(default=3, ge=1)
    width: int = Field(default=128, ge=1)
    feature_width: int | None = Field(default=None, ge=1)

    def assemble(self, input_shape: tuple[int, ...], num_outputs: int) -> Classifier:
        last = self.feature_width or num_outputs  # M
        widths = [math.prod(input_shape), *[self.width] * (self.depth - 1), last]
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()]
        return Classifier(nn.Sequential(*layers), nn.Linear(last, num_outputs))


def dense_weights(network: Network) -> int:
    """Roughly the number of weights of a network of dense layers; 0 for any other network.

    >>> dense_weights(MLP(depth=9, width=128))
    249856
    """
    return network.width * (network.width * network.depth + 800) if isinstance(network, MLP) else 0
