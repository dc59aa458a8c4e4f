import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from byrote import losses, theory

SYMMETRIC = {"RLL": (losses.RobustLog(alpha=0.1), 10 * np.log(11)), "nMSE": (losses.NormalizedMSE(), 1.0)}
OTHERS = {
    "CE": losses.CrossEntropy(),
    "LS": losses.LabelSmoothing(),
    "LR": losses.LabelRelaxation(),
    "MSE": losses.MeanSquaredError(),
}


def _logits(seed=0, N=10):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(60, N)) * generator.uniform(0.1, 9, size=(60, 1)), generator.integers(N, size=60)


@pytest.mark.parametrize("name", SYMMETRIC)
def test_the_constant(name):
    loss, constant = SYMMETRIC[name]
    checked = theory.check_symmetry(theory.from_torch(loss), _logits()[0])
    assert checked.holds
    assert checked.constant == pytest.approx(constant, rel=1e-12)


@pytest.mark.parametrize("name", [*SYMMETRIC, *OTHERS])
@given(st.floats(0, 1), st.integers(0, 100))
def test_the_identity_against_drawn_labels(name, eta, seed):
    loss = theory.from_torch((SYMMETRIC | {k: (v, 0) for k, v in OTHERS.items()})[name][0])
    logits, labels = _logits(seed, 4) if name == "CE" else _logits(seed)
    N = logits.shape[1]
    identity = theory.noisy_risk(loss, logits, labels, eta)
    by_hand = 0.0
    for label in range(N):
        weight = np.where(labels == label, 1 - eta, eta / (N - 1))
        by_hand += (weight * loss(logits, np.full(len(labels), label))).mean()
    assert identity.noisy == pytest.approx(by_hand, rel=1e-12)
    assert identity.deviation < 1e-12
    if name in SYMMETRIC:
        assert identity.symmetric_deviation < 1e-12


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("eta", [0.05, 0.5])
def test_noise_reverses_a_pair_under_a_loss_that_is_not_symmetric(name, eta):
    loss = theory.from_torch(OTHERS[name])
    assert not theory.check_symmetry(loss, _logits()[0]).holds
    pair = theory.find_reversal(loss, 3, eta)
    first = theory.noisy_risk(loss, pair.logits_better_clean, pair.labels, eta)
    second = theory.noisy_risk(loss, pair.logits_better_noisy, pair.labels, eta)
    assert first.clean < second.clean
    assert first.noisy > second.noisy
    assert (first.clean, second.clean) == pytest.approx(pair.clean)
    assert (first.noisy, second.noisy) == pytest.approx(pair.noisy)


@pytest.mark.parametrize("name", SYMMETRIC)
def test_no_pair_is_reversed_under_a_symmetric_one(name):
    assert theory.find_reversal(theory.from_torch(SYMMETRIC[name][0]), 3, 0.6) is None


def test_a_small_asymmetry_is_seen():
    robust = theory.from_torch(losses.RobustLog(alpha=0.1))
    bent = lambda z, y: robust(z, y) * (1 + 1e-4 * (y == 0))  # noqa: E731
    assert not theory.check_symmetry(bent, _logits()[0]).holds


def test_wrong_requests():
    loss = theory.from_torch(losses.CrossEntropy())
    with pytest.raises(ValueError, match="logits must have shape"):
        theory.class_sums(loss, np.zeros(3))
    with pytest.raises(ValueError, match="labels must have shape"):
        theory.noisy_risk(loss, np.zeros((3, 2)), [0, 1], 0.1)
    with pytest.raises(ValueError, match="eta must be in"):
        theory.noisy_risk(loss, np.zeros((2, 2)), [0, 1], 1.1)
    with pytest.raises(ValueError, match="eta must be in \\(0"):
        theory.find_reversal(loss, 2, 0.5)
    with pytest.raises(ValueError, match="one value per sample"):
        theory.class_sums(lambda z, y: 0.0, np.zeros((3, 2)))


def test_a_torch_loss_is_taken_in_double_precision():
    seen = []

    def loss(logits, labels, reduction):
        seen.append((logits.dtype, labels.dtype, reduction))
        return logits[:, 0]

    theory.class_sums(theory.from_torch(loss), np.zeros((3, 2)))
    assert seen[0] == (torch.float64, torch.int64, "none")


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([0, -1], ValueError, r"labels must lie in 0\.\.2, got -1 in row 1"),  # as an index, -1 would be the last class
        ([0, 3], ValueError, r"labels must lie in 0\.\.2, got 3 in row 1"),
        ([0, 1.5], TypeError, "integer classes, got a list of float64"),  # as an index, 1.5 would be rounded to 1
        (["0", "1"], TypeError, "integer classes, got a list of <U1"),
        ([0, 10**30], TypeError, "integer classes, got a list of object"),
        ([[0], [1]], ValueError, r"shape \(2,\), one per row of logits, got \(2, 1\)"),
        ([0, [1]], TypeError, "integer classes"),
        (None, TypeError, "integer classes, got a NoneType"),
    ],
)
def test_labels_that_are_no_classes_give_one_sentence(labels, error, message):
    squared = lambda z, y: ((z - np.eye(3)[y]) ** 2).sum(axis=1)  # noqa: E731
    logits = np.arange(6.0).reshape(2, 3)
    with pytest.raises(error, match=message):
        theory.noisy_risk(squared, logits, labels, 0.3)
    assert theory.noisy_risk(squared, logits, np.array([0, 2], dtype="uint8"), 0.3).clean == pytest.approx((6 + 41) / 2)
