"""Find penalties at which the layer-peeled model has two measured distances between class means (CE and LS)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .parameters import Array

__all__ = ["Penalties", "least_gamma", "penalties", "penalties_from_distances"]


@dataclass(frozen=True)
class Penalties:
    """The lambdas at which the model has the measured distances, in the model's convention (summed losses)."""

    lambda_w: float
    lambda_h: float


def _gap(c: Array, N: int) -> Array:
    """The logit gap d(c) = log((N-1)(1-c)/c)."""
    return np.asarray(np.log((N - 1) * (1 - c) / c))


def _log_gamma_squared(log_e: Array | float, alpha: float, N: int) -> Array:
    e = np.asarray(np.exp(log_e))
    return np.asarray(np.log(_gap(e, N) / _gap(e + alpha * (N - 1) / N, N)))


def _falls(log_e: float, alpha: float, N: int) -> bool:
    """Whether gamma decreases at log e, from the sign of its derivative with gap'(c) = -1 / (c (1 - c))."""
    e = float(np.exp(log_e))
    other = e + alpha * (N - 1) / N
    rises = e / (other * (1 - other) * _gap(np.asarray(other), N))
    return bool(rises < 1 / ((1 - e) * _gap(np.asarray(e), N)))


def _turn(alpha: float, N: int) -> tuple[float, float, float]:
    """The log e with the smallest gamma, by bisection on the sign of the derivative, between the ends of the search."""
    low_end, high_end = float(np.log(1e-14)), float(np.log((N - 1) / N * (1 - alpha))) - 1e-9
    low, high = low_end, high_end  # gamma decreases at low and increases at high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _falls(middle, alpha, N) else (low, middle)
    return low_end, (low + high) / 2, high_end


def least_gamma(alpha: float, num_classes: int = 2) -> float:
    """The smallest ratio D_CE / D_LS that the layer-peeled model has at any lambdas; it is above 1.

    >>> round(least_gamma(.1), 3)
    1.119
    """
    _, turn, _ = _turn(alpha, num_classes)
    return float(np.exp(_log_gamma_squared(turn, alpha, num_classes) / 2))


def penalties(distance: Array, other: Array, alpha: float, N: int) -> tuple[Array, Array]:
    """Find lambda_W and lambda_H, (B,), by bisection in log e; NaN where no lambdas give the two distances."""
    low_end, turn, _ = _turn(alpha, N)
    with np.errstate(invalid="ignore", divide="ignore"):
        target = 2 * np.log(distance / other)
    possible = (target >= _log_gamma_squared(turn, alpha, N)) & (target <= _log_gamma_squared(low_end, alpha, N))
    low, high = np.full(len(target), low_end), np.full(len(target), turn)  # gamma decreases from low to high
    for _ in range(60):
        middle = (low + high) / 2
        beyond = _log_gamma_squared(middle, alpha, N) > target
        low, high = np.where(beyond, middle, low), np.where(beyond, high, middle)
    e, share = np.exp((low + high) / 2), (N - 1) / N
    root = e / (2 * np.sqrt(share))
    ratio = distance**2 / (2 * _gap(e, N)) / np.sqrt(share)  # sqrt(lambda_W / lambda_H)
    nan = np.full(len(target), np.nan)
    return np.where(possible, root * ratio, nan), np.where(possible, root / ratio, nan)


def penalties_from_distances(
    distance_ce: float, distance_ls: float, alpha: float, num_classes: int = 2
) -> Penalties | None:
    """Find lambda_W and lambda_H at which the layer-peeled model has D_CE and D_LS; None if there are none.

    Let gamma = D_CE / D_LS. gamma^2 = d(e)/d(e + alpha (N-1)/N) determines e = 2 sqrt((N-1) lambda_W lambda_H / N), and
    D_CE determines the ratio of lambda_W and lambda_H. In the model, gamma has a smallest value, which is above 1; a
    measured gamma below this value refutes the model. Above this value there are two solutions, and the solution with
    the larger features is returned.

    >>> found = penalties_from_distances(3.0458, 2.0302, .1)
    >>> round(found.lambda_w, 4), round(found.lambda_h, 4)
    (0.001, 0.001)
    """
    if not (distance_ce > 0 and distance_ls > 0 and 0 < alpha < 1):
        return None
    lambda_w, lambda_h = penalties(np.array([distance_ce]), np.array([distance_ls]), alpha, num_classes)
    return Penalties(float(lambda_w[0]), float(lambda_h[0])) if np.isfinite(lambda_w[0]) else None
