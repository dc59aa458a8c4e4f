"""Each condition of a claim can fail by itself, and each statistic is the one that the claim's statement names."""

from __future__ import annotations

import numpy as np
import pytest

from claims.cases import by_rate, doubled, noises, scattered, wobbling
from claims.made import SEEDS, noise_of, results, two_class

from .judged import FOUR, rows, verdict


def test_a2_is_read_off_training_means_and_not_off_test_means() -> None:
    forty = {"rates": (0.0,), "seeds": tuple(range(40))}
    assert verdict("A2", two_class(test_cosine=0.9, **forty)).word == "holds"
    for changes in ({"cosine": 0.15}, {"cosine": -0.15}, {"norm_cv": 0.25}):
        assert verdict("A2", two_class(test_cosine=0.0, **changes, **forty)).word == "fails"


def test_a2_uses_only_ce_and_ls_with_weight_decay() -> None:
    forty = {"rates": (0.0,), "seeds": tuple(range(40))}
    bad = two_class(("MSE", "RLL"), cosine=0.9, **forty) + two_class(weight_decay=0.0, cosine=0.9, **forty)
    assert verdict("A2", two_class(**forty), bad).word == "holds"
    assert verdict("A2", bad).word == "not tested"
    shape = verdict("A2", two_class(norm_cv=1.2, **forty)).details
    assert {row["runs_with_a_class_at_zero"] for row in shape if "runs_with_a_class_at_zero" in row} == {40}


def test_a2_counts_a_class_at_exactly_zero_which_has_no_cosine_against_the_claim() -> None:
    forty = {"rates": (0.0,), "seeds": tuple(range(40))}
    dead = two_class(norm_cv=1.4, cosine=float("nan"), **forty)
    assert verdict("A2", dead).word == "fails"
    assert verdict("A2", dead).runs == 80


def test_a2_counts_each_width_of_the_features() -> None:
    forty = {"rates": (0.0,), "seeds": tuple(range(20))}
    judged = verdict("A2", two_class(**forty), two_class(feature_width=16, cosine=0.9, **forty))
    assert judged.word == "fails"
    assert judged.pooled["share of runs, CE"][0] == 0.5
    assert {row["value"] for row in judged.details if "M = " in row["cell"]} == {0.0, 1.0}


def test_a3_needs_more_than_an_axis_that_grows_with_eta() -> None:
    judged = verdict("A3", two_class(nc1=by_rate, mem=scattered))
    assert judged.word == "fails"
    assert all(row["value"] > 1 for row in rows(judged, "error of unseen eta, mem over rate"))


def test_a3_shows_the_control_beside_relative_mem() -> None:
    judged = verdict("A3", two_class(distance=lambda rate, seed: 4 + seed))
    assert len(rows(judged, "R^2 of NC1 on 1/D^2 alone")) == 2
    assert len(rows(judged, "error of unseen eta, mem / D over 1/D^2 alone")) == 2
    assert set(judged.pooled) == {"error of unseen eta, mem over rate"}


@pytest.mark.parametrize("id", ["A3", "A4", "A5", "A5r"])
def test_the_papers_figure_is_for_two_classes_and_m_of_two(id: str) -> None:
    wide = two_class(FOUR, feature_width=8, nc1=1.0, mem=9.0)
    alone, beside = verdict(id, two_class(FOUR)), verdict(id, two_class(FOUR), wide)
    assert (alone.verdict, alone.statistic, alone.runs) == (beside.verdict, beside.statistic, beside.runs)
    assert verdict(id, two_class(FOUR, feature_width=8)).word == "not tested"


def test_a4_fails_in_the_loss_that_shares_the_slope() -> None:
    judged = verdict("A4", two_class(FOUR, by_loss={"LR": {"slope": 0.5}}))
    assert judged.word == "fails"
    assert "slope LR/CE" in judged.reason
    assert judged.pooled["slope LS/CE"][0] == pytest.approx(1, abs=0.1)


def test_a4_says_what_is_lacking() -> None:
    assert "neither MSE nor LR" in verdict("A4", two_class(("CE", "LS"))).reason


