"""`export`, `compare` and `show`: take data out of a store. Torch is loaded only to compute facts."""

from typing import Annotated, Any

from cyclopts import Parameter

from byrote.cli.completion import figure_names, run_keys
from byrote.cli.output import print_json, print_table, say
from byrote.cli.own import Imports, import_own
from byrote.cli.places import Place
from byrote.cli.results import analysis_of
from byrote.store.written import Form

__all__ = ["compare", "export", "show"]

_LISTED = 20  # the most runs with differences that the table lists


def export(
    folder: Place,
    /,
    *,
    to: Form,
    figure: Annotated[list[str] | None, Parameter(negative=(), consume_multiple=True, completer=figure_names)] = None,
    out: Place | None = None,
    imports: Imports = None,
    json: bool = False,
) -> int:
    """Write the numbers behind every table and figure as files.

    Parameters
    ----------
    folder
        A store or a results folder.
    to
        csv and parquet keep every digit; latex writes a table with four digits for the package booktabs.
    figure
        Write only the numbers of these figures.
    out
        The folder to write to (default: FOLDER); tables go to OUT/tables and figures to OUT/figures.
    imports
        A module of your own with further claims or figures, in addition to the modules that the store was made with.
    json
        Print the list of files as JSON.
    """
    from byrote import claims
    from byrote.figures import draw
    from byrote.report import export_figures, export_tables, table_rows
    from byrote.store.mirror import located, share

    analysis, target = analysis_of(located(folder), imports), located(out or folder)
    drawn = draw(analysis, *(figure or ()))
    absent = set(figure or ()) - {one.name for one in drawn}
    if absent:
        raise ValueError(f"{folder} has no runs for the figure {', '.join(sorted(absent))}; leave it out")
    paths = export_figures(drawn, target / "figures", to)
    if not figure:
        paths = [*export_tables(table_rows(analysis, claims.evaluate(analysis)), target / "tables", to), *paths]
    share(target, *paths)
    if json:
        print_json([str(path) for path in paths])
    else:
        print_table("export", ("file",), [{"file": str(path)} for path in paths])
    return 0


def compare(first: Place, second: Place, /, *, imports: Imports = None, json: bool = False) -> int:
    """Compare two stores: their runs, their readings bit by bit, and their verdicts.

    Parameters
    ----------
    first
        A store or a results folder.
    second
        The store or results folder to compare with the first.
    imports
        A module of your own with further claims, in addition to the modules that the folders were made with.
    json
        Print JSON.
    """
    from byrote.analysis import open_store
    from byrote.report.compare import compare as beside

    stores = [open_store(folder) for folder in (first, second)]
    for store in stores:
        import_own(store.results.about, imports)
    comparison = beside(*stores)
    if json:
        print_json(comparison.to_json())
        return 0
    counts = {
        "in both": comparison.common,
        "equal to the bit": comparison.equal,
        "different": len(comparison.different),
    }
    counts |= {"only in the first": comparison.only_first, "only in the second": comparison.only_second}
    print_table("runs", list(counts), [counts])
    if comparison.unshared:
        say(f"not compared, because they are in only one folder: {', '.join(comparison.unshared)}")
    if comparison.different:
        rows: list[dict[str, Any]] = [vars(one) for one in comparison.different[:_LISTED]]
        print_table("runs that differ", ("key", "part", "what"), rows)
        if len(comparison.different) > _LISTED:
            say(f"{len(comparison.different) - _LISTED} more runs differ; --json lists them all")
    if comparison.claims:
        print_table("claims", ("claim", "same", "first", "second"), [_side_by_side(row) for row in comparison.claims])
    return 0


def _side_by_side(row: dict[str, Any]) -> dict[str, Any]:
    return {"claim": row["claim"], "same": "yes" if row["same"] else "NO"} | {
        side: _estimate(row[side], row[f"{side}_estimate"], row[f"{side}_interval"], row[f"{side}_runs"])
        for side in ("first", "second")
    }


def _estimate(verdict: str, value: float | None, interval: list[float] | None, runs: int) -> str:
    """A verdict with its estimate, as text.

    >>> _estimate("holds", 0.25, [0.125, 0.5], 12), _estimate("not tested", None, None, 0)
    ('holds .25 [.125, .5], 12 runs', 'not tested')
    """
    if verdict == "not tested":
        return verdict
    numbers = [] if value is None else [_short(value)]
    numbers += [] if interval is None else [f"[{', '.join(_short(end) for end in interval)}]"]
    return f"{' '.join([verdict, *numbers])}, {runs} runs"


def _short(value: float | None) -> str:
    if value is None:
        return "?"
    text = f"{value:.3g}"
    return text.replace("0.", ".", 1) if text.removeprefix("-").startswith("0.") else text


def show(
    folder: Place,
    key: Annotated[str, Parameter(completer=run_keys)] = "",
    /,
    *,
    json: bool = False,
) -> int:
    """Show one run: its spec, facts, last readings and files, and the command that trains it.

    Parameters
    ----------
    folder
        A store or a results folder.
    key
        The run's key, or its first characters; without a key, the runs are listed.
    json
        Print JSON.
    """
    from byrote.analysis import open_store
    from byrote.analysis.one_run import describe
    from byrote.report.rerun import command, varying

    store = open_store(folder)
    if not key:
        return _runs(store.results.runs.rows(), json)
    about = describe(store, key)
    results = store.results
    about["command"] = command(about["spec"], varying(results.specs.values()), results.about, about["key"])
    if json:
        print_json(_plain(about))
        return 0
    head = {name: about[name] for name in ("key", "part", "status", "error", "epoch") if about.get(name) is not None}
    for title, values in {
        "run": head,
        "spec": _dotted(about["spec"]),
        "facts": about["facts"],
        "last readings": about.get("readings", {}),
        "contents": about["contents"],
    }.items():
        if values:
            print_table(title, (title, "value"), [{title: name, "value": value} for name, value in values.items()])
    if about.get("files"):
        print_table("files", ("file", "bytes", "sha256"), about["files"])
    say(f"train it again: {about['command']}")
    return 0


def _runs(rows: list[dict[str, Any]], as_json: bool) -> int:
    """List the runs of a folder."""
    from json import loads

    listed = []
    for row in rows:
        spec = loads(row["spec"])
        rate = spec["noise"].get("rate")
        listed.append(
            {"key": row["key"], "part": row["part"], "loss": row["loss"], "rate": rate, "seed": spec["seed"]}
            | {"status": row["status"]}
        )
    if as_json:
        print_json(listed)
    else:
        print_table("runs", ("key", "part", "loss", "rate", "seed", "status"), listed)
    return 0


def _dotted(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested tables to dotted paths, as in the file of a study.

    >>> _dotted({"noise": {"kind": "uniform", "rate": 0.2}, "seed": 0})
    {'noise.kind': 'uniform', 'noise.rate': 0.2, 'seed': 0}
    """
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _dotted(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def _plain(value: Any) -> Any:
    """Plain data for JSON; numbers that are not finite become null."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and (value != value or abs(value) == float("inf")) else value
