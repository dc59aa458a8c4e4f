"""A6, A11, A12, A14: what memorization and dilation do to test accuracy."""

from __future__ import annotations

import math

import numpy as np

from byrote.claims.cells import Cell, cells, paired, read
from byrote.claims.decide import BELOW_ZERO, Check, at_least, conclude, within
from byrote.claims.statistics import Array, Estimate, bootstrapped, resamples, spearman
from byrote.claims.verdict import Finding, NotTested, claim
from byrote.store import Results
from byrote.table import Table

__all__ = ["ALIKE", "CORRELATION", "SHARE"]

_FASHION = ("fashion_mnist", "fashion_mnist_subset")
SHARE, CORRELATION, ALIKE = 0.9, 0.7, 0.005
_NEEDS = ("loss", "rate", "seed", "test_accuracy", "collapsed")


def _differences(ls: Table, ce: Table) -> Array:
    """(S,) LS - CE of the test accuracy for each common seed."""
    a = dict(zip(ls["seed"].tolist(), ls["test_accuracy"].tolist(), strict=True))
    b = dict(zip(ce["seed"].tolist(), ce["test_accuracy"].tolist(), strict=True))
    return np.array([a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())])


def _share_not_worse(differences: list[Array]) -> Estimate:
    """The share of cells whose mean difference is >= 0, with its bootstrap over seeds (drawn alike in every cell)."""
    value = float(np.mean([np.mean(cell) >= 0 for cell in differences]))
    fewest = min(len(cell) for cell in differences)
    draws = [resamples(len(cell)) @ cell >= 0 for cell in differences]
    return bootstrapped(value, np.mean(draws, axis=0), fewest, (0.0, 1.0))


@claim(
    "A6",
    statement="With noise, the test accuracy of LS is at least that of CE in nearly all cells (dataset, eta > 0)",
    bar="share of cells with mean paired difference >= 0: lower end >= .9 holds, upper end < .9 fails",
    published="very few exceptions (MD Fig. 1, bottom)",
    method="t interval with the bootstrap's standard error over seeds; of each cell a paired t over seeds",
    aggregation="the share over all settings that decide and eta > 0",
    minimum="2 seeds that share an eta under CE and LS",
    needs=_NEEDS,
)
def _a6(results: Results) -> Finding:
    runs = read(results)
    found: dict[bool, list[Array]] = {True: [], False: []}
    rows = []
    for cell in cells(runs):
        for rate in cell.rates("LS", "CE"):
            ls, ce = (cell.loss(loss).final.where(rate=rate) for loss in ("LS", "CE"))
            difference = _differences(ls, ce)
            if len(difference):
                found[cell.decides].append(difference)
                better = paired(ls, ce, "test_accuracy")
                check = Check(cell.name, "accuracy LS - CE", better, at_least(0.0), decides=cell.decides)
                rows.append(check.row() | {"rate": rate})
    if not rows:
        raise NotTested("no setting with both LS and CE at one eta > 0")
    checks = [
        Check(name, "share of cells", _share_not_worse(found[decides]), at_least(SHARE), decides=decides)
        for decides, name in ((True, "all cells"), (False, "all cells of variations"))
        if found[decides]
    ]
    used = 2 * sum(len(difference) for each in found.values() for difference in each)
    return conclude(checks, runs=used, notes=runs.notes, rows=rows)


@claim(
    "A11",
    statement="Dilation goes with generalisation: test NC1 and test error rise together",
    bar="Spearman correlation of test NC1 and test error over runs: lower end > .7 holds, upper end <= .7 fails",
    published="asserted (after Kornblith et al. 2021)",
    method="t interval with the bootstrap's standard error, over seeds, all runs of a seed together",
    aggregation="the runs of all losses and eta of a setting together; the worst setting decides",
    minimum="2 seeds and 6 runs in a setting",
    needs=(*_NEEDS, "nc1_test"),
)
def _a11(results: Results) -> Finding:
    runs = read(results)
    checks, used = [], 0
    for cell in cells(runs):
        final = cell.runs.final
        final = final.where(np.isfinite(final["nc1_test"]) & np.isfinite(final["test_accuracy"]))
        if len(final) < 6:
            continue
        used += len(final)
        found = spearman(final["nc1_test"], 1 - final["test_accuracy"], final["seed"])
        bar = at_least(math.nextafter(CORRELATION, 1.0))
        facts = {"runs": len(final)}
        what = "Spearman(NC1, test error)"
        checks.append(Check(cell.name, what, found, bar, facts=facts, decides=cell.decides))
    if not checks:
        raise NotTested("no setting with 6 runs that have NC1 on test data")
    return conclude(checks, runs=used, notes=runs.notes)


def _compare(cell: Cell, column: str) -> tuple[Estimate, int]:
    ls, ce = (cell.loss(loss).final.where(rate=0.0) for loss in ("LS", "CE"))
    return paired(ls, ce, column), len(ls) + len(ce)


@claim(
    "A12",
    statement="Without noise CE and LS generalise alike",
    bar="accuracy LS - CE at eta 0: interval inside [-.005, .005] holds, outside fails",
    published="largely identical (Zhou et al. 2022b)",
    method="paired t over seeds; with one seed MOVER of two Wilson intervals over test samples",
    aggregation="each setting; the worst decides",
    minimum="2 seeds",
    needs=_NEEDS,
)
def _a12(results: Results) -> Finding:
    runs = read(results)
    checks, used = [], 0
    for cell in cells(runs):
        difference, count = _compare(cell, "test_accuracy")
        if difference.n:
            used += count
            region = within(-ALIKE, ALIKE)
            checks.append(Check(cell.name, "accuracy LS - CE", difference, region, decides=cell.decides))
    if not checks:
        raise NotTested("no setting with both LS and CE at eta 0")
    return conclude(checks, runs=used, notes=runs.notes)


@claim(
    "A14",
    statement="Classes that resemble each other, without noise: LS dilates less than CE",
    bar="test NC1 of LS - CE on Fashion-MNIST classes 0 and 6 at eta 0: interval below 0 holds, above 0 fails",
    published="said of classes that share similarities",
    method="paired t over seeds",
    aggregation="each setting of Fashion-MNIST 0/6; the worst decides",
    minimum="2 seeds",
    needs=(*_NEEDS, "nc1_test", "dataset", "classes"),
)
def _a14(results: Results) -> Finding:
    runs = read(results).where(dataset=_FASHION, classes="0,6")
    checks, used = [], 0
    for cell in cells(runs):
        difference, count = _compare(cell, "nc1_test")
        if difference.n:
            used += count
            checks.append(Check(cell.name, "NC1 LS - CE", difference, BELOW_ZERO, decides=cell.decides))
    if not checks:
        raise NotTested("no runs of LS and CE at eta 0 on Fashion-MNIST classes 0,6")
    return conclude(checks, runs=used, notes=runs.notes)
