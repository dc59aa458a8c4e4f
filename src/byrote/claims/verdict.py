"""Claims: functions that compute a verdict from the stored runs. A decorator registers each claim under its id."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar, get_args

from byrote import given
from byrote.analysis import Analysis, Power
from byrote.claims import shown
from byrote.component import did_you_mean
from byrote.own_code import described, traced

__all__ = [
    "CLAIMS",
    "Claim",
    "Finding",
    "NotTested",
    "Row",
    "Verdict",
    "Verdicts",
    "Word",
    "claim",
    "evaluate",
    "needed",
    "registered",
]

Word = Literal["holds", "fails", "holds except", "fails in", "inconclusive", "not tested", "error"]
Row = dict[str, Any]
_WORDS = tuple(word for word in get_args(Word) if word != "error")

log = logging.getLogger("byrote")


class NotTested(Exception):
    """The table lacks a column or runs that a claim needs; the message names what is missing."""


Value = TypeVar("Value")


def needed(value: Value, otherwise: str) -> Value:
    """Return a value that a claim cannot do without, or raise `NotTested` if the value is empty.

    Raises:
        NotTested: the value is empty, false or 0; the message is `otherwise`.
    """
    if not value:
        raise NotTested(otherwise)
    return value


@dataclass(frozen=True)
class Finding:
    """The result of a claim's function, to which the decorator adds the fixed texts of the claim.

    Attributes:
        word: the verdict in one word; `text` spells it out ("fails in 3 of 12 cells").
        statistic, interval: the first statistic in the claim's bar (its condition), pooled over cells, with its 95%
            interval.
        runs: how many runs were used.
        reason: the check that decided the verdict, and which runs were left out.
        details: one row for each check.
        by_dataset: a separate verdict on each data set, if there are several data sets.
        pooled: for each kind of check, the estimate over all cells with its 95% interval.
        forecast: computes how many more seeds would decide the claim; None if more seeds cannot decide it.
    """

    word: Word
    text: str = ""
    statistic: float | None = None
    interval: tuple[float, float] | None = None
    runs: int = 0
    reason: str = ""
    details: tuple[Row, ...] = field(default=(), repr=False)
    by_dataset: dict[str, str] = field(default_factory=dict)
    pooled: dict[str, tuple[float, float, float]] = field(default_factory=dict, repr=False)
    forecast: Callable[[], Power] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Verdict:
    """The answer to one claim, computed from the stored runs alone.

    Attributes:
        id, statement, bar, published, method, cells, minimum, premise: see `claim`.
        word: `holds`, `fails`, `holds except`, `fails in`, `inconclusive`, `not tested`, or `error` if the claim's own
            function raised an exception.
        verdict: the word as shown to a reader, such as "fails in 3 of 12 cells".
        statistic, interval, runs, reason, details, by_dataset, pooled: see `Finding`.
    """

    id: str
    statement: str
    word: Word
    verdict: str
    statistic: float | None
    interval: tuple[float, float] | None
    bar: str
    runs: int
    published: str | float | None
    method: str
    cells: str
    minimum: str
    premise: str
    reason: str = ""
    details: tuple[Row, ...] = field(default=(), repr=False)
    by_dataset: dict[str, str] = field(default_factory=dict)
    pooled: dict[str, tuple[float, float, float]] = field(default_factory=dict, repr=False)
    forecast: Callable[[], Power] | None = field(default=None, repr=False, compare=False)

    def power(self) -> str:
        """One sentence on how many more seeds would decide an inconclusive verdict; "" for any other verdict.

        The forecast is simulated on request, from the present checks; see `byrote.analysis.power`.
        """
        return str(self.forecast()) if self.word == "inconclusive" and self.forecast is not None else ""

    def to_json(self) -> dict[str, Any]:
        """The verdict as plain data for JSON; numbers that are not finite become null."""
        return {
            "id": self.id,
            "statement": self.statement,
            "verdict": self.verdict,
            "statistic": _finite(self.statistic),
            "interval": None if self.interval is None else [_finite(end) for end in self.interval],
            "bar": self.bar,
            "runs": _finite(self.runs),
            "published": self.published,
            "word": self.word,
            "by_dataset": dict(self.by_dataset),
            "pooled": {what: [_finite(number) for number in numbers] for what, numbers in self.pooled.items()},
            "reason": self.reason,
            "method": self.method,
            "cells": self.cells,
            "minimum": self.minimum,
            "premise": self.premise,
            "details": [{name: _finite(value) for name, value in row.items()} for row in self.details],
        }

    def _repr_html_(self) -> str:
        """The notebook display of the verdict, which is one paragraph."""
        return shown.paragraph(self)


class Verdicts(list[Verdict]):
    """Verdicts in a list, which a notebook shows as a table."""

    def _repr_html_(self) -> str:
        return shown.table(self)


def _finite(value: Any) -> Any:
    """Convert a value for JSON: NumPy numbers and arrays become Python values, and numbers that are not finite null."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, int)) else str(value)


