"""Does training in bfloat16 change the measures by less than a different seed does?

    python scripts/precision.py results/small/precision [--write docs/precision.md]

For each setting, loss and rate, the script compares the mean over seeds of (bf16 - fp32), paired by seed, with the seed
spread, which is the standard deviation of the fp32 runs over seeds. The last line states how many comparisons are
within one seed spread.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import byrote
from byrote.table import Table

MEASURES = ("j1", "j2", "mem_mean", "mem_noise_weighted_relative", "nc1_test")
_FIELD = "training.precision"
FLOOR = {"j1": 0.002, "j2": 0.002}  # the least spread, which is the share of a few samples


@dataclass(frozen=True)
class Shift:
    """The change of one measure in one cell due to bf16."""

    cell: str
    measure: str
    seeds: int
    fp32: float
    shift: float
    spread: float

    @property
    def within(self) -> bool:
        """Whether the mean shift is smaller than the spread over seeds."""
        return abs(self.shift) < self.spread


def shifts(history: Table) -> list[Shift]:
    """All comparisons for which there are runs. `history` has a row for each run and epoch, see `Analysis.table`."""
    last = history.final().where(collapsed=False)
    comparisons = []
    for (classes, loss, rate), cell in last.groups("num_classes", "loss", "rate"):
        single, half = cell.where(**{_FIELD: "fp32"}), cell.where(**{_FIELD: "bf16"})
        seeds = sorted(set(single["seed"].tolist()) & set(half["seed"].tolist()))
        for measure in MEASURES:
            a = np.array([single.where(seed=s)[measure][0] for s in seeds], dtype=np.float64)
            b = np.array([half.where(seed=s)[measure][0] for s in seeds], dtype=np.float64)
            spread = max(float(a.std(ddof=1)), FLOOR.get(measure, 0.01 * abs(float(a.mean()))))
            name = f"{classes} classes, {loss}, eta {rate:g}"
            comparisons.append(Shift(name, measure, len(seeds), float(a.mean()), float((b - a).mean()), spread))
    return comparisons


def page(comparisons: list[Shift]) -> str:
    """The comparisons as a Markdown table."""
    lines = [
        "| cell | measure | seeds | fp32 mean | bf16 - fp32 | spread over seeds | within |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {s.cell} | {s.measure} | {s.seeds} | {s.fp32:.4f} | {s.shift:+.4f} | {s.spread:.4f} | "
        f"{'yes' if s.within else '**no**'} |"
        for s in comparisons
    ]
    return "\n".join(lines)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", type=Path, help="replace the table on this page")
    options = parser.parse_args()
    comparisons = shifts(byrote.open(options.folder).analysis.table())
    table = page(comparisons)
    if options.write is not None:
        head, _, rest = options.write.read_text("utf-8").partition("<!-- table -->")
        _, _, tail = rest.partition("<!-- end -->")
        options.write.write_text(f"{head}<!-- table -->\n{table}\n<!-- end -->{tail}", "utf-8")
    else:
        print(table)
    print(
        f"{sum(s.within for s in comparisons)} of {len(comparisons)} comparisons lie within one seed spread",
        file=sys.stderr,
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
