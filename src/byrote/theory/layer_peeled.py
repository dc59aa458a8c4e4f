"""The layer-peeled model with label smoothing: closed form, thresholds, and certificate (MD section 3).

    min over W, H   (1/NK) sum_{n,k} loss_alpha(W h_n^k) + lambda_W ||W||^2 + (lambda_H / K) ||H||^2

with H >= 0 entrywise (positive features, as after a ReLU) or unconstrained (signed features).
`docs/theory/layer_peeled.md` derives the formulas.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .parameters import Array, Real, broadcast, class_count, positive, smoothing, unwrap, width_of

__all__ = [
    "LayerPeeled",
    "NCDeviation",
    "bias_curve",
    "is_nc_configuration",
    "layer_peeled",
    "lower_bound",
    "thresholds",
]


@dataclass(frozen=True)
class LayerPeeled:
    """The global minimum of the layer-peeled problem; each field is a number, or an array for a sweep.

    Attributes:
        num_classes, alpha, lambda_w, lambda_h, positive, bias, width: see `layer_peeled`.
        value: the minimum of the objective.
        gap: the logit gap d*.
        feature_norm: a, the norm of every class mean.
        classifier_scale: C of w_n = C (h_n - hbar).
        collapsed: whether the minimum is W = H = 0.
        lower_bound: a lower bound on the objective at every (W, H, b).
        optimality_gap: value - lower_bound, the certificate.
        exact_margin: see `thresholds`.
        printed_margin: see `thresholds`.
        converged: always true; numerical solutions have the same field.
        iterations: always 0; numerical solutions have the same field.
    """

    num_classes: int | Array
    alpha: Real
    lambda_w: Real
    lambda_h: Real
    positive: bool
    bias: bool
    width: int | None
    value: Real
    gap: Real
    feature_norm: Real
    classifier_scale: Real
    collapsed: bool | NDArray[np.bool_]
    lower_bound: Real
    optimality_gap: Real
    exact_margin: Real
    printed_margin: Real
    converged: bool = True
    iterations: int = 0

    @property
    def features(self) -> Array:
        """The class means of one minimizer, (N, M), with rows h_n; symmetries map it to all other minimizers."""
        num_classes, width = self._one_point()
        frame = np.eye(num_classes, width)
        if not self.positive:  # the simplex: center the unit vectors, then scale each to norm 1
            frame[:, :num_classes] -= 1 / num_classes
            frame *= np.sqrt(num_classes / (num_classes - 1))
        return np.asarray(self.feature_norm * frame)

    @property
    def weight(self) -> Array:
        """The classifier of the same minimizer, (N, M), with rows w_n = C (h_n - hbar)."""
        means = self.features
        return np.asarray(self.classifier_scale * (means - means.mean(axis=0)))

    def _one_point(self) -> tuple[int, int]:
        if not isinstance(self.value, float):
            raise ValueError("the matrices exist for one parameter point only: solve that point alone, not a sweep")
        num_classes = int(np.asarray(self.num_classes))
        return num_classes, width_of(self.width, num_classes)


def layer_peeled(
    num_classes: ArrayLike = 3,
    alpha: ArrayLike = 0.1,
    lambda_w: ArrayLike = 0.005,
    lambda_h: ArrayLike = 0.005,
    positive: bool = True,
    bias: bool = False,
    width: int | None = None,
) -> LayerPeeled:
    """Compute the global minimum of the layer-peeled problem in closed form, with a certificate.

    At the minimizers, the penalties cost 2 sqrt(N (N-1) lambda_W lambda_H) per unit of the logit gap d (2 (N-1)
    sqrt(lambda_W lambda_H) with signed features). Let c be alpha (N-1)/N plus this cost. Then the problem is to
    minimize f(d) = log(1 + (N-1) e^-d) + c d, and d* = log((N-1)(1-c)/c) if c < (N-1)/N, else 0. An unpenalized bias
    does not change the value. With a bias and N = 2, the minimizers form a curve; see `bias_curve`.

    Args:
        num_classes: N >= 2.
        alpha: label smoothing, in [0, 1); 0 is cross entropy.
        lambda_w: penalty on the classifier, above 0.
        lambda_h: penalty on the features, above 0. These four parameters may be arrays, which are broadcast.
        positive: whether features are constrained to H >= 0.
        bias: whether the classifier has an unpenalized bias.
        width: M >= N, used only for the matrices (default N). K does not matter, because all samples of a class
            coincide.

    Raises:
        ValueError: alpha outside [0, 1), a penalty that is not positive, N < 2, M < N.

    Reference: Nguyen et al., ICLR 2023, Theorem 3.2 (its condition is weaker than the exact condition; see
    `thresholds`).

    >>> solution = layer_peeled(num_classes=3, alpha=.1, lambda_w=.005, lambda_h=.005)
    >>> round(solution.value, 10), round(solution.feature_norm, 7), round(solution.classifier_scale, 7)
    (0.3684054341, 1.5631743, 1.2247449)
    """
    shape, (N, smooth, l_w, l_h) = broadcast(*_parameters(num_classes, alpha, lambda_w, lambda_h))
    if width is not None:
        width_of(width, int(N.max(initial=2)))
    cost = _cost_of_gap(N, l_w, l_h, positive)
    c = smooth * (N - 1) / N + cost
    gap = np.where(c < (N - 1) / N, np.log1p(np.maximum((N - 1) - N * c, 0) / c), 0.0)
    value = np.log1p((N - 1) * np.exp(-gap)) + c * gap
    feature_norm = np.sqrt(cost * gap / (2 * N)) / np.sqrt(l_h)  # half of the penalty is on the features
    scale = np.sqrt(l_h) / np.sqrt(l_w) * (np.sqrt(N / (N - 1)) if positive else 1)  # products would overflow
    bound = _entropy_bound(N, smooth, l_w, l_h, positive)
    exact, printed = _margins(N, smooth, l_w, l_h, positive)
    collapsed = (gap == 0).reshape(shape)

    def real(array: Array) -> Real:
        return unwrap(array, shape)

    return LayerPeeled(
        num_classes=int(N[0]) if shape == () else N.reshape(shape),
        alpha=real(smooth),
        lambda_w=real(l_w),
        lambda_h=real(l_h),
        positive=positive,
        bias=bias,
        width=width,
        value=real(value),
        gap=real(gap),
        feature_norm=real(feature_norm),
        classifier_scale=real(scale),
        collapsed=bool(collapsed) if shape == () else collapsed,
        lower_bound=real(bound),
        optimality_gap=real(value - bound),
        exact_margin=real(exact),
        printed_margin=real(printed),
    )


def lower_bound(
    num_classes: int, alpha: float, lambda_w: float, lambda_h: float, positive: bool = True, p: float | None = None
) -> float:
    """Compute a lower bound on the layer-peeled objective at every (W, H, b) from weak duality, without a solver.

    The bound uses the tangent of the convex loss at a point of the family Z = d (I - J/N), where the own class has
    probability p: objective >= Entropy(p, (1-p)/(N-1), ...). It is valid if s = (1 - alpha + alpha/N - p) N/(N-1)
    satisfies 0 <= s <= 2 N sqrt(N lambda_W lambda_H / (N-1)) (signed features: 2 N sqrt(lambda_W lambda_H)). At the
    best p, the bound equals the minimum.

    Args:
        num_classes, alpha, lambda_w, lambda_h, positive: see `layer_peeled`.
        p: the softmax probability of the own class at the point of tangency; default: the best admissible value.

    Raises:
        ValueError: p is not admissible and gives no bound.

    >>> round(lower_bound(3, .1, .005, .005), 10), round(lower_bound(3, .1, .005, .005, p=.93), 3)
    (0.3684054341, 0.302)
    """
    N, smooth, l_w, l_h = _parameters(num_classes, alpha, lambda_w, lambda_h)
    if p is None:
        return float(_entropy_bound(N, smooth, l_w, l_h, positive))
    s = (1 - smooth + smooth / N - p) * N / (N - 1)
    if not (0 <= s <= _largest_dual(N, l_w, l_h, positive) and p < 1):
        raise ValueError(f"p must give a dual value s in [0, {_largest_dual(N, l_w, l_h, positive):g}], got s = {s:g}")
    return float(_entropy(np.asarray(p), N))


def thresholds(
    num_classes: ArrayLike, alpha: ArrayLike, lambda_w: ArrayLike, lambda_h: ArrayLike, positive: bool = True
) -> tuple[Real, Real]:
    """Margins (exact, printed) of the condition for a nonzero minimizer; above 0 if the condition holds.

    Exact: 1 - alpha - 2 N sqrt(N lambda_W lambda_H / (N-1)). Printed in Theorem 3.2:
    1 - (N-1)/N alpha - 2 sqrt((N-1) lambda_W lambda_H). If printed > 0 >= exact, the condition of the theorem holds,
    but the only minimizer is W = H = 0.

    >>> exact, printed = thresholds(2, 0., .08, .08)
    >>> round(exact, 4), round(printed, 4)
    (0.5475, 0.84)
    """
    shape, (N, smooth, l_w, l_h) = broadcast(*_parameters(num_classes, alpha, lambda_w, lambda_h))
    exact, printed = _margins(N, smooth, l_w, l_h, positive)
    return unwrap(exact, shape), unwrap(printed, shape)


@dataclass(frozen=True)
class NCDeviation:
    """How far (W, H) is from neural collapse (NC, Definition 3.1 of MD), relative to the scale of H and W.

    All three deviations of an NC configuration are 0.

    Attributes:
        within_class: deviation from condition (i).
        orthogonality: deviation from condition (ii).
        duality: deviation from condition (iii).
        holds: whether all three deviations are at most the tolerance.
    """

    within_class: float
    orthogonality: float
    duality: float
    holds: bool


def is_nc_configuration(weight: ArrayLike, features: ArrayLike, tolerance: float = 1e-6) -> NCDeviation:
    """Check the conditions of Definition 3.1 of MD.

    Deviation (i) is the largest distance from a sample to its class mean. Deviation (ii) is the largest entry of G -
    a^2 I and of the negative part of H, where G is the Gram matrix of the class means and a^2 the mean of its diagonal.
    Deviation (iii) is the largest entry of W - C (H - hbar) at the best constant C. W = H = 0 is a degenerate NC
    configuration.

    Args:
        weight: (N, M).
        features: (N, M), or (N, K, M) with K samples per class.
        tolerance: bound on all three deviations.

    Raises:
        ValueError: the shapes do not fit.

    >>> solution = layer_peeled()
    >>> is_nc_configuration(solution.weight, solution.features).holds
    True
    """
    W, H = np.asarray(weight, dtype=np.float64), np.asarray(features, dtype=np.float64)
    samples = H[:, None, :] if H.ndim == 2 else H  # (N, K, M)
    if W.ndim != 2 or samples.ndim != 3 or (samples.shape[0], samples.shape[2]) != W.shape:
        raise ValueError(f"weight (N, M) must go with features (N, M) or (N, K, M), got {W.shape} and {H.shape}")
    means = samples.mean(axis=1)  # (N, M)
    gram = means @ means.T
    square = np.trace(gram) / len(gram)
    size = np.sqrt(square) or 1.0
    within = float(np.linalg.norm(samples - means[:, None, :], axis=-1).max() / size)
    orthogonality = float(np.abs(gram - square * np.eye(len(gram))).max() / (square or 1.0))
    orthogonality = max(orthogonality, float(-samples.min(initial=0.0) / size))
    centered = means - means.mean(axis=0)
    spread = float((centered**2).sum())
    scale = float((W * centered).sum()) / spread if spread > 0 else 0.0
    duality = float(np.abs(W - scale * centered).max() / (np.abs(W).max(initial=0.0) or 1.0))
    return NCDeviation(within, orthogonality, duality, max(within, orthogonality, duality) <= tolerance)


def bias_curve(
    alpha: float = 0.1, lambda_w: float = 0.005, lambda_h: float = 0.005, points: int = 11
) -> list[tuple[Array, Array, Array]]:
    """Compute points on the curve of minimizers for N = 2, positive features and an unpenalized bias.

    All pairs with ||h_1||^2 + ||h_2||^2 = 2 a^2, h_1 orthogonal to h_2, w_n = C (h_n - hbar) and
    b_1 - b_2 = d - C ||h_1||^2 have the same value. At each end of the curve, the mean of one class is 0; only the
    midpoint is an NC configuration. (MD's footnote on biases misses this case.)

    Args:
        alpha, lambda_w, lambda_h: see `layer_peeled`.
        points: the number of points, evenly spaced in ||h_1||^2 from end to end.

    Returns:
        A list of (weight (2, 2), features (2, 2), bias (2,)).

    >>> weight, features, bias = bias_curve(points=3)[0]
    >>> float(abs(features[0]).max())
    0.0
    """
    solution = layer_peeled(2, alpha, lambda_w, lambda_h)
    square, scale, gap = float(solution.feature_norm) ** 2, float(solution.classifier_scale), float(solution.gap)
    curve = []
    for share in np.linspace(0, 1, points):
        norms = np.sqrt(2 * square * np.array([share, 1 - share]))
        means = np.diag(norms)
        shift = gap - scale * norms[0] ** 2
        curve.append((scale * (means - means.mean(axis=0)), means, np.array([shift / 2, -shift / 2])))
    return curve


def _parameters(num_classes: ArrayLike, alpha: ArrayLike, lambda_w: ArrayLike, lambda_h: ArrayLike) -> list[Array]:
    return [
        class_count(num_classes),
        smoothing(alpha),
        positive("lambda_w", lambda_w),
        positive("lambda_h", lambda_h),
    ]


def _cost_of_gap(N: Array, l_w: Array, l_h: Array, is_positive: bool) -> Array:
    """The cost of the penalties per unit of the logit gap, at the best balance of W and H."""
    root = np.sqrt(l_w) * np.sqrt(l_h)  # not sqrt(l_w l_h), because the product can underflow
    return np.asarray(2 * np.sqrt(N * (N - 1)) * root if is_positive else 2 * (N - 1) * root)


def _largest_dual(N: Array, l_w: Array, l_h: Array, is_positive: bool) -> Array:
    return np.asarray(_cost_of_gap(N, l_w, l_h, is_positive) * N / (N - 1))


def _entropy(p: Array, N: Array) -> Array:
    rest = (1 - p) / (N - 1)
    return np.asarray(-p * np.log(p) - (1 - p) * np.log(np.maximum(rest, np.finfo(float).tiny)))


def _entropy_bound(N: Array, smooth: Array, l_w: Array, l_h: Array, is_positive: bool) -> Array:
    """The best lower bound; s is a few ulps below its limit, so that it is admissible despite rounding."""
    s = np.minimum(_largest_dual(N, l_w, l_h, is_positive) * (1 - 1e-15), 1 - smooth)
    rest = (smooth + s) / N  # probability of each other class at the point of tangency
    p = 1 - (N - 1) * rest
    return np.asarray(-p * np.log1p(-(N - 1) * rest) - (N - 1) * rest * np.log(rest))


def _margins(N: Array, smooth: Array, l_w: Array, l_h: Array, is_positive: bool) -> tuple[Array, Array]:
    exact = 1 - smooth - _largest_dual(N, l_w, l_h, is_positive)
    printed = 1 - (N - 1) / N * smooth - 2 * np.sqrt(N - 1) * np.sqrt(l_w) * np.sqrt(l_h)
    return np.asarray(exact), np.asarray(printed)
