"""Work through a plan: which sample comes next, the answers so far, and how far the interval has narrowed.

Every answer is on disk before the next question is asked. The sheet of answers is first written under a temporary name
and then renamed. If the process is killed at any moment, the sheet contains the answer completely or not at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from byrote.audit.answers import UNSURE, judged, match, spelled
from byrote.audit.folder import PLAN, SHEET
from byrote.audit.plan import Plan
from byrote.audit.result import Audit
from byrote.audit.settle import Settled, running, settle
from byrote.audit.sheet import looks, read_sheet, sheet
from byrote.files import sha256, write_atomic

__all__ = ["Checks", "Narrowing"]


@dataclass(frozen=True)
class Narrowing:
    """The interval for the share of wrong labels after each checked sample.

    The intervals are simultaneously valid: with the stated confidence, all of them contain the share.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]


class Checks:
    """The answers to the questions of an audit's plan.

    Args:
        folder: an audit with its plan; existing answers in the folder are kept.

    Attributes:
        audit, plan: the audit that is checked, and its plan.
        rows: the row of the sample at each look (each showing of a sample), in order, second looks last.
        torn: whether the last answer in the file was cut off and is asked for again.

    Raises:
        FileNotFoundError, ValueError: no audit, no plan, answers of a different plan, or unreadable answers.
    """

    def __init__(self, folder: Path) -> None:
        self.audit: Audit = Audit.load(folder)
        self.plan: Plan = Plan.load(folder / PLAN)
        if self.plan.labels != self.audit.labels:
            raise ValueError(f"{folder / PLAN} was drawn for different labels: rename that file and draw a new plan")
        self.rows: tuple[int, ...] = looks(self.plan)
        self._path = folder / SHEET
        self._answers, self.torn = (
            read_sheet(self._path, self.plan) if self._path.exists() else ([""] * len(self.rows), False)
        )
        self._order: list[int] = []  # looks answered since this object was created, in order
        for row, answer in zip(self.rows, self._answers, strict=True):
            if answer:  # an unreadable answer raises an error before the first question
                judged(answer, self.audit.names, self.given(row), row)
        self._stamp = self._written()

    @property
    def place(self) -> int | None:
        """The number of the current look, from 0; None if all looks are answered."""
        return next((place for place, answer in enumerate(self._answers) if not answer), None)

    @property
    def answered(self) -> int:
        """The number of answered looks."""
        return sum(bool(answer) for answer in self._answers)

    def given(self, row: int) -> str:
        """The given label of a sample."""
        return self.audit.names[int(self.audit.samples["given"][row])]

    def again(self, place: int) -> bool:
        """Whether this is the second look at its sample."""
        return place >= len(self.plan.rows)

    def answer(self, place: int, text: str) -> bool:
        """Record an answer and write it to disk.

        Args:
            place: the look that was shown. If this look is no longer current, nothing changes, because the person has
                not seen the current sample.
            text: "y" (the given label is right), "n" (wrong), "unsure", or "class:" and the name of a class.

        Returns:
            Whether the answer was recorded.

        Raises:
            ValueError: the answer is not allowed, or another program has changed the sheet.
            byrote.files.WriteError: the disk is full or read-only; the answer is then not recorded.
        """
        if place != self.place:
            return False
        self._put(place, self._worded(text))
        self._order.append(place)
        return True

    def undo(self, place: int | None) -> bool:
        """Delete the last answer, so that its sample is asked about again.

        Args:
            place: the look that was shown, or None if all were answered; if this look is no longer current, nothing
                changes.

        Returns:
            Whether an answer was deleted.
        """
        known = [look for look, answer in enumerate(self._answers) if answer]
        if not known or place != self.place:
            return False
        self._put(self._order[-1] if self._order else known[-1], "")
        self._order = self._order[:-1]
        return True

    def _worded(self, text: str) -> str:
        kind, _, name = text.partition(":")
        if kind == "class" and name in self.audit.names:
            return name
        if text not in ("y", "n", UNSURE):
            raise ValueError(f"an answer is y, n, unsure, or 'class:' followed by the name of a class, got {text!r}")
        return spelled(text, self.audit.names)

    def _put(self, place: int, answer: str) -> None:
        if self._written() != self._stamp:
            raise ValueError(f"{self._path} was changed by another program: end this desk and open it again")
        answers = [*self._answers[:place], answer, *self._answers[place + 1 :]]
        write_atomic(self._path, sheet(self.audit, self.plan, answers))
        self._answers, self._stamp = answers, self._written()

    def _written(self) -> str:
        return sha256(self._path) if self._path.exists() else ""

    def _pairs(self) -> list[tuple[int, str]]:
        """(row, answer) for each look before the first look without an answer."""
        known: Sequence[str] = self._answers[: self.place] if self.place is not None else self._answers
        return [(row, answer) for row, answer in zip(self.rows, known, strict=False)]

    def narrowing(self) -> Narrowing:
        """The interval after each look, up to the first look without an answer."""
        seen = match(self.plan, self._pairs(), self.audit.names)
        low, high = running(self.plan, seen)
        return Narrowing(tuple(low.tolist()), tuple(high.tolist()))

    def settled(self) -> Settled | None:
        """The results of the answers so far; None without answers."""
        pairs = self._pairs()
        return settle(self.plan, pairs, self.audit.names) if pairs else None
