"""For data without known true labels, no figure that depends on true labels is drawn."""

import json
import re

import numpy as np
import pytest
from marked import beside_given, labels_given

from byrote import figures
from byrote.analysis import Analysis
from byrote.figures.base import _REGISTRY, Drawing, figure
from byrote.given import AGREEMENT, TRUE_LABELS, speaks_of_true_labels
from figures import made
from figures.made import analysis

OWN = "given-labels"


@pytest.fixture(scope="module")
def small():
    history = made.runs(made.Cells(made.TWO, ("CE", "LS", "RLL"), (0.0, 0.1, 0.2), seeds=2, every=20))
    return analysis(history, made.plane(history, points=30))


def of_runs():
    return [source for source in figures.registered() if source.needs]


def test_every_figure_of_runs_depends_on_true_labels_but_the_one_on_given_ones():
    assert {source.name for source in of_runs() if not source.true_labels} == {OWN}
    assert [source.name for source in of_runs() if speaks_of_true_labels(source.needs)] == [
        source.name for source in of_runs() if source.true_labels
    ]


@pytest.mark.parametrize("of", ["small", "past", "matters"])
def test_only_the_figure_on_given_labels_is_drawn(of, request):
    (drawn,) = figures.draw(Analysis.of(labels_given(request.getfixturevalue(of).results)))
    assert drawn.name == OWN


def test_without_given_labels_there_is_no_such_figure(small):
    assert figures.draw(small, OWN) == []


def test_beside_given_labels_the_others_are_drawn_as_without_them(small):
    alone = {one.name: one for one in figures.draw(small)}
    mixed = {one.name: one for one in figures.draw(Analysis.of(beside_given(small.results)))}
    assert set(mixed) == {*alone, OWN}
    count = len(small.runs)
    left_out = f" Runs whose labels are only given (data.labels) left out: {count}."
    assert len(alone) >= 5
    for name, one in alone.items():
        assert mixed[name].caption == one.caption + left_out, name
        assert json.dumps(mixed[name].spec | {"description": ""}) == json.dumps(one.spec | {"description": ""}), name


def test_the_figure_draws_agreement_by_epoch_and_names_it_so(small):
    given = Analysis.of(labels_given(small.results))
    (drawn,) = figures.draw(given, OWN)
    text = json.dumps(drawn.spec)
    assert not re.search(r"accurac|true (class|label)|wrong labels|memoriz|J2", text)
    assert text.count("agreement with the given labels") >= 4
    assert not [name for name in TRUE_LABELS if re.search(rf"\b{name}\b", text)]
    rows = [row for data in drawn.spec["datasets"].values() for row in data if "test_given_agreement" in row]
    at = small.runs["rate"] == 0
    for loss in ("CE", "LS", "RLL"):
        mine = at & (small.runs["loss"] == loss)
        for field, reading in AGREEMENT.items():
            shown = [
                row[field]
                for data in drawn.spec["datasets"].values()
                for row in data
                if row.get("loss") == loss and row.get("epoch") == 60 and field in row
            ]
            assert shown
            assert shown == pytest.approx([np.mean(small.last(reading)[mine])] * len(shown))
    assert {row["epoch"] for row in rows} == {1, 20, 40, 60}


def test_a_figure_of_ones_own_sees_known_labels_by_what_it_needs(small):
    seen = {}
    try:
        for name, needs in (("own-j1", ("j1",)), ("own-j2", ("j2",))):

            def draws(analysis, name=name):
                seen[name] = analysis
                return Drawing({"mark": "point"}, "made")

            figure(name, title="made", needs=needs)(draws)
        mixed = Analysis.of(beside_given(small.results))
        first, second = figures.draw(mixed, "own-j1", "own-j2")
        assert (len(seen["own-j1"].runs), len(seen["own-j2"].runs)) == (len(mixed.runs), len(small.runs))
        assert first.caption == "made"
        assert second.caption.startswith("made Runs whose labels")
    finally:
        for name in seen:
            _REGISTRY.pop(name)
