"""Gradient descent with momentum as a setting of a network, for stacks that carry it out inside the backward pass.

While a block of a weight's gradient lies in the innermost cache its weights and momenta are read and written once. A
separate optimiser writes all gradients to memory first and reads them back, about 40% of a step's traffic.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from byrote.networks.native import address_of, kernels

__all__ = ["Descent"]


@dataclass(eq=False)
class Descent:
    """m <- momentum m + (g + decay theta); theta <- theta - rate m, for every run with its own rate and decay.

    Args:
        memory: the momenta m by the name of their stacked parameter, each (S, ...) in float32. Changed in place.
        momentum: in [0, 1), shared by all runs.
        decays: weight decay of each run.
        rates: learning rate of each run; set its entries whenever they change, networks hold this very list.
    """

    memory: Mapping[str, Tensor]
    momentum: float
    decays: list[float]
    rates: list[float]

    def finish(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Step the parameters that still have a gradient, on a CPU with kernels: there alone a network descends."""
        found = kernels()
        if found is None:
            raise RuntimeError("a descent needs compiled kernels, and there are none here: use an optimiser")
        for name, p in parameters.items():
            if p.grad is None:
                continue
            g, m = p.grad.contiguous(), self.memory[name]
            for s, (rate, decay) in enumerate(zip(self.rates, self.decays, strict=True)):
                where = address_of(g, s), address_of(m, s), address_of(p, s)
                found.fp32.descend(*where, p.stride(0), rate, self.momentum, decay)
            torch.autograd.graph.increment_version(p)
