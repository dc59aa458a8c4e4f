"""The training engine compared with the strongest simple PyTorch loop, and its share of the processor's peak.

    python benchmarks/peer.py [--json] [--quick] [--precision bf16|fp32] [--rounds N] [--only NAME ...] [--out FILE]

The loop is `anchors/compiled_loop.py`: data in memory, `torch.compile`, autocast, fused SGD, channels last. The loop
and the engine train the same network on the same labels in one process with one thread each, and alternate epoch by
epoch. The unit is processor seconds per run-epoch. Each round gives one ratio; the median, the lowest and the highest
ratio are printed.

In one more epoch of the engine, torch's profiler measures the share of time inside the products and their kernels
(dense chains), or inside oneDNN's convolutions, which both sides call. If everything except the convolutions took no
time, the ratio would be `bound`.

The share of the peak compares a training step of a dense chain with products (128, width) x (width, width). The two
alternate, and the best round of each is used. With `--json` the last line is JSON.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

sys.path.insert(0, str(Path(__file__).resolve().parent))

from anchors.compiled_loop import CompiledLoop
from engine import Case, against_peak, cases, experiments, faster_precision, machine

from byrote import networks
from byrote.training import prepare
from byrote.training.loop import train_epoch
from byrote.training.steps import optimizer_of

WIDTHS = (512, 1024, 2048)  # the widths at which the share of the peak is measured
_INSIDE = {
    "Fused",
    "FusedBackward",
    "aten::convolution_backward",
    "aten::mkldnn_convolution",
}  # the names of operations in the profiler


def turns(case: Case, precision: str, rounds: int) -> list[tuple[float, float]]:
    """Processor seconds per epoch of the loop and of the engine, in turns, after one epoch of each for compilation."""
    members = experiments(case, precision, 100)[:1]
    cohort = prepare(members)
    optimizer = optimizer_of(cohort.network, [e.training for e in members])
    images, first = cohort.train.images, members[0]
    module = first.network.build(tuple(images.shape[1:]), first.num_outputs, first.generator("weights"))
    loop = CompiledLoop(module, images, cohort.observed[0], precision=precision)
    loop.epoch()
    train_epoch(cohort, optimizer, 0)
    seconds = []
    for epoch in range(1, rounds + 1):
        start = time.process_time()
        loop.epoch()
        middle = time.process_time()
        train_epoch(cohort, optimizer, epoch)
        seconds.append((middle - start, time.process_time() - middle))
    return seconds


def share_inside(case: Case, precision: str) -> float:
    """The share of an epoch's processor time that the engine spends inside dense kernels or convolutions."""
    members = experiments(case, precision, 100)[:1]
    cohort = prepare(members)
    optimizer = optimizer_of(cohort.network, [e.training for e in members])
    train_epoch(cohort, optimizer, 0)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        train_epoch(cohort, optimizer, 1)
    events = profiler.key_averages()
    inside = sum(event.self_cpu_time_total for event in events if event.key in _INSIDE)
    return float(inside / sum(event.self_cpu_time_total for event in events))


def peaks(case: Case, precision: str, quick: bool) -> dict[str, float]:
    """The share of the peak at each width, with the data of `case`."""
    figures: dict[str, float] = {}
    for width in WIDTHS[:1] if quick else WIDTHS:
        wide = Case(str(width), networks.MLP(depth=9, width=width), case.data, 1, 1, 1)
        rate, peak = against_peak(wide, precision, rounds=max(3, 6400 // width))
        figures |= {f"step_gflops_{width}": rate / 1e9, f"peak_gflops_{width}": peak / 1e9}
        figures[f"share_of_peak_{width}"] = rate / peak
        print(f"{width:>10}: {rate / 1e9:.0f} of {peak / 1e9:.0f} GFLOP/s, share {rate / peak:.2f}", flush=True)
    return figures


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--precision", default=faster_precision(), choices=("fp32", "bf16"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", nargs="*", default=None, help="names of cases")
    parser.add_argument(
        "--out", type=Path, default=None, help="also write the numbers and machine details to this file"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    figures: dict[str, float] = {}
    chosen = [case for case in cases(options.quick) if not options.only or case.name in options.only]
    for case in chosen:
        seconds = turns(case, options.precision, options.rounds)
        ratios = [peer / ours for peer, ours in seconds]
        peer, ours = (statistics.median(column) for column in zip(*seconds, strict=True))
        ratio = statistics.median(ratios)
        figures |= {f"peer_{case.name}_s": peer, f"ours_{case.name}_s": ours, f"ratio_{case.name}": ratio}
        figures |= {f"ratio_{case.name}_low": min(ratios), f"ratio_{case.name}_high": max(ratios)}
        inside = share_inside(case, options.precision)
        figures[f"inside_{case.name}"] = inside
        if not isinstance(case.network, networks.MLP):
            figures[f"bound_{case.name}"] = ratio / inside
        print(
            f"{case.name:>10}: peer {peer:.3f} s per run-epoch, ours {ours:.3f} s, "
            f"ratio {ratio:.2f} [{min(ratios):.2f}, {max(ratios):.2f}] in {len(ratios)} turns, {inside:.2f} inside",
            flush=True,
        )
    if not options.only:
        figures |= peaks(chosen[0], options.precision, options.quick)
    figures = {name: round(value, 4) for name, value in figures.items()}
    settings = {"precision": options.precision, "rounds": options.rounds, "load": os.getloadavg()[0]}
    if options.out is not None:
        options.out.write_text(json.dumps(machine() | settings | figures, indent=1) + "\n")
    if options.json:
        print(json.dumps(settings | figures))


if __name__ == "__main__":
    main()
