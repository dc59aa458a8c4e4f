"""Slopes and memorization of each loss: predicted by the fitted model and measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from byrote.analysis import model_runs
from byrote.analysis.model_runs import Mask, Parameters, Runs, Seeds
from byrote.analysis.samples import Array, Sample
from byrote.theory import Problem
from byrote.theory.logit_losses import Kind
from byrote.theory.predicted import VARIANTS, Variant, predicted, solved_at_once

__all__ = ["FEWEST_RATES", "Models", "Prediction", "SlopeRatio", "Task", "slope_ratios", "solve"]

Models: TypeAlias = Mapping[str, tuple[Kind, float]]  # maps the name of a loss in the data to its kind and alpha
FEWEST_RATES = 3
_NO_PREDICTION = "the model predicts nothing there, with all seeds or with one left out"
_NO_READING = "the cell has no run, with all seeds or with one left out"
_NO_RATIO = "the two losses share no eta and seed, with all seeds or with one left out"


@dataclass(frozen=True)
class SlopeRatio:
    """log(measured slope / predicted slope) of dilation against memorization, for one loss.

    The prediction is derived from the slope of the reference loss, over the eta and seeds that both losses have. The
    slopes of the two losses are equal in the raw model and proportional to 1/D in the scale-free model.
    """

    variant: Variant
    loss: str
    ratio: Sample


@dataclass(frozen=True)
class Prediction:
    """Predicted and measured memorization and dilation of one loss at one eta.

    Predictions are NaN where the model makes none. If the minima had to be searched for, there are no pseudo-values.

    `predicted_dilation` is r/D plus the floor of the reference loss, because the measured dilation also contains the
    floor. `memorization_ratio` is log(measured / predicted), paired by seed. `gave_parameters` is True for the
    reference and the partner loss: their slope and distances D determine the parameters, but their memorization does
    not.
    """

    variant: Variant
    loss: str
    eta: float
    predicted_memorization: Sample  # log
    measured_memorization: Sample
    predicted_dilation: Sample
    measured_dilation: Sample
    memorization_ratio: Sample  # log
    gave_parameters: bool


@dataclass(frozen=True)
class Task:
    """The runs, and the settings of the predictions."""

    runs: Runs
    models: Models
    num_classes: int
    law: str
    reference: str
    partner: str
    _solved: dict[tuple[int, ...], Parameters] = field(default_factory=dict, repr=False, compare=False)

    def parameters(self, seeds: tuple[int, ...]) -> Parameters:
        """The model's parameters over these seeds; each set of seeds is computed only once."""
        if seeds not in self._solved:
            at, alpha = self.runs.seeds(seeds), self.models[self.partner][1]
            one = model_runs.parameters(self.runs, at, self.reference, self.partner, alpha, self.num_classes)
            self._solved[seeds] = one
        return self._solved[seeds]


def slope_ratios(task: Task, name: str) -> list[SlopeRatio]:
    """One ratio per variant and loss, without the reference and losses that share fewer than three eta with it."""
    mine, theirs = task.runs.points(name), task.runs.points(task.reference)
    if name == task.reference or len(mine.shared_with(theirs)[0].etas) < FEWEST_RATES:
        return []
    raw = mine.log_slope_ratio(theirs)
    at = task.runs.seeds(tuple(seed for seed in raw.seeds if isinstance(seed, int)))
    first, second = task.runs.distances(at, name, task.reference)
    scale = at.sample(np.log(first / second), "log", _NO_RATIO)
    reason = raw.reason or scale.reason
    free = Sample(raw.values + scale.values, raw.seeds, "log", raw.whole + scale.whole, reason)
    return [SlopeRatio("raw", name, raw), SlopeRatio("scale-free", name, free)]


@dataclass(frozen=True)
class _Cell:
    """The runs of one loss at one eta, and the parameters over the seeds shared with reference and partner."""

    loss: str
    eta: float
    mine: Mask
    given: Parameters

    @property
    def at(self) -> Seeds:
        return self.given.at


