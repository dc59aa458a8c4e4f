"""B1, B4, B9, B10: cross-entropy and the squared error memorise the wrong labels, in time."""

from __future__ import annotations

import math

import numpy as np

from byrote.claims.cells import MEMORISED, Cell, Runs, cells, estimate, paired, read, under_trained
from byrote.claims.decide import ABOVE_ZERO, Check, at_least, conclude
from byrote.claims.statistics import Array, Estimate, mean_over_seeds, wilson
from byrote.claims.verdict import Finding, NotTested, claim
from byrote.reference import beside
from byrote.store import Results
from byrote.table import Table

__all__ = ["NEEDS", "symmetric"]

M_MEMORISED, LARGEST_RATE, LEARNED = 0.95, 0.6, 0.95
NOT_STOPPED = 0.5  # m under weight decay or dropout from which they do not stop memorization
NEEDS = ("loss", "rate", "seed", "noise", "n_train", "collapsed", "j1", "j2", "realised_rate")
_SHARES = ("corrupted_as_observed", "corrupted_as_true", "clean_accuracy")


def symmetric(results: Results) -> Runs:
    """LF's own noise: `Symmetric`, where eta is the effective rate."""
    runs = read(results).where(noise="symmetric", rate=lambda rate: rate <= LARGEST_RATE + 1e-9)
    if not len(runs.final):
        raise NotTested("no run under symmetric noise")
    return runs


@claim(
    "B1",
    statement="CE and MSE memorise at eta <= .6",
    bar="J1 >= .98 and m >= .95",
    published="CE 99.4 to 100 everywhere; MSE 98.4 to 99.8 on CIFAR-10, but 89/84/80 on MNIST with ResNet-18",
    method="t interval over seeds; with one seed Wilson over samples",
    aggregation="each setting under symmetric noise, eta in (0, .6] and loss (CE, MSE on probabilities); the worst "
    "decides",
    minimum="1 run of CE or MSE",
    premise="CE reaches J1 >= .98 in the same cell",
    needs=(*NEEDS, *_SHARES),
)
def _b1(results: Results) -> Finding:
    runs = symmetric(results)
    m_checks: list[Check] = []
    j1_checks: list[Check] = []
    used = 0
    losses: set[str] = set()
    for cell in cells(runs):
        for loss in ("CE", "MSE-p"):
            for rate in cell.rates(loss):
                final = cell.loss(loss).final.where(rate=rate)
                unmet, name = under_trained(cell, rate), f"{cell.name} {loss} eta {rate:g}"
                used, losses = used + len(final), losses | ({loss} if cell.decides else set())
                m, j1 = estimate(final, "corrupted_as_observed"), estimate(final, "j1")
                facts, decides = beside(cell.facts, loss, rate), cell.decides
                m_checks.append(Check(name, "m", m, at_least(M_MEMORISED), unmet=unmet, decides=decides))
                j1_bar = at_least(MEMORISED)
                j1_checks.append(Check(name, "J1", j1, j1_bar, unmet=unmet, facts=facts, decides=decides))
    if not m_checks:
        raise NotTested("no run of CE or MSE on probabilities under symmetric noise at eta in (0, .6]")
    lacking = "" if losses >= {"CE", "MSE-p"} else f"only {', '.join(sorted(losses)) or 'a variation'} was run"
    return conclude([*m_checks, *j1_checks], runs=used, notes=runs.notes, lacking=lacking)


def _lead(history: Table) -> tuple[Array, Array, int]:
    """t - m at each epoch, averaged over seeds, with its standard error: (E,) means and errors; seeds.

    The error is the larger of that over seeds and that of counting corrupted samples.
    """
    means, errors = [], []
    for _, rows in history.groups("epoch"):
        t, m = rows["corrupted_as_true"], rows["corrupted_as_observed"]
        corrupted = max(float(np.sum(rows["realised_rate"] * rows["n_train"])), 1.0)
        counting = math.sqrt(max(float(np.mean(t + m - (t - m) ** 2)), 0.0) / corrupted)
        over_seeds = float(np.std(t - m, ddof=1)) / math.sqrt(len(rows)) if len(rows) > 1 else 0.0
        means.append(float(np.mean(t - m)))
        errors.append(max(counting, over_seeds))
    return np.array(means), np.array(errors), history.runs


