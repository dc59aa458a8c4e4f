"""Theory figures show computed numbers in the colors of the losses, and stay within the limit on rows."""

import json

import numpy as np
import pytest

from byrote import theory
from byrote.figures import save
from byrote.figures.theory_collapse import collapse_diagram
from byrote.figures.theory_gallery import theory_figures
from byrote.figures.theory_model import model_plane
from byrote.figures.theory_noise import dilation_against_noise
from byrote.figures.theory_order import order_map
from byrote.figures.theory_paths import two_minima


def _tables(chart):
    tables = []

    def walk(node):
        if isinstance(node, dict):
            if isinstance(node.get("values"), list) and node["values"] and isinstance(node["values"][0], dict):
                tables.append(node["values"])
            for part in node.values():
                walk(part)
        elif isinstance(node, list):
            for part in node:
                walk(part)

    walk(chart.to_dict())
    return tables


def test_the_model_is_to_scale():
    solved = theory.dilation(alpha=0.1, eta=0.05)
    tables = _tables(model_plane({"LS": solved}, points=50))
    points = {(round(row["x"], 6), round(row["y"], 6)) for table in tables for row in table}
    a = solved.feature_norm
    for x, y in ((a, 0), (0, a), (solved.along, solved.across), (solved.across, solved.along)):
        assert (round(x, 6), round(y, 6)) in points
    cloud = np.array([[row["x"] - a, row["y"]] for table in tables for row in table if row.get("of") == "observed 1"])
    assert np.sqrt((cloud**2).sum(axis=1).mean()) == pytest.approx(solved.r, rel=1e-12)
    with pytest.raises(ValueError, match="each at a single parameter point"):
        model_plane({"LS": theory.dilation(eta=np.array([0.1, 0.2]))})


def test_collapse_cells_and_lines():
    tables = _tables(collapse_diagram((2, 5)))
    cells = [row for table in tables for row in table if "gap" in row]
    assert 1000 < len(cells) < 5000
    for row in cells[::211]:
        root, alpha = np.sqrt(row["x"] * row["x2"] / 1.02), (row["y"] + row["y2"] - 0.002) / 2
        gaps = [theory.layer_peeled(N, alpha, root, root).gap for N in (2, 5)]
        assert min(abs(row["gap"] - gap) for gap in gaps) < 1e-9
    strips = [table for table in tables if {"x", "x2", "y"} == set(table[0])]
    for table in strips:
        for row in table[1:-1:20]:
            inside = np.sqrt(row["x"] * row["x2"])
            N = 2 if table is strips[0] else 5
            exact, printed = theory.thresholds(N, row["y"], inside, inside)
            assert exact < 0 < printed


def test_the_order_map_and_its_border():
    tables = _tables(order_map(0.1, 1e-3, ("circle",)))
    cells = next(table for table in tables if "ratio" in table[0])
    assert len(cells) < 5000
    for row in cells[::307]:
        eta, slope = np.sqrt(row["x"] * row["x2"] / 1.02), np.sqrt(row["y"] * row["y2"] / 1.02)
        order = theory.order_of_dilations(theory.Problem(eta=eta, slope=slope))
        assert row["ratio"] == pytest.approx(order.ratio, rel=1e-9)
    assert any(row["ratio"] < 1 for row in cells)


def test_curves_against_noise_are_solutions():
    chart = dilation_against_noise()
    rows = [row for table in _tables(chart) for row in table if row.get("loss") == "LS" and "dilation" in row]
    eta = rows[100]["eta"]
    values = {round(row["dilation"], 9) for row in rows if row["eta"] == eta}
    assert round(theory.dilation(eta=eta).dilation, 9) in values
    colors = json.dumps(chart.to_dict())
    for color in ("#0072B2", "#D55E00", "#CC79A7", "#009E73"):
        assert color in colors


def test_two_minima_are_drawn():
    tables = [table for table in _tables(two_minima(points=3)) if "minimum" in table[0]]
    assert [any(row["minimum"] == "local minimum" for row in table) for table in tables] == [False, False, True, True]


def test_the_gallery_writes_files(tmp_path):
    (figure,) = theory_figures("theory-noise")
    assert "lambda_W" in figure.caption
    for path in save(figure, tmp_path):
        assert path.stat().st_size > 1000
    with pytest.raises(ValueError, match="expected one of the theory figures"):
        theory_figures("nothing")
