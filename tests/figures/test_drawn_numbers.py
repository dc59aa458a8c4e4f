"""The numbers that figures draw equal slow and obvious computations from the rows of the table."""

import json

import numpy as np
import pytest

from byrote import figures
from byrote.analysis.series import DATA, one_each, rated
from byrote.figures.feature_plane import landmarks
from byrote.figures.observed_and_true import published_finals
from byrote.table import Table
from figures import made
from figures.made import analysis


def drawn_rows(figure, *names):
    """Return the rows with the named fields from all Vega data sets of a figure."""
    every = [row for rows in figure.spec["datasets"].values() for row in rows]
    return [row for row in every if all(name in row for name in names)]


def test_dropout_and_starting_weights_make_a_setting_of_their_own():
    base = made.runs(made.Cells(made.TWO | {"dropout": 0.0}, ("CE", "RLL"), (0.2,), seeds=2, every=30))
    dropped = made.runs(made.Cells(made.TWO | {"part": "b10", "dropout": 0.5}, ("CE",), (0.2,), seeds=2))
    started = made.runs(made.Cells(made.TWO | {"part": "c4", "dropout": 0.0, "start": "CE"}, ("RLL",), (0.2,), seeds=2))
    settings = made.analysis(Table.concat([base, dropped, started])).settings
    assert {(one.title, len(one.runs)) for one in settings} == {
        ("Fashion-MNIST subset 0/1, MLP", 4),
        ("Fashion-MNIST subset 0/1, MLP, dropout 0.5", 2),
        ("Fashion-MNIST subset 0/1, MLP, started under cross entropy", 2),
    }


def test_unequal_classes_of_one_total_are_another_setting():
    equal = made.runs(made.Cells(made.TWO | {"balance": "equal"}, ("CE",), (0.1, 0.2), seeds=2))
    unequal = made.runs(made.Cells(made.TWO | {"part": "imbalance", "balance": "900,100"}, ("CE",), (0.2,), seeds=2))
    analysis = made.analysis(Table.concat([equal, unequal]))
    assert {(one.title, len(one)) for one in rated(analysis)} == {
        ("Fashion-MNIST subset 0/1, MLP", 4),
        ("Fashion-MNIST subset 0/1, MLP, balance 900,100", 2),
    }
    assert [one.setting.fields["data.balance"] for one in one_each(rated(analysis), DATA)] == ["equal"]


def test_figure_1_draws_the_runs_and_their_means(demo_table):
    (figure,) = figures.draw(analysis(demo_table.where(num_classes=2)), "memorization-dilation")
    last = demo_table.where(num_classes=2, epochs=60).final()
    runs = {
        (row["loss"], row["rate"], row["seed"]): (row["mem_noise_weighted"], row["nc1_test"])
        for row in drawn_rows(figure, "seed", "mem_noise_weighted", "nc1_test")
    }
    for row in last.rows():
        assert runs[row["loss"], row["rate"], row["seed"]] == (row["mem_noise_weighted"], row["nc1_test"])
    means = {
        (row["loss"], row["rate"], row["nc1_test_n"]): row["nc1_test"]
        for row in drawn_rows(figure, "nc1_test_n", "mem_noise_weighted")
    }
    for loss, n in (("CE", 5), ("MSE", 3)):
        assert means[loss, 0.2, n] == pytest.approx(last.where(loss=loss, rate=0.2)["nc1_test"].mean())


def test_figure_1_draws_the_line_of_each_loss(demo_table, drawn):
    figure = drawn["memorization-dilation"]
    last = demo_table.where(num_classes=2, epochs=60).final()
    x, y = last.where(loss="LS")["mem_noise_weighted_relative"], np.sqrt(last.where(loss="LS")["nc1_test"])
    slope, intercept = np.polyfit(x, y, 1)
    ends = [
        (row["mem_noise_weighted_relative"], row["sqrt_nc1_test"])
        for row in drawn_rows(figure, "mem_noise_weighted_relative", "sqrt_nc1_test")
        if row["loss"] == "LS" and "rate" not in row
    ]
    assert ends == [pytest.approx((at, intercept + slope * at)) for at in (x.min(), x.max())]
    r2 = np.corrcoef(x, y)[0, 1] ** 2
    headings = [" ".join(panel["title"]["subtitle"]) for panel in figure.spec["concat"]]
    assert f"LS .{round(100 * r2)}" in headings[3]


