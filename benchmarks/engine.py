"""The training engine compared with a plain PyTorch loop on the same work, in one call.

    python benchmarks/engine.py [--json] [--quick] [--precision bf16|fp32] [--processor] [--out FILE]

"Plain" is `anchors/plain_loop.py`: one run at a time, float32, torch's default threads. "Ours" is the local executor
with one worker process per core, which calls `byrote.training.train`. The unit is seconds per run-epoch: the wall time
divided by the number of runs times epochs. The two are timed in turn, several times, and the median ratio is printed.
With `--json` the last line is JSON. The default of `--precision` is the one in which the processor multiplies faster.

`--processor` is for a machine with other users, where wall time means little. Plain loop and engine then take turns
epoch by epoch, in one process with one thread each, and processor seconds are compared. Two workers use two cores
fully, while a second thread at most halves the plain loop's time. So this ratio is a lower bound on the ratio without
`--processor`, except that two workers compete for memory and caches.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))

from anchors.plain_loop import plain_epochs

from byrote import Experiment, data, losses, networks, noise
from byrote.engine import bfloat16
from byrote.networks import Network
from byrote.recipe import SGD, Training
from byrote.sweep.executors import Event, Local, Setting
from byrote.sweep.plan import Task, together
from byrote.sweep.run import default_workers
from byrote.training import prepare, train
from byrote.training.evaluate import answers
from byrote.training.loop import train_epoch
from byrote.training.steps import optimizer_of


@dataclass(frozen=True)
class Case:
    """One comparison: the network, the data, and the numbers of runs and epochs to time."""

    name: str
    network: Network
    data: data.Dataset
    runs: int
    ours_epochs: int
    plain_epochs: int


def cases(quick: bool) -> list[Case]:
    """All comparisons."""
    mlp_data = data.FashionMNISTSubset(classes=(0, 1, 2, 3), per_class=1000, test_per_class=200)
    conv_data = data.FashionMNISTSubset(classes=(0, 1), per_class=128 if quick else 256, test_per_class=64)
    few = 1 if quick else 2
    return [
        Case("128", networks.MLP(depth=9, width=128), mlp_data, 8, 3 * few, few),
        Case("256", networks.MLP(depth=9, width=256), mlp_data, 8, 3 * few, few),
        Case("512", networks.MLP(depth=9, width=512), mlp_data, 8 if quick else 16, 5 * few, few),
        Case("resnet32", networks.ResNet32(), conv_data, 2, 1, 1),
        Case("inception", networks.InceptionLite(), conv_data, 2, 1, 1),
    ]


def experiments(case: Case, precision: str, epochs: int, evaluate_every: int | None = None) -> list[Experiment]:
    """The runs of a case, which have equal shapes and different seeds and losses."""
    training = Training(
        epochs=epochs,
        batch_size=128,
        optimizer=SGD(lr=0.05, momentum=0.9, weight_decay=0.001),
        precision=precision,
        evaluate_every=evaluate_every or epochs,
    )
    kinds = [losses.CrossEntropy(), losses.LabelSmoothing(0.1)]
    return [
        Experiment(case.data, noise.Uniform(0.2), kinds[s % 2], case.network, training, seed=s)
        for s in range(case.runs)
    ]


def ours(case: Case, precision: str) -> float:
    """Seconds per run-epoch in the local executor with cohorts: the workers' total time over the number of workers."""
    workers = default_workers()
    members = experiments(case, precision, case.ours_epochs)
    with tempfile.TemporaryDirectory() as root:
        size = together(members[0], "cpu")
        tasks = [Task(members[i].key, tuple(members[i : i + size])) for i in range(0, len(members), size)]
        executor = Local(Setting(root), lambda: False, workers)
        for task in tasks:
            executor.submit(task)
        executor.wait(_whole)
        clocks = [json.loads(p.read_text())["seconds"] for p in Path(root).glob("*/manifest.json")]
    seconds = sum(clock["training"] / clock["cohort_size"] for clock in clocks)
    return seconds / (len(members) * case.ours_epochs) / min(workers, len(tasks))


def _whole(event: Event) -> None:
    if event.kind in ("error", "lost"):
        raise RuntimeError(f"the executor failed: {event.data}")


