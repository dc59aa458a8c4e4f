"""The figures beyond the papers: estimated noise rates, path dependence, labels from human annotators."""

import re

import numpy as np
import pytest
from stored import results_of

from byrote import figures
from byrote.analysis import Analysis
from byrote.figures.style import LOSSES, loss_style
from byrote.table import Table
from figures.made import analysis
from figures.test_drawn_numbers import drawn_rows

NAMES = ("path-dependence", "noise-rate", "human-noise")


@pytest.fixture(scope="module")
def drawn(past):
    return {one.name: one for one in figures.draw(past, *NAMES)}


def final(past_table, **conditions):
    return past_table.final().where(**conditions).rows()


def test_they_are_drawn_in_words_with_a_legend(drawn):
    assert set(drawn) == set(NAMES)
    for one in drawn.values():
        assert "n: " in one.caption
        assert "percent" in one.caption
        assert len(one.spec["params"][0]["views"]) == len(one.spec["concat"])
        assert one.svg().startswith("<svg")


def test_a_table_of_the_papers_own_studies_has_none_of_them(demo):
    assert figures.draw(demo, *NAMES) == []
    assert figures.draw(analysis(Table({})), *NAMES) == []


def test_a_table_of_recorded_labels_alone_breaks_no_figure(past_table):
    people = past_table.where(noise="recorded")
    assert {one.name for one in figures.draw(analysis(people))}.isdisjoint(NAMES)


def test_stated_rates_are_drawn_less_the_true_ones(drawn, past_table):
    rows = drawn_rows(drawn["noise-rate"], "true", "estimate", "low", "high")
    wanted = [row for row in final(past_table, noise="symmetric") if row["rate_estimate"] == row["rate_estimate"]]
    assert len(rows) == len(wanted)
    for row in rows:
        (one,) = [o for o in wanted if o["realised_rate"] == row["true"] and (o["loss"], o["seed"]) == same(row)]
        assert row["estimate"] == pytest.approx(one["rate_estimate"] - one["realised_rate"], abs=1e-12)
        assert row["high"] - row["low"] == pytest.approx(0.03, abs=1e-12)
        assert row["low"] < row["estimate"] < row["high"]
        assert (row["says"] == "underfits") == one["underfits"]


def same(row):
    return row["loss"], row["seed"]


def test_the_titles_count_intervals_of_runs_that_do_not_underfit(drawn):
    titles = {panel["title"]["text"] for panel in drawn["noise-rate"].spec["concat"]}
    assert {"nMSE: 0 of 6 cover the truth", "RLL: 6 of 6 cover the truth"} <= titles


def test_where_every_run_says_that_it_underfits_nothing_is_counted(past_table):
    doubtful = past_table.with_column("underfits", np.ones(len(past_table), dtype=bool))
    (one,) = figures.draw(analysis(doubtful), "noise-rate")
    assert {panel["title"]["text"].split(": ")[1] for panel in one.spec["concat"]} == {"none is stated"}


def test_a_run_that_cannot_tell_is_hollow_without_a_whisker_and_covers_nothing(past_table):
    unsure = past_table["seed"] == 1
    low, high = (np.where(unsure, np.nan, past_table[end]) for end in ("rate_low", "rate_high"))
    table = past_table.with_column("rate_low", low).with_column("rate_high", high)
    (one,) = figures.draw(analysis(table), "noise-rate")
    rows = [row for row in drawn_rows(one, "true", "estimate", "low", "high") if row["seed"] == 1]
    assert rows
    assert all(row["low"] == row["estimate"] == row["high"] for row in rows)
    assert {row["says"] for row in rows} == {"cannot tell"}
    assert "RLL: 3 of 3 cover the truth" in {panel["title"]["text"] for panel in one.spec["concat"]}


def test_rates_of_other_noise_are_not_drawn(past_table):
    other = past_table.with_column("noise", np.full(len(past_table), "pair_flip", dtype=object))
    assert figures.draw(analysis(other), "noise-rate") == []


def test_a_started_loss_stands_beside_itself_and_cross_entropy(drawn, past_table):
    rows = drawn_rows(drawn["path-dependence"], "epoch", "corrupted_as_observed")
    assert {row["loss"] for row in rows} == {"CE", "RLL", "RLL from the weights of CE"}
    ends = {row["loss"]: row["corrupted_as_observed"] for row in rows if row["epoch"] == 60}
    assert ends["RLL from the weights of CE"] == pytest.approx(0.9)
    scratch = [
        one["corrupted_as_observed"]
        for one in final(past_table, loss="RLL", rate=0.4, noise="symmetric", network="mlp", start="scratch")
    ]
    assert min(abs(row["corrupted_as_observed"] - np.mean(scratch)) for row in rows if row["loss"] == "RLL") < 1e-12
    assert [panel["title"]["text"] for panel in drawn["path-dependence"].spec["concat"]] == ["η .2", "η .4"]


