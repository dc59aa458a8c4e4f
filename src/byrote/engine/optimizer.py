"""The optimizer of stacked runs: every run has its own learning rate and weight decay.

torch's fused optimizers work tensor by tensor. A stacked parameter (S, ...) is therefore passed as S views, one per
run, with one parameter group per run. Each view covers the same values of its run for every S, so a run's bits do not
depend on its cohort.

Plain momentum without clipping can be computed by the network itself: inside the backward pass if there are kernels for
this, otherwise for all runs at once (`StackedNetwork.descend`). `state_of` returns the momenta in all cases.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from torch import Tensor

from byrote.engine.momentum import Descent
from byrote.engine.stacked import StackedNetwork

__all__ = ["EnsembleOptimizer"]


class EnsembleOptimizer:
    """An optimizer that updates S stacked runs in one step.

    Args:
        network: the network whose parameters, each (S, ...), are updated.
        make: a function that makes a torch optimizer from parameter groups, one per run, with `lr` and `weight_decay`.
        rates, decays: learning rate and weight decay of each run.
        clips: largest norm of each run's gradient; 0: no limit.
    """

    def __init__(
        self,
        network: StackedNetwork,
        make: Callable[[list[dict[str, object]]], torch.optim.Optimizer],
        rates: Sequence[float],
        decays: Sequence[float],
        clips: Sequence[float],
    ) -> None:
        self._named = dict(network.named_parameters())
        self._parameters = list(self._named.values())
        self._clips = list(clips)
        self._views = [[p.detach()[s] for p in self._parameters] for s in range(len(rates))]
        groups: list[dict[str, object]] = [
            {"params": views, "lr": rate, "weight_decay": decay}
            for views, rate, decay in zip(self._views, rates, decays, strict=True)
        ]
        self._optimizer = make(groups)
        self._descent = self._inside(network, list(rates), list(decays))

    def _inside(self, network: StackedNetwork, rates: list[float], decays: list[float]) -> Descent | None:
        """The descent that the network computes itself, if the optimizer and the network allow this."""
        network.end_descent()  # drops the descent of an earlier optimizer, and the weight copies
        momentum = _plain_momentum(self._optimizer)
        if momentum is None or any(self._clips):
            return None
        descent = Descent({n: torch.zeros_like(p) for n, p in self._named.items()}, momentum, decays, rates)
        if not network.descend(descent):
            return None
        for s, views in enumerate(self._views):
            for view, momenta in zip(views, descent.memory.values(), strict=True):
                self._optimizer.state[view] = {"momentum_buffer": momenta[s]}
        return descent

    def set_rates(self, rates: Sequence[float]) -> None:
        """Set each run's learning rate."""
        for s, (group, rate) in enumerate(zip(self._optimizer.param_groups, rates, strict=True)):
            group["lr"] = rate
            if self._descent is not None:
                self._descent.rates[s] = rate

    def zero_grad(self) -> None:
        """Drop the gradients of the stacked parameters."""
        if self._descent is not None:
            self._descent.zero_grad()
        for p in self._parameters:
            p.grad = None

    def step(self) -> None:
        """Update every run once from the stacked gradients."""
        if self._descent is not None:
            self._descent.finish(self._named)
            return
        for p, *views in zip(self._parameters, *self._views, strict=True):
            if p.grad is not None:
                for view, gradient in zip(views, p.grad.unbind(0), strict=True):
                    view.grad = gradient
        for of_run, clip in zip(self._views, self._clips, strict=True):
            if clip:
                torch.nn.utils.clip_grad_norm_(of_run, clip)
        self._optimizer.step()

    def state_of(self, s: int) -> list[dict[str, Tensor]]:
        """The state of the optimizer for run s, one mapping per parameter."""
        return [
            {name: value for name, value in self._optimizer.state[view].items() if isinstance(value, Tensor)}
            for view in self._views[s]
        ]

    def fits(self, s: int, state: object, names: Collection[str]) -> bool:
        """Whether `restore` accepts a state for run s: for each parameter exactly these names, with the parameter's
        shape and type."""
        if not isinstance(state, list) or len(state) != len(self._views[s]):
            return False
        for view, remembered in zip(self._views[s], state, strict=True):
            held = self._optimizer.state[view]
            if not isinstance(remembered, dict) or not {n for n, v in held.items() if isinstance(v, Tensor)} <= (
                remembered.keys() & set(names)
            ):
                return False
            for name, value in remembered.items():
                shape, dtype = (torch.Size(), torch.float32) if name == "step" else (view.shape, view.dtype)
                if name not in names or not isinstance(value, Tensor) or (value.shape, value.dtype) != (shape, dtype):
                    return False
        return True

    def restore(self, s: int, state: Sequence[Mapping[str, Tensor]]) -> None:
        """Restore a state that `state_of` returned."""
        for view, remembered in zip(self._views[s], state, strict=True):
            own = self._optimizer.state[view]
            for name, value in remembered.items():
                if name in own:
                    own[name].copy_(value)  # in place, because the network may refer to these momenta
                else:
                    own[name] = value.clone()


def _plain_momentum(optimizer: torch.optim.Optimizer) -> float | None:
    """The momentum of torch's SGD if it computes the same as `Descent`; None for any other optimizer."""
    settings = optimizer.defaults
    if type(optimizer) is not torch.optim.SGD or any(settings[name] for name in ("nesterov", "dampening", "maximize")):
        return None
    return float(settings["momentum"])