_PLAIN = """
import sys, time; sys.path.insert(0, {folder!r})
import torch
from byrote import Experiment
from anchors.plain_loop import plain_epochs
e = Experiment(**{spec!r})
d = e.data.load("train")
observed = e.noise.corrupt(d.labels, e.data.num_classes, e.generator("noise"))
net = e.network.build(tuple(d.images.shape[1:]), e.num_outputs, e.generator("weights"))
plain_epochs(net, d.images[:256], observed[:256], 1)
start = time.perf_counter()
plain_epochs(net, d.images, observed, {epochs}, lr=0.05)
print((time.perf_counter() - start) / {epochs})
"""


def plain(case: Case) -> float:
    """Seconds per run-epoch of the plain loop in a fresh process with torch's default threads."""
    spec = experiments(case, "fp32", 1)[0].spec()
    program = _PLAIN.format(folder=str(Path(__file__).resolve().parent), spec=spec, epochs=case.plain_epochs)
    environment = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def by_processor(case: Case, precision: str, pairs: int) -> list[tuple[float, float]]:
    """Processor seconds per run-epoch of the plain loop and of the engine's epoch, in turns in this process."""
    torch.set_num_threads(1)
    members = experiments(case, precision, 100)[:1]
    cohort = prepare(members)
    optimizer = optimizer_of(cohort.network, [e.training for e in members])
    images, first = cohort.train.images, members[0]
    module = first.network.build(tuple(images.shape[1:]), first.num_outputs, first.generator("weights"))
    train_epoch(cohort, optimizer, 0)
    seconds = []
    for epoch in range(1, pairs + 1):
        start = time.process_time()
        plain_epochs(module, images, cohort.observed[0], 1, lr=0.05)
        middle = time.process_time()
        train_epoch(cohort, optimizer, epoch)
        seconds.append((middle - start, time.process_time() - middle))
    return seconds


def machine() -> dict[str, str | int]:
    """The machine: the processor's name, its cores, and the version of torch."""
    about = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in about.read_text().splitlines() if line.startswith("model name")]
    return {"processor": names[0] if names else platform.processor(), "cores": len(names), "torch": torch.__version__}


def against_peak(case: Case, precision: str, rounds: int = 25) -> tuple[float, float]:
    """FLOP per second of the training step, and of products (128, width) x (width, width), both on one thread.

    The two alternate in this process, with a few milliseconds of products before each epoch. The best round of each is
    used, because other users of the machine slow down single rounds.
    """
    torch.set_num_threads(1)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    width = int(getattr(case.network, "width", 0))
    a, b = torch.randn(128, width, dtype=dtype), torch.randn(width, width, dtype=dtype)
    members = experiments(case, precision, rounds)[:1]
    cohort = prepare(members)
    optimizer = optimizer_of(cohort.network, [e.training for e in members])
    train_epoch(cohort, optimizer, 0)
    product = epoch = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(40):
            a @ b
        middle = time.perf_counter()
        train_epoch(cohort, optimizer, 0)
        product = min(product, (middle - start) / 40)
        epoch = min(epoch, time.perf_counter() - middle)
    return step_flop(case) / epoch, 2 * 128 * width * width / product


def bandwidth() -> float:
    """Bytes per second at which one worker reads and writes float32 memory larger than its caches."""
    torch.set_num_threads(1)
    a, b = torch.ones(2, 4 << 20).unbind()
    best = float("inf")
    for _ in range(10):
        start = time.process_time()
        a.add_(b)
        best = min(best, time.process_time() - start)
    return 3 * 4 * len(a) / best


def step_flop(case: Case) -> float:
    """FLOP of the matrix products of one epoch of one run: one per layer forward, two per layer backward."""
    images = case.data.load("train")
    module = case.network.build(tuple(images.images.shape[1:]), case.data.num_classes, torch.Generator())
    weights = [p.numel() for p in module.parameters() if p.dim() == 2]
    first = weights[0]  # the input of the first layer needs no gradient
    return 2.0 * len(images.labels) * (3 * sum(weights) - first)


