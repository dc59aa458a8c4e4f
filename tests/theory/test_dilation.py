import itertools

import mpmath
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from byrote import theory
from byrote.theory import laws
from byrote.theory.two_class import margin_loss
from theory.full_problem import full_problem


def test_the_examples_of_theorem_4_3():
    # eta is half of its bound in Assumption 4.2.3 (.00599); the paper prints this half rounded to .003
    for law, ce, ls in (("circle", 0.009008, 0.006045), ("two-point", 0.008925, 0.006011)):
        at = {"eta": 0.5 * 5.99e-3, "law": law}
        assert theory.dilation(alpha=0.0, **at).dilation == pytest.approx(ce, abs=5e-7)
        assert theory.dilation(alpha=0.1, **at).dilation == pytest.approx(ls, abs=5e-7)
    assert theory.dilation(alpha=0.0).dilation == pytest.approx(0.00902276, abs=5e-9)
    assert theory.dilation(alpha=0.1).dilation == pytest.approx(0.00605466, abs=5e-9)


@pytest.mark.slow
@pytest.mark.parametrize("law", laws.LAWS)
@settings(max_examples=20)
@given(
    st.floats(0, 0.6),
    st.floats(-5, -1),
    st.floats(-5, -1),
    st.floats(-4, 0),
    st.floats(-1, 1),
    st.integers(2, 4),
    st.integers(0, 9),
)
def test_equals_the_full_problem_by_slsqp(law, alpha, log_w, log_h, log_eta, log_slope, width, seed):
    point = (alpha, 10**log_w, 10**log_h, 10**log_eta, 10**log_slope, law, width)
    solved = theory.dilation(*point)
    assume(not solved.collapsed and solved.gap > 0.05)
    full = full_problem(*point, seed=seed)
    assert full.value == pytest.approx(solved.value, rel=1e-9)
    assert full.value >= solved.value * (1 - 1e-7)  # no feasible point has a lower risk
    assert full.dilation == pytest.approx(solved.dilation, rel=1e-6)
    assert full.features == pytest.approx(solved.features, abs=1e-4 * solved.feature_norm)


def _reference(alpha, l_w, l_h, eta, slope, points):
    """Solve the reduced problem for a discrete law in 30 digits, by Newton steps from the given solution."""
    with mpmath.workdps(30):
        al, w, h, e, C = (mpmath.mpf(x) for x in (alpha, l_w, l_h, eta, slope))
        c = al / 2 + mpmath.sqrt(2 * w * h)
        d = mpmath.log((1 - c) / c)
        a, scale = mpmath.sqrt(d * mpmath.sqrt(w / (2 * h))), mpmath.sqrt(2 * h / w)
        D, k = a * mpmath.sqrt(2), scale * a
        softplus = lambda x: mpmath.log1p(mpmath.exp(x))  # noqa: E731

        def risk(x, y):
            r = e * D * mpmath.sqrt(x * x + (y - a) ** 2) / C
            clean = (
                sum(softplus(-(d + r * scale * D * z)) for z in points) / len(points) + al * d / 2 + h * (a * a + r * r)
            )
            return 2 * clean + 2 * e * (softplus(-k * (x - y)) + al / 2 * k * (x - y) + h * (x * x + y * y))

        guess = theory.dilation(alpha, l_w, l_h, eta, slope, laws.from_samples([float(z) for z in points]))
        x, y = mpmath.mpf(guess.along), mpmath.mpf(guess.across)
        if guess.across > 0:
            root = mpmath.findroot(
                lambda x, y: (mpmath.diff(risk, (x, y), (1, 0)), mpmath.diff(risk, (x, y), (0, 1))), (x, y)
            )
            x, y = root[0], root[1]
        else:
            x = mpmath.findroot(lambda x: mpmath.diff(risk, (x, 0), (1, 0)), x)
        return guess, float(e * mpmath.sqrt(x * x + (y - a) ** 2) / C), float(risk(x, y))


@pytest.mark.parametrize(
    "point",
    [
        (0.1, 1e-3, 1e-3, 0.003, 1.0),
        (0.0, 1e-8, 1e-6, 1e-5, 0.1),
        (0.3, 1e-2, 1e-3, 0.9, 0.3),
        (0.0, 1e-3, 1e-2, 0.2, 1.0),
        (0.05, 1e-10, 1e-10, 1e-9, 3.0),
    ],
)
def test_against_thirty_digits(point):
    guess, dilation, risk = _reference(*point, points=[mpmath.mpf(-1), mpmath.mpf(1)])
    assert guess.dilation == pytest.approx(dilation, rel=1e-12)
    assert guess.value == pytest.approx(risk, rel=1e-13)


