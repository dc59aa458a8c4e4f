import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from byrote import theory

from .oracles import layer_peeled_objective

exponents = st.floats(-5, -0.3)


def test_the_checked_example():
    solved = theory.layer_peeled(3, 0.1, 0.005, 0.005)
    assert solved.value == pytest.approx(0.3684054341, abs=5e-11)
    assert solved.feature_norm == pytest.approx(1.5631743, abs=5e-8)
    assert solved.classifier_scale == pytest.approx(1.2247449, abs=5e-8)
    assert solved.gap == pytest.approx(solved.classifier_scale * solved.feature_norm**2, rel=1e-14)
    assert abs(solved.optimality_gap) < 1e-15
    assert not solved.collapsed


@pytest.mark.slow
@settings(max_examples=200)
@given(
    st.integers(2, 4),
    st.floats(0, 0.95),
    exponents,
    exponents,
    st.booleans(),
    st.booleans(),
    st.integers(0, 1),
    st.integers(0, 99),
)
def test_closed_form_equals_the_free_solver(N, alpha, log_w, log_h, positive, bias, wider, seed):
    l_w, l_h = 10**log_w, 10**log_h
    exact = theory.layer_peeled(N, alpha, l_w, l_h, positive, bias, N + wider)
    # spurious minima exist: use more starts if two starts do not reach the best minimum
    for restarts in (2, 10, 60):
        free = theory.solve_free(N, alpha, l_w, l_h, positive, bias, N + wider, restarts=restarts, seed=seed)
        if abs(free.value / exact.value - 1) < 1e-9:
            break
    assert free.value == pytest.approx(exact.value, rel=1e-9)


@settings(max_examples=60)
@given(
    st.integers(2, 5), st.integers(1, 3), st.floats(0, 0.95), exponents, exponents, st.booleans(), st.integers(0, 10**6)
)
def test_the_lower_bound_is_below_every_pair(N, K, alpha, log_w, log_h, positive, seed):
    generator = np.random.default_rng(seed)
    scale = 10 ** generator.uniform(-2, 1)
    W, H, b = generator.normal(size=(N, N)) * scale, generator.normal(size=(N, K, N)), generator.normal(size=N)
    H = np.abs(H) if positive else H
    bound = theory.lower_bound(N, alpha, 10**log_w, 10**log_h, positive)
    assert layer_peeled_objective(W, H, b, alpha, 10**log_w, 10**log_h) >= bound
    exact = theory.layer_peeled(N, alpha, 10**log_w, 10**log_h, positive)
    assert bound == pytest.approx(exact.value, rel=1e-12)
    assert bound <= exact.value * (1 + 1e-14)


def test_any_admissible_tangent_certifies_and_no_other():
    value = theory.layer_peeled(3, 0.1, 0.005, 0.005).value
    best = 1 / (1 + 2 * np.exp(-theory.layer_peeled(3, 0.1, 0.005, 0.005).gap))
    for p in np.linspace(best + 1e-9, 0.9333, 20):
        assert theory.lower_bound(3, 0.1, 0.005, 0.005, p=float(p)) < value + 1e-12
    for p in (best - 1e-3, 0.95):
        with pytest.raises(ValueError, match="dual value"):
            theory.lower_bound(3, 0.1, 0.005, 0.005, p=float(p))


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("N", [2, 3, 7])
def test_the_matrices_are_minimizers(N, positive):
    solved = theory.layer_peeled(N, 0.2, 0.003, 0.001, positive, width=N + 2)
    W, H = solved.weight, solved.features
    samples = np.repeat(H[:, None, :], 2, axis=1)
    assert layer_peeled_objective(W, samples, np.zeros(N), 0.2, 0.003, 0.001) == pytest.approx(solved.value, rel=1e-14)
    assert theory.is_nc_configuration(W, H).holds == positive
    gram = H @ H.T / solved.feature_norm**2
    expected = np.eye(N) if positive else np.eye(N) - (1 - np.eye(N)) / (N - 1)
    assert gram == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize(
    ("alpha", "l_w", "l_h", "N"),
    [(0.1, 1e-12, 1e-12, 2), (0.0, 1e-9, 1e-3, 10), (0.5, 1e-3, 0.1, 3), (0.0, 0.08, 0.08, 2)],
)
def test_against_forty_digits(alpha, l_w, l_h, N):
    with mpmath.workdps(40):
        a, w, h = mpmath.mpf(alpha), mpmath.mpf(l_w), mpmath.mpf(l_h)
        c = a * (N - 1) / N + 2 * mpmath.sqrt(N * (N - 1) * w * h)
        d = mpmath.findroot(lambda d: c - (N - 1) * mpmath.exp(-d) / (1 + (N - 1) * mpmath.exp(-d)), 2)
        value = mpmath.log(1 + (N - 1) * mpmath.exp(-d)) + c * d
        norm = mpmath.sqrt(d * mpmath.sqrt((N - 1) * w / (N * h)))
    solved = theory.layer_peeled(N, alpha, l_w, l_h)
    assert solved.gap == pytest.approx(float(d), rel=1e-13)
    assert solved.value == pytest.approx(float(value), rel=1e-13)
    assert solved.feature_norm == pytest.approx(float(norm), rel=1e-13)


