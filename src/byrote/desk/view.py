"""The HTML that the desk shows: a sample and a question, or the results."""

from collections.abc import Mapping
from math import isnan
from typing import Any

from byrote.audit.checking import Checks
from byrote.audit.settle import Share
from byrote.audit.shown import Fields
from byrote.desk.keys import class_keys
from byrote.pages import fill

__all__ = ["band", "view"]

_WIDTH, _HEIGHT = 300, 96
_TOPS = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)


def view(
    checks: Checks, texts: Mapping[int, Fields], *, folder: str, pictures: str, message: str = "", ended: str = ""
) -> str:
    """The HTML of the desk in its current state.

    Args:
        checks: the answers.
        texts: by row, the fields shown for a sample that is not a picture; empty for pictures. Predictions of networks
            are never shown, because they would influence the answer.
        folder: the folder of the audit, quoted as in a shell command.
        pictures: the address of a picture without its last part, the number of the look.
        message: what went wrong with the last answer.
        ended: why the desk accepts no more answers; empty while it accepts answers.
    """
    place = checks.place
    shown: dict[str, Any] = {}
    if place is not None:
        row = checks.rows[place]
        keys = {name: key for key, name in class_keys(checks.audit.names).items()}
        shown = {
            "given": checks.given(row),
            "id": str(checks.audit.samples["id"][row]),
            "again": checks.again(place),
            "fields": texts.get(row, ()),
            "pictured": not texts,
            "picture": f"{pictures}{place}",
            "next": f"{pictures}{place + 1}" if place + 1 < len(checks.rows) else "",
            "classes": [(name, keys.get(name, "")) for name in checks.audit.names],
        }
    settled = checks.settled()
    narrowing = checks.narrowing()
    return fill(
        "byrote.desk",
        "desk.html.jinja",
        place=-1 if place is None else place,
        answered=checks.answered,
        looks=len(checks.rows),
        share=f"{100 * checks.answered / len(checks.rows):.1f}",
        settled=settled,
        rate=settled and _words(settled.rate),
        shares=_shares(settled) if settled and place is None else [],
        chart=band(narrowing.low, narrowing.high, len(checks.plan.rows)),
        confidence=f"{100 * checks.plan.confidence:g}%",
        folder=folder,
        message=message,
        ended=ended,
        **shown,
    )


def _words(share: Share) -> dict[str, str]:
    ends = f"{100 * share.low:.1f}% and {100 * share.high:.1f}%"
    return {"ends": ends, "value": "–" if isnan(share.value) else f"{100 * share.value:.1f}%"}


def _shares(settled: Any) -> list[tuple[str, dict[str, str]]]:
    named = [("labels that are wrong", settled.rate), ("suspects that are wrong", settled.precision)]
    named += [("wrong labels that are suspects", settled.recall)]
    return [(name, _words(share)) for name, share in named]


def band(low: tuple[float, ...], high: tuple[float, ...], planned: int) -> dict[str, Any]:
    """Draw the interval after each sample as a polygon in a box; also return the share at the top edge of the box.

    Args:
        low, high: the ends of the interval, one pair per checked sample.
        planned: the number of samples in the plan.

    >>> chart = band((0.0, 0.1), (1.0, 0.4), 4)
    >>> chart["top"], chart["points"]
    ('50%', '75.0,96.0 150.0,76.8 150.0,19.2 75.0,0.0')
    """
    if not low:
        return {}
    top = next(top for top in _TOPS if top >= min(1.1 * high[-1], 1.0))

    def at(look: int, share: float) -> str:
        return f"{_WIDTH * (look + 1) / planned:.1f},{_HEIGHT * (1 - min(share, top) / top):.1f}"

    ends = [at(look, share) for look, share in enumerate(low)]
    ends += [at(look, share) for look, share in reversed(list(enumerate(high)))]
    return {"points": " ".join(ends), "top": f"{100 * top:g}%", "width": _WIDTH, "height": _HEIGHT}
