"""From intervals to a verdict: one check a cell, and the rule by which checks become one answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from byrote.claims.statistics import Array, Estimate, share_of_runs, t_quantile
from byrote.claims.verdict import Finding, Row, Word

__all__ = ["ABOVE_ZERO", "BELOW_ZERO", "Check", "Region", "at_least", "at_most", "conclude", "more_seeds", "within"]

Region = tuple[float, float]
_TINY = 1e-12
BELOW_ZERO: Region = (-math.inf, -_TINY)
ABOVE_ZERO: Region = (_TINY, math.inf)
_MOST_SEEDS = 1000


def at_least(bar: float) -> Region:
    """The region [bar, inf)."""
    return (bar, math.inf)


def at_most(bar: float) -> Region:
    """The region (-inf, bar]."""
    return (-math.inf, bar)


def within(low: float, high: float) -> Region:
    """The region [low, high]."""
    return (low, high)


def _word(low: float, high: float, region: Region, outside: bool) -> Word:
    inside, apart = region[0] <= low and high <= region[1], high < region[0] or low > region[1]
    if inside or apart:
        return "holds" if inside != outside else "fails"
    return "inconclusive"


def more_seeds(estimate: Estimate, region: Region) -> int | None:
    """How many more seeds (runs, of a share of runs) would decide a check, if value and spread stay as they are.

    The half-width of an interval over n seeds scales with t_{n-1} / sqrt(n). None: more than a thousand.

    >>> more_seeds(Estimate(-1.0, -2.5, 0.5, 3), BELOW_ZERO)
    1
    """
    if not estimate.share and (estimate.n < 2 or not math.isfinite(estimate.half)):
        return 2
    n = np.arange(estimate.n + 1, estimate.n + _MOST_SEEDS + 1, dtype=np.float64)
    low, high = _foreseen(estimate, n)
    decided = ((region[0] <= low) & (high <= region[1])) | (high < region[0]) | (low > region[1])
    return int(np.argmax(decided)) + 1 if decided.any() else None


def _foreseen(estimate: Estimate, n: Array) -> tuple[Array, Array]:
    """The ends of the interval over n seeds or runs with the same value and spread."""
    if estimate.share:
        ends = [share_of_runs(estimate.value * runs, int(runs)) for runs in n.tolist()]
        return np.array([end.low for end in ends]), np.array([end.high for end in ends])
    shrink = t_quantile(n) / t_quantile(estimate.n) * np.sqrt(estimate.n / n)
    below, above = estimate.value - estimate.low, estimate.high - estimate.value
    return estimate.value - below * shrink, estimate.value + above * shrink


@dataclass(frozen=True)
class Check:
    """One interval held to one bar in one cell.

    The check holds when the whole interval lies in `region`, fails when none of it does, and is inconclusive in
    between; `outside=True` turns the bar round. A non-empty `unmet` is a premise that was not reached there.
    A check of a variation (`decides=False`, see `cells`) is a row beside those that decide.
    """

    cell: str
    what: str
    estimate: Estimate
    region: Region
    outside: bool = False
    unmet: str = ""
    facts: Row = field(default_factory=dict)
    decides: bool = True

    @property
    def verdict(self) -> Word:
        """The answer in this cell."""
        if self.unmet or math.isnan(self.estimate.value):
            return "inconclusive"
        return _word(self.estimate.low, self.estimate.high, self.region, self.outside)

    @property
    def bounded(self) -> bool:
        """Whether it has an interval at all."""
        return math.isfinite(self.estimate.low) and math.isfinite(self.estimate.high)

    @property
    def margin(self) -> float:
        """How far the value lies inside its bar, in half-widths of its interval: the least decides a tie."""
        value, (low, high) = self.estimate.value, self.region
        if math.isnan(value):
            return math.inf
        distance = min(value - low, high - value) * (-1 if self.outside else 1)
        return distance / max(self.estimate.half, _TINY) if math.isfinite(self.estimate.half) else 0.0

    @property
    def more(self) -> int | None:
        """How many more seeds would decide it (None: over a thousand)."""
        return more_seeds(self.estimate, self.region)

    def row(self) -> Row:
        """One line of the details."""
        return {
            "cell": self.cell,
            "what": self.what,
            "value": self.estimate.value,
            "low": self.estimate.low,
            "high": self.estimate.high,
            "seeds": self.estimate.n,
            "verdict": self.verdict,
            "reason": self.unmet,
        } | (self.facts if self.decides else self.facts | {"variation": True})

    def __str__(self) -> str:
        bounds = f" [{self.estimate.low:.3g}, {self.estimate.high:.3g}]" if self.bounded else ""
        return f"{self.what} = {self.estimate.value:.3g}{bounds} in {self.cell}"


_SEVERITY: dict[Word, int] = {"fails": 0, "inconclusive": 1, "holds": 2, "not tested": 3}


def conclude(
    checks: Sequence[Check],
    *,
    runs: int,
    notes: Sequence[str] = (),
    rows: Sequence[Row] = (),
    lacking: str = "",
) -> Finding:
    """One verdict from the checks of all cells: the worst cell decides.

    A claim that speaks of every cell fails when one check fails and holds when every check does. Checks whose
    premise was not reached decide nothing; where they are more than half, the claim cannot hold. The statistic
    shown is that of the first kind of check (`checks[0].what`), in its worst cell.

    A check without an interval (one seed of what is no share of samples) decides nothing where another check of
    its kind has one; nor does a check of a variation where one of its kind is of no variation.

    Args:
        checks: at least one; those of the claim's main statistic first.
        runs: how many runs were used.
        notes: what was left out, and other remarks.
        rows: further rows for the details, not decisive.
        lacking: a part of the claim that these runs cannot answer: it may fail, but not hold.
    """
    heard = {check.what for check in checks if check.decides}
    deciding = [check for check in checks if check.decides or check.what not in heard]
    aside = [check for check in checks if check not in deciding]
    alone = [check for check in deciding if not check.bounded and _bounded_elsewhere(check, deciding)]
    checks = [check for check in deciding if check not in alone]
    met = [check for check in checks if not check.unmet]
    unmet = [check for check in checks if check.unmet]
    verdict: Word = "inconclusive"
    if any(check.verdict == "fails" for check in met):
        verdict = "fails"
    elif all(check.verdict == "holds" for check in met) and len(met) >= len(unmet) and not lacking:
        verdict = "holds"
    shown = min(
        (check for check in (met or checks) if check.what == (met or checks)[0].what),
        key=lambda check: (_SEVERITY[check.verdict], check.margin),
    )
    estimate = shown.estimate
    notes = [_beside(aside), *notes]
    if alone:
        notes = [*notes, f"left out for having one seed: {', '.join(dict.fromkeys(check.cell for check in alone))}"]
    return Finding(
        verdict,
        statistic=None if math.isnan(estimate.value) else estimate.value,
        interval=(estimate.low, estimate.high) if shown.bounded else None,
        runs=runs,
        reason="; ".join(_reasons(verdict, met, unmet, (lacking, *notes))),
        details=(*(check.row() for check in (*checks, *alone, *aside)), *rows),
    )


def _beside(aside: Sequence[Check]) -> str:
    """What the checks of variations came to."""
    words = [check.verdict for check in aside]
    said = {"hold": words.count("holds"), "fail": words.count("fails"), "undecided": words.count("inconclusive")}
    counts = ", ".join(f"{count} {word}" for word, count in said.items() if count)
    return f"variations, which decide nothing: {counts}" if counts else ""


def _bounded_elsewhere(check: Check, checks: Sequence[Check]) -> bool:
    return any(other.what == check.what and other.bounded for other in checks)


def _reasons(verdict: Word, met: list[Check], unmet: list[Check], notes: Sequence[str]) -> list[str]:
    said: list[str] = []
    if unmet:
        share = f"{len(unmet)} of {len(met) + len(unmet)} checks"
        alone = verdict == "inconclusive" and len(unmet) >= len(met)
        said.append(f"{unmet[0].unmet}" + ("" if alone and not met else f" ({share}, left undecided)"))
    failed = [check for check in met if check.verdict == "fails"]
    open_ = [check for check in met if check.verdict == "inconclusive"]
    if failed:
        worst = min(failed, key=lambda check: check.margin)
        said.append(f"{len(failed)} of {len(met)} checks fail, first of all {worst}" if met[1:] else f"fails: {worst}")
    if open_ and not failed:
        least = min(open_, key=lambda check: check.margin)
        many = f"{len(open_)} of {len(met)} checks undecided, first of all {least}"
        said.append(many if met[1:] else f"undecided: {least}")
        said.append(_power(open_))
    if any(check.estimate.n == 1 for check in met):
        said.append("one seed")
    return [*said, *(note for note in notes if note)]


def _power(checks: list[Check]) -> str:
    needed = [check.more for check in checks]
    known = [more for more in needed if more is not None]
    if len(known) < len(needed):
        return f"more than {_MOST_SEEDS} more seeds would be needed while the estimate lies so near its bar"
    most = max(known)
    unit = "run" if all(check.estimate.share for check in checks) else "seed"
    return f"{most} more {unit if most == 1 else unit + 's'} would decide it"
