"""A small problem with label noise, and a network that draws random numbers; the tested libraries train on them."""

import random

import numpy as np
import torch
from torch import nn

from byrote.measures import j1, j2, nc1

N, SIZE, TEST, WIDTH, EPOCHS, BATCH = 3, 42, 24, 6, 2, 8


class Problem:
    """Images (n, 5), true and observed labels, and a test set with true labels."""

    def __init__(self):
        generator = torch.Generator().manual_seed(1)
        self.true = torch.arange(N).repeat(SIZE // N)
        self.observed = torch.where(torch.rand(SIZE, generator=generator) < 0.4, (self.true + 1) % N, self.true)
        self.images = torch.randn(SIZE, 5, generator=generator) + 2 * torch.eye(N, 5)[self.true]
        self.test = torch.arange(N).repeat(TEST // N)
        self.test_images = torch.randn(TEST, 5, generator=generator) + 2 * torch.eye(N, 5)[self.test]

    def batches(self):
        """Return loaders of the training and the test set in stored order, with which a callback evaluates."""
        return (
            list(zip(self.images.split(10), self.observed.split(10), strict=True)),
            list(zip(self.test_images.split(10), self.test.split(10), strict=True)),
        )


def net():
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(5, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU(), nn.Dropout(0.3))
    return nn.Sequential(body, nn.Linear(WIDTH, N))


def seed():
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002
    random.seed(7)


def state(model):
    """Collect everything that training changes: weights and buffers, module modes, and the states of the generators."""
    return (
        {name: value.clone() for name, value in model.state_dict().items()},
        [module.training for module in model.modules()],
        torch.get_rng_state(),
        np.random.get_state()[1].tolist(),  # noqa: NPY002
        random.getstate(),
    )


def assert_same(one, other):
    assert one[0].keys() == other[0].keys()
    for name, value in one[0].items():
        assert torch.equal(value, other[0][name]), name
    assert one[1] == other[1]
    assert torch.equal(one[2], other[2])
    assert one[3:] == other[3:]


def evaluated(model, problem):
    """Compute the readings of a trained network in eval mode with plain functions on the whole data sets."""
    model = model.eval()
    with torch.no_grad():
        h, test_h = model[0](problem.images), model[0](problem.test_images)
        predicted, test_predicted = model[1](h).argmax(1), model[1](test_h).argmax(1)
    return {
        "j1": j1(predicted, problem.observed),
        "j2": j2(predicted, problem.true),
        "test_accuracy": j2(test_predicted, problem.test),
        "nc1_train_observed": nc1(h, problem.observed),
        "nc1_test": nc1(test_h, problem.test),
    }


class Seen:
    """Record the index and predictions of each training batch, from which tests compute the running readings."""

    def __init__(self, problem):
        self.problem, self.epochs = problem, [[]]

    def batch(self, index, logits):
        self.epochs[-1].append((torch.as_tensor(index).clone(), logits.detach().argmax(-1).clone()))

    def values(self, epoch):
        index, predicted = (torch.cat(column) for column in zip(*self.epochs[epoch], strict=True))
        assert sorted(index.tolist()) == list(range(SIZE))
        return {"j1": j1(predicted, self.problem.observed[index]), "j2": j2(predicted, self.problem.true[index])}
