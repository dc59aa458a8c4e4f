"""The exact command that trains one stored run again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from byrote.store.plan import Plan
from byrote.store.query import Results

__all__ = ["command", "specs_of", "toml"]


def toml(value: object) -> str:
    """A value as TOML on one line; absent ones (None) are left out of tables, so that their default stands.

    >>> toml({"kind": "step", "every": 12, "gamma": 0.1, "seed": None})
    '{kind = "step", every = 12, gamma = 0.1}'
    >>> toml([0, 1]), toml(True), toml(1e-08)
    ('[0, 1]', 'true', '1e-08')
    """
    if isinstance(value, Mapping):
        inner = ", ".join(f"{name} = {toml(one)}" for name, one in value.items() if one is not None)
        return f"{{{inner}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(toml(one) for one in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    return json.dumps(str(value), ensure_ascii=False)


def specs_of(results: Results) -> dict[str, dict[str, Any]]:
    """The full spec of each run by key: from the tables' own account, else from the store's plan; or nothing."""
    told = results.about.get("specs")
    if isinstance(told, dict):
        return told
    try:
        plan = Plan.read(Path(results.source))
    except (OSError, ValueError):
        plan = None
    return {entry.key: entry.spec for entry in plan.entries} if plan is not None else {}


def command(spec: Mapping[str, Any], every: Iterable[Mapping[str, Any]], about: Mapping[str, Any], key: str) -> str:
    """`byrote run STUDY --limit 1 --set ...` that trains this spec and no other.

    Overrides go over everything in a study, axes included, so naming each field that differs anywhere in the plan
    turns all of its points into this one run.

    Args:
        spec: the run's full spec.
        every: the specs of all runs of the plan.
        about: the study's name, scale, overrides and imports.
        key: the run's key, which names the folder of the new store.
    """
    flat = [_flat(one) for one in every]
    mine = _flat(spec)
    settings = dict(about.get("overrides") or {})
    settings |= {path: value for path, value in mine.items() if any(other.get(path) != value for other in flat)}
    words = ["byrote", "run", str(about.get("file") or about.get("study", "STUDY"))]
    if about.get("scale"):
        words += ["--scale", str(about["scale"])]
    for name in about.get("imports") or ():
        words += ["--import", str(name)]
    words += ["--out", f"runs/again/{key}", "--limit", "1"]
    for path, value in settings.items():
        words += ["--set", f"{path}={toml(value)}"]
    return shlex.join(words)


def _flat(spec: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted paths to values; a component (a mapping with a `kind`) stays whole, since its fields go together."""
    found: dict[str, Any] = {}
    for name, value in spec.items():
        if isinstance(value, Mapping) and "kind" not in value:
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found
