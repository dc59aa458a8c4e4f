"""Markdown tables of all committed verdicts beside the results of the papers, and of the cost of each committed study.

    python scripts/summary.py             print them
    python scripts/summary.py --write     put them into docs/studies.md, docs/claims.md and docs/findings.md

The script reads results/demo, results/small/* and results/medium/* (the verdicts that `byrote report` wrote, and the
tables of runs) and results/theory (the claims that need no run, from `byrote claims --theory --json`).
"""

import argparse
import json
from pathlib import Path
from typing import Any

import byrote
from byrote.claims import registered

RESULTS = Path(__file__).resolve().parent.parent / "results"
THEORY = RESULTS / "theory"
_ALONE = "theory alone"  # the name of the column for claims that need no run
OF_THE_PAPERS = (*(f"A{n}" for n in range(2, 6)), "A5r", "A6", "A7", "A8", *(f"A{n}" for n in range(10, 16)))
OF_THE_PAPERS += (*(f"B{n}" for n in range(1, 8)), "B9", "B10")
_DEMO = "A2"  # the demo decides the only claim that no study at scale `small` can decide
# the ten verdicts that tests/results/test_recomputed.py recomputes in plain NumPy
_TWICE = {
    "memorization-dilation": ("A5", "A5r", "A6", "A11", "A12"),
    "loss-function": ("B2", "B3", "B6", "B7"),
    "robust": ("C4",),
}


def folders(root: Path) -> list[Path]:
    """The folders of the stores with verdicts; the demo is first."""
    stores = [path.parent for path in root.rglob("verdicts.json") if (path.parent / "about.json").is_file()]
    return sorted(stores, key=lambda folder: (folder.name != "demo", folder.name, folder.parent.name != "small"))


def store(folder: Path) -> str:
    """The name of a store on a page: the name of the study, and its scale if this is not `small`."""
    scale = folder.parent.name
    return f"{folder.name} {scale}" if scale == "medium" else folder.name


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _with_ends(value: float | None, ends: list[float | None] | None) -> str:
    if ends is None:
        return _number(value)
    low, high = map(_number, ends)
    return f"{_number(value)} [{low or '-inf'}, {high or 'inf'}]"


def _numbers(verdict: dict[str, Any]) -> str:
    """The means over cells of all kinds of checks, because any kind may be the reason that the claim fails."""
    kinds = [f"{kind} {_with_ends(value, ends)}" for kind, (value, *ends) in verdict["pooled"].items()]
    return "; ".join(kinds) if kinds else _with_ends(verdict["statistic"], verdict["interval"])


def _word(verdict: dict[str, Any]) -> str:
    """The word of a verdict, in bold if the claim is decided: `**holds** except in 2 of 12 cells`."""
    word: str = verdict["verdict"]
    for decided in ("holds", "fails"):
        if word.startswith(decided):
            return f"**{decided}**{word.removeprefix(decided)}"
    return word


def cell(verdict: dict[str, Any] | None) -> str:
    """A verdict in a few words: `**holds** m .98 [.97, .99], 40 runs`."""
    if verdict is None or verdict["verdict"] == "not tested":
        return ""
    return " ".join(filter(None, (_word(verdict), _numbers(verdict)))) + f", {verdict['runs']} runs"


def judged(stores: list[Path]) -> dict[str, dict[str, dict[str, Any]]]:
    """The verdicts by claim for each study, and finally for theory alone."""
    named = {store(folder): folder for folder in stores} | {_ALONE: THEORY}
    paths = {name: folder / "verdicts.json" for name, folder in named.items()}
    return {name: {one["id"]: one for one in json.loads(path.read_text("utf-8"))} for name, path in paths.items()}


def verdicts(stores: list[Path]) -> str:
    """A table with a row per claim, a column per committed study, and a column for theory."""
    by_study = judged(stores)
    lines = [f"| claim | published | {' | '.join(by_study)} |", f"|---|---|{'---|' * len(by_study)}"]
    for claim in registered():
        cells = [cell(known.get(claim.id)) for known in by_study.values()]
        if any(cells):
            lines.append(f"| {claim.id}: {claim.statement} | {claim.published or ''} | {' | '.join(cells)} |")
    return "\n".join(lines)


