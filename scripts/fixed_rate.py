"""Does NC1 correlate with memorization if the noise rate is the same for all runs?

    python scripts/fixed_rate.py results/medium/mechanism --write results/medium/fixed_rate.csv

Both mem and NC1 grow with the noise rate eta, so their correlation over noise rates means little. The part `fixed-rate`
of the study `mechanism` has one rate, four weight decays and three lengths of training. For each loss and seed, the
script correlates test NC1 with mem, with mem / D, and with 1/D^2 alone, which shares D with NC1. It does so over all
settings, within each weight decay (so that only the length varies), and within each length. The means over seeds are
written with Student's intervals.
"""

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import byrote
from byrote.analysis import Analysis
from byrote.intervals import student

RATE = 0.2
DECAY, EPOCHS = "training.optimizer.weight_decay", "training.epochs"
WITHIN = {"all settings": None, "one weight decay": DECAY, "one length": EPOCHS}
COLUMNS = ("loss", "predictor", "compared", "settings", "seeds", "value", "low", "high")
Array = NDArray[np.float64]


def correlation(x: Array, y: Array, group: NDArray[np.int64]) -> float:
    """Pearson's correlation of x and y within groups: each value enters as the deviation from the mean of its group.

    >>> x, y, group = np.array([0.0, 1.0, 5.0, 6.0]), np.array([1.0, 2.0, 1.0, 2.0]), np.array([0, 0, 1, 1])
    >>> round(correlation(x, y, group), 6), round(correlation(x, y, np.zeros(4, dtype=int)), 6)
    (1.0, 0.196116)
    """
    count = np.bincount(group)
    dx, dy = (v - (np.bincount(group, weights=v) / count)[group] for v in (x, y))
    return float(dx @ dy / np.sqrt((dx @ dx) * (dy @ dy)))


def rows(analysis: Analysis) -> Iterator[dict[str, object]]:
    """Yield a row for each loss, predictor and comparison."""
    runs = analysis.runs
    fields = {path: np.array(analysis.field(path).tolist(), dtype=np.float64) for path in (DECAY, EPOCHS)}
    readings = {name: np.asarray(runs[name], dtype=np.float64) for name in ("nc1_test", "class_distance")}
    predictors = {
        "mem": np.asarray(runs["mem_noise_weighted"], dtype=np.float64),
        "mem / D": np.asarray(runs["mem_noise_weighted_relative"], dtype=np.float64),
        "1/D^2": 1 / readings["class_distance"] ** 2,
    }
    varied = (runs["rate"] == RATE) & np.isfinite(readings["nc1_test"])
    seeds = sorted(_common(runs["seed"][varied], list(zip(*(f[varied] for f in fields.values()), strict=True))))
    for loss in dict.fromkeys(runs["loss"][varied].tolist()):
        for name, predictor in predictors.items():
            for compared, path in WITHIN.items():
                correlations = []
                for seed in seeds:
                    one = varied & (runs["loss"] == loss) & (runs["seed"] == seed)
                    group = (
                        np.unique(fields[path][one], return_inverse=True)[1] if path else np.zeros(int(one.sum()), int)
                    )
                    correlations.append(correlation(predictor[one], readings["nc1_test"][one], group))
                low, high = student(np.array(correlations))
                settings = len({*zip(*(f[one] for f in fields.values()), strict=True)})
                numbers = (float(np.mean(correlations)), float(low), float(high))
                yield dict(zip(COLUMNS, (loss, name, compared, settings, len(seeds), *numbers), strict=True))


def _common(seeds: NDArray[np.int64], settings: list[tuple[float, ...]]) -> set[int]:
    """The seeds that every setting has."""
    by_setting: dict[tuple[float, ...], set[int]] = {}
    for seed, setting in zip(seeds.tolist(), settings, strict=True):
        by_setting.setdefault(setting, set()).add(seed)
    return set.intersection(*by_setting.values())


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", type=Path, required=True)
    options = parser.parse_args()
    with options.write.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows(byrote.open(options.folder).analysis))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
