"""Ten verdicts recomputed from the committed tables in plain Python, NumPy and scipy.stats.

Nothing here uses byrote's analysis, claims or intervals. The rules are those of docs/claims.md and docs/verdicts.md,
written out again in the slowest and most obvious way: a loop over runs, seeds and cells for everything.
"""

import json
import math
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import numpy as np
from scipy import stats

ROOT = Path(__file__).resolve().parents[2]
PAPERS = {
    "CE": {"kind": "cross_entropy"},
    "LS": {"kind": "label_smoothing", "alpha": 0.1},
    "RLL": {"kind": "robust_log", "alpha": 0.1},
    "nMSE": {"kind": "normalized_mse", "scale": 1.0},
}
DATA = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10"}
NETWORKS = {
    "mlp": "MLP",
    "inception_lite": "Inception-Lite",
    "resnet32": "ResNet-32",
    "resnet18": "ResNet-18",
    "cnn8": "CNN-8",
}
M, T, A = "corrupted_as_observed", "corrupted_as_true", "clean_accuracy"


@dataclass
class Run:
    """One finished run: its spec, and its readings at each epoch."""

    key: str
    spec: dict
    facts: dict
    epochs: list = field(default_factory=list)
    collapsed: bool = False
    bind: tuple = ()

    def __getitem__(self, column):
        """Return the last value of a column; NaN if there is none."""
        value = self.epochs[-1][column]
        return math.nan if value is None else float(value)

    @property
    def loss(self):
        return json.dumps(self.spec["loss"], sort_keys=True)

    @property
    def rate(self):
        """The nominal noise rate; NaN for recorded labels, which have no nominal rate."""
        return self.spec["noise"].get("rate", math.nan)

    @property
    def seed(self):
        return self.spec["seed"], self.spec["noise_seed"], self.spec["split_seed"]

    @property
    def start(self):
        return self.spec["start"] and self.spec["start"]["kind"]

    def setting(self, *without):
        """Return the spec without the loss, fields bound to it, the noise rate, the seeds and the fields `without`."""
        rest = json.loads(json.dumps(self.spec))
        rest["noise"].pop("rate", None)
        for path in self.bind:
            *parents, leaf = path.split(".")
            inner = rest
            for name in parents:
                inner = inner[name]
            del inner[leaf]
        for name in ("loss", "seed", "noise_seed", "split_seed", *without):
            del rest[name]
        return json.dumps(rest, sort_keys=True)

    @property
    def family(self):
        data, network, noise = (self.spec[name] for name in ("data", "network", "noise"))
        return json.dumps([data["kind"], data["classes"], network["kind"], noise["kind"]])


def rows_of(path):
    with duckdb.connect(":memory:") as connection:
        answer = connection.execute("SELECT * FROM read_parquet(?)", [str(path)])
        names = [column[0] for column in answer.description]
        return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]


def read(folder):
    """Read the runs of a results folder in the order of the study, and mark collapsed runs."""
    runs = []
    for row in rows_of(folder / "runs.parquet"):
        if row["status"] != "done":
            raise ValueError(f"run {row['key']} failed, which this module does not handle yet")
        runs.append(Run(row["key"], json.loads(row["spec"]), row, bind=tuple(json.loads(row["bind"]))))
    for row in sorted(rows_of(folder / "table.parquet"), key=lambda row: row["epoch"]):
        runs[row["run"]].epochs.append(row)
    distances = defaultdict(list)
    for run in runs:
        if math.isfinite(run["class_distance"]):
            distances[run.setting(), run.loss].append(run["class_distance"])
    for run in runs:
        usual = float(np.median(distances[run.setting(), run.loss]))
        run.collapsed = bool(run.epochs[-1]["collapsed"]) or run["class_distance"] < 0.01 * usual
    return runs


@dataclass
class Cell:
    """The usable runs of one setting, and whether it is the main setting of its family (the others are variations)."""

    runs: list
    speaks: bool
    number: int

    def at(self, loss, *rates):
        wanted = json.dumps(PAPERS[loss], sort_keys=True)
        return [run for run in self.runs if run.loss == wanted and (not rates or run.rate in rates)]

    def rates(self, *losses):
        """Return the noise rates above 0 at which every one of these losses was run."""
        each = [{run.rate for run in self.at(loss) if run.rate > 0} for loss in losses]
        return sorted(set.intersection(*each))

    @property
    def dataset(self):
        return DATA[self.runs[0].spec["data"]["kind"]]

    @property
    def head(self):
        """The beginning of the setting's title: data set and network."""
        classes, network = self.runs[0].spec["data"]["classes"], self.runs[0].spec["network"]["kind"]
        subject = f"{self.dataset} {'/'.join(map(str, classes))}" if classes else self.dataset
        return f"{subject}, {NETWORKS[network]}"


