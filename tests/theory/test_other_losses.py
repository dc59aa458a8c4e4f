import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from byrote import losses, theory
from byrote.theory.logit_losses import KINDS, LogitLoss

from .oracles import numerical_gradient

REGISTERED = {
    "smoothing": losses.LabelSmoothing(alpha=0.2),
    "relaxation": losses.LabelRelaxation(alpha=0.2),
    "squared": losses.MeanSquaredError(),
    "squared-probabilities": losses.MeanSquaredError(on="probabilities"),
    "robust-log": losses.RobustLog(alpha=0.2),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_models_losses_are_the_trained_ones(kind):
    generator = np.random.default_rng(0)
    logits, labels = generator.normal(size=(200, 5)) * 4, generator.integers(5, size=200)
    values, _ = LogitLoss(kind, 0.2)(logits, labels, np.ones(5))
    trained = REGISTERED[kind](torch.from_numpy(logits), torch.from_numpy(labels), reduction="none")
    assert values == pytest.approx(trained.numpy(), rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@given(st.integers(0, 10**6), st.floats(-2, 1.5))
def test_gradients_and_groups(kind, seed, log_scale):
    generator = np.random.default_rng(seed)
    loss, counts = LogitLoss(kind, 0.2), np.array([1.0, 1.0, 3.0])
    z, label = generator.normal(size=3) * 10**log_scale, np.array(generator.integers(2))
    value, slope = loss(z, label, counts)
    assert slope == pytest.approx(numerical_gradient(lambda x: float(loss(x, label, counts)[0]), z), abs=2e-7)
    spread_value, spread_slope = loss(np.repeat(z, [1, 1, 3]), label, np.ones(5))
    assert spread_value == pytest.approx(float(value), rel=1e-12)
    assert spread_slope[2:].sum() == pytest.approx(slope[2], abs=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_extreme_logits(kind):
    for z in (np.array([[800.0, 0.0, -800.0]]), np.array([[-800.0, 0.0, 800.0]])):
        value, slope = LogitLoss(kind, 0.2)(z, np.array([0]), np.ones(3))
        assert np.isfinite(value).all()
        assert np.isfinite(slope).all()


def test_relaxation_is_convex_in_the_logits():
    generator = np.random.default_rng(0)
    loss, one = LogitLoss("relaxation", 0.3), np.ones(4)
    for _ in range(500):
        a, b, w = generator.normal(size=4) * 4, generator.normal(size=4) * 4, generator.uniform()
        middle = loss(w * a + (1 - w) * b, np.array(0), one)[0]
        assert middle <= w * loss(a, np.array(0), one)[0] + (1 - w) * loss(b, np.array(0), one)[0] + 1e-12


@pytest.mark.parametrize(
    ("kind", "alpha", "message"),
    [("hinge", 0.1, "loss must be one of"), ("robust-log", 0.0, "above 0"), ("relaxation", 1.0, "in \\[0, 1\\)")],
)
def test_what_is_not_a_loss(kind, alpha, message):
    with pytest.raises(ValueError, match=message):
        LogitLoss(kind, alpha)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("N", "l_w", "l_h", "alpha"),
    [(2, 1e-3, 4e-3, 0.1), (3, 2e-3, 1e-3, 0.3), (4, 1e-2, 5e-4, 0.05), (3, 0.06, 0.06, 0.1), (2, 0.4, 0.4, 0.1)],
)
def test_the_symmetric_minimum_is_the_free_one(kind, N, l_w, l_h, alpha):
    geometry = theory.class_geometry(LogitLoss(kind, alpha), N, l_w, l_h)
    free = theory.solve_free(N, alpha, l_w, l_h, loss=kind, restarts=8)
    assert free.value == pytest.approx(geometry.value, rel=1e-8)
    assert geometry.certified == (kind in ("smoothing", "relaxation", "squared"))
    norms = np.linalg.norm(free.features, axis=1)
    assert norms == pytest.approx(np.full(N, geometry.feature_norm), abs=2e-5 * (1 + geometry.feature_norm))
    assert geometry.distance == pytest.approx(np.sqrt(2) * geometry.feature_norm)


@pytest.mark.parametrize("kind", ["robust-log", "squared-probabilities"])
@given(st.integers(2, 12), st.floats(-8, -0.3), st.floats(0.01, 1.0))
def test_the_cubics_find_every_stationary_gap(kind, N, log_lambda, alpha):
    loss = LogitLoss(kind, alpha)
    geometry = theory.class_geometry(loss, N, 10**log_lambda, 10**log_lambda)
    cost = 2 * np.sqrt(N * (N - 1)) * 10**log_lambda
    gaps = np.linspace(0, 45, 6001)
    logits = np.stack([gaps, np.zeros_like(gaps)], axis=1)
    counts = np.array([1.0, N - 1.0])
    values, slopes = loss(logits, np.zeros(len(gaps), dtype=int), counts)
    risk = values + cost * gaps
    assert geometry.value <= risk.min() + 1e-12
    assert geometry.value >= risk.min() - 1e-2 * cost - 1e-4
    turns = np.flatnonzero(np.diff(np.sign(slopes[:, 0] + cost)))
    stationary = np.array(geometry.stationary_gaps[1:])
    for turn in turns:
        assert ((stationary >= gaps[turn] - 1e-6) & (stationary <= gaps[turn + 1] + 1e-6)).any()


def test_relaxation_has_smoothings_geometry_at_a_larger_alpha():
    for N in (2, 3, 10):
        relaxed = theory.class_geometry(LogitLoss("relaxation", 0.1), N, 1e-3, 2e-3)
        smoothed = theory.class_geometry(LogitLoss("smoothing", 0.1 * N / (N - 1)), N, 1e-3, 2e-3)
        assert relaxed.gap == pytest.approx(smoothed.gap, rel=1e-13)


def test_squared_error_shrinks():
    geometry = theory.class_geometry(LogitLoss("squared"), 3, 1e-3, 4e-3)
    assert geometry.gap == pytest.approx(1 - 9 * 2e-3, rel=1e-13)
    assert theory.class_geometry(LogitLoss("squared"), 3, 0.2, 0.2).collapsed
