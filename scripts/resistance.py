"""How many images does a loss need to resist noise? Final readings by noise rate and number of training images.

    python scripts/resistance.py results/small/robust --write results/small/resistance.csv --page docs/resistance.md
    python scripts/resistance.py results/medium/loss-function --write results/medium/resistance.csv \
        --page docs/resistance.md --scale medium

The table covers the setting that was run with the most different numbers of training images. For each loss, noise rate
and number of images per class it gives the mean over seeds, with Student's t interval, of m, a, J1, J2 and the test
accuracy at the last epoch. docs/resistance.md interprets the table.
"""

import argparse
import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import byrote
from byrote.analysis import Analysis
from byrote.claims.cells import cells

SIZE = "data.per_class"
READINGS = {
    "m": "corrupted_as_observed",
    "a": "clean_accuracy",
    "J1": "j1",
    "J2": "j2",
    "test accuracy": "test_accuracy",
}
FEWEST = 3  # the page shows rows with at least this many numbers of images
ON_PAGE = ("m", "test accuracy")
COLUMNS = ("images_a_class", "loss", "eta", "reading", "seeds", "value", "low", "high")


def rows(analysis: Analysis) -> Iterator[dict[str, object]]:
    """A row for each number of images, loss, noise rate and reading; m without noise is left out."""
    families = cells(analysis, vary=(SIZE,))
    family = max(families, key=lambda one: (len(one.by(SIZE)), len(one.all)))
    for images, cell in family.by(SIZE).items():
        for loss in cell.losses:
            for rate in sorted(set(cell.at(loss).rates)):
                group = cell.at(loss, rate)
                for name, column in READINGS.items():
                    estimate = group.mean(column).estimate()
                    if estimate.n:
                        numbers = (estimate.n, estimate.value, estimate.low, estimate.high)
                        yield dict(zip(COLUMNS, (images, loss, rate, name, *numbers), strict=True))


def table(rows: Sequence[Mapping[str, object]], reading: str) -> str:
    """One reading as a Markdown table: a row per loss and noise rate with three or more sizes, a column per size.

    >>> row = {"loss": "CE", "eta": 0.4, "reading": "m", "value": 0.99, "low": 0.98, "high": 1.0}
    >>> print(table([{**row, "images_a_class": size} for size in (100, 200, 1000)], "m"))
    | loss | eta | 100 | 200 | 1,000 |
    |---|---|---|---|---|
    | CE | .4 | .990 [.980, 1.000] | .990 [.980, 1.000] | .990 [.980, 1.000] |
    """
    cells = {(row["loss"], row["eta"], row["images_a_class"]): row for row in rows if row["reading"] == reading}
    sizes = sorted({int(str(size)) for _, _, size in cells})
    lines = [f"| loss | eta | {' | '.join(f'{size:,}' for size in sizes)} |", f"|---|---|{'---|' * len(sizes)}"]
    for loss, eta in dict.fromkeys((loss, eta) for loss, eta, _ in cells):
        shown = [cells.get((loss, eta, size)) for size in sizes]
        if sum(row is not None for row in shown) < FEWEST:
            continue
        texts = ["" if row is None else _with_ends(row) for row in shown]
        lines.append(f"| {loss} | {f'{eta:g}'.removeprefix('0') or '0'} | {' | '.join(texts)} |")
    return "\n".join(lines)


def _with_ends(row: Mapping[str, object]) -> str:
    value, low, high = (f"{float(str(row[name])):.3f}".replace("0.", ".", 1) for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", type=Path, required=True)
    parser.add_argument("--page", type=Path, help="replace the tables of m and test accuracy on this page")
    parser.add_argument("--scale", default="small", help="the scale in the marks of the tables on the page")
    options = parser.parse_args()
    readings = list(rows(byrote.open(options.folder).analysis))
    with options.write.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(readings)
    if options.page is not None:
        text = options.page.read_text("utf-8")
        for reading in ON_PAGE:
            name = f"{reading}, {options.scale}"
            head, _, rest = text.partition(f"<!-- {name} -->")
            tail = rest.partition(f"<!-- end {name} -->")[2]
            text = f"{head}<!-- {name} -->\n{table(readings, reading)}\n<!-- end {name} -->{tail}"
        options.page.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
