"""Claim C3 on artificial runs that follow the model exactly, or depart from it in exactly one way."""

from __future__ import annotations

import subprocess
import sys
from functools import cache

import numpy as np
import pytest

from byrote import claims, theory
from byrote.claims.model import fits_of
from claims.made import Rows, results, ten_class
from claims.modeled import FLOOR, TRUE, modeled

WRONG = ("fails", "fails in", "holds except")


def c3(rows: Rows) -> claims.Verdict:
    return claims.CLAIMS["C3"](results(rows))


def slopes(verdict: claims.Verdict, model: str) -> dict[str, float]:
    rows = [row for row in verdict.details if row["what"].startswith("slope")]
    return {row["cell"].split()[-1]: row["value"] for row in rows if row["model"] == model}


def levels(verdict: claims.Verdict) -> list[claims.verdict.Row]:
    return [row for row in verdict.details if row["what"].startswith("memorization")]


def test_parameters_and_predictions_come_back_from_exact_runs() -> None:
    (fitted,) = fits_of(results(modeled(noise=0.0))).values()
    fit = fitted.fit
    assert np.exp(fit.slope.whole) == pytest.approx(TRUE["slope"], rel=1e-6)
    assert fit.floor == pytest.approx(FLOOR, rel=1e-6)
    lambdas = [np.exp(sample.whole) for sample in (fit.lambda_w, fit.lambda_h)]
    assert lambdas == pytest.approx([TRUE["lambda_w"], TRUE["lambda_h"]], rel=1e-6)
    verdict = c3(modeled(noise=0.0))
    for row in levels(verdict):
        assert row["value"] == pytest.approx(1, rel=1e-5)
        assert row["predicted_dilation"] == pytest.approx(row["measured_dilation"], rel=1e-5)
    assert {(row["loss"], round(row["eta"], 4)) for row in levels(verdict)} == {
        (loss, eta) for loss in ("CE", "LS", "LR", "MSE") for eta in (0.0526, 0.1111, 0.25)
    }


def test_it_holds_and_says_with_which_parameters() -> None:
    verdict = c3(modeled())
    assert verdict.word == "holds", verdict.reason
    assert verdict.interval is not None
    assert verdict.statistic is not None
    assert verdict.interval[0] < verdict.statistic < verdict.interval[1]
    assert verdict.runs == 80
    assert verdict.reason.startswith("raw model (of the scale-free one: ")
    assert set(slopes(verdict, "raw")) == set(slopes(verdict, "scale-free")) == {"LS", "LR", "MSE"}
    (c_md,) = [row for row in verdict.details if row["what"] == "C_MD"]
    assert c_md["value"] == pytest.approx(TRUE["slope"], rel=0.1)


@pytest.mark.parametrize("factor", [0.3, 3.0])
def test_a_slope_that_is_wrong_either_way_fails(factor: float) -> None:
    verdict = c3(modeled(dilation={"LR": factor}))
    assert verdict.word in WRONG, verdict.reason
    assert "LR" in verdict.reason
    assert slopes(verdict, "raw")["LR"] == pytest.approx(factor, rel=0.1)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_memorization_that_is_wrong_either_way_fails_though_the_slope_is_right(factor: float) -> None:
    verdict = c3(modeled(mem={"MSE": factor}, dilation={"MSE": factor}))
    assert slopes(verdict, "raw")["MSE"] == pytest.approx(1, rel=0.1)
    assert verdict.word in WRONG
    assert "memorization, measured over predicted" in verdict.reason
    off = [row["value"] for row in levels(verdict) if row["loss"] == "MSE" and row["model"] == "raw"]
    assert off == pytest.approx([factor] * 3, rel=0.1)


def test_slopes_that_go_as_one_over_d_are_the_scale_free_models() -> None:
    @cache
    def distance(loss: str) -> float:
        return float(modeled((loss,), (0.1,), (0,), noise=0.0)[-1]["class_distance"])

    @cache
    def level(loss: str, rate: float) -> float:
        eta = rate / (2 - rate)
        at = (TRUE["lambda_w"], TRUE["lambda_h"], eta, TRUE["slope"] / distance("CE"))
        kind = "relaxation" if loss == "LR" else "smoothing"
        return theory.scale_free_dilation(theory.Problem(0.0 if loss == "CE" else 0.1, *at, loss=kind)).memorization

    rows = modeled(("CE", "LS", "LR"))
    for row in rows:
        if row["rate"]:
            share = distance("CE") / distance(row["loss"])
            memorization = level(row["loss"], row["rate"])
            jitter = 1 + 0.02 * np.sin(7.0 * row["seed"] + 40 * row["rate"])
            row |= {"mem_mean": memorization * jitter / (row["rate"] / (2 - row["rate"]))}
            row |= {"nc1_test": (FLOOR + share * memorization / TRUE["slope"] * jitter) ** 2}
    verdict = c3(rows)
    assert verdict.word == "holds", verdict.reason
    assert verdict.reason.startswith("scale-free model (of the raw one: ")
    assert slopes(verdict, "scale-free") == pytest.approx({"LS": 1.0, "LR": 1.0}, rel=0.1)