def test_a5_is_decided_where_cross_entropy_memorized() -> None:
    less = {"LS": {"mem": lambda rate, seed: 1.2 if rate < 0.3 else 9.0}, "CE": {"mem": 1.7}}
    short = two_class(by_loss=less, m=lambda rate, seed: 0.98 if rate < 0.3 else 0.3)
    judged = verdict("A5", short)
    assert judged.word == "holds"
    assert "eta left out where CE does not memorize: 1" in judged.reason
    left_out = [row for row in judged.details if row.get("rate") == 0.4]
    assert left_out[0]["reason"].startswith("CE memorizes too little")


def test_the_premise_is_m_and_not_j1_which_is_high_at_low_eta_without_memorization() -> None:
    """At eta .05 a network that memorizes nothing has J1 = 1 - rho = .975."""
    low = two_class(rates=(0.02,), m=0.1, n_train=2000)
    assert low[-1]["j1"] > 0.98
    assert verdict("A5", low).word == "inconclusive"


def test_pairs_are_of_one_seed_and_one_rate() -> None:
    # seeds differ far more than losses, so only pairing detects the difference between losses
    level = {"mem": lambda rate, seed: 10.0 * (seed + 1)}
    shift = {"LS": {"mem": lambda rate, seed: 10.0 * (seed + 1) - 0.5 - 0.01 * seed}, "CE": level}
    judged = verdict("A5", two_class(by_loss=shift, jitter=0.0))
    assert (judged.word, judged.statistic) == ("holds", pytest.approx(-0.52))
    lopsided = [row for row in two_class(by_loss=shift, jitter=0.0) if not (row["loss"] == "LS" and row["rate"] == 0.4)]
    assert verdict("A5", lopsided).statistic == pytest.approx(-0.52)
    first = [row for row in two_class(by_loss=shift, jitter=0.0) if (row["loss"], row["seed"]) != ("LS", 0)]
    assert verdict("A5", first).statistic == pytest.approx(-0.525)


def test_a5_agrees_with_student_by_hand() -> None:
    from scipy import stats

    judged = verdict("A5", two_class())
    runs = results(two_class()).runs
    differences = []
    for seed in SEEDS:
        mem = {loss: runs.where(loss=loss, seed=seed)["mem_mean"] for loss in ("CE", "LS")}
        differences.append(float(np.mean(mem["LS"] - mem["CE"])))
    low, high = stats.t.interval(0.95, 4, np.mean(differences), stats.sem(differences))
    assert judged.statistic == pytest.approx(np.mean(differences), rel=1e-12)
    assert judged.interval == pytest.approx((low, high), rel=1e-9)


def test_a6_is_about_nearly_all_cells() -> None:
    rates = tuple(round(0.02 * k, 3) for k in range(1, 21))
    seeds = tuple(range(10))
    error = {"CE": {"error": 0.05}, "LS": {"error": lambda rate, seed: 0.09 if rate < 0.03 else 0.04}}
    judged = verdict("A6", two_class(rates=rates, seeds=seeds, by_loss=error))
    assert judged.word == "holds", judged.reason
    error["LS"] = {"error": lambda rate, seed: 0.09 if rate < 0.13 else 0.04}
    assert verdict("A6", two_class(rates=rates, seeds=seeds, by_loss=error)).word == "fails"


def test_a6_tolerates_half_a_point() -> None:
    near = {"CE": {"error": 0.05}, "LS": {"error": 0.052}}
    assert verdict("A6", two_class(by_loss=near)).word == "holds"
    far = {"CE": {"error": 0.05}, "LS": {"error": 0.06}}
    assert verdict("A6", two_class(by_loss=far)).word == "fails"


def test_a8_compares_curves_at_low_to_middle_noise_alone() -> None:
    run_rows = noises({"symmetric": 0.5, "pair_flip": 0.52})

    def distances(least: float, most: float) -> list[tuple[object, ...]]:
        """Return the distances between the curves after NC1 of one noise model is doubled at these rates."""
        own = [row["noise"] == "pair_flip" and least < row["rate"] <= most for row in run_rows]
        changed = [row | {"nc1_test": row["nc1_test"] * (1 + of_it)} for row, of_it in zip(run_rows, own, strict=True)]
        curves = rows(verdict("A8", changed), "relative distance of the curves")
        return [(row["value"], row["low"], row["high"]) for row in curves]

    assert distances(0.2, 1.0) == distances(1.0, 1.0)
    assert distances(0.1, 0.2) != distances(1.0, 1.0)


