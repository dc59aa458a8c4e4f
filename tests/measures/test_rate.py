"""The estimated rate of symmetric noise from held-out samples, for artificial classifiers with known errors."""

import math

import numpy as np
import pytest
import torch

from byrote.measures import RateEstimate, noise_rate
from byrote.measures.rate import PREMISE
from byrote.measures.snapshot import READINGS, Snapshot
from byrote.noise import PairFlip, Symmetric


def classifier(n, num_classes, rate, error, seed, noise=None):
    """Simulate a classifier that sometimes predicts the next class; return logits, noisy and true labels."""
    draw = torch.Generator().manual_seed(seed)
    true = torch.randint(num_classes, (n,), generator=draw)
    wrong = torch.rand(n, generator=draw) < error
    predicted = torch.where(wrong, (true + 1) % num_classes, true)
    logits = 0.5 * torch.randn(n, num_classes, generator=draw)
    logits.scatter_add_(1, ((predicted - 1) % num_classes)[:, None], torch.full((n, 1), 1.5))
    lead = torch.where(wrong, 1.0, 2.0) + 3 * torch.rand(n, generator=draw) * ~wrong
    logits.scatter_(1, predicted[:, None], (logits.amax(1) + lead)[:, None])
    observed = (noise or Symmetric(rate)).corrupt(true, num_classes, draw)
    return logits, observed, true


def by_hand(logits, observed, num_classes, folds):
    """Compute the point estimate in loops, fold by fold."""
    p, z = torch.softmax(logits.double(), 1), logits.double()
    k, count, used = (num_classes - 1) // 2, 0, 0
    for fold in sorted(set(folds)):
        rows = [i for i in range(len(z)) if folds[i] == fold]
        lead = {i: float(p[i].max().log() - (1 - p[i].max()).log()) for i in rows}
        surest = sorted(rows, key=lambda i: -lead[i])[: int(0.25 * len(rows))]
        used += len(surest)
        for c in range(num_classes):
            members = [i for i in surest if int(z[i].argmax()) == c]
            others = sorted(
                (j for j in range(num_classes) if j != c), key=lambda j: sum(float(p[i, j]) for i in members)
            )
            count += sum(int(observed[i]) in others[:k] for i in members)
    return count / used * (num_classes - 1) / k


@pytest.mark.parametrize("num_classes", [3, 7])
@pytest.mark.parametrize("networks", [1, 3])
def test_the_point_estimate_is_that_of_the_loops(num_classes, networks):
    logits, observed, _ = classifier(2000, num_classes, 0.3, 0.2, seed=2)
    folds = torch.arange(2000) % networks
    logits = logits * (1 + folds)[:, None]
    numbers = folds * 7 - 3  # fold numbers are names, not positions
    estimate = noise_rate(logits, observed, num_classes, folds=numbers.to(torch.int16))
    assert estimate.rate == pytest.approx(by_hand(logits, observed, num_classes, folds.tolist()), abs=1e-12)


@pytest.mark.parametrize("num_classes", [3, 10])
@pytest.mark.parametrize("error", [0.0, 0.15])
@pytest.mark.parametrize("rate", [0.1, 0.4])
def test_symmetric_noise_is_stated_and_covered(num_classes, error, rate):
    """With 4,000 samples, 200 times, a rate is stated, and each end of its interval misses as rarely as it should."""
    rates = [noise_rate(*classifier(4000, num_classes, rate, error, seed)[:2], num_classes) for seed in range(200)]
    stated = [one for one in rates if one.verdict == "stated"]
    assert len(stated) >= 172  # three tests share the level .05, so 190 are expected; minus six standard errors
    assert sum(one.low > rate for one in stated) <= 14  # 2.5% of 200 is 5; plus four standard errors
    assert sum(one.high < rate for one in stated) <= 14
    assert abs(np.mean([one.rate for one in rates]) - rate) < 0.01
    width = np.mean([one.high - one.low for one in stated])
    assert 0.05 < width < 0.16
    assert abs(np.mean([one.own_error for one in rates]) - error) < 0.03
    disagreement = np.mean([one.rate + one.own_error * (1 - rate * num_classes / (num_classes - 1)) for one in rates])
    assert error == 0 or disagreement > rate + 0.05  # 1 - J1 would be too high


