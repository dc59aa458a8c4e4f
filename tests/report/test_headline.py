"""The sentences at the top of the page, computed from the tables."""

import re

import numpy as np
import pytest
from figures import made

from byrote.report import headline as heads
from byrote.report.words import percent
from report.made_verdicts import verdict


def sentences(table, **columns):
    """Compute the sentences at the top of the page for a table with some columns replaced."""
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
    assert f"{least} predicts the true class for {percent(t)} of the samples with wrong labels." in sentence
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
    assert re.search(r"class distance: [\d.]+ over \d+ runs", one), "with one seed the sentence shows no interval"


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
