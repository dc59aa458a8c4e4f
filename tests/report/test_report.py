"""The page: important numbers come from the tables, nothing from a network, and files are whole or absent."""

import json
import re
import shlex
from html.parser import HTMLParser
from importlib import resources
from typing import get_args

import numpy as np
import pytest
from figures import made
from scipy import stats
from stored import results_of

from byrote import claims, report
from byrote.analysis import Analysis
from byrote.claims import Verdict
from byrote.claims.shown import SIGNS
from byrote.claims.verdict import Verdicts, Word
from byrote.report import headline as heads
from byrote.report.rerun import command, toml, varying
from byrote.report.tables import cells, environment, limits, parts, resistance_tables
from byrote.report.verdicts import grouped, row
from byrote.report.words import number, percent
from byrote.store import Results
from byrote.table import Table


def verdict(id="A5", word="holds", **more):
    fields = {
        "id": id,
        "statement": "LS memorizes less than CE",
        "word": word,
        "verdict": word,
        "statistic": -0.25,
        "interval": (-0.5, -0.125),
        "bar": "interval < 0",
        "runs": 12,
        "published": "yes",
        "method": "paired t",
        "cells": "all cells",
        "minimum": "3 seeds",
        "premise": "CE reaches J1 .98",
    }
    return Verdict(**(fields | more))


