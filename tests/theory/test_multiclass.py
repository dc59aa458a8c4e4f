from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from byrote import theory
from byrote.theory import laws
from byrote.theory.logit_losses import LogitLoss

from .oracles import circle, full_multiclass


@pytest.mark.slow
@settings(max_examples=25)
@given(
    st.floats(0, 0.4), st.floats(-4, -1.5), st.floats(-4, -1.5), st.floats(-3, -0.3), st.floats(-0.5, 0.5),
    st.sampled_from(["two-point", "segment", "circle", "disc"]), st.sampled_from(["smoothing", "relaxation"]),
)  # fmt: skip
def test_with_two_classes_it_is_the_papers_model(alpha, log_w, log_h, log_eta, log_slope, law, loss):
    point = (alpha, 10**log_w, 10**log_h, 10**log_eta, 10**log_slope)
    two = theory.dilation(*point, law=law, loss=loss)
    if two.gap < 0.1:
        return
    many = theory.multiclass_dilation(theory.Problem(*point, law=law, loss=loss), 2)
    smooth = (
        loss == "smoothing" or law == "two-point"
    )  # fixed quadrature loses some digits at the kink of label relaxation
    assert many.dilation == pytest.approx(two.dilation, rel=1e-8 if smooth else 1e-4)
    assert many.value == pytest.approx(two.value, rel=1e-9 if smooth else 1e-5, abs=1e-9)
    assert (many.observed, many.true) == pytest.approx(
        (two.along, two.across), abs=(1e-7 if smooth else 1e-3) * two.feature_norm
    )
    assert many.others == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("N", "loss", "alpha", "eta", "slope"),
    [
        (3, "smoothing", 0.0, 0.1, 1.0),
        (3, "smoothing", 0.1, 0.02, 0.5),
        (3, "relaxation", 0.1, 0.1, 1.0),
        (3, "squared", 0.0, 0.1, 1.0),
        (4, "smoothing", 0.1, 0.2, 2.0),
    ],
)
def test_every_corrupted_sample_free(N, loss, alpha, eta, slope):
    l_w, l_h = 2e-3, 1e-3
    problem = theory.Problem(alpha, l_w, l_h, eta, slope, law=laws.from_samples(circle(40)), loss=loss)
    many = theory.multiclass_dilation(problem, N)
    dilation, risk, U = full_multiclass(LogitLoss(loss, alpha), many.geometry, l_h, eta, slope, circle(40))
    assert risk == pytest.approx(many.value, rel=1e-7)
    assert dilation == pytest.approx(many.dilation, rel=1e-5)
    first = U[0]  # true class 0, observed class 1
    assert first[1] == pytest.approx(many.observed, abs=1e-3)
    assert first[0] == pytest.approx(many.true, abs=1e-3)
    assert first[2:] == pytest.approx(np.full(N - 2, many.others), abs=1e-3)
    assert many.optimality_gap < 1e-12
    assert many.converged
    assert many.others == 0  # this is a theorem for these losses


@given(st.integers(2, 20), st.floats(-4, -2), st.floats(-4, -2), st.floats(-3, 0.5), st.floats(-1, 1))
@settings(max_examples=20)
def test_squared_error_in_closed_form(N, log_w, log_h, log_eta, log_slope):
    point = (10**log_w, 10**log_h, 10**log_eta, 10**log_slope)
    problem = theory.Problem(0.0, *point, law="two-point", loss="squared")
    exact, solved = theory.squared_dilation(problem, N), theory.multiclass_dilation(problem, N)
    assert solved.dilation == pytest.approx(exact.dilation, rel=1e-6)
    assert solved.memorization == pytest.approx(exact.memorization, rel=1e-6)
    assert (solved.observed, solved.true) == pytest.approx((exact.along, exact.across), abs=1e-6 * exact.feature_norm)
    assert solved.memorization_relative == pytest.approx(exact.memorization_relative, rel=1e-6)


def test_bounded_losses_have_two_minima_and_convex_ones_one():
    problem = theory.Problem(0.1, 1e-4, 1e-4, 0.25, 0.3, loss="robust-log")
    robust = theory.multiclass_dilation(problem, 2)
    shares = sorted(one.r / robust.r_max for one in robust.minima)
    assert len(shares) == 2
    assert shares[0] < 0.01
    assert shares[1] > 0.6
    assert robust.from_true_class.r / robust.r_max < 0.01
    assert np.isnan(robust.optimality_gap)
    more = theory.multiclass_dilation(replace(problem, eta=0.6), 2)
    assert more.fraction > 0.6  # now the global minimum memorizes ...
    assert (
        more.from_true_class.r / more.r_max < 0.01
    )  # ... which a network that starts without memorization does not reach
    assert len(theory.multiclass_dilation(replace(problem, loss="smoothing"), 2).minima) == 1


def test_scale_free_is_another_slope():
    relative = theory.multiclass_dilation(theory.Problem(eta=0.1, slope=0.4), scale_free=True)
    raw = theory.multiclass_dilation(theory.Problem(eta=0.1, slope=0.4 * relative.geometry.distance))
    assert relative.dilation == pytest.approx(raw.dilation, rel=1e-9)


def test_the_quadrature_says_its_error():
    assert theory.multiclass_dilation(theory.Problem()).quadrature_error < 1e-12
    wide = theory.multiclass_dilation(theory.Problem(0.1, 1e-6, 1e-6, 0.6, 0.3, loss="robust-log"), 2)
    assert wide.quadrature_error > 1e-7


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"law": "sphere"}, "sphere law needs"),
        ({"eta": 0.0}, "eta must be above 0"),
        ({"lambda_w": 3.0, "lambda_h": 3.0}, "collapsed"),
        ({"num_classes": 1}, "num_classes"),
        ({"loss": "hinge"}, "loss must be one of"),
        ({"alpha": 1.2}, "alpha"),
        ({"slope": -1.0}, "slope"),
    ],
)
def test_outside_its_domain_it_says_which_condition_failed(wrong, message):
    num_classes = wrong.pop("num_classes", 3)
    with pytest.raises(ValueError, match=message):
        theory.multiclass_dilation(theory.Problem(**wrong), num_classes)
