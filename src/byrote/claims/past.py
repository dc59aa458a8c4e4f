"""C1, C4: past the papers: the noise rate off one run, and path dependence."""

from __future__ import annotations

import numpy as np

from byrote.claims.cells import cells, estimate, paired, read, under_trained
from byrote.claims.decide import Check, at_least, at_most, conclude
from byrote.claims.statistics import share_of_runs
from byrote.claims.verdict import Finding, NotTested, Row, claim
from byrote.store import Results

__all__ = ["COVERAGE", "KEPT", "NOT_MEMORISED", "SYMMETRIC"]

SYMMETRIC = ("RLL", "nMSE")
COVERAGE, KEPT, NOT_MEMORISED = 0.9, 0.9, 0.3
_NEEDS = ("loss", "rate", "seed", "realised_rate", "collapsed")


@claim(
    "C1",
    statement="One run under a symmetric loss gives the noise rate with an honest interval",
    bar="coverage of the stated 95%: lower end >= .9 holds, upper end < .9 fails",
    published="'as if we have almost inferred the noise rate' (LF)",
    method="exact (Clopper-Pearson) interval over runs",
    aggregation="all runs of RLL and normalised MSE together, a row a setting, loss and eta; runs that say they "
    "underfit are left out and counted",
    minimum="36 runs that all cover to hold",
    needs=(*_NEEDS, "noise", "rate_estimate", "rate_low", "rate_high", "underfits"),
)
def _c1(results: Results) -> Finding:
    runs = read(results).where(loss=SYMMETRIC, noise=("symmetric", "uniform"))
    stated = runs.only(np.isfinite(runs.final["rate_estimate"]))
    if not len(stated.final):
        raise NotTested("no run of RLL or normalised MSE with an estimated noise rate")
    underfit = stated.final["underfits"].astype(bool)
    usable = stated.only(~underfit)
    rows: list[Row] = []
    for cell in cells(usable):
        for (loss, rate), final in cell.runs.final.groups("loss", "rate"):
            covered = (final["rate_low"] <= final["realised_rate"]) & (final["realised_rate"] <= final["rate_high"])
            share = share_of_runs(int(covered.sum()), len(final))
            check = Check(f"{cell.name} {loss} eta {rate:g}", "coverage", share, at_least(COVERAGE))
            bias = float(np.mean(final["rate_estimate"] - final["realised_rate"]))
            rows.append(check.row() | {"bias": bias, "width": float(np.mean(final["rate_high"] - final["rate_low"]))})
    said = f"runs that say they underfit left out: {int(underfit.sum())}" if underfit.any() else ""
    final = usable.final
    if not len(final):
        return Finding("inconclusive", runs=len(stated.final), reason="every run says that it underfits")
    covered = (final["rate_low"] <= final["realised_rate"]) & (final["realised_rate"] <= final["rate_high"])
    width = f"mean width {float(np.mean(final['rate_high'] - final['rate_low'])):.3g}"
    pooled = Check("all runs", "coverage", share_of_runs(int(covered.sum()), len(final)), at_least(COVERAGE))
    return conclude([pooled], runs=len(final), notes=[width, said, *runs.notes], rows=rows)


@claim(
    "C4",
    statement="Resistance is path dependence: RLL started from weights that CE made memorise keeps m; from scratch it "
    "does not memorise",
    bar="m of RLL at the end: >= .9 from memorised weights, <= .3 from scratch",
    published="not in the papers; RLL's empirical minimum memorises (science, section 2)",
    method="t interval over seeds; with one seed Wilson over corrupted samples",
    aggregation="each setting under symmetric noise and eta above 0; the worst decides",
    minimum="1 run of RLL from each start",
    premise="CE reaches J1 >= .98 in the same cell",
    needs=(*_NEEDS, "start", "noise", "n_train", "j1", "corrupted_as_observed"),
)
def _c4(results: Results) -> Finding:
    runs = read(results, with_starts=True).where(noise="symmetric")
    if "start_loss" in runs.final:
        runs = runs.where(start_loss=("", "CE"))
    keeps: list[Check] = []
    resists: list[Check] = []
    rows: list[Row] = []
    used = 0
    for cell in cells(runs):
        rll = cell.loss("RLL").final
        for rate in cell.rates("RLL"):
            scratch, started = (rll.where(rate=rate, start=start) for start in ("scratch", "memorised"))
            if not len(scratch) or not len(started):
                continue
            used += len(scratch) + len(started)
            name, unmet = f"{cell.name} RLL eta {rate:g}", under_trained(cell, rate)
            kept, low = (estimate(final, "corrupted_as_observed") for final in (started, scratch))
            keeps.append(Check(name, "m from memorised weights", kept, at_least(KEPT), unmet=unmet))
            resists.append(Check(name, "m from scratch", low, at_most(NOT_MEMORISED), unmet=unmet))
            lead = paired(started, scratch, "corrupted_as_observed")
            rows.append(Check(name, "m memorised - m scratch", lead, at_least(0.0), unmet=unmet).row())
    if not keeps:
        raise NotTested("no setting with RLL both from scratch and from memorised weights")
    return conclude([*keeps, *resists], runs=used, notes=runs.notes, rows=rows)
