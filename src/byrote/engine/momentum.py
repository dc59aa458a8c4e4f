"""Gradient descent with momentum that a network applies itself: inside the backward pass, or to all runs at once after
it.

Inside the backward pass, weights and momenta are read and written once, while the block of the gradient that belongs to
them is in the innermost cache. A separate optimizer writes all gradients to memory first and reads them back, which is
about 40% of a step's memory traffic. With torch's operators, `BatchedStep` takes the step of all runs in one function.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from byrote.engine.compiled import CompiledFunction
from byrote.engine.kernels.library import address_of, kernels

__all__ = ["BatchedStep", "Descent"]

log = logging.getLogger("byrote")


@dataclass(eq=False)
class Descent:
    """m <- momentum m + (g + decay theta); theta <- theta - rate m, for every run with its own rate and decay.

    Args:
        memory: the momenta m, each (S, ...) in float32, by the name of the stacked parameter. They are changed in
            place.
        momentum: in [0, 1), shared by all runs.
        decays: weight decay of each run.
        rates: learning rate of each run. When rates change, set the entries of this list, because networks refer to the
            list itself.
        batched_step: the step that updates all runs at once; None if kernels update run by run.
            `StackedNetwork.descend` sets it.
    """

    memory: Mapping[str, Tensor]
    momentum: float
    decays: list[float]
    rates: list[float]
    batched_step: "BatchedStep | None" = None

    def zero_grad(self) -> None:
        """Drop the gradients in the bfloat16 copies; the caller drops the gradients of the parameters."""
        if self.batched_step is not None:
            self.batched_step.zero_grad()

    def finish(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Update the parameters that still have a gradient: all runs at once, or by kernels on a CPU."""
        if self.batched_step is not None:
            self.batched_step.step(self, parameters)
            return
        library = kernels()
        if library is None:
            raise RuntimeError("a descent needs compiled kernels, but there are none here: use an optimizer")
        for name, p in parameters.items():
            if p.grad is None:
                continue
            if not p.is_cpu:
                raise RuntimeError(
                    f"{name} has moved to {p.device} since this descent began on the CPU: start a new descent"
                )
            g, m = p.grad.contiguous(), self.memory[name]
            for s, (rate, decay) in enumerate(zip(self.rates, self.decays, strict=True)):
                where = address_of(g, s), address_of(m, s), address_of(p, s)
                library.fp32.momentum_step(*where, p.stride(0), rate, self.momentum, decay)
            torch.autograd.graph.increment_version(p)


