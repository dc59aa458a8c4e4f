"""A memorization-dilation model for any number of classes and any loss of `KINDS`: our extension of MD section 4.

    minimize over u_ij >= 0 and r
        sum_n E loss(W(h_n + v), n) + lambda E ||h_n + v||^2
        + eta/(N-1) sum_{i != j} loss(W u_ij, j) + lambda ||u_ij||^2
    subject to   eta/(N-1) sum_{j != i} ||u_ij - h_i|| <= C_MD r / D   for every true class i

u_ij is the feature of the corrupted samples of true class i and observed class j. For a convex loss and a law that
treats all other classes alike, three numbers determine u_ij = x e_j + y e_i + z (all others);
`docs/theory/multiclass.md` has the proof. For N = 2 this is the model of the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .geometry import Geometry, class_geometry
from .laws import plane_nodes
from .logit_losses import LogitLoss
from .optimize import descend, projected
from .parameters import Array, positive
from .problem import Problem

__all__ = ["LocalMinimum", "MulticlassDilation", "multiclass_dilation"]


@dataclass(frozen=True)
class LocalMinimum:
    """A local minimum of the reduced problem.

    Attributes:
        value, r, dilation, memorization, observed, true, others: see `MulticlassDilation`.
        residual: the largest entry of the projected gradient.
        basin: the name of the starting point from which the minimum was reached.
    """

    value: float
    r: float
    dilation: float
    memorization: float
    observed: float
    true: float
    others: float
    residual: float
    basin: str


@dataclass(frozen=True)
class MulticlassDilation:
    """The optimum of the model with N classes.

    Attributes:
        geometry: the class means and the classifier.
        eta: n_corrupted / n_clean.
        r: the optimal standard deviation within a class.
        dilation: r / D.
        memorization: eta ||u_ij - h_i||.
        memorization_relative: memorization / D.
        r_max: eta D^2 / C_MD, the r at full memorization.
        fraction: r / r_max.
        observed: coordinate of u_ij along h_j.
        true: coordinate of u_ij along h_i.
        others: coordinate of u_ij along every other class mean.
        value: the risk.
        minima: every local minimum that was reached, best first (one for a convex loss).
        from_true_class: the minimum reached from u_ij = h_i, the state of a network that has memorized nothing.
        optimality_gap: a bound on the distance of the risk from its minimum; NaN for losses that are not convex.
        quadrature_error: the change of F'(r), the slope of the clean risk, if the quadrature uses a third fewer nodes.
        converged: whether the residual is at most 1e-7.
        iterations: the total number of steps from all starting points.
    """

    geometry: Geometry
    eta: float
    r: float
    dilation: float
    memorization: float
    memorization_relative: float
    r_max: float
    fraction: float
    observed: float
    true: float
    others: float
    value: float
    minima: tuple[LocalMinimum, ...]
    from_true_class: LocalMinimum
    optimality_gap: float
    quadrature_error: float
    converged: bool
    iterations: int


def multiclass_dilation(problem: Problem, num_classes: int = 3, scale_free: bool = False) -> MulticlassDilation:
    """Compute the optimal dilation for N classes under any loss of `KINDS`.

    Args:
        problem: one point under any loss of `KINDS`. eta, above 0, is n_corrupted / n_clean; wrong labels are spread
            evenly over the other classes. The law is two-point, segment, circle or disc in the plane of h_n and h_m,
            where m is uniform among the other classes, or a law `from_samples` (S, M).
        num_classes: N >= 2.
        scale_free: whether memorization is measured in units of D, so that C_MD D replaces C_MD.

    Raises:
        ValueError: a parameter outside its domain, a law that is not in the plane (sphere), or class means that have
        collapsed to 0.

    >>> from byrote.theory import dilation
    >>> abs(multiclass_dilation(Problem(), num_classes=2).dilation / dilation().dilation - 1) < 1e-8
    True
    """
    numbers = (problem.alpha, problem.lambda_w, problem.lambda_h, positive("eta", problem.eta), problem.slope)
    alpha, lambda_w, lam, rate, C_md = (float(np.asarray(one)) for one in numbers)
    law, chosen = problem.law, LogitLoss(problem.loss, alpha)
    geometry = class_geometry(chosen, num_classes, lambda_w / num_classes, lam / num_classes)
    if geometry.collapsed:
        raise ValueError("the class means have collapsed to 0 at these penalties, so memorization is undefined")
    reduced = _Reduced(chosen, geometry, lam, rate, C_md * geometry.distance if scale_free else C_md, plane_nodes(law))
    ends = [reduced.solve(start, name) for name, start in _STARTS[: 2 if chosen.convex else None]]
    minima = _distinct([end for end, _ in ends])
    best, gap = minima[0], float("nan")
    if chosen.convex:
        gap = reduced.certificate(best)
    return MulticlassDilation(
        geometry=geometry,
        eta=rate,
        r=best.r,
        dilation=best.dilation,
        memorization=best.memorization,
        memorization_relative=best.memorization / geometry.distance,
        r_max=reduced.kappa * geometry.distance,
        fraction=best.r / (reduced.kappa * geometry.distance),
        observed=best.observed,
        true=best.true,
        others=best.others,
        value=best.value,
        minima=tuple(minima),
        from_true_class=ends[0][0],
        optimality_gap=gap,
        quadrature_error=abs(reduced.clean(best.r)[1] - reduced.clean(best.r, plane_nodes(law, fine=False))[1]),
        converged=best.residual <= 1e-7,
        iterations=sum(steps for _, steps in ends),
    )


_STARTS = (  # (observed, true, others) in units of a; the first start is the state before memorization
    ("true class", (0.01, 0.99, 0.0)),
    ("observed class", (0.99, 0.01, 0.0)),
    ("between", (0.5, 0.5, 0.0)),
    ("origin", (0.05, 0.05, 0.05)),
    ("beyond", (1.5, 0.0, 0.0)),
)


@dataclass(frozen=True)
class _Reduced:
    """J(x, y, z) = F(kappa t) + eta phi, the contribution of one class to the risk; variables are in units of a."""

    loss: LogitLoss
    geometry: Geometry
    penalty: float
    eta: float
    slope: float
    nodes: tuple[Array, Array]  # (Q, 2) own and other class, (Q,) weights

    @property
    def kappa(self) -> float:
        """r = kappa t."""
        return self.eta * self.geometry.distance / self.slope

    @cached_property
    def rest(self) -> float:
        """F(0)."""
        return self.clean(0.0)[0]

    @cached_property
    def counts(self) -> Array:
        N = self.geometry.num_classes
        return np.array([1.0, 1.0, N - 2.0])[: 2 if N == 2 else 3]

    def clean(self, r: float, nodes: tuple[Array, Array] | None = None) -> tuple[float, float]:
        """F(r) and F'(r), where F is the expected loss and penalty of a clean sample of one class."""
        v, weights = nodes or self.nodes
        a, k = self.geometry.feature_norm, self.geometry.logit_scale
        logits = np.zeros((len(v), len(self.counts)))
        logits[:, 0], logits[:, 1] = k * (a + r * v[:, 0]), k * r * v[:, 1]
        values, slopes = self.loss(logits, np.zeros(len(v), dtype=np.intp), self.counts)
        along = k * (slopes[:, :2] * v).sum(axis=1)
        return float(weights @ values) + self.penalty * (a * a + r * r), float(weights @ along) + 2 * self.penalty * r

    def noisy(self, u: Array) -> tuple[float, Array]:
        """phi and its gradient at u = (x, y, z), with the observed class first."""
        k = self.geometry.logit_scale
        value, slope = self.loss(k * u[None, :], np.zeros(1, dtype=np.intp), self.counts)
        weight = self.penalty * self.counts
        return float(value[0] + weight @ (u * u)), k * slope[0] + 2 * weight * u

    def distance_to_true(self, u: Array) -> tuple[float, Array]:
        """t = ||u - h_i|| and its gradient."""
        apart = u.copy()
        apart[1] -= self.geometry.feature_norm
        t = float(np.sqrt((self.counts * apart) @ apart))
        return t, self.counts * apart / max(t, 1e-300)

    def objective(self, scaled: Array) -> tuple[float, Array]:
        """(J - F(0)) / eta and its gradient, at u / a."""
        a = self.geometry.feature_norm
        u = a * scaled
        t, toward = self.distance_to_true(u)
        clean, push = self.clean(self.kappa * t)
        noisy, pull = self.noisy(u)
        value = (clean - self.rest) / self.eta + noisy
        return value, a * (self.kappa * push * toward / self.eta + pull)

    def solve(self, start: tuple[float, float, float], name: str) -> tuple[LocalMinimum, int]:
        size = len(self.counts)
        lower = np.zeros(size)
        end, steps = descend(self.objective, np.array(start[:size]), lower, 1e-11)
        value, gradient = self.objective(end)
        N, a = self.geometry.num_classes, self.geometry.feature_norm
        u = a * end
        t, _ = self.distance_to_true(u)
        r = self.kappa * t
        residual = float(np.abs(projected(end, gradient, lower)).max())
        risk = N * (self.eta * value + self.rest)
        others = float(u[2]) if size == 3 else 0.0
        spread = r / self.geometry.distance
        return LocalMinimum(risk, r, spread, self.eta * t, float(u[0]), float(u[1]), others, residual, name), steps

    def certificate(self, at: LocalMinimum) -> float:
        """A bound on how far N J lies above its minimum: N |projected gradient|^2 / (4 eta lambda).

        The bound holds because J is strongly convex with constant 2 eta lambda.
        """
        a, size = self.geometry.feature_norm, len(self.counts)
        scaled = np.array([at.observed, at.true, at.others][:size]) / a
        gradient = projected(scaled, self.objective(scaled)[1], np.zeros(size)) * self.eta / a
        return float(self.geometry.num_classes * (gradient @ gradient) / (4 * self.eta * self.penalty))


def _distinct(ends: list[LocalMinimum]) -> list[LocalMinimum]:
    distinct: list[LocalMinimum] = []
    for end in sorted(ends, key=lambda one: one.value):
        if all(abs(end.r - other.r) > 1e-5 * max(end.r, other.r) for other in distinct):
            distinct.append(end)
    return distinct
