"""Each condition of a claim can fail by itself, and settings are kept apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byrote import claims
from byrote.store import Results
from claims.cases import by_rate, doubled, unrelated
from claims.made import Rows, noise_of, results, ten_class, two_class

FOUR = ("CE", "LS", "LR", "MSE")


def verdict(id: str, *parts: Rows) -> claims.Verdict:
    return claims.evaluate(results(*parts), [id])[0]


def test_a2_counts_both_conditions_and_gives_the_shape() -> None:
    for changes in ({"cosine": 0.15}, {"cosine": -0.15}, {"norm_cv": 0.25}):
        assert verdict("A2", two_class(rates=(0.0,), **changes)).verdict == "fails"
    rows = verdict("A2", two_class(rates=(0.0,), norm_cv=1.2), ten_class(rates=(0.0,))).details
    two = next(row for row in rows if "one_class_at_zero" in row)
    assert (two["one_class_at_zero"], two["M"]) == (1.0, 2)
    assert any(row.get("centred_cosine") == pytest.approx(-1 / 9) for row in rows)


def test_a3_needs_more_than_an_axis_that_grows_with_eta() -> None:
    found = verdict("A3", two_class(nc1=by_rate, mem=lambda rate, seed: 1 + noise_of("mem", rate, seed)))
    assert found.verdict == "fails"
    assert "leave-one-eta-out" in found.reason


def test_a3_is_shown_by_the_mode_of_the_class_means() -> None:
    rows = verdict("A3", two_class(norm_cv=lambda rate, seed: 1.3 if seed < 2 else 0.1)).details
    modes = [row["mode"] for row in rows if row["what"] == "R^2 of NC1 on mem" and "mode" in row]
    assert modes.count("one class at zero") == modes.count("both classes away from zero") == 2


@pytest.mark.parametrize("id", ["A4", "A5"])
def test_a4_and_a5_too(id: str) -> None:
    rows = verdict(id, two_class(FOUR, norm_cv=lambda rate, seed: 1.3 if seed < 2 else 0.1)).details
    assert {row["mode"] for row in rows if "mode" in row} == {"one class at zero", "both classes away from zero"}


def test_a4_fails_when_another_loss_shares_the_slope() -> None:
    found = verdict("A4", two_class(FOUR, by_loss={"LR": {"slope": 0.5}}))
    assert (found.verdict, "slope LR/CE" in found.reason) == ("fails", True)
    assert found.statistic == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("id", ["A3", "A4", "A5", "A5r"])
def test_the_papers_figure_is_for_two_classes_and_m_of_two(id: str) -> None:
    assert verdict(id, two_class(FOUR), two_class(FOUR, feature_width=8, nc1=1.0, mem=9.0)) == verdict(
        id, two_class(FOUR)
    )
    assert verdict(id, two_class(FOUR, feature_width=8)).verdict == "not tested"


def test_a5_is_decided_where_cross_entropy_memorised() -> None:
    less = {"LS": {"mem": lambda rate, seed: 1.2 if rate < 0.3 else 9.0}, "CE": {"mem": 1.7}}
    short = two_class(by_loss=less, m=lambda rate, seed: 0.98 if rate < 0.3 else 0.5)
    found = verdict("A5", short)
    assert found.verdict == "holds"
    assert "left out as under-trained: 1" in found.reason
    undecided = [row for row in found.details if row.get("rate") == 0.4]
    assert undecided[0]["reason"].startswith("under-trained")


def test_the_worst_setting_decides_and_is_named() -> None:
    other = two_class(dataset="mnist", by_loss={"LS": {"mem": 2.5}, "CE": {"mem": 1.7}})
    found = verdict("A5", two_class(), other)
    assert found.verdict == "fails"
    assert "in mnist" in found.reason
    assert verdict("A5", two_class(), two_class(dataset="mnist")).runs == 80


def test_pairs_are_of_one_seed_and_one_rate() -> None:
    # a seed's level is far larger than the difference of the losses: only pairing sees it
    level = {"mem": lambda rate, seed: 10.0 * (seed + 1)}
    shift = {"LS": {"mem": lambda rate, seed: 10.0 * (seed + 1) - 0.5 - 0.01 * seed}, "CE": level}
    found = verdict("A5", two_class(by_loss=shift, jitter=0.0))
    assert (found.verdict, found.statistic) == ("holds", pytest.approx(-0.52))
    lopsided = [row for row in two_class(by_loss=shift, jitter=0.0) if not (row["loss"] == "LS" and row["rate"] == 0.4)]
    assert verdict("A5", lopsided).statistic == pytest.approx(-0.52)


def test_a6_counts_cells() -> None:
    error = {"LS": {"error": lambda rate, seed: 0.06 if rate == 0.05 else 0.03}, "CE": {"error": 0.05}}
    found = verdict("A6", two_class(by_loss=error))
    assert (found.verdict, found.statistic) == ("fails", 0.75)


def test_a10_wants_the_doubled_cell_to_agree() -> None:
    base = two_class(("CE",), rates=(0.2,))
    assert verdict("A10", base, doubled()).verdict == "holds"
    moved = verdict("A10", base, doubled(mem=3.0))
    assert (moved.verdict, "doubled" in moved.reason) == ("fails", True)
    assert verdict("A10", base, doubled(seeds=(0,))).verdict == "inconclusive"
    assert verdict("A10", base, doubled(seeds=(0,), mem=3.0)).verdict == "fails"


def test_a12_fails_in_either_direction() -> None:
    for better in ("CE", "LS"):
        errors = {loss: {"error": 0.02 if loss == better else 0.05} for loss in ("CE", "LS")}
        assert verdict("A12", two_class(rates=(0.0,), by_loss=errors)).verdict == "fails"
    one = two_class(rates=(0.0,), seeds=(0,), error=0.02, n_test=100_000)
    assert verdict("A12", one).verdict == "holds"


def test_a13_fails_when_the_loss_matters_too() -> None:
    rows = two_class(width=64, slope=1.0) + two_class(width=1024, by_loss={"CE": {"slope": 0.4}, "LS": {"slope": 0.8}})
    found = verdict("A13", rows)
    assert (found.verdict, "slope LS/CE" in found.reason) == ("fails", True)


def test_a15_wants_a_slope_of_its_own() -> None:
    found = verdict("A15", two_class(clean_slope=0.5))
    assert (found.verdict, "clean training over test" in found.reason) == ("fails", True)


@pytest.mark.parametrize(
    ("id", "loss", "changes", "what"),
    [
        ("B1", "CE", {"m": 0.9, "n_train": 5000}, "m = "),
        ("B2", "RLL", {"a": 0.8}, "a = "),
        ("B2", "RLL", {"m": 0.35, "t": 0.6}, "m = "),
        ("B3", "RLL", {"a": 0.89, "m": 0.09, "t": 0.85}, "a = "),
        ("B3", "RLL", {"a": 0.99, "m": 0.12}, "m = "),
        ("B4", "CE", {"m": 0.985, "half": -1.0}, "largest t - m"),
        ("B4", "MSE-p", {"m": 0.3, "t": 0.6}, "m - t at the last epoch"),
        ("B5", "RLL", {"t": 0.6}, "J2(eta) - J2(0)"),
        ("B6", "nMSE", {"m": 0.12, "t": 0.93}, "m of nMSE"),
        ("B6", "nMSE", {"t": 0.7}, "J2 nMSE - RLL"),
    ],
)
def test_every_condition_of_lf_can_fail_alone(id: str, loss: str, changes: dict[str, float], what: str) -> None:
    rates = (0.0, 0.05) if changes.get("m") == 0.9 else (0.0, 0.2, 0.4, 0.6)
    found = verdict(id, ten_class(rates=rates, by_loss={loss: changes}))
    assert found.verdict == "fails"
    assert what in found.reason, found.reason


def test_b2_sees_one_seed_in_which_j1_rises() -> None:
    rise = {"RLL": {"m": lambda rate, seed: 0.9 if (seed, rate) == (3, 0.4) else 0.02}}
    found = verdict("B2", ten_class(by_loss=rise))
    assert found.verdict == "fails"
    assert "change of J1" in found.reason


def test_b4_finds_a_crossing_in_the_middle_of_training() -> None:
    rows = ten_class()
    for row in rows:
        if row["loss"] == "RLL" and row["epoch"] == 30 and row["rate"] == 0.4:
            row["corrupted_as_true"], row["corrupted_as_observed"] = 0.3, 0.5
    assert verdict("B4", rows).verdict == "fails"


def test_b5_must_beat_cross_entropy() -> None:
    rows = ten_class()
    for row in rows:
        if row["loss"] == "CE" and row["rate"] > 0:
            row["j2"] = 0.999
    assert verdict("B5", rows).verdict == "fails"


def test_lf_speaks_of_symmetric_noise_up_to_six_tenths() -> None:
    far = ten_class(("CE", "RLL"), rates=(0.8,), m=0.2, t=0.2, a=0.5)
    other = ten_class(("CE", "RLL"), noise="pair_flip", m=0.2, t=0.2, a=0.5)
    for id in ("B1", "B2", "B3", "B4", "B5", "B6", "B9"):
        assert verdict(id, ten_class(), far, other) == verdict(id, ten_class())


def test_b9_counts_a_run_that_never_learns_as_one_past_the_end() -> None:
    rows = ten_class(("CE",), rates=(0.0, 0.6), seeds=(0, 1), m=lambda rate, seed: 0.99 if rate == 0 else 0.1, jitter=0)
    found = verdict("B9", rows)
    first = min(row["epoch"] for row in rows if row["rate"] == 0 and row["j1"] >= 0.95)
    assert found.statistic == pytest.approx((61 - first) / 0.6)


def test_b9_reads_the_one_seed_that_has_two_rates() -> None:
    late = {"half": lambda rate, seed: 0.2 + 0.4 * rate}
    rows = ten_class(("CE",), seeds=(0,), **late)
    more = ten_class(("CE",), rates=(0.6,), seeds=(7,), **late)
    alone, beside = verdict("B9", rows), verdict("B9", rows, more)
    assert (alone.statistic, alone.interval) == (beside.statistic, beside.interval)


def test_a_table_without_what_every_claim_reads_is_not_tested() -> None:
    for name in ("epochs", "loss", "seed", "collapsed"):
        bare = [{other: value for other, value in row.items() if other != name} for row in ten_class()]
        for found in claims.evaluate(results(bare)):
            assert found.verdict == ("holds" if found.id == "B7" else "not tested")


def test_a_rate_so_low_that_no_label_moved_is_no_crash() -> None:
    rows = ten_class(rates=(0.0, 0.00001), seeds=(0, 1))
    assert len(claims.evaluate(results(rows))) == len(claims.CLAIMS)


def test_b10_is_beside_rll() -> None:
    rows = ten_class(("CE", "RLL"), rates=(0.4,), dropout=0.0, by_loss={"RLL": {"m": 0.9, "t": 0.1}})
    rows += ten_class(("CE",), rates=(0.4,), dropout=0.0, weight_decay=5e-4, m=0.7)
    found = verdict("B10", rows)
    assert (found.verdict, "m of RLL" in found.reason) == ("fails", True)
    bare = [{name: value for name, value in row.items() if name != "dropout"} for row in rows]
    assert verdict("B10", bare).verdict == "fails"


def test_c1_says_how_many_runs_underfit() -> None:
    rows = ten_class(("RLL",), rates=(0.2,), seeds=tuple(range(40)))
    stated = [row | {"rate_estimate": 0.2, "rate_low": 0.19, "rate_high": 0.21} for row in rows]
    marked = [row | {"underfits": row["seed"] >= 36} for row in stated]
    wrong = [row | {"rate_low": 0.3, "rate_high": 0.4} if row["seed"] >= 36 else row for row in marked]
    found = verdict("C1", wrong)
    assert (found.verdict, found.runs) == ("holds", 36)
    assert "underfit left out: 4" in found.reason
    assert "mean width 0.02" in found.reason


share = st.floats(0, 1)


@given(st.integers(1, 400), st.integers(0, 400), share, share, share)
def test_b7_is_an_identity_of_counts(clean: int, corrupted: int, a: float, m: float, t: float) -> None:
    """J1 - J2 = rho (m - t) for every way to count outcomes; any other coefficient is caught."""
    right = round(a * clean)
    observed = round(m * corrupted)
    true = round(t * (corrupted - observed))
    n = clean + corrupted
    row = {
        "key": "run",
        "epoch": 1,
        "noise": "symmetric",
        "j1": (right + observed) / n,
        "j2": (right + true) / n,
        "realised_rate": corrupted / n,
        "corrupted_as_observed": observed / corrupted if corrupted else None,
        "corrupted_as_true": true / corrupted if corrupted else None,
    }
    found = verdict("B7", [row])
    assert found.verdict == ("holds" if corrupted else "inconclusive")
    assert found.statistic == pytest.approx(0, abs=1e-12)
    assert verdict("B7", [row | {"j2": row["j2"] + 1 / n}]).verdict == "fails"
    assert verdict("B7", [row, row | {"noise": "latent_class", "j2": row["j2"] + 1 / n}]) == found
    if corrupted and observed != true:
        assert verdict("B7", [row | {"realised_rate": row["realised_rate"] / 2}]).verdict == "fails"


def test_claims_read_results_of_any_float_width() -> None:
    made = results(two_class())
    narrow = {
        name: made.history[name].astype(np.float32) if made.history[name].dtype.kind == "f" else made.history[name]
        for name in made.history.columns
    }
    rough = Results(type(made.history)(narrow), made.features, "narrow", {})
    for id in ("A3", "A5", "B7"):
        a, b = claims.evaluate(made, [id])[0], claims.evaluate(rough, [id])[0]
        assert (a.verdict, a.statistic) == (b.verdict, pytest.approx(b.statistic, rel=1e-4, abs=1e-6))


def test_other_classes_and_other_networks_are_no_variations() -> None:
    """Fewer cells than Figure 1's setting has do not take the say from other classes, networks or images."""
    most = two_class(("CE", "LS", "LR"))
    worse = {"CE": {"mem": 1.2}, "LS": {"mem": 1.7}}
    for other in ({"classes": "0,6"}, {"network": "cnn8"}, {"dataset": "mnist"}):
        assert verdict("A5", most, two_class(by_loss=worse, **other)).verdict == "fails", other
    assert verdict("A5", most, two_class(by_loss=worse, width=64)).verdict == "holds"