@pytest.mark.parametrize("positive", [True, False])
def test_the_exact_threshold_is_where_zero_takes_over(positive):
    N, alpha = 4, 0.3
    root = (1 - alpha) / (2 * N * (np.sqrt(N / (N - 1)) if positive else 1))
    below, above = (theory.layer_peeled(N, alpha, root * f, root * f, positive) for f in (1 - 1e-6, 1 + 1e-6))
    assert not below.collapsed
    assert 0 < below.gap < 1e-4
    assert below.exact_margin > 0 > above.exact_margin
    assert above.collapsed
    assert above.value == pytest.approx(np.log(4), rel=1e-15)
    at = theory.layer_peeled(N, alpha, root, root, positive)
    assert at.gap == pytest.approx(0, abs=1e-12)
    assert np.isfinite([at.value, at.lower_bound, at.feature_norm]).all()


def test_between_the_thresholds_the_minimizer_is_zero():
    exact, printed = theory.thresholds(10, 0.1, 0.08, 0.08)
    assert exact < 0 < printed
    assert theory.layer_peeled(10, 0.1, 0.08, 0.08).collapsed
    free = theory.solve_free(3, 0.1, 0.3, 0.3, restarts=3)
    assert np.abs(free.features).max() < 1e-6
    assert theory.thresholds(3, 0.1, 0.3, 0.3)[1] > 0 > theory.thresholds(3, 0.1, 0.3, 0.3)[0]


@given(st.integers(2, 50), st.floats(0, 0.999), st.floats(-12, 0), st.floats(-12, 0), st.booleans())
def test_extremes_are_finite_and_ordered(N, alpha, log_w, log_h, positive):
    solved = theory.layer_peeled(N, alpha, 10**log_w, 10**log_h, positive)
    assert np.isfinite(
        [solved.value, solved.gap, solved.feature_norm, solved.classifier_scale, solved.lower_bound]
    ).all()
    assert 0 <= solved.value <= np.log(N) * (1 + 1e-15)
    assert abs(solved.optimality_gap) <= 1e-13
    assert solved.collapsed == (solved.gap == 0)
    more = theory.layer_peeled(N, min(0.9999, alpha + 1e-3), 10**log_w, 10**log_h, positive)
    assert more.gap <= solved.gap
    assert more.value >= solved.value - 1e-15


def test_signed_features_do_better():
    assert theory.layer_peeled(4, 0.1, 0.01, 0.01, positive=False).value < theory.layer_peeled(4, 0.1, 0.01, 0.01).value


def test_a_sweep_is_its_points():
    alpha, l_w = np.linspace(0, 0.9, 7)[:, None], np.geomspace(1e-4, 0.3, 5)
    sweep = theory.layer_peeled(3, alpha, l_w, 0.01)
    assert sweep.value.shape == (7, 5)
    for i in range(7):
        for j in range(5):
            one = theory.layer_peeled(3, float(alpha[i, 0]), float(l_w[j]), 0.01)
            for name in ("value", "gap", "feature_norm", "collapsed", "optimality_gap", "exact_margin"):
                assert getattr(sweep, name)[i, j] == getattr(one, name)
    with pytest.raises(ValueError, match="one parameter point"):
        _ = sweep.features


