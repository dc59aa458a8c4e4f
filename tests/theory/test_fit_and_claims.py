import numpy as np
import pytest
from scipy import stats

from byrote import losses, theory
from byrote.theory import claims

MODELS = {"CE": ("smoothing", 0.0), "LS": ("smoothing", 0.1), "LR": ("relaxation", 0.1), "MSE": ("squared", 0.0)}
TRUE = {"lambda_w": 2e-3, "lambda_h": 1e-3, "slope": 1.3}


def _runs(noise=0.02, seeds=5, slopes=None, floor=0.01, etas=(0.02, 0.05, 0.1, 0.2)):
    generator = np.random.default_rng(0)
    rows = []
    for name, (kind, alpha) in MODELS.items():
        for eta in etas:
            for seed in range(seeds):
                at = (TRUE["lambda_w"], TRUE["lambda_h"], eta, TRUE["slope"])
                solved = (
                    theory.squared_dilation(2, *at) if kind == "squared" else theory.dilation(alpha, *at, loss=kind)
                )
                mem, dil, D = (
                    x * np.exp(noise * generator.normal())
                    for x in (solved.memorization, solved.dilation, solved.distance)
                )
                dil = dil * (slopes or {}).get(name, 1.0) + floor
                rows.append((name, eta, mem, dil**2, D, seed))
    return [list(column) for column in zip(*rows, strict=True)]


def test_parameters_come_back_from_exact_data():
    fit = theory.fit_runs(*_runs(noise=0.0, floor=0.0), models=MODELS, resamples=30)
    assert fit.slope.value == pytest.approx(1.3, rel=1e-6)
    assert fit.floor == pytest.approx(0, abs=1e-9)
    assert fit.lambda_w.value == pytest.approx(2e-3, rel=1e-5)
    assert fit.lambda_h.value == pytest.approx(1e-3, rel=1e-5)
    assert fit.fits
    for one in (one for one in fit.predictions if one.variant == "raw"):
        assert one.predicted_memorization.value == pytest.approx(one.measured_memorization.value, rel=1e-5)
        assert one.predicted_dilation.value == pytest.approx(one.measured_dilation.value, rel=1e-5)
        assert one.memorization_ratio.value == pytest.approx(1, rel=1e-5)
    assert {one.loss for one in fit.predictions if not one.gave_parameters} == {"LR", "MSE"}


def test_the_floor_of_the_reference_stands_in_the_predicted_dilation():
    fit = theory.fit_runs(*_runs(noise=0.0, floor=0.05), models=MODELS, resamples=2)
    assert fit.floor == pytest.approx(0.05, abs=1e-9)
    for one in (one for one in fit.predictions if one.variant == "raw"):
        assert one.predicted_dilation.value == pytest.approx(one.measured_dilation.value, rel=1e-5)


def test_noisy_data_give_intervals_that_hold_the_truth():
    fit = theory.fit_runs(*_runs(), models=MODELS, resamples=60)
    assert fit.slope.low < 1.3 < fit.slope.high
    assert 0 < fit.slope.high - fit.slope.low < 0.3
    assert fit.fits, fit.reasons
    assert (fit.runs, fit.seeds) == (len(_runs()[0]), 5)
    assert fit.lambda_w.low < TRUE["lambda_w"] < fit.lambda_w.high
    assert fit.gamma_least < fit.gamma.low
    ratios = [one.memorization_ratio for one in fit.predictions if one.variant == "raw"]
    assert sum(one.low < 1 < one.high for one in ratios) >= 0.8 * len(ratios)
    assert all(one.seeds == 5 and one.high - one.low < 0.2 for one in ratios)


def test_intervals_are_students():
    columns = _runs()
    fit = theory.fit_runs(*columns, models=MODELS, resamples=4000)
    one = next(one for one in fit.predictions if one.loss == "MSE" and one.eta == 0.1)
    values = [m for name, eta, m in zip(*columns[:3], strict=True) if (name, eta) == ("MSE", 0.1)]
    low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert one.measured_memorization.value == pytest.approx(np.mean(values))
    assert (one.measured_memorization.low, one.measured_memorization.high) == pytest.approx((low, high), rel=3e-3)


