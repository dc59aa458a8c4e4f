"""A `Study` is a grid of experiments, written as TOML: its parts, their axes, its scales."""

import importlib.resources
import itertools
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from byrote.component import Component, Spec, did_you_mean
from byrote.contents import digest_contents
from byrote.experiment import Experiment
from byrote.identity import SEEDS

__all__ = ["Part", "Study", "list_studies"]


def _default_kinds(spec: type[Spec]) -> dict[str, Any]:
    """The kind of each component that has a default, so that a study can set a single field of it."""
    kinds: dict[str, Any] = {}
    for name, field in spec.model_fields.items():
        if isinstance(field.default, Component):
            kinds[name] = {"kind": field.default.kind}
        elif isinstance(field.default, Spec):
            kinds[name] = _default_kinds(type(field.default))
    return kinds


def _set(tree: dict[str, Any], path: str, value: Any) -> None:
    """Set a dotted path in nested mappings, creating levels as needed."""
    *parents, leaf = path.split(".")
    for name in parents:
        child = tree.get(name)
        if isinstance(child, str):
            child = {"kind": child}
        tree[name] = child = dict(child) if isinstance(child, Mapping) else {}
        tree = child
    tree[leaf] = value


def _merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Merge several trees; later trees override earlier trees. Keys may be dotted paths.

    A mapping with a `kind` of its own replaces the earlier mapping; a mapping without `kind` is merged into it.

    Raises:
        ValueError: a path is set to an empty table, which would change nothing.
    """
    tree: dict[str, Any] = {}
    for layer in layers:
        for path, value in layer.items():
            if isinstance(value, Mapping) and not value:
                _check_name("Experiment", path.partition(".")[0], list(Experiment.model_fields))
                raise ValueError(f"{path!r} is set to an empty table, which changes nothing; give it fields")
            if isinstance(value, Mapping) and "kind" not in value:
                for inner, leaf in value.items():
                    _set(tree, f"{path}.{inner}", leaf)
            else:
                _set(tree, path, dict(value) if isinstance(value, Mapping) else value)
    return tree


def _experiment(fields: Mapping[str, Any], shared: dict[tuple[str, str], Spec]) -> Experiment:
    """Make an experiment that shares equal parts with earlier experiments, because many runs have the same parts.

    Args:
        fields: the fields of the experiment.
        shared: the parts of earlier experiments, by field and given value; new parts are added.
    """
    given = {name: (name, repr(value)) for name, value in fields.items()}
    experiment = Experiment(**{name: shared.get(given[name], value) for name, value in fields.items()})
    for name, place in given.items():
        part = getattr(experiment, name)
        if isinstance(part, Spec):
            shared.setdefault(place, part)
    return experiment


def _check_name(owner: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise ValueError(f"{owner} has no {name!r}; {did_you_mean(name, list(known))}")


def _check_scale(owner: str, scale: str, scales: Mapping[str, Any]) -> None:
    if scale not in scales:
        listed = did_you_mean(scale, list(scales)) if scales else "it has no [scales.NAME] table"
        raise ValueError(f"{owner} names scale {scale!r}, which the study does not have; {listed}")


_OVER = ("base", "axes", "paired")  # the tables that a part may replace at a scale


class Part(Spec):
    """One grid of a study.

    Args:
        name: the part's name, which is a column in the tables of runs.
        bind: fields that are chosen for each loss, such as "training.optimizer.lr". They are treated as part of the
            loss, not of the setting, so that losses with different learning rates can be compared in one setting. None:
            the study's `bind`.
        base: fields of every run of the part; they override the fields of the study.
        axes: lists of values by path; the runs are their product.
        paired: lists of values by path, all of equal length, that are combined row by row; each row is combined with
            the product of the axes.
        only: the scales that contain this part; empty: all.
        scales: for each scale by name, the tables `base`, `axes` and `paired` that override the tables above at that
            scale.
    """

    name: str
    bind: tuple[str, ...] | None = None
    base: dict[str, Any] = {}
    axes: dict[str, list[Any]] = {}
    paired: dict[str, list[Any]] = {}
    only: tuple[str, ...] = ()
    scales: dict[str, dict[str, dict[str, Any]]] = {}

    def points(self, scale: str) -> Iterator[dict[str, Any]]:
        """Every point of the grid as a mapping from dotted paths to values.

        Raises:
            ValueError: lists in `paired` with different lengths, an empty list, or a path in both `axes` and `paired`.
        """
        over = self.scales.get(scale, {})
        axes, paired = self.axes | over.get("axes", {}), over.get("paired", self.paired)
        for path, values in [*axes.items(), *paired.items()]:
            if not isinstance(values, list) or not values:
                raise ValueError(f"{path!r} needs a list of at least one value in axes and paired, got {values!r}")
        both = axes.keys() & paired.keys()
        if both:
            raise ValueError(f"{min(both)!r} is both in axes and in paired; keep one of them")
        lengths = {path: len(values) for path, values in paired.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"paired needs lists of equal length, got {lengths}")
        rows = [dict(zip(paired, row, strict=True)) for row in zip(*paired.values(), strict=True)] or [{}]
        for row, values in itertools.product(rows, itertools.product(*axes.values())):
            yield {**over.get("base", {}), **row, **dict(zip(axes, values, strict=True))}


class Study(Spec):
    """A named collection of grids, with scales that range from minutes on a laptop to the size of the papers'
    experiments.

    Args:
        name: the study's name, after which its stores are named.
        title: the heading of the report.
        bind: the `bind` of every part that does not set its own.
        base: fields of every run; a path is dotted, as in "noise.rate".
        part: the grids, at least one.
        scales: for each scale by name, the fields that override the fields of every part; empty: the study has a single
            size.
        default_scale: the scale used by default; empty: the first.
    """

    name: str
    title: str = ""
    bind: tuple[str, ...] = ()
    base: dict[str, Any] = {}
    part: tuple[Part, ...] = Field(kw_only=True)
    scales: dict[str, dict[str, Any]] = {}
    default_scale: str = ""

    @model_validator(mode="after")
    def _known_names(self) -> Self:
        """Check that every scale that a part names exists in the study and replaces only the three tables."""
        for part in self.part:
            for scale in (*part.only, *part.scales):
                _check_scale(f"part {part.name!r}", scale, self.scales)
            for scale, over in part.scales.items():
                for name in over:
                    _check_name(f"part {part.name!r} at scale {scale!r}", name, _OVER)
        if self.default_scale:
            _check_scale("default_scale", self.default_scale, self.scales)
        return self

    @classmethod
    def load(cls, source: str | Path) -> Self:
        """A built-in study by name, or a TOML file by path.

        Raises:
            ValueError: no such study or file, unreadable TOML, or an unknown key (the message suggests the nearest
                key).
        """
        built_in = list_studies()
        if str(source) in built_in:
            text = importlib.resources.files("byrote.studies").joinpath(f"{source}.toml").read_text("utf-8")
        elif Path(source).suffix == ".toml":
            try:
                text = Path(source).expanduser().read_text("utf-8-sig")
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"study file {source} cannot be read: {error}") from None
        else:
            raise ValueError(f"there is no study {str(source)!r}; {did_you_mean(str(source), built_in)}")
        try:
            content = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"study {source} is not valid TOML: {error}") from None
        try:
            return cls(**content | {"part": _parts(content.get("part"))})
        except ValueError as error:
            raise ValueError(f"study {source}: {error}") from None

    @property
    def scale_names(self) -> list[str]:
        """The scales of this study; a single unnamed scale ("") if it lists none."""
        return list(self.scales) or [""]

    def experiments(self, scale: str = "", overrides: Mapping[str, Any] | None = None) -> list[tuple[str, Experiment]]:
        """Every experiment once, with the name of its part, in the order of the file; see `grid`."""
        return [(part.name, experiment) for part, experiment in self.grid(scale, overrides)]

    def grid(self, scale: str = "", overrides: Mapping[str, Any] | None = None) -> list[tuple[Part, Experiment]]:
        """Every experiment once, with its part, which is the first part that contains it.

        Args:
            scale: one of `scale_names`; "" takes the default.
            overrides: values by dotted path that override everything, even axes.

        Raises:
            ValueError: an unknown scale, component, field or value, or a part that binds a field that cannot be bound.
        """
        scale = scale or self.default_scale or self.scale_names[0]
        if scale and not self.scales:
            raise ValueError(f"study {self.name!r} has a single size and no scale {scale!r}; leave the scale out")
        if scale not in self.scale_names:
            raise ValueError(f"study {self.name!r} has no scale {scale!r}; {did_you_mean(scale, self.scale_names)}")
        overrides = dict(overrides or {})
        planned: list[tuple[Part, Experiment]] = []
        shared: dict[tuple[str, str], Spec] = {}
        for part in self.part:
            if part.only and scale not in part.only:
                continue
            bound = part if part.bind is not None else part.replace(bind=self.bind)
            try:
                layers = (_default_kinds(Experiment), self.base, part.base, self.scales.get(scale, {}))
                members = [_experiment(_merged(*layers, point, overrides), shared) for point in part.points(scale)]
            except ValueError as error:
                raise ValueError(f"part {part.name!r}: {error}") from error.__cause__
            _check_bind(bound, members)
            planned += [(bound, experiment) for experiment in members]
        digest_contents(experiment for _, experiment in planned)
        first_of: dict[str, tuple[Part, Experiment]] = {}
        for bound, experiment in planned:
            first_of.setdefault(experiment.key, (bound, experiment))
        return list(first_of.values())


def _parts(tables: object) -> tuple[Part, ...]:
    """The `[[part]]` tables of a TOML file; an error names the part."""
    if not isinstance(tables, list) or not tables or not all(isinstance(table, Mapping) for table in tables):
        raise ValueError(f"a study needs at least one [[part]] table, got {tables!r}")
    parts = []
    for place, table in enumerate(tables, 1):
        try:
            parts.append(Part(**table))
        except ValueError as error:
            raise ValueError(f"part {table.get('name', place)!r}: {error}") from None
    return tuple(parts)


def _check_bind(part: Part, experiments: Sequence[Experiment]) -> None:
    """Check that a bound field is a field of the part's specs, and not a field of the loss, a rate or a seed."""
    if not part.bind:
        return
    known = dict.fromkeys(path for experiment in experiments for path in _paths(experiment.spec()))
    for path in part.bind:
        if path in ("noise", "noise.rate", "loss", *SEEDS) or path.startswith("loss."):
            raise ValueError(
                f"part {part.name!r} cannot bind {path!r}: losses, rates and seeds are distinguished anyway"
            )
        if path not in known:
            raise ValueError(
                f"part {part.name!r} binds {path!r}, which is not a field of its experiments; "
                f"{did_you_mean(path, list(known))}"
            )


def _paths(spec: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted path of every field, including fields that contain other fields."""
    for name, value in spec.items():
        yield prefix + name
        if isinstance(value, Mapping):
            yield from _paths(value, f"{prefix}{name}.")


def list_studies() -> list[str]:
    """The names of the built-in studies."""
    files: Sequence[Any] = list(importlib.resources.files("byrote.studies").iterdir())
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))
