"""The base of every part of an experiment: a frozen, validated value.

A `Spec` is a frozen pydantic model that can be written as plain data (`spec()`), rebuilt from it, and identified by a
digest; a `Component` is a `Spec` that belongs to an open family (losses, noise, data, networks, ...) and is found by
its `kind`. Defining a subclass registers it; nothing else has to be changed.
"""

import difflib
import hashlib
import importlib
import json
import pkgutil
import re
from functools import cache, cached_property
from typing import Annotated, Any, ClassVar, Self, dataclass_transform, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

__all__ = ["Component", "Spec", "canonical", "did_you_mean", "digest", "discover"]


def did_you_mean(name: str, known: list[str] | tuple[str, ...]) -> str:
    """The end of an error about an unknown name: the nearest known name or, if none is near, all known names.

    >>> did_you_mean("unifrm", ["uniform", "symmetric"])
    "did you mean 'uniform'?"
    """
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known: {', '.join(sorted(known))}" if known else "none is known"


def canonical(value: object) -> str:
    """The JSON text of a value with sorted keys and no spaces, so that equal specs have equal digests."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: object, length: int = 16) -> str:
    """The first `length` hexadecimal digits of the SHA-256 of `canonical(value)`."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:length]


def _sentence(owner: str, error: ValidationError, known: tuple[str, ...]) -> str:
    """The first problem of a pydantic error in one sentence: what was expected and what came."""
    problem = error.errors(include_url=False)[0]
    path = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{owner} has no {path!r}; {did_you_mean(path, known)}"
    if problem["type"] == "missing":
        return f"{owner} needs {path!r}"
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if problem["type"] == "value_error" and (not path or path not in known):
        return message if owner in message else f"{owner}: {message}"
    if problem["type"] == "value_error":
        return f"{owner}.{path}: {message}"
    return f"{owner}.{path}: {message[0].lower() + message[1:]}, got {problem['input']!r}"


def copied(value: Any) -> Any:
    """A copy of plain data, so that changes to it affect nothing else."""
    if isinstance(value, dict):
        return {name: copied(one) if isinstance(one, (dict, list)) else one for name, one in value.items()}
    return [copied(one) for one in value] if isinstance(value, list) else value


def _leaves(annotation: Any) -> set[Any]:
    """The plain types inside an annotation."""
    inside = get_args(annotation)[:1] if get_origin(annotation) is Annotated else get_args(annotation)
    return set().union(*map(_leaves, inside)) if inside else {annotation}


@cache
def _only_numbers(owner: type["Spec"], field: str) -> bool:
    """Whether a field accepts numbers but not truth values."""
    leaves = _leaves(owner.model_fields[field].annotation)
    return bool(leaves & {int, float}) and not leaves & {bool, Any}


def discover(package: str) -> None:
    """Import every module in a package's folder, which registers the members; there is no other way to find members.

    A class is registered by its definition (`Component`), a function by a decorator (claims, figures). There are no
    lists of members.

    Raises:
        ImportError: a module needs a package that is not installed.
    """
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        importlib.import_module(f"{package}.{module.name}")


