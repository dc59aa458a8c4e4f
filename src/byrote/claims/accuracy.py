"""A6, A11, A12, A14: what memorization and dilation do to test accuracy."""

from __future__ import annotations

import math

import numpy as np

from byrote.analysis import BELOW_ZERO, Analysis, at_least, spearman, unreliable, within
from byrote.claims.cells import Cell, Group, cells
from byrote.claims.gathering import Gathered
from byrote.claims.verdict import Finding, Row, claim

__all__ = ["ALIKE", "CORRELATION", "NEARLY_ALL"]

NEARLY_ALL, CORRELATION, ALIKE = 0.9, 0.7, 0.005
_FASHION = ("fashion_mnist", "fashion_mnist_subset")
_SIMILAR = (
    [0, 6],
    [2, 4],
    [2, 6],
    [7, 9],
)  # classes that resemble each other, such as T-shirts and shirts, or pullovers and coats
_ACCURACY = "accuracy LS - CE"


@claim(
    "A6",
    statement="With noise, the test accuracy of LS is at least that of CE in nearly all cells (dataset, eta > 0)",
    bar="accuracy LS - CE >= -.005 in at least .9 of the cells",
    published="very few exceptions (MD Fig. 1, bottom)",
    method="t interval over seeds, paired; the cells together by Bonferroni's test of a partial conjunction",
    cells="each setting and eta > 0",
    minimum="3 seeds that share an eta under CE and LS",
    needs=("test_accuracy",),
)
def _a6(analysis: Analysis) -> Finding:
    gathered = Gathered(analysis)
    for cell in cells(analysis):
        for rate in cell.rates("LS", "CE"):
            pair = (cell.at("LS", rate), cell.at("CE", rate))
            facts = {"rate": rate}
            gathered.difference(
                cell, _ACCURACY, *pair, "test_accuracy", at_least(-ALIKE), at=f"eta {rate:g}", facts=facts
            )
    return gathered.finding("no setting with both LS and CE at one eta > 0", nearly_all=NEARLY_ALL)


def _too_alike(group: Group, conditions: list[tuple[str, float]]) -> str:
    """Why a correlation cannot be judged: a reading hardly varies between conditions. Empty if both readings vary."""
    error = 1 - group["test_accuracy"]
    share = float(np.mean(error))
    counting = share * (1 - share) / float(np.mean(group["n_test"]))
    for name, values, binomial in (("test error", error, counting), ("log NC1", np.log(group["nc1_test"]), 0.0)):
        why = unreliable(values, conditions, binomial)
        if why:
            return f"{name} {why}"
    return ""


def _resolution(atanh: float, runs: int) -> float:
    """The smallest step of a rank correlation of n runs after atanh, which is a lower bound on its standard error."""
    step = 12 / (runs**3 - runs)
    return step / max(1 - math.tanh(atanh) ** 2, step) if math.isfinite(atanh) else 0.0


@claim(
    "A11",
    statement="Dilation is tied to generalization: test NC1 and test error rise together",
    bar="Spearman correlation of test NC1 and test error over runs above .7",
    published="asserted (after Kornblith et al. 2021)",
    method="t interval over jackknife pseudo-values of the seeds of atanh of the correlation, all runs of a seed "
    "together, its standard error at least one step of a rank correlation",
    cells="the runs of all losses and eta of a setting together",
    minimum="3 seeds and 6 runs in a setting",
    premise="the test error and log NC1 both vary between losses and eta: the variance within a loss and eta is at "
    "most half of the total, and the total of the test error at least twice that of counting test samples",
    needs=("test_accuracy", "nc1_test"),
)
def _a11(analysis: Analysis) -> Finding:
    gathered = Gathered(analysis)
    for cell in cells(analysis):
        group = cell.all
        group = group.where(
            np.isfinite(group["nc1_test"]) & (group["nc1_test"] > 0) & np.isfinite(group["test_accuracy"])
        )
        if len(group) < 6:
            continue
        losses = analysis.runs["loss"][group.rows].tolist()
        unmet = _too_alike(group, list(zip(losses, group.rates, strict=True)))
        correlation = spearman(group["nc1_test"], 1 - group["test_accuracy"], group.seeds)
        same: Row = {"unmet": unmet, "floor": _resolution(correlation.whole, len(group)), "facts": {"runs": len(group)}}
        what, bar = "Spearman(NC1, test error)", at_least(math.atanh(CORRELATION))
        gathered.sample(cell, what, correlation, bar, used=(group,), **same)
    return gathered.finding("no setting with 6 runs that have NC1 on test data")


def _clean(cell: Cell) -> tuple[Group, Group]:
    return cell.at("LS", 0.0), cell.at("CE", 0.0)


@claim(
    "A12",
    statement="Without noise CE and LS generalize alike",
    bar="accuracy LS - CE at eta 0 inside [-.005, .005]",
    published="largely identical (Zhou et al. 2022b)",
    method="t interval over seeds, paired",
    cells="each setting",
    minimum="3 seeds",
    needs=("test_accuracy",),
)
def _a12(analysis: Analysis) -> Finding:
    gathered = Gathered(analysis)
    for cell in cells(analysis):
        gathered.difference(cell, _ACCURACY, *_clean(cell), "test_accuracy", within(-ALIKE, ALIKE))
    return gathered.finding("no setting with both LS and CE at eta 0")


@claim(
    "A14",
    statement="Without noise, LS dilates less than CE on classes that resemble each other",
    bar="test NC1 of LS - CE on two similar classes at eta 0 below 0",
    published="stated for classes that share similarities",
    method="t interval over seeds, paired",
    cells="each setting of Fashion-MNIST with two classes that resemble each other: 0/6, 2/4, 2/6, 7/9",
    minimum="3 seeds",
    needs=("nc1_test",),
)
def _a14(analysis: Analysis) -> Finding:
    gathered = Gathered(analysis)
    for cell in cells(analysis):
        fields = cell.setting.fields
        if fields.get("data.kind") in _FASHION and fields.get("data.classes") in _SIMILAR:
            gathered.difference(cell, "NC1 LS - CE", *_clean(cell), "nc1_test", BELOW_ZERO)
    return gathered.finding("no runs of LS and CE at eta 0 on similar classes of Fashion-MNIST")
