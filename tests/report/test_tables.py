"""The tables on the page: resistance to noise, parts of the study, limitations, and where the runs were made."""

import numpy as np
from figures import made
from scipy import stats
from stored import results_of

from byrote.analysis import Analysis
from byrote.report.tables import environment, limits, parts, resistance_tables
from byrote.report.words import percent
from byrote.table import Table


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
    assert "Fashion-MNIST subset, MLP has one seed" in text
    assert "2,000 to 5,000 training images" in text
    assert "in figures of the field that they vary: Fashion-MNIST subset 0/1, MLP, 120 epochs." in text


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


def test_another_alpha_of_a_loss_has_rows_and_a_color_of_its_own():
    rows = made.runs(made.Cells(made.TEN, ("CE", "RLL"), (0.0, 0.4), seeds=2, every=30)).rows()
    other = [
        row | {"alpha": 0.45, "key": f"{row['key']}-45"} for row in rows if row["loss"] == "RLL" and row["seed"] == 0
    ]
    (table,) = resistance_tables(made.analysis(Table.of(rows + other)))
    colors = {row["loss"]: row["color"] for row in table["rows"]}
    assert set(colors) == {"CE", "RLL", "RLL alpha .45"}
    assert len(set(colors.values())) == 3
