"""The figure of how many images a loss needs to resist noise, from one setting at three or more training set sizes."""

import re

import numpy as np
import pytest
from stored import results_of

from byrote import figures
from byrote.analysis import Analysis
from byrote.intervals import student

SIZES = (100, 500, 2000)
M = "corrupted_as_observed"
OTHERS = {"j1": 0.9, "j2": 0.9, "realised_rate": 0.2}


def m_of(loss, rate, size, seed):
    return {"CE": 0.99, "RLL": 40 / size**0.9}[loss] * (1 - 0.05 * rate) - 0.01 * seed


def rows(losses=("CE", "RLL"), rates=(0.0, 0.2, 0.4), sizes=SIZES, seeds=3):
    return [
        {"key": f"{loss}-{rate}-{size}-{seed}", "loss": loss, "alpha": 0.1 if loss == "RLL" else None, "rate": rate}
        | {"seed": seed, "noise": "symmetric", "n_train": 10 * size, "n_test": 100, "num_classes": 10, "epochs": 10}
        | {"feature_width": 64, "epoch": 10, M: m_of(loss, rate, size, seed) if rate else np.nan, **OTHERS}
        | {"spec": {"data.per_class": size}}
        for loss in losses
        for rate in rates
        for size in sizes
        for seed in range(seeds)
    ]


def drawn(table):
    return figures.draw(Analysis.of(results_of(table)), "images-a-class")


def points(figure):
    return [row for data in figure.spec["datasets"].values() for row in data if {"images", M} <= row.keys()]


def test_each_point_is_the_mean_over_seeds_with_its_interval():
    (one,) = drawn(rows())
    assert [panel["title"]["text"] for panel in one.spec["concat"]] == ["η .2", "η .4"]
    by_cell = {}
    for row in points(one):
        by_cell.setdefault((row["loss"], row["images"]), set()).add((row[M], row[f"{M}_low"], row[f"{M}_high"]))
    for loss in ("CE", "RLL"):
        for size in SIZES:
            for rate in (0.2, 0.4):
                sample = np.array([m_of(loss, rate, size, seed) for seed in range(3)])
                low, high = map(float, student(sample))
                wanted = pytest.approx((sample.mean(), low, min(high, 1.0)), abs=1e-9)
                assert any(values == wanted for values in by_cell[loss, size]), (loss, size, rate)
    assert len(by_cell) == 6
    assert "n: 36 runs (3 seeds per cell)" in one.caption
    assert re.search(r"<svg", one.svg())


def test_the_axis_is_logarithmic_and_the_bar_of_b3_is_drawn():
    (one,) = drawn(rows())
    layers = one.spec["concat"][0]["layer"]
    (axis,) = {
        str(layer["encoding"]["x"]["scale"]["type"]) for layer in layers if "scale" in layer["encoding"].get("x", {})
    }
    assert axis == "log"
    assert {"datum": 0.1} in [layer["encoding"].get("y") for layer in layers]


def test_losses_and_rates_without_three_sizes_are_left_out():
    (one,) = drawn([*rows(losses=("CE",), rates=(0.2,)), *rows(losses=("RLL",), rates=(0.2, 0.4), sizes=SIZES[:2])])
    assert {row["loss"] for row in points(one)} == {"CE"}
    assert len(one.spec["concat"]) == 1
    assert drawn(rows(sizes=SIZES[:2])) == []
    assert drawn(rows(rates=(0.0,))) == []
