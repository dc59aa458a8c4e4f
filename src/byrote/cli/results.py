"""`status`, `claims`, `figures`, `report`, `compact`: what a store or a results folder says. Never loads torch."""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byrote.cli.output import print_json, print_table, say
from byrote.files import write_atomic

if TYPE_CHECKING:
    from byrote.analysis import Analysis

__all__ = ["claims", "compact", "figures", "report", "status"]


def status(folder: Path, /, *, json: bool = False) -> int:
    """Say what of a store is missing, running, done and failed.

    Parameters
    ----------
    folder
        The store.
    json
        Print JSON.
    """
    from byrote.store import state_of

    state = state_of(folder)
    if json:
        print_json(state)
        return 0
    names = ("study", "scale", "runs", "missing", "running", "done", "failed", "unavailable")
    print_table("status", names, [state])
    for run in state["in_hand"]:
        say(f"running {run['key']} ({run['part']}): epoch {run['epoch']} of {run['epochs']}")
    for run in state["failures"]:
        say(f"failed {run['key']} ({run['part']}): {run['error']}")
    for (part, reason), runs in Counter((run["part"], run["reason"]) for run in state["not_run"]).items():
        say(f"{part}, {runs} runs: {reason}")
    for version, runs in state["older_versions"].items():
        say(f"{runs} runs of an older version ({version}) lie there and are left out")
    return 0


def _analysis(folder: Path) -> "Analysis":
    from byrote.analysis import open_store

    analysis = open_store(folder).analysis
    if not len(analysis.runs):
        raise ValueError(f"{folder} has no finished run yet; `byrote status {folder}` says what is missing")
    return analysis


def _verdicts(analysis: "Analysis") -> list[dict[str, Any]]:
    from byrote import claims as family

    return [verdict.to_json() for verdict in family.evaluate(analysis)]


def claims(folder: Path, /, *, json: bool = False) -> int:
    """Judge the papers' claims from the stored runs.

    Parameters
    ----------
    folder
        A store or a results folder.
    json
        Print JSON.
    """
    verdicts = _verdicts(_analysis(folder))
    if json:
        print_json(verdicts)
    else:
        print_table("claims", ("id", "verdict", "statistic", "interval", "bar", "runs", "statement"), verdicts)
    return 0


def figures(folder: Path, /, *, out: Path | None = None, json: bool = False) -> int:
    """Draw every figure the tables allow, as SVG and PDF.

    Parameters
    ----------
    folder
        A store or a results folder.
    out
        Where to (default: FOLDER/figures).
    json
        Print the list of files as JSON.
    """
    from byrote import figures as family

    target = out or folder / "figures"
    drawn = family.draw(_analysis(folder))
    rows = []
    for figure in drawn:
        files = [str(path) for path in family.save(figure, target)]
        rows.append({"figure": figure.name, "title": figure.title, "files": files})
    if json:
        print_json(rows)
    else:
        print_table("figures", ("figure", "title", "files"), rows)
    return 0


def report(folder: Path, /, *, out: Path | None = None) -> int:
    """Write one offline page with verdicts, figures and tables: FOLDER/index.html.

    Parameters
    ----------
    folder
        A store or a results folder.
    out
        Where to (default: FOLDER).
    """
    from byrote import claims as family
    from byrote.report import write_report

    analysis = _analysis(folder)
    verdicts = family.evaluate(analysis)
    target = out or folder
    page = write_report(analysis, verdicts, target)
    write_atomic(target / "verdicts.json", json.dumps([v.to_json() for v in verdicts], indent=1) + "\n")
    say(f"wrote {page}, {target / 'verdicts.json'} and {target / 'figures'}")
    return 0


def compact(folder: Path, /, *, out: Path | None = None) -> int:
    """Join the tables of all runs into one file each, for fast reading and for sharing.

    Parameters
    ----------
    folder
        The store.
    out
        Where to (default: the store itself).
    """
    from byrote.analysis import open_store

    target = open_store(folder).compact(out)
    say(f"wrote the tables of {folder} into {target}")
    return 0
