"""The numbers that a figure shows: the rows of its chart as one table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["numbers"]

Row = dict[str, Any]


def numbers(spec: Mapping[str, Any]) -> list[Row]:
    """The rows that a chart draws, without duplicates, in the order of panels and layers.

    Args:
        spec: a Vega-Lite specification with its data inside, such as `Figure.spec`.

    Returns:
        One dictionary per row: `panel` (the title of the panel, if the chart has several panels or a title), `mark`
        (the first mark that draws the row: point, line, area, ...), and the fields of the row.
    """
    named = spec.get("datasets", {})
    rows: list[Row] = []
    for title, views in _panels(spec):
        known: set[str] = set()
        for view, data in views:
            if not _is_drawn(view):
                continue
            for row in _rows(data, named):
                text = json.dumps(row, sort_keys=True)
                if row and text not in known:
                    known.add(text)
                    rows.append({"panel": title, "mark": _mark(view), **row})
    return rows if any(row["panel"] for row in rows) else [_without(row, "panel") for row in rows]


def _without(row: Row, name: str) -> Row:
    return {key: value for key, value in row.items() if key != name}


def _panels(spec: Mapping[str, Any]) -> Iterator[tuple[str, list[tuple[Mapping[str, Any], Any]]]]:
    """Yield the title of each panel, and the single views of the panel with their data."""
    inner = [one for kind in ("concat", "hconcat", "vconcat") for one in spec.get(kind, ())]
    if not inner:
        yield _title(spec.get("title")), list(_views(spec, None))
        return
    for one in inner:
        for title, views in _panels({"data": spec.get("data"), **one}):
            yield title or _title(spec.get("title")), views


def _views(spec: Mapping[str, Any], data: Any) -> Iterator[tuple[Mapping[str, Any], Any]]:
    """Yield the single views of a panel, each with its own or inherited data."""
    data = spec.get("data") or data
    if "spec" in spec:
        yield from _views(spec["spec"], data)
    elif "layer" in spec:
        for layer in spec["layer"]:
            yield from _views(layer, data)
    elif "mark" in spec:
        yield spec, data


def _title(title: Any) -> str:
    """A panel's title and subtitle in one line."""
    parts = [title] if not isinstance(title, Mapping) else [title.get("text"), title.get("subtitle")]
    lines = (part if isinstance(part, str) else " ".join(part or ()) for part in parts)
    return "; ".join(line for line in lines if line)


def _mark(view: Mapping[str, Any]) -> str:
    mark = view["mark"]
    return str(mark if isinstance(mark, str) else mark["type"])


def _is_drawn(view: Mapping[str, Any]) -> bool:
    """Whether a view shows numbers; text labels and the invisible marks of the legend do not."""
    invisible = isinstance(view["mark"], Mapping) and view["mark"].get("opacity") == 0
    return not invisible and _mark(view) != "text"


def _rows(data: Any, named: Mapping[str, Any]) -> Sequence[Row]:
    if not isinstance(data, Mapping):
        return []
    values = named.get(data["name"], []) if "name" in data else data.get("values", [])
    return json.loads(values) if isinstance(values, str) else list(values)
