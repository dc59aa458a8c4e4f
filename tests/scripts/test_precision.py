"""The comparison of precisions is right on small tables, and the committed page agrees with the committed runs."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

import byrote
from byrote.table import Table

ROOT = Path(__file__).resolve().parent.parent.parent
spec = importlib.util.spec_from_file_location("precision", ROOT / "scripts" / "precision.py")
precision = importlib.util.module_from_spec(spec)
sys.modules["precision"] = precision
spec.loader.exec_module(precision)


def history_of(shift):
    """Make five seeds of one cell; every measure differs by `shift` between bf16 and fp32."""
    rows = []
    for seed, value in enumerate((0.50, 0.52, 0.54, 0.56, 0.58)):
        for kind in ("fp32", "bf16"):
            moved = value + (shift if kind == "bf16" else 0.0)
            rows.append(
                {
                    "key": f"{kind}{seed}",
                    "epoch": 1,
                    "seed": seed,
                    "training.precision": kind,
                    "num_classes": 2,
                    "loss": "CE",
                }
                | {"num_classes": 2, "loss": "CE", "rate": 0.2, "collapsed": False}
                | dict.fromkeys(precision.MEASURES, moved)
            )
    return Table.of(rows)


@pytest.mark.parametrize(("shift", "within"), [(0.0, True), (0.02, True), (0.05, False), (-0.05, False)])
def test_a_shift_is_held_against_the_spread_over_seeds(shift, within):
    for one in precision.shifts(history_of(shift)):
        assert one.seeds == 5
        assert one.shift == pytest.approx(shift, abs=1e-12)
        assert one.spread == pytest.approx(np.std([0.5, 0.52, 0.54, 0.56, 0.58], ddof=1))
        assert one.within is within


def test_the_committed_runs_pass_and_the_page_shows_them():
    comparisons = precision.shifts(byrote.open(ROOT / "results" / "small" / "precision").analysis.table())
    assert len(comparisons) == 70
    assert {s.seeds for s in comparisons} == {5, 10}
    assert {(s.cell[:10], s.measure) for s in comparisons if not s.within} == {("10 classes", "nc1_test")}
    assert precision.page(comparisons) in (ROOT / "docs" / "precision.md").read_text("utf-8")
