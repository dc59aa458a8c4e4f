"""Make different values for any field of a spec, using only its annotation, constraints and default."""

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np
from pydantic.fields import FieldInfo

from byrote.component import Component, Spec

__all__ = ["Files", "NoOtherValueError", "built", "families", "other_values", "slots"]

NUMBERS = (0.5, 0.25, 0.75, 1.5, 3.0, 7.0, 0.0, -1.0, 1e-3)
WHOLE = (1, 2, 3, 0, 5, 17)
TEXTS = ("other", "toys:Blobs", "0" * 64, "a.csv")


class NoOtherValueError(Exception):
    """Raised if no value could be made that the field accepts."""


class Files:
    """Returns paths of new files and folders, each with different content."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0

    def new(self) -> tuple[str, str]:
        """Write a table of numbers and file names, and a folder of images by class, whose pixels are never read."""
        self._count += 1
        folder = self._folder / str(self._count)
        for label in ("cat", "dog"):
            (folder / label).mkdir(parents=True)
            for i in range(16):
                (folder / label / f"{i}.png").write_bytes(f"{label} {i} {self._count}".encode())
        numbers = [f"{name}{more}" for name in ("true", "observed", "label") for more in ("", "_other", "_third")]
        names = ["_other", "_third"]  # column names other than the default; the cells of these columns name a file
        rows = [
            ",".join([str(i), *[str(self._count >> i & 1)] * len(numbers), f"cat/{i}.png", f"dog/{i}.png"])
            for i in range(16)
        ]
        table = folder / "labels.csv"
        table.write_text("\n".join([",".join(["id", *numbers, *names]), *rows]) + "\n")
        return str(table), str(folder)


def nameable(part: Spec) -> bool:
    """Whether a checksum of the files that the component reads can be part of its identity."""
    try:
        if not getattr(part, "sha256", ""):  # a checksum in the spec already identifies the content
            getattr(part, "content", str)()
    except FileNotFoundError:
        return True
    except ValueError:
        return False
    return True


def families() -> Iterator[type[Component]]:
    """Return the base class of every family of components, such as `Loss`."""
    for base in Component.__subclasses__():
        if base.family:
            yield base


def family_of(annotation: Any) -> type[Component] | None:
    """Return the family of components that a field, or each item of a list field, accepts."""
    for base in families():
        if annotation is base:
            return base
    for part in get_args(annotation):
        family = family_of(part)
        if family is not None:
            return family
    return None


def slots(spec: type[Spec], prefix: str = "") -> Iterator[tuple[str, type[Component]]]:
    """Find, from the annotations, each field of a spec that takes a component: its dotted path and its family."""
    for name, field in spec.model_fields.items():
        family = family_of(field.annotation)
        if family is not None:
            yield prefix + name, family
        elif isinstance(field.annotation, type) and issubclass(field.annotation, Spec):
            yield from slots(field.annotation, f"{prefix}{name}.")


def values(annotation: Any, now: Any, files: Files) -> Iterator[Any]:
    """Yield values of a type, simple values first; some may be invalid for the field."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from values(arguments[0], now, files)
    elif origin is Literal:
        yield from arguments
    elif origin in (Union, types.UnionType):
        for part in arguments:
            yield from values(part, now, files)
    elif origin in (tuple, list):
        yield from _sequences(arguments, now, files)
    elif origin is dict or annotation is dict:
        yield from ({"a": 1}, {"a": 2}, {})
    elif annotation is type(None):
        yield None
    elif annotation is bool:
        yield from (True, False)
    elif annotation is int:
        yield from ((now + 1, *WHOLE) if isinstance(now, int) else WHOLE)
    elif annotation is float:
        yield from ((now * 1.5, now / 2, now + 0.125, *NUMBERS) if isinstance(now, float) else NUMBERS)
    elif annotation is str:
        beside = (f"{now}_other", f"{now}_third") if isinstance(now, str) else ()
        yield from (*beside, *files.new(), *TEXTS)
    elif isinstance(annotation, type) and issubclass(annotation, Spec):
        yield from _members(annotation, files)


def _sequences(arguments: tuple[Any, ...], now: Any, files: Files) -> Iterator[Any]:
    """Yield short tuples: with one item changed, one item repeated, different numbers, or rows that sum to 1."""
    item = arguments[0]
    lengths = (2, 3, 1, 0) if len(arguments) == 1 or arguments[-1] is Ellipsis else (len(arguments),)
    if isinstance(now, tuple) and now:
        for other in values(item, now[0], files):
            yield (other, *now[1:])
        yield now[:-1]
    for diagonal in (0.9, 0.8):
        yield tuple(tuple(float(v) for v in row) for row in np.eye(2) * (2 * diagonal - 1) + 1 - diagonal)
    if item is int:
        yield from ((0, 1), (1, 0), (0, 1, 2))
    for other in values(item, None, files):
        for length in lengths:
            yield (other,) * length


def _members(annotation: type[Spec], files: Files) -> Iterator[Spec]:
    if issubclass(annotation, Component):
        for member in list(annotation.registry.values()):
            try:
                yield built(member, files)
            except NoOtherValueError:
                continue
    else:
        yield annotation()


def built(part: type[Spec], files: Files) -> Any:
    """Return an instance with default values, and the first legal value for each field without a default."""
    required = {name: field for name, field in part.model_fields.items() if field.is_required()}
    given: dict[str, Any] = {}
    for name, field in required.items():
        given[name] = _first_legal(part, name, field, given, required, files)
    return part(**given)


def _first_legal(
    part: type[Spec],
    name: str,
    field: FieldInfo,
    given: dict[str, Any],
    required: dict[str, FieldInfo],
    files: Files,
) -> Any:
    for value in values(field.annotation, None, files):
        try:
            changed = part(**given, **{name: value})
        except (ValueError, TypeError) as error:
            if "needs" in str(error) and any(repr(other) in str(error) for other in set(required) - {*given, name}):
                return value  # the error is about a different required field, which is missing
            continue
        if nameable(changed):
            return value
    raise NoOtherValueError(f"{part.__name__}.{name}: no value could be made for the annotation {field.annotation}")


def other_values(part: Spec, name: str, files: Files, count: int = 2) -> list[Spec]:
    """Return copies of a spec that differ from the spec, and from each other, only in this field.

    Raises:
        NoOtherValueError: no other value could be made.
    """
    others: dict[str, Spec] = {}
    for value in values(type(part).model_fields[name].annotation, getattr(part, name), files):
        try:
            changed = part.replace(**{name: value})
        except (ValueError, TypeError):
            continue
        if changed.spec() != part.spec() and nameable(changed):
            others.setdefault(changed.digest(), changed)
        if len(others) == count:
            break
    if not others:
        raise NoOtherValueError(
            f"{type(part).__name__}.{name}: no value could be made that differs from the present value"
        )
    return list(others.values())
