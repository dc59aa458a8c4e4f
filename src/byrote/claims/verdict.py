"""A claim is a function of the stored runs that gives a verdict; the decorator registers it under its id."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from byrote.component import did_you_mean
from byrote.store import Results

__all__ = ["CLAIMS", "Claim", "Finding", "NotTested", "Verdict", "Word", "claim", "evaluate", "registered"]

Word = Literal["holds", "fails", "inconclusive", "not tested"]
Row = dict[str, Any]


class NotTested(Exception):
    """The table lacks a column or the runs that a claim speaks of; the message says which."""


@dataclass(frozen=True)
class Finding:
    """What a claim's function found; the decorator adds what is the same for every table."""

    verdict: Word
    statistic: float | None = None
    interval: tuple[float, float] | None = None
    runs: int = 0
    reason: str = ""
    details: tuple[Row, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Verdict:
    """The answer to one claim, from the stored runs and from nothing else.

    `statistic` is the number the bar speaks of first, in the cell that decides, `interval` its 95% interval
    (None where there is none); `published` what the paper reports. `reason` says in words what decided, what was
    left out, and for an inconclusive verdict how many more seeds would decide it. `details` has a row a cell.
    """

    id: str
    statement: str
    verdict: Word
    statistic: float | None
    interval: tuple[float, float] | None
    bar: str
    runs: int
    published: str | float | None
    method: str
    aggregation: str
    minimum: str
    premise: str
    reason: str = ""
    details: tuple[Row, ...] = field(default=(), repr=False)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON-ready data; a number that is not finite becomes null."""
        return {
            "id": self.id,
            "statement": self.statement,
            "verdict": self.verdict,
            "statistic": _finite(self.statistic),
            "interval": None if self.interval is None else [_finite(end) for end in self.interval],
            "bar": self.bar,
            "runs": self.runs,
            "published": self.published,
            "reason": self.reason,
            "method": self.method,
            "aggregation": self.aggregation,
            "minimum": self.minimum,
            "premise": self.premise,
            "details": [{name: _finite(value) for name, value in row.items()} for row in self.details],
        }

    def _repr_html_(self) -> str:
        """The verdict as a notebook shows it: one paragraph."""
        number = "" if self.statistic is None else f"{self.statistic:.4g}"
        if self.interval is not None:
            number += f" [{self.interval[0]:.4g}, {self.interval[1]:.4g}]"
        parts = [number, f"bar: {self.bar}", f"{self.runs} runs", self.reason]
        said = "; ".join(html.escape(part) for part in parts if part)
        head = f"<b>{html.escape(self.id)} {self.verdict}</b>: {html.escape(self.statement)}"
        return f"<p>{head}<br><small>{said}</small></p>"


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@dataclass(frozen=True)
class Claim:
    """A registered claim: what it says, what it is held to, and how it is decided."""

    id: str
    statement: str
    bar: str
    published: str | float | None
    method: str
    aggregation: str
    minimum: str
    premise: str
    needs: tuple[str, ...]
    find: Callable[[Any], Finding] = field(repr=False)
    theory: bool = False

    def __call__(self, results: Results | None = None) -> Verdict:
        """The verdict on these runs; a claim of theory alone needs none."""
        try:
            found = self._found(results)
        except NotTested as why:
            found = Finding("not tested", reason=str(why))
        return Verdict(
            id=self.id,
            statement=self.statement,
            verdict=found.verdict,
            statistic=_finite(found.statistic),
            interval=found.interval,
            bar=self.bar,
            runs=found.runs,
            published=self.published,
            method=self.method,
            aggregation=self.aggregation,
            minimum=self.minimum,
            premise=self.premise,
            reason=found.reason,
            details=found.details,
        )

    def _found(self, results: Results | None) -> Finding:
        if self.theory:
            return self.find(results)
        if results is None or not len(results.history):
            raise NotTested("no runs")
        missing = [name for name in ("key", "epoch", *self.needs) if name not in results.history]
        if missing:
            raise NotTested(f"the table has no column {', '.join(missing)}")
        return self.find(results)


CLAIMS: dict[str, Claim] = {}


def claim(
    id: str,
    *,
    statement: str,
    bar: str,
    method: str,
    aggregation: str,
    minimum: str,
    premise: str = "none",
    published: str | float | None = None,
    needs: tuple[str, ...] = (),
    theory: bool = False,
) -> Callable[[Callable[[Any], Finding]], Claim]:
    """Register a function of the stored runs as the claim `id`.

    Args:
        id: short name, as in the table of claims ("A5").
        statement: the falsifiable sentence.
        bar: what the statistic is held to, readable.
        method: how the 95% interval is made.
        aggregation: how the cells (dataset, network, M, N, noise, ...) become one verdict.
        minimum: runs or seeds without which no verdict is reached.
        premise: what must have happened for the claim to be testable.
        published: what the paper reports.
        needs: columns of the table the function reads; without one the claim is `not tested`.
        theory: the claim is computed from theory alone. Its function ignores the runs and may be given None; it is
            judged when it is asked for, not with every table.

    Returns:
        The function as a `Claim`, callable on results: `claim(results) -> Verdict`.

    Raises:
        ValueError: the id is taken by another function.
    """

    def register(find: Callable[[Any], Finding]) -> Claim:
        known = CLAIMS.get(id)
        if known is not None and known.find.__module__ != find.__module__:
            raise ValueError(f"claim {id!r} exists already in {known.find.__module__}: choose another id")
        made = Claim(id, statement, bar, published, method, aggregation, minimum, premise, needs, find, theory)
        CLAIMS[id] = made
        return made

    return register


def _order(id: str) -> tuple[str, int, str]:
    number = "".join(letter for letter in id[1:] if letter.isdigit())
    return id[:1], int(number or 0), id


def registered() -> list[Claim]:
    """Every registered claim, in the order A1, A2, ..., C4."""
    return [CLAIMS[id] for id in sorted(CLAIMS, key=_order)]


def evaluate(results: Results | None, ids: Sequence[str] | None = None, *, theory: bool = False) -> list[Verdict]:
    """The verdict of every registered claim on runs, or of those named.

    Args:
        results: the tables of a store, `byrote.open(DIR).results`. None: only the claims of theory alone are judged.
        ids: names of claims; None for all, in the order A1, A2, ..., C4.
        theory: whether the claims that are computed from theory alone are judged too (some seconds). Those that are
            named always are.

    Raises:
        ValueError: an id that no claim has, with the nearest one.
    """
    for id in ids or ():
        if id not in CLAIMS:
            raise ValueError(f"no claim is called {id!r}; {did_you_mean(id, list(CLAIMS))}")
    if ids is not None:
        return [CLAIMS[id](results) for id in ids]
    return [one(results) for one in registered() if (theory or results is None if one.theory else results is not None)]