def test_distances_that_no_penalties_give_refute_the_model() -> None:
    ce, ls = (modeled((loss,), (0.1,), (0,), noise=0.0)[-1]["class_distance"] for loss in ("CE", "LS"))
    verdict = c3(modeled(distance={"LS": ce / ls}))
    assert verdict.word in WRONG
    assert "D of CE over D of LS" in verdict.reason
    rows = levels(verdict)
    assert rows
    assert all("the model predicts nothing" in row["reason"] for row in rows)
    assert all(np.isnan(row["predicted_memorization"]) for row in rows)


def test_of_two_variants_that_fail_the_one_that_fails_less_is_shown() -> None:
    """LR and MSE fail, and CE is too close to its threshold for the verdict "holds except"."""
    wrong = {"LR": 2.0, "MSE": 2.0, "CE": 1.24}
    verdict = c3(modeled(mem=wrong, dilation=wrong))
    assert verdict.word == "fails in"
    assert verdict.reason.startswith("raw model (of the scale-free one: fails);")


def test_cells_where_ce_does_not_memorize_do_not_count_against_it() -> None:
    wrong = {"mem": {"MSE": 0.5}, "dilation": {"MSE": 0.5}}
    assert c3(modeled(**wrong)).word in WRONG
    verdict = c3(modeled(m=0.3, **wrong))
    assert verdict.word == "inconclusive"
    assert "CE memorizes too little" in verdict.reason


def test_memorization_is_the_runs_own_eta_times_the_mean() -> None:
    rows = modeled(("CE", "LS"), noise=0.0, seeds=(0, 1))
    for row in rows:
        if row["rate"] == 0.2:
            row["realised_rate"] = 0.09 if row["seed"] else 0.11
    (fitted,) = fits_of(results(rows)).values()
    etas = {round(one.eta, 6): one for one in fitted.fit.predictions if one.loss == "CE" and one.variant == "raw"}
    own = [0.09 / 0.91, 0.11 / 0.89]
    assert round(np.mean(own), 6) in etas
    mean = next(row["mem_mean"] for row in rows if row["rate"] == 0.2 and row["loss"] == "CE")
    assert etas[round(np.mean(own), 6)].measured_memorization.whole == pytest.approx(mean * np.mean(own))


def test_bounded_losses_are_predicted_but_do_not_decide() -> None:
    with_rll = c3(modeled(("CE", "LS", "LR", "MSE", "RLL", "nMSE"), mem={"RLL": 9.0}, dilation={"RLL": 9.0}))
    assert with_rll.word == "holds", with_rll.reason
    rll = [row for row in levels(with_rll) if row["loss"] == "RLL"]
    assert all(np.isfinite(row["predicted_memorization"]) and row["value"] != 1 for row in rll)
    assert all(row["verdict"] == "open" for row in rll)
    assert "no model of nMSE" in with_rll.reason
    assert with_rll.runs == 100


def test_every_setting_must_agree() -> None:
    good, bad = modeled(), modeled(dataset="mnist", dilation={"LR": 3.0})
    fitted = fits_of(results(good, bad))
    assert len(fitted) == 2
    verdict = c3(good + bad)
    assert verdict.word in WRONG
    assert verdict.runs == 160


@pytest.mark.parametrize(
    "rows",
    [
        modeled(rates=(0.1, 0.2), seeds=(0, 1)),
        modeled(("CE", "LR"), seeds=(0, 1)),
        [row | {"noise": "symmetric"} for row in modeled()],
        modeled(feature_width=8, seeds=(0, 1)),
        ten_class(seeds=(0,)),
    ],
    ids=["two eta", "no LS", "another noise", "M = 8", "ten classes"],
)
def test_without_its_runs_it_is_not_tested(rows: Rows) -> None:
    verdict = c3(rows)
    assert (verdict.verdict, verdict.runs) == ("not tested", 0)


def test_collapsed_runs_are_left_out_and_counted() -> None:
    rows = modeled() + modeled(("MSE",), seeds=(9,), mem={"MSE": 50.0}, collapsed=True)
    verdict = c3(rows)
    assert verdict.statistic == c3(modeled()).statistic
    assert "collapsed runs left out: 4" in verdict.reason


def test_no_torch() -> None:
    code = "import sys, byrote.claims.model; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
