"""Minimization with bounds; no other module calls scipy's optimizers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from .parameters import Array

__all__ = ["Minimum", "Objective", "descend", "hessian", "minimize", "projected"]

Objective: TypeAlias = Callable[[Array], tuple[float, Array]]  # value and gradient


@dataclass(frozen=True)
class Minimum:
    """The point at which an optimizer stopped."""

    point: Array
    value: float
    converged: bool
    iterations: int


def minimize(objective: Objective, start: Array, lower: Array, options: Mapping[str, float]) -> Minimum:
    """Minimize from `start` by bounded L-BFGS, with every entry at least `lower`."""
    from scipy import optimize  # imported here, because only the free solver needs this slow import (.2 s)

    bounds = [(None if low == -np.inf else float(low), None) for low in lower]
    call = cast(Any, optimize.minimize)
    run = call(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options=dict(options))
    return Minimum(np.asarray(run.x, dtype=np.float64), float(run.fun), bool(run.success), int(run.nit))


def descend(objective: Objective, start: Array, lower: Array, tolerance: float) -> tuple[Array, int]:
    """Run bounded L-BFGS, then Newton steps on the entries that are not at a bound; return the point and step count."""
    options = {"maxiter": 20000, "maxfun": 40000, "ftol": 1e-17, "gtol": tolerance, "maxcor": 20}
    run = minimize(objective, start, lower, options)
    point, steps = run.point, run.iterations
    gradient = objective(point)[1]
    for _ in range(8):
        residual = np.abs(projected(point, gradient, lower)).max()
        if residual <= tolerance:
            break
        free = ~((point <= lower) & (gradient > 0))
        levels, vectors = np.linalg.eigh(hessian(objective, point, free))
        keep = np.abs(levels) > 1e-8 * max(1e-12, np.abs(levels).max())  # no step along flat directions
        step = vectors[:, keep] @ ((vectors[:, keep].T @ gradient[free]) / np.abs(levels[keep]))
        trial = point.copy()
        trial[free] -= step
        trial = np.maximum(trial, lower)
        slope = objective(trial)[1]
        if not np.abs(projected(trial, slope, lower)).max() < residual:
            break
        point, gradient, steps = trial, slope, steps + 1
    return point, steps


def projected(point: Array, gradient: Array, lower: Array) -> Array:
    """The gradient, with entries that push against a bound set to 0; 0 at a stationary point."""
    return np.where((point <= lower) & (gradient > 0), 0.0, gradient)


def hessian(objective: Objective, point: Array, free: NDArray[np.bool_]) -> Array:
    """The Hessian by central differences of the gradient, over the entries marked `free`."""
    index = np.flatnonzero(free)
    step = 1e-5 * max(1.0, float(np.abs(point).max()))
    columns = []
    for i in index:
        shift = np.zeros_like(point)
        shift[i] = step
        columns.append((objective(point + shift)[1] - objective(point - shift)[1])[index] / (2 * step))
    matrix = np.array(columns)
    return np.asarray((matrix + matrix.T) / 2)
