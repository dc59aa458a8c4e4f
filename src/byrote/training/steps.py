"""Make the optimizer and the learning rates for the runs of a cohort from their recipes; the engine gets plain
values."""

from collections.abc import Sequence

import torch

from byrote.engine import EnsembleOptimizer, StackedNetwork
from byrote.recipe import SGD, Adam, Optimizer, Training

__all__ = ["optimizer_of", "rates"]


def optimizer_of(network: StackedNetwork, trainings: Sequence[Training]) -> EnsembleOptimizer:
    """The optimizer of the stacked runs of `network`.

    Args:
        network: the stacked network of S runs.
        trainings: the training settings of each run; their optimizers may differ only in `lr` and `weight_decay`.

    Raises:
        ValueError: the optimizers differ in other fields, or the engine does not support their kind.
    """
    first = trainings[0].optimizer
    if len({t.optimizer.replace(lr=first.lr, weight_decay=first.weight_decay) for t in trainings}) > 1:
        raise ValueError("the optimizers of a cohort may differ only in lr and weight_decay")
    return EnsembleOptimizer(
        network,
        lambda groups: _torch_optimizer(first, groups),
        rates=[t.optimizer.lr for t in trainings],
        decays=[t.optimizer.weight_decay for t in trainings],
        clips=[t.clip for t in trainings],
    )


def rates(trainings: Sequence[Training], epoch: int) -> list[float]:
    """Each run's learning rate in an epoch (counted from 0), by its schedule."""
    return [t.optimizer.lr * t.schedule.factor(epoch, t.epochs) for t in trainings]


def _torch_optimizer(recipe: Optimizer, groups: list[dict[str, object]]) -> torch.optim.Optimizer:
    if isinstance(recipe, SGD):
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=True)
    if isinstance(recipe, Adam):
        return torch.optim.Adam(groups, lr=recipe.lr, betas=(recipe.beta1, recipe.beta2), eps=recipe.eps, fused=True)
    raise ValueError(f"the engine supports sgd and adam, got optimizer {recipe.kind!r}")
