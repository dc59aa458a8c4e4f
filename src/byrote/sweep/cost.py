"""The cost of training a run, from which tasks are ordered and the remaining time is predicted."""

from typing import Any

import torch
from torch import Tensor, nn

from byrote.experiment import Experiment
from byrote.networks import Network
from byrote.networks.base import unstarted

__all__ = ["multiply_adds", "training_cost"]


def training_cost(experiment: Experiment, size: tuple[int, ...]) -> float:
    """Multiply-adds of one run's training: 3 x n x epochs x the multiply-adds of one sample's forward pass.

    A backward pass takes twice as many multiply-adds as a forward pass, for the gradients of the weights and of the
    activations. A run with a `start` loss is trained twice. Evaluations are not counted.

    Args:
        size: (n, C, H, W), the shape of its training images.
    """
    samples, *shape = size
    stages = 1 if experiment.start is None else 2
    forward = multiply_adds(experiment.network, tuple(shape), experiment.num_outputs)
    return 3.0 * samples * experiment.training.epochs * stages * forward


_COUNTED: dict[tuple[str, tuple[int, ...], int], int] = {}


def multiply_adds(network: Network, input_shape: tuple[int, ...], num_outputs: int) -> int:
    """Multiply-adds of one sample's forward pass through the linear and convolution layers.

    The cost of a layer is its number of outputs times the number of weights per output. Other products in a user's own
    module (attention, recurrence) are not counted. The result is 0 for a network that cannot be built or run; its tasks
    fail at once and report the reason.

    >>> from byrote.networks import MLP
    >>> multiply_adds(MLP(depth=2, width=8, feature_width=3), (1, 4, 4), 5)  # 16 x 8 + 8 x 3 + 3 x 5
    167
    """
    architecture = network.digest(), input_shape, num_outputs
    if architecture not in _COUNTED:
        with torch.random.fork_rng(devices=[]):  # a user's own module may draw numbers
            _COUNTED[architecture] = _count(network, input_shape, num_outputs)
    return _COUNTED[architecture]


def _count(network: Network, input_shape: tuple[int, ...], num_outputs: int) -> int:
    counts: list[int] = []

    def note(layer: Any, inputs: Any, outputs: Tensor) -> None:
        counts.append(outputs.numel() * layer.weight[0].numel())

    try:
        module = unstarted(network, input_shape, num_outputs).eval()
        for layer in module.modules():
            if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
                layer.register_forward_hook(note)
        module(torch.zeros(1, *input_shape))
    except Exception:  # a user's own module can raise anything
        return 0
    return sum(counts)
