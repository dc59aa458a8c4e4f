"""Forecast what it would cost to decide each claim of the papers that no study has decided.

    python scripts/open_claims.py --write results/medium/open_claims.csv

A claim is open if, at the largest scale at which it was tested, its verdict is inconclusive in every study. For each of
these studies, the table gives the number of further seeds in the forecast (`byrote claims --power`) and their
core-minutes. The cost of one seed is the time of the runs that the claim used, divided by the number of seeds in the
claim's largest cell. If a hundred more seeds would not decide the claim, the cost is empty.
"""

import argparse
import csv
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import summary

import byrote
from byrote import claims

COLUMNS = ("claim", "study", "scale", "runs", "seeds", "forecast", "more_seeds", "core_minutes_a_seed", "core_minutes")


def open_claims(folders: list[Path]) -> Iterator[tuple[str, list[Path]]]:
    """Each claim that is open at its largest scale, with the folders of the studies at this scale."""
    judged = summary.judged(folders)
    for id in summary.OF_THE_PAPERS:
        tested = [
            f for f in folders if judged[summary.store(f)].get(id, {"verdict": "not tested"})["verdict"] != "not tested"
        ]
        medium = [folder for folder in tested if folder.parent.name == "medium"]
        largest = medium or [folder for folder in tested if folder.name != "demo"] or tested
        if largest and all(judged[summary.store(folder)][id]["verdict"] == "inconclusive" for folder in largest):
            yield id, largest


def cost(verdict: dict[str, Any], about: dict[str, Any]) -> tuple[int, float]:
    """The number of seeds in a claim's largest cell, and the core-minutes of one more seed.

    >>> cost({"runs": 40, "details": [{"seeds": 10}, {"seeds": 5}]}, {"seconds": 6000.0, "planned": 80, "not_run": []})
    (10, 5.0)
    """
    seeds = max(int(row.get("seeds", 0)) for row in verdict["details"])
    share = verdict["runs"] / (about["planned"] - len(about["not_run"]))
    return seeds, round(about["seconds"] / 60 * share / seeds, 2)


def seeds_of(forecast: str) -> int | None:
    """The number of seeds that would decide a claim according to its forecast; None if the forecast names no number.

    >>> seeds_of("12 more seeds would decide it in 81% of cases"), seeds_of("even 100 more seeds would decide it in 5%")
    (12, None)
    """
    match = re.match(r"(\d+) more (?:seed|run)", forecast)
    return int(match[1]) if match else None


def rows(studies: list[Path]) -> Iterator[dict[str, object]]:
    """A row for each open claim and study."""
    for id, folders in open_claims(studies):
        for folder in folders:
            store = byrote.open(folder)
            (verdict,) = claims.evaluate(store.analysis, [id])
            about = json.loads((folder / "about.json").read_text("utf-8"))
            seeds, minutes = cost(verdict.to_json(), about)
            forecast = verdict.power()
            more = seeds_of(forecast)
            total = "" if more is None else round(more * minutes, 1)
            named = (id, folder.name, about["scale"], verdict.runs, seeds, forecast, "" if more is None else more)
            yield dict(zip(COLUMNS, (*named, minutes, total), strict=True))


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, required=True)
    options = parser.parse_args()
    with options.write.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows(summary.folders(summary.RESULTS)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