@dataclass_transform(frozen_default=True, field_specifiers=(Field,))
class Spec(BaseModel):
    """A frozen, validated value that can be written as plain data and rebuilt from it.

    Type checkers accept the fields as arguments, by position or by name; they infer a default if a field has
    `Field(default=...)` or a plain value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    def __init__(self, *args: Any, **fields: Any) -> None:
        names = list(type(self).model_fields)
        if len(args) > len(names):
            raise TypeError(f"{type(self).__name__} takes at most {len(names)} arguments, got {len(args)}")
        positional = dict(zip(names, args, strict=False))
        twice = positional.keys() & fields.keys()
        if twice:
            raise TypeError(f"{type(self).__name__} got {sorted(twice)[0]!r} twice")
        try:
            super().__init__(**positional, **fields)
        except ValidationError as error:
            raise ValueError(_sentence(type(self).__name__, error, tuple(names))) from None

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value_for_a_number(cls, value: object, info: ValidationInfo) -> object:
        """Refuse truth values, which Python would accept as 1 and 0."""
        parts = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(part, bool) for part in parts) and _only_numbers(cls, str(info.field_name)):
            raise ValueError(f"expected a number, got {value!r}")
        return value

    def spec(self) -> dict[str, Any]:
        """This value as plain JSON-ready data, defaults included; `type(self)(**spec)` rebuilds it."""
        return self.model_dump(mode="json")

    def digest(self) -> str:
        """Sixteen hexadecimal digits that change whenever a field changes."""
        return digest(self.spec())

    def replace(self, **changes: Any) -> Self:
        """A validated copy with some fields changed."""
        return type(self)(**{name: getattr(self, name) for name in type(self).model_fields} | changes)


class Component(Spec):
    """A member of an open family, found by its `kind`.

    A direct subclass with `family="..."` is the base of a family, and the members subclass that base. Inside byrote the
    kind is the class name in snake case (or the class keyword `kind=`), elsewhere it is `module:Class`.
    """

    family: ClassVar[str] = ""
    kind: ClassVar[str] = ""
    abstract: ClassVar[bool] = True
    registry: ClassVar[dict[str, type["Component"]]] = {}

    def __init_subclass__(cls, *, family: str | None = None, kind: str | None = None, abstract: bool = False) -> None:
        super().__init_subclass__()
        cls.abstract = abstract or family is not None
        if family is not None:
            cls.family, cls.registry = family, {}
        if cls.abstract:
            return
        snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__).lower()
        inside = cls.__module__.partition(".")[0] == "byrote"
        cls.kind = kind or (snake if inside else f"{cls.__module__}:{cls.__qualname__}")
        known = cls.registry.get(cls.kind)
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(f"{cls.family} already has a member {cls.kind!r}: {known.__module__}.{known.__qualname__}")
        cls.registry[cls.kind] = cls

    def spec(self) -> dict[str, Any]:
        fields: dict[str, Any] = copied(self._plain)
        return {"kind": self.kind} | fields

    @cached_property
    def _plain(self) -> dict[str, Any]:
        """The fields as plain data, computed once, because thousands of runs share a component."""
        return super().spec()

    @classmethod
    def from_spec(cls, source: object) -> Self:
        """Make an instance from an instance, a kind, or a mapping with `kind` and fields.

        Raises:
            ValueError: unknown kind or field (the message names the nearest one), or a value out of its range.
        """
        if isinstance(source, cls):
            return source
        if isinstance(source, str):
            source = {"kind": source}
        if not isinstance(source, dict) or not isinstance(source.get("kind"), str):
            raise ValueError(f"{cls.family} needs a mapping with a 'kind', got {source!r}")
        member = cls.member(source["kind"])
        return member(**{str(name): value for name, value in source.items() if name != "kind"})

    @classmethod
    def member(cls, kind: str) -> type[Self]:
        """The registered class of a kind; the module of a kind `module:Class` is imported if necessary."""
        if kind not in cls.registry and ":" in kind:
            try:
                importlib.import_module(kind.partition(":")[0])
            except ModuleNotFoundError as error:
                raise ValueError(
                    f"{cls.family} {kind!r} cannot be imported: {error}; name its module with `imports=`"
                ) from None
            except (Exception, SystemExit) as error:
                raise ValueError(
                    f"{cls.family} {kind!r} cannot be imported: {type(error).__name__}: {error}"
                ) from error
        registered = cls.registry.get(kind)
        if registered is None or not issubclass(registered, cls):
            raise ValueError(f"{cls.family} has no {kind!r}; {did_you_mean(kind, list(cls.registry))}")
        return registered

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        if not cls.__dict__.get("abstract", False):
            return handler(source)
        return core_schema.no_info_plain_validator_function(
            cls.from_spec,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda part: part.spec()),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        if not cls.__dict__.get("abstract", False):
            return handler(schema)
        return {
            "type": "object",
            "properties": {"kind": {"enum": sorted(cls.registry)}},
            "required": ["kind"],
        }
