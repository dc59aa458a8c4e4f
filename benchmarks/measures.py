"""The time and memory of the measures, compared with plain implementations on the same machine.

    python benchmarks/measures.py [--json] [--rows 1000000]

- NC1 of 50,000 x 2048 float32 features in 100 classes against `anchors/nc1_pinv.py` (two passes, M x M matrices,
  `pinv`): how many times faster, and the relative difference of the two values.
- NC1 of 1,000,000 x 2048 float32 features in 1,000 classes, streamed by a fresh process: the rise of its peak
  resident memory above the level before the first update (which includes the batch), and its time as a share of a bare
  float64 X^T X over the same chunks. A second process computes these products in turns with the first.
- The time of one epoch of the per-sample trackers for 50,000 samples x 100 classes.
- The time of an `Observer` for 30,000 training and 10,000 test samples x 2048 features in 1,000 classes, without
  forward passes: all readings relative to NC1 of training plus test data, and `readings=("j1", "nc1_test")` relative to
  NC1 of the test data. Each time is the smallest of five, because other programs can only add to it. Times are
  processor seconds of one thread, and the measurements take turns.

With `--json` the last line is {nc1_speedup, nc1_relative_difference, stream_peak_mb, stream_share_of_product,
all_readings_in_nc1, chosen_readings_in_nc1}.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

import torch
from anchors.nc1_pinv import nc1_pinv

from byrote.measures import ClassMoments, Observer, SampleHistory, nc1

T = TypeVar("T")
WIDTH, CHUNK = 2048, 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--rows", type=int, default=1_000_000, help="number of rows of the streamed features")
    parser.add_argument("--threads", type=int, default=1, help="number of torch threads, for both sides")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    say = sys.stderr if arguments.json else sys.stdout

    speedup, difference = against_pinv()
    print(f"NC1, 50,000 x {WIDTH}, 100 classes: {speedup:.1f} times faster than pinv, "
          f"relative difference {difference:.1e}", file=say, flush=True)  # fmt: skip
    peak, share = streamed(arguments.rows, arguments.threads)
    print(f"NC1, {arguments.rows:,} x {WIDTH}, 1,000 classes, streamed: {peak:.0f} MB beyond the batch, "
          f"{share:.2f} of a bare float64 X^T X", file=say, flush=True)  # fmt: skip
    print(f"trackers, 50,000 x 100: {1e3 * tracked():.0f} ms an epoch", file=say, flush=True)
    every, chosen = observed()
    print(f"Observer, 1,000 classes x {WIDTH}: all readings take {every:.2f} times as long as NC1 of training and "
          f"test data, j1 and nc1_test {chosen:.2f} times NC1 of test data", file=say, flush=True)  # fmt: skip
    if arguments.json:
        figures = {
            "nc1_speedup": round(speedup, 2),
            "nc1_relative_difference": difference,
            "stream_peak_mb": round(peak, 1),
            "stream_share_of_product": round(share, 3),
            "all_readings_in_nc1": round(every, 3),
            "chosen_readings_in_nc1": round(chosen, 3),
        }
        print(json.dumps(figures))


def against_pinv(size: int = 50_000, num_classes: int = 100, repeats: int = 2) -> tuple[float, float]:
    """The speedup of `nc1` over `nc1_pinv` (best of `repeats`, in turns), and the relative difference of the values."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(num_classes).repeat(size // num_classes)
    features = torch.randn(size, WIDTH, generator=generator)
    features += torch.randn(num_classes, WIDTH, generator=generator)[labels]
    times, values = {}, {}
    for _ in range(repeats):
        for function in (nc1, nc1_pinv):
            values[function], seconds = timed(lambda function=function: function(features, labels, num_classes))
            times[function] = min(seconds, times.get(function, seconds))
    return times[nc1_pinv] / times[nc1], abs(values[nc1] / values[nc1_pinv] - 1)


