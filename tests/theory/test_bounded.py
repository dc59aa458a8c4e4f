"""The solver for bounded losses at N = 2, compared with the search of the general model and with a grid."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from byrote import theory
from byrote.theory.logit_losses import LogitLoss

exponents = {"log_w": st.floats(-5, -2.3), "log_h": st.floats(-5, -2.3), "log_slope": st.floats(-1, 1)}


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from(["robust-log", "squared-probabilities"]),
    alpha=st.sampled_from([0.01, 0.1, 0.45]),
    law=st.sampled_from(["circle", "two-point", "segment"]),
    log_eta=st.floats(-3, 0.3),
    scale_free=st.booleans(),
    **exponents,
)
def test_equals_the_search_of_the_general_model(kind, alpha, law, log_eta, scale_free, log_w, log_h, log_slope):
    at = (10**log_w, 10**log_h, 10**log_eta, 10**log_slope)
    problem = theory.Problem(alpha, *at, law, loss=kind)
    one = theory.bounded_dilation(problem, scale_free)
    assume(not one.collapsed)
    other = theory.multiclass_dilation(problem, 2, scale_free)
    assert one.value <= other.value + 1e-12 * abs(other.value)
    if len(other.minima) > 1:  # two minima are equally deep, and rounding decides which is returned
        assume(other.minima[1].value - other.minima[0].value > 1e-9 * abs(other.value))
    assert one.memorization == pytest.approx(other.memorization, rel=1e-7)
    assert one.dilation == pytest.approx(other.dilation, rel=1e-7)
    assert (one.observed, one.true) == pytest.approx((other.observed, other.true), rel=1e-6, abs=1e-9)
    assert one.distance == pytest.approx(other.geometry.distance)


@pytest.mark.parametrize("kind", ["robust-log", "squared-probabilities"])
def test_no_point_of_a_grid_has_a_lower_risk(kind):
    """No point of a grid of u and r has a lower risk, computed term by term in a slow and obvious way."""
    lam, eta, slope, alpha = 1e-3, 0.2, 1.0, 0.1
    solved = theory.bounded_dilation(theory.Problem(alpha, lam, lam, eta, slope, "two-point", loss=kind))
    geometry = theory.class_geometry(LogitLoss(kind, alpha), 2, lam / 2, lam / 2)
    a, k, D = geometry.feature_norm, geometry.logit_scale, geometry.distance
    psi, counts = LogitLoss(kind, alpha), np.ones(2)

    def loss(gap):
        return psi(np.stack([gap, np.zeros_like(gap)], axis=-1), np.zeros(gap.shape, dtype=int), counts)[0]

    def risk(x, y):
        r = eta * D * np.hypot(x, y - a) / slope
        spread = (loss(k * (a + np.sqrt(2) * r)) + loss(k * (a - np.sqrt(2) * r))) / 2
        return 2 * (spread + lam * (a**2 + r**2) + eta * (loss(k * (x - y)) + lam * (x**2 + y**2)))

    x, y = np.meshgrid(np.linspace(0, 1.5 * a, 301), np.linspace(0, 1.5 * a, 301))
    values = risk(x, y)
    best = np.unravel_index(np.argmin(values), values.shape)
    assert solved.value == pytest.approx(float(risk(np.array(solved.observed), np.array(solved.true))), rel=1e-12)
    assert values.min() >= solved.value - 1e-12
    assert (solved.observed, solved.true) == pytest.approx((x[best], y[best]), abs=0.01 * a)


def test_a_sweep_is_its_points_and_two_minima_are_counted():
    etas = np.array([0.05, 0.25, 0.6])
    many = theory.bounded_dilation(theory.Problem(0.1, 1e-4, 1e-4, etas, 0.3, loss="robust-log"))
    for place, eta in enumerate(etas):
        one = theory.bounded_dilation(theory.Problem(0.1, 1e-4, 1e-4, eta, 0.3, loss="robust-log"))
        assert one.memorization == pytest.approx(many.memorization[place], rel=1e-12)
        assert one.stationary == many.stationary[place]
    # docs/theory/losses.md: at eta = .25 the minimum near the true class is global, at .6 the other minimum
    fractions = many.r / (etas * many.distance**2 / 0.3)
    assert fractions[1] < 0.01 < 0.5 < fractions[2]
    assert many.stationary[1] == 3
    assert theory.bounded_dilation(theory.Problem(eta=0.1, loss="robust-log")).stationary == 1


def test_collapsed_and_wrong_arguments():
    gone = theory.bounded_dilation(theory.Problem(0.0, 0.5, 0.5, [0.1, 0.2], loss="squared-probabilities"))
    assert gone.collapsed
    assert gone.memorization.tolist() == [0, 0]
    with pytest.raises(ValueError, match="robust-log or squared-probabilities, got 'smoothing'"):
        theory.bounded_dilation(theory.Problem())
    with pytest.raises(ValueError, match="eta must be above 0"):
        theory.bounded_dilation(theory.Problem(eta=0.0, loss="robust-log"))
    with pytest.raises(ValueError, match="sphere"):
        theory.bounded_dilation(theory.Problem(law="sphere", loss="robust-log"))


@pytest.mark.parametrize("variant", theory.VARIANTS)
@pytest.mark.parametrize("kind", theory.KINDS)
@pytest.mark.parametrize("num_classes", [2, 3])
def test_the_one_door_to_the_solvers(kind, variant, num_classes):
    """For each loss and N, `predicted` gives the numbers of the general model, point by point."""
    etas, lambda_w = np.array([0.05, 0.3]), np.array([1e-3, 1e-3])
    alpha = 0.1 if kind in ("smoothing", "relaxation", "robust-log") else 0.0
    curves = theory.predicted(theory.Problem(alpha, lambda_w, 2e-3, etas, 0.8, loss=kind), variant, num_classes)
    for eta, memorization, dilation in zip(etas, *curves, strict=True):
        free = variant == "scale-free"
        at = theory.Problem(alpha, 1e-3, 2e-3, eta, 0.8, loss=kind)
        one = theory.multiclass_dilation(at, num_classes, scale_free=free)
        assert (memorization, dilation) == pytest.approx((one.memorization, one.dilation), rel=1e-6)
    nothing = theory.predicted(theory.Problem(alpha, 2.0, 2.0, 0.1, 1.0, loss=kind), variant, num_classes)
    assert np.isnan(nothing).all()