def test_swapping_two_losses_names_swaps_what_is_drawn(demo_table, drawn):
    swap = {"CE": "RLL", "RLL": "CE"}
    renamed = demo_table.with_column("loss", [swap.get(loss, loss) for loss in demo_table["loss"]])
    (other,) = figures.draw(analysis(renamed), "wrong-labels")
    end = lambda figure, loss: {  # noqa: E731
        round(row["corrupted_as_observed"], 9)
        for row in drawn_rows(figure, "corrupted_as_observed")
        if row["loss"] == loss and row["epoch"] == 60
    }
    assert end(other, "RLL") == end(drawn["wrong-labels"], "CE") != end(drawn["wrong-labels"], "RLL")


def test_collapsed_runs_are_left_out_and_named(demo_table):
    key = demo_table.where(loss="MSE", rate=0.2, seed=0)["key"][0]
    history = made.collapse(demo_table, key)
    (figure,) = figures.draw(analysis(history), "memorization-dilation")
    assert "left out: 1 collapsed run, without NC1" in figure.caption
    points = drawn_rows(figure, "seed", "nc1_test")
    assert not [row for row in points if (row["loss"], row["rate"], row["seed"]) == ("MSE", 0.2, 0)]
    assert [row for row in points if (row["loss"], row["rate"], row["seed"]) == ("MSE", 0.2, 1)]
    (figure,) = figures.draw(analysis(history), "wrong-labels")
    assert "collapsed" not in figure.caption


def test_curves_are_means_of_j1_and_j2(demo_table, drawn):
    ten = demo_table.where(num_classes=10, loss="RLL", rate=0.4, epoch=30)
    drawn_at = {
        row["measure"][:2]: row["value"]
        for row in drawn_rows(drawn["observed-and-true"], "measure", "value_low")
        if row["loss"] == "RLL" and row["epoch"] == 30 and row["value"] in (ten["j1"][0], ten["j2"][0])
    }
    assert drawn_at == {"J1": ten["j1"][0], "J2": ten["j2"][0]}


def test_published_finals_stand_where_data_and_network_match(matters, demo):
    by = {one.setting.fields["network.kind"]: one for one in rated(matters)}
    assert published_finals(by["inception_lite"], "RLL", 0.4) == pytest.approx({"j1": 0.655, "j2": 0.849})
    assert published_finals(by["resnet32"], "RLL", 0.4) == pytest.approx({"j1": 0.71})
    assert published_finals(by["resnet18"], "RLL", 0.3) == {}
    assert published_finals(by["resnet18"], "LS", 0.4) == {}
    assert published_finals(rated(demo)[0], "RLL", 0.4) == {}


def test_published_finals_are_drawn(matters_table):
    part = matters_table.where(network="inception_lite", loss=("CE", "RLL"), seed=0)
    (figure,) = figures.draw(analysis(part), "observed-and-true")
    marks = {(row["measure"], row["value"]) for row in drawn_rows(figure, "filled")}
    assert ("published J2, true label", 0.849) in {(name, round(value, 6)) for name, value in marks}
    assert len(marks) >= 9
    assert "final values in the figures of LF" in figure.caption


def test_landmarks_against_a_loop():
    rows = [
        {"key": "a", "split": "test", "id": 0, "true": 0, "observed": 0, "x": 4.0, "y": 0.0},
        {"key": "a", "split": "test", "id": 1, "true": 0, "observed": 0, "x": 6.0, "y": 0.0},
        {"key": "a", "split": "test", "id": 2, "true": 1, "observed": 1, "x": 0.0, "y": 5.0},
        {"key": "a", "split": "train", "id": 0, "true": 0, "observed": 0, "x": 9.0, "y": 9.0},
        {"key": "a", "split": "train", "id": 1, "true": 1, "observed": 0, "x": 3.0, "y": 2.0},
        {"key": "a", "split": "train", "id": 2, "true": 0, "observed": 1, "x": 2.0, "y": 3.0},
    ]
    places = {name: at.tolist() for name, at in landmarks(Table.of(rows)).items()}
    assert places == {"h1": [5.0, 0.0], "h2": [0.0, 5.0], "u1": [3.0, 2.0], "u2": [2.0, 3.0]}


