"""The sheet of answers, `answers.csv`: one row per look, in the order of the plan; the answer is blank until given."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from byrote.audit.plan import Plan
from byrote.audit.result import Audit

__all__ = ["looks", "read_sheet", "sheet"]

_COLUMNS = ("row", "id", "given", "answer")


def looks(plan: Plan) -> tuple[int, ...]:
    """The row of the sample at each look of a plan: all samples in order, then the samples for a second look."""
    return (*plan.rows, *plan.twice)


def sheet(audit: Audit, plan: Plan, answers: Sequence[str] = ()) -> str:
    """The text of the sheet.

    Args:
        audit: the audit whose samples are asked about.
        plan: the plan of the looks.
        answers: the answers so far, "" for none; the looks after these stay blank.
    """
    ids, given = audit.samples["id"], audit.samples["given"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for place, row in enumerate(looks(plan)):
        answer = answers[place] if place < len(answers) else ""
        writer.writerow((row, ids[row], audit.names[int(given[row])], answer))
    return text.getvalue()


def read_sheet(path: Path, plan: Plan) -> tuple[list[str], bool]:
    """Read the answer at each look ("" for none), and whether the file ends within a line.

    A last line without a line break may have lost a part of its answer, so it counts as unanswered. Missing lines also
    count as unanswered.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a row that is not in the plan, or occurs more often than in the plan.
    """
    text = path.read_text("utf-8-sig")
    torn = bool(text) and not text.endswith(("\n", "\r"))
    if torn:
        text = "".join(text.splitlines(keepends=True)[:-1])
    places: dict[str, list[int]] = {}
    for place, row in enumerate(looks(plan)):
        places.setdefault(str(row), []).append(place)
    answers = [""] * plan.looks
    table = csv.DictReader(io.StringIO(text))
    lost = [name for name in ("row", "answer") if name not in (table.fieldnames or ())]
    if lost and text:
        raise ValueError(f"{path} needs the columns row and answer, got {', '.join(table.fieldnames or ()) or 'none'}")
    for line in table:
        free = places.get((line["row"] or "").strip())
        if not free:
            raise ValueError(
                f"{path} asks about row {line['row']!r} more often than the plan beside it: move both "
                "away and draw a new plan"
            )
        answers[free.pop(0)] = (line["answer"] or "").strip()
    return answers, torn
