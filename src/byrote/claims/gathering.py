"""Gather the checks of a claim cell by cell, each with its premise, its least standard error and its runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from byrote.analysis import Analysis, Check, Decision, Region, Sample, decide, power
from byrote.analysis.check import computed_together
from byrote.claims.cells import Cell, Group
from byrote.claims.verdict import Finding, Row, needed

__all__ = ["Gathered", "Premise", "learned", "memorizes", "starts_clean"]

CLEAN, MEMORIZED, BEGUN = 0.98, 0.95, 0.5
Premise = Callable[[Cell, float], str]


def learned(cell: Cell, rate: float, loss: str = "CE") -> str:
    """Why the premise that a network can learn (a clean accuracy of .98) is not met; empty if it is met."""
    group = cell.at(loss, rate)
    if not len(group):
        return f"no run of {loss} at eta {rate:g} in {cell.title}"
    clean = group.value("clean_accuracy")
    if clean >= CLEAN:
        return ""
    return f"{loss} underfits: clean accuracy {clean:.3f} < {CLEAN} at eta {rate:g} in {cell.title}"


def memorizes(cell: Cell, rate: float, least: float = MEMORIZED) -> str:
    """Why the premise that a network can memorize (under CE, clean accuracy .98 and m >= `least`) is not met, or ""."""
    unmet = learned(cell, rate)
    if unmet:
        return unmet
    m = cell.at("CE", rate).value("corrupted_as_observed")
    return "" if m >= least else f"CE memorizes too little: m {m:.3f} < {least} at eta {rate:g} in {cell.title}"


def starts_clean(cell: Cell, rate: float, loss: str = "RLL") -> str:
    """Why the premises of a claim that a loss resists memorization are not met; empty if they are met.

    CE must memorize at this rate, and the loss itself must reach a J1 of .98 at eta 0, because a loss that cannot fit
    correct labels cannot be said to resist wrong ones.
    """
    unmet = memorizes(cell, rate)
    if unmet:
        return unmet
    clean = cell.at(loss, 0.0)
    if not len(clean):
        return f"no run of {loss} at eta 0 in {cell.title}"
    j1 = clean.value("j1")
    return "" if j1 >= CLEAN else f"{loss} underfits without noise: J1 {j1:.3f} < {CLEAN} at eta 0 in {cell.title}"


@dataclass
class Gathered:
    """The checks, rows and runs of one claim.

    Each method that adds a check takes the cell of the check and `at`, a text such as a loss or a rate that
    distinguishes the check from other checks of the same setting.
    """

    analysis: Analysis
    checks: list[Check] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    shown: list[Check] = field(default_factory=list)  # checks that appear in the details but do not decide
    keys: set[str] = field(default_factory=set)
    subjects: dict[str, str] = field(default_factory=dict)  # the data set of each cell, by the cell's name
    pooled: list[Check] = field(
        default_factory=list
    )  # shares over all runs, which decide instead of the shares of single data sets

    def sample(
        self,
        cell: Cell,
        what: str,
        sample: Sample,
        region: Region,
        *,
        at: str = "",
        unmet: str = "",
        floor: float = 0.0,
        outside: bool = False,
        facts: Row | None = None,
        used: Iterable[Group] = (),
        shown: bool = False,
    ) -> None:
        """Check whether a statistic with one value per seed is in a region.

        Args:
            cell: the cell of the check, which also determines whether the check decides the claim.
            what: the kind of statistic.
            sample: the values; without values, no check is added.
            region: the region of the claim, on the scale of the sample.
            at: a text that distinguishes the check from other checks of this cell.
            unmet: the premise that is not met, or "".
            floor: the least standard error.
            outside: the claim states that the value is outside the region.
            facts: further columns of the check's row.
            used: the runs from which the statistic was computed.
            shown: the check appears in the details but does not decide.
        """
        if not sample.seeds:
            return
        check = Check(
            " ".join(word for word in (cell.title, at) if word),
            what,
            sample.values,
            sample.seeds,
            region,
            outside=outside,
            floor=floor,
            unmet=unmet,
            facts=dict(facts or {}),
            scale=sample.scale,
            reason=sample.reason,
        )
        self.add(check, cell, used, shown=shown)

    def add(self, check: Check, cell: Cell, used: Iterable[Group] = (), *, shown: bool = False) -> None:
        """Add a complete check, which helps to decide the claim if its cell does."""
        check = replace(check, decides=cell.decides)
        self.subjects[check.cell] = cell.subject
        for group in used:
            self.keys |= group.keys
        if shown:
            self.shown.append(check)
        else:
            self.checks.append(check)

    def mean(self, cell: Cell, what: str, group: Group, column: str, region: Region, **more: Any) -> None:
        """Check the mean of a reading over seeds against a region; a share has at least the binomial error."""
        floor = group.share_floor(column)
        self.sample(cell, what, group.mean(column), region, floor=floor, used=(group,), **more)

    def difference(
        self, cell: Cell, what: str, first: Group, second: Group, column: str, region: Region, **more: Any
    ) -> None:
        """Check first - second, paired by seed and rate, against a region; a share has an error of a sample or more."""
        floor = first.difference_floor(column, second)
        self.sample(cell, what, first.minus(second, column), region, floor=floor, used=(first, second), **more)

    def share(
        self, what: str, of: Sequence[tuple[Cell, Group]], good: Sequence[NDArray[np.bool_]], region: Region
    ) -> None:
        """Check the share of successful runs among independent runs: one check per data set, and one for all runs.

        Args:
            of: each cell with the runs among which the share counts.
            good: for each cell, a mask that is true for its successful runs.
        """
        counts: dict[tuple[str, bool], list[int]] = {}
        owner: dict[tuple[str, bool], Cell] = {}
        for (cell, group), hits in zip(of, good, strict=True):
            place = (cell.subject, cell.decides)
            won = counts.setdefault(place, [0, 0])
            won[0], won[1] = won[0] + int(np.sum(hits)), won[1] + len(group)
            owner.setdefault(place, cell)
            self.keys |= group.keys
        total = [0, 0]
        for (name, decides), (successes, runs) in counts.items():
            self.add(Check(name, what, (), (), region, share=(successes, runs)), owner[name, decides])
            total = [total[0] + successes * decides, total[1] + runs * decides]
        if total[1]:
            self.pooled.append(Check("all runs", what, (), (), region, share=(total[0], total[1])))

    def finding(
        self,
        otherwise: str,
        *,
        kinds: Sequence[str] = (),
        nearly_all: float | None = None,
        lacking: str = "",
        notes: Sequence[str] = (),
    ) -> Finding:
        """The verdict on all cells together and on each data set.

        Args:
            otherwise: the reason for "not tested" if no check was gathered or one of the required kinds is missing.
            kinds: the required kinds of checks.
            nearly_all: the share of cells in which a claim about nearly all cells must hold.
            lacking: a part of the claim that these runs cannot answer.
            notes: remarks for the reason.

        Raises:
            NotTested: there is no check, or one of the kinds is missing.
        """
        there = {check.what for check in needed(self.checks, otherwise)}
        needed(there >= set(kinds), otherwise)
        computed_together([*self.checks, *self.shown])
        word = partial(decide, nearly_all=nearly_all, lacking=lacking)
        shares = {check.what for check in self.pooled}
        each = [check for check in self.checks if check.what not in shares or not check.decides]
        deciding = [*self.pooled, *each]
        decision = word(deciding)
        names = dict.fromkeys(self.subjects[check.cell] for check in self.checks)
        own = {name: [check for check in self.checks if self.subjects[check.cell] == name] for name in names}
        words = {name: str(word(checks)) for name, checks in own.items()}
        value, interval = _main(decision)
        return Finding(
            decision.word,
            text=str(decision),
            statistic=value,
            interval=interval,
            runs=len(self.keys),
            reason="; ".join([*filter(None, [decision.reason, *notes]), *left_out(self.analysis)]),
            details=(*(check.row() for check in (*self.checks, *self.shown)), *self.rows),
            by_dataset=words,
            pooled={what: (one.value, one.low, one.high) for what, one in decision.pooled.items()},
            forecast=partial(power, deciding, nearly_all=nearly_all, lacking=lacking),
        )


def _main(decision: Decision) -> tuple[float | None, tuple[float, float] | None]:
    """The statistic to show: the pooled estimate of the first kind of check, or else that of the deciding check."""
    pooled = decision.pooled
    first = next((check.what for check in decision.checks if check.what in pooled), None)
    shown = pooled[first] if first is not None else None
    if shown is None and decision.deciding is not None:
        shown = decision.deciding.printed
    if shown is None or math.isnan(shown.value):
        return None, None
    bounded = math.isfinite(shown.low) and math.isfinite(shown.high)
    return shown.value, (shown.low, shown.high) if bounded else None


def left_out(analysis: Analysis) -> list[str]:
    """Remarks on the runs of a store that are left out of all claims."""
    collapsed = int(analysis.collapsed.sum())
    older = sum((analysis.results.about.get("older_versions") or {}).values())
    counts = {"failed runs": analysis.failed, "collapsed runs": collapsed, "runs of older versions": older}
    return [f"{words} left out: {count}" for words, count in counts.items() if count]
