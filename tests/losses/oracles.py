"""Two slow, obvious implementations of every published loss, written from the formulas in the papers.

`EXACT` works in 50-digit arithmetic on one sample. `NAIVE` works in numpy float64 on one sample, with one-hot vectors
and the definitions before any simplification. Neither shares code with byrote.
"""

from collections.abc import Callable, Sequence

import mpmath
import numpy as np

from byrote.losses import AGCE, CrossEntropy, Focal, Loss, MeanAbsoluteError, Normalized, ReverseCrossEntropy

mpmath.mp.dps = 50
mpf = mpmath.mpf

Exact = Callable[..., mpmath.mpf]


class Softmax:
    """Probabilities p_k and their exact complements 1 - p_k, computed as a sum of the other p, never by subtraction."""

    def __init__(self, z: Sequence[float], remembered: "Softmax | None" = None) -> None:
        self.remembered = remembered or self
        self.z = [mpf(v) for v in z]
        top = max(self.z)
        e = [mpmath.exp(v - top) for v in self.z]
        total = mpmath.fsum(e)
        self.p = [v / total for v in e]
        self.log_p = [v - top - mpmath.log(total) for v in self.z]
        self.rest = [mpmath.fsum(e[:k] + e[k + 1 :]) / total for k in range(len(e))]


def exact(loss: Loss, z: Sequence[float], y: int, visited: Sequence[float] | None = None) -> mpmath.mpf:
    """Compute the loss of one sample in 50 digits; its memory comes from the logits `visited`, by default `z`."""
    return EXACT[loss.kind](loss, Softmax(z, Softmax(visited) if visited else None), y)


