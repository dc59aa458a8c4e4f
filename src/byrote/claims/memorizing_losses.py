"""B1, B4, B9, B10: cross-entropy and the squared error memorize the wrong labels if trained long enough."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from byrote.analysis import ABOVE_ZERO, Analysis, Check, Sample, at_every_epoch, at_least, at_some_epoch
from byrote.analysis.samples import Array
from byrote.claims.cells import Cell, Group, cells, only
from byrote.claims.gathering import CLEAN, MEMORIZED, Gathered, learned, memorizes
from byrote.claims.verdict import Finding, Row, claim, needed
from byrote.reference import beside

__all__ = ["NEEDS", "symmetric"]

LARGEST_RATE, FITTED = 0.6, 0.95
NOT_STOPPED = 0.5  # the m above which weight decay or dropout has not stopped memorization
NEEDS = ("j1", "j2", "realised_rate", "corrupted_as_observed", "corrupted_as_true", "clean_accuracy")
_EACH = "t interval over seeds, its standard error at least that of counting all samples once"
_CE_MEMORIZES = "CE reaches a clean accuracy of .98 and m >= .95 in the same cell"
_KINDS = ("t - m at each epoch, RLL", "t - m at the best epoch, CE and MSE", "m - t at the last epoch, CE and MSE")
_DECAY, _DROPOUT = "training.optimizer.weight_decay", "training.dropout"


def symmetric(analysis: Analysis, vary: Sequence[str] = ()) -> list[Cell]:
    """The cells with LF's own noise (symmetric) at eta <= .6."""
    low = np.asarray(analysis.runs["rate"] <= LARGEST_RATE + 1e-9)
    selected = [cell.where(low) for cell in only(cells(analysis, vary=vary), noise="symmetric")]
    return [cell for cell in needed(selected, "no run under symmetric noise") if len(cell.rows)]


@claim(
    "B1",
    statement="CE and MSE memorize at eta <= .6",
    bar="m >= .95 and J1 >= .98",
    published="CE 99.4 to 100 everywhere; MSE 98.4 to 99.8 on CIFAR-10, but 89/84/80 on MNIST with ResNet-18",
    method=_EACH,
    cells="each setting under symmetric noise, eta in (0, .6] and loss (CE, MSE on probabilities)",
    minimum="3 seeds of CE and MSE",
    premise="the loss itself reaches a clean accuracy of .98 in the cell",
    needs=NEEDS,
)
def _b1(analysis: Analysis) -> Finding:
    gathered = Gathered(analysis)
    losses: set[str] = set()
    for cell in symmetric(analysis):
        for loss in ("CE", "MSE-p"):
            for rate in cell.rates(loss):
                group, unmet = cell.at(loss, rate), learned(cell, rate, loss)
                losses |= {loss} if cell.decides else set()
                same: Row = {"at": f"{loss} eta {rate:g}", "unmet": unmet}
                published = beside(cell.facts, loss, rate)
                gathered.mean(cell, f"m of {loss}", group, "corrupted_as_observed", at_least(MEMORIZED), **same)
                gathered.mean(cell, f"J1 of {loss}", group, "j1", at_least(CLEAN), facts=published, **same)
    lacking = "" if losses >= {"CE", "MSE-p"} else f"only {', '.join(sorted(losses)) or 'a variation'} was run"
    return gathered.finding("no run of CE or MSE on probabilities at eta in (0, .6]", lacking=lacking)


def _lead(group: Group) -> tuple[Array, list[float]]:
    """t - m at the E epochs that all R runs share, (E, R), and these epochs."""
    analysis = group.analysis
    epochs, t, m = (
        np.asarray(analysis.history[name], dtype=np.float64)
        for name in ("epoch", "corrupted_as_true", "corrupted_as_observed")
    )
    curves = [
        dict(zip(epochs[rows].tolist(), (t[rows] - m[rows]).tolist(), strict=True))
        for rows in (analysis.epochs(run) for run in group.rows.tolist())
    ]
    shared = sorted(set.intersection(*(set(curve) for curve in curves)))
    return np.array([[curve[epoch] for curve in curves] for epoch in shared]), shared


def _lead_check(cell: Cell, loss: str, rate: float, group: Group, what: str, unmet: str) -> Check:
    """A check of t - m that has no values yet; its error is at least the share of one corrupted sample."""
    name = f"{cell.title} {loss} eta {rate:g}"
    empty, floor = np.full(len(group), np.nan), group.difference_floor("corrupted_as_observed")
    seeds = tuple(group.seeds)
    return Check(name, what, empty, seeds, ABOVE_ZERO, floor=floor, unmet=unmet)


@claim(
    "B4",
    statement="Under RLL J2 stays above J1 throughout; under CE and MSE the curves cross",
    bar="RLL: t > m at every epoch; CE, MSE: t > m at some epoch and m > t at the last",
    published="yes (LF Figs. 5, 6)",
    method="t interval over seeds of t - m, its standard error at least the share of one sample; of the best epoch "
    "the interval of confidence 1 - .05 / E",
    cells="each setting under symmetric noise, eta > 0 and loss; under RLL each epoch",
    minimum="3 seeds of RLL and of CE or MSE, 2 evaluated epochs",
    premise=_CE_MEMORIZES,
    needs=NEEDS,
)
def _b4(analysis: Analysis) -> Finding:
    gathered = Gathered(analysis)
    for cell in symmetric(analysis):
        for loss in ("RLL", "CE", "MSE-p"):
            for rate in cell.rates(loss):
                group, unmet = cell.at(loss, rate), memorizes(cell, rate)
                lead, epochs = _lead(group)
                used = (group,)
                if loss == "RLL":
                    plain = _lead_check(cell, loss, rate, group, _KINDS[0], unmet)
                    for check in at_every_epoch(plain, lead, epochs):
                        gathered.add(check, cell, used)
                    continue
                plain = _lead_check(cell, loss, rate, group, _KINDS[1], unmet)
                gathered.add(at_some_epoch(plain, lead, epochs), cell, used)
                end, floor = Sample(-lead[-1], tuple(group.seeds)), group.difference_floor("corrupted_as_observed")
                at = f"{loss} eta {rate:g}"
                gathered.sample(cell, _KINDS[2], end, ABOVE_ZERO, at=at, unmet=unmet, floor=floor, used=used)
    return gathered.finding("RLL and one of CE and MSE on probabilities are needed under symmetric noise", kinds=_KINDS)


