"""Artificial tables that look like those of real studies, for tests of every figure and of the report page.

Nothing here was measured. For each loss, the network finally predicts a share m of the wrong labels. Clean samples are
learned first, wrong labels later, and dilation follows memorization. Numbers are drawn from a seed, so equal calls give
equal tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from stored import results_of

from byrote.analysis import Analysis
from byrote.table import Table

# loss: (final m, epoch in sixtieths at which m is half of that, scale of D, slope of dilation, alpha)
LOSSES: dict[str, tuple[float, float, float, float, float]] = {
    "CE": (0.99, 16, 10.0, 1.0, float("nan")),
    "LS": (0.95, 19, 7.0, 1.0, 0.1),
    "LR": (0.93, 18, 7.4, 1.35, 0.1),
    "MSE": (0.80, 24, 2.6, 0.75, float("nan")),
    "MSE-p": (0.93, 22, 6.0, 0.8, float("nan")),
    "RLL": (0.10, 30, 2.2, 0.9, 0.1),
    "nMSE": (0.13, 32, 1.1, 0.6, float("nan")),
}
GENERATION = ("CE", "LS", "LR", "MSE", "RLL", "nMSE")
MATTERS = ("CE", "MSE-p", "RLL", "nMSE")


@dataclass(frozen=True)
class Cells:
    """One part of an artificial study: the facts shared by all of its runs, and the grid of the other facts."""

    facts: dict[str, Any]
    losses: tuple[str, ...]
    rates: tuple[float, ...]
    seeds: int = 5
    every: int = 5
    difficulty: float = 0.02


TWO = {
    "study": "demo",
    "part": "two-class",
    "dataset": "fashion_mnist_subset",
    "classes": "0,1",
    "num_classes": 2,
    "n_train": 2000,
    "n_test": 2000,
    "network": "mlp",
    "depth": 9,
    "width": 128,
    "feature_width": 2,
    "noise": "uniform",
    "epochs": 60,
    "batch_size": 128,
    "optimizer": "sgd",
    "lr": 0.1,
    "momentum": 0.9,
    "weight_decay": 0.001,
    "schedule": "step",
    "precision": "fp32",
    "status": "done",
    "error": "",
}
TEN = TWO | {
    "part": "ten-class",
    "classes": "all",
    "num_classes": 10,
    "n_train": 5000,
    "n_test": 3600,
    "depth": 5,
    "width": 256,
    "feature_width": 10,
    "noise": "symmetric",
    "lr": 0.05,
    "weight_decay": 0.0,
    "schedule": "exponential",
}


def runs(cells: Cells) -> Table:
    """Make the rows of all runs of a part, one row per evaluated epoch."""
    rows: list[dict[str, Any]] = []
    for loss in cells.losses:
        for rate in cells.rates:
            for seed in range(cells.seeds):
                rows += run(cells, loss, rate, seed)
    return Table.of(rows)


def run(cells: Cells, loss: str, rate: float, seed: int) -> list[dict[str, Any]]:
    """Make the rows of one run."""
    facts = cells.facts
    name = f"{facts['part']}-{facts['dataset']}-{facts['network']}-{facts['feature_width']}-{facts['noise']}"
    key = f"{name}-{loss}-{rate:g}-{seed}"
    rng = np.random.default_rng(abs(hash_of(key)))
    n = facts["num_classes"]
    effective = rate * (n - 1) / n if facts["noise"] == "uniform" else rate
    realised = float(np.clip(effective + rng.normal(0, 0.004) * (rate > 0), 0, 1))
    epochs = facts["epochs"]
    common = facts | {
        "key": key,
        "loss": loss,
        "alpha": LOSSES[loss][4],
        "rate": rate,
        "effective_rate": effective,
        "seed": seed,
        "realised_rate": realised,
    }
    wobble = rng.normal(0, 1, size=4)
    marks = sorted({1, *range(cells.every, epochs + 1, cells.every), epochs})
    return [
        common | measured(cells, loss, realised, epoch / epochs * 60, wobble, rng) | {"epoch": epoch} for epoch in marks
    ]


def measured(
    cells: Cells, loss: str, rho: float, time: float, wobble: np.ndarray, rng: np.random.Generator
) -> dict[str, Any]:
    """Make the readings of one epoch, where `time` is given in sixtieths of the training."""
    end, half, scale, slope, _ = LOSSES[loss]
    n = cells.facts["num_classes"]
    a = (1 - cells.difficulty - 0.02 * (loss in ("RLL", "nMSE"))) * (1 - np.exp(-time / 3)) + 0.004 * wobble[0]
    grown = 1 / (1 + np.exp(-(time - half) / 4))
    m = float(np.clip(end * (1 - 0.1 * rho) * grown + 0.012 * wobble[1] * grown + (1 - a) / n, 0, 1))
    a = float(np.clip(a, 0, 1))
    t = float(np.clip((1 - m) * a, 0, 1 - m))
    distance = scale * (0.4 + 0.6 * grown) * (1 + 0.05 * wobble[2])
    corrupted = rho > 0
    relative = 0.08 + 0.75 * m
    weighted = rho * relative
    nc1 = (slope * (0.18 + 1.1 * weighted) * (1 + 0.05 * wobble[3])) ** 2 + 0.25 * np.exp(-time / 4)
    nan = float("nan")
    n_train = cells.facts["n_train"]
    accuracy = a - cells.difficulty - 0.45 * weighted - 0.004 * rng.normal()
    return {
        "train_loss": float((1.2 - m) * (1 + rho)),
        "j1": (1 - rho) * a + rho * m,
        "j2": (1 - rho) * a + rho * t,
        "test_accuracy": float(np.clip(accuracy, 0, 1)),
        "nc1_train_observed": nc1 * 0.6,
        "nc1_train_true": nc1 * 1.4,
        "nc1_test": float(nc1),
        "mem_total": weighted * distance * n_train if corrupted else 0.0,
        "mem_mean": relative * distance if corrupted else nan,
        "mem_noise_weighted": weighted * distance,
        "mem_relative": relative if corrupted else nan,
        "mem_noise_weighted_relative": weighted,
        "mem_clean_mean": 0.08 * distance,
        "clean_accuracy": a,
        "corrupted_as_observed": m if corrupted else nan,
        "corrupted_as_true": t if corrupted else nan,
        "class_distance": distance,
        "norm_cv": 0.1 + abs(0.1 * wobble[2]),
        "uncentred_cosine": 0.05,
        "centred_cosine": -1.0 / (n - 1),
        "collapsed": False,
    }


def hash_of(text: str) -> int:
    """Return a hash of a string that is the same in every process."""
    return int.from_bytes(text.encode()[-24:], "big") ^ len(text)


def collapse(table: Table, key: str) -> Table:
    """Change one run: its final class means coincide, so NC1 and relative mem have no value."""
    rows = table.rows()
    for row in rows:
        if row["key"] == key and row["epoch"] > 30:
            row |= {"collapsed": True, "nc1_test": float("nan"), "mem_relative": float("nan")}
            row |= {"mem_noise_weighted_relative": float("nan"), "class_distance": 0.0}
    return Table.of(rows)


def demo() -> Table:
    """Make the table of the demo study."""
    return Table.concat(
        [
            runs(Cells(TWO, ("CE", "LS"), (0.0, 0.05, 0.1, 0.2, 0.4))),
            runs(Cells(TWO | {"part": "two-class-others"}, ("LR", "MSE", "RLL", "nMSE"), (0.1, 0.2, 0.4), seeds=3)),
            runs(Cells(TWO | {"part": "two-class-doubled", "epochs": 120}, ("CE", "LS"), (0.2,), every=10)),
            runs(Cells(TEN, MATTERS, (0.0, 0.2, 0.4, 0.6), seeds=1, difficulty=0.06)),
        ]
    )


def generation() -> Table:
    """The two-class study at small scale: four data sets, six losses, a grid of eta, and several feature widths M."""
    parts = []
    for place, dataset in enumerate(("mnist", "fashion_mnist", "cifar10", "svhn")):
        facts = TWO | {"study": "memorization-dilation", "part": "figure-1", "dataset": dataset}
        cells = Cells(facts, GENERATION, (0.0, 0.05, 0.1, 0.2, 0.3, 0.4), every=20, difficulty=0.01 + 0.03 * place)
        parts.append(runs(cells))
    for width in (1, 5, 16):
        facts = TWO | {"study": "memorization-dilation", "part": "figure-2", "dataset": "fashion_mnist"}
        cells = Cells(facts | {"feature_width": width}, ("CE", "LS"), (0.0, 0.1, 0.2, 0.4), seeds=3, every=20)
        parts.append(runs(cells))
    return Table.concat(parts)


def matters() -> Table:
    """Three networks on the data sets of the LF paper: three seeds, 100 epochs, every fourth epoch evaluated."""
    parts = []
    for dataset, network in (("cifar10", "inception_lite"), ("cifar10", "resnet32"), ("mnist", "resnet18")):
        facts = TEN | {"study": "loss-function", "part": network, "dataset": dataset, "network": network}
        facts |= {"epochs": 100, "feature_width": 64}
        parts.append(runs(Cells(facts, MATTERS, (0.0, 0.2, 0.4, 0.6), seeds=3, every=4, difficulty=0.03)))
    return Table.concat(parts)


def past() -> Table:
    """Studies beyond the papers: estimated noise rates, starts from memorizing networks, human annotators' labels."""
    facts = TEN | {"study": "robust", "part": "losses", "start": "scratch", "start_loss": ""}
    scratch = runs(Cells(facts, ("CE", "RLL", "nMSE"), (0.0, 0.2, 0.4), seeds=3, every=12)).rows()
    started = runs(
        Cells(
            facts | {"part": "path", "start": "memorized", "start_loss": "CE"}, ("RLL",), (0.2, 0.4), seeds=3, every=12
        )
    ).rows()
    for row in started:
        row["corrupted_as_observed"] = 0.9
    photographs = facts | {"part": "human-noise", "dataset": "cifar10", "network": "cnn8"}
    rows = runs(Cells(photographs, ("CE", "RLL"), (0.09, 0.4), seeds=3, every=30)).rows()
    people = runs(Cells(photographs | {"noise": "recorded"}, ("CE", "RLL"), (0.09, 0.4), seeds=3, every=30)).rows()
    for row in people:
        row["labels"] = "worst" if row["rate"] > 0.2 else "vote"
    for row in people:  # recorded labels have no rate that is known in advance
        row |= {"rate": float("nan"), "effective_rate": float("nan")}
    for place, row in enumerate(scratch + rows):
        off = 0.02 if row["loss"] == "nMSE" else 0.004 * (place % 3)
        stated = {"rate_estimate": row["realised_rate"] + off, "underfits": row["seed"] == 2}
        row |= stated | {"rate_low": stated["rate_estimate"] - 0.015, "rate_high": stated["rate_estimate"] + 0.015}
    return Table.of(scratch + started + rows + people)


