"""Ray compared with local worker processes: how many equal runs does each finish per minute on the same cores?

    python benchmarks/executors.py [--json] [--seconds 10] [--runs 16] [--workers 2] [--pairs 1]

The two executors take turns. Each trains runs of about `--seconds` of processor time into a new store; every second
pair begins with Ray. The rate is computed from the end of the first `--workers` runs to the end of the last, which
leaves out the start of Python, torch and Ray; `start` is the time until the first run has ended. The last line is one
JSON object. For each pair and executor it has the runs per minute, `processor_seconds` per run (of all processes
together) and `start`. For each pair it has `ray_over_local` (throughput), `by_processor_time` (processor time of local
over that of Ray), and `busy`, the load average per core before the pair. The median, the smallest and the largest of
both ratios follow. If `busy` is above .5, other programs were running; then `ray_over_local` is unreliable, and
`by_processor_time` should be used.

By default Ray runs its workers at niceness 15, so they get little time on cores that other programs use. Here they have
the priority of local workers (`RAY_worker_niceness=0`), so that only the executors differ.
"""

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
from contextlib import suppress
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
    """A study of runs that differ only in their seeds."""
    path = folder / f"executors-{epochs}.toml"
    path.write_text(STUDY.format(epochs=epochs, seeds=list(range(runs))))
    return path


def seconds_of_an_epoch(folder: Path) -> float:
    """The processor seconds of one epoch of a run that trains alone, which other programs hardly affect."""
    spent = {}
    for epochs in (1, 20, 120):  # the first training run is only a warm-up
        began = time.process_time()
        byrote.run(study_of(folder, epochs, 1), folder / f"one-{epochs}", on="serial", cohort=1)
        spent[epochs] = time.process_time() - began
    return (spent[120] - spent[20]) / 100


class Spent(threading.Thread):
    """The processor seconds of this process and all its descendants, read twice a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seconds: dict[int, float] = {}  # the seconds of each process, including processes that have ended
        self.series: list[tuple[float, float]] = []
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.5):
            self.look()

    def look(self) -> None:
        """Append the present time and the processor seconds spent so far to the series."""
        parents, spent = {}, {}
        for place in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                fields = (place / "stat").read_text().rpartition(")")[2].split()
                parents[int(place.name)] = int(fields[1])
                spent[int(place.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        family = {os.getpid()}
        while more := {pid for pid, parent in parents.items() if parent in family} - family:
            family |= more
        self.seconds |= {pid: spent[pid] for pid in family if pid in spent}
        self.series.append((time.time(), sum(self.seconds.values())))

    def at(self, moment: float) -> float:
        """The processor seconds spent up to a moment."""
        return next((spent for when, spent in self.series if when >= moment), self.series[-1][1])


def measured(study: Path, root: Path, on: str, workers: int) -> dict[str, float]:
    """Runs per minute and processor seconds per run after the end of the first run, and the seconds up to this end."""
    began, spent = time.time(), Spent()
    spent.start()
    outcome = byrote.run(study, root, on=on, workers=workers, cohort=1)
    spent.ended.set()
    spent.join()
    if outcome.done < outcome.planned:
        raise RuntimeError(f"{on}: {outcome.broken or outcome.raised}")
    ends = sorted(path.stat().st_mtime for path in root.glob("*/manifest.json"))
    first, last, runs = ends[workers - 1], ends[-1], len(ends) - workers
    used = (spent.at(last) - spent.at(first)) / runs
    return {"runs_a_minute": 60 * runs / (last - first), "processor_seconds": used, "start": ends[0] - began}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print only the last line")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--runs", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=1)
    options = parser.parse_args()
    os.environ.setdefault("RAY_worker_niceness", "0")
    pairs = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        epochs = max(round(options.seconds / seconds_of_an_epoch(folder)), 1)
        study = study_of(folder, epochs, options.runs)
        for place in range(options.pairs):
            busy = os.getloadavg()[0] / (os.cpu_count() or 1)
            order = ("ray", "local") if place % 2 else ("local", "ray")
            pair = {on: measured(study, folder / f"{on}-{place}", on, options.workers) for on in order}
            ratio = pair["ray"]["runs_a_minute"] / pair["local"]["runs_a_minute"]
            work = pair["local"]["processor_seconds"] / pair["ray"]["processor_seconds"]
            pairs.append({**pair, "ray_over_local": ratio, "by_processor_time": work, "busy": busy})
            if not options.json:
                print(json.dumps(pairs[-1]), flush=True)
    spread = {}
    for name in ("ray_over_local", "by_processor_time"):
        ratios = [pair[name] for pair in pairs]
        spread[name] = {"median": statistics.median(ratios), "smallest": min(ratios), "largest": max(ratios)}
    print(json.dumps({"pairs": pairs, **spread, "epochs": epochs}))


if __name__ == "__main__":
    main()