@pytest.mark.parametrize("num_classes", [3, 10])
@pytest.mark.parametrize("error", [0.0, 0.15])
@pytest.mark.parametrize("rate", [0.05, 0.2, 0.4])
def test_pair_noise_is_not_stated(num_classes, error, rate):
    rates = [
        noise_rate(*classifier(4000, num_classes, rate, error, seed, PairFlip(rate))[:2], num_classes)
        for seed in range(40)
    ]
    assert sum(one.verdict == "stated" for one in rates) <= 2
    assert all(math.isnan(one.low) and math.isnan(one.high) for one in rates if one.verdict != "stated")


def test_pair_noise_that_the_classifier_does_not_expect_is_uneven():
    draw = torch.Generator().manual_seed(0)
    true = torch.arange(6000) % 10
    logits = torch.rand(6000, 10, generator=draw) + 9 * torch.eye(10)[true]
    estimate = noise_rate(logits, PairFlip(0.2).corrupt(true, 10, draw), 10)
    assert estimate.verdict == "cannot tell"
    assert "fall unevenly" in estimate.reason


def test_look_alikes_labeled_as_what_they_look_like_are_not_stated():
    """Look-alikes are mislabeled as the class that they resemble; the classifier agrees, so the noise is invisible."""
    for seed in range(20):
        logits, _, true = classifier(6000, 10, 0.0, 0.15, seed)
        observed = torch.where(torch.rand(6000, generator=torch.Generator().manual_seed(seed)) < 0.5,
                               logits.argmax(1), true)  # fmt: skip
        estimate = noise_rate(logits, observed, 10)
        assert estimate.verdict == "cannot tell"
        assert "too few to tell symmetric noise from" in estimate.reason or "no label disagrees" in estimate.reason


def test_clean_labels_are_not_stated_as_rate_zero():
    logits, observed, true = classifier(6000, 10, 0.0, 0.15, seed=1)
    assert noise_rate(logits, observed, 10).verdict == "cannot tell"
    assert "no label disagrees" in noise_rate(9 * torch.eye(10)[true], true, 10).reason


@pytest.mark.parametrize(("memorized", "least"), [(0.3, 20), (0.8, 14)])
def test_learned_labels_give_themselves_away(memorized, least):
    """A network trained on the same labels repeats some wrong labels, and has raised the logits of the rest.

    If the network repeats nearly all wrong labels, few remain to be tested, and some cases are not recognized.
    """
    caught = 0
    for seed in range(20):
        logits, observed, true = classifier(6000, 10, 0.3, 0.0, seed)
        draw = torch.Generator().manual_seed(100 + seed)
        raised = logits.scatter_add(1, observed[:, None], torch.rand(6000, 1, generator=draw))
        repeated = (torch.rand(6000, generator=draw) < memorized) & (observed != true)
        raised[repeated] = raised[repeated].scatter(1, observed[repeated][:, None], 5.5)
        estimate = noise_rate(raised, observed, 10)
        assert estimate.rate < 0.3
        caught += "follow the logits" in estimate.reason
    assert caught >= least


def test_samples_said_to_be_trained_on_have_no_interval():
    logits, observed, _ = classifier(6000, 10, 0.2, 0.1, seed=1)
    estimate = noise_rate(logits, observed, 10, held_out=False)
    assert estimate.rate == noise_rate(logits, observed, 10).rate
    assert (estimate.verdict, math.isnan(estimate.low), math.isnan(estimate.high)) == ("cannot tell", True, True)
    assert "trained on" in estimate.reason