@dataclass(frozen=True)
class Claim:
    """A registered claim: its statement, its bar (the condition to meet), and the function that decides the claim."""

    id: str
    statement: str
    bar: str
    published: str | float | None
    method: str
    cells: str
    minimum: str
    premise: str
    needs: tuple[str, ...]
    theory: bool
    find: Callable[[Any], Finding] = field(repr=False)
    true_labels: bool = False

    def __call__(self, analysis: Analysis | None = None) -> Verdict:
        """Compute the verdict on these runs; a claim of theory needs no runs.

        Raises:
            TypeError: the function did not return a `Finding`, or its `Finding` has an unknown word.
        """
        try:
            finding = self._finding(analysis)
        except NotTested as why:
            finding = Finding("not tested", reason=str(why))
        return self._verdict(self._with_left_out(finding, analysis))

    def error(self, error: BaseException) -> Verdict:
        """The verdict if the claim's function raised an exception."""
        return self._verdict(Finding("error", reason=described(error)))

    def _with_left_out(self, finding: Finding, analysis: Analysis | None) -> Finding:
        unused = 0 if analysis is None or not self.true_labels or analysis.given.all() else int(analysis.given.sum())
        if not unused:
            return finding
        return replace(finding, reason="; ".join(filter(None, [finding.reason, given.left_out(unused)])))

    def _verdict(self, finding: Finding) -> Verdict:
        return Verdict(
            id=self.id,
            statement=self.statement,
            word=finding.word,
            verdict=finding.text or finding.word,
            statistic=_finite(finding.statistic),
            interval=finding.interval,
            bar=self.bar,
            runs=finding.runs,
            published=self.published,
            method=self.method,
            cells=self.cells,
            minimum=self.minimum,
            premise=self.premise,
            reason=finding.reason,
            details=finding.details,
            by_dataset=finding.by_dataset,
            pooled=finding.pooled,
            forecast=finding.forecast,
        )

    def _finding(self, analysis: Analysis | None) -> Finding:
        finding = self.find(self._seen(analysis))
        if not isinstance(finding, Finding):
            raise TypeError(f"claim {self.id} must return a Finding, got {type(finding).__name__}")
        for text in (finding.word, finding.text or finding.word, *finding.by_dataset.values()):
            if not str(text).startswith(_WORDS):
                raise TypeError(f"claim {self.id} must return one of the words {', '.join(_WORDS)}, got {text!r}")
        return finding

    def _seen(self, analysis: Analysis | None) -> Analysis | None:
        """The runs that the claim's function gets."""
        if self.theory:
            return analysis
        if analysis is None or not len(analysis.runs):
            raise NotTested("no finished run")
        seen = analysis.known if self.true_labels else analysis
        if not len(seen.runs):
            raise NotTested(given.not_tested(len(analysis.runs)))
        missing = [name for name in self.needs if name not in seen.runs]
        if missing:
            raise NotTested(f"the table has no column {', '.join(missing)}")
        return seen


