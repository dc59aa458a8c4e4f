"""The numbers that figures draw, against slow and obvious computations from the rows of the table."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from byrote import figures
from byrote.figures.feature_plane import landmarks
from byrote.figures.observed_and_true import published_finals
from byrote.figures.seeds import fit_line, over_seeds, spread, thinned
from byrote.figures.settings import losses_in, references, runs_text, series, settings, telling_rate
from byrote.table import Table
from figures import made
from figures.made import results


def drawn_rows(figure, *names):
    """All rows of all datasets of a figure that have the named fields."""
    found = [row for rows in figure.spec["datasets"].values() for row in rows]
    return [row for row in found if all(name in row for name in names)]


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=9))
def test_the_interval_is_students(values):
    one = spread([*values, float("nan")])
    assert one.n == len(values)
    assert one.mean == pytest.approx(np.mean(values), abs=1e-9)
    if np.std(values) > 1e-6:
        low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
        assert (one.low, one.high) == pytest.approx((low, high), rel=1e-6, abs=1e-9)


@given(st.lists(st.tuples(st.floats(-10, 10), st.floats(-10, 10)), min_size=3, max_size=20))
def test_the_line_is_that_of_polyfit(points):
    x, y = np.array(points).T
    line = fit_line(x, y)
    if np.ptp(x) < 1e-2:
        return
    slope, intercept = np.polyfit(x, y, 1)
    assert line.slope == pytest.approx(slope, rel=1e-5, abs=1e-6)
    assert line.at(0.0) == pytest.approx(intercept, rel=1e-5, abs=1e-6)
    if np.ptp(y) > 1e-2:
        assert line.r2 == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2, abs=1e-6)


def test_no_line_through_too_little():
    assert fit_line([1, 2, np.nan], [1, 2, 3]) is None
    assert fit_line([1, 1, 1], [1, 2, 3]) is None


def test_means_over_seeds_against_a_loop(demo):
    table = demo.history.where(num_classes=2, epochs=60)
    for row in over_seeds(table, ("loss", "rate", "epoch"), ("j1",), within=(0, 1)):
        values = [
            one["j1"]
            for one in table.rows()
            if one["loss"] == row["loss"] and one["rate"] == row["rate"] and one["epoch"] == row["epoch"]
        ]
        assert row["j1"] == pytest.approx(np.mean(values))
        assert row["j1_n"] == len(values)
        assert 0 <= row["j1_low"] <= row["j1"] <= row["j1_high"] <= 1
        if row["epoch"] > 5:
            break


def test_thinning_keeps_both_ends(demo):
    table = made.runs(made.Cells(made.TWO | {"epochs": 200}, ("CE",), (0.2,), seeds=1, every=1))
    epochs = thinned(table, 50)["epoch"]
    assert len(epochs) == 50
    assert (epochs.min(), epochs.max()) == (1, 200)
    assert thinned(demo.history, 50) is demo.history


def test_settings_keep_apart_what_may_not_be_averaged(demo):
    found = settings(demo.history)
    assert {(one.title, one.table.runs) for one in found} == {
        ("Fashion-MNIST subset 0/1, 60 epochs", 86),
        ("Fashion-MNIST subset 0/1, 120 epochs", 10),
        ("Fashion-MNIST subset, 10 classes", 16),
    }
    chosen = references(demo.history, "dataset", "classes")
    assert {(one.title, one.table.runs) for one in chosen} == {
        ("Fashion-MNIST subset 0/1", 86),
        ("Fashion-MNIST subset, 10 classes", 16),
    }


def test_dropout_and_starting_weights_make_a_setting_of_their_own():
    base = made.runs(made.Cells(made.TWO | {"dropout": 0.0, "start": ""}, ("CE", "RLL"), (0.2,), seeds=2, every=30))
    dropped = made.runs(made.Cells(made.TWO | {"part": "b10", "dropout": 0.5, "start": ""}, ("CE",), (0.2,), seeds=2))
    titles = {one.title for one in settings(Table.concat([base, dropped]))}
    assert titles == {"Fashion-MNIST subset 0/1, dropout 0", "Fashion-MNIST subset 0/1, dropout 0.5"}


def test_unequal_classes_of_one_total_are_another_setting():
    equal = made.runs(made.Cells(made.TWO | {"balance": "equal"}, ("CE",), (0.1, 0.2), seeds=2))
    unequal = made.runs(made.Cells(made.TWO | {"part": "imbalance", "balance": "900,100"}, ("CE",), (0.2,), seeds=2))
    both = Table.concat([equal, unequal])
    assert {(one.title, one.table.runs) for one in settings(both)} == {
        ("Fashion-MNIST subset 0/1, balance equal", 4),
        ("Fashion-MNIST subset 0/1, balance 900,100", 2),
    }
    assert [one.facts["balance"] for one in references(both, "dataset", "classes")] == ["equal"]


@pytest.mark.parametrize("last", ["uniform", "pair_flip"])
def test_among_equals_a_figure_shows_the_commonest_noise(last):
    laws = ("pair_flip", "uniform") if last == "uniform" else ("uniform", "pair_flip")
    ten = [made.runs(made.Cells(made.TEN | {"part": law, "noise": law}, ("CE",), (0.2,), seeds=2)) for law in laws]
    two = made.runs(made.Cells(made.TWO | {"noise": "uniform"}, ("CE",), (0.2,), seeds=2))
    shown = references(Table.concat([*ten, two]), "dataset", "classes")
    assert [one.facts["noise"] for one in shown] == ["uniform", "uniform"]


def test_another_alpha_is_another_series():
    common = made.runs(made.Cells(made.TWO, ("CE", "RLL"), (0.2,), seeds=3, every=60)).rows()
    other = [row | {"alpha": 0.45, "key": row["key"] + "x"} for row in common if row["loss"] == "RLL"][:2]
    table = series(Table.of(common + other))
    assert losses_in(table) == ["CE", "RLL", "RLL .45"]
    assert len(table.where(loss="RLL .45")) == len(other)


def test_the_telling_rate_is_where_most_losses_were_run(demo):
    two, ten = references(demo.history, "dataset", "classes")
    assert {telling_rate(two), telling_rate(ten)} == {0.2}
    sparse = made.runs(made.Cells(made.TWO, ("CE", "LS"), (0.4,), seeds=1, every=60))
    dense = made.runs(made.Cells(made.TWO, ("CE",), (0.2,), seeds=1, every=60))
    assert telling_rate(settings(Table.concat([sparse, dense]))[0]) == 0.4


def test_figure_1_draws_the_runs_and_their_means(demo):
    (figure,) = figures.draw(results(demo.history.where(num_classes=2)), "memorization-dilation")
    last = demo.history.where(num_classes=2, epochs=60).final()
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


def test_figure_1_draws_the_line_of_each_loss(demo, drawn):
    figure = drawn["memorization-dilation"]
    last = demo.history.where(num_classes=2, epochs=60).final()
    x, y = last.where(loss="LS")["mem_weighted_relative"], np.sqrt(last.where(loss="LS")["nc1_test"])
    slope, intercept = np.polyfit(x, y, 1)
    ends = [
        (row["mem_weighted_relative"], row["sqrt_nc1_test"])
        for row in drawn_rows(figure, "mem_weighted_relative", "sqrt_nc1_test")
        if row["loss"] == "LS" and "rate" not in row
    ]
    assert ends == [pytest.approx((at, intercept + slope * at)) for at in (x.min(), x.max())]
    r2 = np.corrcoef(x, y)[0, 1] ** 2
    headings = [" ".join(panel["title"]["subtitle"]) for panel in figure.spec["concat"]]
    assert f"LS .{round(100 * r2)}" in headings[3]


def test_swapping_two_losses_names_swaps_what_is_drawn(demo, drawn):
    swap = {"CE": "RLL", "RLL": "CE"}
    renamed = demo.history.with_column("loss", [swap.get(loss, loss) for loss in demo.history["loss"]])
    (other,) = figures.draw(results(renamed), "wrong-labels")
    end = lambda figure, loss: {  # noqa: E731
        round(row["corrupted_as_observed"], 9)
        for row in drawn_rows(figure, "corrupted_as_observed")
        if row["loss"] == loss and row["epoch"] == 60
    }
    assert end(other, "RLL") == end(drawn["wrong-labels"], "CE") != end(drawn["wrong-labels"], "RLL")


def test_collapsed_runs_are_left_out_and_said(demo):
    key = demo.history.where(loss="MSE", rate=0.2, seed=0)["key"][0]
    history = made.collapse(demo.history, key)
    (figure,) = figures.draw(results(history), "memorization-dilation")
    assert "left out: 1 collapsed run, without NC1" in figure.caption
    points = drawn_rows(figure, "seed", "nc1_test")
    assert not [row for row in points if (row["loss"], row["rate"], row["seed"]) == ("MSE", 0.2, 0)]
    assert [row for row in points if (row["loss"], row["rate"], row["seed"]) == ("MSE", 0.2, 1)]
    (figure,) = figures.draw(results(history), "wrong-labels")
    assert "collapsed" not in figure.caption


def test_curves_are_means_of_j1_and_j2(demo, drawn):
    ten = demo.history.where(num_classes=10, loss="RLL", rate=0.4, epoch=30)
    drawn_at = {
        row["measure"][:2]: row["value"]
        for row in drawn_rows(drawn["observed-and-true"], "measure", "value_low")
        if row["loss"] == "RLL" and row["epoch"] == 30 and row["value"] in (ten["j1"][0], ten["j2"][0])
    }
    assert drawn_at == {"J1": ten["j1"][0], "J2": ten["j2"][0]}


def test_published_finals_stand_where_data_and_network_match(matters, demo):
    by = {one.facts["network"]: one for one in settings(matters.history)}
    assert published_finals(by["inception_lite"], "RLL", 0.4) == pytest.approx({"j1": 0.655, "j2": 0.849})
    assert published_finals(by["resnet32"], "RLL", 0.4) == pytest.approx({"j1": 0.71})
    assert published_finals(by["resnet18"], "RLL", 0.3) == {}
    assert published_finals(by["resnet18"], "LS", 0.4) == {}
    assert published_finals(settings(demo.history)[0], "RLL", 0.4) == {}


def test_published_finals_are_drawn(matters):
    part = matters.history.where(network="inception_lite", loss=("CE", "RLL"), seed=0)
    (figure,) = figures.draw(results(part), "observed-and-true")
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
    found = {name: at.tolist() for name, at in landmarks(Table.of(rows)).items()}
    assert found == {"h1": [5.0, 0.0], "h2": [0.0, 5.0], "u1": [3.0, 2.0], "u2": [2.0, 3.0]}


def test_the_feature_plane_joins_h2_with_u1(demo, drawn):
    figure = drawn["feature-plane"]
    assert [panel["title"]["text"] for panel in figure.spec["concat"]] == ["CE, η .2", "LS, η .2"]
    key = demo.history.where(loss="CE", rate=0.2, seed=0, epochs=60)["key"][0]
    at = landmarks(demo.features.where(key=key))
    lines = [rows for rows in figure.spec["datasets"].values() if len(rows) == 2 and set(rows[0]) == {"x", "y"}]
    ends = [[(row["x"], row["y"]) for row in rows] for rows in lines]
    assert [tuple(at["h2"]), tuple(at["u1"])] in ends
    assert [tuple(at["h1"]), tuple(at["u2"])] in ends


def test_resistance_draws_the_line_between_the_two_ways_of_knowing(demo):
    part = demo.history.where(num_classes=10)
    (figure,) = figures.draw(results(part), "resistance")
    rho = part.where(rate=0.4)["realised_rate"].mean()
    ends = [rows for rows in figure.spec["datasets"].values() if len(rows) == 2 and set(rows[0]) == {"j1", "j2"}]
    assert [{"j1": pytest.approx(1 - rho), "j2": 1.0}, {"j1": 1.0, "j2": pytest.approx(1 - rho)}] in ends


def test_feature_widths_are_panels_of_one_family():
    facts = made.TWO | {"dataset": "mnist"}
    tables = [
        made.runs(made.Cells(facts | {"feature_width": width}, losses, (0.0, 0.2, 0.4), seeds=2, every=60))
        for width, losses in ((2, ("CE", "LS", "MSE")), (5, ("CE", "LS")), (16, ("CE", "LS")))
    ]
    (figure,) = figures.draw(results(Table.concat(tables)), "feature-width")
    assert [panel["title"]["text"] for panel in figure.spec["concat"]] == ["M = 2", "M = 5", "M = 16"] * 2
    assert {row["loss"] for row in drawn_rows(figure, "loss")} == {"CE", "LS"}
    assert "12 runs (2 seeds a cell) of MNIST 0/1, M = 16." in figure.caption
    assert figures.draw(results(tables[0]), "feature-width") == []


def test_captions_count_runs_and_seeds(demo):
    two, ten = sorted(references(demo.history, "dataset", "classes"), key=lambda one: -one.table.runs)
    assert runs_text([two]) == "n: 86 runs (3 to 5 seeds a cell)."
    assert runs_text([two, ten]) == (
        "n: 86 runs (3 to 5 seeds a cell) of Fashion-MNIST subset 0/1; "
        "16 runs (1 seed a cell) of Fashion-MNIST subset, 10 classes."
    )


def test_a_loss_at_one_rate_has_no_family_of_curves(matters):
    rows = matters.history.where(loss="RLL", rate=0.4, network="resnet32").rows()
    other = Table.of([row | {"alpha": 0.45, "key": f"{row['key']}-45"} for row in rows])
    more = results(Table.concat([matters.history, other]))
    names = ("training-accuracy", "observed-and-true")
    for one, plain in zip(figures.draw(more, *names), figures.draw(matters, *names), strict=True):
        titles = [sorted(json.dumps(panel["title"]) for panel in each.spec["concat"]) for each in (one, plain)]
        assert titles[0] == titles[1]
        assert "RLL .45" not in json.dumps(one.spec)
    assert "RLL .45" in json.dumps(figures.draw(more, "resistance")[0].spec)


def test_features_that_died_but_for_a_trace_are_not_drawn_and_counted(demo):
    rows = demo.history.rows()
    for row in rows:
        if (row["loss"], row["rate"], row["seed"], row["num_classes"]) == ("MSE", 0.2, 0, 2):
            row |= {"class_distance": 1e-4, "nc1_test": 2000.0}
    (one,) = figures.draw(results(Table.of(rows)), "memorization-dilation")
    assert "left out: 1 collapsed run" in one.caption
    assert max(row["nc1_test"] for row in drawn_rows(one, "nc1_test", "seed")) < 100