def test_folds_keep_a_network_that_is_sure_of_its_errors_from_ruling_the_choice():
    """One of two networks has ten times the logits of the other, but is wrong on many of its samples."""
    pooled, apart = [], []
    for seed in range(10):
        logits, observed, _ = classifier(8000, 10, 0.1, 0.0, seed)
        draw = torch.Generator().manual_seed(seed)
        folds = torch.arange(8000) % 2
        wrong = (folds == 1) & (torch.rand(8000, generator=draw) < 0.5)
        top, second = logits.topk(2).values.T
        wrong &= top - second < (top - second).quantile(0.6)
        logits[wrong] = logits[wrong].roll(4, 1)
        logits[folds == 1] *= 10
        pooled.append(noise_rate(logits, observed, 10))
        apart.append(noise_rate(logits, observed, 10, folds=folds))
    assert abs(np.mean([one.rate for one in apart]) - 0.1) < 0.01
    assert sum(one.verdict == "stated" and one.low < 0.1 < one.high for one in apart) >= 8
    assert sum(one.verdict == "stated" for one in pooled) == 0


def test_shared_labels_widen_the_interval_of_several_folds_alone():
    logits, observed, _ = classifier(8000, 10, 0.2, 0.1, seed=3)
    one = noise_rate(logits, observed, 10)
    same = noise_rate(logits, observed, 10, folds=torch.full((8000,), 4))
    two = noise_rate(logits, observed, 10, folds=torch.arange(8000) % 2)
    assert same == one
    assert 1.05 < (two.high - two.rate) / (one.high - one.rate) < 1.3


def test_probabilities_that_round_to_one_are_still_ordered():
    """Logit margins of 50 and 90 both round to probability 1; only samples with margin 90 have right labels."""
    true = torch.arange(4000) % 10
    sure = torch.arange(4000) >= 3000
    logits = torch.where(sure[:, None], 90.0, 50.0) * torch.eye(10)[true]
    observed = torch.where(sure, Symmetric(0.2).corrupt(true, 10, torch.Generator().manual_seed(0)), (true + 5) % 10)
    assert abs(noise_rate(logits, observed, 10).rate - 0.2) < 0.05


def test_a_classifier_that_guesses_says_that_it_cannot_tell():
    draw = torch.Generator().manual_seed(4)
    guess = noise_rate(torch.randn(4000, 10, generator=draw), torch.randint(10, (4000,), generator=draw), 10)
    assert guess.underfits
    assert guess.verdict == "cannot tell"
    assert "above 30%" in guess.reason
    logits, observed, _ = classifier(4000, 10, 0.2, 0.1, seed=8)
    assert not noise_rate(logits, observed, 10).underfits


@pytest.mark.parametrize(("n", "num_classes", "reason"), [(9, 2, "two classes"), (0, 5, "no samples")])
def test_without_a_pair_or_a_sample_there_is_no_estimate(n, num_classes, reason):
    estimate = noise_rate(torch.zeros(n, num_classes), torch.zeros(n, dtype=torch.int64), num_classes)
    assert all(math.isnan(value) for value in (estimate.rate, estimate.low, estimate.high, estimate.own_error))
    assert estimate.underfits
    assert estimate.verdict == "cannot tell"
    assert reason in estimate.reason


def test_every_estimate_names_its_premise():
    estimate = noise_rate(*classifier(4000, 10, 0.2, 0.1, seed=1)[:2], 10)
    assert estimate.premise == PREMISE
    assert estimate.reason.endswith("confuses least")
    assert RateEstimate(0.1, 0.0, 0.2, 0.0, "stated", "").premise == PREMISE


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.uint16, torch.uint32])
def test_any_integer_labels_and_any_float_logits(dtype):
    logits, observed, _ = classifier(2000, 5, 0.2, 0.1, seed=1)
    wanted = noise_rate(logits.bfloat16().double(), observed, 5)
    assert noise_rate(logits.bfloat16(), observed.to(dtype), 5) == wanted