def test_a8_fails_where_curves_are_linear_and_far_apart() -> None:
    judged = verdict("A8", noises({"symmetric": 0.5, "pair_flip": 0.8}))
    distances = rows(judged, "relative distance of the curves")
    assert (judged.word, [row["verdict"] for row in distances]) == ("holds except", ["outside", "outside"]), (
        judged.reason
    )
    near = verdict("A8", noises({"symmetric": 0.5, "pair_flip": 0.52}))
    assert {row["verdict"] for row in rows(near, "relative distance of the curves")} == {"inside"}


def test_a10_needs_a_doubled_cell_that_agrees() -> None:
    base = two_class(("CE",), rates=(0.2,))
    assert verdict("A10", base, doubled()).word == "holds"
    moved = verdict("A10", base, doubled(mem=3.0))
    assert (moved.word != "holds", "when doubled" in moved.reason) == (True, True)
    assert verdict("A10", base).word == "inconclusive"


def test_a10_measures_the_drift_in_seed_spreads() -> None:
    """NC1 falls by late / 4 of its final value in the last quarter; its spread is the standard deviation over seeds."""
    run_rows = two_class(("CE",), rates=(0.2,), late=0.2)
    judged = verdict("A10", run_rows)
    ends = np.array([row["nc1_test"] for row in run_rows if row["epoch"] == 60])
    drift = np.abs(ends - np.array([row["nc1_test"] for row in run_rows if row["epoch"] == 45]))
    expected = float(np.mean(drift)) / max(float(np.std(ends, ddof=1)), 0.01 * float(ends.mean()))
    assert rows(judged, "drift of nc1_test in seed spreads")[0]["value"] == pytest.approx(expected, rel=1e-9)


def test_a11_needs_readings_that_vary_between_conditions() -> None:
    same = two_class(FOUR, error=lambda rate, seed: 0.05 + 0.01 * noise_of("same", seed), nc1=lambda rate, seed: 0.1)
    judged = verdict("A11", same)
    assert judged.word == "inconclusive"
    assert "seeds vary as much as conditions" in judged.reason or "hardly varies" in judged.reason


def test_a11_has_the_error_of_one_rank_where_all_seeds_agree() -> None:
    """A perfect rank correlation of 80 runs becomes half a step below 1; the standard error of atanh is then 1."""
    place = {loss: number for number, loss in enumerate(FOUR)}
    by_loss = {loss: {"nc1": lambda rate, seed, at=at: 0.1 * (1 + at) + rate / 10} for loss, at in place.items()}
    judged = verdict("A11", two_class(FOUR, by_loss=by_loss, jitter=0.0))
    assert judged.word == "holds", judged.reason
    assert judged.statistic is not None
    assert judged.interval is not None
    assert np.arctanh(judged.statistic) - np.arctanh(judged.interval[0]) == pytest.approx(2.776445, rel=1e-4)


def test_a12_fails_in_either_direction() -> None:
    for better in ("CE", "LS"):
        errors = {loss: {"error": 0.02 if loss == better else 0.05} for loss in ("CE", "LS")}
        assert verdict("A12", two_class(rates=(0.0,), by_loss=errors)).word == "fails"


def test_a13_names_the_widths_in_which_the_loss_matters_too() -> None:
    run_rows = []
    for width, slopes in {64: (1.0, 1.0), 1024: (0.4, 0.8)}.items():
        of_loss = {loss: {"slope": wobbling(slope, width)} for loss, slope in zip(("CE", "LS"), slopes, strict=True)}
        run_rows += two_class(width=width, by_loss=of_loss)
    judged = verdict("A13", run_rows)
    assert judged.verdict == "holds except in 1 of 3 cells"
    assert "width 1024" in judged.reason


def test_a14_is_about_classes_that_resemble_each_other() -> None:
    plain = {"rates": (0.0,), "by_loss": {"CE": {"nc1": 0.3}, "LS": {"nc1": 0.2}}}
    assert verdict("A14", two_class(classes="7,9", **plain)).word == "holds"
    assert verdict("A14", two_class(classes="0,1", **plain)).word == "not tested"
    assert verdict("A14", two_class(classes="0,6", dataset="mnist", **plain)).word == "not tested"


def test_a15_needs_a_slope_of_its_own() -> None:
    judged = verdict("A15", two_class(clean_slope=0.5))
    assert (judged.word, "clean training over test" in judged.reason) == ("fails", True)
