"""A user's own `nn.Module` as a network."""

import importlib
from collections.abc import Callable
from typing import Any

import torch
from pydantic import Field
from torch import nn

from byrote.component import did_you_mean
from byrote.networks.base import Classifier, Network

__all__ = ["Own"]


class Own(Network):
    """Any module that ends in a linear layer, given by the name of the callable that builds the module.

    It can be trained alone or in a stack, like every other network. The runs of a stack are computed one after another.
    On request they are computed all at once through `torch.func.vmap`, which requires that the module's code does not
    branch on values.

    Args:
        factory: "module:callable"; the callable takes (input_shape, num_outputs) and returns an `nn.Module`. It may
            draw its initial weights from torch's global generator, which is seeded from the run's own generator and
            restored afterwards.
        head: the dotted name of the final `nn.Linear`; its inputs are the features (B, M). None: the module
            has parts called `features` and `head` and computes `head(features(x))`.

    Raises:
        ValueError: on `build`, if the factory cannot be imported or the head is not a linear layer.

    >>> net = Own(factory="byrote.networks.own:perceptron", head="out").build((4,), 2)
    >>> net.features(torch.zeros(3, 4)).shape, net(torch.zeros(3, 4)).shape
    (torch.Size([3, 8]), torch.Size([3, 2]))
    """

    factory: str = Field(pattern=r"^[\w.]+:[\w.]+$")
    head: str | None = Field(default=None, min_length=1)

    def create(self, input_shape: tuple[int, ...], num_outputs: int, generator: torch.Generator) -> Classifier:
        make = self._callable()
        seed = int(torch.randint(2**62, (), generator=generator))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = make(input_shape, num_outputs)
        if not isinstance(module, nn.Module):
            raise ValueError(f"{self.factory} must return an nn.Module, got {type(module).__name__}")
        return self._split(module, num_outputs)

    def _callable(self) -> Callable[[tuple[int, ...], int], Any]:
        module, _, name = self.factory.partition(":")
        try:
            factory: Any = importlib.import_module(module)
            for part in name.split("."):
                factory = getattr(factory, part)
        except (ImportError, AttributeError) as error:
            raise ValueError(f"the network {self.factory!r} cannot be imported: {error}") from None
        if not callable(factory):
            raise ValueError(f"the network {self.factory!r} must be callable, got {type(factory).__name__}")
        return factory  # type: ignore[no-any-return]

    def _split(self, module: nn.Module, num_outputs: int) -> Classifier:
        parts = dict(module.named_modules())
        name = "head" if self.head is None else self.head
        head = parts.get(name)
        if not isinstance(head, nn.Linear) or head.out_features != num_outputs:
            linear = [part for part, value in parts.items() if isinstance(value, nn.Linear)]
            raise ValueError(
                f"the head {name!r} of {self.factory} must be an nn.Linear with {num_outputs} outputs, "
                f"got {head}; {did_you_mean(name, linear)}"
            )
        if self.head is not None:
            module.set_submodule(self.head, nn.Identity())
            return Classifier(module, head)
        if "features" not in parts:
            raise ValueError(f"{self.factory} has no part called 'features': name its final linear layer as the head")
        return Classifier(parts["features"], head)


class _Perceptron(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(inputs, 8)
        self.out = nn.Linear(8, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.out(self.hidden(x.flatten(1)).tanh())
        return logits


def perceptron(input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
    """An example of a factory: one hidden layer of 8 units, with a head called `out`."""
    return _Perceptron(torch.Size(input_shape).numel(), num_outputs)
