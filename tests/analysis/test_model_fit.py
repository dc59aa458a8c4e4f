import numpy as np
import pytest
from scipy import stats

from byrote import theory
from byrote.analysis import model_fit
from byrote.analysis.lines import printed

MODELS = {"CE": ("smoothing", 0.0), "LS": ("smoothing", 0.1), "LR": ("relaxation", 0.1), "MSE": ("squared", 0.0)}
TRUE = {"lambda_w": 2e-3, "lambda_h": 1e-3, "slope": 1.3}


def _runs(noise=0.02, seeds=5, slopes=None, floor=0.01, etas=(0.02, 0.05, 0.1, 0.2)):
    generator = np.random.default_rng(0)
    rows = []
    for name, (kind, alpha) in MODELS.items():
        for eta in etas:
            for seed in range(seeds):
                at = (TRUE["lambda_w"], TRUE["lambda_h"], eta, TRUE["slope"])
                problem = theory.Problem(alpha, *at, loss=kind)
                solved = theory.squared_dilation(problem) if kind == "squared" else theory.solve_dilation(problem)
                mem, dil, D = (
                    x * np.exp(noise * generator.normal())
                    for x in (solved.memorization, solved.dilation, solved.distance)
                )
                dil = dil * (slopes or {}).get(name, 1.0) + floor
                rows.append((name, eta, mem, dil**2, D, seed))
    return [list(column) for column in zip(*rows, strict=True)]


def columns_of(rows):
    return [list(column) for column in zip(*rows, strict=True)]


def test_parameters_come_back_from_exact_data():
    fit = model_fit.fit_runs(*_runs(noise=0.0, floor=0.0), models=MODELS)
    assert np.exp(fit.slope.whole) == pytest.approx(1.3, rel=1e-6)
    assert fit.floor == pytest.approx(0, abs=1e-9)
    assert np.exp(fit.lambda_w.whole) == pytest.approx(2e-3, rel=1e-5)
    assert np.exp(fit.lambda_h.whole) == pytest.approx(1e-3, rel=1e-5)
    assert fit.fits
    for one in (one for one in fit.predictions if one.variant == "raw"):
        measured = one.measured_memorization.whole
        assert printed(one.predicted_memorization).value == pytest.approx(measured, rel=1e-5)
        assert one.predicted_dilation.whole == pytest.approx(one.measured_dilation.whole, rel=1e-5)
        assert one.memorization_ratio.whole == pytest.approx(0, abs=1e-5)
    assert {one.loss for one in fit.predictions if not one.gave_parameters} == {"LR", "MSE"}


def test_the_floor_of_the_reference_stands_in_the_predicted_dilation():
    fit = model_fit.fit_runs(*_runs(noise=0.0, floor=0.05), models=MODELS)
    assert fit.floor == pytest.approx(0.05, abs=1e-9)
    for one in (one for one in fit.predictions if one.variant == "raw"):
        assert one.predicted_dilation.whole == pytest.approx(one.measured_dilation.whole, rel=1e-5)


def test_noisy_data_give_intervals_that_hold_the_truth():
    fit = model_fit.fit_runs(*_runs(), models=MODELS)
    slope, lambda_w = printed(fit.slope), printed(fit.lambda_w)
    assert slope.low < 1.3 < slope.high
    assert 0 < slope.high - slope.low < 0.3
    assert fit.fits, fit.reasons
    assert (fit.runs, fit.seeds) == (len(_runs()[0]), 5)
    assert lambda_w.low < TRUE["lambda_w"] < lambda_w.high
    assert fit.gamma_least < printed(fit.gamma).low
    ratios = [printed(one.memorization_ratio) for one in fit.predictions if one.variant == "raw"]
    assert sum(one.low < 1 < one.high for one in ratios) >= 0.8 * len(ratios)
    assert all(one.n == 5 and one.high - one.low < 0.2 for one in ratios)


def test_intervals_are_students():
    columns = _runs()
    fit = model_fit.fit_runs(*columns, models=MODELS)
    one = next(one for one in fit.predictions if one.loss == "MSE" and one.eta == 0.1)
    values = [m for name, eta, m in zip(*columns[:3], strict=True) if (name, eta) == ("MSE", 0.1)]
    low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert one.measured_memorization.values == pytest.approx(values)
    estimate = printed(one.measured_memorization)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((np.mean(values), low, high))


def samples_of(fit):
    """Return every sample of seed values in a fit, by name."""
    samples = {name: getattr(fit, name) for name in ("slope", "gamma", "lambda_w", "lambda_h")}
    samples |= {("slope", name): sample for name, sample in fit.slopes.items()}
    samples |= {("ratio", one.variant, one.loss): one.ratio for one in fit.slope_ratios}
    for one in fit.predictions:
        for name in QUANTITIES:
            samples[name, one.variant, one.loss, one.eta] = getattr(one, name)
    return samples


QUANTITIES = (
    *("predicted_memorization", "measured_memorization", "predicted_dilation", "measured_dilation"),
    "memorization_ratio",
)