def _first_epoch(group: Group) -> tuple[Array, float]:
    """The first evaluated epoch of each run with J1 >= .95, and the step between evaluations.

    A run that never reaches this J1 gets the epoch after its last.
    """
    analysis = group.analysis
    epochs, j1 = analysis.history["epoch"], np.asarray(analysis.history["j1"], dtype=np.float64)
    first = np.empty(len(group))
    step = 1.0
    for place, run in enumerate(group.rows.tolist()):
        own = epochs[analysis.epochs(run)]
        reached = np.flatnonzero(j1[analysis.epochs(run)] >= FITTED)
        first[place] = own[reached[0]] if len(reached) else own[-1] + 1
        step = max(step, float(np.median(np.diff(own)))) if len(own) > 1 else step
    return first, step


@claim(
    "B9",
    statement="Under CE, larger eta needs more epochs",
    bar="slope on eta of the first epoch with J1 >= .95 (censored at epochs + 1) above 0",
    published="yes (LF Fig. 1)",
    method="t interval over the seeds' least-squares slopes, its standard error at least that of rounding to evaluated "
    "epochs",
    cells="each setting under symmetric noise",
    minimum="2 rates of 3 seeds",
    premise="J1 >= .95 is reached at least at one rate",
    needs=("j1",),
)
def _b9(analysis: Analysis) -> Finding:
    gathered = Gathered(analysis)
    for cell in symmetric(analysis):
        group = cell.at("CE")
        if len(set(group.rates)) < 2:
            continue
        first, step = _first_epoch(group)
        slopes: dict[int, float] = {}
        for seed in dict.fromkeys(group.seeds):
            own = np.array(group.seeds) == seed
            rates = np.array(group.rates)[own]
            if len(np.unique(rates)) > 1:
                centered = rates - rates.mean()
                slopes[seed] = float(centered @ first[own] / (centered @ centered))
        reached = bool(np.any(first <= group["epoch"]))
        unmet = "" if reached else f"CE underfits: J1 < {FITTED} at every eta in {cell.title}"
        delay, floor = (
            Sample(np.array(list(slopes.values())), tuple(slopes)),
            step / math.sqrt(12) / float(np.ptp(group.rates)),
        )
        gathered.sample(cell, "epochs per unit of eta", delay, ABOVE_ZERO, unmet=unmet, floor=floor, used=(group,))
    return gathered.finding("no setting with CE at two rates of symmetric noise")


@claim(
    "B10",
    statement="Weight decay and dropout do not stop memorization",
    bar="m under CE with each: above .5, and above RLL's m without them",
    published="stated, not shown",
    method=_EACH + "; of the difference paired by seed",
    cells="each setting under symmetric noise and eta > 0, with more weight decay or dropout than its plain "
    "counterpart",
    minimum="3 seeds of CE with each, and of CE and RLL without",
    premise="plain " + _CE_MEMORIZES,
    needs=NEEDS,
)
def _b10(analysis: Analysis) -> Finding:
    gathered = Gathered(analysis)
    kinds: set[str] = set()
    for family in symmetric(analysis, vary=(_DECAY, _DROPOUT)):
        variants = [cell for one in family.by(_DROPOUT).values() for cell in one.by(_DECAY).values()]
        plain = min(variants, key=lambda cell: (_strength(cell, _DROPOUT), _strength(cell, _DECAY)))
        for cell in variants:
            kind = _kind(cell, plain)
            for rate in plain.rates("CE", "RLL") if kind else []:
                ce, rll = cell.at("CE", rate), plain.at("RLL", rate)
                name = kind.rpartition(".")[2].replace("_", " ")
                same: Row = {
                    "at": f"eta {rate:g} with {name} {_strength(cell, kind):g}",
                    "unmet": memorizes(plain, rate),
                }
                kinds |= {kind} if len(ce) else set()
                gathered.mean(family, "m", ce, "corrupted_as_observed", at_least(NOT_STOPPED), **same)
                what, column = "m of CE - m of RLL", "corrupted_as_observed"
                gathered.difference(family, what, ce, rll, column, ABOVE_ZERO, **same)
    lacking = "" if len(kinds) == 2 else "only one of weight decay and dropout was varied"
    return gathered.finding("no setting with CE under weight decay or dropout beside plain CE and RLL", lacking=lacking)


def _strength(cell: Cell, path: str) -> float:
    """The amount of weight decay or dropout in the runs of a cell; 0 if their spec does not set it."""
    value = cell.analysis.field(path)[cell.rows[0]]
    return float(value) if isinstance(value, (int, float)) and not math.isnan(value) else 0.0


def _kind(cell: Cell, plain: Cell) -> str:
    """The regularizer (weight decay or dropout) that this cell adds to the plain cell; "" for none or both."""
    more = [path for path in (_DECAY, _DROPOUT) if _strength(cell, path) > _strength(plain, path)]
    return more[0] if len(more) == 1 else ""