def _at(index: int, means: Array, errors: Array, seeds: int) -> Estimate:
    return Estimate(
        float(means[index]), float(means[index] - 2 * errors[index]), float(means[index] + 2 * errors[index]), seeds
    )


def _stays_above(cell: Cell, rate: float, history: Table) -> list[Check]:
    """t > m at every epoch under RLL."""
    means, errors, seeds = _lead(history)
    least = _at(int(np.argmin(means - 2 * errors)), means, errors, seeds)
    name, unmet = f"{cell.name} RLL eta {rate:g}", under_trained(cell, rate)
    return [Check(name, "least t - m over epochs", least, ABOVE_ZERO, unmet=unmet, decides=cell.decides)]


def _crosses(cell: Cell, loss: str, rate: float, history: Table) -> list[Check]:
    """t > m at an early epoch, m > t at the last."""
    means, errors, seeds = _lead(history)
    best = _at(int(np.argmax(means - 2 * errors)), means, errors, seeds)
    last = _at(-1, means, errors, seeds)
    end = Estimate(-last.value, -last.high, -last.low, last.n)
    name, unmet = f"{cell.name} {loss} eta {rate:g}", under_trained(cell, rate)
    return [
        Check(name, what, found, ABOVE_ZERO, unmet=unmet, decides=cell.decides)
        for what, found in (("largest t - m over epochs", best), ("m - t at the last epoch", end))
    ]


@claim(
    "B4",
    statement="Under RLL J2 stays above J1 throughout; under CE and MSE the curves cross",
    bar="RLL: t > m at every epoch; CE, MSE: t > m at an early epoch and m > t at the last (2 standard errors)",
    published="yes (LF Figs. 5, 6)",
    method="2 standard errors: the larger of that over seeds and that of counting corrupted samples",
    aggregation="each setting under symmetric noise, eta > 0 and loss; the worst decides",
    minimum="1 run of RLL and of CE or MSE, 2 evaluated epochs",
    premise="CE reaches J1 >= .98 in the same cell",
    needs=(*NEEDS, *_SHARES),
)
def _b4(results: Results) -> Finding:
    runs = symmetric(results)
    above: list[Check] = []
    cross: list[Check] = []
    used = 0
    for cell in cells(runs):
        for loss in ("RLL", "CE", "MSE-p"):
            for rate in cell.rates(loss):
                part = cell.loss(loss).where(rate=rate)
                used += part.final.runs
                if loss == "RLL":
                    above += _stays_above(cell, rate, part.history)
                else:
                    cross += _crosses(cell, loss, rate, part.history)
    if not above or not cross:
        raise NotTested("RLL and one of CE and MSE on probabilities are needed under symmetric noise")
    return conclude([*above, *cross], runs=used, notes=runs.notes)


def _first_epoch(run: Table, j1: Array) -> float:
    """The first evaluated epoch with J1 >= .95; one past the last when there is none (censored)."""
    order = np.argsort(run["epoch"])
    reached = np.flatnonzero(j1[order] >= LEARNED)
    return float(run["epoch"][order][reached[0]] if len(reached) else np.max(run["epoch"]) + 1)


def _slope_weights(rates: Array) -> Array:
    centred = rates - rates.mean()
    return np.asarray(centred / np.sum(centred**2))


def _delay(part: Runs) -> tuple[Estimate, bool]:
    """Epochs to J1 >= .95 per unit of eta: the least-squares slope of each seed; whether any rate reached it."""
    slopes: list[float] = []
    bounds: list[Estimate] = []
    reached = False
    for _, seed in part.history.groups("seed"):
        runs = [run for _, run in seed.groups("rate", "key")]
        rates = np.array([run["rate"][0] for run in runs])
        if len(np.unique(rates)) < 2:
            continue
        weights = _slope_weights(rates)
        epochs = np.array([_first_epoch(run, run["j1"]) for run in runs])
        reached = reached or any(epoch <= run["epoch"].max() for epoch, run in zip(epochs, runs, strict=True))
        slopes.append(float(weights @ epochs))
        bounds.append(_over_samples(slopes[-1], weights, runs))
    return (bounds[0] if len(slopes) == 1 else mean_over_seeds(np.array(slopes))), reached