def test_pseudo_values_by_fits_that_leave_out_one_seed():
    """The expected values repeat the whole fit with each seed left out in turn."""
    rows = list(zip(*_runs(noise=0.03), strict=True))
    whole = samples_of(model_fit.fit_runs(*columns_of(rows), models=MODELS))
    without = [
        samples_of(model_fit.fit_runs(*columns_of([row for row in rows if row[5] != seed]), models=MODELS))
        for seed in range(5)
    ]
    assert len(whole) > 80
    for name, sample in whole.items():
        assert sample.seeds == (0, 1, 2, 3, 4)
        expected = [5 * sample.whole - 4 * one[name].whole for one in without]
        assert sample.values == pytest.approx(expected, rel=1e-7, abs=1e-9), name
        assert np.std(sample.values) > 0


def test_a_cell_that_lacks_seeds_is_read_over_its_own_and_its_value_is_that_of_all_runs():
    rows = [row for row in zip(*_runs(noise=0.03), strict=True) if row[0] != "MSE" or row[5] < 3]
    whole = samples_of(model_fit.fit_runs(*columns_of(rows), models=MODELS))
    own = samples_of(model_fit.fit_runs(*columns_of([row for row in rows if row[5] < 3]), models=MODELS))
    for name in (name for name in whole if name[0] in QUANTITIES and "MSE" in name):
        assert whole[name].seeds == (0, 1, 2)
        assert whole[name].values == pytest.approx(own[name].values, rel=1e-7)
    predicted = ("predicted_memorization", "raw", "MSE", 0.1)
    assert whole[predicted].whole != pytest.approx(own[predicted].whole, rel=1e-6)  # uses all five seeds of CE and LS
    measured = ("measured_memorization", "raw", "MSE", 0.1)
    assert whole[measured].whole == pytest.approx(own[measured].whole)
    assert whole["ratio", "raw", "MSE"].values == pytest.approx(own["ratio", "raw", "MSE"].values)


def test_losses_with_several_minima_are_solved_for_all_runs_alone(monkeypatch):
    models = MODELS | {"RLL": ("robust-log", 0.1)}
    columns = _runs(seeds=3, etas=(0.02, 0.05, 0.1))
    rll = [("RLL", *row[1:]) for row in zip(*columns, strict=True) if row[0] == "CE"]
    solved = []

    def counted(problem, *rest):
        solved.extend([problem.loss] * len(problem.alpha))
        return theory.predicted(problem, *rest)

    monkeypatch.setattr("byrote.analysis.model_solved.predicted", counted)
    fit = model_fit.fit_runs(*columns_of([*zip(*columns, strict=True), *rll]), models=models)
    assert solved.count("robust-log") == 6  # three eta, two variants
    assert solved.count("smoothing") == 2 * 6 * 4  # CE and LS, with all seeds and with each of three seeds left out
    predictions = [one for one in fit.predictions if one.loss == "RLL"]
    assert len(predictions) == 6
    for one in predictions:
        assert np.isfinite(one.predicted_memorization.whole)
        assert np.isnan(one.predicted_memorization.values).all()
        assert printed(one.predicted_memorization).value == np.exp(one.predicted_memorization.whole)
        assert np.isfinite(one.measured_memorization.values).all()
        assert printed(one.memorization_ratio).half == np.inf
        at = (np.exp(fit.lambda_w.whole), np.exp(fit.lambda_h.whole), one.eta, np.exp(fit.slope.whole))
        if one.variant == "raw":
            oracle = theory.multiclass_dilation(theory.Problem(0.1, *at, loss="robust-log"), 2)
            assert np.exp(one.predicted_memorization.whole) == pytest.approx(oracle.memorization, rel=1e-8)


def test_distances_are_compared_at_the_eta_that_both_losses_have():
    """gamma comes from the smallest eta that both losses have: here .05, the smallest eta of the LS runs."""
    rows = [row for row in zip(*_runs(noise=0.0), strict=True) if row[0] != "LS" or row[1] > 0.02]
    shifted = [(*row[:4], row[4] * (1 + row[1] if row[0] == "CE" else 1), row[5]) for row in rows]
    fit = model_fit.fit_runs(*columns_of(shifted), models=MODELS)
    assert np.exp(fit.gamma.whole) == pytest.approx(1.05 * _distance("CE") / _distance("LS"))


def test_without_predictions_slopes_and_parameters_are_the_same():
    columns = _runs(seeds=3, etas=(0.02, 0.05, 0.1))
    whole, part = (model_fit.fit_runs(*columns, models=MODELS, predict=predict) for predict in (True, False))
    assert part.predictions == ()
    assert [one.ratio.whole for one in part.slope_ratios] == [one.ratio.whole for one in whole.slope_ratios]
    assert (part.slope.whole, part.gamma.whole) == (whole.slope.whole, whole.gamma.whole)


