"""Update the page of the audit's benchmark: its results beside the bars set in advance, and the verdict on claim C2.

    python scripts/audit_benchmark.py results/benchmarks/audit.csv --fresh results/benchmarks/audit_fresh.csv \
        --summary results/benchmarks/audit.json --write results/benchmarks/c2.json --page docs/audit_benchmark.md

C2: are the suspects of a symmetric loss the mislabeled samples? A cell is a source of samples, a noise law and a rate
above 0; a seed sets noise, folds and weights. In each cell the AUROC of the audit's score minus that of cleanlab's
self-confidence, and the F1 of the audit's suspects minus that of cleanlab's filter, are compared with 0 by the rule of
the claims (`byrote.analysis.decide`). cleanlab uses five cross-validated networks under cross-entropy; the audit uses
two networks under RLL, each trained on one half. Both train the same network.

Three seeds cannot decide a single cell among eighty comparisons. Some cells were therefore run again with new seeds;
these rows are in the fresh table and decide their cells alone. Because the seeds are new, the choice of the cells does
not bias the test.
"""

import argparse
import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from byrote.analysis import Check, Decision, at_least, decide

STATEMENT = "The suspects of a run under a symmetric loss are the mislabeled samples, at least as often as cleanlab's"
KINDS = {"AUROC over cleanlab's": ("auroc", "clean_auroc"), "F1 over cleanlab's": ("f1", "f1_clean")}
FLOOR = 0.001  # the least standard error, because a spread over three seeds may be small by chance
SHOWN = {
    "AUROC": ("auroc", "clean_auroc"),
    "F1": ("f1", "f1_clean"),
    "precision": ("precision", "precision_clean"),
    "recall": ("recall", "recall_clean"),
}
Row = Mapping[str, str]

# The numbers shown from the summary: the label, the name in the summary, and the bar set before the measurement.
BARS: tuple[tuple[str, str, str, float], ...] = (
    ("200 checks: coverage, mean over settings", "checks_coverage_0", ">=", 0.95),
    ("200 checks: coverage, lowest in any setting", "checks_least_coverage_0", ">=", 0.93),
    ("200 checks, reviewer errs in 2%: coverage, mean", "checks_coverage_2", ">=", 0.95),
    ("200 checks, reviewer errs in 5%: coverage, mean", "checks_coverage_5", ">=", 0.95),
    ("half-width divided by that of random sampling, symmetric and pair", "checks_width_contrast", "<=", 0.7),
    ("the same ratio under other noise, largest in any setting", "checks_width_elsewhere_most", "<=", 1.05),
    ("RMSE at rate .05, largest under symmetric and pair", "checks_rmse_0.05", "<=", 0.012),
    ("the same at rate .2", "checks_rmse_0.2", "<=", 0.02),
    ("the same at rate .4", "checks_rmse_0.4", "<=", 0.025),
    ("without checks: coverage of stated intervals", "labels_coverage", ">=", 0.9),
    ("number of stated intervals narrower than .1 that miss", "labels_narrow_missed", "<=", 0.0),
    ("symmetric: bias of the rate", "labels_symmetric_bias", "abs <=", 0.015),
    ("symmetric: mean width of the interval", "labels_symmetric_width", "<=", 0.1),
    ("symmetric at rates above 0: share of audits that abstain", "labels_symmetric_abstains", "<=", 0.1),
    ("AUROC minus cleanlab's, mean over settings", "auroc_over_cleanlab", ">=", 0.03),
    ("AUROC minus cleanlab's, lowest in any setting", "auroc_least", ">=", -0.02),
    ("share of settings and seeds in which the audit's F1 is best", "f1_best_share", ">=", 0.75),
    ("row error of the transition matrix divided by cleanlab's", "t_error_ratio", "<=", 0.6),
    ("processor time of the ranking divided by cleanlab's", "time_ratio_ranking", "<=", 0.45),
    ("processor time of everything divided by cleanlab's", "time_ratio", "<=", 0.7),
)


