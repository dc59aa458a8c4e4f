"""`byrote list`: the losses, noise laws, networks, data sets, studies and claims."""

from typing import Literal

from byrote.cli.output import print_json, print_table
from byrote.cli.own import Imports, import_own
from byrote.cli.places import Place

__all__ = ["listing"]

_FAMILIES = {"losses": "Loss", "noise": "Noise", "networks": "Network", "data": "Dataset"}


def listing(
    what: Literal["losses", "noise", "networks", "data", "studies", "claims"],
    folder: Place | None = None,
    /,
    *,
    imports: Imports = None,
    json: bool = False,
) -> int:
    """List losses, noise laws, networks, data sets, studies or claims.

    Parameters
    ----------
    what
        losses, noise, networks, data, studies or claims.
    folder
        A store or a results folder; the members that its recorded modules define are listed as well.
    imports
        A module of your own, whose members are listed as well.
    json
        Print JSON.
    """
    about: dict[str, object] = {}
    contents: list[str] = []
    if folder is not None:
        from byrote.store import read_results

        results = read_results(folder)
        about, contents = results.about, results.runs["contents"].tolist() if len(results.runs) else []
    import_own(about, imports, contents)
    rows = _studies() if what == "studies" else _claims() if what == "claims" else _components(what)
    if json:
        print_json(rows)
    else:
        print_table(what, list(rows[0]), rows)
    return 0


def _components(family: str) -> list[dict[str, object]]:
    import importlib

    base = getattr(importlib.import_module(f"byrote.{family}"), _FAMILIES[family])
    rows: list[dict[str, object]] = []
    for kind, member in sorted(base.registry.items()):
        fields = (
            name if field.is_required() else f"{name}={field.default!r}" for name, field in member.model_fields.items()
        )
        summary = (member.__doc__ or "").strip().splitlines()
        rows.append({"kind": kind, "fields": ", ".join(fields), "summary": summary[0] if summary else ""})
    return rows


def _studies() -> list[dict[str, object]]:
    from byrote.study import Study, list_studies

    rows: list[dict[str, object]] = []
    for name in list_studies():
        study = Study.load(name)
        runs = ", ".join(f"{scale or 'only'}: {len(study.experiments(scale))}" for scale in study.scale_names)
        rows.append({"study": name, "runs by scale": runs, "title": study.title})
    return rows


def _claims() -> list[dict[str, object]]:
    from byrote import claims

    return [{"id": c.id, "statement": c.statement, "bar": c.bar} for c in claims.registered()]