def shares(case: Case, precision: str) -> dict[str, float]:
    """The cost of measuring after every epoch in this case, as shares of the training time."""
    torch.set_num_threads(1)
    epochs = 4
    (run,) = train(experiments(case, precision, epochs, evaluate_every=1)[:1])
    passes = evaluation_passes(case, precision, epochs)
    training = run.seconds["training"]
    return {
        "evaluation_share": passes / training,
        "measuring_share": max(run.seconds["evaluation"] - passes, 0.0) / training,
    }


def evaluation_passes(case: Case, precision: str, epochs: int) -> float:
    """Seconds of the bare forward passes over training and test set, in eval mode."""
    cohort = prepare(experiments(case, precision, epochs)[:1])
    answers(cohort, cohort.train.images)
    start = time.perf_counter()
    for _ in range(epochs):
        answers(cohort, cohort.train.images)
        answers(cohort, cohort.test.images)
    return time.perf_counter() - start


def check_j1(case: Case) -> None:
    """Check that the engine's J1 equals the J1 of its exported plain network on the same images and labels."""
    (run,) = train(experiments(case, "fp32", 1)[:1], keep_weights=True)
    images = case.data.load("train")
    module = case.network.build(tuple(images.images.shape[1:]), case.data.num_classes, torch.Generator())
    module.load_state_dict({name: torch.from_numpy(value) for name, value in run.weights.items()})
    with torch.no_grad():
        predicted = module.eval()(images.images).argmax(1)
    j1 = (predicted.numpy() == run.samples["observed"]).mean()
    if abs(j1 - run.final["j1"]) > 2 / len(predicted):
        raise RuntimeError(f"the engine reports J1 {run.final['j1']}, but its exported module has J1 {j1}")


def faster_precision() -> str:
    """The precision in which this processor multiplies faster."""
    return "bf16" if bfloat16.has_units() else "fp32"


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--precision", default=faster_precision(), choices=("fp32", "bf16"))
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--processor", action="store_true", help="compare processor seconds of one thread each")
    parser.add_argument(
        "--out", type=Path, default=None, help="also write the numbers and machine details to this file"
    )
    parser.add_argument("--only", nargs="*", default=None, help="names of cases")
    options = parser.parse_args()
    figures: dict[str, float] = {}
    for case in cases(options.quick):
        if options.only and case.name not in options.only:
            continue
        check_j1(case)
        if options.processor:
            pairs = by_processor(case, options.precision, options.pairs)
        else:
            pairs = [(plain(case), ours(case, options.precision)) for _ in range(options.pairs)]
        ratio = statistics.median(p / o for p, o in pairs)
        slow, fast = statistics.median(p for p, _ in pairs), statistics.median(o for _, o in pairs)
        print(f"{case.name:>10}: plain {slow:.3f} s per run-epoch, ours {fast:.3f} s, ratio {ratio:.2f}", flush=True)
        figures |= {f"plain_{case.name}_s": slow, f"ours_{case.name}_s": fast, f"ratio_{case.name}": ratio}
        if case.name == "512":
            rate, peak = against_peak(case, options.precision)
            workers = 1 if options.processor else default_workers()
            figures |= {"peak_gflops": peak / 1e9, "step_gflops": rate / 1e9, "bandwidth_gbs": bandwidth() / 1e9}
            figures |= {"plain_gflops": step_flop(case) / slow / 1e9, "all_gflops": step_flop(case) / fast / 1e9}
            figures |= {"share_of_peak": rate / peak, **shares(case, options.precision)}
            print(f"{'':>10}  {rate / 1e9:.0f} of {peak / 1e9:.0f} GFLOP/s: share of peak {rate / peak:.2f}; ", end="")
            print(f"{workers} workers together {step_flop(case) / fast / 1e9:.0f} GFLOP/s")
    rounded = {name: round(value, 4) for name, value in figures.items()}
    if options.out is not None:
        clock = "processor" if options.processor else "wall"
        settings = {"clock": clock, "precision": options.precision, "pairs": options.pairs, "load": os.getloadavg()[0]}
        options.out.write_text(json.dumps(machine() | settings | rounded, indent=1) + "\n")
    if options.json:
        print(json.dumps({"precision": options.precision} | rounded))


if __name__ == "__main__":
    main()
