"""The command line that trains a stored run again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from byrote.identity import SEEDS

__all__ = ["command", "seeds", "toml", "varying"]


def toml(value: object) -> str:
    """A value in one line of TOML, as `--set` expects it; None inside a table means the default and is left out.

    >>> toml({"kind": "step", "every": 12, "gamma": 0.1, "seed": None})
    '{kind = "step", every = 12, gamma = 0.1}'
    >>> toml([0, 1]), toml(True), toml(1e-08)
    ('[0, 1]', 'true', '1e-08')
    """
    if value is None:
        return "none"
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


def varying(specs: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """The dotted paths of the fields that differ among the specs of a plan; a component is one field.

    >>> sorted(varying([{"seed": 0, "training": {"epochs": 3}}, {"seed": 1, "training": {"epochs": 3}}]))
    ['seed']
    """
    flat = [_flat(one) for one in specs]
    first = flat[0] if flat else {}
    return frozenset(path for one in flat for path in {**first, **one} if one.get(path) != first.get(path))


def command(spec: Mapping[str, Any], differing: Iterable[str], about: Mapping[str, Any], key: str) -> str:
    """The command `byrote run STUDY --limit 1 --set ...` that trains exactly this spec.

    Overrides replace every value in a study, axes included. If the command sets each field that differs anywhere in the
    plan, all points of the plan become this one run.

    Args:
        spec: the run's full spec.
        differing: the fields in which the runs of the plan differ, see `varying`.
        about: the study's name, TOML file, scale, overrides and imports.
        key: the run's key, which names the folder of the new store.
    """
    mine = _flat(spec)
    settings = dict(about.get("overrides") or {})
    settings |= {path: mine[path] for path in mine if path in differing}
    words = ["byrote", "run", str(about.get("file") or about.get("study", "STUDY"))]
    if about.get("scale"):
        words += ["--scale", str(about["scale"])]
    for name in about.get("imports") or ():
        words += ["--import", str(name)]
    words += ["--out", f"runs/again/{key}", "--limit", "1"]
    return " ".join([shlex.join(words), *_set(settings)])


def seeds(spec: Mapping[str, Any], differing: Iterable[str]) -> str:
    """The last arguments of a command from `command`: the seeds of one run, if they differ within the plan.

    >>> seeds({"seed": 3, "noise_seed": None}, {"seed", "loss"})
    '--set seed=3'
    """
    return " ".join(_set({path: spec.get(path) for path in SEEDS if path in differing}))


def _set(settings: Mapping[str, Any]) -> list[str]:
    return [shlex.join(["--set", f"{path}={toml(value)}"]) for path, value in settings.items()]


def _flat(spec: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by dotted path; a component (a mapping with a `kind`) stays whole, because its fields belong together."""
    flat: dict[str, Any] = {}
    for name, value in spec.items():
        if isinstance(value, Mapping) and "kind" not in value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
