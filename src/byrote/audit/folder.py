"""The folder of an audit: its file names, and functions to draw a plan, settle it, and lock the answers."""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from byrote.audit.answers import read_answers
from byrote.audit.plan import Plan
from byrote.audit.result import Audit
from byrote.audit.settle import Settled
from byrote.audit.sheet import sheet
from byrote.files import write_atomic

__all__ = ["PAGE", "PLAN", "SETTLED", "SHEET", "alone", "draw_plan", "read_settled", "settle_folder"]

PLAN, SHEET, SETTLED, PAGE = "plan.json", "answers.csv", "settled.json", "index.html"
_LOCK = ".checking"


def draw_plan(
    folder: Path,
    half_width: float | None = None,
    checks: int | None = None,
    *,
    twice: int | None = None,
    seed: int = 0,
) -> Plan:
    """Draw the samples to check; write `plan.json`, and `answers.csv` to fill in.

    Args:
        folder: the folder of an audit.
        half_width, checks, twice, seed: see `Audit.plan`.

    Raises:
        ValueError: a plan exists, whose answers a new plan would make worthless; or the arguments fit no plan.
    """
    audit = Audit.load(folder)
    with alone(folder):  # two processes that draw plans at once could leave the plan of one with the sheet of the other
        if (folder / PLAN).exists() and (folder / SHEET).exists():
            raise ValueError(f"{folder} has a plan already: settle it, or move {PLAN} and {SHEET} away first")
        drawn = audit.plan(half_width, checks, twice=twice, seed=seed)
        drawn.save(folder / PLAN)
        write_atomic(folder / SHEET, sheet(audit, drawn))
    return drawn


def settle_folder(folder: Path, answers: Path | None = None) -> tuple[Settled, dict[str, Any]]:
    """Estimate shares from the answers and write them to `settled.json`; return the audit and the results.

    Args:
        folder: an audit with a plan.
        answers: a file with the columns row and answer; None: `answers.csv`. Rows without an answer are treated as not
            checked.

    Raises:
        FileNotFoundError, ValueError: no plan, no answers, or answers that the plan does not allow.
    """
    plan, audit = Plan.load(folder / PLAN), Audit.load(folder)
    given = [pair for pair in read_answers(answers or folder / SHEET) if pair[1]]
    settled = audit.settle(plan, given)
    outcome = settled.plain(plan)
    write_atomic(folder / SETTLED, json.dumps(outcome, indent=1) + "\n")
    return settled, outcome


def read_settled(folder: Path) -> dict[str, Any] | None:
    """Read the results of the plan in the folder; None if there are none, or if they belong to a different plan."""
    try:
        plan = Plan.load(folder / PLAN)
        stored = json.loads((folder / SETTLED).read_text("utf-8"))
        return dict(stored) if stored["plan"] == plan.fingerprint and stored["strata"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Lock the plan and answers of a folder for one process; the lock is released when the process ends.

    Raises:
        ValueError: another process holds the lock.
    """
    with (folder / _LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"another process plans or checks {folder}: continue there, or stop that process with Ctrl-C and try "
                "again"
            ) from None
        yield
