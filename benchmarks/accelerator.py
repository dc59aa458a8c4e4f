"""The engine on a GPU, compared with a plain PyTorch loop and with the device's roofline, and the hours for Figure 1.

    python benchmarks/accelerator.py [--json] [--device cuda] [--precision bf16|fp32] [--runs 16] [--width 2048]
                                     [--epochs N] [--pairs N] [--out FILE]

Network and image size are those of MD's Figure 1: nine blocks, M = 2, 3 x 32 x 32 pixels, batch 128. The data are 4,000
images of the embedded Fashion-MNIST. "Plain" is `anchors/plain_loop.py` on the device: one run at a time, float32
without TF32 (torch's default), with batches moved to the device one by one. "Ours" is `train_epoch` of a prepared
cohort, as called by an executor's worker. The cohort has 200 epochs, so the step is compiled if a real run would
compile it. The two alternate in this process, and the median ratio is printed. The device is synchronized before each
reading of the clock. With `--json` the last line is JSON.

The roofline of a step assumes 6 x 128 FLOP per weight (4 x 128 in the first layer, whose input needs no gradient) and
BYTES bytes of memory traffic per weight; activations are left out. The two limits of the roofline are measured in turns
with the step: batched products (runs, 128, width) x (runs, width, width), and two reads and a write of memory larger
than any cache. The best round of each is used.

Figure 1 here means the runs of the study `memorization-dilation` at scale `paper`, with four losses. Their hours are
the measured seconds, scaled by the ratio of multiply-adds (the network is the same, so only the number of samples
differs), plus the evaluations and the extra time of the first epoch of every cohort.
"""

import argparse
import json
import math
import statistics
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))

from anchors.plain_loop import plain_epochs
from engine import Case, experiments, machine, step_flop

from byrote import Study, data, networks
from byrote.engine import EnsembleOptimizer
from byrote.sweep.cost import training_cost
from byrote.training import prepare
from byrote.training.cohort import Cohort
from byrote.training.evaluate import answers, snapshots
from byrote.training.loop import train_epoch
from byrote.training.record import Record
from byrote.training.steps import optimizer_of

BATCH, EPOCHS = 128, 200
# bytes per weight and step: the operand is read forward and backward, the gradient is written and read, momentum and
# weight are read and written, and in bfloat16 the narrowed copy is written
BYTES = {"bf16": 2 + 2 + 2 + 2 + 8 + 8 + 2, "fp32": 4 + 4 + 4 + 4 + 8 + 8}
FIGURE = ("figure-1", "figure-1-other-losses")
SAMPLES = {"mnist": 12_665, "fashion_mnist": 12_000, "cifar10": 10_000, "svhn": 18_809}  # images of classes 0 and 1


def case_of(width: int, runs: int, per_class: int) -> Case:
    """The runs to train."""
    images = data.FashionMNISTSubset(classes=(0, 1, 2, 3), per_class=per_class, test_per_class=200, preprocessing="md")
    return Case(str(width), networks.MLP(depth=9, width=width, feature_width=2), images, runs, 1, 1)