def test_a_slope_ratio_uses_the_eta_and_seeds_that_both_have():
    columns = _runs(slopes={"MSE": 2.0})
    # CE bends beyond the eta of MSE: its own line is steeper, the line MSE is held against is not
    rows = [row for row in zip(*columns, strict=True) if row[0] != "MSE" or (row[1] < 0.2 and row[5] < 3)]
    rows = [
        (*row[:3], row[3] * (3 if row[0] == "CE" and (row[1] == 0.2 or row[5] > 2) else 1), *row[4:]) for row in rows
    ]
    fit = theory.fit_runs(*[list(column) for column in zip(*rows, strict=True)], models=MODELS, resamples=60)
    (ratio,) = [one.ratio for one in fit.slope_ratios if (one.variant, one.loss) == ("raw", "MSE")]
    assert ratio.seeds == 3
    assert ratio.value == pytest.approx(2, rel=0.15)
    assert fit.slope.value < 1.1


def test_slopes_of_both_variants():
    raw = theory.fit_runs(*_runs(slopes={"MSE": 2.5}), models=MODELS, resamples=60)
    found = {(one.variant, one.loss): one.ratio.value for one in raw.slope_ratios}
    assert found["raw", "MSE"] == pytest.approx(2.5, rel=0.1)
    assert found["raw", "LS"] == pytest.approx(1, rel=0.1)
    assert found["scale-free", "LS"] == pytest.approx(_distance("LS") / _distance("CE"), rel=0.1)
    assert {name for _, name in found} == {"LS", "LR", "MSE"}


def _distance(name):
    kind, alpha = MODELS[name]
    at = (TRUE["lambda_w"], TRUE["lambda_h"], 0.1, TRUE["slope"])
    return (
        theory.squared_dilation(2, *at).distance
        if kind == "squared"
        else theory.dilation(alpha, *at, loss=kind).distance
    )


def test_it_says_why_it_does_not_fit():
    loss, eta, mem, nc1, distance, seed = _runs()
    level = theory.fit_runs(
        loss, eta, mem, [0.1 + 1e-3 * (k % 7) for k in range(len(loss))], distance, seed, MODELS, resamples=5
    )
    assert not level.fits
    assert any("not linear" in reason for reason in level.reasons)
    same = [1.0 for _ in distance]  # LS shrinks nothing: no lambdas do that
    flat = theory.fit_runs(loss, eta, mem, nc1, same, seed, MODELS, resamples=5)
    assert any("no lambdas" in reason for reason in flat.reasons)
    assert all(np.isnan(one.predicted_memorization.value) for one in flat.predictions)
    doubled = [m * (2 if name == "MSE" else 1) for m, name in zip(mem, loss, strict=True)]
    off = theory.fit_runs(loss, eta, doubled, nc1, distance, seed, MODELS, resamples=5)
    assert any(reason.startswith("MSE at eta") for reason in off.reasons)


def test_one_seed_gives_no_interval():
    fit = theory.fit_runs(*_runs(seeds=1), models=MODELS, resamples=30)
    assert np.isnan(fit.slope.low)
    assert all(np.isnan(one.memorization_ratio.low) for one in fit.predictions)


def test_lambdas_from_distances():
    ce, ls = (theory.dilation(alpha, 5e-4, 3e-3).distance for alpha in (0.0, 0.2))
    found = theory.penalties_from_distances(ce, ls, 0.2)
    assert (found.lambda_w, found.lambda_h) == pytest.approx((5e-4, 3e-3), rel=1e-9)
    assert theory.penalties_from_distances(1.0, 1.0, 0.1) is None
    assert theory.penalties_from_distances(1.0, 1.001, 0.1) is None
    least = theory.least_gamma(0.1)
    assert theory.penalties_from_distances(least * 1.0001, 1.0, 0.1) is not None
    assert theory.penalties_from_distances(least * 0.9999, 1.0, 0.1) is None
    five = [theory.layer_peeled(5, alpha, 1e-4, 6e-4) for alpha in (0.0, 0.1)]
    many = theory.penalties_from_distances(*(np.sqrt(2) * one.feature_norm for one in five), 0.1, 5)
    assert (many.lambda_w, many.lambda_h) == pytest.approx((5e-4, 3e-3), rel=1e-8)  # summed convention: N times


