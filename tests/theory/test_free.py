import numpy as np
import pytest

from byrote import theory
from byrote.theory.free import _lowest_curvature, free_problem
from byrote.theory.logit_losses import KINDS, LogitLoss

from .oracles import layer_peeled_objective, numerical_gradient


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", [True, False])
def test_the_gradient(kind, bias):
    objective, shapes, _ = free_problem(3, 0.2, 0.01, 0.02, bias, 4, 2, LogitLoss(kind, 0.2))
    point = np.random.default_rng(0).normal(size=sum(int(np.prod(shape)) for shape in shapes))
    assert objective(point)[1] == pytest.approx(numerical_gradient(lambda x: objective(x)[0], point), abs=1e-8)


def test_the_objective_is_the_papers():
    objective, shapes, (w, h) = free_problem(3, 0.1, 0.02, 0.005, True, 4, 2, LogitLoss("smoothing", 0.1))
    point = np.random.default_rng(1).normal(size=sum(int(np.prod(shape)) for shape in shapes))
    W, H, b = w * point[:12].reshape(3, 4), h * point[12:36].reshape(3, 2, 4), point[36:]
    assert objective(point)[0] == pytest.approx(layer_peeled_objective(W, H, b, 0.1, 0.02, 0.005), rel=1e-13)


def test_two_classes_in_the_plane_have_a_spurious_minimum_with_a_class_at_zero():
    solved = theory.solve_free(2, 0.1, 0.005, 0.005, restarts=40)
    best, *others = solved.stationary_points
    assert best.value == pytest.approx(theory.layer_peeled(2, 0.1, 0.005, 0.005).value, rel=1e-10)
    spurious = [point for point in others if point.kind == "minimum"]
    assert spurious
    assert min(np.linalg.norm(spurious[0].features, axis=1)) < 1e-6
    assert spurious[0].value > best.value + 1e-3
    assert sum(point.times_met for point in solved.stationary_points) == 40
    assert 2 <= spurious[0].times_met <= 20


def test_samples_of_a_class_coincide():
    solved = theory.solve_free(3, 0.1, 0.005, 0.005, samples=2, width=4, restarts=4)
    assert solved.features.shape == (6, 4)
    assert theory.is_nc_configuration(solved.weight, solved.features.reshape(3, 2, 4)).holds
    assert solved.converged


def test_signed_features_have_a_flat_orbit():
    best = theory.solve_free(2, 0.1, 0.005, 0.005, positive=False, restarts=3).stationary_points[0]
    assert best.kind == "minimum"
    assert best.flat >= 1


@pytest.mark.parametrize(
    ("matrix", "weak", "lowest"),
    [
        ([[1.0, 0.0], [0.0, -2.0]], [False, False], -2.0),
        ([[1.0, 2.0], [2.0, 1.0]], [False, False], -1.0),
        (
            [[1.0, 2.0], [2.0, 1.0]],
            [True, True],
            1.0,
        ),  # curvature is negative along (1, -1), but this direction is not feasible
        ([[1.0, -2.0], [-2.0, 1.0]], [True, True], -1.0),
        ([[1.0, 2.0], [2.0, 1.0]], [True, False], -1.0),
    ],
)
def test_curvature_on_the_critical_cone(matrix, weak, lowest):
    assert _lowest_curvature(np.array(matrix), np.array(weak)) == pytest.approx(lowest, abs=1e-6)


def test_wrong_requests():
    with pytest.raises(ValueError, match="restarts"):
        theory.solve_free(restarts=0)
    with pytest.raises(ValueError, match="samples"):
        theory.solve_free(samples=0)
    with pytest.raises(ValueError, match="loss must be one of"):
        theory.solve_free(loss="hinge")
