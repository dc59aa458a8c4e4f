"""Every registered claim can hold, fail and be inconclusive, and gives the reason for its verdict."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from stored import results_of

from byrote import claims, reference
from byrote.analysis import Analysis
from claims.cases import CASES, table
from claims.made import results, ten_class, two_class

IDS = sorted(claim.id for claim in claims.registered(theory=False))
CONTRACT = ("id", "statement", "verdict", "statistic", "interval", "bar", "runs", "published")
WORDS = ("holds", "fails", "holds except", "fails in", "inconclusive", "not tested")


def one(analysis: Analysis, id: str) -> claims.Verdict:
    return claims.evaluate(analysis, [id])[0]


def numbers(verdict: claims.Verdict) -> tuple[object, ...]:
    return verdict.verdict, verdict.statistic, verdict.interval, verdict.runs, verdict.by_dataset, verdict.pooled


def test_every_registered_claim_has_its_three_tables() -> None:
    assert set(CASES) == set(IDS)


@pytest.mark.parametrize("id", IDS)
@pytest.mark.parametrize("word", ["holds", "fails", "inconclusive"])
def test_a_claim_can_hold_fail_and_stay_open(id: str, word: str) -> None:
    verdict = one(table(id, word), id)
    assert verdict.verdict == verdict.word == word, verdict.reason
    assert verdict.runs > 0
    assert verdict.reason or id == "B7"
    assert id == "B7" or set(verdict.by_dataset) == {"Fashion-MNIST"}


@pytest.mark.parametrize("id", IDS)
def test_a_claim_without_its_runs_or_columns_is_not_tested_and_says_why(id: str) -> None:
    assert one(results([]), id).verdict == "not tested"
    bare = results([{"key": "a", "epoch": 1, "seed": 0, "loss": "CE", "rate": 0.0}])
    assert one(bare, id).verdict == "not tested"
    assert one(bare, id).reason
    strange = results([row | {"loss": "Other", "dataset": "elsewhere"} for row in ten_class(("CE",), rates=(0.9,))])
    verdict = one(strange, id)
    assert verdict.verdict == {"B7": "holds", "A10": "inconclusive"}.get(id, "not tested"), verdict.reason
    assert verdict.reason or id == "B7"


@pytest.mark.parametrize("id", IDS)
def test_a_claim_names_the_column_that_it_lacks(id: str) -> None:
    full = table(id, "holds").results
    for name in claims.CLAIMS[id].needs:
        if name in full.history.columns:
            columns = [column for column in full.history.columns if column != name]
            less = Analysis.of(type(full)(full.runs, full.history.select(*columns), "less", full.about))
            verdict = one(less, id)
            assert (verdict.verdict, verdict.reason) == ("not tested", f"the table has no column {name}")


@pytest.mark.parametrize("id", sorted(claims.CLAIMS))
def test_a_claim_documents_itself(id: str) -> None:
    claim = claims.CLAIMS[id]
    for text in (claim.statement, claim.bar, claim.method, claim.cells, claim.minimum, claim.premise):
        assert text.strip()


def test_the_page_on_claims_says_what_the_code_says() -> None:
    page = (Path(__file__).parents[2] / "docs" / "claims.md").read_text(encoding="utf-8")
    for one in claims.registered():
        row = (one.id, one.statement, one.bar, one.method, one.cells, one.minimum, one.premise)
        assert f"| {' | '.join(row)} |" in page, one.id


@pytest.mark.parametrize("id", IDS)
def test_verdicts_are_json_and_deterministic(id: str) -> None:
    analysis = table(id, "holds")
    first, second = (one(Analysis.of(analysis.results), id).to_json() for _ in range(2))
    assert json.dumps(first, allow_nan=False) == json.dumps(second, allow_nan=False)
    assert tuple(first)[: len(CONTRACT)] == CONTRACT
    assert first["interval"] is None or len(first["interval"]) == 2


@pytest.mark.parametrize("id", IDS)
def test_the_order_of_runs_does_not_matter(id: str) -> None:
    stored = table(id, "holds").results
    order = np.arange(len(stored.runs))[::-1]
    place = np.argsort(order)
    history = stored.history.with_column("run", place[stored.history["run"]])
    history = history.take(np.lexsort((history["epoch"], history["run"])))
    turned = Analysis.of(type(stored)(stored.runs.take(order), history, "turned", stored.about))
    a, b = one(table(id, "holds"), id), one(turned, id)
    assert (a.verdict, a.runs) == (b.verdict, b.runs)
    assert a.statistic == pytest.approx(b.statistic, rel=1e-9, abs=1e-12)


PAIRED = {"A4": ("CE", "LR"), "A5": ("CE", "LS"), "A5r": ("CE", "LS"), "A6": ("CE", "LS"), "A14": ("CE", "LS")}
PAIRED |= {"B1": ("MSE-p", "RLL"), "B2": ("RLL", "CE"), "B3": ("RLL", "CE"), "B4": ("RLL", "CE")}
PAIRED |= {"B5": ("RLL", "CE"), "B6": ("nMSE", "CE"), "B10": ("RLL", "CE"), "C4": ("RLL", "CE")}


@pytest.mark.parametrize("id", sorted(PAIRED))
def test_swapping_the_names_of_two_losses_changes_a_paired_verdict(id: str) -> None:
    stored = table(id, "holds").results
    a, b = PAIRED[id]
    specs = {
        loss: json.loads(text)["loss"] for loss, text in zip(stored.runs["loss"], stored.runs["spec"], strict=True)
    }
    swap = {a: b, b: a}
    rows = []
    for row in stored.runs.rows():
        name = swap.get(row["loss"], row["loss"])
        spec = json.loads(row["spec"])
        spec["loss"] = specs.get(name, {"kind": "other"})
        rows.append(row | {"loss": name, "spec": json.dumps(spec)})
    swapped = Analysis.of(type(stored)(type(stored.runs).of(rows), stored.history, "swapped", stored.about))
    assert one(swapped, id).verdict != "holds"


def test_an_unknown_id_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="A5"):
        claims.evaluate(results([]), ["A55"])


def test_all_claims_come_in_the_order_of_the_table() -> None:
    ids = [verdict.id for verdict in claims.evaluate(results([]))]
    expected = "A2 A3 A4 A5 A5r A6 A7 A8 A10 A11 A12 A13 A14 A15"
    expected += " B1 B2 B3 B4 B5 B6 B7 B9 B10 C1 C3 C4"
    assert ids == expected.split()


def test_a_premise_that_is_not_met_is_no_verdict_and_is_named() -> None:
    for id in ("A5", "A5r"):
        verdict = one(results(two_class(m=0.2, rates=(0.2, 0.4))), id)
        assert verdict.verdict == "inconclusive"
        assert "CE memorizes too little: m 0.1" in verdict.reason
    for id in ("B2", "B3", "B4", "B5", "B6"):
        verdict = one(results(ten_class(by_loss={"CE": {"m": 0.5}})), id)
        assert verdict.verdict == "inconclusive"
        assert "CE memorizes too little" in verdict.reason, id
    for id in ("B2", "B3", "B5"):
        verdict = one(results(ten_class(by_loss={"RLL": {"a": lambda rate, seed: 0.95 if rate == 0 else 0.99}})), id)
        assert "RLL underfits without noise" in verdict.reason, id
    verdict = one(results(ten_class(by_loss={"CE": {"a": 0.9, "m": 0.99}})), "B1")
    assert "m of CE: the premise is met in no cell" in verdict.reason
    assert any("CE underfits: clean accuracy 0.9" in row["reason"] for row in verdict.details)


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
@pytest.mark.parametrize("id", ["A3", "A5", "A6", "A12", "B1", "B3", "B5", "B6", "C4"])
def test_fewer_than_three_seeds_are_rows_and_decide_nothing(id: str, seeds: tuple[int, ...]) -> None:
    full = table(id, "holds").results
    chosen = np.flatnonzero([json.loads(text)["seed"] in seeds for text in full.runs["spec"]])
    place = {old: new for new, old in enumerate(chosen.tolist())}
    history = full.history.where(np.isin(full.history["run"], chosen))
    history = history.with_column("run", np.array([place[run] for run in history["run"].tolist()]))
    verdict = one(Analysis.of(type(full)(full.runs.take(chosen), history, "few", full.about)), id)
    assert verdict.verdict == "inconclusive"
    assert "fewer than 3 seeds" in verdict.reason
    assert verdict.details


def test_collapsed_and_failed_runs_are_left_out_and_counted() -> None:
    good = two_class()
    bad = two_class(seeds=(7,), collapsed=True, by_loss={"LS": {"mem": 99.0}})
    lost = [row | {"status": "failed"} for row in two_class(("CE",), seeds=(8,), mem=99.0)]
    verdict = one(results(good, bad, lost), "A5")
    assert verdict.statistic == one(results(good), "A5").statistic
    assert "collapsed runs left out: 8" in verdict.reason
    assert "failed runs left out: 4" in verdict.reason


def test_runs_of_older_versions_are_counted() -> None:
    stored = results(two_class()).results
    about = stored.about | {"older_versions": {"module:mine 12ab": 3}}
    verdict = one(Analysis.of(type(stored)(stored.runs, stored.history, "made", about)), "A5")
    assert "runs of older versions left out: 3" in verdict.reason


def test_another_parameter_of_a_loss_is_not_mixed_in() -> None:
    plain = ten_class()
    other = [row | {"alpha": 0.45, "key": row["key"] + "-45"} for row in ten_class(("RLL",), m=0.9, t=0.05)]
    scaled = [row | {"spec": {"loss.scale": 0.1}, "key": row["key"] + "-s"} for row in ten_class(("nMSE",), m=0.9)]
    for id in ("B2", "B3", "B5", "B6"):
        assert numbers(one(results(plain, other, scaled), id)) == numbers(one(results(plain), id))


BESIDE = {
    "clipping": {"training.clip": 1.0},
    "another file": {"data.path": "0f" * 32},
    "another own network": {"network.kind": "own", "network.factory": "aa:Net"},
    "another optimizer field": {"training.optimizer.nesterov": True},
}
EVERY_SETTING = {"B7"}  # B7 is an identity, which must hold in every setting


@pytest.mark.parametrize("what", sorted(BESIDE))
@pytest.mark.parametrize("id", sorted(set(IDS) - EVERY_SETTING - {"C3"}))
def test_a_setting_beside_the_plain_runs_leaves_their_word_alone(id: str, what: str) -> None:
    """Adding an equal number of runs with a different spec, on which the claim fails, does not change the verdict."""
    own, other = (table(id, word).results for word in ("holds", "fails"))
    base = {"another file": {"data.path": "1e" * 32}, "another own network": {"network.kind": "own"}}.get(what, {})
    plain = changed(own, base, "")
    verdict = one(joined(plain, changed(other, BESIDE[what], "-other")), id)
    alone = one(Analysis.of(plain), id)
    assert (verdict.verdict, verdict.statistic, verdict.interval) == (alone.verdict, alone.statistic, alone.interval)
    assert verdict.word == "holds", verdict.reason
    assert "variations, which decide nothing" in verdict.reason


def changed(original, fields, suffix):
    """Return the results with these spec fields (dotted paths) replaced, and with new run keys."""
    rows = []
    for row in original.runs.rows():
        spec = json.loads(row["spec"])
        for path, value in (fields or {}).items():
            *parents, leaf = path.split(".")
            tree = spec
            for name in parents:
                tree = tree[name]
            tree[leaf] = value
        rows.append(row | {"spec": json.dumps(spec), "key": row["key"] + suffix})
    return type(original)(type(original.runs).of(rows), original.history, original.source, original.about)


def joined(first, second) -> Analysis:
    """Join two results: the runs of the first, then the runs of the second."""
    runs = type(first.runs).concat([first.runs, second.runs])
    later = second.history.with_column("run", second.history["run"] + len(first.runs))
    history = type(first.history).concat([first.history, later])
    return Analysis.of(type(first)(runs, history, "joined", first.about))


def test_the_largest_setting_decides_and_of_equal_ones_the_first() -> None:
    worse = {"LS": {"mem": 1.9}, "CE": {"mem": 1.7}}
    other = [row | {"spec": {"training.clip": 1.0}, "key": row["key"] + "-c"} for row in two_class(by_loss=worse)]
    assert one(results(two_class(), other), "A5").word == "holds"
    assert one(results(other, two_class()), "A5").word == "fails"
    more = two_class(by_loss=worse, batch_size=16, seeds=tuple(range(6)))
    assert one(results(two_class(), more), "A5").word == "fails"


@pytest.mark.parametrize("lost", [{"collapsed": True}, {"status": "failed"}])
def test_what_comes_out_of_runs_does_not_make_their_setting_a_variation(lost: dict[str, object]) -> None:
    worse = two_class(weight_decay=2e-4, by_loss={"LS": {"mem": 1.9}, "CE": {"mem": 1.7}})
    fewer = [row | lost if (row["loss"], row["rate"]) == ("LS", 0.4) else row for row in worse]
    assert one(results(fewer, two_class()), "A5").word == "fails"


def test_where_only_a_variation_has_the_runs_of_a_claim_it_decides() -> None:
    crowd = two_class(("LR", "MSE", "RLL"))
    verdict = one(results(crowd, two_class(batch_size=16)), "A5")
    assert (verdict.word, "variations" in verdict.reason) == ("holds", False)


def test_other_classes_networks_noise_and_data_are_no_variations() -> None:
    most = two_class(("CE", "LS", "LR"))
    worse = {"CE": {"mem": 1.2}, "LS": {"mem": 1.7}}
    for other in ({"classes": "0,6"}, {"network": "cnn8"}, {"dataset": "mnist"}, {"noise": "symmetric"}):
        verdict = one(results(most, two_class(by_loss=worse, **other)), "A5")
        assert verdict.word in ("holds except", "fails in"), other
    assert one(results(most, two_class(by_loss=worse, width=64)), "A5").word == "holds"


def test_each_data_set_has_a_word_of_its_own() -> None:
    worse = {"CE": {"mem": 1.2}, "LS": {"mem": 1.7}}
    verdict = one(results(two_class(), two_class(by_loss=worse, dataset="mnist")), "A5")
    assert verdict.by_dataset == {"Fashion-MNIST": "holds", "MNIST": "fails"}
    assert verdict.verdict == "holds except in 1 of 2 cells"
    assert "MNIST" in verdict.reason


def test_published_values_stand_beside_the_cells_they_belong_to() -> None:
    analysis = results(ten_class(dataset="cifar10", network="inception_lite"))
    rows = [row for row in one(analysis, "B3").details if "published_j1" in row]
    assert {row["published_j1"] for row in rows} == {0.805, 0.655, 0.437}
    assert reference.finals("mnist", "resnet18", "nMSE", 0.6) == {"j1": 0.402, "j2": 0.927}
    assert reference.finals("mnist", "resnet18", "Other", 0.6) == {}
    assert "thesis" in reference.source()


def test_resistance_gives_a_row_a_cell_with_the_gap() -> None:
    rows = claims.resistance(results(ten_class()))
    assert len(rows) == 16
    clean = [row for row in rows if row["rate"] == 0]
    assert all(row["gap"] is None for row in clean)
    ce = next(row for row in rows if row["loss"] == "CE" and row["rate"] == 0.4)
    base = next(row for row in clean if row["loss"] == "CE")
    assert ce["gap"] == pytest.approx(ce["j2"] - base["j2"], abs=1e-9)
    assert ce["gap_low"] < ce["gap"] < ce["gap_high"]


@pytest.mark.parametrize("seed", range(6))
def test_no_hole_in_a_table_makes_a_claim_crash(seed: int) -> None:
    """If runs, epochs and readings are missing at random, every claim still gives a verdict that converts to JSON."""
    rng = np.random.default_rng(seed)
    rows = two_class(("CE", "LS", "LR", "MSE"), rates=(0.0, 0.1, 0.2, 0.4), seeds=(0, 1, 2)) + ten_class(
        seeds=(0, 1, 2)
    )
    lost = {row["key"] for row in rows if rng.random() < 0.03}
    readings = ("j1", "j2", "test_accuracy", "nc1_test", "mem_mean", "mem_noise_weighted", "mem_relative")
    readings += ("corrupted_as_observed", "corrupted_as_true", "clean_accuracy", "train_norm_cv", "class_distance")
    holed = []
    for row in rows:
        if row["key"] in lost or rng.random() < 0.1:
            continue
        holed.append(row | {name: None for name in readings if rng.random() < 0.1})
    for verdict in claims.evaluate(results(holed)):
        assert verdict.word in WORDS
        json.dumps(verdict.to_json(), allow_nan=False)


def test_runs_whose_features_died_but_for_a_trace_are_left_out_and_counted() -> None:
    """NC1 of runs with nearly dead features is in the thousands, and alone would determine a fitted line."""
    good = two_class(("CE", "LS", "LR", "MSE"))
    dead = two_class(("MSE",), seeds=(7,), rates=(0.1,), distance=1e-4, nc1=2000.0)
    verdict = one(results(good, dead), "A4")
    assert verdict.statistic == one(results(good), "A4").statistic
    assert "collapsed runs left out: 1" in verdict.reason
    small = two_class(("MSE",), seeds=(7,), rates=(0.1,), distance=0.2)
    assert "collapsed" not in one(results(good, small), "A4").reason


def test_two_runs_of_one_setting_loss_rate_and_seed_are_an_error_that_names_both() -> None:
    rows = two_class(("CE",), rates=(0.1,), seeds=(0,))
    with pytest.raises(ValueError, match=f"{re.escape(rows[0]['key'])} and {re.escape(rows[0]['key'])}-again"):
        results(rows, [row | {"key": row["key"] + "-again"} for row in rows])


def test_a_table_of_made_rows_is_what_a_store_gives() -> None:
    stored = results_of(two_class(("CE",), rates=(0.1,), seeds=(0, 1)))
    assert set(stored.runs.columns) >= {"key", "part", "status", "error", "spec", "contents", "bind", "loss"}
    assert stored.history["run"].tolist() == sorted(stored.history["run"].tolist())