def test_with_a_bias_two_classes_have_a_curve_of_minimizers():
    solved = theory.layer_peeled(2, 0.1, 0.005, 0.005, bias=True)
    curve = theory.bias_curve(0.1, 0.005, 0.005, points=9)
    for W, H, b in curve:
        assert layer_peeled_objective(W, H[:, None, :], b, 0.1, 0.005, 0.005) == pytest.approx(solved.value, rel=1e-13)
    assert [theory.is_nc_configuration(W, H).holds for W, H, _ in curve] == [k == 4 for k in range(9)]
    assert np.abs(curve[0][1][0]).max() == 0
    assert np.abs(curve[-1][1][1]).max() == 0
    W, H, b = curve[0]  # with any penalty on the bias, the objective is higher at the ends of the curve
    assert abs(b[0]) > 0.1
    free = theory.solve_free(2, 0.1, 0.005, 0.005, bias=True, restarts=6)
    assert free.value == pytest.approx(solved.value, rel=1e-12)
    equal = [point for point in free.stationary_points if abs(point.value - solved.value) < 1e-9]
    norms = {round(float(np.linalg.norm(point.features[0])), 2) for point in equal}
    assert len(norms) > 1


def test_with_a_bias_three_classes_are_collapsed_all_the_same():
    free = theory.solve_free(3, 0.1, 0.005, 0.005, bias=True, restarts=6)
    assert free.value == pytest.approx(theory.layer_peeled(3, 0.1, 0.005, 0.005, bias=True).value, rel=1e-12)
    assert theory.is_nc_configuration(free.weight, free.features).holds


def test_each_deviation_names_its_own_condition():
    solved = theory.layer_peeled(3, 0.1, 0.005, 0.005)
    W, H = solved.weight, solved.features
    spread = np.stack([H, H], axis=1)
    spread[0, 0, 0] += 0.1
    spread[0, 1, 0] -= 0.1
    within = theory.is_nc_configuration(W, spread)
    assert within.within_class == pytest.approx(0.1 / solved.feature_norm, rel=1e-12)
    assert within.orthogonality < 1e-12
    turned = H.copy()
    turned[0, 1] = 0.01 * solved.feature_norm
    assert theory.is_nc_configuration(W, turned).orthogonality == pytest.approx(0.01, rel=0.1)
    longer = H.copy()
    longer[0] *= 1.01
    assert theory.is_nc_configuration(W, longer).orthogonality == pytest.approx(0.0133, rel=0.1)
    off = W.copy()
    off[0] *= 1.01
    assert theory.is_nc_configuration(off, H).duality == pytest.approx(0.0066, rel=0.2)
    negative = np.array([[1.0, 0.0], [0.0, -1.0]])
    assert not theory.is_nc_configuration(negative - negative.mean(0), negative).holds
    assert theory.is_nc_configuration(np.zeros((3, 3)), np.zeros((3, 3))).holds
    with pytest.raises(ValueError, match="must go with"):
        theory.is_nc_configuration(W, H[:2])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"alpha": 1.0}, "alpha must be in"),
        ({"alpha": -0.1}, "alpha must be in"),
        ({"alpha": np.nan}, "alpha must be in"),
        ({"alpha": "a"}, "alpha must be in"),
        ({"lambda_w": 0.0}, "lambda_w must be above 0"),
        ({"lambda_h": -1.0}, "lambda_h must be above 0"),
        ({"lambda_h": np.inf}, "lambda_h must be above 0"),
        ({"num_classes": 1}, "num_classes must be a whole number"),
        ({"num_classes": 2.5}, "num_classes must be a whole number"),
        ({"num_classes": 3, "width": 2}, "width must be a whole number M >= N = 3"),
        ({"alpha": np.zeros(2), "lambda_w": np.ones(3)}, "broadcast"),
    ],
)
def test_outside_its_domain_it_says_which_condition_failed(wrong, message):
    with pytest.raises(ValueError, match=message):
        theory.layer_peeled(**wrong)


@pytest.mark.parametrize("num_classes", [10**10, 10**20, 1.0, 2.5, float("nan")])
def test_class_counts_that_rounding_would_lose_are_refused(num_classes):
    with pytest.raises(ValueError, match="num_classes must be a whole number of at least 2 \\(and at most 1e9\\)"):
        theory.layer_peeled(num_classes)
    assert np.isfinite(theory.layer_peeled(10**9).lower_bound)


@pytest.mark.parametrize(("l_w", "l_h"), [(1e-3, 1e308), (1e308, 1e-310), (1e-310, 1e-3)])
@pytest.mark.parametrize("positive", [True, False])
def test_penalties_of_any_size_overflow_nothing(l_w, l_h, positive):
    solved = theory.layer_peeled(3, 0.1, l_w, l_h, positive)
    assert np.isfinite([solved.value, solved.feature_norm, solved.classifier_scale, solved.lower_bound]).all()
