"""How many images until a loss resists: what each loss ends with, by noise rate and number of training images.

    python scripts/resistance.py results/medium/loss-function --write results/medium/resistance.csv

Of the setting that was run at most sizes: the mean over seeds of m, a, J1, J2 and the test accuracy at the last epoch,
with Student's interval, for each loss, noise rate and number of images a class. docs/resistance.md reads it.
"""

import argparse
import csv
from collections.abc import Iterator
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
COLUMNS = ("images_a_class", "loss", "eta", "reading", "seeds", "value", "low", "high")


def rows(analysis: Analysis) -> Iterator[dict[str, object]]:
    """One row a number of images, loss, noise rate and reading; m without noise is left out."""
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


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", type=Path, required=True)
    options = parser.parse_args()
    with options.write.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows(byrote.open(options.folder).analysis))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
