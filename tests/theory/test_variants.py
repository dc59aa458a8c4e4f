import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from byrote import theory

from .oracles import clean_memorization_by_slsqp


def test_scale_free_is_the_model_at_a_slope_of_c_times_d():
    relative = theory.scale_free_dilation(theory.Problem(0.1, 1e-3, 2e-3, 0.1, 0.4))
    raw = theory.dilation(0.1, 1e-3, 2e-3, 0.1, 0.4 * relative.distance)
    assert relative.dilation == pytest.approx(raw.dilation, rel=1e-13)
    assert relative.dilation == pytest.approx(relative.memorization_relative / 0.4, rel=1e-12)


@pytest.mark.parametrize("law", ["circle", "disc"])
@pytest.mark.parametrize(("alpha", "l_w", "l_h"), [(0.0, 1e-3, 1e-3), (0.1, 1e-3, 1e-3), (0.4, 1e-2, 1e-4)])
def test_scale_free_dilation_forgets_the_loss_at_small_noise(law, alpha, l_w, l_h):
    C = 0.5
    for eta in (1e-3, 1e-4):
        dilation = theory.scale_free_dilation(theory.Problem(alpha, l_w, l_h, eta, C, law)).dilation
        second = 1 - dilation * C / eta
        assert second == pytest.approx(eta / (2 * C**2), rel=200 * eta)


def test_the_two_point_law_does_not_forget_it():
    eta, C = 1e-6, 0.5
    for alpha, lam in ((0.0, 1e-3), (0.4, 1e-3), (0.1, 0.05)):
        solved = theory.scale_free_dilation(theory.Problem(alpha, lam, lam, eta, C, "two-point"))
        k, p = solved.classifier_scale * solved.feature_norm, 1 / (1 + np.exp(solved.gap))
        bend = k * k * p * (1 - p)
        expected = eta / (2 * C**2) * (2 * bend + 2 * lam) / (bend + 2 * lam)
        assert 1 - solved.dilation * C / eta == pytest.approx(expected, rel=1e-4)


@given(st.floats(-3, 3), st.floats(1.01, 5), st.floats(-1, 1))
def test_squared_error_reverses_the_order_at_one_line(log_line, ratio, log_slope):
    slope, first = 10**log_slope, 1.0
    lambdas = [first**2 / 2, (first * ratio) ** 2 / 2]  # give D = first and D = first * ratio
    eta = 10**log_line * slope**2 / ratio
    tiny = 1e-9
    small, large = (theory.squared_dilation(theory.Problem(0.0, tiny * s, tiny / s, eta, slope)) for s in lambdas)
    assert large.distance / small.distance == pytest.approx(ratio, rel=1e-6)
    if abs(log_line) > 1e-6:
        assert (large.dilation > small.dilation) == (eta * large.distance * small.distance < slope**2)


def test_squared_error_without_features_or_noise():
    assert theory.squared_dilation(theory.Problem(0.0, 1.0, 1.0)).collapsed
    assert theory.squared_dilation(theory.Problem(0.0, 1.0, 1.0)).dilation == 0
    still = theory.squared_dilation(theory.Problem(eta=0.0), 3)
    assert (still.memorization, still.r) == (0, 0)
    with pytest.raises(ValueError, match="lambda_w"):
        theory.squared_dilation(theory.Problem(lambda_w=0.0))


@pytest.mark.slow
@settings(max_examples=10)
@given(
    st.floats(0, 0.3),
    st.floats(-3.5, -2),
    st.floats(-3.5, -2),
    st.floats(-2, -0.3),
    st.floats(-0.3, 0.5),
    st.floats(0.1, 0.9),
)
def test_clean_memorization_against_its_full_problem(alpha, log_w, log_h, log_eta, log_slope, share):
    l_w, l_h, eta, slope = 10**log_w, 10**log_h, 10**log_eta, 10**log_slope
    price = share * theory.dilation(alpha, l_w, l_h).distance
    both = theory.clean_memorization(theory.Problem(alpha, l_w, l_h, eta, slope), price)
    spread, moved, memorization = clean_memorization_by_slsqp(alpha, l_w, l_h, eta, slope, price)
    assert memorization == pytest.approx(both.memorization, rel=2e-4)
    assert spread == pytest.approx(both.train_spread, rel=1e-3)
    assert moved == pytest.approx(both.displacement, rel=5e-3)


def test_what_clean_memorization_predicts():
    both = theory.clean_memorization(theory.Problem(eta=0.1), 1.0)
    alone = theory.dilation(eta=0.1)
    assert both.memorization > alone.memorization  # a network that memorizes clean samples memorizes more wrong labels
    assert both.train_dilation < alone.dilation < both.test_dilation
    assert both.train_dilation / both.test_dilation == pytest.approx(both.omega**2, rel=1e-13)
    assert both.test_dilation == pytest.approx(both.memorization / both.omega, rel=1e-12)
    assert both.test_dilation**2 == pytest.approx(both.memorization**2 + (both.displacement / 1.0) ** 2, rel=1e-12)
    never = theory.clean_memorization(theory.Problem(eta=0.1), 1e-9)
    assert never.test_dilation == pytest.approx(alone.dilation, rel=1e-12)
    assert theory.clean_memorization(theory.Problem(eta=0.0)).displacement == 0
    with pytest.raises(ValueError, match="clean_slope must be below D"):
        theory.clean_memorization(theory.Problem(), np.array([0.5, 5.0]))