def test_a_slope_ratio_uses_the_eta_and_seeds_that_both_have():
    columns = _runs(slopes={"MSE": 2.0})
    # CE bends beyond the largest eta of MSE, so CE's line is steeper over all eta than over the eta shared with MSE
    rows = [row for row in zip(*columns, strict=True) if row[0] != "MSE" or (row[1] < 0.2 and row[5] < 3)]
    rows = [
        (*row[:3], row[3] * (3 if row[0] == "CE" and (row[1] == 0.2 or row[5] > 2) else 1), *row[4:]) for row in rows
    ]
    fit = model_fit.fit_runs(*columns_of(rows), models=MODELS)
    (ratio,) = [one.ratio for one in fit.slope_ratios if (one.variant, one.loss) == ("raw", "MSE")]
    assert ratio.seeds == (0, 1, 2)
    assert np.exp(ratio.whole) == pytest.approx(2, rel=0.15)
    assert np.exp(fit.slope.whole) < 1.1


def test_slopes_of_both_variants():
    raw = model_fit.fit_runs(*_runs(slopes={"MSE": 2.5}), models=MODELS)
    ratios = {(one.variant, one.loss): np.exp(one.ratio.whole) for one in raw.slope_ratios}
    assert ratios["raw", "MSE"] == pytest.approx(2.5, rel=0.1)
    assert ratios["raw", "LS"] == pytest.approx(1, rel=0.1)
    assert ratios["scale-free", "LS"] == pytest.approx(_distance("LS") / _distance("CE"), rel=0.1)
    assert {name for _, name in ratios} == {"LS", "LR", "MSE"}


def _distance(name):
    kind, alpha = MODELS[name]
    at = (TRUE["lambda_w"], TRUE["lambda_h"], 0.1, TRUE["slope"])
    return (
        theory.squared_dilation(theory.Problem(0.0, *at)).distance
        if kind == "squared"
        else theory.dilation(alpha, *at, loss=kind).distance
    )


def test_an_error_says_why_it_does_not_fit():
    loss, eta, mem, nc1, distance, seed = _runs()
    level = model_fit.fit_runs(loss, eta, mem, [0.1 + 1e-3 * (k % 7) for k in range(len(loss))], distance, seed, MODELS)
    assert not level.fits
    assert any("not linear" in reason for reason in level.reasons)
    same = [1.0 for _ in distance]  # the distances under LS and CE are equal, which no values of lambda produce
    flat = model_fit.fit_runs(loss, eta, mem, nc1, same, seed, MODELS)
    assert any("no lambdas" in reason for reason in flat.reasons)
    assert all(np.isnan(one.predicted_memorization.whole) for one in flat.predictions)
    assert "no penalties" in flat.lambda_w.reason
    doubled = [m * (2 if name == "MSE" else 1) for m, name in zip(mem, loss, strict=True)]
    off = model_fit.fit_runs(loss, eta, doubled, nc1, distance, seed, MODELS)
    assert any(reason.startswith("MSE at eta") for reason in off.reasons)


def test_one_seed_gives_no_interval():
    fit = model_fit.fit_runs(*_runs(seeds=1), models=MODELS)
    assert printed(fit.slope).half == np.inf
    assert np.isfinite(fit.slope.whole)
    assert all(printed(one.memorization_ratio).half == np.inf for one in fit.predictions)


def test_wrong_data():
    columns = _runs()
    with pytest.raises(ValueError, match="one entry per run"):
        model_fit.fit_runs(columns[0][1:], *columns[1:], models=MODELS)
    with pytest.raises(ValueError, match="none for MSE"):
        model_fit.fit_runs(*columns, models={name: MODELS[name] for name in ("CE", "LS", "LR")})
    with pytest.raises(ValueError, match="at least 3 runs"):
        model_fit.fit_runs(*columns, models=MODELS, reference="XX")


def test_columns_of_stored_runs_with_holes():
    loss, eta, mem, nc1, distance, seed = (np.array(column) for column in _runs(noise=0.0, floor=0.0))
    rho = eta / (1 + eta)
    alpha = np.where(loss == "CE", np.nan, 0.1)
    columns = {"loss": loss, "alpha": alpha, "rate": 2 * rho, "seed": seed, "realised_rate": rho, "nc1_test": nc1}
    columns |= {"mem_mean": mem / eta, "class_distance": distance}
    whole = model_fit.fit_history(columns)
    assert np.exp(whole.slope.whole) == pytest.approx(1.3, rel=1e-6)
    assert np.exp(whole.lambda_w.whole) == pytest.approx(2e-3, rel=1e-5)
    holed = {name: np.array(column) for name, column in columns.items()}
    for name, row in (("realised_rate", 3), ("mem_mean", 7), ("nc1_test", 25), ("class_distance", 60)):
        holed[name][row] = np.nan
    holed["loss"] = np.append(holed["loss"][:-1], "GCE")
    part = model_fit.fit_history(holed)
    assert part.runs == len(loss) - 5
    assert np.exp(part.slope.whole) == pytest.approx(1.3, rel=1e-6)
    assert model_fit.fittable(holed)
    assert not model_fit.fittable(columns | {"rate": np.zeros(len(loss))})
    with pytest.raises(ValueError, match=r"LS with alpha 0\.1, 0\.2"):
        model_fit.fit_history(columns | {"alpha": np.where((loss == "LS") & (seed == 1), 0.2, alpha)})
