"""The optimiser of a cohort: every run steps with its own learning rate and weight decay.

torch's fused optimisers work tensor by tensor. A stacked parameter (S, ...) is therefore handed over as S
views, one a run, in parameter groups of the runs that share hyperparameters. The views start at the same place of
their run whatever S is, so a run's bits do not depend on its cohort.

Plain momentum without clipping can be carried out by the network itself: inside the backward pass where it has kernels
for that, else for all runs at once (`StackedNetwork.descend`). The momenta are told by `state_of` all the same.
"""

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from byrote.networks import Descent, StackedNetwork
from byrote.networks.side_by_side import SideBySide
from byrote.recipe import SGD, Adam, Optimizer, Training

__all__ = ["CohortOptimizer"]


def _torch_optimizer(recipe: Optimizer, groups: list[dict[str, object]]) -> torch.optim.Optimizer:
    if isinstance(recipe, SGD):
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=True)
    if isinstance(recipe, Adam):
        return torch.optim.Adam(groups, lr=recipe.lr, betas=(recipe.beta1, recipe.beta2), eps=recipe.eps, fused=True)
    raise ValueError(f"the engine carries out sgd and adam, got optimizer {recipe.kind!r}")


class CohortOptimizer:
    """One step for S stacked runs.

    Args:
        network: its parameters, each (S, ...), are stepped.
        trainings: one a run; all share epochs, batch size and the optimiser's kind.
    """

    def __init__(self, network: StackedNetwork, trainings: Sequence[Training]) -> None:
        self._named = dict(network.named_parameters())
        self._parameters = list(self._named.values())
        self._trainings = list(trainings)
        self._views = [[p.detach()[s] for p in self._parameters] for s in range(len(trainings))]
        first = trainings[0].optimizer
        alike = {t.optimizer.replace(lr=first.lr, weight_decay=first.weight_decay) for t in trainings}
        if len(alike) > 1:
            raise ValueError("a cohort's optimisers may differ in lr and weight_decay alone")
        groups: list[dict[str, object]] = [
            {"params": views, "lr": t.optimizer.lr, "weight_decay": t.optimizer.weight_decay}
            for views, t in zip(self._views, trainings, strict=True)
        ]
        self._optimizer = _torch_optimizer(first, groups)
        self._descent = self._inside(network, first)

    def _inside(self, network: StackedNetwork, recipe: Optimizer) -> Descent | None:
        """The descent that the network carries out itself, where recipe and network allow it."""
        network.features.descent = None  # that of an optimiser before this one, and its copies
        if isinstance(network.features, SideBySide):
            network.features.at_once.drop()
        if not isinstance(recipe, SGD) or recipe.nesterov or any(t.clip for t in self._trainings):
            return None
        rates, decays = [[getattr(t.optimizer, name) for t in self._trainings] for name in ("lr", "weight_decay")]
        descent = Descent({n: torch.zeros_like(p) for n, p in self._named.items()}, recipe.momentum, decays, rates)
        if not network.descend(descent):
            return None
        for s, views in enumerate(self._views):
            for view, momenta in zip(views, descent.memory.values(), strict=True):
                self._optimizer.state[view] = {"momentum_buffer": momenta[s]}
        return descent

    def set_epoch(self, epoch: int) -> None:
        """Set the learning rates of this epoch (counted from 0) from each run's schedule."""
        for s, (group, t) in enumerate(zip(self._optimizer.param_groups, self._trainings, strict=True)):
            group["lr"] = t.optimizer.lr * t.schedule.factor(epoch, t.epochs)
            if self._descent is not None:
                self._descent.rates[s] = group["lr"]

    def zero_grad(self) -> None:
        """Drop the gradients of the stacked parameters."""
        if self._descent is not None:
            self._descent.zero_grad()
        for p in self._parameters:
            p.grad = None

    def step(self) -> None:
        """One update of every run from the stacked gradients."""
        if self._descent is not None:
            self._descent.finish(self._named)
            return
        for p, *views in zip(self._parameters, *self._views, strict=True):
            if p.grad is not None:
                for view, gradient in zip(views, p.grad.unbind(0), strict=True):
                    view.grad = gradient
        self._clip()
        self._optimizer.step()

    def _clip(self) -> None:
        for views, t in zip(self._views, self._trainings, strict=True):
            if t.clip:
                torch.nn.utils.clip_grad_norm_(views, t.clip)

    def state_of(self, s: int) -> list[dict[str, Tensor]]:
        """What the optimiser remembers of run s, one mapping a parameter."""
        return [
            {name: value for name, value in self._optimizer.state[view].items() if isinstance(value, Tensor)}
            for view in self._views[s]
        ]

    def fits(self, s: int, state: object, names: Collection[str]) -> bool:
        """Whether `restore` can take a state of run s: of each parameter these names alone, in its shape and type."""
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
        """Set what `state_of` gave."""
        for view, remembered in zip(self._views[s], state, strict=True):
            held = self._optimizer.state[view]
            for name, value in remembered.items():
                if name in held:
                    held[name].copy_(value)  # the network may hold these momenta too
                else:
                    held[name] = value.clone()
