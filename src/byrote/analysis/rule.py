"""The rule that turns the checks of all cells into a one-word verdict on a claim.

A claim is about every cell. It *holds* when the 95% interval of every check agrees with it. It *fails* when it is
disproved and most cells contradict it. It *fails in K of k cells* when it is disproved in K cells, and *holds except in
K of k* when it also holds in all other cells. Otherwise the verdict is *inconclusive*.

If a claim is true in every cell, the chance of a verdict that calls it false is at most .025 (at most .05 for a narrow
two-sided region), for any number of cells. Half of this chance is spent on the pooled tests (one per kind of check),
and half on Holm's test of all checks. `benchmarks/verdicts.py` verifies the bound by simulation with the code below.

Details of the rule:
- The pooled tests share the level .0125 equally. There is no pooled test for kinds of checks that claim a value outside
  the region, for shares of runs, or for best epochs. If no kind has a pooled test, Holm's test gets the whole level
  .025.
- A cell contradicts the claim if the estimate of any of its checks does. k is the number of cells with at least one
  check whose premise is met.
- *holds* requires at least as many met cells as unmet cells. A met cell is a cell where the premises of all checks are
  met. In an unmet cell, the checks whose premises are met are still tested.
- *holds* and *holds except* require, for every kind of check in the claim, at least one check that has three seeds and
  meets its premise.
- If a cell has several checks of one kind (one per epoch), they share the cell's weight in the pooled mean.
- A check whose statistic cannot be determined never agrees with the claim, and its hypothesis is never rejected. It
  counts toward the number of checks in Holm's test and the number of cells, but it is in no pooled mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from byrote.analysis.check import Check, all_tests, held_of, shown, values_of
from byrote.analysis.core import WORDS, Held, Pooled, Tests, Word, judge, nearly_all, pool
from byrote.analysis.samples import Estimate
from byrote.intervals import clopper_pearson

__all__ = ["Decision", "Parts", "Word", "decide"]

_NAMED_AT_MOST = 6


@dataclass(frozen=True)
class Decision:
    """The verdict on a set of checks."""

    word: Word
    cells: int  # k, the cells with a check whose premise is met
    named: tuple[str, ...]  # the cells in which the claim is shown to be false
    met: int  # the number of cells where all premises are met, and of other cells
    unmet: int
    pooled: dict[str, Estimate] = field(repr=False)  # by kind: mean over cells and 95% interval, as shown to readers
    deciding: Check | None = field(repr=False)  # the decisive check, which is shown first
    reason: str = ""
    checks: tuple[Check, ...] = field(default=(), repr=False)  # all checks, in the given order

    def __str__(self) -> str:
        """The verdict in words: "fails in 3 of 12 cells"."""
        if self.word in ("fails in", "holds except"):
            joint = " in" if self.word == "holds except" else ""
            return f"{self.word}{joint} {len(self.named)} of {self.cells} cells"
        return self.word

    def rows(self) -> tuple[dict[str, Any], ...]:
        """One row for each check, including checks that do not affect the verdict."""
        return tuple(check.row() for check in self.checks)


def decide(checks: Sequence[Check], *, nearly_all: float | None = None, lacking: str = "") -> Decision:
    """Combine the checks of all cells into a one-word verdict.

    Args:
        checks: at least one check. Checks with fewer than three seeds only appear in the details, and so do checks of
            variations (`decides=False`) if their kind has other checks.
        nearly_all: a share in (0, 1): the claim is that at least this share of cells lie inside the region. Then all
            checks must be of one kind, one per cell.
        lacking: a part of the claim that these runs cannot test; then the claim can fail, but it cannot hold.

    Raises:
        ValueError: no check; checks of one kind with different regions or scales; `nearly_all` with several kinds.

    >>> from byrote.analysis.check import at_least
    >>> good = [Check(f"cell {i}", "m", [0.95, 0.96, 0.97], (0, 1, 2), at_least(0.9)) for i in range(4)]
    >>> bad = Check("cell 4", "m", [0.1, 0.12, 0.11], (0, 1, 2), at_least(0.9))
    >>> str(decide(good)), str(decide([*good, bad])), str(decide([bad]))
    ('holds', 'holds except in 1 of 5 cells', 'fails')
    """
    if not checks:
        raise ValueError("a verdict needs at least one check, got none")
    parts = Parts.of(checks)
    met = parts.met
    _same_in_each_kind(met)
    blocked = parts.blocked(lacking)
    notes = [*blocked, *_notes(checks, parts)]
    decision = partial(Decision, met=parts.met_cells, unmet=parts.unmet_cells, checks=tuple(checks))
    if not met:
        return decision("inconclusive", 0, (), pooled={}, deciding=parts.deciding[0], reason="; ".join(notes))
    held = held_of(met)
    tests, pooled = all_tests(met, held), _pooled(met, held)
    word, named = _judged(met, tests, pooled, held, nearly_all, not blocked)
    first = _deciding(met, tests, word)
    reason = "; ".join([_reason(word, met, tests, named, first), *notes])
    cells = len({check.cell for check in met})
    return decision(word, cells, named, pooled=_shown_pooled(met, pooled), deciding=first, reason=reason)


@dataclass(frozen=True)
class Parts:
    """The checks, split into checks that decide the verdict and the rest."""

    deciding: list[Check]  # all checks except variations of a kind that has other checks
    met: list[Check]  # the deciding checks with enough seeds whose premise is met
    met_cells: int  # the number of cells with enough seeds where all premises are met, and of other cells
    unmet_cells: int

    @classmethod
    def of(cls, checks: Sequence[Check]) -> Parts:
        kinds = {check.what for check in checks if check.decides}
        deciding = [check for check in checks if check.decides or check.what not in kinds]
        met = [check for check in deciding if check.enough and not check.unmet]
        unmet_cells = {check.cell for check in deciding if check.enough and check.unmet}
        return cls(deciding, met, len({check.cell for check in met} - unmet_cells), len(unmet_cells))

    def blocked(self, lacking: str) -> list[str]:
        """Why the claim cannot hold for any values; empty if it can hold."""
        why = []
        if self.unmet_cells > self.met_cells:
            first = next(check.unmet for check in self.deciding if check.unmet)
            why.append(f"the premise is met in {self.met_cells} of {self.met_cells + self.unmet_cells} cells ({first})")
        tested = {check.what for check in self.met}
        for what in dict.fromkeys(check.what for check in self.deciding if check.what not in tested):
            if not any(check.enough for check in self.deciding if check.what == what):
                why.append(f"{what}: fewer than 3 seeds in every cell")
            elif self.met:
                why.append(f"{what}: the premise is met in no cell")
        return [*why, lacking] if lacking else why


def _notes(checks: Sequence[Check], parts: Parts) -> list[str]:
    """One remark for each kind of check or cell that was left out."""
    notes = []
    few = [check for check in parts.deciding if not check.enough]
    if few:
        notes.append(f"{_count(len(few), 'check')} with fewer than 3 seeds left out")
    if parts.unmet_cells:
        notes.append(f"{_count(parts.unmet_cells, 'cell')} left out, where a premise is not met")
    undefined = [check for check in parts.met if math.isnan(check.estimate.value)]
    if undefined:
        why = f" ({undefined[0].reason})" if undefined[0].reason else ""
        notes.append(f"not determined: {undefined[0].what} in {_listed([check.cell for check in undefined])}{why}")
    aside = [check for check in checks if check not in parts.deciding]
    if aside:
        words = [check.verdict for check in aside]
        counts = ", ".join(f"{words.count(word)} {word}" for word in ("inside", "outside", "open") if word in words)
        notes.append(f"variations, which decide nothing: {counts}")
    return notes


def _same_in_each_kind(checks: list[Check]) -> None:
    first: dict[str, Check] = {}
    for check in checks:
        one = first.setdefault(check.what, check)
        mine, other = ((c.region, c.outside, c.scale, c.share is None) for c in (check, one))
        if mine != other:
            raise ValueError(
                f"checks of one kind must have the same region and scale, got {other} in {one.cell} and {mine} in "
                f"{check.cell} for {check.what}: give them different kinds"
            )


def _pooled(checks: list[Check], held: Held) -> Pooled:
    values, member = values_of(checks)
    return pool(values[None], member, held)


def _judged(
    checks: list[Check], tests: Tests, pooled: Pooled, held: Held, share: float | None, holds: bool
) -> tuple[Word, tuple[str, ...]]:
    """The word of the verdict, and the cells that the verdict names."""
    codes, cells = judge(tests, pooled, held, holds)
    if share is not None:
        if len(set(held.kind.tolist())) > 1 or len(set(held.cell.tolist())) < len(checks):
            raise ValueError("a claim about nearly all cells needs one kind of check, one per cell")
        if not 0 < share < 1:
            raise ValueError(f"the share of cells must lie between 0 and 1, got {share}")
        codes = nearly_all(tests, share, holds)
    word: Word = WORDS[int(codes[0])]
    names = list(dict.fromkeys(check.cell for check in checks))
    named = tuple(name for name, is_named in zip(names, cells[0], strict=True) if is_named)
    return word, named if word not in ("holds", "inconclusive") else ()


def _deciding(checks: list[Check], tests: Tests, word: Word) -> Check:
    """The strongest check against a claim that fails somewhere; otherwise the check that supports it least."""
    p = tests.false_p[0] if word in ("fails", "fails in", "holds except") else -tests.true_p[0]
    return checks[int(np.argmin(p))]


def _shown_pooled(checks: list[Check], pooled: Pooled) -> dict[str, Estimate]:
    """The pooled estimate of each kind, on the scale shown to readers; for shares, all successes among all runs."""
    estimates: dict[str, Estimate] = {}
    for number, what in enumerate(dict.fromkeys(check.what for check in checks)):
        own = [check for check in checks if check.what == what]
        shares = [check.share for check in own if check.share is not None]
        if shares:
            successes, runs = (sum(counts) for counts in zip(*shares, strict=True))
            low, high = clopper_pearson(float(successes), float(runs))
            estimates[what] = Estimate(successes / runs if runs else math.nan, low, high, runs)
        elif not np.isnan(pooled.value[0, number]):
            ends = (float(column[0, number]) for column in (pooled.value, pooled.low, pooled.high))
            seeds = {seed for check in own for seed in check.seeds}
            value, low, high = (shown(end, own[0].scale) for end in ends)
            estimates[what] = Estimate(value, low, high, len(seeds))
    return estimates


def _reason(word: Word, checks: list[Check], tests: Tests, named: tuple[str, ...], first: Check) -> str:
    """The reason for the verdict, in one sentence."""
    cells = len({check.cell for check in checks})
    wrong = len({check.cell for check, is_wrong in zip(checks, tests.wrong[0], strict=True) if is_wrong})
    inside = int(tests.inside[0].sum())
    many = _count(len(checks), "check")
    if word == "holds" and inside < len(checks):
        return f"{inside} of {many} lie where the claim says, which suffices for nearly all of {cells} cells"
    if word == "holds":
        whole = "the interval lies" if len(checks) == 1 else f"the intervals of all {many} lie"
        return f"{whole} where the claim says, nearest to the bar: {first}"
    if word == "fails":
        shown_in = f", shown for {_listed(named)}" if named and cells > 1 else ""
        return f"the estimates of {wrong} of {_count(cells, 'cell')} lie beyond the bar{shown_in}, first of all {first}"
    if word in ("fails in", "holds except"):
        rest = "every other check holds" if word == "holds except" else f"{inside} of {many} hold"
        return f"beyond the bar in {_listed(named)}: {first}; {rest}"
    if inside == len(checks):
        return f"{inside} of {many} hold, nearest to the bar: {first}"
    return f"{len(checks) - inside} of {many} open or beyond the bar, first of all {first}"


def _listed(names: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(names))
    more = len(distinct) - _NAMED_AT_MOST
    return ", ".join(distinct[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
