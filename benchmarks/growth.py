"""How time and memory of training grow with the number of runs in a cohort, the network's width, and the sample size.

    python benchmarks/growth.py [--json] [--precision bf16|fp32] [--rounds N] [--out FILE]

Times are milliseconds per epoch of one run, with one thread, in this process. All sizes of a row take turns, and the
best round of each size is used, because other users of the machine slow down single rounds. Memory is the peak of a new
process, minus its previous level, while it prepares a cohort of width 512 and trains it for two epochs. With `--json`
the last line is JSON.
"""

import argparse
import json
import multiprocessing
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))

from engine import faster_precision, machine
from measures import memory_mb, reset_high_water

from byrote import Experiment, data, losses, networks, noise
from byrote.recipe import SGD, Training
from byrote.training import prepare, train
from byrote.training.loop import train_epoch
from byrote.training.steps import optimizer_of

ROWS = {
    "runs": [{"runs": runs} for runs in (1, 2, 4, 8)],
    "width": [{"width": width} for width in (64, 128, 256, 512)],
    "samples": [{"per_class": per_class} for per_class in (125, 250, 500, 1000)],
}


def cohort_of(precision: str, runs: int = 1, width: int = 128, per_class: int = 1000) -> list[Experiment]:
    """Runs of two classes on an MLP of depth 9."""
    training = Training(
        epochs=2, batch_size=128, precision=precision, optimizer=SGD(lr=0.05, momentum=0.9, weight_decay=0.001)
    )
    images = data.FashionMNISTSubset(classes=(0, 1), per_class=per_class, test_per_class=10)
    network = networks.MLP(depth=9, width=width)
    loss = losses.CrossEntropy()
    return [Experiment(images, noise.Uniform(0.2), loss, network, training, seed=s) for s in range(runs)]


def times(precision: str, sizes: list[dict[str, int]], rounds: int) -> list[float]:
    """Milliseconds per epoch of one run, for each size."""
    ready = []
    for size in sizes:
        cohort = prepare(cohort_of(precision, **size))
        optimizer = optimizer_of(cohort.network, [e.training for e in cohort.experiments])
        train_epoch(cohort, optimizer, 0)
        ready.append((cohort, optimizer))
    best = [float("inf")] * len(sizes)
    for _ in range(rounds):
        for i, (cohort, optimizer) in enumerate(ready):
            start = time.perf_counter()
            train_epoch(cohort, optimizer, 0)
            best[i] = min(best[i], (time.perf_counter() - start) / cohort.size)
    return [1e3 * seconds for seconds in best]


def memory(precision: str, runs: int) -> float:
    """The peak memory of a cohort of width 512 in this process, in MB."""
    torch.set_num_threads(1)
    train(cohort_of(precision, runs=1, width=32)[:1])  # a first cohort loads libraries, kernels and images
    level = reset_high_water()
    cohort = prepare(cohort_of(precision, runs=runs, width=512))
    optimizer = optimizer_of(cohort.network, [e.training for e in cohort.experiments])
    for epoch in range(2):
        train_epoch(cohort, optimizer, epoch)
    return memory_mb("VmHWM") - level


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--precision", default=faster_precision(), choices=("fp32", "bf16"))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument(
        "--out", type=Path, default=None, help="also write the numbers and machine details to this file"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    figures: dict[str, dict[str, float]] = {}
    for row, sizes in ROWS.items():
        milliseconds = times(options.precision, sizes, options.rounds)
        figures[row] = {
            str(next(iter(size.values()))): round(ms, 2) for size, ms in zip(sizes, milliseconds, strict=True)
        }
        print(f"{row:>8}: " + ", ".join(f"{size} {ms} ms" for size, ms in figures[row].items()), flush=True)
    sizes = [size["runs"] for size in ROWS["runs"]]
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        peaks = pool.starmap(memory, [(options.precision, runs) for runs in sizes], chunksize=1)
    figures["memory_mb"] = {str(runs): round(peak, 1) for runs, peak in zip(sizes, peaks, strict=True)}
    print("  memory: " + ", ".join(f"{runs} {mb} MB" for runs, mb in figures["memory_mb"].items()), flush=True)
    if options.out is not None:
        options.out.write_text(json.dumps(machine() | {"precision": options.precision} | figures, indent=1) + "\n")
    if options.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