def solve(task: Task) -> tuple[Prediction, ...]:
    """The predictions for every loss at every eta above 0, by model variant, in the order of `models`."""
    cells = _cells(task)
    predictions = []
    for variant in VARIANTS:
        answers = {kind: _answers(task, variant, kind, cells) for kind in dict.fromkeys(_kinds(task))}
        for cell in cells:
            both = answers[task.models[cell.loss][0]][cell.loss, cell.eta]
            predictions.append(_prediction(task, variant, cell, *both))
    return tuple(predictions)


def _kinds(task: Task) -> list[Kind]:
    return [kind for kind, _ in task.models.values()]


def _cells(task: Task) -> list[_Cell]:
    runs = task.runs
    pair = [runs.of_loss(name) for name in (task.reference, task.partner)]
    cells: list[tuple[str, float, Mask, tuple[int, ...]]] = []
    for name in task.models:
        for eta in np.unique(runs.eta[runs.of_loss(name) & (runs.eta > 0)]).tolist():
            mine = runs.of_loss(name) & (runs.eta == eta)
            cells.append((name, eta, mine, runs.shared_seeds(mine, *pair)))
    return [_Cell(name, eta, mine, task.parameters(seeds)) for name, eta, mine, seeds in cells]


_Answers: TypeAlias = dict[tuple[str, float], tuple[Array, Array]]


def _answers(task: Task, variant: Variant, kind: Kind, cells: Sequence[_Cell]) -> _Answers:
    """Memorization and r/D of the cells of one kind of loss, (n + 2,) each; NaN where the model gives no value.

    All parameter sets of all cells are solved in one call, and equal sets only once. If minima must be searched for,
    only the first set of each cell (all runs) is solved.
    """
    own = [cell for cell in cells if task.models[cell.loss][0] == kind]
    whole = solved_at_once(kind, task.num_classes)
    rows: list[Array] = []
    for cell in own:
        given = cell.given
        slope = given.slope / given.distance if variant == "scale-free" else given.slope
        alpha, eta = np.full_like(slope, task.models[cell.loss][1]), np.full_like(slope, cell.eta)
        row = np.stack([alpha, given.lambda_w, given.lambda_h, eta, slope])  # (5, n + 2)
        row[:, 1:] = row[:, 1:] if whole else np.nan
        rows.append(row)
    if not rows:
        return {}
    points = np.concatenate(rows, axis=1)
    solved = np.full((2, points.shape[1]), np.nan)
    known = np.isfinite(points).all(axis=0)
    if known.any():
        distinct, back = np.unique(points[:, known], axis=1, return_inverse=True)
        alpha, lambda_w, lambda_h, eta, slope = distinct
        problem = Problem(alpha, lambda_w, lambda_h, eta, slope, task.law, loss=kind)
        both = predicted(problem, variant, task.num_classes)
        solved[:, known] = np.stack(both)[:, back.ravel()]
    ends = np.cumsum([row.shape[1] for row in rows])[:-1]
    parts = zip(own, np.split(solved[0], ends), np.split(solved[1], ends), strict=True)
    return {(cell.loss, cell.eta): (memorization, spread) for cell, memorization, spread in parts}


def _prediction(task: Task, variant: Variant, cell: _Cell, memorization: Array, spread: Array) -> Prediction:
    at, runs = cell.at, task.runs
    measured, dilation = (at.mean(cell.mine, values) for values in (runs.memorization, runs.dilation))
    with np.errstate(divide="ignore", invalid="ignore"):
        log, ratio = np.log(memorization), np.log(measured / memorization)
    return Prediction(
        variant,
        cell.loss,
        cell.eta,
        at.sample(log, "log", _NO_PREDICTION),
        at.sample(measured, "plain", _NO_READING),
        at.sample(spread + cell.given.floor, "plain", _NO_PREDICTION),
        at.sample(dilation, "plain", _NO_READING),
        at.sample(ratio, "log", _NO_PREDICTION),
        cell.loss in (task.reference, task.partner),
    )
