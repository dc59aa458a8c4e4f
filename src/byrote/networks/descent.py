"""Gradient descent with momentum as a setting of a network, for stacks that carry it out inside the backward pass.

While a block of a weight's gradient lies in the innermost cache its weights and momenta are read and written once. A
separate optimiser writes all gradients to memory first and reads them back, about 40% of a step's traffic.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["Descent"]


@dataclass(eq=False)
class Descent:
    """m <- momentum m + (g + decay theta); theta <- theta - rate m, for every run with its own rate and decay.

    Args:
        memory: the momenta m by the name of their stacked parameter, each (S, ...) in float32. Changed in place.
        momentum: in [0, 1), shared by all runs.
        decays: weight decay of each run.
        rates: learning rate of each run; set it anew whenever it changes.
    """

    memory: Mapping[str, Tensor]
    momentum: float
    decays: list[float]
    rates: list[float]

    @torch.no_grad()
    def finish(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Step the parameters that still have a gradient."""
        for name, p in parameters.items():
            g, m = p.grad, self.memory[name]
            if g is None:
                continue
            parts = [(m, p, g)] if len(p) == 1 else zip(m, p, g, strict=True)
            for (one, theta, slope), rate, decay in zip(parts, self.rates, self.decays, strict=True):
                one.mul_(self.momentum).add_(slope).add_(theta, alpha=decay)
                theta.sub_(one, alpha=rate)
