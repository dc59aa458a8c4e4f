"""Two slow, obvious re-implementations of every published loss, written from the papers' formulas.

`EXACT` works in 50-digit arithmetic on one sample, `NAIVE` in numpy float64 on one sample with one-hot vectors
and the definitions before any simplification. Neither shares a line with byrote.
"""

from collections.abc import Callable, Sequence

import mpmath
import numpy as np

from byrote.losses import Loss

mpmath.mp.dps = 50
mpf = mpmath.mpf

Exact = Callable[..., mpmath.mpf]


class Softmax:
    """Probabilities p_k and their exact complements 1 - p_k (a sum of the others, never a subtraction)."""

    def __init__(self, z: Sequence[float]) -> None:
        self.z = [mpf(v) for v in z]
        top = max(self.z)
        e = [mpmath.exp(v - top) for v in self.z]
        total = mpmath.fsum(e)
        self.p = [v / total for v in e]
        self.log_p = [v - top - mpmath.log(total) for v in self.z]
        self.rest = [mpmath.fsum(e[:k] + e[k + 1 :]) / total for k in range(len(e))]


def exact(loss: Loss, z: Sequence[float], y: int) -> mpmath.mpf:
    """The loss of one sample in 50 digits."""
    return EXACT[loss.kind](loss, Softmax(z), y)


def exact_gradient(loss: Loss, z: Sequence[float], y: int) -> list[mpmath.mpf]:
    """Its gradient, by central differences far below double precision."""
    h, gradient = mpf(10) ** -16, []
    for k in range(len(z)):
        up, down = ([mpf(v) + s * h * (j == k) for j, v in enumerate(z)] for s in (1, -1))
        gradient.append((exact(loss, up, y) - exact(loss, down, y)) / (2 * h))
    return gradient


def naive(loss: Loss, z: np.ndarray, y: int) -> float:
    """The loss of one sample in float64, straight from its definition."""
    e = np.zeros(len(z))
    e[y] = 1.0
    p = np.exp(z - z.max())
    return float(NAIVE[loss.kind](loss, p / p.sum(), e, z))


# ---- 50 digits ----


def _relaxed(loss: Loss, s: Softmax, y: int) -> mpmath.mpf:
    a = mpf(loss.alpha)
    if s.rest[y] < a:
        return mpf(0)
    tail = a * mpmath.log(a / s.rest[y]) if a > 0 else mpf(0)
    return (1 - a) * (mpmath.log(1 - a) - s.log_p[y]) + tail


def _squared(loss: Loss, s: Softmax, y: int) -> mpmath.mpf:
    N = len(s.z)
    if loss.on == "logits":
        return mpmath.fsum((s.z[k] - (k == y)) ** 2 for k in range(N)) / N
    return _brier(s, y)


def _brier(s: Softmax, y: int) -> mpmath.mpf:
    return mpmath.fsum((s.rest[k] if k == y else s.p[k]) ** 2 for k in range(len(s.p)))


def _robust_log(loss: Loss, s: Softmax, y: int) -> mpmath.mpf:
    a, N = mpf(loss.alpha), len(s.p)
    others = mpmath.fsum(mpmath.log(a + s.p[k]) for k in range(N) if k != y)
    return mpmath.log((a + 1) / a) - mpmath.log(a + s.p[y]) + others / (N - 1)


EXACT: dict[str, Exact] = {
    "cross_entropy": lambda loss, s, y: -s.log_p[y],
    "label_smoothing": lambda loss, s, y: (
        -(1 - mpf(loss.alpha)) * s.log_p[y] - mpf(loss.alpha) * mpmath.fsum(s.log_p) / len(s.p)
    ),
    "label_relaxation": _relaxed,
    "focal": lambda loss, s, y: -(s.rest[y] ** mpf(loss.gamma)) * s.log_p[y],
    "mean_squared_error": _squared,
    "normalized_mse": lambda loss, s, y: (
        mpf(loss.scale) * _brier(s, y) / mpmath.fsum(_brier(s, k) for k in range(len(s.p)))
    ),
    "robust_log": _robust_log,
    "mean_absolute_error": lambda loss, s, y: mpf(loss.scale) * s.rest[y],
    "reverse_cross_entropy": lambda loss, s, y: -mpf(loss.log_zero) * s.rest[y],
    "generalized_cross_entropy": lambda loss, s, y: (1 - s.p[y] ** mpf(loss.q)) / mpf(loss.q),
    "symmetric_cross_entropy": lambda loss, s, y: (
        -mpf(loss.alpha) * s.log_p[y] - mpf(loss.beta) * mpf(loss.log_zero) * s.rest[y]
    ),
}

# ---- float64, from the definitions ----


def _projection(loss: Loss, p: np.ndarray, e: np.ndarray, z: np.ndarray) -> float:
    """KL from the projection of p on the credal set (Lienen & Huellermeier, eq. 7)."""
    y, a = int(e.argmax()), loss.alpha
    if p[y] >= 1 - a:
        return 0.0
    target = a * p / (p.sum() - p[y])
    target[y] = 1 - a
    kept = target > 0
    return float((target[kept] * np.log(target[kept] / p[kept])).sum())


def _every(loss: Loss, z: np.ndarray) -> np.ndarray:
    return np.array([naive(loss, z, k) for k in range(len(z))])


NAIVE: dict[str, Callable[..., float]] = {
    "cross_entropy": lambda loss, p, e, z: -(e * np.log(p)).sum(),
    "label_smoothing": lambda loss, p, e, z: -(((1 - loss.alpha) * e + loss.alpha / len(p)) * np.log(p)).sum(),
    "label_relaxation": _projection,
    "focal": lambda loss, p, e, z: -(e * (1 - p) ** loss.gamma * np.log(p)).sum(),
    "mean_squared_error": lambda loss, p, e, z: ((z - e) ** 2).mean() if loss.on == "logits" else ((p - e) ** 2).sum(),
    "normalized_mse": lambda loss, p, e, z: (
        loss.scale * ((p - e) ** 2).sum() / sum(((p - f) ** 2).sum() for f in np.eye(len(p)))
    ),
    "robust_log": lambda loss, p, e, z: (
        np.log((loss.alpha + 1) / loss.alpha)
        - np.log(loss.alpha + (e * p).sum())
        + ((1 - e) * np.log(loss.alpha + p)).sum() / (len(p) - 1)
    ),
    "mean_absolute_error": lambda loss, p, e, z: loss.scale / 2 * np.abs(p - e).sum(),
    "reverse_cross_entropy": lambda loss, p, e, z: -(p * np.where(e > 0, 0.0, loss.log_zero)).sum(),
    "generalized_cross_entropy": lambda loss, p, e, z: (1 - (e * p).sum() ** loss.q) / loss.q,
    "symmetric_cross_entropy": lambda loss, p, e, z: (
        -loss.alpha * (e * np.log(p)).sum() - loss.beta * (p * np.where(e > 0, 0.0, loss.log_zero)).sum()
    ),
}