def exact_slopes(loss: Loss, z: Sequence[float], y: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the greatest slope in each logit; they differ only at a kink, where two logits tie."""
    h = mpf(10) ** -20
    here, one_sided = exact(loss, z, y, z), []
    for k in range(len(z)):
        moved = [[mpf(v) + s * h * (j == k) for j, v in enumerate(z)] for s in (1, -1)]
        up, down = (exact(loss, point, y, z) for point in moved)
        one_sided.append([float((up - here) / h), float((here - down) / h)])
    sides = np.array(one_sided)
    return sides.min(-1), sides.max(-1)


def naive(loss: Loss, z: np.ndarray, y: int) -> float:
    """Compute the loss of one sample in float64, directly from its definition."""
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


def _normalized(loss: Loss, s: Softmax, y: int) -> mpmath.mpf:
    values = [EXACT[loss.loss.kind](loss.loss, s, k) for k in range(len(s.z))]
    return values[y] / mpmath.fsum(values)


def _sum(active: Loss, passive: Loss) -> Exact:
    def value(loss: Loss, s: Softmax, y: int) -> mpmath.mpf:
        first, second = EXACT[active.kind](active, s, y), EXACT[passive.kind](passive, s, y)
        return mpf(loss.alpha) * first + mpf(loss.beta) * second

    return value


def _backward(loss: Loss, s: Softmax, y: int) -> mpmath.mpf:
    inverse = mpmath.matrix([[mpf(v) for v in row] for row in loss.transition]) ** -1
    return -mpmath.fsum(inverse[y, k] * s.log_p[k] for k in range(len(s.p)))


def _early(loss: Loss, s: Softmax, y: int) -> mpmath.mpf:
    def clipped(p: list[mpmath.mpf]) -> list[mpmath.mpf]:
        return [min(max(v, mpf(1) / 10**4), 1 - mpf(1) / 10**4) for v in p]

    now, then = clipped(s.p), clipped(s.remembered.p)
    t = [(1 - mpf(loss.beta)) * v / mpmath.fsum(then) for v in then]
    return -s.log_p[y] + mpf(loss.strength) * mpmath.log(1 - mpmath.fsum(map(lambda a, b: a * b, now, t)))


NCE, NFL = Normalized(CrossEntropy()), Normalized(Focal(0.5))
RCE, MAE, SIX = ReverseCrossEntropy(), MeanAbsoluteError(1.0), AGCE(6.0, 1.5)

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
    "agce": lambda loss, s, y: ((mpf(loss.a) + 1) ** mpf(loss.q) - (mpf(loss.a) + s.p[y]) ** mpf(loss.q)) / mpf(loss.q),
    "aul": lambda loss, s, y: ((mpf(loss.a) - s.p[y]) ** mpf(loss.q) - (mpf(loss.a) - 1) ** mpf(loss.q)) / mpf(loss.q),
    "ael": lambda loss, s, y: mpmath.exp(-s.p[y] / mpf(loss.a)),
    "normalized": _normalized,
    "active_passive": lambda loss, s, y: _sum(loss.active, loss.passive)(loss, s, y),
    "nce_mae": _sum(NCE, MAE),
    "nce_rce": _sum(NCE, RCE),
    "nfl_rce": _sum(NFL, RCE),
    "nce_agce": _sum(NCE, SIX),
    "forward_correction": lambda loss, s, y: (
        -mpmath.log(mpmath.fsum(s.p[k] * mpf(loss.transition[k][y]) for k in range(len(s.p))))
    ),
    "backward_correction": _backward,
    "soft_bootstrap": lambda loss, s, y: (
        -mpf(loss.beta) * s.log_p[y]
        - (1 - mpf(loss.beta)) * mpmath.fsum(p * log_p for p, log_p in zip(s.p, s.log_p, strict=True))
    ),
    "hard_bootstrap": lambda loss, s, y: -mpf(loss.beta) * s.log_p[y] - (1 - mpf(loss.beta)) * max(s.log_p),
    "weighted": lambda loss, s, y: mpf(loss.weights[y]) * EXACT[loss.loss.kind](loss.loss, s, y),
    "early_learning": _early,
}

# ---- float64, from the definitions ----


def _projection(loss: Loss, p: np.ndarray, e: np.ndarray, z: np.ndarray) -> float:
    """Compute KL(q, p) for the projection q of p on the credal set (Lienen & Huellermeier, eq. 7)."""
    y, a = int(e.argmax()), loss.alpha
    if p[y] >= 1 - a:
        return 0.0
    target = a * p / (p.sum() - p[y])
    target[y] = 1 - a
    positive = target > 0
    return float((target[positive] * np.log(target[positive] / p[positive])).sum())


def _every(loss: Loss, z: np.ndarray) -> np.ndarray:
    return np.array([naive(loss, z, k) for k in range(len(z))])


def _early_naive(loss: Loss, p: np.ndarray, e: np.ndarray, z: np.ndarray) -> float:
    q = np.clip(p, 1e-4, 1 - 1e-4)
    t = loss.beta * np.zeros_like(p) + (1 - loss.beta) * q / q.sum()
    return float(-(e * np.log(p)).sum() + loss.strength * np.log(1 - q @ t))


def _two(active: Loss, passive: Loss) -> Callable[..., float]:
    return lambda loss, p, e, z: (
        loss.alpha * naive(active, z, int(e.argmax())) + loss.beta * naive(passive, z, int(e.argmax()))
    )


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
    "agce": lambda loss, p, e, z: ((loss.a + 1) ** loss.q - (loss.a + (e * p).sum()) ** loss.q) / loss.q,
    "aul": lambda loss, p, e, z: ((loss.a - (e * p).sum()) ** loss.q - (loss.a - 1) ** loss.q) / loss.q,
    "ael": lambda loss, p, e, z: np.exp(-(e * p).sum() / loss.a),
    "normalized": lambda loss, p, e, z: e @ _every(loss.loss, z) / _every(loss.loss, z).sum(),
    "active_passive": lambda loss, p, e, z: _two(loss.active, loss.passive)(loss, p, e, z),
    "nce_mae": _two(NCE, MAE),
    "nce_rce": _two(NCE, RCE),
    "nfl_rce": _two(NFL, RCE),
    "nce_agce": _two(NCE, SIX),
    "forward_correction": lambda loss, p, e, z: -np.log(np.array(loss.transition).T @ p) @ e,
    "backward_correction": lambda loss, p, e, z: e @ np.linalg.solve(np.array(loss.transition), -np.log(p)),
    "soft_bootstrap": lambda loss, p, e, z: -((loss.beta * e + (1 - loss.beta) * p) * np.log(p)).sum(),
    "hard_bootstrap": lambda loss, p, e, z: -((loss.beta * e + (1 - loss.beta) * (p == p.max())) * np.log(p)).sum(),
    "weighted": lambda loss, p, e, z: (e * np.array(loss.weights)).sum() * naive(loss.loss, z, int(e.argmax())),
    "early_learning": _early_naive,
}