CLAIMS: dict[str, Claim] = {}


def claim(
    id: str,
    *,
    statement: str,
    bar: str,
    method: str,
    cells: str,
    minimum: str,
    premise: str = "none",
    published: str | float | None = None,
    needs: tuple[str, ...] = (),
    true_labels: bool = False,
    theory: bool = False,
) -> Callable[[Callable[[Any], Finding]], Claim]:
    """Register a function of the stored runs as the claim `id`.

    Args:
        id: a short name, such as "A5".
        statement: the falsifiable sentence.
        bar: the condition that the statistic must meet, in words.
        method: how the 95% interval is computed.
        cells: what a cell is, and which cells decide.
        minimum: the runs or seeds without which no verdict is reached.
        premise: the condition under which the claim can be tested.
        published: what the paper reports.
        needs: columns of the table that the function reads. If a column is missing, the claim is `not tested`. If a
            column depends on true labels (`byrote.given.TRUE_LABELS`), the function gets only the runs whose true
            labels are known.
        true_labels: the claim is about true labels although no column in `needs` depends on them.
        theory: the claim is decided by computation alone and needs no stored run.

    Returns:
        The function as a `Claim`, callable on an analysis: `claim(analysis) -> Verdict`.

    Raises:
        ValueError: the id is taken by another function.
    """

    def register(find: Callable[[Any], Finding]) -> Claim:
        known = CLAIMS.get(id)
        if known is not None and known.find.__module__ != find.__module__:
            raise ValueError(f"claim {id!r} exists already in {known.find.__module__}: choose another id")
        truth = true_labels or given.speaks_of_true_labels(needs)
        CLAIMS[id] = Claim(id, statement, bar, published, method, cells, minimum, premise, needs, theory, find, truth)
        return CLAIMS[id]

    return register


def _order(id: str) -> tuple[str, int, str]:
    number = "".join(letter for letter in id[1:] if letter.isdigit())
    return id[:1], int(number or 0), id


def registered(*, theory: bool | None = None) -> list[Claim]:
    """Every registered claim, in the order A2, A3, ..., C4.

    Args:
        theory: True for the claims that are decided by computation alone, False for the others, None for all.
    """
    chosen = [CLAIMS[id] for id in sorted(CLAIMS, key=_order)]
    return chosen if theory is None else [one for one in chosen if one.theory is theory]


def evaluate(analysis: Analysis | None, ids: Sequence[str] | None = None, *, theory: bool = False) -> Verdicts:
    """The verdicts of all claims, or of the named ones, on these runs.

    Args:
        analysis: the runs of a store, `byrote.open(DIR).analysis`; None: only the claims of theory are judged.
        ids: names of claims; None for all, in the order A1, A2, ..., C4.
        theory: whether the claims that are decided by computation alone are judged too (some seconds). Claims named in
            `ids` are always judged.

    Returns:
        One verdict per claim, in a list that a notebook shows as a table. If a claim's function raises an exception,
        the word of its verdict is `error`, the traceback is logged once, and the other claims are still judged.

    Raises:
        ValueError: no claim has this id; the message suggests the most similar id.
    """
    for id in ids or ():
        if id not in CLAIMS:
            raise ValueError(f"no claim is called {id!r}; {did_you_mean(id, list(CLAIMS))}")
    if ids is not None:
        return Verdicts(_judged(CLAIMS[id], analysis) for id in ids)
    chosen = registered(theory=True if analysis is None else None if theory else False)
    return Verdicts(_judged(one, analysis) for one in chosen)


def _judged(one: Claim, analysis: Analysis | None) -> Verdict:
    """The verdict of a claim; its word is `error` if the claim's function raises any exception, even `SystemExit`."""
    try:
        return one(analysis)
    except (Exception, SystemExit) as error:
        log.error("claim %s raised an exception\n%s", one.id, traced(error))
        return one.error(error)
