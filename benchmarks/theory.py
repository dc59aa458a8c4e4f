"""The speed of the solvers in `byrote.theory`, compared with SLSQP (and CVXPY if installed) on the same problems.

    python benchmarks/theory.py --json

The last line is one JSON object. dilation_ms is the median time of one solution. dilation_100k_s is the time of 50,000
points under CE and LS with the circle law, and diagram_s the time of a collapse diagram of 100,000 points.
ratio_to_peer is the time of SLSQP divided by ours, one point at a time.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
from anchors.theory_slsqp import by_cvxpy, by_slsqp

from byrote import theory

__all__ = ["main"]

Point = tuple[float, float, float, float, float]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the JSON line only")
    parser.add_argument("--points", type=int, default=50_000, help="number of parameter points in the sweep")
    chosen = parser.parse_args()
    figures = {**one_point(), **sweep(chosen.points), **diagram()}
    if not chosen.json:
        for name, value in figures.items():
            print(f"{name:24} {value:.6g}")
    print(json.dumps(figures))


def one_point(count: int = 20) -> dict[str, float]:
    """Median times of one solution with byrote and with the peers, and the difference of the results."""
    generator = np.random.default_rng(0)
    points: list[Point] = [
        (
            float(generator.uniform(0, 0.3)),
            float(10 ** generator.uniform(-4, -2)),
            float(10 ** generator.uniform(-4, -2)),
            float(10 ** generator.uniform(-3, -0.5)),
            float(10 ** generator.uniform(-0.5, 0.5)),
        )
        for _ in range(count)
    ]
    ours, mine = _timed(lambda p: (float((s := theory.dilation(*p)).dilation), float(s.value)), points, repeats=5)
    slsqp, theirs = _timed(lambda p: by_slsqp(*p), points)
    apart = max(abs(a[1] / b[1] - 1) for a, b in zip(mine, theirs, strict=True))
    figures = {
        "dilation_ms": 1e3 * ours,
        "slsqp_ms": 1e3 * slsqp,
        "ratio_to_peer": slsqp / ours,
        "peer_value_apart": apart,
    }
    try:
        conic, _ = _timed(lambda p: by_cvxpy(*p), points[:5])
    except ImportError:
        return figures
    return {**figures, "cvxpy_ms": 1e3 * conic, "ratio_to_cvxpy": conic / ours}


def sweep(points: int) -> dict[str, float]:
    """Solve for CE and LS at `points` parameter points; report the largest residual and certificate."""
    generator = np.random.default_rng(1)
    l_w, l_h = 10 ** generator.uniform(-6, -1.5, (2, points))
    eta, slope = 10 ** generator.uniform(-4, 0, points), 10 ** generator.uniform(-1, 1, points)
    alpha = generator.uniform(0.01, 0.5, points)
    start, spent = time.perf_counter(), time.process_time()
    both = [theory.dilation(smooth, l_w, l_h, eta, slope) for smooth in (0.0, alpha)]
    seconds, spent = time.perf_counter() - start, time.process_time() - spent
    if not all(np.all(one.converged) for one in both):
        raise RuntimeError("a point of the sweep did not converge")
    residual = max(float(np.max(one.residual)) for one in both)
    gap = max(float(np.max(np.asarray(one.optimality_gap) / np.asarray(one.value))) for one in both)
    scale = 50_000 / points
    figures = {"dilation_100k_s": scale * seconds, "dilation_100k_cpu_s": scale * spent}
    return {**figures, "residual_max": residual, "optimality_gap_max": gap}


def diagram(points: int = 100_000) -> dict[str, float]:
    """Compute the collapse diagram: the value, gap, certificate and both thresholds of each point."""
    alpha, root = np.meshgrid(np.linspace(0, 0.999, 250), np.geomspace(1e-6, 1, points // 250))
    start = time.perf_counter()
    solved = theory.layer_peeled(5, alpha, root, root)
    seconds = time.perf_counter() - start
    return {"diagram_s": seconds, "diagram_gap_max": float(np.max(np.abs(solved.optimality_gap)))}


def _timed(
    solve: Callable[[Point], tuple[float, float]], points: list[Point], repeats: int = 1
) -> tuple[float, list[tuple[float, float]]]:
    times, answers = [], []
    for point in points:
        for _ in range(repeats):
            start = time.perf_counter()
            answer = solve(point)
            times.append(time.perf_counter() - start)
        answers.append(answer)
    return float(np.median(times)), answers


if __name__ == "__main__":
    main()
