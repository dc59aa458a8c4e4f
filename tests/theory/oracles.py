"""Slow, obvious versions of the functions of byrote.theory."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize


def smoothed_loss(logits, label, alpha):
    """Compute the label smoothing loss of one row of logits, term by term."""
    N = len(logits)
    log_p = logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()
    target = [(1 - alpha) * (n == label) + alpha / N for n in range(N)]
    return -sum(t * p for t, p in zip(target, log_p, strict=True))


def layer_peeled_objective(W, H, b, alpha, l_w, l_h):
    """Compute the objective of the layer-peeled problem; H has shape (N, K, M)."""
    N, K, _ = H.shape
    loss = sum(smoothed_loss(W @ H[n, k] + b, n, alpha) for n in range(N) for k in range(K)) / (N * K)
    return loss + l_w * (W**2).sum() + l_h / K * (H**2).sum()


def numerical_gradient(function, point, step=1e-6):
    point = np.asarray(point, dtype=float)
    shifts = np.eye(point.size).reshape(point.size, *point.shape) * step
    return np.array([(function(point + s) - function(point - s)) / (2 * step) for s in shifts]).reshape(point.shape)


def circle(count=400):
    angles = 2 * np.pi * (np.arange(count) + 0.5) / count
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def full_multiclass(loss, geometry, penalty, eta, slope, plane, seed=0):
    """Find (r / D, risk) with every u_ij in R^N and r free, and one constraint per true class, assuming no symmetry."""
    N, a, k, D = geometry.num_classes, geometry.feature_norm, geometry.logit_scale, geometry.distance
    pairs = [(i, j) for i in range(N) for j in range(N) if i != j]
    counts = np.ones(N)

    def clean(r):
        value = slope_r = 0.0
        for i, j in pairs:
            logits = np.zeros((len(plane), N))
            logits[:, i], logits[:, j] = k * (a + r * plane[:, 0]), k * r * plane[:, 1]
            values, slopes = loss(logits, np.full(len(plane), i), counts)
            value += values.mean() / (N - 1)
            slope_r += (k * (slopes[:, i] * plane[:, 0] + slopes[:, j] * plane[:, 1])).mean() / (N - 1)
        return value + N * penalty * (a * a + r * r), slope_r + 2 * N * penalty * r

    rest = clean(0.0)[0]
    unit = eta * D * D / slope

    def risk(x):
        U, r = a * x[:-1].reshape(len(pairs), N), unit * x[-1]
        values, slopes = loss(k * U, np.array([j for _, j in pairs]), counts)
        value, by_r = clean(r)
        noisy = (values.sum() + penalty * (U**2).sum()) / (N - 1)
        by_u = a * (k * slopes + 2 * penalty * U) / (N - 1)
        return (value - rest) / eta + noisy, np.append(by_u.ravel(), unit * by_r / eta)

    rows = [[p for p, (i, _) in enumerate(pairs) if i == true] for true in range(N)]

    def apart(x):
        U = x[:-1].reshape(len(pairs), N).copy()
        for p, (i, _) in enumerate(pairs):
            U[p, i] -= 1
        return U

    def room(x):
        lengths = np.linalg.norm(apart(x), axis=1) / np.sqrt(2)
        return np.array([x[-1] - lengths[group].mean() for group in rows])

    def room_slope(x):
        U = apart(x)
        lengths = np.linalg.norm(U, axis=1)
        out = np.zeros((N, x.size))
        for true, group in enumerate(rows):
            for p in group:
                out[true, p * N : (p + 1) * N] = -U[p] / lengths[p] / np.sqrt(2) / (N - 1)
        out[:, -1] = 1
        return out

    generator = np.random.default_rng(seed)
    start = np.append(generator.uniform(0.1, 0.9, len(pairs) * N), 2.0)
    run = minimize(
        risk, start, jac=True, method="SLSQP", bounds=[(0, None)] * start.size,
        constraints=[{"type": "ineq", "fun": room, "jac": room_slope}], options={"ftol": 1e-14, "maxiter": 800},
    )  # fmt: skip
    return unit * run.x[-1] / D, eta * run.fun + rest, a * run.x[:-1].reshape(len(pairs), N)


def clean_memorization_by_slsqp(alpha, l_w, l_h, eta, slope, clean_slope):
    """Find (s, w, memorization) with both u, the training spread s and the displacement w free."""
    c = alpha / 2 + np.sqrt(2 * l_w * l_h)
    d = np.log((1 - c) / c)
    a, scale = np.sqrt(d * np.sqrt(l_w / (2 * l_h))), np.sqrt(2 * l_h / l_w)
    D, k = a * np.sqrt(2), scale * a
    Z = circle()[:, 0]
    unit = eta * D * D / slope

    def risk(x):
        p, q, s = a * x[:2], a * x[2:4], unit * x[4]
        spread = np.logaddexp(0, -(d + scale * D * s * Z)).mean() - np.logaddexp(0, -d) + l_h * s * s
        noisy = sum(
            np.logaddexp(0, -g) + alpha / 2 * g + l_h * (v @ v)
            for v, g in ((p, k * (p[0] - p[1])), (q, k * (q[1] - q[0])))
        )
        return 2 * spread / eta + noisy

    def room(x):
        s, w = unit * x[4], unit * x[5]
        price = w / clean_slope
        limits = []
        for u, h in ((a * x[:2], np.array([0, a])), (a * x[2:4], np.array([a, 0]))):
            mem = eta * np.linalg.norm(u - h)
            limits.append(((s + w) / D - np.hypot(mem / slope, price)) / (unit / D))
        return np.array(limits)

    start = np.array([0.5, 0.4, 0.4, 0.5, 2.0, 0.3])
    run = minimize(
        risk, start, method="SLSQP", bounds=[(0, None)] * 6, constraints=[{"type": "ineq", "fun": room}],
        options={"ftol": 1e-15, "maxiter": 800, "eps": 1e-9},
    )  # fmt: skip
    apart = np.linalg.norm(a * run.x[:2] - np.array([0, a]))
    return unit * run.x[4], unit * run.x[5], eta * apart