def test_the_feature_plane_joins_h2_with_u1(demo, drawn, demo_table):
    figure = drawn["feature-plane"]
    assert [panel["title"]["text"] for panel in figure.spec["concat"]] == ["CE, η .2", "LS, η .2"]
    key = demo_table.where(loss="CE", rate=0.2, seed=0, epochs=60)["key"][0]
    at = landmarks(demo.results.features.where(key=key))
    lines = [rows for rows in figure.spec["datasets"].values() if len(rows) == 2 and set(rows[0]) == {"x", "y"}]
    ends = [[(row["x"], row["y"]) for row in rows] for rows in lines]
    assert [tuple(at["h2"]), tuple(at["u1"])] in ends
    assert [tuple(at["h1"]), tuple(at["u2"])] in ends


def test_resistance_draws_the_line_between_the_two_ways_of_knowing(demo_table):
    part = demo_table.where(num_classes=10)
    (figure,) = figures.draw(analysis(part), "resistance")
    rho = part.where(rate=0.4)["realised_rate"].mean()
    ends = [rows for rows in figure.spec["datasets"].values() if len(rows) == 2 and set(rows[0]) == {"j1", "j2"}]
    assert [{"j1": pytest.approx(1 - rho), "j2": 1.0}, {"j1": 1.0, "j2": pytest.approx(1 - rho)}] in ends


def test_feature_widths_are_panels_of_one_family():
    facts = made.TWO | {"dataset": "mnist"}
    tables = [
        made.runs(made.Cells(facts | {"feature_width": width}, losses, (0.0, 0.2, 0.4), seeds=2, every=60))
        for width, losses in ((2, ("CE", "LS", "MSE")), (5, ("CE", "LS")), (16, ("CE", "LS")))
    ]
    (figure,) = figures.draw(analysis(Table.concat(tables)), "feature-width")
    assert [panel["title"]["text"] for panel in figure.spec["concat"]] == ["M = 2", "M = 5", "M = 16"] * 2
    assert {row["loss"] for row in drawn_rows(figure, "loss")} == {"CE", "LS"}
    assert figure.caption.startswith("MNIST 0/1, MLP: ")
    assert "12 runs (2 seeds per cell) of M = 16." in figure.caption
    assert figures.draw(analysis(tables[0]), "feature-width") == []


def test_a_loss_at_one_rate_has_no_family_of_curves(matters, matters_table):
    rows = matters_table.where(loss="RLL", rate=0.4, network="resnet32").rows()
    other = Table.of([row | {"alpha": 0.45, "key": f"{row['key']}-45"} for row in rows])
    more = analysis(Table.concat([matters_table, other]))
    names = ("training-accuracy", "observed-and-true")
    for one, plain in zip(figures.draw(more, *names), figures.draw(matters, *names), strict=True):
        titles = [sorted(json.dumps(panel["title"]) for panel in each.spec["concat"]) for each in (one, plain)]
        assert titles[0] == titles[1]
        assert "RLL alpha .45" not in json.dumps(one.spec)
    assert "RLL alpha .45" in json.dumps(figures.draw(more, "resistance")[0].spec)


def test_features_that_died_but_for_a_trace_are_not_drawn_and_counted(demo_table):
    rows = demo_table.rows()
    for row in rows:
        if (row["loss"], row["rate"], row["seed"], row["num_classes"]) == ("MSE", 0.2, 0, 2):
            row |= {"class_distance": 1e-4, "nc1_test": 2000.0}
    (one,) = figures.draw(analysis(Table.of(rows)), "memorization-dilation")
    assert "left out: 1 collapsed run" in one.caption
    assert max(row["nc1_test"] for row in drawn_rows(one, "nc1_test", "seed")) < 100
