"""Each condition of a claim about losses can fail by itself, and each statistic is the one in its statement."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byrote import claims
from byrote.analysis import Analysis
from claims.cases import by_rate, rates_off_one_run, scattered, table
from claims.made import Rows, results, ten_class, two_class

from .judged import rows, verdict


@pytest.mark.parametrize(
    ("id", "loss", "changes", "what"),
    [
        ("B1", "CE", {"m": 0.9}, "m of CE = "),
        ("B2", "RLL", {"a": lambda rate, seed: 0.8 if rate else 0.99}, "a = "),
        ("B2", "RLL", {"m": 0.35, "t": 0.6}, "m = "),
        ("B3", "RLL", {"a": lambda rate, seed: 0.87 if rate else 0.99, "m": 0.09, "t": 0.85}, "a = "),
        ("B3", "RLL", {"a": 0.99, "m": 0.12}, "m = "),
        ("B4", "CE", {"m": 0.985, "half": -1.0}, "best epoch"),
        ("B4", "MSE-p", {"m": 0.3, "t": 0.6}, "m - t at the last epoch"),
        ("B5", "RLL", {"t": 0.6}, "J2(eta) - J2(0)"),
        ("B6", "nMSE", {"m": 0.12, "t": 0.93}, "m nMSE - RLL"),
        ("B6", "nMSE", {"t": 0.7}, "J2 nMSE - RLL"),
    ],
)
def test_every_condition_of_lf_can_fail_alone(id: str, loss: str, changes: dict[str, object], what: str) -> None:
    rates = {"B1": (0.0, 0.05), "B3": (0.0, 0.4)}.get(id, (0.0, 0.2, 0.4, 0.6))
    judged = verdict(id, ten_class(rates=rates, by_loss={loss: changes}))
    assert judged.word in ("fails", "fails in", "holds except"), judged.reason
    assert what in judged.reason, judged.reason


def test_b1_needs_both_losses_in_the_settings_that_decide() -> None:
    main, beside = ten_class(("CE", "RLL")), ten_class(("MSE-p",), batch_size=16)
    judged = verdict("B1", main, beside)
    assert judged.word == "inconclusive"
    assert "only CE was run" in judged.reason
    assert verdict("B1", main, ten_class(("MSE-p",))).word == "holds"


def test_b3_compares_j1_with_the_realized_rate() -> None:
    """Random labels corrupt somewhat more or fewer samples than the nominal eta, so B3 compares with the real rate."""
    run_rows = ten_class()
    for row in run_rows:
        if row["loss"] == "RLL" and row["rate"] == 0.4:
            row["j1"], row["realised_rate"] = row["j1"] - 0.1, 0.5
    (at,) = [row for row in rows(verdict("B3", run_rows), "J1 - (1 - rho)") if "eta 0.4" in row["cell"]]
    (plain,) = [row for row in rows(verdict("B3", ten_class()), "J1 - (1 - rho)") if "eta 0.4" in row["cell"]]
    assert at["value"] == pytest.approx(plain["value"], abs=1e-12)


@pytest.mark.parametrize(("id", "first"), [("B3", "J1 - (1 - rho)"), ("B5", "J2(eta) - J2(0)"), ("A4", "slope LS/CE")])
def test_the_statistic_is_the_pooled_estimate_of_what_the_bar_names_first(id: str, first: str) -> None:
    judged = claims.evaluate(table(id, "holds"), [id])[0]
    assert len(set(judged.pooled.values())) == len(judged.pooled) > 1
    assert (judged.statistic, *(judged.interval or ())) == judged.pooled[first]


def test_b2_names_the_step_at_which_j1_rises() -> None:
    rise = {"RLL": {"m": lambda rate, seed: 0.99 if rate == 0.4 else 0.02}}
    judged = verdict("B2", ten_class(by_loss=rise))
    assert judged.word in ("fails in", "holds except")
    steps = {(row["from_eta"], row["verdict"]) for row in rows(judged, "change of J1 from the eta before")}
    assert (0.2, "outside") in steps
    assert (0.0, "inside") in steps


@pytest.mark.parametrize("fewest", [0.0, 0.2])
@pytest.mark.parametrize(
    ("id", "column", "what"),
    [
        ("B2", "j1", "change of J1 from the eta before"),
        ("B5", "j2", "J2(eta) - J2(0)"),
        ("B5", "j2", "gap of RLL - gap of CE"),
    ],
)
def test_a_change_between_two_eta_is_known_to_a_sample_of_the_side_with_fewer(
    id: str, column: str, what: str, fewest: float
) -> None:
    """If all seeds agree, the standard error is the share of one sample in the group with fewer runs."""
    run_rows = [
        row
        for rate in (0.0, 0.2)
        for row in ten_class(("CE", "RLL"), rates=(rate,), seeds=(0, 1, 2) if rate == fewest else (0, 1, 2, 3, 4))
    ]
    for row in run_rows:
        row[column] = {("RLL", 0.0): 0.99, ("RLL", 0.2): 0.81, ("CE", 0.0): 0.99, ("CE", 0.2): 0.7}[
            row["loss"], row["rate"]
        ]
    (at,) = rows(verdict(id, run_rows), what)
    half = 4.302652729911275 / (3 * 5000)  # Student's t with 2 degrees of freedom
    assert at["high"] - at["value"] == pytest.approx(half, rel=1e-9)


def test_the_premise_of_a11_names_its_readings() -> None:
    premise = claims.CLAIMS["A11"].premise
    assert "the test error and log NC1 both vary" in premise
    assert "the total of the test error at least twice that of counting" in premise


def test_rates_that_nearly_agree_are_no_neighbors() -> None:
    near = [row for rate in (0.4, 0.402) for row in ten_class(("CE", "RLL"), rates=(rate,))]
    assert verdict("B2", ten_class(("CE", "RLL"), rates=(0.0, 0.2)), near).word == "holds"


def test_b4_finds_a_crossing_in_the_middle_of_training() -> None:
    run_rows = ten_class()
    for row in run_rows:
        if row["loss"] == "RLL" and row["epoch"] == 30 and row["rate"] == 0.4:
            row["corrupted_as_true"], row["corrupted_as_observed"] = 0.3, 0.5 + 0.001 * row["seed"]
    judged = verdict("B4", run_rows)
    assert judged.word in ("fails in", "holds except")
    assert "RLL eta 0.4" in judged.reason


def test_b5_must_beat_cross_entropy() -> None:
    run_rows = ten_class()
    for row in run_rows:
        if row["loss"] == "CE" and row["rate"] > 0:
            row["j2"] = 0.999
    assert verdict("B5", run_rows).word == "fails"


def test_claims_of_lf_are_about_symmetric_noise_up_to_six_tenths() -> None:
    far = ten_class(("CE", "RLL"), rates=(0.8,), m=0.2, t=0.2, a=0.5)
    other = ten_class(("CE", "RLL"), noise="pair_flip", m=0.2, t=0.2, a=0.5)
    for id in ("B1", "B2", "B3", "B4", "B5", "B6", "B9"):
        alone, beside = verdict(id, ten_class()), verdict(id, ten_class(), far, other)
        assert (alone.verdict, alone.statistic, alone.interval, alone.runs) == (
            beside.verdict,
            beside.statistic,
            beside.interval,
            beside.runs,
        )


def test_b9_counts_a_run_that_never_learns_as_one_past_the_end() -> None:
    never = {"m": lambda rate, seed: 0.99 if rate == 0 else 0.1, "jitter": 0.0}
    run_rows = ten_class(("CE",), rates=(0.0, 0.6), seeds=(0, 1, 2), **never)
    judged = verdict("B9", run_rows)
    first = min(row["epoch"] for row in run_rows if row["rate"] == 0 and row["j1"] >= 0.95)
    assert judged.statistic == pytest.approx((61 - first) / 0.6)


def test_no_interval_has_zero_width() -> None:
    """If every seed reaches J1 .95 in the same epoch, the slope is still known only to within one evaluation."""
    run_rows = ten_class(("CE",), rates=(0.0, 0.6), jitter=0.0)
    low, high = verdict("B9", run_rows).interval  # type: ignore[misc]
    assert high - low == pytest.approx(2 * 2.776445 * 5 / math.sqrt(12) / 0.6, rel=1e-5)
    low, high = verdict("B10", *[table_rows("B10")]).interval  # type: ignore[misc]
    assert high > low


def table_rows(id: str) -> Rows:
    """Rows for CE, RLL, and CE with dropout; m is the same in all seeds."""
    run_rows = ten_class(("CE", "RLL"), rates=(0.4,), dropout=0.0, jitter=0.0)
    run_rows += ten_class(("CE",), rates=(0.4,), dropout=0.5, jitter=0.0)
    return run_rows + ten_class(("CE",), rates=(0.4,), dropout=0.0, weight_decay=5e-4, jitter=0.0)


def test_b10_compares_with_rll() -> None:
    run_rows = ten_class(("CE", "RLL"), rates=(0.4,), dropout=0.0, by_loss={"RLL": {"m": 0.9, "t": 0.1}})
    run_rows += ten_class(("CE",), rates=(0.4,), dropout=0.0, weight_decay=5e-4, m=0.7)
    judged = verdict("B10", run_rows)
    assert (judged.word, "m of RLL" in judged.reason) == ("fails", True)


def test_a_rate_so_low_that_no_label_moved_is_no_crash() -> None:
    run_rows = ten_class(rates=(0.0, 0.00001), seeds=(0, 1, 2))
    assert claims.evaluate(results(run_rows))


def test_c1_counts_independent_runs_that_state_a_rate() -> None:
    run_rows = [row | {"rate_stated": float(row["seed"] < 15)} for row in rates_off_one_run(lambda seed: True)]
    judged = verdict("C1", run_rows)
    assert (judged.runs, judged.statistic) == (30, 1.0)
    assert "30 of 38 independent runs state a rate" in judged.reason
    shared = [row | {"spec": {"split_seed": row["seed"], "noise_seed": row["seed"]}} for row in run_rows]
    assert "of 19 independent runs" in verdict("C1", shared).reason
    alone = [{name: value for name, value in row.items() if name != "spec"} for row in run_rows]
    assert verdict("C1", alone).word == "not tested"


def test_c4_is_not_about_rll_started_from_another_loss() -> None:
    run_rows = ten_class(("CE", "RLL"), rates=(0.4,))
    other = ten_class(("RLL",), rates=(0.4,), m=0.97, t=0.0)
    started = [row | {"key": row["key"] + "-s", "spec": {"start": {"kind": "label_smoothing"}}} for row in other]
    assert verdict("C4", run_rows, started).word == "not tested"
    started = [row | {"spec": {"start": {"kind": "cross_entropy"}}} for row in started]
    assert verdict("C4", run_rows, started).word == "holds"


share = st.floats(0, 1)


@given(st.integers(1, 400), st.integers(0, 400), share, share, share)
def test_b7_is_an_identity_of_counts(clean: int, corrupted: int, a: float, m: float, t: float) -> None:
    """J1 - J2 = rho (m - t) holds for all possible counts of outcomes; any other coefficient is detected."""
    right = round(a * clean)
    observed = round(m * corrupted)
    true = round(t * (corrupted - observed))
    n = clean + corrupted
    row = {
        "key": "run",
        "epoch": 1,
        "seed": 0,
        "loss": "CE",
        "noise": "symmetric",
        "j1": (right + observed) / n,
        "j2": (right + true) / n,
        "realised_rate": corrupted / n,
        "corrupted_as_observed": observed / corrupted if corrupted else float("nan"),
        "corrupted_as_true": true / corrupted if corrupted else float("nan"),
    }
    judged = verdict("B7", [row])
    assert judged.word == ("holds" if corrupted else "inconclusive")
    assert judged.statistic == pytest.approx(0, abs=1e-12)
    assert verdict("B7", [row | {"j2": row["j2"] + 1 / n}]).word == "fails"
    latent = row | {"noise": "latent_class", "j2": row["j2"] + 1 / n, "key": "other"}
    assert verdict("B7", [row, latent]).statistic == judged.statistic
    if corrupted and observed != true:
        assert verdict("B7", [row | {"realised_rate": row["realised_rate"] / 2}]).word == "fails"


def test_claims_read_results_of_any_float_width() -> None:
    run_rows = results(two_class()).results
    narrow = {
        name: run_rows.history[name].astype(np.float32)
        if run_rows.history[name].dtype.kind == "f"
        else run_rows.history[name]
        for name in run_rows.history.columns
    }
    rough = Analysis.of(type(run_rows)(run_rows.runs, type(run_rows.history)(narrow), "narrow", run_rows.about))
    for id in ("A3", "A5", "B7"):
        a, b = (claims.evaluate(one, [id])[0] for one in (Analysis.of(run_rows), rough))
        assert (a.verdict, a.statistic) == (b.verdict, pytest.approx(b.statistic, rel=1e-2, abs=1e-6))


def test_claims_about_a_factor_use_every_value_of_it() -> None:
    """M = 8 was run at fewer noise rates than other widths, but the verdict must still use it."""
    lines = [two_class(), two_class(feature_width=8, rates=(0.05, 0.1, 0.2), nc1=by_rate, mem=scattered)]
    judged = verdict("A7", *lines)
    assert (judged.word, "variations" in judged.reason) == ("holds except", False), judged.reason


def test_slopes_are_compared_on_the_seeds_that_both_settings_have() -> None:
    """Additional seeds for one M only do not change the interval of the ratio."""
    apart = verdict("A7", two_class(seeds=tuple(range(8))), two_class(feature_width=8, slope=0.8))
    (ratio, _) = rows(apart, "slope at M = 8 over M = 2")
    assert ratio["seeds"] == 5
    assert ratio["low"] < ratio["value"] < ratio["high"]


def test_the_tables_of_the_contract_are_what_they_say() -> None:
    assert table("B6", "fails").named(["nMSE"]).sum() == 20