def read(path: Path) -> list[Row]:
    """Read the rows of a table."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def with_fresh(rows: Sequence[Row], fresh: Sequence[Row]) -> list[Row]:
    """Replace the old rows of cells that have fresh rows, and return all rows.

    Raises:
        ValueError: a fresh row has the same seed as an old row of its cell.
    """
    before = {(*_cell(row), row["seed"]) for row in rows}
    again = [row for row in fresh if (*_cell(row), row["seed"]) in before]
    if again:
        raise ValueError(
            f"expected fresh rows with new seeds, got the old seed {again[0]['seed']} of {_cell(again[0])}"
        )
    chosen = {_cell(row) for row in fresh}
    return [row for row in rows if _cell(row) not in chosen] + list(fresh)


def _cell(row: Row) -> tuple[str, str, str]:
    return row["source"], row["law"], row["rate"]


def cells(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """Yield the name and the rows of each cell with wrong labels."""
    noisy = [row for row in rows if float(row["wrong"]) > 0]
    for source, law, rate in dict.fromkeys(map(_cell, noisy)):
        mine = [row for row in noisy if _cell(row) == (source, law, rate)]
        yield f"{source}, {law}, rate {float(rate):.2g}", mine


def decision(rows: Sequence[Row]) -> Decision:
    """The verdict on all cells."""
    return decide([
        Check(
            name,
            what,
            [float(row[ours]) - float(row[theirs]) for row in mine],
            tuple(row["seed"] for row in mine),
            at_least(0.0),
            floor=FLOOR,
        )
        for name, mine in cells(rows)
        for what, (ours, theirs) in KINDS.items()
    ])  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """A Markdown table with a row for each noise law: means over sources, rates above 0 and seeds, for both tools.

    >>> row = {"source": "mnist", "law": "pair", "rate": ".2", "wrong": ".2", "seed": "0", "auroc": ".99",
    ...     "clean_auroc": ".9", "f1": ".9", "f1_clean": ".8", "precision": ".95", "precision_clean": ".7",
    ...     "recall": ".85", "recall_clean": ".9"}
    >>> print(table([row]))
    | labels | n | AUROC | cleanlab's | F1 | cleanlab's | precision | cleanlab's | recall | cleanlab's |
    |---|---|---|---|---|---|---|---|---|---|
    | pair | 1 | .990 | .900 | .900 | .800 | .950 | .700 | .850 | .900 |
    """
    heads = "".join(f" {name} | cleanlab's |" for name in SHOWN)
    lines = [f"| labels | n |{heads}", f"|---|---|{'---|---|' * len(SHOWN)}"]
    noisy = [row for row in rows if float(row["wrong"]) > 0]
    for law in dict.fromkeys(row["law"] for row in noisy):
        mine = [row for row in noisy if row["law"] == law]
        means = "".join(f" {_mean(mine, column)} |" for pair in SHOWN.values() for column in pair)
        lines.append(f"| {law} | {len(mine)} |{means}")
    return "\n".join(lines)


def _mean(rows: Sequence[Row], column: str) -> str:
    numbers = [number for row in rows if math.isfinite(number := float(row[column]))]
    return f"{fmean(numbers):.3f}".removeprefix("0") if numbers else ""


def bars(summary: Mapping[str, Any]) -> str:
    """A Markdown table with the numbers of the summary beside their bars.

    >>> print(bars({name: 0.5 for _, name, _, _ in BARS}).splitlines()[2])
    | 200 checks: coverage, mean over settings | >= .95 | .500 | no |
    """
    lines = ["| figure | bar | measured | met |", "|---|---|---|---|"]
    for words, name, relation, bar in BARS:
        value = abs(summary[name]) if relation == "abs <=" else summary[name]
        met = value >= bar if relation == ">=" else value <= bar
        ends = (f"{relation} {_short(f'{bar:g}')}", _short(f"{summary[name]:.3f}"), "yes" if met else "no")
        lines.append(f"| {words} | {' | '.join(ends)} |")
    return "\n".join(lines)


def _short(number: str) -> str:
    return number.replace("0.", ".", 1) if number.lstrip("-").startswith("0.") else number


def verdict(rows: Sequence[Row]) -> dict[str, Any]:
    """The verdict as JSON-ready data, one row per check."""
    word = decision(rows)
    return {
        "id": "C2",
        "statement": STATEMENT,
        "bar": "in each cell AUROC and F1 at least those of cleanlab (five folds under cross-entropy)",
        "verdict": str(word),
        "reason": word.reason,
        "pooled": {what: [one.value, one.low, one.high] for what, one in word.pooled.items()},
        "details": [{name: _finite(value) for name, value in row.items()} for row in word.rows()],
    }


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def shown(word: Mapping[str, Any]) -> str:
    """The verdict as one sentence; commas are removed from the names of cells.

    >>> shown({"verdict": "fails", "reason": "low in a, b", "details": [{"cell": "a, b"}]})
    '**C2 fails**: low in a b.'
    """
    reason = word["reason"]
    for cell in {row["cell"] for row in word["details"]}:
        reason = reason.replace(cell, cell.replace(",", ""))
    return f"**C2 {word['verdict']}**: {reason}."


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="the table that `benchmarks/audit.py --table` wrote")
    parser.add_argument("--fresh", type=Path, help="the same table with more seeds for some cells")
    parser.add_argument("--summary", type=Path, required=True, help="the last line that the benchmark printed")
    parser.add_argument("--write", type=Path, required=True, help="the verdict with one row per check, as JSON")
    parser.add_argument("--page", type=Path, required=True, help="replace the tables and the verdict on this page")
    options = parser.parse_args()
    rows, fresh = read(options.table), read(options.fresh) if options.fresh else []
    word = verdict(with_fresh(rows, fresh))
    options.write.write_text(json.dumps(word, indent=1) + "\n", "utf-8")
    text = options.page.read_text("utf-8")
    blocks = {
        "bars": bars(json.loads(options.summary.read_text("utf-8"))),
        "C2": shown(word),
        "table": table(rows),
    }
    for name, block in blocks.items():
        head, _, rest = text.partition(f"<!-- {name} -->")
        text = f"{head}<!-- {name} -->\n{block}\n<!-- end {name} -->{rest.partition(f'<!-- end {name} -->')[2]}"
    options.page.write_text(text, "utf-8")
    print(f"C2 {word['verdict']}: {word['reason']}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