class Page(HTMLParser):
    """Element ids, addresses, and the text of the JSON blocks."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.addresses, self.json, self.stack, self.text = [], [], {}, [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.addresses += [attrs[name] for name in ("href", "src", "srcset", "action") if attrs.get(name)]
        self.stack.append((tag, attrs))

    def handle_data(self, data):
        tag, attrs = self.stack[-1] if self.stack else ("", {})
        if attrs.get("type") == "application/json":
            self.json[attrs["id"]] = json.loads(data)
        elif tag not in ("script", "style"):
            self.text.append(data)

    def handle_endtag(self, tag):
        while self.stack and self.stack.pop()[0] != tag:
            pass


# ------------------------------------------------------------------------------------------ headline


def sentences(table, **columns):
    """The computed sentences at the top, for a table with some columns replaced."""
    for name, values in columns.items():
        table = table.with_column(name, values)
    return heads.headline(made.analysis(table), [])


def test_the_first_sentence_says_who_repeats_the_wrong_labels(table):
    last = table.where(num_classes=2, epochs=60, rate=0.2).final()
    m = {loss: float(np.mean(last.where(loss=loss)["corrupted_as_observed"])) for loss in set(last["loss"])}
    most, least = max(m, key=m.get), min(m, key=m.get)
    sentence = sentences(table)[0]
    assert (
        f"{most} ends by repeating {percent(m[most])} of the wrong labels and {least} {percent(m[least])}" in sentence
    )
    assert "of six losses" in sentence
    t = float(np.mean(last.where(loss=least)["corrupted_as_true"]))
    assert f"{least} gives {percent(t)} of them their true class" in sentence
    assert f"With {percent(float(np.mean(last['realised_rate'])))} of the labels wrong" in sentence


def test_swapped_losses_swap_the_sentence(table):
    swap = {"CE": "RLL", "RLL": "CE"}
    names = [swap.get(loss, loss) for loss in table["loss"]]
    alpha = np.where(np.array(names) == "RLL", 0.1, np.where(np.array(names) == "CE", np.nan, table["alpha"]))
    assert "RLL ends by repeating" in sentences(table, loss=names, alpha=alpha)[0]
    assert "CE ends by repeating" in sentences(table)[0]


def test_the_second_sentence_follows_the_sign_of_the_data(table):
    assert "The more a run memorizes, the more the features" in sentences(table)[1]
    assert "The less a run memorizes, the more the features" in sentences(table, nc1_test=1 / table["nc1_test"])[1]
    noise = np.random.default_rng(0).random(len(table))
    assert "hardly follows" in sentences(table, nc1_test=noise)[1]


def test_the_rank_correlation_is_spearmans_with_an_interval_over_seeds(table):
    from scipy.stats import spearmanr

    sentence = sentences(table)[1]
    last = table.where(num_classes=2, epochs=60).final()
    last = last.where(last["rate"] > 0)
    rho = spearmanr(last["mem_noise_weighted_relative"], last["nc1_test"]).statistic
    rows_found = re.search(r"class distance: (\S+) \[(\S+), (\S+)\] over (\d+) runs", sentence)
    assert rows_found is not None
    assert float(rows_found[1]) == pytest.approx(rho, abs=0.006)
    assert float(rows_found[2]) < rho < float(rows_found[3]) <= 1
    assert int(rows_found[4]) == len(last)
    one = sentences(table.where(seed=0))[1]
    assert re.search(r"class distance: [\d.]+ over \d+ runs", one), "one seed has no interval"


def test_the_third_sentence_counts_verdicts():
    given = [verdict("A2"), verdict("A3", "fails"), verdict("A4", "fails"), verdict("C1", "not tested")]
    assert heads.claims_sentence(given) == (
        "Of three claims tested, 1 holds (A2), 2 fail (A3 and A4) and none is open; "
        "1 could not be tested on these runs."
    )
    partly = [verdict("A2"), verdict("A3", "holds except"), verdict("A4", "fails in")]
    assert heads.claims_sentence(partly) == (
        "Of three claims tested, 1 holds (A2), 1 holds except in some cells (A3), none fails, "
        "1 fails in some cells (A4) and none is open."
    )
    assert "None of the papers' claims" in heads.claims_sentence([verdict("C1", "not tested")])


def test_a_table_without_wrong_labels_has_no_sentence_about_them():
    clean = made.runs(made.Cells(made.TWO, ("CE",), (0.0,), seeds=1, every=60))
    assert heads.headline(made.analysis(clean), [verdict()]) == [heads.claims_sentence([verdict()])]


def test_a_table_of_one_loss_has_no_empty_sentence():
    one = made.runs(made.Cells(made.TWO, ("CE",), (0.2,), seeds=2, every=60))
    (first, last) = heads.headline(made.analysis(one), [verdict()])
    assert re.search(r"CE ends by repeating [\d.]+% of the wrong labels\.$", first)
    assert last == heads.claims_sentence([verdict()])


# ------------------------------------------------------------------------------------------ verdicts


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


# -------------------------------------------------------------------------------------------- tables


def test_resistance_against_a_loop(analysis, table):
    tables = {one["title"]: one for one in resistance_tables(analysis)}
    rows = tables["Fashion-MNIST subset, MLP"]["rows"]
    (rows_found,) = [one for one in rows if (one["loss"], one["rate"]) == ("RLL", "0.4")]
    last = table.where(num_classes=10, loss="RLL").final()
    noisy, clean = last.where(rate=0.4), last.where(rate=0.0)
    columns = ("j1", "j2", "corrupted_as_observed", "corrupted_as_true", "clean_accuracy")
    assert [cell["text"] for cell in rows_found["cells"]] == [percent(float(noisy[name][0])) for name in columns]
    assert [cell["half"] for cell in rows_found["cells"]] == [""] * 5
    assert rows_found["gap"] == f"{100 * (noisy['j2'][0] - clean['j2'][0]):+.1f}".replace("-", "−")
    two = tables["Fashion-MNIST subset 0/1, MLP"]["rows"]
    (rows_found,) = [one for one in two if (one["loss"], one["rate"]) == ("LS", "0.4")]
    last = table.where(num_classes=2, epochs=60, loss="LS").final()
    pairs = {seed: last.where(seed=seed) for seed in range(5)}
    gaps = [one.where(rate=0.4)["j2"][0] - one.where(rate=0.0)["j2"][0] for one in pairs.values()]
    assert rows_found["gap"] == f"{100 * np.mean(gaps):+.1f}".replace("-", "−")
    assert rows_found["n"] == 5
    j1 = last.where(rate=0.4)["j1"]
    low, high = stats.t.interval(0.95, 4, j1.mean(), stats.sem(j1))
    assert rows_found["cells"][0]["half"] == f"±{100 * (high - low) / 2:.1f}"


def test_gaps_are_of_seeds_that_have_both_rates():
    rows = made.runs(made.Cells(made.TEN, ("CE",), (0.0, 0.4), seeds=3, every=60)).rows()
    remaining = [row for row in rows if (row["rate"], row["seed"]) != (0.0, 1)]
    (table,) = resistance_tables(made.analysis(Table.of(remaining)))
    last = {(row["rate"], row["seed"]): row["j2"] for row in remaining if row["epoch"] == 60}
    gap = np.mean([last[0.4, seed] - last[0.0, seed] for seed in (0, 2)])
    assert [row["gap"] for row in table["rows"]] == ["–", f"{100 * gap:+.1f}".replace("-", "−")]
    (alone,) = resistance_tables(made.analysis(Table.of([row for row in rows if row["rate"] > 0])))
    assert [row["gap"] for row in alone["rows"]] == ["–"]


def test_parts_say_what_was_run(analysis):
    rows_found = {part["name"]: part for part in parts(analysis)}
    assert list(rows_found) == ["two-class", "two-class-others", "two-class-doubled", "ten-class"]
    assert rows_found["two-class"]["rates"] == "0, 0.05, 0.1, 0.2, 0.4"
    assert rows_found["two-class"]["runs"] == 50
    facts = {name: {one["name"]: one["value"] for one in part["facts"]} for name, part in rows_found.items()}
    assert facts["two-class"]["optimizer weight decay"] == "0.001"
    assert facts["two-class"]["training images"] == "2,000"
    assert (facts["two-class"]["epochs"], facts["two-class-doubled"]["epochs"]) == ("60", "120")
    assert (facts["two-class"]["noise"], facts["ten-class"]["noise"]) == ("uniform", "symmetric")
    assert facts["two-class"]["network"] == "MLP"


def test_every_field_of_a_setting_is_among_the_facts_of_its_part():
    rows = made.runs(made.Cells(made.TWO, ("CE",), (0.2,), seeds=1, every=60)).rows()
    more = [row | {"key": row["key"] + "x", "spec": {"training.clip": 1.5, "training.optimizer.q": 7}} for row in rows]
    (part,) = parts(Analysis.of(results_of(rows + more)))
    facts = {one["name"]: one["value"] for one in part["facts"]}
    assert (facts["clip"], facts["optimizer q"]) == ("0 or 1.5", "7")


def test_limits_say_what_is_missing(table):
    history = made.collapse(table, table["key"][0])
    failed = {"status": "failed", "error": "loss is NaN at epoch 3", "key": "abc", "seed": 99}
    rows = [*history.rows(), history.rows()[0] | failed]
    about = {"planned": history.runs + 5, "older_versions": {"module:mine 0f3a": 3, "file:mine.npz 77ab": 1}}
    about |= {"not_run": [{"key": "k", "part": "cifar", "reason": "not run: data not available: no files"}]}
    text = " ".join(limits(Analysis.of(results_of(rows, about=about))))
    assert "1 of 112 runs collapsed" in text
    assert "Failed: two-class abc: loss is NaN at epoch 3" in text
    assert "3 planned runs are not done" in text
    assert "cifar, one run: not run: data not available" in text
    assert "Left out: three runs of an older version of a file or module (module:mine 0f3a)." in text
    assert "Left out: one run of an older version of a file or module (file:mine.npz 77ab)." in text
    assert "Fashion-MNIST subset, MLP: one seed" in text
    assert "2,000 to 5,000 training images" in text
    assert "in the figures of what they vary: Fashion-MNIST subset 0/1, MLP, 120 epochs." in text


def test_of_many_failed_runs_twenty_are_named():
    rows = made.runs(made.Cells(made.TWO, ("CE",), (0.2,), seeds=1, every=60)).rows()
    failed = [rows[0] | {"key": f"k{n}", "seed": 5 + n, "status": "failed", "error": "diverged"} for n in range(23)]
    text = limits(Analysis.of(results_of(rows + failed)))
    assert sum(text.startswith("Failed: ") for text in text) == 20
    assert "23 runs failed in all; they are left out." in text


def test_environment_has_machine_and_versions(analysis):
    facts = dict(environment(analysis))
    assert facts["runs"] == "112 of 112 planned"
    assert facts["training time"] == "5 core minutes"
    assert facts["runs: torch"] == "2.13"
    assert "page: altair" in facts


# --------------------------------------------------------------------------------------------- rerun


def test_toml_is_read_back():
    import tomllib

    value = {"kind": 'a "b"', "n": [1, 2.5], "deep": {"on": True, "none": None}, "tiny": 1e-08}
    read = tomllib.loads(f"value = {toml(value)}")["value"]
    assert read == {"kind": 'a "b"', "n": [1, 2.5], "deep": {"on": True}, "tiny": 1e-08}


def keys_of(words, study):
    """The keys of the runs that a command's overrides leave of a study."""
    from byrote.cli.run import _settings

    given = [words[at + 1] for at, word in enumerate(words) if word == "--set"]
    return [experiment.key for _, experiment in study.experiments("", _settings(given, "--set"))]


