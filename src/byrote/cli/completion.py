"""Completions for the Tab key: studies, scales, data sets, claims, figures and keys.

Each function is a completer of cyclopts: it takes the command line so far and returns values with a short description
of each. No completer loads torch, because the shell waits for the answer.
"""

import tomllib
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

from cyclopts.completion import CompletionContext

__all__ = ["claim_ids", "data_sets", "figure_names", "run_keys", "scales", "studies"]


def _toml(path: Any) -> dict[str, Any]:
    """A study as data; empty if the file cannot be read as TOML."""
    with suppress(OSError, ValueError):
        return tomllib.loads(path.read_text("utf-8"))
    return {}


def _built_in() -> dict[str, Any]:
    files = (file for file in resources.files("byrote.studies").iterdir() if file.name.endswith(".toml"))
    return {file.name.removesuffix(".toml"): file for file in sorted(files, key=lambda file: file.name)}


def studies(context: CompletionContext) -> dict[str, str]:
    """The built-in studies with their titles, and the TOML files in the folder typed so far."""
    typed = context.incomplete
    folder = Path(typed).parent if "/" in typed else Path()
    prefix = typed.rpartition("/")[0] + "/" if "/" in typed else ""
    own = sorted(path for path in folder.glob("*.toml") if path.name != "pyproject.toml")
    return {name: str(_toml(file).get("title", "")) for name, file in _built_in().items()} | {
        f"{prefix}{path.name}": str(_toml(path).get("title", "a study of your own")) for path in own
    }


def scales(context: CompletionContext) -> list[str]:
    """The scales of the study typed so far."""
    named = context.get("study")
    name = "" if named is None else str(named.raw or "")
    return list(_toml(_built_in().get(name, Path(name))).get("scales", {})) if name else []


def data_sets(context: CompletionContext) -> dict[str, str]:
    """The data sets that can be fetched, with their titles."""
    from byrote.data.fetch.catalogue import COLLECTIONS

    return {collection.name: collection.title for collection in COLLECTIONS.values()}


def claim_ids(context: CompletionContext) -> dict[str, str]:
    """The ids of the claims, with their statements."""
    from byrote.claims import registered

    return {claim.id: claim.statement for claim in registered()}


def figure_names(context: CompletionContext) -> dict[str, str]:
    """The names of the figures, with their titles; none if the `report` extra is not installed."""
    from byrote.figures import registered

    with suppress(ModuleNotFoundError):
        return {source.name: source.title for source in registered()}
    return {}


def run_keys(context: CompletionContext) -> dict[str, str]:
    """The keys of the runs in the folder typed so far, each with the part of the study that contains the run."""
    from byrote.store import read_results
    from byrote.store.facts import Facts

    folder = context.get("folder")
    if folder is None or not folder.raw:
        return {}
    with suppress(OSError, ValueError):
        runs = read_results(folder.raw, Facts(compute=False)).runs
        return dict(zip(runs["key"].tolist(), runs["part"].tolist(), strict=True)) if len(runs) else {}
    return {}
