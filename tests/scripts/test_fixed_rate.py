"""The committed table of NC1 against mem at one noise rate equals slow loops over the stored rows."""

import csv
import importlib.util
import json
import math
from collections import defaultdict
from pathlib import Path

import duckdb
import numpy as np
import pytest
from scipy import stats

ROOT = Path(__file__).resolve().parent.parent.parent
STORE = ROOT / "results" / "medium" / "mechanism"
spec = importlib.util.spec_from_file_location("fixed_rate", ROOT / "scripts" / "fixed_rate.py")
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)


@pytest.fixture(scope="module")
def table():
    with (ROOT / "results" / "medium" / "fixed_rate.csv").open(encoding="utf-8", newline="") as file:
        return {(row["loss"], row["predictor"], row["compared"]): row for row in csv.DictReader(file)}


def points():
    """Return the last readings of each setting, by loss and seed."""
    with duckdb.connect(":memory:") as connection:
        runs = connection.execute(
            "SELECT key, loss, spec FROM read_parquet(?)", [str(STORE / "runs.parquet")]
        ).fetchall()
        names = "key, epoch, nc1_test, class_distance, mem_noise_weighted, mem_noise_weighted_relative, collapsed"
        history = connection.execute(f"SELECT {names} FROM read_parquet(?)", [str(STORE / "table.parquet")]).fetchall()
    last = {}
    for key, _epoch, *readings in sorted(history, key=lambda row: row[1]):
        last[key] = readings
    by_seed = defaultdict(dict)
    for key, loss, text in runs:
        one = json.loads(text)
        if one["noise"]["rate"] == 0.2 and one["seed"] < 10 and not last[key][4]:
            setting = (one["training"]["optimizer"]["weight_decay"], one["training"]["epochs"])
            by_seed[loss, one["seed"]][setting] = last[key][:4]
    return by_seed


def deviations(values, settings, within):
    """Subtract a mean from each value: over the same weight decay, over the same length, or over all values."""
    place = {"all settings": None, "one weight decay": 0, "one length": 1}[within]
    less = []
    for value, setting in zip(values, settings, strict=True):
        alike = [
            v for v, other in zip(values, settings, strict=True) if place is None or other[place] == setting[place]
        ]
        less.append(value - sum(alike) / len(alike))
    return less


def test_the_committed_table_is_that_of_slow_loops(table):
    by_seed = points()
    predictors = {"mem": lambda r: r[2], "mem / D": lambda r: r[3], "1/D^2": lambda r: 1 / r[1] ** 2}
    assert len(table) == 2 * 3 * 3
    for (loss, name, within), row in table.items():
        values = []
        for seed in range(10):
            settings = sorted(by_seed[loss, seed])
            x = deviations([predictors[name](by_seed[loss, seed][one]) for one in settings], settings, within)
            y = deviations([by_seed[loss, seed][one][0] for one in settings], settings, within)
            values.append(
                sum(a * b for a, b in zip(x, y, strict=True)) / math.sqrt(sum(a * a for a in x) * sum(b * b for b in y))
            )
        mean, half = np.mean(values), stats.t.ppf(0.975, 9) * np.std(values, ddof=1) / math.sqrt(10)
        assert float(row["value"]) == pytest.approx(mean, rel=1e-9)
        assert float(row["low"]) == pytest.approx(mean - half, rel=1e-6, abs=1e-9)
        assert float(row["high"]) == pytest.approx(mean + half, rel=1e-6, abs=1e-9)
        assert (row["settings"], row["seeds"]) == ("12", "10")


def test_groups_are_compared_within_themselves():
    rng = np.random.default_rng(0)
    x, group = rng.standard_normal(12), np.repeat([0, 1, 2], 4)
    assert script.correlation(x, 2 * x + 10 * group, group) == pytest.approx(1)
    assert script.correlation(x, -x + 10 * group, group) == pytest.approx(-1)
    y = rng.standard_normal(12)
    assert script.correlation(x, y, np.zeros(12, dtype=int)) == pytest.approx(np.corrcoef(x, y)[0, 1])
