"""`status`, `claims`, `figures`, `report`, `compact`, `merge`: read stores. `status` never loads torch.

The other commands load it only to compute facts that are not in the cache; see `byrote.store.facts`.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from byrote.cli.completion import claim_ids, figure_names
from byrote.cli.output import fail, older, print_json, print_table, say, show_trace
from byrote.cli.own import Imports, import_own, say_changed
from byrote.cli.places import Place
from byrote.files import write_atomic
from byrote.own_code import described

if TYPE_CHECKING:
    from byrote.analysis import Analysis
    from byrote.claims import Verdict

__all__ = [
    "analysis_of",
    "claims",
    "compact",
    "figures",
    "merge",
    "report",
    "show_verdicts",
    "state_and_progress",
    "status",
]

_BESIDE = ("verdicts.json", "figures", "tables")  # the files next to the page


def state_and_progress(folder: Path) -> dict[str, Any]:
    """The state and the progress of a store, from `state_of` and `progress_of`."""
    from byrote.store import state_of
    from byrote.store.progress import progress_of

    state = state_of(folder)
    return state | progress_of(folder, state)


def status(folder: Place, /, *, watch: bool = False, json: bool = False) -> int:
    """Count the runs that are missing, running, done and failed.

    Parameters
    ----------
    folder
        The store.
    watch
        Print the state every two seconds until no driver is at work.
    json
        Print JSON; with --watch one object per line.
    """
    from byrote.cli import following
    from byrote.store import Plan
    from byrote.store.mirror import located

    folder = located(folder)
    if watch:
        return following.watch(folder, json)
    state = state_and_progress(folder)
    if json:
        print_json(state)
        return 0
    names = ("study", "scale", "runs", "missing", "running", "done", "failed", "damaged", "unavailable")
    print_table("status", names, [state])
    if state["imports"]:
        say(f"made with --import {' --import '.join(state['imports'])}")
        plan = Plan.read(folder)
        say_changed(entry.contents for entry in (() if plan is None else plan.entries))
    for run in state["in_hand"]:
        say(f"running {run['key']} ({run['part']}): epoch {run['epoch']} of {run['epochs']}")
    if state["drivers"]:
        say(following.pace(state))
    for run in state["damages"]:
        say(run["error"])
    for run in state["failures"]:
        say(f"failed {run['key']} ({run['part']}): {run['error']}")
    following.show_problems({"problems": [p for p in state["problems"] if p["kind"] != "diverged"]}, folder)
    for (part, reason), runs in Counter((run["part"], run["reason"]) for run in state["not_run"]).items():
        say(f"{part}, {runs} runs: {reason}")
    if state["older_versions"]:
        say(older(state["older_versions"], folder))
    return 0


def analysis_of(folder: Path, imports: list[str] | None) -> "Analysis":
    """Open a folder and import its modules; if planned runs are missing, print how many exist."""
    from byrote.analysis import open_store

    store = open_store(folder)
    folder, runs = store.root, store.results.runs
    import_own(store.results.about, imports, runs["contents"].tolist() if len(runs) else ())
    if not len(store.analysis.runs):
        raise ValueError(f"{folder} has no finished runs yet; `byrote status {folder}` shows what is missing")
    if store.results.partial:
        say(f"{store.results.partial} are done; the results below are from these runs only")
    return store.analysis


def claims(
    folder: Place | None = None,
    /,
    *,
    only: Annotated[list[str] | None, Parameter(consume_multiple=True, negative=(), completer=claim_ids)] = None,
    theory: bool = False,
    power: bool = False,
    imports: Imports = None,
    json: bool = False,
) -> int:
    """Judge the papers' claims from the stored runs.

    Parameters
    ----------
    folder
        A store or a results folder; it may be omitted with --theory or --only.
    only
        Judge only these claims, such as A5 B7 or A5,B7.
    theory
        Also judge A1, A9 and B8, which are computed from theory alone (some seconds).
    power
        For each inconclusive claim, estimate how many more seeds would decide it.
    imports
        A module of your own with further claims, in addition to the modules that the store was made with.
    json
        Print JSON.
    """
    from byrote import claims as family

    if folder is None and not theory and not only:
        raise ValueError(
            "byrote claims needs a store or a results folder, or --theory; name a folder that `byrote run` created"
        )
    analysis = None if folder is None else analysis_of(folder, imports)
    if analysis is None:
        import_own({}, imports)
    partial = "" if analysis is None else analysis.results.partial
    title = f"claims, from {partial}" if partial else "claims"
    chosen = None if only is None else [id for word in only for id in word.split(",") if id]
    return show_verdicts(title, family.evaluate(analysis, chosen, theory=theory), json, power)


def show_verdicts(title: str, verdicts: "Sequence[Verdict]", as_json: bool, power: bool = False) -> int:
    """Print verdicts as a table or as JSON; on request, also print how many more seeds would decide each claim.

    Returns the exit code, which is 1 if the function of a claim raised an exception.
    """
    raised = {f"claim {verdict.id}": verdict.reason for verdict in verdicts if verdict.word == "error"}
    rows = [verdict.to_json() for verdict in verdicts]
    for verdict, row in zip(verdicts, rows, strict=True) if power else ():
        try:
            row["power"] = verdict.power()
        except Exception as error:  # raised by the forecast of a user's own claim
            show_trace(error)
            raised[f"the forecast of claim {verdict.id}"] = row["power"] = described(error)
    if as_json:
        print_json(rows)
    else:
        names = ("id", "verdict", "statistic", "interval", "bar", "runs", "statement", *(["power"] if power else []))
        pairs = [row | {"interval": row["interval"] and tuple(row["interval"])} for row in rows]
        print_table(title, names, pairs)
    return _ended(raised)


def _ended(raised: Mapping[str, str]) -> int:
    """If claims or figures raised an exception, print how many; return the exit code."""
    if not raised:
        return 0
    name, error = next(iter(raised.items()))
    more = f" and {len(raised) - 1} more" if len(raised) > 1 else ""
    return fail(f"{name}{more} raised an exception: {error}; all others were completed", 1)


def figures(
    folder: Place,
    /,
    *names: Annotated[str, Parameter(completer=figure_names)],
    out: Place | None = None,
    imports: Imports = None,
    json: bool = False,
) -> int:
    """Draw figures as SVG and PDF, with their numbers as CSV.

    Parameters
    ----------
    folder
        A store or a results folder.
    names
        The figures to draw (default: all figures for which the folder has runs).
    out
        The folder to write to (default: FOLDER/figures).
    imports
        A module of your own with further figures, in addition to the modules that the store was made with.
    json
        Print the list of files as JSON.
    """
    from byrote import figures as family
    from byrote.store.mirror import located, share

    folder = located(folder)
    root = located(out or folder)
    target = root if out else root / "figures"
    drawn = family.draw_into(target, analysis_of(folder, imports), *names)
    share(root, *(path for path in target.iterdir() if path.is_file()))
    rows = [
        {"figure": figure.name, "title": figure.title, "files": [str(path) for path in drawn.files[figure.name]]}
        for figure in drawn.figures
    ]
    if json:
        print_json(rows)
    else:
        print_table("figures", ("figure", "title", "files"), rows)
    absent = [name for name in names if name not in drawn.files and name not in drawn.raised]
    if absent:
        return fail(f"{folder} has no runs for the figure {', '.join(absent)}; all other figures were drawn", 1)
    return _ended({f"figure {name}": error for name, error in drawn.raised.items()})


def report(folder: Place, /, *, out: Place | None = None, imports: Imports = None) -> int:
    """Write one page of verdicts, figures and tables: FOLDER/index.html.

    Parameters
    ----------
    folder
        A store or a results folder.
    out
        The folder to write to (default: FOLDER).
    imports
        A module of your own with further claims or figures, in addition to the modules that the store was made with.
    """
    from byrote import claims as family
    from byrote.figures import draw_into
    from byrote.report import write_report
    from byrote.store.mirror import located, share

    folder = located(folder)
    analysis = analysis_of(folder, imports)
    verdicts = family.evaluate(analysis)
    target = located(out or folder)
    drawn = draw_into(target / "figures", analysis)
    page = write_report(analysis, verdicts, target, drawn)
    write_atomic(target / "verdicts.json", json.dumps([v.to_json() for v in verdicts], indent=1) + "\n")
    beside = [target / name for name in _BESIDE if (target / name).exists()]
    share(target, page, *(path for one in beside for path in ([one] if one.is_file() else one.glob("*"))))
    *written, last = (page, *beside)
    say(f"wrote {', '.join(map(str, written))} and {last}")
    raised = {f"claim {verdict.id}": verdict.reason for verdict in verdicts if verdict.word == "error"}
    return _ended(raised | {f"figure {name}": error for name, error in drawn.raised.items()})


def compact(folder: Place, /, *, out: Place | None = None, part: str = "") -> int:
    """Join the tables of all runs into a few files that are easy to share.

    Parameters
    ----------
    folder
        The store.
    out
        The folder to write to (default: the store itself).
    part
        Only the runs of this part of the study; requires --out.
    """
    from byrote.store import compact as write
    from byrote.store.mirror import located

    folder = located(folder)
    target = write(folder, out, part=part)
    say(f"wrote the tables of {folder}{f', part {part},' if part else ''} into {target}")
    return 0


def merge(*folders: Place, out: Place) -> int:
    """Copy the runs of several stores of the same study into one store.

    Parameters
    ----------
    folders
        At least two stores of the same study and scale.
    out
        A new folder, or a store of the same study.
    """
    from byrote.store import merge as join
    from byrote.store.mirror import located

    out = located(out)
    copied = join(folders, out)
    say(f"{copied} runs copied into {out}; next: byrote status {out}")
    return 0
