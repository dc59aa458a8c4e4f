"""C1 and C4, which go beyond the papers: the noise rate from one run, and path dependence."""

from __future__ import annotations

import numpy as np

from byrote.analysis import Analysis, at_least, at_most
from byrote.claims.cells import Group, cells
from byrote.claims.gathering import Gathered, memorizes
from byrote.claims.memorizing_losses import NEEDS, symmetric
from byrote.claims.verdict import Finding, Row, claim, needed

__all__ = ["COVERAGE", "NOT_MEMORIZED", "STILL_MEMORIZED", "SYMMETRIC"]

SYMMETRIC = ("RLL", "nMSE")
COVERAGE, STILL_MEMORIZED, NOT_MEMORIZED = 0.9, 0.9, 0.3


def _independent(group: Group) -> Group:
    """The independent runs of a group at rates above 0, no two of which share the held-out split or the noise."""
    analysis = group.analysis
    splits, noises, seeds = (analysis.field(path)[group.rows] for path in ("split_seed", "noise_seed", "seed"))
    taken: set[object] = set()
    chosen = np.zeros(len(group), dtype=bool)
    for place, (split, noise, seed) in enumerate(zip(splits, noises, seeds, strict=True)):
        own = (split, seed if noise is None else noise)
        chosen[place] = split is not None and split not in taken and own not in taken and group.rates[place] > 0
        taken |= {own, split} if chosen[place] else set()
    return group.where(chosen)


@claim(
    "C1",
    statement="One run under a symmetric loss gives the noise rate with an honest interval",
    bar="coverage of the stated 95% at least .9",
    published="'as if we have almost inferred the noise rate' (LF)",
    method="exact (Clopper-Pearson) interval over runs",
    cells="all independent runs of RLL and normalized MSE under symmetric or uniform noise at eta > 0: each has a "
    "held-out split and noise of its own (`split_seed`). The share that states a rate at all is in the reason",
    minimum="36 runs that all cover to hold",
    needs=("rate_estimate", "rate_low", "rate_high", "realised_rate"),
)
def _c1(analysis: Analysis) -> Finding:
    gathered = Gathered(analysis)
    of, good, answers = [], [], [0, 0]
    for cell in cells(analysis):
        if analysis.runs["noise"][cell.rows[0]] not in ("symmetric", "uniform"):
            continue
        group = _independent(Group(analysis, cell.rows[analysis.named(SYMMETRIC)[cell.rows]]))
        stated = group.where(_states(group))
        answers = [answers[0] + len(stated), answers[1] + len(group)]
        if len(stated):
            of.append((cell, stated))
            good.append(
                (stated["rate_low"] <= stated["realised_rate"]) & (stated["realised_rate"] <= stated["rate_high"])
            )
            gathered.rows.append(_row(f"{cell.title}", stated, good[-1]))
    why = "no run of RLL or normalized MSE above eta 0 that has a held-out split of its own (split_seed)"
    needed(answers[1], why)
    gathered.share("coverage", of, good, at_least(COVERAGE))
    note = f"{answers[0]} of {answers[1]} independent runs state a rate"
    return gathered.finding(f"none of {answers[1]} independent runs states a rate", notes=[note])


def _states(group: Group) -> np.ndarray:
    """A mask of the runs that state a rate with an interval."""
    known = np.isfinite(group["rate_estimate"]) & np.isfinite(group["rate_low"]) & np.isfinite(group["rate_high"])
    for column, silent in (("rate_stated", 0.0), ("underfits", 1.0)):
        if column in group.analysis.runs:
            known &= group[column] != silent
    return np.asarray(known)


def _row(name: str, group: Group, covered: np.ndarray) -> Row:
    bias = float(np.mean(group["rate_estimate"] - group["realised_rate"]))
    width = float(np.mean(group["rate_high"] - group["rate_low"]))
    return {
        "cell": name,
        "what": "coverage",
        "value": float(np.mean(covered)),
        "seeds": len(group),
        "bias": bias,
        "width": width,
    }


@claim(
    "C4",
    statement="Resistance is path dependence: RLL started from weights that CE made memorize keeps m; from scratch it "
    "does not memorize",
    bar="m of RLL at the end: >= .9 from memorized weights, <= .3 from scratch",
    published="not in the papers; the empirical minimum of RLL memorizes (docs/losses.md)",
    method="t interval over seeds, its standard error at least that of counting all samples once",
    cells="each setting under symmetric noise and eta above 0",
    minimum="3 seeds of RLL from each start",
    premise="CE reaches a clean accuracy of .98 and m >= .95 in the same cell",
    needs=NEEDS,
)
def _c4(analysis: Analysis) -> Finding:
    gathered = Gathered(analysis)
    column = "corrupted_as_observed"
    for family in symmetric(analysis, vary=("start",)):
        starts = family.by("start.kind")
        scratch, started = starts.get(None), starts.get("cross_entropy")
        for rate in scratch.rates("RLL") if scratch is not None and started is not None else ():
            if scratch is None or started is None or not len(started.at("RLL", rate)):
                continue
            same: Row = {"at": f"RLL eta {rate:g}", "unmet": memorizes(scratch, rate)}
            after, low = started.at("RLL", rate), scratch.at("RLL", rate)
            gathered.mean(family, "m from memorized weights", after, column, at_least(STILL_MEMORIZED), **same)
            gathered.mean(family, "m from scratch", low, column, at_most(NOT_MEMORIZED), **same)
            what = "m memorized - m scratch"
            gathered.difference(family, what, after, low, column, at_least(0.0), shown=True, **same)
    return gathered.finding("no setting with RLL both from scratch and from weights that CE made memorize")
