"""B2, B3, B5, B6: a symmetric loss resists memorization, as LF says of RLL and of normalised MSE."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from byrote.claims.cells import Cell, Runs, cells, estimate, gap, paired, under_trained
from byrote.claims.decide import ABOVE_ZERO, BELOW_ZERO, Check, at_least, at_most, conclude, within
from byrote.claims.memorising import NEEDS, symmetric
from byrote.claims.statistics import Estimate, mean_over_seeds, minus
from byrote.claims.verdict import Finding, NotTested, Row, claim
from byrote.reference import beside
from byrote.store import Results
from byrote.table import Table

__all__ = ["resistance"]

_M, _A = "corrupted_as_observed", "clean_accuracy"
_SHARES = (_M, _A)
_CELLS = "each setting under symmetric noise and eta in (0, .6]; the worst decides"
_PREMISE = "CE reaches J1 >= .98 in the same cell: the network can memorise, and was trained long enough to"
_STEP = 0.05  # rates nearer than that are no neighbours: J1 would hardly fall
_T = "t interval over seeds; with one seed Wilson over samples"


def _rll_cells(runs: Runs) -> Iterator[tuple[Cell, float, Table, str]]:
    found = False
    for cell in cells(runs):
        for rate in cell.rates("RLL"):
            found = True
            yield cell, rate, cell.loss("RLL").final.where(rate=rate), under_trained(cell, rate)
    if not found:
        raise NotTested("no run of RLL (alpha 0.1) under symmetric noise at eta in (0, .6]")


def _steepest(final: Table) -> Estimate:
    """The change of J1 from one rate to the next, at least `_STEP` above, in the seed and step where it falls least.

    It is one pair of runs, so its interval counts samples (MOVER of two Wilson intervals), whatever the seeds.
    """
    steps: list[Estimate] = []
    seeds = np.unique(final["seed"]).tolist()
    for seed in seeds:
        own = final.where(seed=seed)
        shares, last = [], -np.inf
        for (rate,), rows in own.groups("rate"):
            if rate >= last + _STEP:
                last = rate
                shares.append(estimate(rows, "j1"))
        steps += [minus(high, low) for low, high in itertools.pairwise(shares)]
    if not steps:
        return mean_over_seeds(np.array([]))
    return replace(max(steps, key=lambda step: step.high), n=len(seeds))


@claim(
    "B2",
    statement="RLL's final J1 falls with eta: it does not memorise",
    bar="J1 falls in every seed; m <= .3; a >= .9",
    published="yes on all three networks (LF Fig. 3)",
    method="the change of J1 between neighbouring rates (.05 apart or more) in the seed where it falls least, by MOVER "
    "over samples; t "
    "interval over seeds of m and a, with one seed Wilson over samples",
    aggregation=_CELLS,
    minimum="RLL at 2 rates",
    premise=_PREMISE,
    needs=(*NEEDS, *_SHARES),
)
def _b2(results: Results) -> Finding:
    runs = symmetric(results)
    falls: list[Check] = []
    shares: list[Check] = []
    used = 0
    for cell in cells(runs):
        final = cell.loss("RLL").final
        step = _steepest(final)
        if not step.n:
            continue
        used += len(final)
        unmet = {rate: under_trained(cell, rate) for rate in cell.rates("RLL")}
        least = next((why for why in unmet.values() if why), "") if all(unmet.values()) else ""
        what = "change of J1 between neighbouring eta"
        falls.append(Check(cell.name, what, step, BELOW_ZERO, unmet=least, decides=cell.decides))
        for rate, why in unmet.items():
            one, name = final.where(rate=rate), f"{cell.name} RLL eta {rate:g}"
            facts, decides = beside(cell.facts, "RLL", rate), cell.decides
            m, a = estimate(one, _M), estimate(one, _A)
            shares.append(Check(name, "m", m, at_most(0.3), unmet=why, facts=facts, decides=decides))
            shares.append(Check(name, "a", a, at_least(0.9), unmet=why, decides=decides))
    if not falls:
        raise NotTested("no setting with RLL at two rates of symmetric noise")
    return conclude([*falls, *shares], runs=used, notes=runs.notes)


@claim(
    "B3",
    statement="RLL saturates at J1 = 1 - eta",
    bar="abs(J1 - (1 - rho)) <= .05, a >= .9 and m <= .1",
    published="within 5.5 points for Inception-Lite and MNIST at eta <= .4; ResNet-32 ends at 71, 61 where 60, 40 is "
    "claimed",
    method=_T,
    aggregation=_CELLS,
    minimum="1 run of RLL",
    premise=_PREMISE,
    needs=(*NEEDS, *_SHARES),
)
def _b3(results: Results) -> Finding:
    runs = symmetric(results)
    at: list[Check] = []
    shares: list[Check] = []
    used = 0
    for cell, rate, final, unmet in _rll_cells(runs):
        used += len(final)
        name = f"{cell.name} RLL eta {rate:g}"
        excess = final["j1"] - (1 - final["realised_rate"])
        found = mean_over_seeds(excess)
        if len(final) == 1:
            found = estimate(final, "j1").shifted(float(excess[0] - final["j1"][0]))
        facts, decides = beside(cell.facts, "RLL", rate), cell.decides
        region, a, m = within(-0.05, 0.05), estimate(final, _A), estimate(final, _M)
        at.append(Check(name, "J1 - (1 - rho)", found, region, unmet=unmet, facts=facts, decides=decides))
        shares.append(Check(name, "a", a, at_least(0.9), unmet=unmet, decides=decides))
        shares.append(Check(name, "m", m, at_most(0.1), unmet=unmet, decides=decides))
    return conclude([*at, *shares], runs=used, notes=runs.notes)


@claim(
    "B5",
    statement="RLL's J2 at eta is close to its accuracy at eta = 0",
    bar="gap J2(eta) - J2(0) >= -.05, and above that of CE",
    published="-5/-13 points (Inception-Lite at .2/.4), -1.4/-3.4 (MNIST); at .6 Inception-Lite 50 against 98, MNIST "
    "87 against 99.9",
    method="paired t over seeds; with one seed MOVER of Wilson's intervals over samples",
    aggregation=_CELLS,
    minimum="RLL and CE at eta 0 and at one eta above, of one seed",
    premise=_PREMISE,
    needs=NEEDS,
)
def _b5(results: Results) -> Finding:
    runs = symmetric(results)
    close: list[Check] = []
    above: list[Check] = []
    used = 0
    for cell, rate, final, unmet in _rll_cells(runs):
        clean = cell.loss("RLL").final.where(rate=0.0)
        ce, ce_clean = (cell.loss("CE").final.where(rate=eta) for eta in (rate, 0.0))
        own, other = gap(final, clean), gap(ce, ce_clean)
        if not own.n or not other.n:
            continue
        used += len(final) + len(clean) + len(ce) + len(ce_clean)
        name = f"{cell.name} RLL eta {rate:g}"
        facts, decides = beside(cell.facts, "RLL", rate), cell.decides
        bar = at_least(-0.05)
        close.append(Check(name, "J2(eta) - J2(0)", own, bar, unmet=unmet, facts=facts, decides=decides))
        lead = _gap_lead(final, clean, ce, ce_clean) if min(own.n, other.n) > 1 else minus(own, other)
        above.append(Check(name, "gap of RLL - gap of CE", lead, ABOVE_ZERO, unmet=unmet, decides=decides))
    if not close:
        raise NotTested("RLL and CE are needed at eta 0 and at one eta above, with a seed in common")
    return conclude([*close, *above], runs=used, notes=runs.notes)


def _gap_lead(*finals: Table) -> Estimate:
    """(RLL at eta - RLL at 0) - (CE at eta - CE at 0) of J2, paired over the seeds all four have."""
    each = [dict(zip(final["seed"].tolist(), final["j2"].tolist(), strict=True)) for final in finals]
    seeds = sorted(set.intersection(*(set(one) for one in each)))
    a, b, c, d = (np.array([one[seed] for seed in seeds]) for one in each)
    return mean_over_seeds((a - b) - (c - d))


@claim(
    "B6",
    statement="Normalised MSE behaves like RLL",
    bar="abs differences of J1 and of J2 <= .05, and m <= .1",
    published="yes (LF Fig. 6)",
    method="paired t over seeds; with one seed MOVER and Wilson over samples",
    aggregation=_CELLS,
    minimum="1 run of each at one eta",
    premise=_PREMISE,
    needs=(*NEEDS, *_SHARES),
)
def _b6(results: Results) -> Finding:
    runs = symmetric(results)
    like: list[Check] = []
    shares: list[Check] = []
    used = 0
    for cell in cells(runs):
        for rate in cell.rates("RLL", "nMSE"):
            rll, nmse = (cell.loss(loss).final.where(rate=rate) for loss in ("RLL", "nMSE"))
            used += len(rll) + len(nmse)
            unmet, name = under_trained(cell, rate), f"{cell.name} eta {rate:g}"
            facts, decides = beside(cell.facts, "nMSE", rate), cell.decides
            for column in ("j1", "j2"):
                what, region = f"{column.upper()} nMSE - RLL", within(-0.05, 0.05)
                difference = paired(nmse, rll, column)
                like.append(Check(name, what, difference, region, unmet=unmet, facts=facts, decides=decides))
            m = estimate(nmse, _M)
            shares.append(Check(name, "m of nMSE", m, at_most(0.1), unmet=unmet, decides=decides))
    if not like:
        raise NotTested("no setting with both RLL and normalised MSE at one eta of symmetric noise")
    return conclude([*like, *shares], runs=used, notes=runs.notes)


def resistance(results: Results) -> list[Row]:
    """One row a setting, loss and eta: J1, J2, a, t, m and LF's resistance gap J2(eta) - J2(0), over seeds.

    Args:
        results: the tables of a store, `byrote.open(DIR).results`.

    Returns:
        Rows with `cell`, `loss`, `rate`, `seeds`, the means of `j1`, `j2`, `a`, `t`, `m`, and `gap` with
        `gap_low`, `gap_high` (None at eta 0, or without a clean run of the same seed).
    """
    rows: list[Row] = []
    for cell in cells(symmetric(results)):
        for (loss, rate), final in cell.runs.final.groups("loss", "rate"):
            clean = cell.loss(loss).final.where(rate=0.0)
            found = gap(final, clean) if rate > 0 else mean_over_seeds(np.array([]))
            row: Row = {"cell": cell.name, "loss": loss, "rate": rate, "seeds": len(final)}
            letters = {"j1": "j1", "j2": "j2", "a": _A, "t": "corrupted_as_true", "m": _M}
            row |= {letter: float(np.mean(final[column])) for letter, column in letters.items()}
            known = found.n > 0
            row |= {"gap": found.value if known else None}
            row |= {"gap_low": found.low if known else None, "gap_high": found.high if known else None}
            rows.append(row)
    return rows
