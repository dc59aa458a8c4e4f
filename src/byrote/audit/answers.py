"""Read a reviewer's answers about the planned samples from tables or mappings, and match them to the plan."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from byrote.audit.plan import Plan

__all__ = ["UNSURE", "Answer", "Matched", "judged", "match", "read_answers", "spelled"]

UNSURE = "unsure"
_YES, _NO = ("y", "yes", "right", "ok"), ("n", "no", "wrong")
_SPELLED = {"y": _YES, "n": _NO, UNSURE: (UNSURE, "Unsure", "UNSURE")}

Answer = tuple[int, str]
"""The row of a sample, and the answer about it: "y" (the given label is right), "n" (wrong), "unsure", or a class."""


@dataclass(frozen=True)
class Matched:
    """The answers, matched to the plan.

    Attributes:
        wrong: one entry for each answered sample, in the order of the plan: True, False, or None for "unsure".
        second: one entry for each sample with two answers, neither of them "unsure": whether the two differ.
        corrected: by row, the label that the reviewer gave in place of a wrong label.
    """

    wrong: tuple[bool | None, ...]
    second: tuple[bool, ...]
    corrected: dict[int, str]


def read_answers(answers: Any) -> list[Answer]:
    """Answers as (row, text) pairs, in the order they were given.

    Args:
        answers: a CSV file with the columns `row` and `answer`, a frame (pandas, polars) with these columns, a mapping
            from rows to answers, or pairs.

    Raises:
        FileNotFoundError, ValueError: a missing file, missing columns, or a row that is not a number.
    """
    if isinstance(answers, (str, Path)):
        with Path(answers).open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            _need(table.fieldnames or (), str(answers))
            return _pairs(((line["row"], line["answer"]) for line in table), str(answers))
    if isinstance(answers, Mapping):
        return _pairs(answers.items(), "answers")
    if hasattr(answers, "columns"):
        _need([str(name) for name in answers.columns], "answers")
        return _pairs(zip(list(answers["row"]), list(answers["answer"]), strict=True), "answers")
    return _pairs(answers, "answers")


def _need(columns: Iterable[str], where: str) -> None:
    lost = [name for name in ("row", "answer") if name not in columns]
    if lost:
        raise ValueError(f"{where} needs the columns row and answer, got {', '.join(columns) or 'none'}")


def _pairs(pairs: Iterable[Any], where: str) -> list[Answer]:
    numbered: list[Answer] = []
    for place, pair in enumerate(pairs, 1):
        try:
            row, answer = pair
            number = int(row)
            exact = float(row) == number
        except (TypeError, ValueError):
            raise ValueError(f"{where}: answer {place} needs the number of a row and an answer, got {pair!r}") from None
        if not exact:
            raise ValueError(f"{where}: answer {place} needs the number of a row, got {row!r}")
        if isinstance(answer, bool):
            raise ValueError(f"{where}: answer {place} must be y, n, unsure or a class, got {answer!r}")
        numbered.append((number, str(answer).strip()))
    return numbered


def match(plan: Plan, answers: Sequence[Answer], names: Sequence[str]) -> Matched:
    """Match the answers to the samples of the plan, in the order of the plan.

    Args:
        plan: the plan.
        answers: the answers in the order they were given; the second answer about a sample belongs to its second look.
        names: the names of the classes.

    Raises:
        ValueError: an answer about a sample that is not planned or was answered too often, an unknown answer, or
            planned samples without an answer although later samples have answers.
    """
    given = dict(zip(plan.rows, plan.given, strict=True))
    twice = set(plan.twice)
    first: dict[int, bool | None] = {}
    second: dict[int, bool | None] = {}
    corrected: dict[int, str] = {}
    for row, text in answers:
        if row not in given:
            raise ValueError(
                f"row {row} is not in the plan: answer only planned samples, because samples that someone chose would "
                "bias the estimate"
            )
        wrong, label = judged(text, names, names[given[row]], row)
        if row not in first:
            first[row] = wrong
            if label is not None:
                corrected[row] = label
        elif row in twice and row not in second:
            second[row] = wrong
        else:
            allowed = "two answers" if row in twice else "one answer"
            raise ValueError(f"row {row} has more than {allowed}: keep the first, or draw a new plan with second looks")
    return Matched(_in_order(plan, first), _differing(first, second), corrected)


def judged(text: str, names: Sequence[str], given: str, row: int) -> tuple[bool | None, str | None]:
    """Whether the given label is wrong (None: unsure), and the correct label if the answer names it."""
    if text in names:  # a class may have the name "n"
        return text != given, text if text != given else None
    lowered = text.lower()
    if lowered == UNSURE:
        return None, None
    if lowered in _YES:
        return False, None
    if lowered in _NO:
        return True, None
    raise ValueError(
        f"row {row}: an answer is y (the label is right), n (wrong), unsure, or the name of a class, got {text!r}"
    )


def spelled(meaning: str, names: Sequence[str]) -> str:
    """Choose a spelling of an answer that is not the name of a class and so cannot be read as that class.

    Args:
        meaning: "y" (the label is right), "n" (wrong), or "unsure".
        names: the names of the classes.

    >>> spelled("n", ["m", "n"]), spelled("y", ["m", "n"])
    ('no', 'y')
    """
    spellings = (*_SPELLED[meaning], *(word.upper() for word in _SPELLED[meaning]))
    return next(word for word in spellings if word not in names)


def _in_order(plan: Plan, first: Mapping[int, bool | None]) -> tuple[bool | None, ...]:
    skipped = next((place for place, row in enumerate(plan.rows) if row not in first), len(plan.rows))
    if skipped < len(first):
        raise ValueError(
            f"row {plan.rows[skipped]} is planned as number {skipped + 1} and has no answer, but later samples have "
            "answers: answer in the plan's order, with unsure where you cannot tell"
        )
    return tuple(first[row] for row in plan.rows[:skipped])


def _differing(first: Mapping[int, bool | None], second: Mapping[int, bool | None]) -> tuple[bool, ...]:
    both = [(first[row], again) for row, again in second.items()]
    return tuple(one != other for one, other in both if one is not None and other is not None)
