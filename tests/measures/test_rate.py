"""The rate of symmetric noise off held-out samples: against made classifiers whose errors are known."""

import math

import pytest
import torch

from byrote.measures import noise_rate
from byrote.noise import Symmetric


def classifier(n, num_classes, rate, error, seed, between=None):
    """Logits of a classifier that is unsure where it errs, to the next class or anywhere, and noisy labels."""
    draw = torch.Generator().manual_seed(seed)
    true = torch.arange(n) % num_classes
    wrong = torch.rand(n, generator=draw) < error
    step = torch.ones(n, dtype=torch.int64) if between is None else torch.randint(1, num_classes, (n,), generator=draw)
    predicted = torch.where(wrong, (true + step) % num_classes, true)
    sure = torch.where(wrong, 1 + torch.rand(n, generator=draw), 1 + 3 * torch.rand(n, generator=draw))
    logits = torch.zeros(n, num_classes).scatter_(1, predicted[:, None], sure[:, None] + 2)
    logits.scatter_add_(1, ((predicted - 1) % num_classes)[:, None], torch.full((n, 1), 1.0))  # knows whom it mixes up
    observed = Symmetric(rate).corrupt(true, num_classes, draw)
    return logits, observed, true


def by_hand(logits, observed, num_classes, share):
    """The point estimate in loops."""
    p = torch.softmax(logits.double(), 1)
    order = sorted(range(len(p)), key=lambda i: -float(p[i].max()))[: int(share * len(p))]
    k, count = (num_classes - 1) // 2, 0
    for c in range(num_classes):
        members = [i for i in order if int(p[i].argmax()) == c]
        others = sorted((j for j in range(num_classes) if j != c), key=lambda j: sum(float(p[i, j]) for i in members))
        count += sum(int(observed[i]) in others[:k] for i in members)
    return count / len(order) * (num_classes - 1) / k


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.2, 0.4, 0.6])
@pytest.mark.parametrize("error", [0.0, 0.15])
@pytest.mark.parametrize("num_classes", [3, 10])
def test_the_interval_holds_the_rate_and_is_no_wider_than_it_must_be(rate, error, num_classes):
    logits, observed, _ = classifier(20_000, num_classes, rate, error, seed=1)
    told = noise_rate(logits, observed, num_classes)
    assert told.low <= rate <= told.high
    assert abs(told.rate - rate) < 0.04
    assert told.high - told.low < 0.15
    assert abs(told.own_error - error) < 0.1
    disagreement = float((logits.argmax(1) != observed).double().mean())
    assert error == 0 or rate > 0.5 or disagreement - rate > 0.04  # what 1 - J1 would have said


def test_the_point_estimate_is_that_of_the_loops():
    logits, observed, _ = classifier(2_000, 7, 0.3, 0.2, seed=2, between="any")
    logits = logits + 0.5 * torch.randn(logits.shape, generator=torch.Generator().manual_seed(5))
    assert noise_rate(logits, observed, 7).rate == pytest.approx(by_hand(logits, observed, 7, 0.25), abs=1e-12)


def test_the_interval_covers_as_often_as_it_says():
    hits = 0
    for seed in range(200):
        logits, observed, _ = classifier(2_000, 10, 0.2, 0.1, seed)
        told = noise_rate(logits, observed, 10)
        hits += told.low <= 0.2 <= told.high
    assert hits >= 185  # 95% stated; 185 is two deviations below


def test_errors_left_among_the_surest_lower_the_low_end():
    logits, observed, _ = classifier(8_000, 10, 0.0, 0.15, seed=3)
    sure_and_wrong = torch.rand(8_000, generator=torch.Generator().manual_seed(7)) < 0.04
    told = noise_rate(torch.where(sure_and_wrong[:, None], logits.roll(4, 1), logits), observed, 10)
    assert told.rate > 0.01
    assert told.low == 0.0


def test_a_classifier_that_guesses_says_that_it_cannot_tell():
    draw = torch.Generator().manual_seed(4)
    told = noise_rate(torch.randn(4_000, 10, generator=draw), torch.randint(0, 10, (4_000,), generator=draw), 10)
    assert told.underfits
    logits, observed, _ = classifier(4_000, 10, 0.2, 0.1, seed=8)
    assert not noise_rate(logits, observed, 10).underfits


def test_two_classes_and_no_samples_have_no_floor():
    for logits, classes in ((torch.randn(9, 2), 2), (torch.zeros(0, 5), 5)):
        told = noise_rate(logits, torch.zeros(len(logits), dtype=torch.int64), classes)
        assert all(math.isnan(value) for value in (told.rate, told.low, told.high, told.own_error))
        assert told.underfits


@pytest.mark.parametrize(
    ("logits", "observed", "message"),
    [
        (torch.zeros(3, 4), torch.zeros(2, dtype=torch.int64), "equal lengths"),
        (torch.zeros(3, 4), torch.tensor([0, 1, 4]), "0..3"),
        (torch.zeros(3, 5), torch.tensor([0, 1, 2]), "one column a class"),
    ],
)
def test_wrong_inputs_are_named(logits, observed, message):
    with pytest.raises(ValueError, match=message):
        noise_rate(logits, observed, 4)
