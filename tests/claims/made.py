"""Artificial tables of runs with realistic columns, for which a claim holds, fails or is inconclusive."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from stored import results_of

from byrote.analysis import Analysis

EPOCHS = tuple(range(5, 61, 5))
SEEDS = tuple(range(5))


def results(*parts: Iterable[dict[str, Any]]) -> Analysis:
    """Turn rows into the `Results` object that claims read."""
    return Analysis.of(results_of([row for part in parts for row in part]))


def _noise(*where: object) -> np.random.Generator:
    return np.random.default_rng([zlib.crc32(str(part).encode()) for part in where])


def noise_of(*where: object) -> float:
    """Return a pseudo-random number in [0, 1) that depends only on the arguments."""
    return float(_noise(*where).random())


def run(
    *,
    loss: str,
    rate: float,
    seed: int,
    noise: str = "uniform",
    num_classes: int = 2,
    m: float,
    t: float | None = None,
    a: float = 0.999,
    mem: float = 1.0,
    distance: float = 4.0,
    slope: float = 0.5,
    base: float = 0.03,
    nc1: float | None = None,
    error: float | None = None,
    late: float = 0.0,
    jitter: float = 0.01,
    epochs: tuple[int, ...] = EPOCHS,
    half: float = 0.3,
    norm_cv: float = 0.05,
    cosine: float = 0.02,
    test_cosine: float = 0.3,
    start_m: float | None = None,
    collapsed: bool = False,
    clean_slope: float | None = None,
    extra: dict[str, Any] | None = None,
    **facts: Any,
) -> list[dict[str, Any]]:
    """Return the rows of one run: its fates approach (a, t, m), and its NC1 is base + slope * mem (weighted)."""
    rng = _noise(loss, f"{rate:.3f}", seed, noise)
    n_train = facts.get("n_train", 2000)
    effective = rate * (num_classes - 1) / num_classes if noise == "uniform" else rate
    rho = round(effective * n_train) / n_train
    wobble = rng.normal(size=4) * jitter
    m, a = float(np.clip(m + wobble[0], 0, 1)), float(np.clip(a + wobble[1] / 10, 0, 1))
    t = (1 - m if num_classes == 2 else (1 - m) * 0.97) if t is None else float(np.clip(t, 0, 1 - m))
    mem = mem * (1 + wobble[2])
    spread = nc1 if nc1 is not None else base + slope * mem * rho
    spread = spread * (1 + wobble[3])
    error = 0.1 * spread + 0.01 if error is None else error + wobble[3] * 0.05
    key = f"{loss}-{rate:g}-{seed}-{noise}-{num_classes}-{zlib.crc32(repr(sorted(facts.items())).encode()):x}"
    fixed = {
        "key": key,
        "study": "made",
        "part": f"{num_classes} classes",
        "dataset": "fashion_mnist",
        "classes": "0,1" if num_classes == 2 else "all",
        "num_classes": num_classes,
        "n_train": n_train,
        "n_test": 2000,
        "network": "mlp",
        "depth": 9,
        "width": 128,
        "feature_width": num_classes,
        "loss": loss,
        "alpha": 0.1 if loss in ("LS", "LR", "RLL") else float("nan"),
        "noise": noise,
        "rate": rate,
        "effective_rate": effective,
        "seed": seed,
        "epochs": epochs[-1],
        "batch_size": 128,
        "optimizer": "sgd",
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 1e-3,
        "schedule": "step",
        "precision": "fp32",
        "status": "done",
        "error": "",
    } | facts
    rows = []
    for epoch in epochs:
        done = epoch / epochs[-1]
        # clean labels are learned first, wrong ones later
        learned = 1 / (1 + np.exp(-12 * (done - half - 0.25 * rate)))
        learned = 1.0 if epoch == epochs[-1] else learned + (1 - learned) * (done > 0.7)
        now_m = m * learned if start_m is None else start_m + (m - start_m) * done
        now_t = t + (0.9 * (1 - t - now_m)) * (1 - learned)
        now_a = a * (1 - 0.3 * np.exp(-10 * done)) if epoch != epochs[-1] else a
        drift = late * (done - 1)
        j1 = (1 - rho) * now_a + rho * now_m
        rows.append(
            fixed
            | {
                "epoch": epoch,
                "train_loss": 0.5,
                "j1": j1,
                "j2": (1 - rho) * now_a + rho * now_t,
                "test_accuracy": 1 - error,
                "nc1_train_observed": 0.01,
                "nc1_train_true": 0.1,
                "nc1_test": spread * (1 + drift),
                "mem_total": mem * rho * n_train,
                "mem_mean": mem * (1 + drift) if rho else None,
                "mem_noise_weighted": mem * rho * (1 + drift),
                "mem_relative": mem / distance if rho else None,
                "mem_noise_weighted_relative": mem * rho / distance,
                "mem_clean_mean": 0.1,
                "realised_rate": rho,
                "clean_accuracy": now_a,
                "corrupted_as_observed": now_m if rho else None,
                "corrupted_as_true": now_t if rho else None,
                "class_distance": distance,
                "norm_cv": 0.4,
                "uncentred_cosine": test_cosine,
                "train_norm_cv": norm_cv + 0.01 * rng.random(),
                "train_uncentred_cosine": cosine,
                "train_centred_cosine": -1 / (num_classes - 1),
                "train_classes_at_zero": int(norm_cv > 1),
                "centred_cosine": -1 / (num_classes - 1),
                "collapsed": collapsed,
            }
            | ({} if clean_slope is None else {"nc1_train_clean": 0.01 + clean_slope * mem * rho})
            | (extra or {})
        )
    return rows


Rows = list[dict[str, Any]]
MEM = {"CE": 1.7, "LS": 1.2, "LR": 1.1, "MSE": 0.45}
SLOPE = {"CE": 0.5, "LS": 0.5, "LR": 0.2, "MSE": 0.15}


def two_class(
    losses: tuple[str, ...] = ("CE", "LS"),
    rates: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4),
    seeds: tuple[int, ...] = SEEDS,
    by_loss: dict[str, dict[str, Any]] | None = None,
    **same: Any,
) -> Rows:
    """Two-class runs; `by_loss` and keyword arguments override the arguments of `run`."""
    rows: Rows = []
    for loss in losses:
        for rate in rates:
            for seed in seeds:
                # memorization has a factor that depends on the seed, so that mem predicts NC1 better than the rate does
                size = 1 + 0.15 * np.sin(7.0 * seed + 40 * rate)
                given = {"m": 0.98, "mem": MEM.get(loss, 1.0) * size, "slope": SLOPE.get(loss, 0.5)} | same
                given |= (by_loss or {}).get(loss, {})
                mine = {name: value(rate, seed) if callable(value) else value for name, value in given.items()}
                rows += run(loss=loss, rate=rate, seed=seed, **mine)
    return rows


TEN = {
    "CE": {"m": 0.985},
    "MSE-p": {"m": 0.98},
    "RLL": {"m": 0.02, "t": 0.94, "a": 0.985},
    "nMSE": {"m": 0.03, "t": 0.93, "a": 0.98},
}


def ten_class(
    losses: tuple[str, ...] = ("CE", "MSE-p", "RLL", "nMSE"),
    rates: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6),
    seeds: tuple[int, ...] = SEEDS,
    by_loss: dict[str, dict[str, Any]] | None = None,
    **same: Any,
) -> Rows:
    """Ten-class runs under symmetric noise."""
    rows: Rows = []
    for loss in losses:
        for rate in rates:
            for seed in seeds:
                given: dict[str, Any] = {"noise": "symmetric", "num_classes": 10, "n_train": 5000, "depth": 5}
                given |= {"weight_decay": 0.0}
                given |= {"jitter": 0.003} | TEN.get(loss, {}) | same | (by_loss or {}).get(loss, {})
                mine = {name: value(rate, seed) if callable(value) else value for name, value in given.items()}
                rows += run(loss=loss, rate=rate, seed=seed, **mine)
    return rows


def spread_over_seeds(low: float, high: float) -> Callable[[float, int], float]:
    """Alternate between two values from seed to seed, so that the mean over seeds is uncertain."""
    return lambda rate, seed: (low, high, low, high, (low + high) / 2)[seed % 5]
