"""The benchmark of reading results enlarges a table correctly and measures the whole process."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import byrote
from byrote.store import read_results

ROOT = Path(__file__).resolve().parent.parent.parent
spec = importlib.util.spec_from_file_location("analysis_benchmark", ROOT / "benchmarks" / "analysis.py")
benchmark = importlib.util.module_from_spec(spec)
spec.loader.exec_module(benchmark)
DEMO = ROOT / "results" / "demo"


def test_the_made_table_has_every_setting_and_every_run_once(tmp_path):
    demo = read_results(DEMO)
    count = 2 * len(demo.runs) + 7
    store = byrote.open(benchmark.enlarged(DEMO, tmp_path / "many", count))
    analysis = store.analysis  # an analysis refuses two runs with the same setting, loss, rate and seeds
    assert len(analysis.runs) == len(set(analysis.runs["key"])) == count
    before = byrote.open(DEMO).analysis
    assert [one.digest for one in analysis.settings] == [one.digest for one in before.settings]
    lengths = np.bincount(demo.history["run"], minlength=len(demo.runs))
    assert np.bincount(store.results.history["run"]).tolist() == [*lengths, *lengths, *lengths[:7]]
    for place in (0, len(demo.runs) - 1):
        copy = analysis.runs.row(place + len(demo.runs))
        original = before.runs.row(place)
        assert copy["seed"] == original["seed"] + benchmark.SEEDS
        assert (copy["j1"], copy["nc1_test"]) == pytest.approx((original["j1"], original["nc1_test"]), nan_ok=True)
    assert len(store.results.features) == 200 * int((analysis.runs["feature_width"] == 2).sum()) > 0


def test_a_process_is_measured_whole():
    # start from a small process, because a child's peak memory is at least its parent's size
    program = "import analysis; print(*analysis.measured('--version'))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT / "benchmarks", capture_output=True, text=True)
    seconds, megabytes = map(float, done.stdout.split())
    assert 0.01 < seconds < 30
    assert 10 < megabytes < 2000
    with pytest.raises(SystemExit, match=r"byrote status /nowhere failed: byrote: /nowhere is not a store"):
        benchmark.measured("status", "/nowhere")