@given(st.sampled_from(laws.LAWS), st.floats(-3, 28), st.floats(-3, 3), st.integers(2, 9))
def test_the_quadrature(name, offset, log_scale, width):
    law, scale = laws.named(name, width), 10**log_scale
    assume(law.curve is not None)
    points, weights = law.nodes(np.array([offset]), np.array([scale]))
    assert weights.sum() == pytest.approx(1, rel=1e-12)
    assert (weights * points).sum() == pytest.approx(0, abs=1e-12)
    assert (weights * points**2).sum() == pytest.approx(law.second_moment, rel=1e-11)
    position, inverse, density = law.curve
    breaks = sorted(
        {
            float(inverse(np.clip((b - offset) / scale, float(position(0.0)), float(position(1.0)))))
            for b in (-30, -3, 0, 3, 30)
        }
        | {0.0, 0.5, 1.0}
    )
    function = lambda t: float(density(np.array(t)) * np.logaddexp(0, -(offset + scale * position(np.array(t)))))  # noqa: E731
    expected = sum(
        quad(function, low, high, epsabs=0, epsrel=1e-11, limit=200)[0] for low, high in itertools.pairwise(breaks)
    )
    assert (weights * np.logaddexp(0, -(offset + scale * points))).sum() == pytest.approx(expected, rel=2e-9)


@settings(max_examples=40)
@given(
    st.floats(0, 0.9),
    st.floats(-12, 0),
    st.floats(-12, 0),
    st.floats(-9, 1),
    st.floats(-3, 3),
    st.sampled_from(laws.LAWS),
    st.sampled_from(["smoothing", "relaxation"]),
)
def test_extremes_are_finite_and_ordered(alpha, log_w, log_h, log_eta, log_slope, law, loss):
    etas = 10**log_eta * np.array([0.0, 0.5, 1.0, 1.5])
    solved = theory.dilation(alpha, 10**log_w, 10**log_h, etas, 10**log_slope, law, 3, loss)
    for name in (
        "r",
        "dilation",
        "memorization",
        "memorization_relative",
        "value",
        "residual",
        "optimality_gap",
        "along",
        "across",
    ):
        assert np.isfinite(getattr(solved, name)).all(), name
    assert solved.converged.all()
    assert (solved.residual <= 1e-9).all()
    assert (solved.r <= solved.r_max * (1 + 1e-14)).all()
    assert (np.diff(solved.memorization) >= -1e-15 * solved.memorization[1:]).all()
    assert (np.diff(solved.value) >= -1e-13).all()
    assert (solved.along >= 0).all()
    assert (solved.across >= 0).all()
    assert (solved.along <= solved.feature_norm * (1 + 1e-12)).all()
    assert solved.r[0] == 0


def test_without_noise_nothing_is_memorized():
    solved = theory.dilation(eta=0.0)
    assert (solved.r, solved.dilation, solved.memorization, solved.optimality_gap) == (0, 0, 0, 0)
    assert solved.features == pytest.approx(np.array([[1.0, 0.0], [0.0, 1.0]]) * solved.feature_norm)
    near = theory.dilation(eta=1e-12)
    assert near.memorization == pytest.approx(1e-12 * near.distance, rel=1e-9)


def test_collapsed_class_means_have_nothing_to_memorize():
    solved = theory.dilation(alpha=0.1, lambda_w=1.0, lambda_h=1.0, eta=0.2)
    assert solved.collapsed
    assert solved.converged
    assert (solved.dilation, solved.memorization, solved.distance) == (0, 0, 0)
    assert solved.value == pytest.approx(2 * 1.2 * np.log(2), rel=1e-14)


@settings(max_examples=60)
@given(
    st.floats(0, 0.8), st.floats(-4, -1), st.floats(-4, -1), st.floats(-3, 0), st.floats(-1, 1), st.integers(0, 10**6)
)
def test_nothing_feasible_is_below_the_certificate(alpha, log_w, log_h, log_eta, log_slope, seed):
    l_h, eta, slope = 10**log_h, 10**log_eta, 10**log_slope
    solved = theory.dilation(alpha, 10**log_w, l_h, eta, slope, "two-point")
    assume(not solved.collapsed)
    a, k = solved.feature_norm, solved.classifier_scale * solved.feature_norm
    generator = np.random.default_rng(seed)
    near = np.array([solved.along, solved.across]) + generator.normal(size=2) * a * 10 ** generator.uniform(-6, 0)
    x, y = np.maximum(near, 0)
    r = eta * solved.distance * np.hypot(x, y - a) / slope * generator.uniform(1, 1.1)
    spread = np.logaddexp(0, -(solved.gap + np.array([-1, 1]) * r * k * np.sqrt(2))).mean() + alpha / 2 * solved.gap
    noisy = np.logaddexp(0, -k * (x - y)) + alpha / 2 * k * (x - y) + l_h * (x * x + y * y)
    risk = 2 * (spread + l_h * (a * a + r * r)) + 2 * eta * noisy
    assert risk >= (solved.value - solved.optimality_gap) * (1 - 1e-14)
    assert solved.optimality_gap < 1e-13 * solved.value


