"""The base of networks: a frozen description that builds one plain module.

A network is described by its fields alone; the shape of an input and the number of outputs N are given when
it is built. The built module has two separable parts, because all measures here concern the point between them:
`features` maps a batch to the penultimate activations h in R^M, `head` is the linear classifier z = W h + b of Papyan,
Han & Donoho (2020) and of MD section 3.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from byrote.component import Component
from byrote.networks.initial import initialize, unallocated

__all__ = ["Classifier", "Layered", "Network", "unstarted"]


class Classifier(nn.Module):
    """A feature map and a linear head: `forward(x) = head(features(x))`.

    Only `torch.nn` modules inside: this is what a user exports, and what the engine's stacked form is tested against.
    """

    def __init__(self, features: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x))
        return logits


class Network(Component, family="networks"):
    """Base of the networks. A member writes `create`; building follows from it.

    Attributes:
        layers_only: the modules are layers of `torch.nn` one after another, which depend neither on the layout of
            images nor on each other, so that the engine may change the layout and fuse layers.
    """

    layers_only: ClassVar[bool] = False

    def create(self, input_shape: tuple[int, ...], num_outputs: int, generator: torch.Generator) -> Classifier:
        """The module with its initial weights, all randomness from `generator`."""
        raise NotImplementedError

    def build(
        self, input_shape: Sequence[int], num_outputs: int, generator: torch.Generator | None = None
    ) -> Classifier:
        """One plain module, its initial weights drawn from `generator`.

        Args:
            input_shape: the shape of one input without the batch axis, e.g. (3, 32, 32).
            num_outputs: N, at least 1.
            generator: a CPU generator, the only source of randomness, used in the order of the parameters. None uses a
                fresh one at torch's default seed, so that two calls agree.

        Returns:
            A `Classifier`: x (B, *input_shape) -> logits (B, N), `.features(x)` (B, M), `.head(h)` (B, N).

        Raises:
            ValueError: an empty shape, a size below 1, or one this network cannot take.
        """
        shape = self._checked(input_shape, num_outputs)
        return self.create(shape, num_outputs, generator or torch.Generator())

    def _checked(self, input_shape: Sequence[int], num_outputs: int) -> tuple[int, ...]:
        shape = tuple(int(size) for size in input_shape)
        if not shape or min(shape) < 1:
            raise ValueError(f"{self.kind} needs the shape of one input, sizes of at least 1, got {shape}")
        if num_outputs < 1:
            raise ValueError(f"{self.kind} needs at least one output, got {num_outputs}")
        return shape


class Layered(Network, abstract=True):
    """Base of the networks made of `torch.nn` layers, initialized by torch's defaults. A member writes `assemble`."""

    layers_only: ClassVar[bool] = True

    def assemble(self, input_shape: tuple[int, ...], num_outputs: int) -> Classifier:
        """The layers, with arbitrary initial values."""
        raise NotImplementedError

    def create(self, input_shape: tuple[int, ...], num_outputs: int, generator: torch.Generator) -> Classifier:
        with unallocated():
            module = self.assemble(input_shape, num_outputs)
        return initialize(module, generator)


def unstarted(network: Network, input_shape: tuple[int, ...], num_outputs: int) -> Classifier:
    """A network's module for the sizes of its layers only; the values of its weights are arbitrary where possible.

    Args:
        network: any network; the weights of one that is not `Layered` are drawn by its own code.
        input_shape: the shape of one input without the batch axis.
        num_outputs: N, at least 1.

    >>> from byrote.networks import MLP
    >>> unstarted(MLP(depth=1, feature_width=2), (1, 4, 4), 3).head.weight.shape
    torch.Size([3, 2])
    """
    if not isinstance(network, Layered):
        return network.build(input_shape, num_outputs)
    with unallocated():
        module = network.assemble(input_shape, num_outputs)
    return module.to_empty(device="cpu")