def now(device: torch.device) -> float:
    """The time in seconds after the device has finished all queued work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def in_turns(cohort: Cohort, optimizer: EnsembleOptimizer, epochs: int, pairs: int) -> list[tuple[float, float]]:
    """Seconds per run-epoch of the plain loop and of the engine."""
    first, device = cohort.experiments[0], cohort.device
    images, labels = first.data.load("train").images, cohort.observed[0].cpu()
    module = first.network.build(tuple(images.shape[1:]), first.num_outputs, first.generator("weights"))
    plain_epochs(module, images[: 2 * BATCH], labels[: 2 * BATCH], 1, device=device)
    seconds: list[tuple[float, float]] = []
    for _ in range(pairs):
        start = now(device)
        plain_epochs(module, images, labels, 1, lr=0.05, device=device)
        middle = now(device)
        for epoch in range(epochs):
            train_epoch(cohort, optimizer, epoch)
        seconds.append((middle - start, (now(device) - middle) / (epochs * cohort.size)))
    return seconds


def corners(cohort: Cohort, optimizer: EnsembleOptimizer, width: int, rounds: int) -> tuple[float, float, float]:
    """The best of several rounds: seconds of an epoch, FLOP/s of batched products, and bytes/s of memory."""
    device, bf16 = cohort.device, cohort.experiments[0].training.precision == "bf16"
    dtype = torch.bfloat16 if bf16 else torch.float32
    a = torch.randn(cohort.size, BATCH, width, device=device, dtype=dtype)
    b = torch.randn(cohort.size, width, width, device=device, dtype=dtype)
    x, y = torch.ones(2, (64 if device.type == "cuda" else 4) << 20, device=device).unbind()
    epoch = product = sweep = math.inf
    torch.bmm(a, b)
    for _ in range(rounds):
        start = now(device)
        train_epoch(cohort, optimizer, 0)
        trained = now(device)
        for _ in range(40):
            torch.bmm(a, b)
        multiplied = now(device)
        for _ in range(5):
            x.add_(y)
        swept = now(device)
        epoch, product = min(epoch, trained - start), min(product, (multiplied - trained) / 40)
        sweep = min(sweep, (swept - multiplied) / 5)
    return epoch, 2 * a.numel() * width / product, 3 * 4 * x.numel() / sweep


def roofline(case: Case, precision: str, epoch: float, peak: float, memory: float) -> dict[str, float]:
    """The FLOP rate that the roofline allows for a step, and the rate that the step reaches."""
    images = case.data.load("train").images
    module = case.network.build(tuple(images.shape[1:]), case.data.num_classes, torch.Generator())
    weights = sum(p.numel() for p in module.parameters() if p.dim() == 2)
    flop = step_flop(case) / len(images) / weights * BATCH
    bound = min(peak, memory * flop / BYTES[precision])
    rate = case.runs * step_flop(case) / epoch
    return {
        "flop_a_weight": flop,
        "bytes_a_weight": float(BYTES[precision]),
        "peak_tflops": peak / 1e12,
        "bandwidth_gbs": memory / 1e9,
        "roofline_tflops": bound / 1e12,
        "step_tflops": rate / 1e12,
        "share_of_roofline": rate / bound,
        "share_of_peak": rate / peak,
    }


def shares(cohort: Cohort, training: float) -> dict[str, float]:
    """The cost of measuring after every epoch, as shares of `training`, the seconds of one training epoch."""
    rounds: list[tuple[float, float]] = []
    for _ in range(3):
        start = now(cohort.device)
        answers(cohort, cohort.train.images)
        answers(cohort, cohort.test.images)
        middle = now(cohort.device)
        for snapshot in snapshots(cohort):
            Record().note(snapshot, 1, 0.0)
        rounds.append((middle - start, now(cohort.device) - middle))
    passes, whole = (min(column) for column in zip(*rounds, strict=True))
    return {"evaluation_share": passes / training, "measuring_share": max(whole - passes, 0.0) / training}


def figure_1(case: Case, ours: float, extra: float, first_epoch: float) -> dict[str, float]:
    """How many runs Figure 1 has, and how many hours this device needs for them.

    Args:
        ours: the measured seconds per run-epoch.
        extra: the cost of an evaluation, as a share of an epoch.
        first_epoch: how many seconds longer the first epoch of a cohort takes than other epochs.
    """
    planned = [e for part, e in Study.load("memorization-dilation").experiments("paper") if part in FIGURE]
    images = case.data.load("train").images
    here = experiments(case, "fp32", EPOCHS)[0]
    a_unit = ours * EPOCHS / training_cost(here, tuple(images.shape))  # seconds
    seconds = 0.0
    for e in planned:
        wide = e.replace(network=case.network)
        cost = training_cost(wide, (SAMPLES[e.data.kind], *images.shape[1:]))
        seconds += cost * a_unit * (1 + extra / e.training.evaluate_every)
    cohorts = math.ceil(len(planned) / case.runs)
    return {"figure1_runs": len(planned), "figure1_hours": (seconds + cohorts * first_epoch) / 3600}


def check(cohort: Cohort) -> None:
    """Check that the timed runs were trained: the J1 of the first run must equal the J1 of its exported network."""
    images, observed = cohort.train.images, cohort.observed[0].cpu()
    _, logits = answers(cohort, images)
    twin = cohort.network.run_module(0).eval()
    with torch.no_grad():
        wanted = (twin(images.cpu()).argmax(1) == observed).double().mean()
    share = (logits[0].argmax(1).cpu() == observed).double().mean()
    if not abs(share - wanted) <= 0.02:
        raise RuntimeError(f"the engine reports J1 {share}, but its exported module has J1 {wanted}")


def measured(case: Case, options: argparse.Namespace, device: torch.device) -> dict[str, float]:
    """All numbers of the benchmark."""
    members = experiments(case, options.precision, EPOCHS)
    cohort = prepare(members, device)
    optimizer = optimizer_of(cohort.network, [e.training for e in cohort.experiments])
    start = now(device)
    train_epoch(cohort, optimizer, 0)
    begun = now(device) - start
    pairs = in_turns(cohort, optimizer, options.epochs, options.pairs)
    plain, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    figures = {"plain_s": plain, "ours_s": ours, "ratio": statistics.median(p / o for p, o in pairs)}
    epoch, peak, memory = corners(cohort, optimizer, options.width, options.rounds)
    figures |= roofline(case, options.precision, epoch, peak, memory) | shares(cohort, epoch)
    figures["first_epoch_s"] = max(begun - epoch, 0.0)
    extra = figures["evaluation_share"] + figures["measuring_share"]
    figures |= figure_1(case, ours, extra, figures["first_epoch_s"])
    check(cohort)
    if device.type == "cuda":
        figures["memory_gb"] = torch.cuda.max_memory_allocated(device) / 1e9
    return figures


def usable(name: str) -> torch.device:
    """Return the device, or end the script with a message and exit code 2 if the device cannot be used."""
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        print(f"--device {name} cannot be used: {str(error).splitlines()[0]}", file=sys.stderr)
        raise SystemExit(2) from None
    return torch.device(name)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", default="bf16", choices=("fp32", "bf16"))
    parser.add_argument("--runs", type=int, default=16, help="number of runs in the cohort")
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--per-class", type=int, default=1000, help="number of images of each of the four classes")
    parser.add_argument(
        "--epochs", type=int, default=5, help="epochs of the cohort per turn (the plain loop trains one epoch)"
    )
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=10, help="number of rounds of step, products and memory")
    parser.add_argument(
        "--out", type=Path, default=None, help="also write the numbers and machine details to this file"
    )
    options = parser.parse_args()
    device = usable(options.device)
    case = case_of(options.width, options.runs, options.per_class)
    figures = {name: float(f"{value:.5g}") for name, value in measured(case, options, device).items()}
    names = ("precision", "runs", "width", "epochs", "pairs", "per_class")
    settings = {"device": options.device} | {name: getattr(options, name) for name in names}
    if device.type == "cuda":
        settings |= {"accelerator": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
    print("plain {plain_s:.4g} s per run-epoch, ours {ours_s:.4g} s, ratio {ratio:.1f}".format(**figures))
    print("{flop_a_weight:.0f} FLOP and {bytes_a_weight:.0f} bytes per weight and step;".format(**figures), end=" ")
    print("products {peak_tflops:.4g} TFLOP/s, memory {bandwidth_gbs:.4g} GB/s".format(**figures))
    print("step {step_tflops:.4g} of {roofline_tflops:.4g} TFLOP/s, {share_of_roofline:.2f} of it".format(**figures))
    print("Figure 1 at width {}, {figure1_runs:.0f} runs: {figure1_hours:.3g} hours".format(options.width, **figures))
    if options.out is not None:
        options.out.write_text(json.dumps(machine() | settings | figures, indent=1) + "\n")
    if options.json:
        print(json.dumps(settings | figures))


if __name__ == "__main__":
    main()
