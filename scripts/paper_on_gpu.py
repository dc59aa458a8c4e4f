"""Train runs at the papers' original scale on a GPU within a time limit, in order of their value.

    python scripts/paper_on_gpu.py --out DIR [--max-time MINUTES] [--device cuda] [--skip-checks]

The script needs no network access: the data sets must be in the cache (`byrote data get mnist`,
`byrote data get fashion_mnist`). It first runs the tests of networks and training on the device, then
`benchmarks/accelerator.py`, and then these slices of the studies at scale `paper`:

1. figure-1: MD's Figure 1 as printed (9 x 2048), MNIST and Fashion-MNIST, CE and LS, five noise rates, ten seeds.
2. resnet-18: LF's ResNet-18 on all of MNIST, four losses, eta 0, .2, .4, .6, two seeds.

Runs are kept in DIR/stores/SLICE, and the results to share in DIR/results: at most eight files of at most 16 MB. The
results of a slice are written when the slice ends or the time is up, with the runs that have finished. If the command
is run again, it continues where it stopped. The runs have the same keys as in the studies, so
`byrote run STUDY --scale paper` does not train them again.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import byrote
from byrote import Study
from byrote.files import write_atomic
from byrote.store.sealed import read_sealed, write_sealed
from byrote.sweep import Stop

ROOT = Path(__file__).resolve().parent.parent
MOST_FILES, MOST_BYTES = 8, 16 * 2**20
CHECKS = ("tests/networks", "tests/training")
_TWO = [{"kind": kind, "classes": [0, 1], "preprocessing": "md"} for kind in ("mnist", "fashion_mnist")]


@dataclass(frozen=True)
class Slice:
    """A part of a study at one scale, or some of its runs.

    Args:
        name: the slice's name, which is also the name of its folder.
        study: a built-in study or a TOML file.
        part: the name of a part of the study.
        scale: the name of a scale of the study.
        axes: lists of values by path, which replace the axes of the part.
    """

    name: str
    study: str
    part: str
    scale: str
    axes: Mapping[str, list[Any]]

    def grid(self) -> Study:
        """The study with only this part; the axes of the slice also replace the axes of the scale."""
        study = Study.load(self.study)
        (part,) = [part for part in study.part if part.name == self.part]
        scales = dict(part.scales)
        if self.scale:
            over = scales.get(self.scale, {})
            scales[self.scale] = {**over, "axes": {**over.get("axes", {}), **self.axes}}
        own = part.replace(scales=scales, axes=part.axes if self.scale else {**part.axes, **self.axes})
        return study.replace(part=(own,))


SLICES = (
    Slice(
        "figure-1",
        "memorization-dilation",
        "figure-1",
        "paper",
        {"data": _TWO, "noise.rate": [0.0, 0.05, 0.1, 0.2, 0.4], "seed": list(range(10))},
    ),
    Slice("resnet-18", "loss-function", "resnet-18", "paper", {"seed": [0, 1]}),
)


def checked(out: Path) -> None:
    """Run the tests of networks and training and the benchmark of the device; each writes a file into the results.

    Raises:
        RuntimeError: a test or the benchmark failed.
    """
    for name, command in (
        ("tests.txt", ["-m", "pytest", "-q", "-p", "no:cacheprovider", *CHECKS]),
        ("accelerator.json", ["benchmarks/accelerator.py", "--json"]),
    ):
        if (out / name).is_file():
            continue
        done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)
        lines = done.stdout.strip().splitlines() or [""]
        if done.returncode:
            tail = " | ".join((done.stdout + done.stderr).strip().splitlines()[-3:])
            raise RuntimeError(f"{' '.join(command)} failed with exit code {done.returncode}: {tail}")
        write_atomic(out / name, lines[-1] + "\n")


def share(store: Path, results: Path, name: str) -> list[Path]:
    """Write a slice's tables of runs and readings into the results, without its features and samples."""
    folder = results / name
    byrote.open(store).compact(folder)
    (folder / "features.parquet").unlink(missing_ok=True)
    about, _ = read_sealed(folder / "about.json")
    about["files"].pop("features.parquet", None)
    write_sealed(folder / "about.json", about)
    return sorted(folder.iterdir())


def check_size(results: Path) -> None:
    """Check that there are at most eight files of at most 16 MB each.

    Raises:
        ValueError: there are more files, or a file is larger.
    """
    files = [path for path in results.rglob("*") if path.is_file()]
    large = [path for path in files if path.stat().st_size > MOST_BYTES]
    if len(files) > MOST_FILES or large:
        named = f", {large[0].name} has {large[0].stat().st_size} bytes" if large else ""
        raise ValueError(
            f"{results} has {len(files)} files{named}; the limit is {MOST_FILES} files of {MOST_BYTES} bytes"
        )


def carry_out(
    slices: Sequence[Slice],
    out: Path,
    device: str,
    minutes: float,
    clock: Callable[[], float] = time.monotonic,
    **options: Any,
) -> int:
    """Train the slices one after another until the time is up, and return how many are complete.

    Args:
        slices: the slices, most valuable first.
        out: the folder of the stores and results.
        device: "cuda" or "cpu".
        minutes: the time limit.
        clock: a function that returns the time in seconds; tests replace it.
        options: further arguments of `byrote.run`.
    """
    began, whole = clock(), 0
    for one in slices:
        left = minutes - (clock() - began) / 60
        if left <= 0:
            break
        store = out / "stores" / one.name
        outcome = byrote.run(one.grid(), store, scale=one.scale, device=device, stop=Stop(60 * left), **options)
        if outcome.done:
            share(store, out / "results", one.name)
            check_size(out / "results")
        print(f"{one.name}: {outcome.done} of {outcome.planned} runs", file=sys.stderr)
        whole += outcome.done == outcome.planned
    return whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--max-time", type=float, default=30.0, help="minutes for the whole script")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--skip-checks", action="store_true", help="skip the tests and the benchmark")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    (options.out / "results").mkdir(parents=True, exist_ok=True)
    if not options.skip_checks:
        checked(options.out / "results")
    left = options.max_time - (time.monotonic() - began) / 60
    whole = carry_out(SLICES, options.out, options.device, left)
    print(f"{whole} of {len(SLICES)} slices are complete; run the same command again to continue", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
