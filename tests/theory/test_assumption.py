import numpy as np
import pytest

from byrote import theory


def test_the_example_is_inside():
    terms = theory.check_assumption(theory.Problem())
    assert all(term.holds for term in terms)
    assert terms[5].left == pytest.approx(1.500, abs=5e-4)  # gamma
    assert terms[6].right ** 2 == pytest.approx(5.99e-3, abs=5e-6)
    assert theory.eta_bound(theory.Problem()) == pytest.approx(terms[6].right ** 2, rel=1e-12)


@pytest.mark.parametrize(
    ("point", "fails"),
    [
        ({"alpha": 0.0}, {1, 4, 5, 6}),
        ({"alpha": 0.001}, {4, 6}),
        ({"eta": 0.006}, {6}),
        ({"slope": 0.5}, {6}),
        ({"alpha": 0.95, "lambda_w": 0.1, "lambda_h": 0.1}, {2}),
    ],
)
def test_each_term_fails_by_itself(point, fails):
    terms = theory.check_assumption(theory.Problem(**point))
    failed = {k for k, term in enumerate(terms) if not term.holds}
    assert fails <= failed
    assert bool(theory.order_of_dilations(theory.Problem(**point)).inside) is False


def test_the_order_is_kept_inside_and_reversed_somewhere_outside():
    eta, slope = np.meshgrid(np.geomspace(1e-4, 1, 40), np.geomspace(0.03, 30, 30))
    order = theory.order_of_dilations(theory.Problem(0.1, 1e-3, 1e-3, eta, slope))
    assert order.inside.any()
    assert order.holds[order.inside].all()
    assert not order.holds.all()
    assert not (order.inside & ~order.holds).any()
    reversed_at = order.memorized[~order.holds]
    assert reversed_at.max() < 0.5  # the order reverses only if memorization is below half of full memorization
    assert (order.inside == (eta < order.eta_bound)).all()


def test_small_noise_gives_the_ratio_of_the_scales():
    order = theory.order_of_dilations(theory.Problem(eta=1e-9))
    assert order.ratio == pytest.approx(order.gamma, rel=1e-6)
    assert order.gamma == pytest.approx(order.ce.feature_norm / order.ls.feature_norm, rel=1e-12)


def test_collapse_and_no_noise_have_no_order():
    assert np.isnan(theory.order_of_dilations(theory.Problem(eta=0.0)).ratio)
    collapsed = theory.order_of_dilations(theory.Problem(alpha=0.9, lambda_w=0.1, lambda_h=0.1))
    assert np.isnan(collapsed.ratio)
    assert not collapsed.inside
