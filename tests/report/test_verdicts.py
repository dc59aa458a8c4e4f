"""Verdicts on the page and in a notebook: their words, symbols, numbers and details."""

from importlib import resources
from typing import get_args

import numpy as np
import pytest

from byrote.claims.shown import SIGNS
from byrote.claims.verdict import Verdicts, Word
from byrote.report.verdicts import grouped, row
from byrote.report.words import number, percent
from report.made_verdicts import verdict


def test_a_verdict_as_words():
    one = row(
        verdict(details=({"cell": "x", "mean": 0.5, "interval": (0.25, 0.75)}, {"cell": "y", "n": 3, "reason": ""}))
    )
    assert (one["statistic"], one["interval"], one["sign"]) == ("−0.25", "[−0.5, −0.125]", "✓")
    assert one["names"] == ["cell", "mean", "interval", "n"]
    assert one["details"] == [["x", "0.5", "[0.25, 0.75]", "–"], ["y", "–", "–", "3"]]
    assert ("premise", "CE reaches J1 .98") in one["notes"]


def test_every_word_has_a_sign_a_color_and_a_style():
    words = get_args(Word)
    assert set(words) == set(SIGNS)
    assert len(set(SIGNS.values())) == len(SIGNS)
    css = (resources.files("byrote.pages") / "page.css").read_text("utf-8")
    for word in words:
        assert f".v-{word.replace(' ', '-')}" in css
        assert row(verdict(word=word))["word"] == word
        assert SIGNS[word] in Verdicts([verdict(word=word)])._repr_html_()


def test_each_data_set_has_a_mark_and_each_kind_of_check_its_estimate():
    marks = {"MNIST": "holds", "CIFAR-10": "fails in 1 of 2 cells"}
    pooled = {"m LS - CE": (-0.25, -0.5, 0.125)}
    one = row(verdict(word="fails in", verdict="fails in 1 of 4 cells", by_dataset=marks, pooled=pooled))
    assert (one["verdict"], one["word"], one["css"]) == ("fails in 1 of 4 cells", "fails in", "fails-in")
    assert [(mark["name"], mark["verdict"], mark["sign"]) for mark in one["marks"]] == [
        ("MNIST", "holds", SIGNS["holds"]),
        ("CIFAR-10", "fails in 1 of 2 cells", SIGNS["fails in"]),
    ]
    assert one["pooled"] == [("m LS - CE", "−0.25", "[−0.5, 0.125]")]


def test_untested_claims_stand_apart():
    (a, c) = grouped([verdict("A2"), verdict("A3", "not tested"), verdict("C1", "inconclusive")])
    assert [one["id"] for one in a["tested"]] == ["A2"]
    assert [one["id"] for one in a["untested"]] == ["A3"]
    assert [one["id"] for one in c["tested"]] == ["C1"]


def test_verdicts_in_a_notebook_are_escaped():
    shown = Verdicts([verdict(reason="<script>alert(1)</script>")])._repr_html_()
    assert "<script>" not in shown
    assert "✓ holds" in shown


@pytest.mark.parametrize(
    ("value", "text"), [(0.0821449, "0.0821"), (-2.0, "−2"), (3, "3"), (True, "yes"), (None, "–"), (np.nan, "–")]
)
def test_numbers_as_written(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0.126, "13%"), (0.004, "0.4%"), (0.997, "99.7%"), (0.0, "0%"), (1, "100%")]
)
def test_shares_as_written(share, text):
    assert percent(share) == text
