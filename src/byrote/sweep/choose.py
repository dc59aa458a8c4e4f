"""Select the runs of a plan by values in their specs."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from byrote.analysis.specs import flatten
from byrote.component import canonical, did_you_mean
from byrote.store import Entry

__all__ = ["chosen"]


def chosen(entries: Iterable[Entry], where: Mapping[str, Collection[Any]]) -> set[str]:
    """The keys of the entries that have, at each path, one of the values given for it.

    Args:
        entries: the entries of a plan.
        where: the wanted values for each dotted path of the spec, such as "noise.rate". The path of a component, such
            as "loss", means its kind, and "part" means the part of the study.

    Raises:
        ValueError: no spec has a path, no run has a value at its path, or no single run has the wanted values at all
            paths.
    """
    leaves = {entry.key: {"part": entry.part, **_with_kinds(entry.spec)} for entry in entries}
    for path, wanted in where.items():
        there = {_text(fields[path]): fields[path] for fields in leaves.values() if path in fields}
        if not there:
            known = sorted({name for fields in leaves.values() for name in fields})
            raise ValueError(f"`where=`: no run has a field {path!r}; {did_you_mean(path, known)}")
        for value in wanted:
            if _text(value) not in there:
                shown = ", ".join(str(one) for one in list(there.values())[:8])
                raise ValueError(f"`where=`: no run has {path} = {value}; the runs have {shown}")
    texts = {path: {_text(value) for value in wanted} for path, wanted in where.items()}
    keys = {
        key
        for key, fields in leaves.items()
        if all(path in fields and _text(fields[path]) in wanted for path, wanted in texts.items())
    }
    if not keys:
        request = " and ".join(f"{path} = {' or '.join(map(str, wanted))}" for path, wanted in where.items())
        raise ValueError(f"`where=`: no run has {request} together")
    return keys


def _with_kinds(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The leaves of a spec by dotted path; the path of a component itself leads to its kind."""
    leaves = flatten(spec)
    kinds = {path.removesuffix(".kind"): kind for path, kind in leaves.items() if path.endswith(".kind")}
    return {**leaves, **kinds}


def _text(value: Any) -> str:
    """A value as text; equal values such as 1 and 1.0 give the same text."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    return canonical(value)
