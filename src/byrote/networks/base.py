"""The base of networks: a frozen description that builds one plain module.

A network is described by its fields alone; the shape of an input and the number of outputs N are passed when it is
built. The built module has two separate parts, because all measures in byrote use the features between them: `features`
maps a batch to the penultimate activations h in R^M, and `head` is the linear classifier z = W h + b, as in Papyan, Han
& Donoho (2020) and in section 3 of MD (Nguyen et al. 2023).
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

    It contains only `torch.nn` modules. This is the form that a user exports and against which the stacked form of the
    engine is tested.
    """

    def __init__(self, features: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x))
        return logits


class Network(Component, family="networks"):
    """Base of the networks. A subclass implements `create`, which `build` calls.

    Attributes:
        layers_only: the network is a plain sequence of `torch.nn` layers that do not depend on the memory layout of
            images, so that the engine may change the layout and fuse layers.
    """

    layers_only: ClassVar[bool] = False

    def create(self, input_shape: tuple[int, ...], num_outputs: int, generator: torch.Generator) -> Classifier:
        """The module with its initial weights; all randomness comes from `generator`."""
        raise NotImplementedError

    def build(
        self, input_shape: Sequence[int], num_outputs: int, generator: torch.Generator | None = None
    ) -> Classifier:
        """Build one plain module, with initial weights drawn from `generator`.

        Args:
            input_shape: the shape of one input without the batch axis, e.g. (3, 32, 32).
            num_outputs: N, at least 1.
            generator: a CPU generator, the only source of randomness, used in the order of the parameters. None uses a
                new generator with torch's default seed, so that two calls give equal weights.

        Returns:
            A `Classifier`: x (B, *input_shape) -> logits (B, N), `.features(x)` (B, M), `.head(h)` (B, N).

        Raises:
            ValueError: an empty shape, a size below 1, or a shape that this network does not accept.
        """
        shape = self._checked(input_shape, num_outputs)
        return self.create(shape, num_outputs, generator or torch.Generator())

    def _checked(self, input_shape: Sequence[int], num_outputs: int) -> tuple[int, ...]:
        shape = tuple(int(size) for size in input_shape)
        if not shape or min(shape) < 1:
            raise ValueError(f"{self.kind} needs the shape of one input with sizes of at least 1, got {shape}")
        if num_outputs < 1:
            raise ValueError(f"{self.kind} needs at least one output, got {num_outputs}")
        return shape


class Layered(Network, abstract=True):
    """Base of the networks made of `torch.nn` layers, initialized by torch's defaults. A subclass implements
    `assemble`."""

    layers_only: ClassVar[bool] = True

    def assemble(self, input_shape: tuple[int, ...], num_outputs: int) -> Classifier:
        """The layers, with arbitrary initial values."""
        raise NotImplementedError

    def create(self, input_shape: tuple[int, ...], num_outputs: int, generator: torch.Generator) -> Classifier:
        with unallocated():
            module = self.assemble(input_shape, num_outputs)
        return initialize(module, generator)


def unstarted(network: Network, input_shape: tuple[int, ...], num_outputs: int) -> Classifier:
    """A network's module, for its layer sizes only; if possible, no weights are drawn.

    Args:
        network: any network; if it is not `Layered`, its own code still draws weights.
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
