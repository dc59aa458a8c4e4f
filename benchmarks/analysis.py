"""The cost of reading results: processor time and memory of `byrote claims` and `byrote report`.

    python benchmarks/analysis.py --json

The last line is one JSON object. claims_s is the processor time, in seconds, of a whole process
`byrote claims DIR --json` on the 1,360 compacted runs of results/small/memorization-dilation. claims_10000_s and
claims_10000_mb are the same time and the peak memory in megabytes for 10,000 compacted runs, which are copies of the
1,360 runs with new seeds and stored features. report_s is the processor time of `byrote report` on the 1,360 runs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from byrote.files import sha256
from byrote.identity import run_key
from byrote.store import read_results
from byrote.store.parquet import write_parquet
from byrote.store.sealed import write_sealed
from byrote.table import Table

__all__ = ["enlarged", "main", "measured"]

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "results" / "small" / "memorization-dilation"
SHOWN = 200  # in the enlarged table, each run with M = 2 has the features of this many samples
SEEDS = 1000  # the difference between the seeds of two copies of a run


class Cost(NamedTuple):
    """The processor time of a process in seconds, and its peak memory in megabytes."""

    seconds: float
    megabytes: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the JSON line only")
    parser.add_argument("--quick", action="store_true", help="2,000 artificial runs and no report: a smoke test")
    parser.add_argument("--folder", type=Path, default=TABLE, help="the compacted results to read and to copy")
    chosen = parser.parse_args()
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        figures["claims_s"] = measured("claims", str(chosen.folder), "--json").seconds
        many = enlarged(chosen.folder, Path(scratch) / "many", 2_000 if chosen.quick else 10_000)
        figures["claims_10000_s"], figures["claims_10000_mb"] = measured("claims", str(many), "--json")
        if not chosen.quick:
            figures["report_s"] = measured("report", str(chosen.folder), "--out", str(Path(scratch) / "page")).seconds
    if chosen.quick:
        figures = {name.replace("10000", "2000"): value for name, value in figures.items()}
    if not chosen.json:
        for name, value in figures.items():
            print(f"{name:16} {value:.6g}")
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


def measured(*arguments: str) -> Cost:
    """Run `byrote ARGUMENTS` in a new process; the cost includes imports and child processes that it waits for."""
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    command = [sys.executable, "-m", "byrote", *arguments]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=out, stderr=errors, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            raise SystemExit(f"byrote {' '.join(arguments)} failed: {errors.read().decode().strip()}")
    unit = 1 if sys.platform == "darwin" else 1024  # the unit of ru_maxrss in bytes
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 1e6)


def enlarged(folder: Path, out: Path, count: int) -> Path:
    """Create a folder of `count` compacted runs, which are copies of the runs in another folder with new seeds.

    Args:
        folder: a folder of compacted results.
        out: the folder to create.
        count: the number of runs in the new folder.
    """
    results = read_results(folder)
    runs = results.runs.rows()
    places = np.arange(count) % len(runs)
    copies = [_repeated(runs[place], copy // len(runs)) for copy, place in enumerate(places)]
    run = results.history["run"]
    rows = [np.flatnonzero(run == place) for place in range(len(runs))]
    taken = results.history.take(np.concatenate([rows[place] for place in places]))
    numbers = np.repeat(np.arange(count), [len(rows[place]) for place in places])
    keys = np.array([one["key"] for one in copies], dtype=object)
    history = taken.with_column("run", numbers).with_column("key", keys[numbers])
    out.mkdir(parents=True)
    tables = {"runs.parquet": Table.of(copies), "table.parquet": history, "features.parquet": _features(copies)}
    for name, table in tables.items():
        write_parquet(out / name, {column: table[column] for column in table.columns})
    about = results.about | {"planned": count, "files": {name: sha256(out / name) for name in tables}}
    write_sealed(out / "about.json", about)
    return out


def _repeated(run: dict[str, Any], copy: int) -> dict[str, Any]:
    """A copy of a run with a different seed, and therefore a different key."""
    spec = json.loads(run["spec"])
    spec["seed"] += SEEDS * copy
    return run | {"spec": json.dumps(spec, sort_keys=True), "key": run_key(spec, json.loads(run["contents"]))}


def _features(runs: list[dict[str, Any]]) -> Table:
    """Artificial features for every run with M = 2, in the format of a store."""
    keys = [run["key"] for run in runs if run["feature_width"] == 2]
    generator = np.random.default_rng(0)
    size = len(keys) * SHOWN
    columns = {
        "key": np.repeat(np.array(keys, dtype=object), SHOWN),
        "split": np.full(size, "train", dtype=object),
        "id": np.tile(np.arange(SHOWN), len(keys)),
        "true": generator.integers(0, 2, size),
        "observed": generator.integers(0, 2, size),
        "x": generator.standard_normal(size).astype(np.float32),
        "y": generator.standard_normal(size).astype(np.float32),
    }
    return Table(columns)


if __name__ == "__main__":
    main()
