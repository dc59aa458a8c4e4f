"""The contract of every registered claim: it can hold, fail and stay open, and it says how it decided."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from byrote import claims, reference
from byrote.store import Results, Table
from claims.cases import CASES, table
from claims.made import noise_of, results, ten_class, two_class

IDS = sorted(id for id, one in claims.CLAIMS.items() if not one.theory)  # those that are judged from runs
CONTRACT = ("id", "statement", "verdict", "statistic", "interval", "bar", "runs", "published")


def one(made: Results, id: str) -> claims.Verdict:
    return claims.evaluate(made, [id])[0]


def test_every_registered_claim_has_its_three_tables() -> None:
    assert set(CASES) == set(IDS)


@pytest.mark.parametrize("id", IDS)
@pytest.mark.parametrize("word", ["holds", "fails", "inconclusive"])
def test_a_claim_can_hold_fail_and_stay_open(id: str, word: str) -> None:
    verdict = one(table(id, word), id)
    assert verdict.verdict == word, verdict.reason
    assert verdict.runs > 0
    assert verdict.reason or word == "holds"


@pytest.mark.parametrize("id", IDS)
def test_a_claim_without_its_runs_or_columns_is_not_tested_and_says_why(id: str) -> None:
    assert one(results([]), id).verdict == "not tested"
    bare = results([{"key": "a", "epoch": 1, "seed": 0}])
    assert (one(bare, id).verdict, "no column" in one(bare, id).reason) == ("not tested", True)
    strange = results([row | {"loss": "Other", "dataset": "elsewhere"} for row in ten_class(("CE",), rates=(0.9,))])
    verdict = one(strange, id)
    assert verdict.verdict == {"B7": "holds", "A10": "inconclusive"}.get(id, "not tested")
    assert verdict.reason or id == "B7"


@pytest.mark.parametrize("id", sorted(claims.CLAIMS))
def test_a_claim_documents_itself(id: str) -> None:
    claim = claims.CLAIMS[id]
    for text in (claim.statement, claim.bar, claim.method, claim.aggregation, claim.minimum, claim.premise):
        assert text.strip()


def test_the_page_on_claims_says_what_the_code_says() -> None:
    page = (Path(__file__).parents[2] / "docs" / "claims.md").read_text(encoding="utf-8")
    for one in claims.registered():
        said = (one.id, one.statement, one.bar, one.method, one.aggregation, one.minimum, one.premise)
        assert f"| {' | '.join(said)} |" in page


@pytest.mark.parametrize("id", IDS)
def test_verdicts_are_json_and_deterministic(id: str) -> None:
    made = table(id, "holds")
    first, second = (one(made, id).to_json() for _ in range(2))
    assert json.dumps(first, allow_nan=False) == json.dumps(second, allow_nan=False)
    assert tuple(first)[: len(CONTRACT)] == CONTRACT
    assert first["interval"] is None or len(first["interval"]) == 2


@pytest.mark.parametrize("id", IDS)
def test_the_order_of_rows_and_runs_does_not_matter(id: str) -> None:
    made = table(id, "holds")
    turned = Results(Table.of(made.history.rows()[::-1]), made.features, "turned", {})
    a, b = one(made, id), one(turned, id)
    assert (a.verdict, a.runs) == (b.verdict, b.runs)
    assert a.statistic == pytest.approx(b.statistic, rel=1e-9, abs=1e-12)


PAIRED = {"A4": ("CE", "LR"), "A5": ("CE", "LS"), "A5r": ("CE", "LS"), "A6": ("CE", "LS"), "A14": ("CE", "LS")}
PAIRED |= {"B1": ("MSE-p", "RLL"), "B2": ("RLL", "CE"), "B3": ("RLL", "CE"), "B4": ("RLL", "CE")}
PAIRED |= {"B5": ("RLL", "CE"), "B6": ("nMSE", "CE"), "B10": ("RLL", "CE"), "C4": ("RLL", "CE")}


@pytest.mark.parametrize("id", sorted(PAIRED))
def test_swapping_the_names_of_two_losses_changes_a_paired_verdict(id: str) -> None:
    made = table(id, "holds")
    a, b = PAIRED[id]
    swap = {a: b, b: a}
    rows = [row | {"loss": swap.get(row["loss"], row["loss"]), "alpha": 0.1} for row in made.history.rows()]
    assert one(results(rows), id).verdict != "holds"


def test_an_unknown_id_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="A5"):
        claims.evaluate(results([]), ["A55"])


def test_all_claims_come_in_the_order_of_the_table() -> None:
    ids = [verdict.id for verdict in claims.evaluate(results([]))]
    expected = "A2 A3 A4 A5 A5r A6 A7 A8 A10 A11 A12 A13 A14 A15"
    expected += " B1 B2 B3 B4 B5 B6 B7 B9 B10 C1 C3 C4"
    assert ids == expected.split()


def test_under_trained_cross_entropy_is_no_verdict() -> None:
    for id in ("A5", "A5r"):
        verdict = one(results(two_class(m=0.2, rates=(0.2, 0.4))), id)
        assert verdict.verdict == "inconclusive"
        assert verdict.reason.startswith("under-trained: CE J1")
    for id in ("B1", "B2", "B3", "B4", "B5", "B6"):
        verdict = one(results(ten_class(by_loss={"CE": {"m": 0.5}})), id)
        assert verdict.verdict == "inconclusive"
        assert verdict.reason.startswith("under-trained: CE J1"), id


@pytest.mark.parametrize("id", ["B1", "B2", "B3", "B4", "B5", "B6", "B9"])
def test_one_seed_is_decided_over_samples_and_says_so(id: str) -> None:
    half = {"half": lambda rate, seed: 0.2 + 0.4 * rate}
    verdict = one(results(ten_class(seeds=(0,), m=0.99, by_loss={"RLL": {"m": 0.02}, "nMSE": {"m": 0.02}}, **half)), id)
    assert verdict.verdict == "holds", verdict.reason
    assert "one seed" in verdict.reason
    assert verdict.interval is not None
    assert verdict.interval[0] <= verdict.statistic <= verdict.interval[1]  # type: ignore[operator]


@pytest.mark.parametrize("id", IDS)
def test_an_inconclusive_verdict_says_what_would_decide_it(id: str) -> None:
    reason = one(table(id, "inconclusive"), id).reason
    power = r"more (seeds?|runs?) would (decide it|be needed)"
    premise = r"under-trained|was run|was varied|was rerun|no corrupted sample"
    assert re.search(f"{power}|{premise}", reason), reason


def test_collapsed_and_failed_runs_are_left_out_and_counted() -> None:
    good = two_class()
    bad = two_class(seeds=(7,), collapsed=True, by_loss={"LS": {"mem": 99.0}})
    lost = [row | {"status": "failed"} for row in two_class(("CE",), seeds=(8,), mem=99.0)]
    verdict = one(results(good, bad, lost), "A5")
    assert verdict.statistic == one(results(good), "A5").statistic
    assert "collapsed runs left out: 8" in verdict.reason
    assert "failed runs left out: 4" in verdict.reason


def test_reruns_with_every_stage_doubled_count_for_a10_alone() -> None:
    plain = two_class(rates=(0.1, 0.2, 0.4))
    twice = two_class(rates=(0.2,), epochs=tuple(range(10, 121, 10)), schedule="other", mem=50.0)
    for id in ("A3", "A5", "A6", "A11"):
        assert one(results(plain, twice), id) == one(results(plain), id)
    assert one(results(plain, twice), "A10").verdict == "fails"


def test_sensitivity_runs_at_another_alpha_are_not_mixed_in() -> None:
    plain = ten_class()
    other = [row | {"alpha": 0.45, "key": row["key"] + "-45"} for row in ten_class(("RLL",), m=0.9, t=0.05)]
    for id in ("B2", "B3", "B5"):
        assert one(results(plain, other), id) == one(results(plain), id)


def test_published_values_stand_beside_the_cells_they_belong_to() -> None:
    made = results(ten_class(dataset="cifar10", network="inception_lite"))
    rows = [row for row in one(made, "B3").details if "published_j1" in row]
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
    """Runs, epochs and readings go missing at random: every claim still answers, in JSON."""
    rng = np.random.default_rng(seed)
    rows = two_class(("CE", "LS", "LR", "MSE"), rates=(0.0, 0.1, 0.2, 0.4), seeds=(0, 1, 2)) + ten_class(seeds=(0, 1))
    lost = {row["key"] for row in rows if rng.random() < 0.03}
    readings = ("j1", "j2", "test_accuracy", "nc1_test", "mem_mean", "mem_noise_weighted", "mem_weighted_relative")
    readings += ("corrupted_as_observed", "corrupted_as_true", "clean_accuracy", "uncentred_cosine", "norm_cv")
    holed = []
    for row in rows:
        if row["key"] in lost or rng.random() < 0.1:
            continue
        holed.append(row | {name: None for name in readings if rng.random() < 0.1})
    for verdict in claims.evaluate(results(holed)):
        assert verdict.verdict in ("holds", "fails", "inconclusive", "not tested")
        json.dumps(verdict.to_json(), allow_nan=False)


HEAR_ALL = {"A2", "A7", "A8", "A10", "A13", "B7", "B10", "C1", "C4"}


def beside(id: str, *, more_cells: bool) -> claims.Verdict:
    """The verdict where the claim holds and, with a batch of 16, fails; with one loss more among the first or not."""
    own, other = (table(id, word).history.rows() for word in ("holds", "fails"))
    more = [row | {"loss": "Other", "key": row["key"] + "-other"} for row in own if more_cells]
    variation = [row | {"batch_size": 16, "key": row["key"] + "-16"} for row in other]
    return one(results(own, more, variation), id)


@pytest.mark.parametrize("id", sorted(set(IDS) - HEAR_ALL))
def test_a_variation_of_a_setting_is_shown_and_decides_nothing(id: str) -> None:
    verdict = beside(id, more_cells=True)
    assert verdict.verdict == "holds", verdict.reason
    assert re.search("variations, which decide nothing: .*[0-9] fail", verdict.reason), verdict.reason
    assert any(row.get("variation") and row["verdict"] == "fails" for row in verdict.details)


@pytest.mark.parametrize("id", sorted(set(IDS) - HEAR_ALL))
def test_settings_of_equally_many_cells_decide_alike(id: str) -> None:
    verdict = beside(id, more_cells=False)
    assert verdict.verdict == "fails", verdict.reason
    assert "variations" not in verdict.reason


def test_where_only_a_variation_has_the_runs_of_a_claim_it_decides() -> None:
    crowd = two_class(("LR", "MSE", "RLL"))
    verdict = one(results(crowd, two_class(batch_size=16)), "A5")
    assert (verdict.verdict, "variations" in verdict.reason) == ("holds", False)


def test_half_of_a_claim_that_only_a_variation_has_is_heard() -> None:
    lr = {"LR": {"slope": 0.5}}
    main = two_class(("CE", "LS", "RLL", "nMSE"))
    assert one(results(main, two_class(("CE", "LR"), width=64, by_loss=lr)), "A4").verdict == "fails"
    mild = ten_class(("CE", "MSE-p"), width=64, by_loss={"MSE-p": {"m": 0.5}})
    verdict = one(results(ten_class(("CE", "RLL", "nMSE")), mild), "B1")
    assert (verdict.verdict, "only CE was run" in verdict.reason) == ("inconclusive", True)


@pytest.mark.parametrize("lost", [{"collapsed": True}, {"status": "failed"}])
def test_what_comes_out_of_runs_does_not_make_their_setting_a_variation(lost: dict[str, object]) -> None:
    worse = two_class(weight_decay=2e-4, by_loss={"LS": {"mem": 1.9}, "CE": {"mem": 1.7}})
    fewer = [row | lost if (row["loss"], row["rate"]) == ("LS", 0.4) else row for row in worse]
    assert one(results(two_class(), fewer), "A5").verdict == "fails"


def test_more_seeds_outweigh_more_losses_and_noise_models_are_no_variations() -> None:
    worse = {"LS": {"mem": 1.9}, "CE": {"mem": 1.7}}
    wide = two_class(("CE", "LS", "LR"), seeds=(0,), width=64)
    assert one(results(two_class(by_loss=worse), wide), "A5").verdict == "fails"
    other = two_class(noise="symmetric", by_loss=worse)
    assert one(results(two_class(("CE", "LS", "LR")), other), "A5").verdict == "fails"


def test_the_best_reading_is_that_of_the_settings_that_decide() -> None:
    noisy = two_class(batch_size=16, nc1=lambda rate, seed: 0.05 + 0.2 * noise_of("odd", rate, seed))
    alone, beside_it = (
        one(results(*parts), "A3").reason
        for parts in ([two_class(("CE", "LS", "LR"))], [two_class(("CE", "LS", "LR")), noisy])
    )
    best = re.compile("best reading: .*on average")
    assert best.search(alone).group() == best.search(beside_it).group()  # type: ignore[union-attr]


def test_files_of_recorded_labels_are_settings_of_their_own() -> None:
    parts = [two_class(noise="recorded", labels=name, nc1=scale) for name, scale in (("aggre", 0.1), ("worst", 0.4))]
    found = one(results(*parts), "A11").details
    assert len({row["cell"] for row in found}) == 2
    assert all("labels=" in row["cell"] for row in found)


def test_rates_that_nearly_agree_are_no_neighbours() -> None:
    near = [row for rate in (0.4, 0.402) for row in ten_class(("CE", "RLL"), rates=(rate,))]
    made = results(ten_class(("CE", "RLL"), rates=(0.0, 0.2)), near)
    assert one(made, "B2").verdict == "holds"


def test_rll_started_from_another_loss_is_not_what_c4_speaks_of() -> None:
    rows = [
        row | {"start_loss": "LS" if row["start"] == "memorised" else ""} for row in table("C4", "holds").history.rows()
    ]
    assert one(results(rows), "C4").verdict == "not tested"
    rows = [row | {"start_loss": "CE" if row["start_loss"] else ""} for row in rows]
    assert one(results(rows), "C4").verdict == "holds"


def test_runs_whose_features_died_but_for_a_trace_are_left_out_and_counted() -> None:
    """Their NC1, in the thousands, would be the whole of a line."""
    good = two_class(("CE", "LS", "LR", "MSE"))
    dead = two_class(("MSE",), seeds=(7,), rates=(0.1,), distance=1e-4, nc1=2000.0)
    verdict = one(results(good, dead), "A4")
    assert verdict.statistic == one(results(good), "A4").statistic
    assert "collapsed runs left out: 1" in verdict.reason
    small = two_class(("MSE",), seeds=(7,), rates=(0.1,), distance=0.2)
    assert "collapsed" not in one(results(good, small), "A4").reason
