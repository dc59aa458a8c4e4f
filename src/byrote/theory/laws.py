"""Probability laws of the spread v of a class around its mean, in units of the standard deviation r.

MD's Definition 4.1 does not fix the law mu_r, except for E ||v||^2 = r^2. The two-class model needs only Z, the
component of v / r along w_1 - w_2. The second class has the mirrored law.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln

from .parameters import Array

__all__ = ["LAWS", "Law", "from_density", "from_samples", "named", "plane_nodes"]

LAWS = ("two-point", "segment", "circle", "disc", "sphere")

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)

# Between these values of its argument, twelve Gauss nodes integrate the logistic function to full relative precision.
KINK_BREAKS = np.array([-40.0, -20.0, -9.0, -4.0, 0.0, 4.0, 9.0, 16.0, 24.0, 32.0, 40.0])


@dataclass(frozen=True)
class Law:
    """A centered, bounded law of Z: points with weights, or a smooth parametrization Z(theta), theta in [0, 1].

    Attributes:
        name: the name of the law in errors and results.
        bound: A of Assumption 4.2.2, ||v|| <= A r.
        second_moment: E Z^2, the share of the variance along w_1 - w_2.
    """

    name: str
    bound: float
    second_moment: float
    atoms: tuple[Array, Array] | None = None  # the points and their weights
    curve: tuple[Callable[[Array], Array], Callable[[Array], Array], Callable[[Array], Array]] | None = None
    knots: tuple[float, ...] = ()  # kinks of the law itself, in Z
    vectors: Array | None = None  # (S, 2), samples in the plane of h_1 and h_2

    def nodes(self, offset: Array, scale: Array, extra: Array | None = None) -> tuple[Array, Array]:
        """Quadrature for E f(offset + scale Z), where f is like the logistic function, with kinks at 0 and `extra`.

        Args:
            offset: (P,).
            scale: (P,), at least 0.
            extra: (P,), one more kink, in units of the argument of f.

        Returns:
            Z (P or 1, Q) and weights (P or 1, Q), Gauss-Legendre on panels that end at the kinks; exact sums
            for atoms.
        """
        if self.curve is None:
            points, weights = self.atoms or (np.zeros(1), np.ones(1))
            return points[None, :], weights[None, :]
        position, inverse, density = self.curve
        low, high = float(position(np.array(0.0))), float(position(np.array(1.0)))
        breaks = np.broadcast_to(KINK_BREAKS, (len(offset), len(KINK_BREAKS)))
        if extra is not None:
            breaks = np.concatenate([breaks, np.minimum(extra, 1e6)[:, None]], axis=1)
        with np.errstate(over="ignore"):
            at = np.clip((breaks - offset[:, None]) / np.maximum(scale, 1e-300)[:, None], low, high)
        own = np.broadcast_to(np.array([low, *self.knots, high]), (len(offset), len(self.knots) + 2))
        edges = inverse(np.sort(np.concatenate([at, own], axis=1), axis=1))  # (P, E)
        widths = np.diff(edges, axis=1)
        used = (widths > 0).any(axis=0)
        widths, starts = widths[:, used, None], edges[:, :-1][:, used, None]
        theta = (starts + widths * (_NODES + 1) / 2).reshape(len(offset), -1)
        return position(theta), (widths * _WEIGHTS / 2).reshape(len(offset), -1) * density(theta)


def named(name: str, width: int = 2) -> Law:
    """Build one of `LAWS` by name.

    two-point: +-r along w_1 - w_2. segment: uniform along w_1 - w_2, half-length sqrt(3) r. circle: radius r, in
    span(h_1, h_2). disc: radius sqrt(2) r, in span(h_1, h_2). sphere: radius r in R^M, M = `width`.

    >>> named("sphere", width=8).second_moment
    0.125
    """
    if name == "two-point":
        return Law(name, 1.0, 1.0, atoms=(np.array([-1.0, 1.0]), np.array([0.5, 0.5])))
    if name == "segment":
        half = np.sqrt(3.0)
        return Law(name, half, 1.0, curve=(lambda t: half * (2 * t - 1), lambda z: (z / half + 1) / 2, np.ones_like))
    if name == "circle":
        return Law(name, 1.0, 0.5, curve=(*_cosine(1.0), np.ones_like))
    if name == "disc":
        return Law(name, np.sqrt(2.0), 0.5, curve=(*_cosine(np.sqrt(2.0)), lambda t: 2 * np.sin(np.pi * t) ** 2))
    if name == "sphere":
        return _sphere(width)
    raise ValueError(f"law must be one of {', '.join(LAWS)}, samples or a density, got {name!r}")


def _cosine(radius: float) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    return (
        lambda t: -radius * np.cos(np.pi * t),
        lambda z: np.arccos(np.clip(-z / radius, -1, 1)) / np.pi,
    )


def _sphere(width: int) -> Law:
    if width < 2:
        raise ValueError(f"the sphere law needs width M >= 2, got {width}")
    # log of the integral of sin^(M-2) over [0, pi]
    log_mass = np.log(np.pi) / 2 + gammaln((width - 1) / 2) - gammaln(width / 2)

    def density(theta: Array) -> Array:
        sine = np.maximum(np.sin(np.pi * theta), 1e-300)
        return np.asarray(np.pi * np.exp((width - 2) * np.log(sine) - log_mass))

    spread = 1 / float(np.sqrt(width))
    knots = tuple(float(k * spread) for k in (-9, -5, -2.5, 0, 2.5, 5, 9) if abs(k * spread) < 1)
    return Law("sphere", 1.0, 1 / width, curve=(*_cosine(1.0), density), knots=knots)


def from_samples(samples: ArrayLike, name: str = "samples", tolerance: float = 1e-9) -> Law:
    """Build the uniform law on given points, rescaled to E ||v||^2 = 1.

    Args:
        samples: (S,), the component of v along w_1 - w_2 (if v has no other component), or (S, M), vectors v of class
            1, whose first two coordinates are along h_1 and h_2.
        name: the name of the law in errors and results.
        tolerance: the largest mean, relative to the spread, that counts as 0.

    Raises:
        ValueError: the law is not centered in the sense of Assumption 4.2.2, or has no spread.

    >>> round(from_samples([-1., -1., 2.]).second_moment, 12)
    1.0
    """
    points = np.asarray(samples, dtype=np.float64)
    if (
        points.ndim not in (1, 2)
        or points.size == 0
        or not np.isfinite(points).all()
        or points.shape[-1] < (2 if points.ndim == 2 else 1)
    ):
        raise ValueError(f"samples must be finite, of shape (S,) or (S, M) with M >= 2, got shape {points.shape}")
    along = points if points.ndim == 1 else (points[:, 0] - points[:, 1]) / np.sqrt(2)
    norms = np.abs(points) if points.ndim == 1 else np.linalg.norm(points, axis=1)
    spread = float(np.sqrt((norms**2).mean()))
    if spread == 0:
        raise ValueError("samples must have a spread, but all of them are the zero vector")
    _centered("E <w_1 - w_2, v>", float(along.mean()), spread, tolerance)
    if points.ndim == 2:
        _centered("E <h_1, v>", float(points[:, 0].mean()), spread, tolerance)
    weights = np.full(len(points), 1 / len(points))
    second = float(((along / spread) ** 2).mean())
    vectors = None if points.ndim == 1 else points[:, :2] / spread
    return Law(name, float(norms.max()) / spread, second, atoms=(along / spread, weights), vectors=vectors)


def plane_nodes(law: str | Law, fine: bool = True) -> tuple[Array, Array]:
    """Quadrature for a law in the plane of h_n and another h_m: points (Q, 2) along h_n and h_m, and weights (Q,).

    A circle has equispaced angles, and a disc has equispaced angles at Gauss radii. The points of two-point and segment
    are along (h_n - h_m) / ||h_n - h_m||. `fine=False` uses fewer nodes; the difference between the two results
    estimates the error.

    Raises:
        ValueError: the law is not in the plane (sphere).

    >>> points, weights = plane_nodes("disc")
    >>> round(float(weights @ (points ** 2).sum(axis=1)), 12)
    1.0
    """
    chosen = law if isinstance(law, Law) else named(law)
    if chosen.name == "sphere":
        raise ValueError(
            "the sphere law needs an N-dimensional expectation: use two-point, segment, circle, disc or samples"
        )
    if chosen.vectors is not None:
        return chosen.vectors, np.full(len(chosen.vectors), 1 / len(chosen.vectors))
    if chosen.name in ("circle", "disc"):
        count = 512 if fine else 360
        angles = 2 * np.pi * (np.arange(count) + 0.5) / count
        ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)  # (count, 2)
        if chosen.name == "circle":
            return ring, np.full(count, 1 / count)
        nodes, masses = np.polynomial.legendre.leggauss(12 if fine else 9)
        radii = np.sqrt(2.0) * np.sqrt((nodes + 1) / 2)  # the squared radius is uniform
        points = (radii[:, None, None] * ring).reshape(-1, 2)
        return points, np.repeat(masses / 2, count) / count
    if chosen.curve is not None:
        position, _, density = chosen.curve
        panels = 32 if fine else 21
        theta = ((np.arange(panels)[:, None] + (_NODES + 1) / 2) / panels).reshape(-1)
        along, weights = position(theta), np.tile(_WEIGHTS / 2, panels) / panels * density(theta)
    else:
        along, weights = chosen.atoms or (np.zeros(1), np.ones(1))
    return np.stack([along, -along], axis=1) / np.sqrt(2), weights


def from_density(
    density: Callable[[Array], Array], low: float, high: float, name: str = "density", knots: tuple[float, ...] = ()
) -> Law:
    """Build the law with a density on [low, high] along w_1 - w_2, rescaled to total mass 1 and E Z^2 = 1.

    Args:
        density: a function that maps an array to non-negative numbers of the same shape and is smooth between `knots`.
        low: left end of the interval.
        high: right end of the interval.
        knots: points where the density may have a kink or a step.
        name: the name of the law in errors and results.

    Raises:
        ValueError: the density is negative, has no mass or is not centered.

    >>> import numpy as np
    >>> triangle = from_density(lambda z: 1 - np.abs(z), -1., 1., knots=(0.,))
    >>> round(triangle.bound, 6)  # half-width over standard deviation, sqrt(6)
    2.44949
    """
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ValueError(f"a bounded law needs finite ends with low < high, got [{low}, {high}]")
    fixed = np.linspace(low, high, 17)[1:-1]
    edges = np.unique(np.array([low, *fixed, *knots, high]))
    points = (edges[:-1, None] + np.diff(edges)[:, None] * (_NODES + 1) / 2).reshape(-1)
    values = np.asarray(density(points), dtype=np.float64)
    if values.shape != points.shape or not np.isfinite(values).all() or (values < 0).any():
        raise ValueError("density must map an array to finite, non-negative numbers of the same shape")
    weights = (np.diff(edges)[:, None] * _WEIGHTS / 2).reshape(-1) * values
    mass = float(weights.sum())
    if mass <= 0:
        raise ValueError(f"density must have mass on [{low}, {high}], got {mass}")
    spread = float(np.sqrt((weights * points**2).sum() / mass))
    _centered("E <w_1 - w_2, v>", float((weights * points).sum() / mass), spread, 1e-9)
    length = high - low
    return Law(
        name,
        max(abs(low), abs(high)) / spread,
        1.0,
        curve=(
            lambda t: (low + length * t) / spread,
            lambda z: (z * spread - low) / length,
            lambda t: np.asarray(density(low + length * t)) * length / mass,
        ),
        knots=tuple(float(edge) / spread for edge in edges[1:-1]),
    )


def _centered(what: str, mean: float, spread: float, tolerance: float) -> None:
    if abs(mean) > tolerance * spread:
        raise ValueError(
            f"the law is not centered (Assumption 4.2.2): {what} is {mean:.3g} with spread {spread:.3g}, not 0"
        )