def test_wrong_data():
    columns = _runs()
    with pytest.raises(ValueError, match="one entry a run"):
        theory.fit_runs(columns[0][1:], *columns[1:], models=MODELS)
    with pytest.raises(ValueError, match="none for MSE"):
        theory.fit_runs(*columns, models={name: MODELS[name] for name in ("CE", "LS", "LR")})
    with pytest.raises(ValueError, match="at least 3 runs"):
        theory.fit_runs(*columns, models=MODELS, reference="XX")


@pytest.mark.slow
def test_a1_and_a9_hold():
    peeled = claims.claim_a1(restarts=5)
    assert peeled.verdict == "holds"
    assert 0 < peeled.statistic < 1e-6
    assert {row["of_threshold"] for row in peeled.rows} == {1e-3, 3e-2, 1.1}
    order = claims.claim_a9(points=5)
    assert order.verdict == "holds"
    assert order.statistic == 1
    assert order.runs > 500
    assert sum(row["reversed_outside"] for row in order.rows) > 0


def test_a1_fails_when_a_minimiser_is_not_the_closed_form(monkeypatch):
    monkeypatch.setattr(claims, "is_nc_configuration", lambda *_: theory.NCDeviation(0.0, 1e-3, 0.0, False))
    assert claims.claim_a1(restarts=1).verdict == "fails"


def test_b8_tells_a_wrong_constant_and_a_false_claim_of_symmetry():
    robust, entropy = losses.RobustLog(alpha=0.1), losses.CrossEntropy()
    both = {"RLL": theory.from_torch(robust), "CE": theory.from_torch(entropy)}
    right = claims.claim_b8(both, {"RLL": losses.symmetry(robust, 10), "CE": None})
    assert right.verdict == "holds"
    assert right.statistic < 1e-12
    assert claims.claim_b8(both).verdict == "holds"
    assert claims.claim_b8(both, {"RLL": 23.0, "CE": None}).verdict == "fails"
    assert claims.claim_b8(both, {"RLL": None, "CE": None}).verdict == "fails"
    assert claims.claim_b8(both, {"RLL": losses.symmetry(robust, 10), "CE": 1.0}).verdict == "fails"
    assert claims.claim_b8({"CE": both["CE"]}).verdict == "not tested"
    assert claims.claim_b8({}).verdict == "not tested"


def test_columns_of_stored_runs_with_holes():
    loss, eta, mem, nc1, distance, seed = (np.array(column) for column in _runs(noise=0.0, floor=0.0))
    rho = eta / (1 + eta)
    alpha = np.where(loss == "CE", np.nan, 0.1)
    columns = {"loss": loss, "alpha": alpha, "rate": 2 * rho, "seed": seed, "realised_rate": rho, "nc1_test": nc1}
    columns |= {"mem_mean": mem / eta, "class_distance": distance}
    whole = theory.fit_history(columns, resamples=2)
    assert whole.slope.value == pytest.approx(1.3, rel=1e-6)
    assert whole.lambda_w.value == pytest.approx(2e-3, rel=1e-5)
    holed = {name: np.array(column) for name, column in columns.items()}
    for name, row in (("realised_rate", 3), ("mem_mean", 7), ("nc1_test", 25), ("class_distance", 60)):
        holed[name][row] = np.nan
    holed["loss"] = np.append(holed["loss"][:-1], "GCE")
    part = theory.fit_history(holed, resamples=2)
    assert part.runs == len(loss) - 5
    assert part.slope.value == pytest.approx(1.3, rel=1e-6)
    assert theory.fittable(holed)
    assert not theory.fittable(columns | {"rate": np.zeros(len(loss))})
    with pytest.raises(ValueError, match=r"LS at 0\.1, 0\.2"):
        theory.fit_history(columns | {"alpha": np.where((loss == "LS") & (seed == 1), 0.2, alpha)})