def test_recorded_labels_stand_beside_made_noise_of_their_rate(drawn, past_table):
    rows = drawn_rows(drawn["human-noise"], "noise", "corrupted_as_observed")
    assert {(row["noise"], row["loss"]) for row in rows} == {
        (law, l) for law in ("recorded", "symmetric") for l in ("CE", "RLL")
    }
    wanted = [
        np.mean(
            [
                one["corrupted_as_observed"]
                for one in final(past_table, noise="recorded", loss="CE")
                if abs(one["realised_rate"] - rate) < 0.05
            ]
        )
        for rate in (0.09, 0.4)
    ]
    got = sorted(row["corrupted_as_observed"] for row in rows if (row["noise"], row["loss"]) == ("recorded", "CE"))
    assert got == pytest.approx(sorted(wanted))
    assert all(row["corrupted_as_observed_n"] == 3 for row in rows)


def test_made_noise_of_another_rate_is_not_compared(past_table):
    table = past_table
    far = table.where(~((table["noise"] == "symmetric") & (table["network"] == "cnn8") & (table["rate"] < 0.2)))
    (one,) = figures.draw(analysis(far), "human-noise")
    assert len(one.spec["concat"]) == 2


def test_more_further_losses_than_spare_colors_differ_in_color_and_mark():
    names = [*LOSSES, *(f"loss {letter}" for letter in "abcdefghijkl")]
    styles = [loss_style(name, names) for name in names]
    assert len({(one.color, one.shape) for one in styles}) == len(names)
    assert len({(one.color, one.dash) for one in styles}) == len(names)


def test_the_captions_count_the_runs_behind_a_mark(drawn):
    assert "12 runs of CIFAR-10, CNN-8; 12 runs of" in re.sub(r" \(.*?\)", "", drawn["human-noise"].caption)
    assert drawn["human-noise"].caption.count("(3 seeds per cell)") == 2


def test_recorded_labels_are_compared_within_their_own_setting(past_table):
    rows = past_table.where(network="mlp", loss=("CE", "RLL"), rate=0.4, start="scratch").rows()
    elsewhere = Table.of([row | {"rate": 0.395, "key": f"{row['key']}-elsewhere"} for row in rows])
    (one,) = figures.draw(analysis(Table.concat([past_table, elsewhere])), "human-noise")
    assert len(one.spec["concat"]) == 4


def test_started_runs_are_shown_beside_a_larger_setting_without_them(past_table):
    rows = past_table.where(network="mlp", start="scratch").rows()
    wide = [row | {"width": 8, "seed": row["seed"] + 3 * n} for row in rows for n in (0, 1)]
    more = Table.of([row | {"key": f"{row['key']}-{row['seed']}-wide"} for row in wide])
    (one,) = figures.draw(analysis(Table.concat([past_table, more])), "path-dependence")
    assert [panel["title"]["text"] for panel in one.spec["concat"]] == ["η .2", "η .4"]


def test_starts_under_different_losses_are_different_lines(past_table):
    rows = past_table.where(start="memorized").rows()
    other = {"spec": {"start.kind": "generalized_cross_entropy"}, "corrupted_as_observed": 0.3}
    more = [row | other | {"key": f"{row['key']}-gce"} for row in rows]
    named = [row | {"start_loss": "GCE"} for row in more]
    alike = [row | {"start_loss": "CE"} for row in more]
    for added, name in ((named, "RLL from the weights of GCE"), (alike, "RLL from the weights of CE (2)")):
        (one,) = figures.draw(Analysis.of(results_of(past_table.rows() + added)), "path-dependence")
        ends = {row["loss"]: row for row in drawn_rows(one, "epoch", "corrupted_as_observed") if row["epoch"] == 60}
        assert ends[name]["corrupted_as_observed"] == pytest.approx(0.3)
        assert ends["RLL from the weights of CE"]["corrupted_as_observed"] == pytest.approx(0.9)


def test_another_alpha_and_collapsed_runs_are_not_counted(past, past_table):
    rows = past_table.where(loss="RLL", start="scratch", noise="symmetric").rows()
    other = [row | {"alpha": 0.45, "seed": 7, "key": f"{row['key']}-45"} for row in rows if row["seed"] == 0]
    gone = [row | {"collapsed": True, "seed": 8, "key": f"{row['key']}-gone"} for row in rows if row["seed"] == 1]
    (one,) = figures.draw(analysis(Table.concat([past_table, Table.of(other), Table.of(gone)])), "noise-rate")
    (plain,) = figures.draw(past, "noise-rate")
    assert one.caption == plain.caption


def test_a_missing_accuracy_is_no_end_of_an_axis(past_table):
    accuracy = np.where(past_table["loss"] == "RLL", np.nan, past_table["test_accuracy"])
    (one,) = figures.draw(analysis(past_table.with_column("test_accuracy", accuracy)), "human-noise")
    assert one.svg().startswith("<svg")