def costs(stores: list[Path]) -> str:
    """A table of the cost of each committed study."""
    lines = ["| study | scale | runs | not run here | core-minutes | machine |", "|---|---|---|---|---|---|"]
    for folder in stores:
        about = json.loads((folder / "about.json").read_text())
        machine, missing = about["machine"], len(about["not_run"])
        runs = int((byrote.open(folder).results.runs["status"] == "done").sum())
        where = f"{machine['processors']} cores, {machine['machine']}, torch {machine['torch']}"
        cells = (about["study"], about["scale"] or "-", runs, missing, f"{about['seconds'] / 60:.0f}", where)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def claims_table() -> str:
    """A table of all claims with their bars."""
    heads = ("id", "statement", "bar", "interval", "cells", "needs at least", "premise", "published")
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for one in registered():
        row = (one.id, one.statement, one.bar, one.method, one.cells, one.minimum, one.premise, one.published or "")
        lines.append(f"| {' | '.join(map(str, row))} |")
    return "\n".join(lines)


def rows_computed_twice(stores: list[Path]) -> list[tuple[str, str, dict[str, Any]]]:
    """The id, the study and the verdict for each verdict that a test recomputes."""
    by_study = judged(stores)
    return [(id, study, by_study[study][id]) for study, ids in _TWICE.items() for id in ids]


def words(stores: list[Path]) -> str:
    """A table of the ten recomputed verdicts with their numbers."""
    heads = ("claim", "study", "statement", "verdict", "mean over cells, 95% interval", "runs")
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for id, study, verdict in rows_computed_twice(stores):
        cells = (id, study, verdict["statement"], _word(verdict), _numbers(verdict), verdict["runs"])
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def by_scale(stores: list[Path]) -> str:
    """A table with a row per claim: the word and first estimate of each study by scale, and the words by data set."""
    lines = ["| claim | small | medium | by data set at the largest scale |", "|---|---|---|---|"]
    every = judged(stores)
    for id in OF_THE_PAPERS:
        cells: dict[str, list[str]] = {"small": [], "medium": []}
        sets: dict[str, list[str]] = {"small": [], "medium": []}
        for folder in stores:
            verdict = every[store(folder)].get(id)
            if verdict is None or verdict["verdict"] == "not tested" or (folder.name == "demo" and id != _DEMO):
                continue
            scale = "medium" if folder.parent.name == "medium" else "small"
            number = _with_ends(verdict["statistic"], verdict["interval"])
            cells[scale].append(f"{folder.name}: {_word(verdict)} {number}")
            named = "; ".join(f"{name} {word}" for name, word in verdict["by_dataset"].items())
            sets[scale].append(f"{folder.name}: {named or verdict['verdict']}")
        largest = sets["medium"] or sets["small"]
        lines.append(
            f"| {id} | {'<br>'.join(cells['small'])} | {'<br>'.join(cells['medium'])} | {'<br>'.join(largest)} |"
        )
    return "\n".join(lines)


def tables(stores: list[Path]) -> dict[str, dict[str, str]]:
    """The tables of each page, by the name that marks the place of the table on the page."""
    return {
        "docs/claims.md": {"claims": claims_table()},
        "docs/studies.md": {"costs": costs(stores), "words": words(stores), "verdicts": verdicts(stores)},
        "docs/findings.md": {"scales": by_scale(stores)},
    }


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="replace the tables on their pages")
    options = parser.parse_args()
    for page, named in tables(folders(RESULTS)).items():
        path = RESULTS.parent / page
        text = path.read_text("utf-8")
        for name, table in named.items():
            if not options.write:
                print(table, end="\n\n")
            head, _, rest = text.partition(f"<!-- {name} -->")
            text = f"{head}<!-- {name} -->\n{table}\n<!-- end {name} -->{rest.partition(f'<!-- end {name} -->')[2]}"
        if options.write:
            path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
