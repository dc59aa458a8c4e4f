"""Format numbers and lists for the page."""

from __future__ import annotations

import math
import re
from typing import Any

__all__ = ["count", "joined", "mean_share", "number", "opening", "percent", "span"]


def number(value: object, digits: int = 3) -> str:
    """Format a number with a few significant digits; a string stays unchanged, and a missing value is a dash.

    >>> number(0.08214), number(1234567.0), number(12), number(None), number("yes"), number(True)
    ('0.0821', '1.23e+06', '12', '–', 'yes', 'yes')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.{digits}g}".replace("-", "−", 1) if value < 0 else f"{value:.{digits}g}"
    return str(value)


def span(interval: tuple[float, float] | None) -> str:
    """Format an interval in brackets.

    >>> span((0.1, 0.25)), span(None)
    ('[0.1, 0.25]', '')
    """
    return "" if interval is None else f"[{number(interval[0])}, {number(interval[1])}]"


def percent(share: float | None) -> str:
    """Format a share in whole percents, or in tenths of a percent near 0% and 100%.

    >>> percent(0.5), percent(0.004), percent(0.996), percent(1.0), percent(None)
    ('50%', '0.4%', '99.6%', '100%', '–')
    """
    if share is None or math.isnan(share):
        return "–"
    near_end = 0 < share < 0.02 or 0.98 < share < 1
    return f"{100 * share:.1f}%" if near_end else f"{100 * share:.0f}%"


def mean_share(mean: dict[str, Any], name: str) -> dict[str, str]:
    """Format a mean share and, for two seeds or more, half the width of its 95% interval in percentage points."""
    value = mean[name]
    half = f"±{100 * (mean[f'{name}_high'] - value):.1f}" if mean[f"{name}_n"] > 1 else ""
    return {"text": percent(value), "half": half, "width": f"{100 * max(0.0, min(1.0, value or 0.0)):.0f}"}


def joined(words: list[str]) -> str:
    """Join the items of a list with commas and "and".

    >>> joined(["A2"]), joined(["A2", "A3", "B1"])
    ('A2', 'A2, A3 and B1')
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def opening(text: str, before: str = "") -> tuple[str, str]:
    """Split a text into its first sentence and the rest; the period of an abbreviation does not end a sentence.

    Args:
        text: the sentences.
        before: a sentence without its period. If the text begins with this sentence, the result has it and the next
            sentence as its first part.

    >>> opening("Beside MD Fig. 1 and eq. 3. The mean over seeds.")
    ('Beside MD Fig. 1 and eq. 3.', 'The mean over seeds.')
    >>> opening("One sentence.")
    ('One sentence.', '')
    >>> opening("3 of 5 runs. One per loss. Marks.", "3 of 5 runs")
    ('3 of 5 runs. One per loss.', 'Marks.')
    """
    sentences = re.split(r"(?<=\.)(?<!\bFig\.)(?<!\bFigs\.)(?<!\beq\.) ", text)
    first = 2 if before and sentences[0] == f"{before}." else 1
    return " ".join(sentences[:first]), " ".join(sentences[first:])


_SMALL = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def count(n: int, noun: str) -> str:
    """A count with its noun, such as "six losses"; small numbers are spelled out.

    >>> count(1, "run"), count(6, "loss"), count(30, "run")
    ('one run', 'six losses', '30 runs')
    """
    plural = noun if n == 1 else f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{_SMALL[n] if 0 <= n < len(_SMALL) else format(n, ',')} {plural}"