def test_the_command_trains_that_run_and_no_other():
    from byrote.study import Study

    study = Study.load("demo")
    planned = [experiment for _, experiment in study.experiments()]
    specs = [experiment.spec() for experiment in planned]
    for place in (0, len(planned) // 2, len(planned) - 1):
        words = shlex.split(command(specs[place], varying(specs), {"study": "demo", "overrides": {}}, "k"))
        assert words[:3] == ["byrote", "run", "demo"]
        assert keys_of(words, study) == [planned[place].key]


def test_the_command_of_a_run_from_scratch_beside_started_ones(tmp_path):
    from byrote.study import Study

    study = Study(
        name="two",
        base={"data": {"kind": "fashion_mnist_subset"}, "noise": {"kind": "symmetric", "rate": 0.2}},
        part=(
            {"name": "started", "base": {"start": {"kind": "cross_entropy"}}, "axes": {"noise_seed": [3, 4]}},
            {"name": "scratch"},
        ),
    )
    planned = [experiment for _, experiment in study.experiments()]
    specs = [experiment.spec() for experiment in planned]
    for place in range(3):
        words = shlex.split(command(specs[place], varying(specs), {"study": "two"}, "k"))
        assert keys_of(words, study) == [planned[place].key]


def test_the_command_repeats_scale_overrides_and_imports():
    text = {"study": "own.toml", "scale": "small", "imports": ["mine"], "overrides": {"training.epochs": 3}}
    words = shlex.split(command({"seed": 1}, varying([{"seed": 1}, {"seed": 2}]), text, "abc"))
    assert words[:6] == ["byrote", "run", "own.toml", "--scale", "small", "--import"]
    assert "training.epochs=3" in words
    assert words[-1] == "seed=1"
    assert "runs/again/abc" in words


def commands(rows_found):
    """The command of each run of the cells, by its key."""
    filled = {}
    for cell in rows_found:
        for words in cell["runs"].values():
            text = cell["command"]
            for name, value in words.items():
                text = text.replace(name, value)
            filled[words["KEY"]] = text.strip()
    return filled


def test_cells_give_the_command_of_each_run():
    history = made.runs(made.Cells(made.TWO, ("CE", "LS"), (0.1, 0.2), seeds=3, every=60))
    one = made.analysis(history)
    rows_found = cells(one)
    assert [(cell["part"], cell["loss"], cell["rate"], list(cell["runs"])) for cell in rows_found] == [
        ("two-class", loss, rate, ["0", "1", "2"]) for loss in ("CE", "LS") for rate in ("0.1", "0.2")
    ]
    assert {cell["setting"] for cell in rows_found} == {"Fashion-MNIST subset 0/1, MLP"}
    specs = one.results.specs
    wanted = {key: command(spec, varying(specs.values()), one.results.about, key) for key, spec in specs.items()}
    assert {key: sorted(shlex.split(text)) for key, text in commands(rows_found).items()} == {
        key: sorted(shlex.split(text)) for key, text in wanted.items()
    }


def test_settings_of_one_part_have_cells_of_their_own():
    rows = made.runs(made.Cells(made.TWO, ("CE",), (0.2,), seeds=2, every=60)).rows()
    clipped = [row | {"key": f"{row['key']}-clipped", "spec": {"training.clip": 1.0}} for row in rows]
    rows_found = cells(Analysis.of(results_of(rows + clipped)))
    assert [(cell["setting"], len(cell["runs"])) for cell in rows_found] == [
        ("Fashion-MNIST subset 0/1, MLP", 2),
        ("Fashion-MNIST subset 0/1, MLP, clipping 1", 2),
    ]
    assert len(commands(rows_found)) == 4


def test_seeds_given_apart_are_named_and_repeated():
    rows = made.runs(made.Cells(made.TWO, ("CE",), (0.2,), seeds=1, every=60)).rows()
    apart = [row | {"key": f"{row['key']}-{n}", "noise_seed": n} for row in rows for n in (5, 6)]
    (cell,) = cells(Analysis.of(results_of(apart)))
    assert list(cell["runs"]) == ["0, noise 5", "0, noise 6"]
    ends = [text.split("--set ")[-1] for text in commands([cell]).values()]
    assert ends == ["noise_seed=5", "noise_seed=6"]


# ---------------------------------------------------------------------------------------------- page


def test_the_page_holds_every_part(page, analysis, verdicts):
    read = Page(page)
    text = " ".join(read.text)
    for sentence in heads.headline(analysis, verdicts):
        assert sentence in text
    for one in verdicts:
        assert f" {one.id} " in f" {text.replace(',', ' ')} ".replace("\n", " "), one.id
        assert one.statement in text
    assert {"verdicts", "figures", "resistance", "rerun", "made", "limits"} <= set(read.ids)
    assert len(read.ids) == len(set(read.ids))
    assert set(read.json["specs"]) == {name.removeprefix("figure-") for name in read.ids if name.startswith("figure-")}


def test_the_page_asks_for_nothing(page):
    outside = [one for one in Page(page).addresses if not one.startswith(("#", "figures/", "data:"))]
    assert outside == []
    assert "default-src 'none'" in page
    assert not re.search(r"@import|url\((?!['\"]?(data:|#))", Page(page) and page.split("</style>")[0])


def test_charts_need_no_eval(page):
    assert Page(page).json["options"] == {"actions": False, "renderer": "svg", "ast": True}
    assert "unsafe-eval" not in page


def test_hostile_text_stays_text():
    hostile = "</script><img src=x onerror=alert(1)>"
    rows = made.runs(made.Cells(made.TWO | {"part": hostile}, ("CE",), (0.2,), seeds=1, every=60))
    from byrote.report.page import render

    marks = {hostile: "holds", "MNIST": "holds"}
    text = render(made.analysis(rows, study=hostile), [verdict(reason=hostile, by_dataset=marks)], [])
    assert "<img src=x" not in text
    assert "&lt;img src=x" in text


def test_writing_gives_page_and_figures(small, tmp_path):
    path = report.write_report(small, claims.evaluate(small), tmp_path / "out")
    assert path == tmp_path / "out" / "index.html"
    linked = {one for one in Page(path.read_text("utf-8")).addresses if one.startswith(("figures/", "tables/"))}
    assert linked == {f"{file.parent.name}/{file.name}" for file in path.parent.glob("*/*")}
    assert len(linked) >= 12
    assert sorted(one.name for one in path.parent.iterdir()) == ["figures", "index.html", "tables"]


def test_equal_results_give_equal_pages(table, analysis, verdicts, page):
    from byrote import figures
    from byrote.report.page import render

    again = made.analysis(table, made.plane(table), machine={"processors": 2, "torch": "2.13"})
    assert render(again, verdicts, figures.draw(again)) == page


def test_an_empty_store_has_no_page(tmp_path):
    with pytest.raises(ValueError, match="at least one finished run"):
        report.write_report(Analysis.of(Results(Table({}), Table({}), "", {})), [], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_another_alpha_of_a_loss_has_rows_and_a_color_of_its_own():
    rows = made.runs(made.Cells(made.TEN, ("CE", "RLL"), (0.0, 0.4), seeds=2, every=30)).rows()
    other = [
        row | {"alpha": 0.45, "key": f"{row['key']}-45"} for row in rows if row["loss"] == "RLL" and row["seed"] == 0
    ]
    (table,) = resistance_tables(made.analysis(Table.of(rows + other)))
    colors = {row["loss"]: row["color"] for row in table["rows"]}
    assert set(colors) == {"CE", "RLL", "RLL alpha .45"}
    assert len(set(colors.values())) == 3