class BatchedStep:
    """The step of all runs at once with torch's operators, and the bfloat16 copies of weights that products read.

    A copy is a leaf of autograd, so its gradient stays bfloat16; if several passes precede a step, their gradients are
    summed in bfloat16. The step reads this gradient, the momentum and the float32 weight, and writes momentum, weight
    and copy.
    """

    def __init__(self) -> None:
        self._copies: dict[Tensor, _Copy] = {}
        self._step: Callable[..., None] = _step
        self._settings_of: tuple[object, ...] = ()
        self._settings: tuple[Tensor, ...] = ()

    def compile_with(self, **options: Any) -> None:
        """Compile further steps by `torch.compile(..., **options)`; if that fails, warn once and leave them
        uncompiled."""

        def refused(error: Exception) -> None:
            log.info("the optimizer cannot be compiled here (%s): it runs uncompiled", str(error).split("\n")[0])

        self._step = CompiledFunction(_step, refused, **{"dynamic": False, **options})

    def leave_uncompiled(self) -> None:
        """Stop compiling the step."""
        self._step = _step

    def narrowed(self, weights: Sequence[Tensor]) -> list[Tensor]:
        """Up-to-date bfloat16 copies of these weights; copies of any other weights are dropped.

        A weight is copied again if its address or version has changed. torch's fused optimizers and changes through
        `.data` do not raise the version; call `forget` after them.
        """
        self._copies = {weight: self._copies.get(weight) or _Copy() for weight in weights}
        return [copy.of(weight) for weight, copy in self._copies.items()]

    def drop(self) -> None:
        """Keep no copy."""
        self._copies = {}

    def forget(self) -> None:
        """Discard all copies and their gradients, so that every weight is copied again."""
        for copy in self._copies.values():
            copy.source = None
        self.zero_grad()

    def zero_grad(self) -> None:
        """Drop the gradients of the copies."""
        for copy in self._copies.values():
            copy.narrow.grad = None

    def step(self, descent: Descent, parameters: Mapping[str, nn.Parameter]) -> None:
        """Update the parameters that have a gradient; it is removed first, so that no gradient is used twice."""
        gradients = {name: g for name, p in parameters.items() if (g := self._taken(p)) is not None}
        if not gradients:
            return
        thetas = [parameters[name] for name in gradients]
        momenta = [descent.memory[name] for name in gradients]
        copies = {theta: self._copies[theta] for theta in thetas if theta in self._copies}
        narrow = [copies[theta].narrow if theta in copies else None for theta in thetas]
        for copy in copies.values():
            copy.source = None
        rates, decays = self._of_runs(descent, thetas[0].device)
        with torch.no_grad():
            self._step(thetas, momenta, list(gradients.values()), narrow, rates, decays, descent.momentum)
        for theta, copy in copies.items():
            copy.note(theta)

    def _taken(self, p: nn.Parameter) -> Tensor | None:
        """Remove and return the gradient of p, which is in its copy, in p itself, or in both."""
        holders = [self._copies[p].narrow, p] if p in self._copies else [p]
        gradients = [holder.grad for holder in holders if holder.grad is not None]
        for holder in holders:
            holder.grad = None
        return sum(gradients[1:], gradients[0]) if gradients else None

    def _of_runs(self, descent: Descent, device: torch.device) -> tuple[Tensor, ...]:
        """Rates and decays, each (S,), on the device; made again when the values change, without waiting for the
        device."""
        current = (device, *descent.rates, *descent.decays)
        if current != self._settings_of:
            table = torch.tensor([descent.rates, descent.decays], dtype=torch.float32)
            table = table.pin_memory() if device.type == "cuda" else table  # otherwise the host waits for the copy
            self._settings_of, self._settings = current, table.to(device, non_blocking=True).unbind()
        return self._settings


class _Copy:
    """A bfloat16 copy of a weight, and the weight itself."""

    def __init__(self) -> None:
        self.narrow = nn.Parameter(torch.empty(0, dtype=torch.bfloat16))
        self.source: Tensor | None = None  # kept alive, so that no other weight can occupy its memory
        self.version = 0

    def of(self, weight: Tensor) -> Tensor:
        """The copy of `weight`, which is made again unless it is up to date."""
        if (self.narrow.device, self.narrow.shape) != (weight.device, weight.shape):
            with torch.inference_mode(False):
                self.narrow, self.source = nn.Parameter(torch.empty_like(weight, dtype=torch.bfloat16)), None
        if self.source is None or self.version != weight._version or not self.source.is_set_to(weight):
            with torch.inference_mode(False), torch.no_grad():
                self.narrow.copy_(weight)  # in place, so that autograd refuses a graph made with the old values
            self.note(weight)
        return self.narrow.requires_grad_(weight.requires_grad)

    def note(self, weight: Tensor) -> None:
        """Record the weight that was copied, and its version."""
        self.source, self.version = weight.detach(), weight._version


def _step(
    thetas: Sequence[Tensor],
    momenta: Sequence[Tensor],
    gradients: Sequence[Tensor],
    copies: Sequence[Tensor | None],
    rates: Tensor,
    decays: Tensor,
    momentum: float,
) -> None:
    for theta, m, g, copy in zip(thetas, momenta, gradients, copies, strict=True):
        rate, decay = (of_run.view(-1, *[1] * (theta.dim() - 1)) for of_run in (rates, decays))
        m.mul_(momentum).add_(torch.addcmul(g, theta, decay))
        theta.addcmul_(m, rate, value=-1)
        if copy is not None:
            copy.copy_(theta)
