"""`byrote theory`: the papers' optimization problems at given parameters, with certificates."""

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from cyclopts import App

from byrote.cli.output import print_json, print_table, say
from byrote.cli.places import Place
from byrote.cli.results import show_verdicts

__all__ = ["app"]

app = App(name="theory", help="Solve the layer-peeled and memorization-dilation models.")

_Law = Literal["two-point", "segment", "circle", "disc", "sphere"]
_Loss = Literal["smoothing", "relaxation", "squared", "squared-probabilities", "robust-log"]
_Axis = Literal["alpha", "lambda_w", "lambda_h", "eta", "slope"]


@app.command(name="layer-peeled")
def layer_peeled(
    *,
    num_classes: int = 3,
    alpha: float = 0.1,
    lambda_w: float = 0.005,
    lambda_h: float = 0.005,
    positive: bool = True,
    bias: bool = False,
    width: int | None = None,
    restarts: int = 0,
    json: bool = False,
) -> int:
    """Find the global minimum of the layer-peeled model, with its certificate and thresholds.

    Parameters
    ----------
    num_classes
        N, at least 2.
    alpha
        Label smoothing, in [0, 1).
    lambda_w
        The penalty on the classifier.
    lambda_h
        The penalty on the features.
    positive
        Constrain the features to H >= 0.
    bias
        Give the classifier a bias without penalty.
    width
        M, at least N.
    restarts
        Also solve the free problem from this many random starts.
    json
        Print JSON.
    """
    from byrote import theory

    solved = theory.layer_peeled(num_classes, alpha, lambda_w, lambda_h, positive, bias, width)
    answer = _plain(asdict(solved) | {"features": solved.features, "weight": solved.weight})
    rows = [{"quantity": name, "value": value} for name, value in answer.items() if not isinstance(value, list)]
    if restarts:
        free = theory.solve_free(num_classes, alpha, lambda_w, lambda_h, positive, bias, width, restarts=restarts)
        points = [_plain(asdict(point)) for point in free.stationary_points]
        answer["stationary_points"] = points
        shown = ("value", "kind", "times_met", "flat", "lowest_curvature")
        rows += [
            {"quantity": f"stationary point {k}", "value": ", ".join(f"{name} {point[name]}" for name in shown)}
            for k, point in enumerate(points, 1)
        ]
    return _show("layer-peeled model", answer, rows, json)


@app.command
def dilation(
    *,
    alpha: float = 0.1,
    lambda_w: float = 1e-3,
    lambda_h: float = 1e-3,
    eta: float = 0.003,
    slope: float = 1.0,
    law: _Law = "circle",
    width: int = 2,
    num_classes: int = 2,
    loss: _Loss = "smoothing",
    scale_free: bool = False,
    clean_slope: float | None = None,
    json: bool = False,
) -> int:
    """Find the optimum of the memorization-dilation model, and the optimum for cross-entropy at the same parameters.

    Parameters
    ----------
    alpha
        The loss's parameter; in [0, 1) for label smoothing.
    lambda_w
        The penalty on the classifier.
    lambda_h
        The penalty on the features.
    eta
        The number of corrupted samples divided by the number of clean samples.
    slope
        The constant C_MD, above 0.
    law
        The law of the spread within a class.
    width
        M, at least 2.
    num_classes
        N; with more than 2 classes, the multi-class model is solved.
    loss
        The loss function.
    scale_free
        Measure memorization in units of the distance between the class means.
    clean_slope
        Also model the memorization of clean samples, with this value as its price.
    json
        Print JSON.
    """
    from byrote import theory

    problem = theory.Problem(alpha, lambda_w, lambda_h, eta, slope, law, width, loss)
    two = num_classes == 2 and loss in ("smoothing", "relaxation")
    if clean_slope is not None and not (two and not scale_free):
        raise ValueError(
            "--clean-slope requires two classes and smoothing or relaxation, and cannot be combined with --scale-free"
        )
    if clean_slope is not None:
        both = theory.clean_memorization(problem, clean_slope)
        answer = _plain({name: value for name, value in vars(both).items() if name != "training"})
    elif two:
        solve = theory.scale_free_dilation if scale_free else theory.solve_dilation
        one, entropy = solve(problem), solve(replace(problem, alpha=0.0, loss="smoothing"))
        fields = {name: value for name, value in vars(one).items() if name != "law"}
        over = float(entropy.dilation) / float(one.dilation) if one.dilation else None
        answer = _plain(fields | {"law": one.law.name, "features": one.features, "cross_entropy_over_this": over})
    else:
        many = theory.multiclass_dilation(problem, num_classes, scale_free)
        answer = _plain(asdict(many) | {"law": law, "loss": loss})
    rows = [{"quantity": name, "value": value} for name, value in answer.items() if not isinstance(value, (list, dict))]
    return _show("memorization-dilation model", answer, rows, json)