def test_a_sweep_is_its_points():
    generator = np.random.default_rng(0)
    l_w, l_h = 10 ** generator.uniform(-5, -0.2, (2, 60, 1))
    eta = 10 ** generator.uniform(-4, 0, 3)
    sweep = theory.dilation(0.1, l_w, l_h, eta, 0.7)
    assert sweep.dilation.shape == (60, 3)
    assert sweep.features.shape == (60, 3, 2, 2)
    for i in range(0, 60, 7):
        for j in range(3):
            one = theory.dilation(0.1, float(l_w[i, 0]), float(l_h[i, 0]), float(eta[j]), 0.7)
            assert sweep.dilation[i, j] == pytest.approx(one.dilation, rel=1e-12)
            assert sweep.value[i, j] == pytest.approx(one.value, rel=1e-13)
            assert sweep.collapsed[i, j] == one.collapsed
            assert sweep.features[i, j] == pytest.approx(one.features, abs=1e-12)
    many = theory.dilation(0.1, np.full(3000, 1e-3), 1e-3, np.linspace(0, 1, 3000))
    assert (np.diff(many.dilation) > 0).all()
    assert many.dilation[1500] == pytest.approx(
        theory.dilation(0.1, eta=float(np.linspace(0, 1, 3000)[1500])).dilation, rel=1e-12
    )


def test_names_and_units():
    solved = theory.dilation(alpha=0.1, eta=0.1, slope=2.0, width=4)
    u1, u2 = solved.features
    h1, h2 = solved.feature_norm * np.eye(2, 4)
    assert solved.features.shape == (2, 4)
    assert solved.memorization == pytest.approx(0.1 * np.linalg.norm(u1 - h2), rel=1e-13)
    assert np.linalg.norm(u2 - h1) == pytest.approx(np.linalg.norm(u1 - h2), rel=1e-13)
    assert solved.dilation == pytest.approx(solved.r / np.linalg.norm(h1 - h2), rel=1e-13)
    assert 2.0 * solved.dilation == pytest.approx(solved.memorization, rel=1e-13)
    assert solved.memorization_relative == pytest.approx(solved.memorization / solved.distance, rel=1e-13)
    assert solved.r_max == pytest.approx(0.1 * solved.distance**2 / 2.0, rel=1e-13)
    # the model sums the two class losses instead of averaging them, which halves both penalties
    peeled = theory.layer_peeled(2, 0.1, 0.5e-3, 0.5e-3)
    assert solved.feature_norm == pytest.approx(peeled.feature_norm, rel=1e-13)
    assert solved.gap == pytest.approx(peeled.gap, rel=1e-13)


def test_relaxation_is_smoothing_at_twice_alpha_until_a_sample_is_confident():
    narrow = {"eta": 1e-4, "slope": 5.0, "lambda_w": 1e-3, "lambda_h": 1e-3}
    relaxed, smoothed = theory.dilation(0.1, **narrow, loss="relaxation"), theory.dilation(0.2, **narrow)
    assert relaxed.feature_norm == pytest.approx(smoothed.feature_norm, rel=1e-13)
    assert relaxed.dilation == pytest.approx(smoothed.dilation, rel=1e-10)
    wide = {"eta": 0.2, "slope": 0.5}
    assert theory.dilation(0.1, **wide, loss="relaxation").dilation > theory.dilation(0.2, **wide).dilation * 1.001
    assert theory.dilation(0.0, loss="relaxation").dilation == pytest.approx(theory.dilation(0.0).dilation, rel=1e-12)


def test_the_relaxedmargin_loss():
    alpha, w = 0.2, np.array([-3.0, 0.0, 1.0, 1.3, 1.4, 9.0])
    cap = np.log(0.8 / 0.2)
    p = 1 / (1 + np.exp(-w))
    expected = np.where(p > 1 - alpha, 0, (1 - alpha) * np.log((1 - alpha) / p) + alpha * np.log(alpha / (1 - p)))
    assert margin_loss(np.array(alpha), np.array(cap))(w) == pytest.approx(expected, abs=1e-15)


