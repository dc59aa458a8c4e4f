"""How often the 95% intervals of five seeds contain the true value, for every kind of statistic that decides a claim.

The population is smoothed from the ten seeds of the Figure 1 cells of results/small/memorization-dilation (CIFAR-10,
Fashion-MNIST, MNIST; CE and LS; six eta above 0). The readings of a seed under both losses and all eta form one vector,
with positive readings as logarithms. A new seed is the vector x of a random seed plus normal noise e with the
covariance of the ten vectors. The sum is shrunk so that mean m and covariance stay the same: m + (x - m + h e) / sqrt(1
+ h^2). The kernel's width h is the normal reference rule for ten points, (4/3)^(1/5) 10^(-1/5) = .668. With h = .3 the
population is nearly the ten points themselves. The points form clusters (mem of LS - CE on CIFAR-10: seven seeds near
-.5, three near -.3), and five seeds often miss a cluster; the coverage with this h is reported as well. The true value
is the statistic of 20,000 new seeds together. Each interval is computed from five seeds by `byrote.analysis`, as in a
claim.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

import byrote
from byrote.analysis import Points, Sample, mean_over_seeds, paired_difference, spearman

__all__ = ["Row", "coverage"]

Array = NDArray[np.float64]
STORE = Path(__file__).resolve().parent.parent / "results" / "small" / "memorization-dilation"
LOSSES, SEEDS, MANY = ("CE", "LS"), 5, 20_000
KERNEL, NARROW = (4 / 3) ** 0.2 * 10**-0.2, 0.3
POSITIVE = ("mem_noise_weighted", "mem_noise_weighted_relative", "mem_mean", "mem_relative", "nc1_test")
COLUMNS = (*POSITIVE, "test_accuracy", "effective_rate")


@dataclass(frozen=True)
class Row:
    """The share of intervals of one kind that contain the true value on one data set."""

    kind: str
    data: str
    covered: float
    decides: bool
    kernel: float

    @property
    def bounded(self) -> bool:
        """Whether the bar (the least coverage allowed) applies to this kernel."""
        return self.kernel == KERNEL

    def __str__(self) -> str:
        remark = "" if self.decides else " (shown, not deciding)"
        return f"{self.kind}, {self.data}, kernel {self.kernel:.2g}: {self.covered:.3f}{remark}"


@dataclass(frozen=True)
class Seeds:
    """Readings of S seeds: `column(name, loss)` is (S, E)."""

    values: dict[tuple[str, str], Array]
    etas: Array

    def column(self, name: str, loss: str) -> Array:
        return self.values[name, loss]

    @property
    def count(self) -> int:
        return len(self.values["nc1_test", "CE"])

    def keys(self, one_seed: bool = False) -> tuple[list[int], list[float]]:
        """The seed and eta of each run; all runs get the same seed if no interval is needed."""
        seeds = np.repeat(np.arange(self.count), len(self.etas))
        return (seeds * (not one_seed)).tolist(), np.tile(self.etas, self.count).tolist()

    def points(
        self, x: str, y: str, loss: str, log_x: bool = False, log_y: bool = False, whole: bool = False
    ) -> Points:
        a, b = self.column(x, loss).ravel(), self.column(y, loss).ravel()
        return Points.of(np.log(a) if log_x else a, np.log(b) if log_y else b, *self.keys(whole))


def committed() -> dict[str, Seeds]:
    """The committed readings of the ten seeds of each data set."""
    final = byrote.open(STORE).analysis.runs.where(part="figure-1", rate=lambda rate: rate > 0)
    by_data = {}
    for (data,), rows in final.groups("dataset"):
        etas, seeds = np.unique(rows["rate"]), np.unique(rows["seed"])
        values = {}
        for loss in LOSSES:
            own = rows.where(loss=loss)
            at = (np.searchsorted(seeds, own["seed"]), np.searchsorted(etas, own["rate"]))
            for name in COLUMNS:
                grid = np.full((len(seeds), len(etas)), np.nan)
                grid[at] = own[name]
                values[name, loss] = grid
        by_data[str(data)] = Seeds(values, etas)
    return by_data


def drawn(population: Seeds, count: int, width: float, rng: np.random.Generator) -> Seeds:
    """Draw `count` new seeds from the smoothed population."""
    names = list(population.values)
    blocks = [np.log(block) if name in POSITIVE else block for (name, _), block in population.values.items()]
    vectors = np.concatenate(blocks, axis=1)
    mean = vectors.mean(0)
    away = vectors - mean
    kernel = rng.standard_normal((count, len(away))) @ away / np.sqrt(len(away))
    new = mean + (away[rng.integers(len(away), size=count)] + width * kernel) / np.sqrt(1 + width**2)
    parts = np.split(new, len(names), axis=1)
    values = {key: np.exp(part) if key[0] in POSITIVE else part for key, part in zip(names, parts, strict=True)}
    return Seeds(values, population.etas)


Statistic = Callable[[Seeds, bool], Sample]


def _mean(name: str) -> Statistic:
    return lambda runs, whole: mean_over_seeds(runs.column(name, "CE")[:, 3], range(runs.count))


def _paired(name: str, log: bool = False) -> Statistic:
    def statistic(runs: Seeds, whole: bool) -> Sample:
        columns = (runs.column(name, loss).ravel() for loss in ("LS", "CE"))
        ls, ce = (np.log(column) if log else column for column in columns)
        return paired_difference((ls, *runs.keys()), (ce, *runs.keys()))

    return statistic


def _ratio(x: str) -> Statistic:
    return lambda runs, whole: runs.points(x, "nc1_test", "LS", whole=whole).log_slope_ratio(
        runs.points(x, "nc1_test", "CE", whole=whole)
    )


def _error_ratio(loss: str) -> Statistic:
    def statistic(runs: Seeds, whole: bool) -> Sample:
        mem, rate = (runs.points(x, "nc1_test", loss, whole=whole) for x in ("mem_noise_weighted", "effective_rate"))
        return mem.log_error_ratio(rate)

    return statistic


def _line(loss: str, of: Callable[[Points], Sample], log_x: bool = False, log_y: bool = False) -> Statistic:
    return lambda runs, whole: of(runs.points("mem_noise_weighted", "nc1_test", loss, log_x, log_y, whole))


def _spearman(runs: Seeds, whole: bool) -> Sample:
    nc1, error = (
        np.concatenate([runs.column(name, loss).ravel() for loss in LOSSES]) for name in ("nc1_test", "test_accuracy")
    )
    if whole:
        return Sample(np.zeros(0), (), "atanh", float(np.arctanh(stats.spearmanr(nc1, 1 - error).statistic)))
    return spearman(nc1, 1 - error, runs.keys()[0] * len(LOSSES))


def _distance(runs: Seeds, whole: bool) -> Sample:
    ce, ls = (runs.points("mem_noise_weighted", "nc1_test", loss, whole=whole) for loss in LOSSES)
    return ce.log_distance(ls)


DECIDE: dict[str, Statistic] = {
    "mean of mem at one eta": _mean("mem_mean"),
    "mean of test accuracy at one eta": _mean("test_accuracy"),
    "paired difference of mem": _paired("mem_mean"),
    "paired difference of relative mem": _paired("mem_relative"),
    "paired difference of test accuracy": _paired("test_accuracy"),
    "log ratio of slopes": _ratio("mem_noise_weighted"),
    "log ratio of relative slopes": _ratio("mem_noise_weighted_relative"),
    "log ratio of left-out errors, CE": _error_ratio("CE"),
    "log ratio of left-out errors, LS": _error_ratio("LS"),
    "Spearman, atanh": _spearman,
    "log relative distance of two curves": _distance,
    "slope of log NC1, CE": _line("CE", Points.slope, log_y=True),
    "slope of log NC1, LS": _line("LS", Points.slope, log_y=True),
}
SHOWN: dict[str, Statistic] = {
    "slope of NC1, CE": _line("CE", Points.slope),
    "slope of NC1, LS": _line("LS", Points.slope),
    "paired log difference of mem": _paired("mem_mean", log=True),
    "log-log slope, CE": _line("CE", Points.slope, log_x=True, log_y=True),
    "log-log slope, LS": _line("LS", Points.slope, log_x=True, log_y=True),
    "1 - R^2 of NC1 on mem, log, CE": _line("CE", Points.log_unexplained),
    "1 - R^2 of NC1 on mem, log, LS": _line("LS", Points.log_unexplained),
    "R^2, CE": _line("CE", Points.r_squared),
    "R^2, LS": _line("LS", Points.r_squared),
    "R^2 on log NC1, CE": _line("CE", Points.r_squared, log_y=True),
    "R^2 on log NC1, LS": _line("LS", Points.r_squared, log_y=True),
}


def coverage(repetitions: int, seeds: int = SEEDS) -> list[Row]:
    """The share of intervals of `seeds` seeds that contain the true value, for each kind and data set.

    Kinds of statistics that do not decide a claim are not repeated with the narrow kernel.
    """
    rows = []
    for number, (data, population) in enumerate(committed().items()):
        for width, groups in ((KERNEL, ((DECIDE, True), (SHOWN, False))), (NARROW, ((DECIDE, True),))):
            rng = np.random.default_rng([4, number])
            many = drawn(population, MANY, width, rng)
            samples = [drawn(population, seeds, width, rng) for _ in range(repetitions)]
            for kinds, decides in groups:
                for kind, statistic in kinds.items():
                    truth = statistic(many, True).whole
                    estimates = [statistic(sample, False).estimate() for sample in samples]
                    held = [interval.low <= truth <= interval.high for interval in estimates]
                    rows.append(Row(kind, data, float(np.mean(held)), decides, width))
    return rows