def cells(runs, *varied):
    """Group runs by setting, without collapsed runs and, unless `varied` has "start", runs from other weights."""
    groups = defaultdict(list)
    for run in runs:
        groups[run.setting(*varied)].append(run)
    speaking = {}
    for group in groups.values():  # the main setting of a family is the one with the most runs, or the first of several
        family = group[0].family
        if family not in speaking or len(group) > len(speaking[family]):
            speaking[family] = group
    cells_seen = []
    for number, group in enumerate(groups.values()):
        usable = [run for run in group if not run.collapsed and (run.start is None or "start" in varied)]
        if usable:
            cells_seen.append(Cell(usable, speaking[group[0].family] is group, number))
    return cells_seen


def by_seed(runs, reading):
    """Return one value per seed: the mean over the seed's runs that have a value."""
    values = defaultdict(list)
    for run in runs:
        value = reading(run) if callable(reading) else run[reading]
        if math.isfinite(value):
            values[run.seed].append(value)
    return {seed: float(np.mean(own)) for seed, own in values.items()}


def mean(runs, column):
    values = list(by_seed(runs, column).values())
    return float(np.mean(values)) if values else math.nan


def paired(first, second, column):
    """Subtract second from first at equal seed and rate, and average over the rates of each seed."""
    differences = defaultdict(list)
    for one in first:
        for other in second:
            if one.seed == other.seed and one.rate == other.rate and math.isfinite(one[column] - other[column]):
                differences[one.seed].append(one[column] - other[column])
    return {seed: float(np.mean(own)) for seed, own in differences.items()}


def samples(runs, column):
    """Return how many samples, in all runs together, a share is a fraction of; 0 for a reading that is not a share."""
    total = 0.0
    for run in runs:
        n, rho = run.facts["n_train"], run["realised_rate"]
        counts = {"j1": n, "j2": n, M: n * rho, T: n * rho, A: n * (1 - rho), "test_accuracy": run.facts["n_test"]}
        total += counts.get(column, 0)
    return total


def one_sample(column, *groups):
    return max((1 / samples(runs, column) if samples(runs, column) else 0.0) for runs in groups)


def wilson_error(runs, column):
    """Return the half-width of Wilson's 95% interval for the mean share of all samples, divided by 1.96."""
    p, n, z = mean(runs, column), samples(runs, column), stats.norm.ppf(0.975)
    center = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (min(center + half, 1.0) - max(center - half, 0.0)) / 2 / z


@dataclass
class Check:
    """A statistic in a cell (a setting, mostly at one rate): a value per seed, and the region where the claim holds."""

    cell: Cell
    rate: float | None
    what: str
    values: dict
    region: tuple
    floor: float = 0.0
    unmet: bool = False
    scale: str = "plain"

    @property
    def place(self):
        return self.cell.number, self.rate

    @property
    def n(self):
        return len(self.values)

    @property
    def value(self):
        return sum(self.values.values()) / self.n

    @property
    def error(self):
        """The standard error of the mean over seeds, but no less than the floor."""
        squares = sum((value - self.value) ** 2 for value in self.values.values())
        return max(math.sqrt(squares / (self.n - 1) / self.n) if self.n > 1 else 0.0, self.floor)

    @property
    def ends(self):
        return interval(self.value, self.error, self.n - 1)

    @property
    def p_outside(self):
        """The p-value against "the value is inside the region": the smaller one-sided p."""
        return smaller_p(self.value, self.error, self.n - 1, self.region)

    @property
    def p_inside(self):
        """The p-value against "the value is outside the region": the larger of two one-sided p."""
        if self.n < 2:
            return 1.0
        below = stats.t.sf((self.value - self.region[0]) / self.error, self.n - 1)
        above = stats.t.sf((self.region[1] - self.value) / self.error, self.n - 1)
        return float(max(below, above))

    @property
    def inside(self):
        low, high = self.ends
        return self.region[0] <= low and high <= self.region[1]

    @property
    def wrong(self):
        return not self.region[0] <= self.value <= self.region[1]

    @property
    def verdict(self):
        if self.unmet or self.n < 3:
            return "open"
        return "inside" if self.inside else "outside" if self.p_outside <= 0.025 else "open"


def interval(value, error, df):
    if df < 1:
        return -math.inf, math.inf
    half = float(stats.t.ppf(0.975, df)) * error
    return value - half, value + half


def smaller_p(value, error, df, region):
    if df < 1:
        return 1.0
    return float(min(stats.t.cdf((value - region[0]) / error, df), stats.t.cdf((region[1] - value) / error, df)))