@pytest.mark.parametrize("id", ["A7", "A8"])
def test_claims_about_a_factor_hear_all_its_settings(id: str) -> None:
    """Fewer rates do not make M = 8, or more classes at another width, a variation."""
    rates = (0.05, 0.1, 0.2)
    lines = [two_class(), two_class(feature_width=8, rates=rates, nc1=unrelated)]
    noises = [{"num_classes": 10, "feature_width": 10, "m": 0.95, "noise": noise} for noise in ("symmetric", "uniform")]
    models = [*(two_class(**one) for one in noises), two_class(**noises[0], rates=rates, width=64, nc1=unrelated)]
    found = verdict(id, *(lines if id == "A7" else models))
    assert (found.verdict, "variations" in found.reason) == ("fails", False), found.reason


def test_slopes_are_compared_on_the_seeds_that_both_settings_have() -> None:
    """More seeds of one width, or of one M, leave the ratio its interval."""
    more = tuple(range(8))
    wide = verdict("A13", two_class(width=64, slope=1.0), two_class(width=1024, slope=0.4, seeds=more))
    assert wide.verdict == "holds", wide.reason
    apart = verdict("A7", two_class(seeds=more), two_class(feature_width=8, slope=0.8))
    (ratio, _) = [row for row in apart.details if row["what"] == "slope at M=8 over M=2"]
    assert ratio["seeds"] == 5
    assert ratio["low"] < ratio["value"] < ratio["high"]
