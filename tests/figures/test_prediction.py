"""The figure of predicted against measured values shows every point of the fit; none is dropped silently."""

import numpy as np
import pytest

from byrote import figures
from byrote.analysis.lines import printed
from byrote.analysis.model_fit import fit_history
from figures import made
from figures.made import analysis


def points(figure, panel):
    """Return the marks of one panel."""
    names = {layer["data"]["name"] for layer in figure.spec["concat"][panel]["layer"]}
    return [row for name in names for row in figure.spec["datasets"][name] if "eta" in row]


def cells(losses, seeds=3, rates=(0.0, 0.1, 0.2, 0.4), **facts):
    return made.runs(made.Cells(made.TWO | facts, losses, rates, seeds=seeds, every=60))


@pytest.fixture(scope="module")
def table():
    return cells(("CE", "LS", "MSE"))


def test_marks_are_the_fits_predictions(table):
    (figure,) = figures.draw(analysis(table), "prediction")
    fit = fit_history(table.final())
    for place, (variant, quantity) in enumerate(
        (variant, quantity) for variant in ("raw", "scale-free") for quantity in ("memorization", "dilation")
    ):
        drawn = {(row["loss"], row["eta"]): (row["predicted"], row["measured"]) for row in points(figure, place)}
        assert drawn == {
            (one.loss, one.eta): tuple(
                printed(getattr(one, f"{side}_{quantity}")).value for side in ("predicted", "measured")
            )
            for one in fit.predictions
            if one.variant == variant
        }
        assert len(drawn) == 9
    encoding = figure.spec["concat"][0]["layer"][-1]["encoding"]
    assert (encoding["x"]["field"], encoding["y"]["field"]) == ("predicted", "measured")


def test_measured_memorization_is_eta_times_the_mean(table):
    (figure,) = figures.draw(analysis(table), "prediction")
    last = table.final().where(loss="LS", rate=0.2)
    eta = last["realised_rate"] / (1 - last["realised_rate"])
    measured = [row["measured"] for row in points(figure, 0) if row["loss"] == "LS"]
    assert np.mean(eta * last["mem_mean"]) == pytest.approx(sorted(measured)[1])


def test_both_axes_have_one_range_and_marks_lie_in_it(table):
    (figure,) = figures.draw(analysis(table), "prediction")
    for place, panel in enumerate(figure.spec["concat"]):
        encoding = panel["layer"][-1]["encoding"]
        low, high = encoding["x"]["scale"]["domain"]
        assert encoding["y"]["scale"]["domain"] == [low, high]
        for row in points(figure, place):
            assert all(low < row[name] < high for name in ("predicted", "measured"))
            assert all(low <= value <= high for name, value in row.items() if name.endswith(("_low", "_high")))


def test_one_seed_has_no_intervals():
    (figure,) = figures.draw(analysis(cells(("CE", "LS"), seeds=1)), "prediction")
    for row in points(figure, 0):
        assert row["measured_low"] == row["measured"] == row["measured_high"]


def test_losses_without_a_model_and_collapsed_runs_are_named():
    history = cells(("CE", "LS", "nMSE"), seeds=3)
    key = history.where(loss="LS", rate=0.2, seed=0)["key"][0]
    rows = made.collapse(history, key).rows()
    for row in rows:
        row |= {"nc1_test": 90.0, "class_distance": 1.0} if row["collapsed"] else {}
    (figure,) = figures.draw(analysis(type(history).of(rows)), "prediction")
    assert "The model does not cover nMSE." in figure.caption
    assert "n: 24 runs (3 seeds per cell); left out: 1 collapsed run" in figure.caption
    assert {row["loss"] for row in points(figure, 0)} == {"CE", "LS"}
    assert max(row["measured"] for row in points(figure, 1)) < 1


def test_nothing_is_drawn_where_the_model_cannot_be_fitted(table):
    for part in (
        table.where(loss="CE"),
        table.where(rate=(0.0, 0.2)),
        table.with_column("noise", ["symmetric"] * len(table)),
        table.with_column("feature_width", [8] * len(table)),
        table.with_column("class_distance", [1.0] * len(table)),  # no choice of penalties gives equal distances
    ):
        assert figures.draw(analysis(part), "prediction") == []


def test_a_setting_without_penalties_is_named_beside_one_that_has_them(table):
    other = cells(("CE", "LS"), dataset="mnist")
    flat = other.with_column("class_distance", [1.0] * len(other))
    (figure,) = figures.draw(analysis(type(table).concat([table, flat])), "prediction")
    assert "No penalties and slope reproduce CE and LS in MNIST 0/1, MLP." in figure.caption
    assert len(figure.spec["concat"]) == 4
