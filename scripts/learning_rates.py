"""Choose the learning rate of each loss in a part of a study by one procedure, without noise in the labels.

    python scripts/learning_rates.py loss-function ten-class --scale medium --per-class 1000 \
        --grid 0.01 0.03 0.1 0.3 --write results/medium/learning_rates.csv

Each loss of the part is trained once at each rate of the grid, without noise, on the first data set of the part and
with a seed that no study uses. The rate with the lowest training loss after the last epoch is chosen, or the smallest
of these rates if there are several. The choices are copied into the study by hand, and
`tests/scripts/test_learning_rates.py` checks that the study agrees with the table.
"""

import argparse
import csv
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from byrote import Experiment, Study
from byrote.training import train

SEED = 1000  # a seed that no study uses
LR = "training.optimizer.lr"
COLUMNS = ("study", "part", "scale", "images_a_class", "loss", "lr", "train_loss", "j1", "chosen")
Row = dict[str, object]


def members(study: str, part: str, scale: str, per_class: int | None) -> list[Experiment]:
    """One experiment for each loss of the part, at eta 0, on the first data set of the part, with the special seed."""
    overrides = {"noise.rate": 0.0, "seed": SEED} | ({} if per_class is None else {"data.per_class": per_class})
    experiments = [one for name, one in Study.load(study).experiments(scale, overrides) if name == part]
    if not experiments:
        raise ValueError(f"study {study!r} has no part {part!r} at scale {scale!r}")
    by_loss = {one.loss.digest(): one for one in reversed(experiments) if one.data == experiments[0].data}
    return [by_loss[digest] for digest in dict.fromkeys(one.loss.digest() for one in experiments)]


def at_rate(experiment: Experiment, lr: float) -> Experiment:
    """The same experiment with a different learning rate, evaluated only after the last epoch."""
    training = experiment.training
    optimizer = training.optimizer.replace(lr=lr)
    return experiment.replace(training=training.replace(optimizer=optimizer, evaluate_every=training.epochs))


def tried(experiment: Experiment, grid: Sequence[float]) -> list[Row]:
    """The training loss and J1 of an experiment after the last epoch at each rate; None if the run diverged."""
    rows: list[Row] = []
    for lr in grid:
        (run,) = train([at_rate(experiment, lr)])
        done = run.status == "done"
        numbers = {name: float(run.history[name][-1]) if done else None for name in ("train_loss", "j1")}
        rows.append({"loss": run.facts["loss"], "lr": lr, **numbers})
    return rows


def chosen(rows: Sequence[Row]) -> float:
    """The rate with the lowest training loss, or the smallest of these rates if there are several.

    >>> chosen([{"lr": 0.1, "train_loss": 0.2}, {"lr": 0.3, "train_loss": None}, {"lr": 0.01, "train_loss": 0.2}])
    0.01
    """
    finite = [(float(str(row["train_loss"])), float(str(row["lr"]))) for row in rows if row["train_loss"] is not None]
    if not finite:
        raise ValueError("every rate of the grid diverged; choose a grid with smaller rates")
    return min(finite)[1]


def written(rows: Iterable[Row], path: Path) -> None:
    """The text of a CSV file with these rows."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("part")
    parser.add_argument("--scale", default="")
    parser.add_argument("--per-class", type=int, help="images per class (default: as in the part)")
    parser.add_argument("--grid", type=float, nargs="+", default=[0.01, 0.03, 0.1, 0.3])
    parser.add_argument("--write", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[Row] = []
    for experiment in members(options.study, options.part, options.scale, options.per_class):
        own = tried(experiment, options.grid)
        best = chosen(own)
        about = {"study": options.study, "part": options.part, "scale": options.scale}
        about["images_a_class"] = options.per_class or getattr(experiment.data, "per_class", "")
        rows += [{**about, **row, "chosen": int(row["lr"] == best)} for row in own]
        print(f"{own[0]['loss']}: {best:g}", file=sys.stderr)
        written(rows, options.write)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
