"""The free layer-peeled problem, solved numerically by bounded quasi-Newton with restarts (no closed form)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .logit_losses import Kind, LogitLoss
from .optimize import Objective, descend, hessian, projected
from .parameters import Array, class_count, positive, width_of

__all__ = ["FreeSolution", "StationaryPoint", "free_problem", "solve_free"]


@dataclass(frozen=True)
class StationaryPoint:
    """A stationary point that at least one restart reached; points related by a symmetry of the problem count as one.

    Attributes:
        value: the value of the objective.
        weight: W, (N, M).
        features: H, (N K, M).
        bias: b, (N,); unused without a bias.
        kind: `saddle` if the critical cone contains a direction with curvature below -tolerance, otherwise `minimum`.
            In the critical cone, entries of H with a positive multiplier at the bound 0 stay 0.
        flat: the number of flat directions, such as rotations of signed features.
        lowest_curvature: the lowest curvature on the critical cone.
        times_met: the number of restarts that ended here.
        residual: the largest entry of the projected gradient.
    """

    value: float
    weight: Array
    features: Array
    bias: Array
    kind: Literal["minimum", "saddle"]
    flat: int
    lowest_curvature: float
    times_met: int
    residual: float


@dataclass(frozen=True)
class FreeSolution:
    """The best result of all restarts, and every distinct stationary point.

    Attributes:
        value, weight, features, bias: the fields of the best stationary point; see `StationaryPoint`.
        stationary_points: all stationary points that were reached, best first.
        converged: whether the residual of the best stationary point is at most 100 times the tolerance.
        iterations: the total number of steps in all restarts.
        restarts: the number of random starts.
    """

    value: float
    weight: Array
    features: Array
    bias: Array
    stationary_points: tuple[StationaryPoint, ...]
    converged: bool
    iterations: int
    restarts: int


def solve_free(
    num_classes: int = 3,
    alpha: float = 0.1,
    lambda_w: float = 0.005,
    lambda_h: float = 0.005,
    positive: bool = True,
    bias: bool = False,
    width: int | None = None,
    samples: int = 1,
    loss: Kind = "smoothing",
    restarts: int = 10,
    seed: int = 0,
    tolerance: float = 1e-10,
) -> FreeSolution:
    """Minimize the layer-peeled problem over all entries of W, H (and b), without assuming neural collapse.

    Args:
        num_classes, alpha, lambda_w, lambda_h, positive, bias, width: see `layer_peeled`.
        samples: K, the number of samples per class.
        loss: any of `KINDS`. Non-convex losses have no certificate; for them the restarts are the only evidence.
        restarts: the number of random starts (at N = M = 2, one start in five ends in a spurious minimum).
        seed: the seed of the starts.
        tolerance: the bound on the projected gradient, in variables scaled so that both penalties are equal.

    Raises:
        ValueError: a parameter outside its domain.

    >>> solution = solve_free(restarts=4)
    >>> round(solution.value, 8), solution.stationary_points[0].kind
    (0.36840543, 'minimum')
    """
    if restarts < 1:
        raise ValueError(f"restarts must be at least 1, got {restarts}")
    objective, shapes, scales = free_problem(
        num_classes, alpha, lambda_w, lambda_h, bias, width, samples, LogitLoss(loss, alpha)
    )
    sizes = [int(np.prod(shape)) for shape in shapes]
    lower = np.full(sum(sizes), -np.inf)
    if positive:
        lower[sizes[0] : sizes[0] + sizes[1]] = 0.0
    generator = np.random.default_rng(seed)
    ends, steps = [], 0
    for _ in range(restarts):
        start = generator.standard_normal(len(lower)) * generator.uniform(0.3, 3)
        end, used = descend(objective, np.maximum(start, lower), lower, tolerance)
        ends.append(end)
        steps += used
    points = _distinct([_Met(objective, end, lower, shapes, scales) for end in ends], tolerance)
    best = points[0]
    return FreeSolution(
        best.value,
        best.weight,
        best.features,
        best.bias,
        tuple(points),
        converged=best.residual <= 100 * tolerance,
        iterations=steps,
        restarts=restarts,
    )


def free_problem(
    num_classes: int,
    alpha: float,
    lambda_w: float,
    lambda_h: float,
    bias: bool,
    width: int | None,
    samples: int,
    loss: LogitLoss,
) -> tuple[Objective, list[tuple[int, ...]], tuple[float, float]]:
    """Return the objective as a function of a flat vector (W, H, b), the three shapes, and the scales of W and H.

    The variables are W / w and H / h with lambda_W w^2 = lambda_H h^2 and w h = 1, so that the products W H are
    unchanged and both penalties are equal.
    """
    N = int(class_count(num_classes))
    l_w, l_h = float(positive("lambda_w", lambda_w)), float(positive("lambda_h", lambda_h))
    M, K = width_of(width, N), int(samples)
    if K < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    scale_w = float((l_h / l_w) ** 0.25)
    penalty = float(np.sqrt(l_w) * np.sqrt(l_h))  # for W and for H, in the scaled variables
    labels, counts = np.repeat(np.arange(N), K), np.ones(N)
    shapes: list[tuple[int, ...]] = [(N, M), (N * K, M), (N,)]

    def objective(flat: Array) -> tuple[float, Array]:
        W, H, b = (
            flat[: N * M].reshape(N, M),
            flat[N * M : N * M + N * K * M].reshape(N * K, M),
            flat[N * M + N * K * M :],
        )
        values, by_logits = loss(H @ W.T + (b if bias else 0.0), labels, counts)
        by_logits = by_logits / (N * K)
        total = values.mean() + penalty * ((W**2).sum() + (H**2).sum() / K)
        by_b = by_logits.sum(axis=0) if bias else np.zeros(N)
        gradient = (by_logits.T @ H + 2 * penalty * W, by_logits @ W + 2 * penalty / K * H, by_b)
        return float(total), np.concatenate([part.ravel() for part in gradient])

    return objective, shapes, (scale_w, 1 / scale_w)


class _Met:
    """The end point of one descent: its matrices in original units, and quantities invariant under the symmetries."""

    def __init__(
        self, objective: Objective, end: Array, lower: Array, shapes: list[tuple[int, ...]], scales: tuple[float, float]
    ) -> None:
        self.objective, self.end, self.lower = objective, end, lower
        self.value, self.gradient = objective(end)
        self.residual = float(np.abs(projected(end, self.gradient, lower)).max())
        first, second = int(np.prod(shapes[0])), int(np.prod(shapes[1]))
        W, H = end[:first].reshape(shapes[0]), end[first : first + second].reshape(shapes[1])
        self.weight, self.features, self.bias = scales[0] * W, scales[1] * H, end[first + second :]
        gram = np.sort(np.linalg.eigvalsh(H @ H.T))
        self.name = np.concatenate([[self.value], gram, np.sort(np.linalg.norm(W, axis=1))])


def _distinct(met: list[_Met], tolerance: float) -> list[StationaryPoint]:
    groups: list[list[_Met]] = []
    for point in sorted(met, key=lambda one: one.value):
        for group in groups:
            if np.abs(point.name - group[0].name).max() <= 1e-4 * (1 + np.abs(point.name).max()):
                group.append(point)
                break
        else:
            groups.append([point])
    return [_classified(group, tolerance) for group in groups]


def _classified(group: list[_Met], tolerance: float) -> StationaryPoint:
    point = group[0]
    bound = point.lower > -np.inf
    at_bound = bound & (point.end <= point.lower + 1e-9)
    held = at_bound & (point.gradient > 1e-7)
    free, weak = ~held, (at_bound & ~held)[~held]
    matrix = hessian(point.objective, point.end, free)
    lowest = _lowest_curvature(matrix, weak)
    levels = np.linalg.eigvalsh(matrix)
    flat = int((np.abs(levels) < 1e-6 * max(1.0, np.abs(levels).max())).sum())
    return StationaryPoint(
        point.value,
        point.weight,
        point.features,
        point.bias,
        "saddle" if lowest < -1e-6 * max(1.0, float(np.abs(levels).max())) else "minimum",
        flat,
        lowest,
        len(group),
        point.residual,
    )


def _lowest_curvature(matrix: Array, weak: NDArray[np.bool_]) -> float:
    """Lowest v.Av over unit v with v >= 0 on the `weak` entries.

    This is an eigenvalue if there are no `weak` entries, and otherwise the best of several projected descents.
    """
    levels, vectors = np.linalg.eigh(matrix)
    if not weak.any() or levels[0] >= 0:
        return float(levels[0])
    shift = float(np.abs(levels).max()) * np.eye(len(matrix)) - matrix
    generator = np.random.default_rng(0)
    starts = [vectors[:, 0], -vectors[:, 0], *generator.standard_normal((20, len(matrix)))]
    lowest = np.inf
    for vector in starts:
        for _ in range(200):
            vector = shift @ _on_cone(vector, weak)
        vector = _on_cone(vector, weak)
        if vector.any():
            lowest = min(lowest, float(vector @ matrix @ vector))
    return lowest


def _on_cone(vector: Array, weak: NDArray[np.bool_]) -> Array:
    """The nearest unit vector with non-negative `weak` entries, or 0 if there is none."""
    clipped = np.where(weak, np.maximum(vector, 0), vector)
    return np.asarray(clipped / (np.linalg.norm(clipped) or 1.0))