def _over_samples(slope: float, weights: Array, runs: list[Table]) -> Estimate:
    """One seed's slope with the ends that Wilson's bounds of J1 at every epoch allow."""
    low = high = 0.0
    for weight, run in zip(weights, runs, strict=True):
        bounds = [wilson(j1 * n, n) for j1, n in zip(run["j1"], run["n_train"], strict=True)]
        early = _first_epoch(run, np.array([bound.high for bound in bounds]))
        late = _first_epoch(run, np.array([bound.low for bound in bounds]))
        low += float(weight) * (early if weight > 0 else late)
        high += float(weight) * (late if weight > 0 else early)
    return Estimate(slope, low, high, 1)


@claim(
    "B9",
    statement="Under CE, larger eta needs more epochs",
    bar="slope on eta of the first epoch with J1 >= .95 (censored at epochs + 1): interval above 0 holds, below fails",
    published="yes (LF Fig. 1)",
    method="t interval over the seeds' slopes; with one seed from Wilson's bounds of J1 at each epoch",
    aggregation="each setting under symmetric noise; the worst decides",
    minimum="2 rates of one seed",
    premise="J1 >= .95 is reached at one rate at least",
    needs=("loss", "rate", "seed", "noise", "n_train", "collapsed", "j1"),
)
def _b9(results: Results) -> Finding:
    runs = symmetric(results)
    checks, used = [], 0
    for cell in cells(runs):
        part = cell.loss("CE")
        slope, reached = _delay(part)
        if slope.n:
            used += len(part.final)
            unmet = "" if reached else f"under-trained: CE J1 < {LEARNED} at every eta in {cell.name}"
            what = "epochs per unit of eta"
            checks.append(Check(cell.name, what, slope, ABOVE_ZERO, unmet=unmet, decides=cell.decides))
    if not checks:
        raise NotTested("no setting with CE at two rates of symmetric noise")
    return conclude(checks, runs=used, notes=runs.notes)


@claim(
    "B10",
    statement="Weight decay and dropout do not stop memorization",
    bar="m under CE with each: above .5, and above RLL's m without them",
    published="said, not shown",
    method="t interval over seeds of m, paired t of the difference; with one seed Wilson and MOVER over samples",
    aggregation="each setting under symmetric noise and eta > 0, with more weight decay or dropout than its plain "
    "twin; the worst decides",
    minimum="1 run of CE with each, and of CE and RLL without",
    premise="plain CE reaches J1 >= .98",
    needs=(*NEEDS, *_SHARES, "weight_decay"),
)
def _b10(results: Results) -> Finding:
    runs = symmetric(results)
    kept: list[Check] = []
    beyond: list[Check] = []
    used = 0
    kinds: set[str] = set()
    for family in cells(runs, apart_from=("weight_decay", "dropout")):
        variants = list(cells(family.runs))
        plain = min(variants, key=lambda cell: (_strength(cell, "dropout"), _strength(cell, "weight_decay")))
        for cell in variants:
            kind = _kind(cell, plain)
            for rate in plain.rates("CE", "RLL") if kind else []:
                ce = cell.loss("CE").final.where(rate=rate)
                if not len(ce):
                    continue
                rll = plain.loss("RLL").final.where(rate=rate)
                kinds, used = kinds | {kind}, used + len(ce) + len(rll)
                name = f"{family.name} eta {rate:g} with {kind} {_strength(cell, kind):g}"
                unmet = under_trained(plain, rate)
                m = estimate(ce, "corrupted_as_observed")
                kept.append(Check(name, "m", m, at_least(NOT_STOPPED), unmet=unmet))
                lead = paired(ce, rll, "corrupted_as_observed")
                beyond.append(Check(name, "m of CE - m of RLL", lead, ABOVE_ZERO, unmet=unmet))
    if not kept:
        raise NotTested("no setting with CE under weight decay or dropout beside plain CE and RLL")
    lacking = "" if len(kinds) == 2 else f"only {', '.join(sorted(kinds))} was varied"
    return conclude([*kept, *beyond], runs=used, notes=runs.notes, lacking=lacking)


def _strength(cell: Cell, kind: str) -> float:
    """How much weight decay or dropout a setting has; 0 where the network has no such option."""
    value = float(cell.facts.get(kind, 0.0))
    return 0.0 if math.isnan(value) else value


def _kind(cell: Cell, plain: Cell) -> str:
    """Which regulariser this cell adds to the plain one: one of the two, or none ('')."""
    more = [kind for kind in ("weight_decay", "dropout") if _strength(cell, kind) > _strength(plain, kind)]
    return more[0] if len(more) == 1 else ""
