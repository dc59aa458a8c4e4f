"""What every network is: a frozen description that builds one plain module, or S of them as one stack.

A network is described by its fields alone; the shape of an input and the number of outputs N are given when
it is built. The built module has two separable parts, because everything this laboratory measures happens
between them: `features` maps a batch to the penultimate activations h in R^M, `head` is the linear
classifier z = W h + b of Papyan, Han & Donoho (2020) and of MD section 3.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from byrote.component import Component
from byrote.networks.dense import DenseStack, is_dense
from byrote.networks.initial import initialise, unallocated
from byrote.networks.side_by_side import SideBySide
from byrote.networks.stack import Stack, StackedNetwork

__all__ = ["Classifier", "Layered", "Network", "Precision"]

Precision = Literal["fp32", "bf16"]


class Classifier(nn.Module):
    """A feature map and a linear head: `forward(x) = head(features(x))`.

    Only `torch.nn` modules inside: this is what a user exports, and what the stacked form is tested against.
    """

    def __init__(self, features: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x))
        return logits


class Network(Component, family="networks"):
    """Base of the networks. A member writes `create`; building and stacking follow from it."""

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
            generator: a CPU generator; it alone is drawn from, in the order of the parameters. None starts a
                fresh one at torch's default seed, so that two calls agree.

        Returns:
            A `Classifier`: x (B, *input_shape) -> logits (B, N), `.features(x)` (B, M), `.head(h)` (B, N).

        Raises:
            ValueError: an empty shape, a size below 1, or one this network cannot take.
        """
        shape = self._checked(input_shape, num_outputs)
        return self.create(shape, num_outputs, generator or torch.Generator())

    def stack(
        self,
        input_shape: Sequence[int],
        num_outputs: int,
        generators: Sequence[torch.Generator],
        *,
        precision: Precision = "fp32",
        compiled: bool = True,
        batched: bool = False,
    ) -> StackedNetwork:
        """S modules as one: every parameter and buffer gains a leading axis of runs.

        Args:
            input_shape, num_outputs: as for `build`.
            generators: one a run; slice s has exactly the weights of `build(..., generators[s])`.
            precision: "fp32", everything in float32; "bf16" gives matrix products and convolutions bfloat16
                inputs and weights, cast once a step from the float32 parameters, and keeps normalisation, the head
                and all states in float32.
            compiled: let dense chains, and normalisation (in "fp32" not that of a user's own module), use kernels
                compiled on this machine, where it has a C++ compiler. They round differently from torch's operators,
                so this belongs to a run's recorded numerics, and have no second derivatives. Without them "fp32"
                computes what the plain module computes, bit for bit on one CPU.
            batched: compute all runs in one batched call, for accelerators: products become batched products,
                convolutions grouped ones. A run's bits then depend on the kernels the batch picks. Not for
                modules whose Python code branches on values.

        Returns:
            A `StackedNetwork`: x (S, B, *input_shape) or one shared (B, *input_shape) -> logits (S, B, N).

        Raises:
            ValueError: no generator, or what `build` raises.
        """
        if not generators:
            raise ValueError("a stack needs at least one generator, one a run, got none")
        twins = [self.build(input_shape, num_outputs, generator) for generator in generators]
        features: Sequence[nn.Module] = [twin.features for twin in twins]
        shape = tuple(input_shape)
        rank, known = len(shape) + 1, isinstance(self, Layered)
        stacked: Stack
        if not is_dense(features[0]):
            stacked = Stack(features, rank, precision, compiled, batched, known)
        elif batched:
            stacked = SideBySide(features, rank, precision)
        else:
            stacked = DenseStack(features, rank, precision, compiled)
        return StackedNetwork(twins, shape, stacked, Stack([twin.head for twin in twins], 2, batched=batched))

    def _checked(self, input_shape: Sequence[int], num_outputs: int) -> tuple[int, ...]:
        shape = tuple(int(size) for size in input_shape)
        if not shape or min(shape) < 1:
            raise ValueError(f"{self.kind} needs the shape of one input, sizes of at least 1, got {shape}")
        if num_outputs < 1:
            raise ValueError(f"{self.kind} needs at least one output, got {num_outputs}")
        return shape


class Layered(Network, abstract=True):
    """Base of the networks made of `torch.nn` layers, started by torch's default laws. A member writes `assemble`."""

    def assemble(self, input_shape: tuple[int, ...], num_outputs: int) -> Classifier:
        """The layers, without caring for their initial values."""
        raise NotImplementedError

    def create(self, input_shape: tuple[int, ...], num_outputs: int, generator: torch.Generator) -> Classifier:
        with unallocated():
            module = self.assemble(input_shape, num_outputs)
        return initialise(module, generator)
