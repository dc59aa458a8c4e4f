"""The training recipe as plain values: optimizer, learning-rate schedule, and training settings.

Nothing here uses torch; `byrote.training` applies these values. A schedule gives the factor on the learning rate during
an epoch; epochs count from 0. MD is Nguyen et al. (2023), LF is Patel & Sastry (2021).
"""

import math
from typing import Literal

from pydantic import Field

from byrote.component import Component, Spec

__all__ = [
    "SGD",
    "Adam",
    "Constant",
    "Cosine",
    "Exponential",
    "MultiStep",
    "Optimizer",
    "Schedule",
    "Step",
    "Training",
]


class Optimizer(Component, family="optimizers"):
    """Base of the optimizers. Weight decay is the L2 gradient term `wd * theta` on every parameter."""

    lr: float = Field(default=0.1, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)


class SGD(Optimizer, kind="sgd"):
    """Gradient descent with momentum: m <- momentum m + (g + wd theta); theta <- theta - lr m."""

    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = False


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015) with the L2 term in the gradient, as in `torch.optim.Adam`."""

    lr: float = Field(default=0.001, gt=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    eps: float = Field(default=1e-8, gt=0)


class Schedule(Component, family="schedules"):
    """Base of the schedules: `factor(epoch, epochs)` multiplies the learning rate during that epoch."""

    def factor(self, epoch: int, epochs: int) -> float:
        raise NotImplementedError


class Constant(Schedule):
    """The learning rate never changes.

    >>> Constant().factor(50, 100)
    1.0
    """

    def factor(self, epoch: int, epochs: int) -> float:
        return 1.0


class Step(Schedule):
    """The learning rate is multiplied by `gamma` after every `every` epochs (MD: .1 every 40 epochs).

    >>> [round(Step(every=40).factor(e, 200), 6) for e in (0, 39, 40, 199)]
    [1.0, 1.0, 0.1, 0.0001]
    """

    every: int = Field(default=40, ge=1)
    gamma: float = Field(default=0.1, gt=0, le=1)

    def factor(self, epoch: int, epochs: int) -> float:
        return self.gamma ** (epoch // self.every)


class MultiStep(Schedule):
    """The learning rate is multiplied by `gamma` at each epoch of `milestones` (LF's ResNet-32: .1 at 100 and 150).

    >>> [round(MultiStep(milestones=(100, 150)).factor(e, 200), 6) for e in (99, 100, 150)]
    [1.0, 0.1, 0.01]
    """

    milestones: tuple[int, ...] = (100, 150)
    gamma: float = Field(default=0.1, gt=0, le=1)

    def factor(self, epoch: int, epochs: int) -> float:
        return self.gamma ** sum(epoch >= milestone for milestone in self.milestones)


class Exponential(Schedule):
    """The learning rate is multiplied by `gamma` every epoch (LF's Inception-Lite: .95).

    >>> round(Exponential(gamma=.95).factor(2, 100), 4)
    0.9025
    """

    gamma: float = Field(default=0.95, gt=0, le=1)

    def factor(self, epoch: int, epochs: int) -> float:
        return self.gamma**epoch


class Cosine(Schedule):
    """The factor falls from 1 to 0 along half a cosine over the whole training.

    >>> round(Cosine().factor(50, 100), 6)
    0.5
    """

    def factor(self, epoch: int, epochs: int) -> float:
        return 0.5 * (1 + math.cos(math.pi * epoch / epochs))


class Training(Spec):
    """The settings of one training run.

    Args:
        epochs: passes over the training samples, at least 1.
        batch_size: samples per step, at least 2 (batch normalization needs two).
        drop_last: leave out the last batch of an epoch if it is smaller; otherwise a last batch of a single sample
            joins the batch before it.
        optimizer: the optimizer with its learning rate.
        schedule: the factor on the learning rate in each epoch.
        precision: "fp32", or "bf16" for matrix products in bfloat16 with float32 master weights.
        evaluate_every: epochs between two evaluations; the last epoch is always evaluated.
        clip: the largest norm of the gradient (0: no clipping).
        dropout: the probability with which each input of the classifier is set to 0 in training; the others are
            divided by 1 - dropout (Srivastava et al. 2014).
    """

    epochs: int = Field(default=20, ge=1)
    batch_size: int = Field(default=128, ge=2)
    drop_last: bool = False
    optimizer: Optimizer = SGD()
    schedule: Schedule = Constant()
    precision: Literal["fp32", "bf16"] = "fp32"
    evaluate_every: int = Field(default=1, ge=1)
    clip: float = Field(default=0.0, ge=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
