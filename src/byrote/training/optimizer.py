"""The optimiser of a cohort: every run steps with its own learning rate and weight decay.

torch's fused optimisers work tensor by tensor. A stacked parameter (S, ...) is therefore handed over as S
views, one a run, in parameter groups of the runs that share hyperparameters. The views start at the same place of
their run whatever S is, so a run's bits do not depend on its cohort.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

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
        parameters: the stacked parameters, each (S, ...).
        trainings: one a run; all share epochs, batch size and the optimiser's kind.
    """

    def __init__(self, parameters: Sequence[Tensor], trainings: Sequence[Training]) -> None:
        self._parameters = list(parameters)
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

    def set_epoch(self, epoch: int) -> None:
        """Set the learning rates of this epoch (counted from 0) from each run's schedule."""
        for group, t in zip(self._optimizer.param_groups, self._trainings, strict=True):
            group["lr"] = t.optimizer.lr * t.schedule.factor(epoch, t.epochs)

    def zero_grad(self) -> None:
        """Drop the gradients of the stacked parameters."""
        for p in self._parameters:
            p.grad = None

    def step(self) -> None:
        """One update of every run from the stacked gradients."""
        for p, *views in zip(self._parameters, *self._views, strict=True):
            if p.grad is not None:
                for s, view in enumerate(views):
                    view.grad = p.grad[s]
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

    def restore(self, s: int, state: Sequence[Mapping[str, Tensor]]) -> None:
        """Set what `state_of` gave."""
        for view, remembered in zip(self._views[s], state, strict=True):
            self._optimizer.state[view] = {name: value.clone() for name, value in remembered.items()}
