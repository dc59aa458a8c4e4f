"""The samples on the page of an audit, as thumbnails or rows of text, and the total number of samples of each kind."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from byrote.audit import Audit
from byrote.audit.shown import Samples
from byrote.audit.suspects import KINDS
from byrote.report.audited.answer import likelihood

__all__ = ["SHOWN", "ambiguous", "by_class", "chosen", "duplicates"]

SHOWN = 600  # the largest number of suspects on the page
FEW = 60  # the largest number of ambiguous samples, and of pairs of near duplicates
_SIDE = 112  # width and height of a thumbnail in pixels
_TEXT = 300  # the largest number of characters shown of a cell
_CELLS = 8  # the largest number of fields shown of a row


def chosen(sizes: Sequence[int], most: int) -> list[int]:
    """How many samples of each class to show: at most `most` in total, divided among classes as evenly as possible.

    >>> chosen([2, 50, 50], 42)
    [2, 20, 20]
    >>> chosen([3, 3, 3], 2)
    [1, 1, 0]
    """
    taken = [0] * len(sizes)
    left = most
    while left > 0 and any(n < size for n, size in zip(taken, sizes, strict=True)):
        open_ = [k for k, size in enumerate(sizes) if taken[k] < size]
        step = max(left // len(open_), 1)
        for k in open_[:left]:
            more = min(step, sizes[k] - taken[k])
            taken[k] += more
            left -= more
    return taken


def by_class(audit: Audit, samples: Samples) -> list[dict[str, Any]]:
    """The suspects grouped by given label, largest group first, with the likeliest wrong label first in each group."""
    ranked, given = audit.ranked, audit.samples["given"]
    groups = [ranked[given[ranked] == k] for k in range(len(audit.names))]
    order = sorted((k for k, rows in enumerate(groups) if len(rows)), key=lambda k: -len(groups[k]))
    counts = chosen([len(groups[k]) for k in order], SHOWN)
    shown = {k: groups[k][:n].tolist() for k, n in zip(order, counts, strict=True)}
    cards = _cards(audit, samples, [row for rows in shown.values() for row in rows])
    return [
        {
            "name": audit.names[k],
            "count": len(groups[k]),
            "shown": len(shown[k]),
            "labels": int((given == k).sum()),
            "cards": [cards[row] for row in shown[k]],
        }
        for k in order
        if shown[k]
    ]


def ambiguous(audit: Audit, samples: Samples) -> dict[str, Any]:
    """The samples that fit two classes, in descending order of their scores."""
    rows = np.flatnonzero(audit.samples["kind"] == KINDS.index("ambiguous"))
    rows = rows[np.argsort(-audit.samples["score"][rows], kind="stable")]
    cards = _cards(audit, samples, rows[:FEW].tolist())
    return {"count": len(rows), "cards": list(cards.values())}


def duplicates(audit: Audit, samples: Samples) -> dict[str, Any]:
    """The pairs of near duplicates with different labels, and the number of all samples that have a near duplicate."""
    twin, given = audit.samples["twin"], audit.samples["given"]
    has = np.flatnonzero(twin >= 0)
    pairs = sorted({(min(a, b), max(a, b)) for a, b in zip(has.tolist(), twin[has].tolist(), strict=True)})
    clash = [pair for pair in pairs if given[pair[0]] != given[pair[1]]]
    cards = _cards(audit, samples, list(dict.fromkeys(row for pair in clash[:FEW] for row in pair)))
    return {
        "samples": len(has),
        "count": len(clash),
        "pairs": [[cards[a], cards[b]] for a, b in clash[:FEW]],
    }


def _cards(audit: Audit, samples: Samples, rows: Sequence[int]) -> dict[int, dict[str, Any]]:
    texts = {} if samples.pictured else samples.fields(rows, _TEXT)
    return {row: _card(audit, samples, row, texts.get(row, ())) for row in rows}


def _card(audit: Audit, samples: Samples, row: int, fields: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    columns = audit.samples
    given, suggested = (audit.names[int(columns[name][row])] for name in ("given", "suggested"))
    picture = samples.picture(row, _SIDE) if samples.pictured else None
    return {
        "row": row,
        "id": str(columns["id"][row]),
        "given": given,
        "suggested": suggested,
        "probability": likelihood(float(columns["probability"][row])),
        "reason": str(columns["reason"][row]),
        "pictured": samples.pictured,
        "picture": picture and f"data:{picture.kind};base64,{base64.b64encode(picture.data).decode()}",
        "small": bool(picture and max(picture.width, picture.height) <= _SIDE // 2),
        "fields": fields[:_CELLS],
        "more": len(fields) - _CELLS,
    }
