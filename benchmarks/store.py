"""The cost of a store with many runs: `status`, `run` with nothing to do, `compact`, `verify`, claims and commits.

    python benchmarks/store.py [--json] [--runs 100,1000,10000]
    python benchmarks/store.py --bucket [--json] [--runs 100,1000]

The runs of the store are copies of one trained run (two classes, M = 2, 20 evaluated epochs, 1,000 samples) under many
seeds. Each command runs in a separate process. The last line is one JSON object: for each number of runs and each
command, it has the seconds of processor time and the peak memory of the process in megabytes. `status_first` and
`run_first` are the first commands on the store, which read and verify all files; `status` and `run` are later commands.
lease_ms is the milliseconds per run to claim, check and release a task of four runs, and commit_ms the milliseconds to
commit a run. share_of_a_second is the cost of claiming as a percentage of a run that takes one second.

With `--bucket` a folder is compared with a bucket that moto serves on the loopback (`benchmarks/bucket.py`). For each
number of runs, the milliseconds and the requests are measured for `status` on a machine without a copy (`status,
first`), for the next `status`, for claiming and releasing a task of four runs, for committing a run, and for one look
at another driver's runs.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from byrote import Study
from byrote.files import sha256
from byrote.store import commit
from byrote.store.directory import PLAN
from byrote.store.leases import held
from byrote.store.sealed import read_sealed, write_sealed
from byrote.sweep.plan import plan_study
from byrote.training import train

STUDY = """
name = "many"
[base]
data = {{ kind = "fashion_mnist_subset", classes = [0, 1], per_class = 500, test_per_class = 100 }}
network = {{ kind = "mlp", depth = 2, width = 16, feature_width = 2 }}
training = {{ epochs = 20, batch_size = 100 }}
[[part]]
name = "grid"
[part.axes]
loss = ["cross_entropy", "label_smoothing", "robust_log", "mean_squared_error", "normalized_mse"]
noise = {noises}
seed = {seeds}
"""

PROGRAM = """
import json, os, sys
from byrote.cli import main
code = main(sys.argv[1:])
used = os.times()
(peak,) = (int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([code, used.user + used.system, peak]), file=sys.stderr)
"""


def study_of(runs: int, path: Path) -> Path:
    """A study of this many runs: five losses, at most ten noise rates, and seeds."""
    rates = min(10, max(1, runs // 10))
    noises = ", ".join(f'{{ kind = "uniform", rate = {0.04 * (i + 1):.2f} }}' for i in range(rates))
    path.write_text(STUDY.format(noises=f"[{noises}]", seeds=list(range(runs // (5 * rates)))))
    return path


def fill(study: Path, root: Path) -> int:
    """Fill a store with copies of one trained run, and return the number of copies."""
    plan, experiments = plan_study(Study.load(study), file=str(study))
    plan.write(root)
    first = next(iter(experiments.values()))
    with tempfile.TemporaryDirectory() as folder:
        source = commit(Path(folder), train([first])[0])
        manifest = read_sealed(source / "manifest.json")[0]
        tables = {path.name: path.read_bytes() for path in source.glob("*.parquet")}
    for key, experiment in experiments.items():
        target = root / key
        target.mkdir()
        spec = {"format": 2, "key": key, "spec": experiment.spec(), "contents": experiment.contents}
        write_sealed(target / "spec.json", spec, durable=False)
        for name, content in tables.items():  # replacing bytes is safe, because the keys have the same length
            (target / name).write_bytes(content.replace(first.key.encode(), key.encode()))
        names = ("spec.json", *tables)
        facts = manifest["facts"] | {"loss": experiment.loss.label, "alpha": experiment.loss.parameter}
        facts["alpha"] = None if facts["alpha"] != facts["alpha"] else facts["alpha"]
        facts["effective_rate"] = experiment.noise.effective_rate(2)
        files = {name: sha256(target / name) for name in names}
        sizes = {name: (target / name).stat().st_size for name in names}
        own = {"key": key, "facts": facts, "files": files, "sizes": sizes}
        write_sealed(target / "manifest.json", manifest | own, durable=False)
    return len(experiments)


def measured(*command: str) -> tuple[float, float]:
    """Measure the processor seconds and the peak megabytes of a command in a separate process."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, *command, "-q"], capture_output=True, text=True, check=False)
    *_, last = done.stderr.strip().splitlines()
    code, seconds, kilobytes = json.loads(last)
    if code:
        raise RuntimeError(f"byrote {' '.join(command)} ended with exit code {code}")
    return round(seconds, 2), round(kilobytes / 1024)


def costs(runs: int) -> dict[str, float]:
    """The cost of the commands in a store of this many runs."""
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "store"
        study = study_of(runs, Path(folder) / "many.toml")
        fill(study, root)
        time.sleep(2.5)  # a file is not recorded as verified if it was written only a moment ago
        commands = {
            "status": ("status", str(root), "--json"),
            "run": ("run", str(study), "--out", str(root), "--on", "serial"),
            "compact": ("compact", str(root), "--out", str(Path(folder) / "results")),
            "verify": ("verify", str(root), "--json"),
        }
        for name in ("status_first", "run_first", "status", "run", "compact", "verify"):
            seconds, megabytes = measured(*commands[name.removesuffix("_first")])
            figures |= {f"{name}_s": seconds, f"{name}_mb": megabytes}
    return figures


def single() -> dict[str, float]:
    """The cost of leasing and of committing one run."""
    with tempfile.TemporaryDirectory() as folder:
        root, rounds = Path(folder), 200
        plan, experiments = plan_study(Study.load(study_of(20, root / "many.toml")))
        run = train([next(iter(experiments.values()))])[0]
        (root / "many.toml").unlink()
        plan.write(root)
        keys = list(experiments)[:4]
        start = time.process_time()
        for _ in range(rounds):
            with held(root, "task", keys) as leases:
                for key in keys:
                    leases.check(key)
        lease = (time.process_time() - start) / rounds / len(keys) * 1000
        start = time.process_time()
        for _ in range(20):
            commit(root, run)
            shutil.rmtree(root / run.key)
        committed = (time.process_time() - start) / 20 * 1000
        (root / PLAN).unlink()
    return {"lease_ms": round(lease, 3), "commit_ms": round(committed, 2), "share_of_a_second": round(lease / 10, 3)}


def in_bucket(runs: int) -> dict[str, object]:
    """The cost of operations in a folder and in a bucket with this many runs."""
    import bucket

    with tempfile.TemporaryDirectory() as folder, bucket.served(Path(folder)) as server:
        return bucket.costs(runs, server, fill, study_of)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the JSON line only")
    parser.add_argument("--runs", default="", help="numbers of runs, separated by commas, up to 30000")
    parser.add_argument("--bucket", action="store_true", help="compare a folder with a bucket")
    chosen = parser.parse_args()
    figures: dict[str, object] = {} if chosen.bucket else {**single()}
    numbers = chosen.runs or ("100,1000" if chosen.bucket else "100,1000,10000")
    for runs in map(int, numbers.split(",")):
        figures[str(runs)] = in_bucket(runs) if chosen.bucket else costs(runs)
        if not chosen.json:
            print(runs, figures[str(runs)], flush=True)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
