"""Generate the tables of fields in docs/own_study.md from the code: `python scripts/fields.py --write` updates them."""

import argparse
import inspect
import re
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from byrote import Experiment, data, losses, networks, noise
from byrote.component import Component, Spec
from byrote.recipe import Optimizer, Schedule, Training
from byrote.study import Part, Study

__all__ = ["PAGE", "main", "renewed", "tables"]

PAGE = Path(__file__).resolve().parents[1] / "docs" / "own_study.md"
SPECS = {"study": Study, "part": Part, "experiment": Experiment, "training": Training}
FAMILIES: dict[str, type[Component]] = {
    "optimizers": Optimizer,
    "schedules": Schedule,
    "losses": losses.Loss,
    "noise": noise.Noise,
    "networks": networks.Network,
    "data": data.Dataset,
}
_MEMBER = {
    "optimizers": "an optimizer",
    "schedules": "a schedule",
    "losses": "a loss",
    "noise": "a noise law",
    "networks": "a network",
    "data": "a data set",
}
_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below", "min_length": "of {} or more entries"}


def tables() -> dict[str, str]:
    """The tables, each by the name that marks its place on the page."""
    named = {name: _of_spec(spec) for name, spec in SPECS.items()}
    return named | {name: _of_family(family) for name, family in FAMILIES.items()}


def _of_spec(spec: type[Spec]) -> str:
    """A table with a row per field: its possible values, its default, and its description in the docstring."""
    meanings = _meanings(inspect.getdoc(spec) or "")
    lines = ["| field | takes | default | meaning |", "|---|---|---|---|"]
    for name, field in spec.model_fields.items():
        cells = (f"`{name}`", _takes(field), _default(field), meanings[name])
        lines.append(f"| {' | '.join(_cell(cell) for cell in cells)} |")
    return "\n".join(lines)


def _of_family(family: type[Component]) -> str:
    """A table with a row per kind: its fields with types and defaults, and the first paragraph of its docstring."""
    lines = ["| `kind` | fields | meaning |", "|---|---|---|"]
    common = family.model_fields if family is data.Dataset else {}
    for kind, member in sorted(family.registry.items()):
        if not member.__module__.startswith("byrote."):  # skip kinds that a user has registered
            continue
        fields = [_described(name, field) for name, field in member.model_fields.items() if name not in common]
        what = (inspect.getdoc(member) or "").split("\n\n")[0]
        lines.append(f"| `{kind}` | {_cell('; '.join(fields)) or 'none'} | {_cell(what)} |")
    return "\n".join(lines)


def _described(name: str, field: FieldInfo) -> str:
    default = _default(field)
    return f"`{name}`: {_takes(field)}" + (f" ({default})" if default else ", required")


def _meanings(doc: str) -> dict[str, str]:
    """The description of each name in the section `Args:` of a docstring; a line may describe several names."""
    section = re.search(r"^Args:\n((?:    .*\n?|\n)*)", doc, re.MULTILINE)
    text = section.group(1) if section else ""
    entries = re.findall(r"^    (\w+(?:, \w+)*): (.*(?:\n        .*)*)", text, re.MULTILINE)
    return {name: " ".join(text.split()) for names, text in entries for name in names.split(", ")}


def _takes(field: FieldInfo) -> str:
    """The type of a field and its bounds in words."""
    bounds = [
        words.format(value) if "{}" in words else f"{words} {value:g}"
        for one in field.metadata
        for name, words in _BOUNDS.items()
        if (value := getattr(one, name, None)) is not None
    ]
    kind = _type(field.annotation)
    if kind == "text" and bounds:
        return "text that is not empty"
    return f"{kind} {bounds[0]}" if kind == "list" and bounds else ", ".join([kind, *bounds])


def _type(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f'"{value}"' for value in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(_type(one) for one in inner if one is not type(None))
    if origin in (tuple, list):
        return "tables" if inner[:1] == (Part,) else "list"
    if origin is dict:
        return "table"
    if isinstance(annotation, type) and issubclass(annotation, Component):
        return _MEMBER[annotation.family]
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return "table"
    return {int: "whole number", float: "number", str: "text", bool: "true or false"}.get(annotation, "value")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    value = field.default
    if isinstance(value, Component):
        return f"`{value.kind}`"
    if isinstance(value, Spec):
        return "see below"
    if value is None or value in ((), {}, ""):
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(list(value) if isinstance(value, tuple) else value)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def renewed(text: str) -> str:
    """Replace the tables of the page by tables from the code."""
    for name, table in tables().items():
        head, mark, rest = text.partition(f"<!-- fields {name} -->\n")
        if not mark:
            raise ValueError(f"{PAGE.name} has no place for the table {name!r}; add the line <!-- fields {name} -->")
        text = f"{head}{mark}{table}\n<!-- end {name} -->{rest.partition(f'<!-- end {name} -->')[2]}"
    return text


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="replace the tables on the page")
    text = PAGE.read_text("utf-8")
    if parser.parse_args().write:
        PAGE.write_text(renewed(text), "utf-8")
    elif renewed(text) != text:
        print(f"{PAGE.name} differs from the code; run python scripts/fields.py --write to update it")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
