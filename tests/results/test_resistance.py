"""The table of m by images per class equals loops over the stored rows, and the committed file equals the table."""

import csv
import importlib.util
import math
from collections import defaultdict

import numpy as np
import pytest
from scipy import stats

import byrote

from .recomputed import ROOT, read

spec = importlib.util.spec_from_file_location("resistance", ROOT / "scripts" / "resistance.py")
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)
NAMES = {
    '{"kind": "cross_entropy"}': "CE",
    '{"alpha": 0.1, "kind": "robust_log"}': "RLL",
    '{"kind": "normalized_mse", "scale": 1.0}': "nMSE",
}


def slow(folder):
    """Collect values over seeds by (images, loss, eta, reading), for the ten-class MLP setting with the most sizes."""
    families = defaultdict(lambda: defaultdict(list))
    for run in read(folder):
        if run.spec["data"]["classes"] is None and run.spec["network"]["kind"] == "mlp" and run.loss in NAMES:
            data = {name: value for name, value in run.spec["data"].items() if name != "per_class"}
            other = run.setting("data") + str(data)
            for name, column in script.READINGS.items():
                value = run[column]
                if not run.collapsed and not math.isnan(value):
                    key = (run.spec["data"]["per_class"], NAMES[run.loss], run.rate, name)
                    families[other][key].append(value)
    return max(families.values(), key=lambda cells: (len({key[0] for key in cells}), len(cells)))


@pytest.mark.parametrize("store", ["small/robust", "medium/loss-function"])
def test_the_table_is_that_of_slow_loops(store):
    folder = ROOT / "results" / store
    written = {
        (r["images_a_class"], r["loss"], r["eta"], r["reading"]): r for r in script.rows(byrote.open(folder).analysis)
    }
    wanted = slow(folder)
    assert {key for key in written if key[1] in NAMES.values()} == set(wanted)
    for key, values in wanted.items():
        row, n = written[key], len(values)
        half = stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / math.sqrt(n)
        assert row["seeds"] == n
        assert row["value"] == pytest.approx(np.mean(values), rel=1e-9)
        assert row["low"] == pytest.approx(np.mean(values) - half, rel=1e-6, abs=1e-9)
        assert row["high"] == pytest.approx(np.mean(values) + half, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(("scale", "study"), [("small", "robust"), ("medium", "loss-function")])
def test_the_committed_table_and_page_are_those_of_the_committed_runs(scale, study):
    again = list(script.rows(byrote.open(ROOT / "results" / scale / study).analysis))
    with (ROOT / "results" / scale / "resistance.csv").open(encoding="utf-8", newline="") as file:
        stored = list(csv.DictReader(file))
    assert len(stored) == len(again) > 0
    for one, other in zip(stored, again, strict=True):
        for name in ("images_a_class", "loss", "eta", "reading", "seeds"):
            assert one[name] == str(other[name])
        for name in ("value", "low", "high"):
            assert float(one[name]) == pytest.approx(other[name], rel=1e-6, abs=1e-9, nan_ok=True)
    page = (ROOT / "docs" / "resistance.md").read_text("utf-8")
    for reading in script.ON_PAGE:
        name = f"{reading}, {scale}"
        assert f"<!-- {name} -->\n{script.table(again, reading)}\n<!-- end {name} -->" in page
