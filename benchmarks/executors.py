"""Ray against local worker processes: the same runs on the same cores, and how many of them are done a minute.

    python benchmarks/executors.py [--json] [--seconds 10] [--runs 16] [--workers 2]

Both executors in turn, local first, train runs of about `--seconds` each (as estimated from a timed run) into fresh
stores. The rate is computed from the end of the first run to the end of the last, which leaves out the start of Python,
torch and Ray; `start` is the time until the first run has ended. The last line is one JSON object: for each executor
runs a minute and `start`, then `ray_over_local` (throughput), and `busy`, the load average per core before the start:
above .5 other programs were running, and the figures mean little.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import byrote

STUDY = """
name = "executors"
[base]
data = {{ kind = "fashion_mnist_subset", classes = [0, 1], per_class = 500, test_per_class = 100 }}
network = {{ kind = "mlp", depth = 3, width = 256, feature_width = 2 }}
training = {{ epochs = {epochs}, batch_size = 100, evaluate_every = {epochs} }}
[[part]]
name = "grid"
[part.axes]
seed = {seeds}
"""


def study_of(folder: Path, epochs: int, runs: int) -> Path:
    """A study of equal runs."""
    path = folder / f"executors-{epochs}.toml"
    path.write_text(STUDY.format(epochs=epochs, seeds=list(range(runs))))
    return path


def seconds_of_an_epoch(folder: Path) -> float:
    """The seconds of one epoch of a run that trains alone."""
    outcome = byrote.run(study_of(folder, 20, 1), folder / "one", on="serial", cohort=1)
    (manifest,) = outcome.root.glob("*/manifest.json")
    return float(json.loads(manifest.read_text())["seconds"]["training"]) / 20


def measured(study: Path, root: Path, on: str, workers: int) -> dict[str, float]:
    """Runs per minute from the end of the first run to the end of the last, and seconds until the first ended."""
    began = time.time()
    outcome = byrote.run(study, root, on=on, workers=workers, cohort=1)
    if outcome.kept < outcome.planned:
        raise RuntimeError(f"{on}: {outcome.broken or outcome.raised}")
    ends = sorted(path.stat().st_mtime for path in root.glob("*/manifest.json"))
    return {"runs_a_minute": 60 * (len(ends) - workers) / (ends[-1] - ends[workers - 1]), "start": ends[0] - began}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the last line alone")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--runs", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    busy = os.getloadavg()[0] / (os.cpu_count() or 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        epochs = max(round(options.seconds / seconds_of_an_epoch(folder)), 1)
        study = study_of(folder, epochs, options.runs)
        results = {on: measured(study, folder / on, on, options.workers) for on in ("local", "ray")}
    ratio = results["ray"]["runs_a_minute"] / results["local"]["runs_a_minute"]
    if not options.json:
        for on, figures in results.items():
            print(f"{on:6} {figures['runs_a_minute']:7.2f} runs a minute, the first after {figures['start']:.1f} s")
    print(json.dumps({**results, "ray_over_local": ratio, "epochs": epochs, "busy": busy}))


if __name__ == "__main__":
    main()
