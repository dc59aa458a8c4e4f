"""Variants of the two-class model: scale-free memorization, squared error, memorized clean samples."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .dilation import Dilation, solve_dilation
from .parameters import Array, Real, broadcast, class_count, positive, unwrap
from .problem import Problem

__all__ = ["CleanMemorization", "SquaredDilation", "clean_memorization", "scale_free_dilation", "squared_dilation"]


def scale_free_dilation(problem: Problem) -> Dilation:
    """The model with memorization measured in units of D: eta ||u_1 - h_2|| / D <= C r / D.

    This is the paper's model at C_MD = C D, so C_MD is different for each loss. For laws with E Z^2 = 1/2 (circle,
    disc) and small eta, r / D = (eta / C) (1 - eta / (2 C^2)) + O(eta^3) for every alpha and all lambdas, so the gap
    between CE and LS is of third order in eta.

    Args:
        problem: a point or a sweep under smoothing or relaxation; its slope is C, which has no unit.

    Returns:
        The optimum; its `slope` is C D, the slope of the paper's model.

    >>> ce, ls = (scale_free_dilation(Problem(alpha, slope=.3)) for alpha in (0., .1))
    >>> 1 < ce.dilation / ls.dilation < 1.002
    True
    """
    distance = problem.distance
    effective = np.asarray(problem.slope, dtype=np.float64) * np.where(distance > 0, distance, 1.0)
    return solve_dilation(replace(problem, slope=effective))


@dataclass(frozen=True)
class SquaredDilation:
    """The optimum under squared error on logits; each field is a number, or an array for a sweep.

    For the other fields, see `Dilation`.

    Attributes:
        shrinkage: 1 - N sqrt(lambda_W lambda_H), or 0 if this is negative.
    """

    r: Real
    dilation: Real
    memorization: Real
    memorization_relative: Real
    r_max: Real
    distance: Real
    shrinkage: Real
    feature_norm: Real
    along: Real
    across: Real
    collapsed: bool | NDArray[np.bool_]
    converged: bool = True
    iterations: int = 0


def squared_dilation(problem: Problem, num_classes: ArrayLike = 2) -> SquaredDilation:
    """Solve the model under squared error on logits (mean over classes) in closed form.

    It holds for any N and any law in the span of the class means. D^2 = 2 (1 - N sqrt(lambda_W lambda_H))
    sqrt(lambda_W / lambda_H). With s = eta D^2 / C_MD^2, the corrupted samples lie on the segment from h_2 to h_1, at
    u_1 = (h_1 + s h_2) / (1 + s), and r / D = (eta D / C_MD) / (1 + s). So for two settings with distances D and D',
    the setting with the larger distance dilates more if and only if eta D D' < C_MD^2. Below this bound the order is
    that of Theorem 4.3, and above the bound the order is reversed.

    Args:
        problem: only its lambdas, eta and slope are used.
        num_classes: N, at least 2; an array is broadcast with the parameters of the problem.

    Raises:
        ValueError: N is not a whole number of at least 2.

    >>> round(squared_dilation(Problem(eta=.1)).dilation, 6)
    0.117772
    """
    numbers = (problem.lambda_w, problem.lambda_h, problem.eta, problem.slope)
    shape, (N, l_w, l_h, rate, C_md) = broadcast(
        class_count(num_classes), *(np.asarray(one, dtype=np.float64) for one in numbers)
    )
    shrinkage = np.maximum(0.0, 1 - N * np.sqrt(l_w) * np.sqrt(l_h))
    norm = np.sqrt(shrinkage * np.sqrt(l_w / l_h))
    distance = np.sqrt(2) * norm
    s = rate * (distance / C_md) ** 2
    t = distance / (1 + s)
    collapsed = (shrinkage == 0).reshape(shape)

    def real(array: Array) -> Real:
        return unwrap(np.asarray(array), shape)

    return SquaredDilation(
        r=real(rate * distance * t / C_md),
        dilation=real(rate * t / C_md),
        memorization=real(rate * t),
        memorization_relative=real(rate / (1 + s) * (distance > 0)),
        r_max=real(rate * distance**2 / C_md),
        distance=real(distance),
        shrinkage=real(shrinkage),
        feature_norm=real(norm),
        along=real(norm / (1 + s)),
        across=real(norm * s / (1 + s)),
        collapsed=bool(collapsed) if shape == () else collapsed,
    )


@dataclass(frozen=True)
class CleanMemorization:
    """The optimum if clean training samples are also memorized.

    Attributes:
        train_spread: s, the standard deviation of the clean training features.
        test_spread: r, the standard deviation of the test features.
        displacement: w = r - s, the root mean square displacement of clean samples.
        train_dilation: s / D.
        test_dilation: r / D.
        memorization: see `Dilation`.
        memorization_relative: see `Dilation`.
        shrink: s / r = omega^2.
        omega: sqrt(1 - C_cl^2 / D^2).
        training: the optimum of the paper's model at slope C_MD / omega, which describes the training features.
    """

    train_spread: Real
    test_spread: Real
    displacement: Real
    train_dilation: Real
    test_dilation: Real
    memorization: Real
    memorization_relative: Real
    shrink: Real
    omega: Real
    training: Dilation


def clean_memorization(problem: Problem, clean_slope: ArrayLike = 0.5) -> CleanMemorization:
    """Our model of total memorization: clean training samples move from h + v to h + (s/r) v, which adds dilation.

        minimize F(s) + eta (phi(u_1) + phi(u_2))
        subject to  r / D >= sqrt((eta ||u - h|| / C_MD)^2 + (w / C_cl)^2),  w = r - s >= 0

    The variances due to the two kinds of memorization add up. Let omega = sqrt(1 - C_cl^2 / D^2). The training features
    follow the paper's model at slope C_MD / omega, and the test features dilate 1 / omega^2 times as much: s / D =
    omega mem / C_MD, r / D = mem / (omega C_MD). Without label noise (eta = 0) nothing is memorized and nothing moves.

    Args:
        problem: a point or a sweep under smoothing or relaxation.
        clean_slope: C_cl, above 0 and below D. At C_cl = D or above, memorizing clean samples would cost nothing, and
            the training features would collapse without more test dilation.

    Raises:
        ValueError: clean_slope is not above 0 or not below D.

    >>> both, hardly = (clean_memorization(Problem(), clean_slope) for clean_slope in (.5, 1e-6))
    >>> both.train_dilation < hardly.train_dilation < both.test_dilation
    True
    """
    price = positive("clean_slope", clean_slope)
    distance = problem.distance
    shape = np.broadcast_shapes(price.shape, distance.shape)
    ratio = np.broadcast_to(price, shape) / np.maximum(np.broadcast_to(distance, shape), np.finfo(float).tiny)
    if (ratio >= 1).any():
        worst = int(np.argmax(ratio))
        prices, distances = (np.broadcast_to(array, shape).flat for array in (price, distance))
        raise ValueError(
            "clean_slope must be below D = ||h_1 - h_2||, so that memorizing clean samples costs something, "
            f"got {prices[worst]:g} with D = {distances[worst]:g}"
        )
    omega = np.sqrt(1 - ratio**2)
    training = solve_dilation(replace(problem, slope=np.asarray(problem.slope, dtype=np.float64) / omega))
    spread, train = np.asarray(training.r), np.asarray(training.dilation)
    square = np.broadcast_to(omega, spread.shape) ** 2

    def real(array: Array) -> Real:
        return unwrap(np.asarray(array), spread.shape)

    return CleanMemorization(
        train_spread=training.r,
        test_spread=real(spread / square),
        displacement=real(spread / square - spread),
        train_dilation=training.dilation,
        test_dilation=real(train / square),
        memorization=training.memorization,
        memorization_relative=training.memorization_relative,
        shrink=real(square),
        omega=real(np.sqrt(square)),
        training=training,
    )