def plane(history: Table, rate: float = 0.2, points: int = 160) -> Table:
    """The final features of every run of CE and LS with M = 2 at this noise rate."""
    rows: list[dict[str, Any]] = []
    last = history.final()
    for row in last.where(feature_width=2, rate=rate, loss=("CE", "LS")).rows():
        rng = np.random.default_rng(abs(hash_of(row["key"])))
        d = row["class_distance"] / np.sqrt(2)
        spread = d * np.sqrt(row["nc1_test"] / 2)
        for split in ("test", "train"):
            for place in range(points):
                true = place % 2
                wrong = split == "train" and place % 3 == 0
                mean = np.array([d, 0.06 * d] if true == 0 else [0.06 * d, d])
                if wrong:
                    mean = 0.45 * mean + 0.55 * mean[::-1]
                x, y = np.maximum(mean + rng.normal(0, spread * (1.6 if wrong else 0.8), 2), 0)
                rows.append(
                    {"key": row["key"], "split": split, "id": place, "true": true, "x": float(x), "y": float(y)}
                    | {"observed": 1 - true if wrong else true}
                )
    return Table.of(rows)


def analysis(history: Table, features: Table | None = None, **about: Any) -> Analysis:
    """Analyze artificial tables in the way that an opened store is analyzed."""
    defaults = {"study": "demo", "scale": "quick", "planned": history.runs, "seconds": 300.0}
    return Analysis.of(results_of(history.rows(), features, defaults | about))
