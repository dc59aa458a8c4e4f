"""Time and memory of `byrote audit` on probabilities that are too large to keep in memory.

    python benchmarks/audit_streaming.py [--json] [--shape SAMPLES CLASSES ...] [--folder DIR]

The probabilities are written to a file as float32 (4 GB for each of the two default shapes) and removed afterwards. A
tenth of the labels is random. The audit runs in a separate process with one thread. Its memory is the peak
that the operating system counted for this process, including the mapped pages of the file. The last line is JSON.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SHAPES = ((1_000_000, 1_000), (200_000, 5_000))
_BLOCK = 10_000_000  # the number of probabilities written in one piece


def write(folder: Path, n: int, N: int) -> None:
    """Write probabilities (n, N) that are largest for the true class, and labels of which a tenth is random."""
    rng = np.random.default_rng(0)
    true = rng.integers(0, N, n)
    np.save(folder / "y.npy", np.where(rng.random(n) < 0.1, rng.integers(0, N, n), true))
    p = np.lib.format.open_memmap(folder / "p.npy", "w+", np.float32, (n, N))
    step = max(_BLOCK // N, 1)
    for start in range(0, n, step):
        own = true[start : start + step]
        block = rng.random((len(own), N), dtype=np.float32) / N
        block[np.arange(len(own)), own] += 0.2 + rng.random(len(own), dtype=np.float32)
        p[start : start + step] = block / block.sum(axis=1, keepdims=True)


def audited(folder: Path) -> dict[str, float]:
    """Measure the seconds, processor seconds and gigabytes of one audit.

    Raises:
        RuntimeError: the audit failed; the message is that of the audit.
    """
    command = [
        sys.executable,
        "-m",
        "byrote",
        "audit",
        "--probabilities",
        "p.npy",
        "--labels",
        "y.npy",
        "--out",
        "audit",
    ]
    start, errors = time.perf_counter(), folder / "errors.txt"
    with errors.open("w") as file:
        process = subprocess.Popen(
            command, cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=file
        )
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise RuntimeError(errors.read_text().strip())
    spent = usage.ru_utime + usage.ru_stime
    return {"seconds": seconds, "processor_seconds": spent, "gigabytes": usage.ru_maxrss / 1e6}


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the JSON line only")
    parser.add_argument("--shape", nargs=2, type=int, action="append", metavar=("SAMPLES", "CLASSES"))
    parser.add_argument("--folder", type=Path, help="where to write the files (default: the temporary folder)")
    chosen = parser.parse_args()
    figures: dict[str, float] = {}
    for n, N in chosen.shape or SHAPES:
        with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
            write(Path(folder), n, N)
            each = audited(Path(folder))
        figures |= {f"{name}_{n}x{N}": round(value, 2) for name, value in each.items()}
        if not chosen.json:
            print(
                f"{n:,} x {N:,}: " + ", ".join(f"{name.replace('_', ' ')} {value:.1f}" for name, value in each.items())
            )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