def test_the_reading_says_whether_the_rate_is_stated():
    def read(logits, observed, num_classes=10):
        empty = torch.zeros(0)
        parts = dict.fromkeys(("true", "observed", "features", "logits", "test_true", "test_features"), empty)
        snapshot = Snapshot(num_classes=num_classes, **parts, test_logits=logits, test_observed=observed)
        return READINGS["rate"](snapshot)

    logits, observed, true = classifier(6000, 10, 0.2, 0.1, seed=1)
    estimate = noise_rate(logits, observed, 10)
    row = read(logits, observed)
    assert row["rate_stated"] == 1.0
    assert (row["rate_estimate"], row["rate_low"], row["rate_high"]) == (estimate.rate, estimate.low, estimate.high)
    row = read(logits, true)
    assert row["rate_stated"] == 0.0
    assert math.isfinite(row["rate_estimate"])
    assert math.isnan(row["rate_low"])
    for gone in (read(logits, None), read(logits[:, :2], observed % 2, 2), read(logits, observed, 5)):
        assert len(gone) == 5
        assert all(math.isnan(value) for value in gone.values())


BAD = torch.zeros(3, 4)
BAD[1, 2], BAD[2, 0] = math.nan, -math.inf


@pytest.mark.parametrize(
    ("logits", "observed", "error", "message"),
    [
        (torch.zeros(3, 4), torch.zeros(2, dtype=torch.int64), ValueError, "equal lengths.*2 observed for 3 samples"),
        (
            torch.zeros(3, 4),
            torch.tensor([0, 4, -1]),
            ValueError,
            r"in 0\.\.3, got 4 in row 1 and 1 more values out of range: a negative label",
        ),
        (torch.zeros(3, 4), torch.tensor([1, 4, 2]), ValueError, "got 4 in row 1: labels must start at 0.*subtract 1"),
        (torch.zeros(3, 5), torch.tensor([0, 1, 2]), ValueError, r"expected logits \(n, 4\)"),
        (torch.zeros(3), torch.tensor([0, 1, 2]), ValueError, r"expected logits \(n, 4\)"),
        (torch.zeros(3, 4), torch.tensor([[0], [1], [2]]), ValueError, r"got shape \(3, 1\): pass them without"),
        (torch.zeros(3, 4), torch.zeros(3), TypeError, "observed must be integer classes, got torch.float32"),
        ([["a"] * 4] * 3, torch.tensor([0, 1, 2]), TypeError, "logits must be an array of numbers"),
        (BAD, torch.tensor([0, 1, 2]), ValueError, "NaN or infinity in 2 of 3 rows, the first at row 1"),
    ],
)
def test_wrong_inputs_are_named(logits, observed, error, message):
    with pytest.raises(error, match=message):
        noise_rate(logits, observed, 4)


@pytest.mark.parametrize("container", [torch.Tensor.tolist, torch.Tensor.numpy, lambda y: y.to(torch.uint8)])
def test_labels_and_folds_come_in_any_integer_container(container):
    logits, observed, _ = classifier(4000, 10, 0.2, 0.1, seed=1)
    folds = torch.arange(4000) % 2
    wanted = noise_rate(logits, observed, 10, folds=folds)
    assert noise_rate(logits.numpy(), container(observed), 10, folds=container(folds)) == wanted
    assert math.isnan(noise_rate(torch.eye(2), torch.tensor([False, True]), 2).rate)


def test_wrong_folds_and_confidence_are_named():
    logits, observed = torch.zeros(3, 4), torch.tensor([0, 1, 2])
    with pytest.raises(ValueError, match="got 2 folds for 3 samples"):
        noise_rate(logits, observed, 4, folds=torch.tensor([0, 1]))
    with pytest.raises(TypeError, match="folds must be integers"):
        noise_rate(logits, observed, 4, folds=torch.zeros(3))
    with pytest.raises(ValueError, match=r"expected folds \(n,\), one number per sample, got shape \(3, 1\)"):
        noise_rate(logits, observed, 4, folds=torch.zeros(3, 1, dtype=torch.int64))
    for confidence in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match="confidence must lie between 0 and 1"):
            noise_rate(logits, observed, 4, confidence)
    with pytest.raises(ValueError, match="at least two classes, got 1"):
        noise_rate(logits[:, :1], observed * 0, 1)