@app.command
def theorem(
    *,
    alpha: float = 0.1,
    lambda_w: float = 1e-3,
    lambda_h: float = 1e-3,
    eta: float = 0.003,
    slope: float = 1.0,
    law: _Law = "circle",
    width: int = 2,
    json: bool = False,
) -> int:
    """Check Theorem 4.3 at one parameter point: each term of its assumption, and the order of the solver's dilations.

    Parameters
    ----------
    alpha
        Label smoothing of LS.
    lambda_w
        The penalty on the classifier.
    lambda_h
        The penalty on the features.
    eta
        The number of corrupted samples divided by the number of clean samples.
    slope
        The constant C_MD.
    law
        The law of the spread within a class.
    width
        M.
    json
        Print JSON.
    """
    from byrote import theory

    problem = theory.Problem(alpha, lambda_w, lambda_h, eta, slope, law, width)
    terms = [_plain(asdict(one)) for one in theory.check_assumption(problem)]
    order = theory.order_of_dilations(problem)
    answer = {
        "terms": terms,
        "inside": order.inside,
        **_plain({"ratio": order.ratio, "gamma": order.gamma, "eta_bound": order.eta_bound, "holds": order.holds}),
    }
    if not json:
        say(f"dilation of CE over LS: {order.ratio:.4f}; all terms hold: {'yes' if order.inside else 'no'}")
    return _show("Theorem 4.3", answer, terms, json)


@app.command
def sweep(
    axis: _Axis,
    low: float,
    high: float,
    /,
    *,
    points: int = 50,
    alpha: float = 0.1,
    lambda_w: float = 1e-3,
    lambda_h: float = 1e-3,
    eta: float = 0.003,
    slope: float = 1.0,
    law: _Law = "circle",
    json: bool = False,
) -> int:
    """Compute dilation and memorization along one parameter, in steps of equal ratio (for alpha, equal differences).

    Parameters
    ----------
    axis
        alpha, lambda_w, lambda_h, eta or slope.
    low
        The first value.
    high
        The last value.
    points
        The number of values.
    alpha
        Label smoothing.
    lambda_w
        The penalty on the classifier.
    lambda_h
        The penalty on the features.
    eta
        The number of corrupted samples divided by the number of clean samples.
    slope
        The constant C_MD.
    law
        The law of the spread within a class.
    json
        Print JSON.
    """
    import numpy as np

    from byrote import theory

    if points < 2 or not math.isfinite(low) or not math.isfinite(high):
        raise ValueError(
            f"a sweep must have at least 2 points between finite values, got {points} from {low} to {high}"
        )
    if axis != "alpha" and min(low, high) <= 0:
        raise ValueError(
            f"the values of {axis} are evenly spaced in the logarithm, so both ends must be above 0, got {low} "
            f"and {high}"
        )
    values = np.linspace(low, high, points) if axis == "alpha" else np.geomspace(low, high, points)
    at: dict[str, Any] = {"alpha": alpha, "lambda_w": lambda_w, "lambda_h": lambda_h, "eta": eta, "slope": slope}
    solved = theory.dilation(**(at | {axis: values}), law=law)
    names = ("dilation", "memorization", "memorization_relative", "r", "r_max", "distance", "optimality_gap")
    columns = {name: np.broadcast_to(np.asarray(getattr(solved, name)), values.shape) for name in names}
    rows = [
        {axis: float(value), **{name: float(column[k]) for name, column in columns.items()}}
        for k, value in enumerate(values)
    ]
    return _show(f"along {axis}", rows, rows, json)


@app.command
def claims(*, runs: Place | None = None, json: bool = False) -> int:
    """Judge the claims A1, A9 and B8, like `byrote claims --theory` (some seconds), and C3, which needs stored runs.

    Parameters
    ----------
    runs
        A store or a results folder from which C3 is judged; without it, C3 is not tested.
    json
        Print JSON.
    """
    from byrote import claims as family
    from byrote.analysis import open_store

    ids = [one.id for one in family.registered() if one.theory] + ["C3"]
    analysis = None if runs is None else open_store(runs).analysis
    return show_verdicts("theory claims", family.evaluate(analysis, ids), json)


@app.command
def figures(*names: str, out: Place = Path("figures"), json: bool = False) -> int:
    """Draw the theory figures into a folder as SVG and PDF.

    Parameters
    ----------
    names
        The figures (default: all): theory-model, theory-collapse, theory-order, theory-noise, theory-two-minima.
    out
        The folder, or s3://BUCKET/PREFIX.
    json
        Print the paths as JSON.
    """
    from byrote.figures import save
    from byrote.figures.theory_gallery import theory_figures
    from byrote.store.mirror import located, share

    target = located(out)
    files = [path for figure in theory_figures(*names) for path in save(figure, target)]
    share(target, *files)
    paths = [str(path) for path in files]
    return _show("figures", paths, [{"path": path} for path in paths], json)


def _show(title: str, answer: object, rows: list[dict[str, Any]], as_json: bool) -> int:
    if as_json:
        print_json(answer)
    else:
        print_table(title, list(rows[0]), rows)
    return 0


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Data for JSON: arrays as lists, and numbers that are not finite as null."""
    return {name: _one(value) for name, value in values.items()}


def _one(value: Any) -> Any:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {name: _one(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_one(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
