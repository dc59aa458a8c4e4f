"""The overview at the top of the page: a table of claims by data set, and a list of abbreviations."""

import re

import pytest
from figures import made
from stored import results_of

from byrote.analysis import Analysis
from byrote.claims.shown import SIGNS
from byrote.report.key import LETTERS, LOSSES, key
from byrote.report.overview import TOGETHER, claims_map, first_estimate
from report.made_verdicts import verdict


def check(cell, value=0.5, low=0.25, high=0.75, seeds=3, **more):
    return {"cell": cell, "what": "m of CE", "value": value, "low": low, "high": high, "seeds": seeds} | more


TWO = verdict(
    verdict="fails in 1 of 2 cells",
    word="fails in",
    by_dataset={"MNIST": "holds", "MNIST subset": "fails"},
    details=(check("MNIST subset 0/1, MLP", 0.9), check("MNIST 0/1, MLP CE", 0.125), check("MNIST, MLP", 0.5)),
)


def cells_of(shown):
    return {row["id"]: row["cells"] for group in shown["groups"] for row in group["rows"]}


def test_a_row_a_claim_and_a_column_a_data_set():
    alone = verdict("B7", word="holds")
    untested = verdict("B8", word="not tested")
    shown = claims_map([TWO, alone, untested])
    assert shown["columns"] == ["MNIST", "MNIST subset"]
    assert [[row["id"] for row in group["rows"]] for group in shown["groups"]] == [["A5"], ["B7", "B8"]]
    cells = cells_of(shown)
    assert [cell["sign"] for cell in cells["A5"]] == [SIGNS["fails in"], SIGNS["holds"], SIGNS["fails"]]
    assert [cell["verdict"] for cell in cells["B7"]] == ["holds", TOGETHER, TOGETHER]
    assert [cell["verdict"] for cell in cells["B8"]] == ["not tested"] * 3
    words = [one["word"] for one in shown["legend"]]
    assert words == ["holds", "fails in", "fails", "not tested", TOGETHER]
    assert len({one["sign"] for one in shown["legend"]}) == len(words)


def test_a_mark_names_its_word_its_first_estimate_the_interval_and_n():
    everywhere, mnist, subset = cells_of(claims_map([TWO]))["A5"]
    assert everywhere["title"] == "all runs: fails in 1 of 2 cells; −0.25 [−0.5, −0.125], n = 12 runs"
    assert mnist["title"] == "MNIST: holds; m of CE 0.125 [0.25, 0.75], n = 3 seeds"
    assert subset["title"] == "MNIST subset: fails; m of CE 0.9 [0.25, 0.75], n = 3 seeds"


@pytest.mark.parametrize("ends", [(0.5, 0.5), (None, None)])
def test_one_seed_has_no_interval(ends):
    one = verdict(by_dataset={"MNIST": "inconclusive"}, details=(check("MNIST, MLP", 0.5, *ends, seeds=1),))
    assert first_estimate(one, "MNIST", ["MNIST"]) == "m of CE 0.5, one seed"
    assert first_estimate(one, "SVHN", ["MNIST", "SVHN"]) == ""


def test_where_nothing_was_tested_there_is_no_map():
    assert claims_map([verdict(word="not tested"), verdict("B1", word="not tested")]) == {}


def test_the_page_shows_figures_then_the_map_then_the_verdicts(page, verdicts):
    places = [page.index(f'<section id="{name}"') for name in ("figures", "map", "verdicts")]
    assert places == sorted(places)
    map_text = page[places[1] : places[2]]
    for one in verdicts:
        assert f'href="#claim-{one.id}"' in map_text
        assert f'id="claim-{one.id}"' in page[places[2] :]
    assert "<caption" in map_text
    assert map_text.count('scope="col"') >= 3


def test_every_abbreviation_is_in_words_before_the_first_figure(page, analysis):
    top = page[page.index('id="key"') : page.index('<section id="figures"')]
    entries = {short: words for _, group in key(analysis) for short, words in group}
    for short in (*analysis.runs["loss"].tolist(), "NC1", "J1", "J2", "mem", "m", "a", "D", "N", "M", "η, eta"):
        assert f"<b>{short}</b> {entries[short]}" in top, short
    assert set(LOSSES) | set(LETTERS) <= set(entries)
    assert all(re.search(r"[a-z]{4}", words) for words in entries.values())


def test_a_loss_past_the_papers_is_named_by_its_kind():
    rows = made.runs(made.Cells(made.TWO, ("CE",), (0.2,), seeds=1, every=60)).rows()
    kind = {"loss.kind": "generalized_cross_entropy"}
    other = [row | {"loss": "GCE", "key": f"{row['key']}-g", "spec": kind} for row in rows]
    entries = dict(key(Analysis.of(results_of(rows + other)))[0][1])
    assert entries["GCE"] == "generalized cross entropy"
