"""Computations that figures share (choice of runs, means over seeds, lines), compared with slow, obvious versions."""

import numpy as np
import pytest
from figures import made
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from stored import results_of

from byrote.analysis import Analysis
from byrote.analysis.labels import PAPERS
from byrote.analysis.series import (
    DATA,
    NETWORK,
    Selection,
    fit_lines,
    in_order,
    losses_of,
    one_each,
    rated,
    reference_rate,
    runs_text,
    thinned,
)
from byrote.figures.style import LOSSES
from byrote.table import Table

TWO = made.TWO | {"epochs": 2}


def selection(rows):
    (setting,) = Analysis.of(results_of(rows)).settings
    return Selection.of(Analysis.of(results_of(rows)), setting)


def row(seed, epoch=1, loss="CE", rate=0.2, **more):
    facts = {"key": f"{loss}-{rate}-{seed}-{more.get('width', 8)}", "loss": loss, "rate": rate, "seed": seed}
    return facts | {"epoch": epoch, "epochs": 2, "dataset": "mnist", "network": "mlp"} | more


@pytest.fixture(scope="module")
def table():
    return made.demo()


@pytest.fixture(scope="module")
def demo(table):
    return made.analysis(table)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=9))
@settings(deadline=None)
def test_the_interval_is_students(values):
    one = selection([row(seed, x=value) for seed, value in enumerate([*values, float("nan")])])
    (mean,) = one.means(("loss",), ("x",))
    assert mean["x_n"] == len(values)
    assert mean["x"] == pytest.approx(np.mean(values), abs=1e-9)
    if np.std(values) > 1e-6:
        low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
        assert (mean["x_low"], mean["x_high"]) == pytest.approx((low, high), rel=1e-6, abs=1e-9)


def test_one_value_has_no_interval_and_none_has_no_mean():
    one = selection([row(0, x=0.5, y=float("nan")), row(1, x=float("nan"), y=float("nan"))])
    (mean,) = one.means(("loss",), ("x", "y", "absent"))
    assert (mean["x"], mean["x_low"], mean["x_high"], mean["x_n"]) == (0.5, 0.5, 0.5, 1)
    for name in ("y", "absent"):
        assert (mean[name], mean[f"{name}_low"], mean[f"{name}_n"]) == (None, None, 0)


def test_an_interval_of_shares_is_cut_to_their_range():
    one = selection([row(seed, x=value) for seed, value in enumerate((0.9, 1.0))])
    (mean,) = one.means(("loss",), ("x",), within=(0, 1))
    assert mean["x_high"] == 1
    assert 0 <= mean["x_low"] < 0.9


def test_curves_against_a_loop(demo, table):
    one = one_each(rated(demo), DATA)[0]
    part = table.where(num_classes=2, epochs=60).rows()
    means = one.curves(("loss", "rate"), ("j1",), within=(0, 1))
    assert len(means) == len({(each["loss"], each["rate"], each["epoch"]) for each in part})
    for mean in means[::7]:
        cell = [each["j1"] for each in part if all(each[name] == mean[name] for name in ("loss", "rate", "epoch"))]
        assert mean["j1"] == pytest.approx(np.mean(cell))
        assert mean["j1_n"] == len(cell)
        assert 0 <= mean["j1_low"] <= mean["j1"] <= mean["j1_high"] <= 1


def test_means_at_the_end_against_a_loop(demo, table):
    one = one_each(rated(demo), DATA)[0]
    last = table.where(num_classes=2, epochs=60, epoch=60)
    for mean in one.means(("loss", "rate"), ("nc1_test", "test_accuracy"), {"half": one.last("nc1_test") / 2}):
        cell = last.where(loss=mean["loss"], rate=mean["rate"])
        assert mean["nc1_test"] == pytest.approx(cell["nc1_test"].mean())
        assert mean["half"] == pytest.approx(cell["nc1_test"].mean() / 2)
        assert mean["test_accuracy_n"] == len(cell)


@given(st.lists(st.tuples(st.floats(-10, 10), st.floats(-10, 10)), min_size=3, max_size=20))
@settings(deadline=None)
def test_the_line_is_that_of_polyfit(points):
    x, y = np.array(points).T
    if np.ptp(x) < 1e-2:
        return
    one = selection([row(seed) for seed in range(len(x))])
    line = fit_lines(one, x, y)["CE"]
    slope, intercept = np.polyfit(x, y, 1)
    assert line.slope == pytest.approx(slope, rel=1e-5, abs=1e-6)
    assert line.intercept == pytest.approx(intercept, rel=1e-5, abs=1e-6)
    if np.ptp(y) > 1e-2:
        assert line.r_squared == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2, abs=1e-6)


def test_no_line_through_too_little():
    one = selection([row(seed) for seed in range(3)])
    assert fit_lines(one, [1, 2, np.nan], [1, 2, 3]) == {}
    assert fit_lines(one, [1, 1, 1], [1, 2, 3]) == {}
    assert list(fit_lines(one, [1, 2, 3], [1, 2, 3])) == ["CE"]


def test_each_loss_has_a_line_of_its_own_runs():
    rows = [row(seed, loss=loss) for loss in ("LS", "CE") for seed in range(3)]
    lines = fit_lines(selection(rows), [0, 1, 2, 0, 1, 2], [0, 5, 10, 0, 2, 4])
    assert {loss: round(line.slope, 9) for loss, line in lines.items()} == {"CE": 2, "LS": 5}