def streamed(rows: int, threads: int) -> tuple[float, float]:
    """The peak memory of the streaming process in MB, and its time as a share of the time of the bare product."""
    context = multiprocessing.get_context("spawn")
    ends = []
    for work in (stream_process, product_process):
        here, there = context.Pipe()
        context.Process(target=work, args=(there, threads), daemon=True).start()
        ends.append(here)
    totals = [0.0, 0.0]
    for number in [*range(-(-rows // CHUNK)), None]:  # None: finish
        size = 0 if number is None else min(CHUNK, rows - number * CHUNK)
        for k, end in enumerate(ends):
            end.send((number, size))
            totals[k] += end.recv()
    return ends[0].recv(), totals[0] / totals[1]


def stream_process(pipe: Connection, threads: int) -> None:
    """For each chunk's number, send the seconds of its update; finally send the seconds of NC1 and the peak in MB."""
    torch.set_num_threads(threads)
    batch = Batch()

    def chunks() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        while (request := pipe.recv())[0] is not None:
            chunk = batch.fill(*request)
            start = time.perf_counter()
            yield chunk
            pipe.send(time.perf_counter() - start)
        chunks.ended = time.perf_counter()

    level = reset_high_water()
    value = nc1(ClassMoments.stream(chunks(), 1000), convention="pooled")
    if not value > 0:
        raise RuntimeError(f"NC1 of the streamed features must be positive, got {value}")
    pipe.send(time.perf_counter() - chunks.ended)
    pipe.send(memory_mb("VmHWM") - level)


def product_process(pipe: Connection, threads: int) -> None:
    """For each chunk's number, send the seconds of a bare float64 X^T X of the chunk."""
    torch.set_num_threads(threads)
    batch = Batch()
    while (request := pipe.recv())[0] is not None:
        features = batch.fill(*request)[0].to(torch.float64)
        pipe.send(timed(lambda features=features: features.T @ features)[1])
    pipe.send(0.0)


class Batch:
    """Chunks computed on demand in one buffer: Gaussian clouds around 1,000 class means, equal in both processes."""

    def __init__(self) -> None:
        self._centers = torch.randn(1000, WIDTH, generator=torch.Generator().manual_seed(0))
        self._buffer = torch.ones(CHUNK, WIDTH)  # the buffer is written once, so that it is resident from the start
        self.fill(0, CHUNK)

    def fill(self, number: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(number + 1)
        labels = torch.randint(1000, (size,), generator=generator)
        features = self._buffer[:size].normal_(generator=generator)
        for rows in range(0, size, 128):
            features[rows : rows + 128] += self._centers[labels[rows : rows + 128]]
        return features, labels


def tracked(size: int = 50_000, num_classes: int = 100) -> float:
    """Seconds of one epoch of the per-sample trackers."""
    generator = torch.Generator().manual_seed(0)
    true, observed = (torch.randint(num_classes, (size,), generator=generator) for _ in range(2))
    logits = torch.randn(size, num_classes, generator=generator)
    history = SampleHistory.start(true, observed).after(1, logits)
    return min(timed(lambda: history.after(2, logits))[1] for _ in range(5))


def observed(train: int = 30_000, test: int = 10_000, num_classes: int = 1000, repeats: int = 5) -> tuple[float, float]:
    """The processor time of an Observer relative to NC1 of both sets (all readings) and of test data (two readings)."""
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(num_classes, WIDTH, generator=generator)
    sets = []
    for size in (train, test):
        labels = torch.arange(size) % num_classes
        sets.append((torch.randn(size, WIDTH, generator=generator).add_(centers[labels]), labels))
    (features, true), (test_features, test_true) = sets
    noisy = torch.where(torch.rand(train, generator=generator) < 0.2, (true + 1) % num_classes, true)
    batches = [list(zip(h.split(1000), y.split(1000), strict=True)) for h, y in ((features, noisy), sets[1])]
    model = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Linear(WIDTH, num_classes))

    @torch.no_grad()
    def forward() -> None:
        for h, _ in batches[0] + batches[1]:
            model(h)

    def evaluate(readings: tuple[str, ...] | None) -> None:
        with Observer(model, true, num_classes, readings=readings) as observer:
            observer.evaluate(1, *batches)

    work: dict[str, Callable[[], object]] = {
        "passes": forward,
        "test": lambda: nc1(test_features, test_true, num_classes),
        "chosen": lambda: evaluate(("j1", "nc1_test")),
        "train": lambda: nc1(features, noisy, num_classes),
        "every": lambda: evaluate(None),
    }
    least = dict.fromkeys(work, float("inf"))
    for _ in range(repeats):
        for name, function in work.items():
            least[name] = min(least[name], processor_seconds(function))
    every, chosen = (least[name] - least["passes"] for name in ("every", "chosen"))
    return every / (least["train"] + least["test"]), chosen / least["test"]


def processor_seconds(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def timed(function: Callable[[], T]) -> tuple[T, float]:
    start = time.perf_counter()
    value = function()
    return value, time.perf_counter() - start


def reset_high_water() -> float:
    """Return the resident MB, and reset the peak to this level, so that earlier peaks (of imports) do not count."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory_mb("VmRSS")


def memory_mb(field: str) -> float:
    """A memory field of this process from /proc (Linux), in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


if __name__ == "__main__":
    main()