class TestUsersLaws:
    def test_samples_of_the_two_point_law(self):
        assert theory.dilation(law=laws.from_samples([-3.0, 3.0])).dilation == pytest.approx(
            theory.dilation(law="two-point").dilation, rel=1e-13
        )

    def test_a_flat_density_is_the_segment(self):
        flat = laws.from_density(np.ones_like, -2.0, 2.0)
        assert flat.bound == pytest.approx(np.sqrt(3), rel=1e-12)
        for eta in (0.003, 0.5):
            assert theory.dilation(eta=eta, law=flat).dilation == pytest.approx(
                theory.dilation(eta=eta, law="segment").dilation, rel=1e-11
            )

    def test_points_of_the_circle(self):
        angles = 2 * np.pi * (np.arange(500) + 0.5) / 500
        ring = laws.from_samples(np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1) * 7)
        assert ring.second_moment == pytest.approx(0.5)
        assert ring.bound == pytest.approx(1)
        assert theory.dilation(eta=0.1, law=ring).dilation == pytest.approx(theory.dilation(eta=0.1).dilation, rel=1e-9)

    def test_a_lopsided_law_may_be_used_if_centered(self):
        lopsided = theory.dilation(eta=0.2, law=laws.from_samples([-1.0, -1.0, 2.0]))
        full = full_problem(eta=0.2, law=laws.from_samples([-1.0, -1.0, 2.0]))
        assert full.dilation == pytest.approx(lopsided.dilation, rel=1e-6)

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: laws.from_samples([1.0, 2.0]), "not centered"),
            (lambda: laws.from_samples([[1.0, 1.0], [0.0, 0.0]]), "not centered.*h_1"),
            (lambda: laws.from_samples([0.0, 0.0]), "spread"),
            (lambda: laws.from_samples([np.nan]), "finite"),
            (lambda: laws.from_samples([[1.0], [2.0]]), "M >= 2"),
            (lambda: laws.from_density(lambda z: 1 + z, -1.0, 1.0), "not centered"),
            (lambda: laws.from_density(lambda z: z**2 - 1, -1.0, 1.0), "non-negative"),
            (lambda: laws.from_density(lambda z: 0 * z, -1.0, 1.0), "mass"),
            (lambda: laws.from_density(np.ones_like, -np.inf, 1.0), "finite ends with low < high"),
            (lambda: laws.named("gauss"), "law must be one of"),
            (lambda: laws.named("sphere", 1), "width"),
        ],
    )
    def test_what_is_not_a_law(self, make, message):
        with pytest.raises(ValueError, match=message):
            make()


def test_the_sphere_in_two_dimensions_is_the_circle_and_in_many_is_narrow():
    assert theory.dilation(eta=0.1, law="sphere", width=2).dilation == pytest.approx(
        theory.dilation(eta=0.1).dilation, rel=1e-12
    )
    points, weights = laws.named("sphere", 4000).nodes(np.array([2.0]), np.array([50.0]))
    assert (weights * points**2).sum() == pytest.approx(1 / 4000, rel=1e-10)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"alpha": 1.0}, "alpha must be in"),
        ({"lambda_w": -1e-3}, "lambda_w must be above 0"),
        ({"eta": -0.1}, "eta must be at least 0"),
        ({"slope": 0.0}, "slope must be above 0"),
        ({"width": 1}, "width must be at least N = 2"),
        ({"law": "cauchy"}, "law must be one of"),
        ({"loss": "hinge"}, "loss must be"),
    ],
)
def test_outside_its_domain_it_says_which_condition_failed(wrong, message):
    with pytest.raises(ValueError, match=message):
        theory.dilation(**wrong)


def test_the_oracle_refuses_what_has_no_problem():
    with pytest.raises(ValueError, match="eta above 0"):
        full_problem(eta=0.0)


def test_vanishing_penalties_are_certified_or_not_converged():
    """u_1 is so close to h_2 that u_1 - h_2 loses all digits, so the certificate must not compute this difference."""
    smoothed = theory.dilation(alpha=0.1, lambda_h=[1e-50, 1e-100, 1e-300, 1e-307])
    assert smoothed.converged.all()
    assert (smoothed.optimality_gap < 1e-15).all()
    # without smoothing, the quadrature does not resolve the tails of the law
    entropy = theory.dilation(alpha=0.0, lambda_h=[1e-3, 1e-100, 1e-300])
    assert entropy.converged.tolist() == [True, False, False]
    assert entropy.residual[0] < 1e-9 < entropy.residual[1:].min()