def test_thinning_keeps_both_ends():
    epochs = thinned(np.arange(1, 201), 50)
    assert len(epochs) == 50
    assert (epochs.min(), epochs.max()) == (1, 200)
    few = np.arange(1, 51)
    assert thinned(few, 50) is few


def test_thinned_curves_have_the_values_of_the_epochs_that_stay():
    one = selection([row(seed, epoch, x=epoch + 100.0 * seed) for seed in (0, 1) for epoch in range(1, 121)])
    means = one.curves(("loss",), ("x",), most=9)
    assert [mean["epoch"] for mean in means] == thinned(np.arange(1, 121), 9).tolist()
    assert [mean["x"] for mean in means] == [mean["epoch"] + 50.0 for mean in means]


def test_the_order_of_losses_is_that_of_their_styles():
    assert list(PAPERS) == list(LOSSES)
    assert in_order(["GCE", "nMSE", "AEL", "CE"]) == ["CE", "nMSE", "AEL", "GCE"]


def test_a_figure_shows_the_main_setting_of_each_data_set(demo):
    assert [(one.title, len(one)) for one in rated(demo)] == [
        ("Fashion-MNIST subset 0/1, MLP", 86),
        ("Fashion-MNIST subset, MLP", 16),
        ("Fashion-MNIST subset 0/1, MLP, 120 epochs", 10),
    ]
    assert [(one.title, len(one)) for one in one_each(rated(demo), DATA)] == [
        ("Fashion-MNIST subset 0/1, MLP", 86),
        ("Fashion-MNIST subset, MLP", 16),
    ]


def test_runs_without_a_nominal_rate_have_no_place_on_a_grid():
    people = [row(seed, noise="recorded", rate=float("nan")) for seed in range(2)]
    assert rated(Analysis.of(results_of(people))) == []


def test_a_variation_is_shown_only_where_the_main_setting_has_nothing_to_show():
    rows = [row(seed, width=8) for seed in range(3)] + [row(0, width=16), row(1, width=16)]
    series = rated(Analysis.of(results_of(rows)))
    assert [len(one) for one in one_each(series, DATA)] == [3]
    assert [len(one) for one in one_each(series, DATA, lambda one: len(one) < 3)] == [2]


def test_a_variation_with_more_to_show_does_not_take_the_place_of_the_main_setting():
    rows = [row(seed, width=8) for seed in range(3)] + [row(seed, width=16) for seed in range(2)]
    # this setting has more runs, but fewer of them are done
    rows += [row(seed, width=16, status="failed") for seed in range(5, 9)]
    assert [len(one) for one in one_each(rated(Analysis.of(results_of(rows))), NETWORK)] == [2]


@pytest.mark.parametrize("last", ["uniform", "pair_flip"])
def test_among_equals_a_figure_shows_the_commonest_noise(last):
    laws = ("pair_flip", "uniform") if last == "uniform" else ("uniform", "pair_flip")
    ten = [made.runs(made.Cells(made.TEN | {"part": law, "noise": law}, ("CE",), (0.2,), seeds=2)) for law in laws]
    two = made.runs(made.Cells(made.TWO | {"noise": "uniform"}, ("CE",), (0.2,), seeds=2))
    shown = one_each(rated(made.analysis(Table.concat([*ten, two]))), DATA)
    assert [one.setting.fields["noise.kind"] for one in shown] == ["uniform", "uniform"]


def test_another_alpha_is_another_line():
    rows = [row(seed, loss="RLL", alpha=0.1) for seed in range(3)]
    other = [one | {"alpha": 0.45, "key": one["key"] + "x"} for one in rows[:2]]
    one = selection(rows + other)
    assert one.losses == ["RLL", "RLL alpha .45"]
    assert len(one.of_losses("RLL alpha .45")) == 2
    assert losses_of([one, selection([row(0)])]) == ["CE", "RLL", "RLL alpha .45"]


def test_the_reference_rate_is_where_most_losses_were_run(demo):
    assert [reference_rate(one) for one in one_each(rated(demo), DATA)] == [0.2, 0.2]
    one = selection([row(0, rate=0.4), row(0, rate=0.4, loss="LS"), row(0, rate=0.2)])
    assert reference_rate(one) == 0.4


def test_captions_count_runs_and_seeds(demo):
    two, ten = one_each(rated(demo), DATA)
    assert runs_text([two]) == "n: 86 runs (3 to 5 seeds per cell)."
    assert runs_text([two, ten]) == (
        "n: 86 runs (3 to 5 seeds per cell) of Fashion-MNIST subset 0/1, MLP; "
        "16 runs (1 seed per cell) of Fashion-MNIST subset, MLP."
    )
    assert runs_text([ten], by=("loss",)) == "n: 16 runs (4 seeds per cell)."


def test_collapsed_runs_are_counted_where_nc1_is_needed():
    rows = [row(seed, class_distance=1.0, collapsed=seed == 1, nc1_test=0.5) for seed in range(3)]
    assert runs_text([selection(rows)], nc1=True).endswith("; left out: 1 collapsed run, without NC1.")
    assert "collapsed" not in runs_text([selection(rows)])
