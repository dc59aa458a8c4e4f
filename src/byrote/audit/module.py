"""Build modules with fresh weights from a user's `nn.Module`, a linear classifier, or one of byrote's networks."""

import copy
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import nn

from byrote.networks import MLP, Network
from byrote.networks.base import Classifier

__all__ = ["NETWORK", "Buildable", "GivenModule", "chosen"]


NETWORK = MLP(depth=3, width=128, feature_width=64)


class Buildable(Protocol):
    """Builds modules of one shape with fresh weights; see `byrote.networks.Network`."""

    @property
    def layers_only(self) -> bool: ...

    def build(
        self, input_shape: Sequence[int], num_outputs: int, generator: torch.Generator | None = None
    ) -> Classifier: ...


class GivenModule:
    """Copies of the user's module with fresh weights in all layers that can be reset.

    Args:
        module: maps a batch to logits; its last `nn.Linear` is the classifier.

    Raises:
        TypeError: not an `nn.Module`.
    """

    layers_only = False

    def __init__(self, module: nn.Module) -> None:
        if not isinstance(module, nn.Module):
            raise TypeError(f"a network must be an nn.Module, got a {type(module).__name__}")
        self._module = module

    def build(
        self, input_shape: Sequence[int], num_outputs: int, generator: torch.Generator | None = None
    ) -> Classifier:
        """Build a copy with fresh weights, split into feature map and classifier; see `Network.build`."""
        module = copy.deepcopy(self._module)
        seed = int(torch.randint(2**62, (), generator=generator))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for part in module.modules():
                draw: Any = getattr(part, "reset_parameters", None)
                if callable(draw):
                    draw()
        linear = [(name, part) for name, part in module.named_modules() if isinstance(part, nn.Linear)]
        if not linear or linear[-1][1].out_features != num_outputs:
            last = f"{linear[-1][1].out_features} outputs" if linear else "no nn.Linear"
            raise ValueError(
                f"the network must end in an nn.Linear with {num_outputs} outputs, one per class, got {last}"
            )
        name, head = linear[-1]
        if not name:
            return Classifier(nn.Flatten(), head)
        module.set_submodule(name, nn.Identity())
        return Classifier(module, head)


def chosen(network: Any, input_shape: Sequence[int], num_classes: int) -> Buildable:
    """Choose the network to train: None or "mlp", "linear", one of byrote's networks, or an `nn.Module`.

    Raises:
        ValueError, TypeError: anything else.
    """
    if network is None or network == "mlp":
        return NETWORK
    if network == "linear":
        width = int(torch.Size(input_shape).numel())
        return GivenModule(nn.Sequential(nn.Flatten(), nn.Linear(width, num_classes)))
    if isinstance(network, Network):
        return network
    if isinstance(network, nn.Module):
        return GivenModule(network)
    raise ValueError(f"network must be 'mlp', 'linear', 'knn', a byrote network, or an nn.Module, got {network!r}")
