"""If other settings and losses are added to a study, figures still draw the same numbers for the original runs."""

import json

import pytest
from stored import results_of

from byrote import figures
from byrote.analysis import Analysis
from byrote.table import Table
from figures import made

OWN = {"data.kind": "arrays", "data.path": "mine.npz", "network.kind": "mine:Network"}
CONTENTS = {"file:mine.npz": "0" * 64, "module:mine": "a" * 16}
BESIDE = {
    "another clip": {"spec": {"training.clip": 1.0}},
    "another test set": {"spec": {"data.test_per_class": 7}},
    "another optimizer field": {"spec": {"training.optimizer.nesterov": True}},
    "a second data file": {"contents": CONTENTS | {"file:mine.npz": "1" * 64}},
    "a second network": {"contents": CONTENTS | {"module:mine": "b" * 16}},
    "a second network of the same module": {"spec": {"network.kind": "mine:Other"}},
}


def plain_rows(own):
    """Return rows of small studies, from the papers and beyond, from which every figure draws something.

    Args:
        own: use the user's own data file and network in all runs, and leave out the second data set (photographs).
    """
    two = made.runs(made.Cells(made.TWO, ("CE", "LS", "MSE", "nMSE"), (0.0, 0.2, 0.4), seeds=3, every=20)).rows()
    wide = made.TWO | {"part": "wide", "feature_width": 5}
    wider = made.runs(made.Cells(wide, ("CE", "LS", "nMSE"), (0.0, 0.2, 0.4), seeds=2, every=20)).rows()
    past = made.past()
    rows = two + wider + (past.where(network="mlp") if own else past).rows()
    wrong = {(row["dataset"], row["num_classes"], row["noise"], row["rate"], row["seed"]): row for row in rows}
    for row in rows:  # runs of one seed have the same wrong labels, whatever their loss
        same = wrong[row["dataset"], row["num_classes"], row["noise"], row["rate"], row["seed"]]
        row["realised_rate"] = same["realised_rate"] if row["noise"] != "recorded" else row["realised_rate"]
        if own:
            row |= {"spec": OWN, "contents": CONTENTS}
    return rows


def beside(rows, change, name):
    """Make fewer runs of another setting; all their readings, epochs and rates differ from those of the plain runs."""
    others = []
    for row in rows:
        if row["seed"] != 0:
            continue
        other = row | change | {"key": f"{row['key']}-{name}", "part": "beside"}
        other["spec"] = row.get("spec", {}) | change.get("spec", {})
        for reading in ("j1", "j2", "corrupted_as_observed", "corrupted_as_true", "test_accuracy"):
            other[reading] = 0.123
        for reading in ("nc1_test", "class_distance", "mem_noise_weighted", "mem_noise_weighted_relative", "mem_mean"):
            other[reading] = 17.0
        for reading in ("rate_estimate", "rate_low", "rate_high"):
            other[reading] = row["realised_rate"] + 0.01 if reading in row and row[reading] == row[reading] else None
        others.append(other)
    return others


def panels(analysis):
    """Return the rows that each figure draws, by panel, without the legend, which names all losses."""
    drawn = {}
    for figure in figures.draw(analysis):
        for place, panel in enumerate(figure.spec["concat"]):
            layers = [layer for layer in panel["layer"] if not layer.get("name", "").startswith("panel")]
            rows = [figure.spec["datasets"][layer["data"]["name"]] for layer in layers]
            drawn[figure.name, place, json.dumps(panel["title"])] = rows
    return drawn


@pytest.fixture(scope="module", params=[False, True], ids=["built-in", "own"])
def plain(request):
    rows = plain_rows(request.param)
    history = Table.of(
        [{name: value for name, value in row.items() if name not in ("spec", "contents")} for row in rows]
    )
    features = made.plane(history.where(history["feature_width"] == 2), points=40)
    return rows, features, panels(Analysis.of(results_of(rows, features))), request.param


def numbers(rows):
    """Drop from a panel's rows the fields that only position a mark relative to other losses."""
    return [[{name: value for name, value in row.items() if name != "at"} for row in layer] for layer in rows]


def test_every_figure_draws_something_of_the_plain_runs(plain):
    drawn = {name for name, _, _ in plain[2]} | ({"human-noise"} if plain[3] else set())
    # these two need data without true labels (test_given.py) or three data set sizes (test_images_a_class.py)
    own = {"given-labels", "images-a-class"}
    assert drawn == {source.name for source in figures.registered()} - own


@pytest.mark.parametrize("name", BESIDE)
@pytest.mark.every(3)
def test_another_setting_leaves_the_numbers_of_the_plain_runs(plain, name):
    rows, features, wanted, own = plain
    if "contents" in BESIDE[name] and not own:
        pytest.skip("these runs use no file and no module of the user")
    more = Analysis.of(results_of(rows + beside(rows, BESIDE[name], name), features))
    assert len(more.runs) > len(Analysis.of(results_of(rows)).runs)
    drawn = panels(more)
    words = {(figure, json.dumps(layers)) for (figure, _, _), layers in drawn.items()}
    for (figure, place, title), layers in wanted.items():
        assert (figure, json.dumps(layers)) in words, f"{figure}, panel {place}: {title}"
    extra = {figure for figure, _, _ in drawn if count(drawn, figure) > count(wanted, figure)}
    if name.startswith("a second"):
        assert "wrong-labels" in extra, "the figure has new panels for a new data set or network"
    else:
        assert extra <= {"path-dependence"}, "only path-dependence may have new panels"


def count(drawn, figure):
    return sum(one == figure for one, _, _ in drawn)


@pytest.mark.parametrize("loss", ["nMSE", "RLL"])
def test_another_form_of_a_loss_is_another_line(plain, loss):
    rows, features, wanted, _ = plain
    change = {"spec": {"loss.scale": 0.1}} if loss == "nMSE" else {"alpha": 0.45}
    mine = [row for row in rows if row["loss"] == loss and row.get("start") != "memorized"]
    drawn = panels(Analysis.of(results_of(rows + beside(mine, change, "form"), features)))
    name = f"{loss} scale .1" if loss == "nMSE" else f"{loss} alpha .45"
    assert any(row.get("loss") == name for layers in drawn.values() for layer in layers for row in layer)
    by_figure = {}
    for (figure, _, title), layers in drawn.items():
        by_figure.setdefault(figure, []).append((title, layers))
    for (figure, place, _), layers in wanted.items():
        without = [
            numbers([[row for row in layer if row.get("loss") != name] for layer in drawn])
            for _, drawn in by_figure[figure]
        ]
        assert numbers(layers) in without, f"{figure}, panel {place}"
