"""The GPU benchmark, at a tiny size on the CPU: it runs, and its numbers are consistent."""

import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent.parent
TINY = ["--width", "32", "--epochs", "1", "--pairs", "1", "--rounds", "2", "--runs", "2", "--per-class", "100"]
SETTINGS = {"device", "precision", "runs", "width", "epochs", "pairs", "per_class"}


def called(*options):
    command = [sys.executable, str(ROOT / "benchmarks" / "accelerator.py"), *options]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize(("precision", "bytes_a_weight"), [("bf16", 26), ("fp32", 32)])
@pytest.mark.every(3)
def test_its_figures_follow_from_one_another(tmp_path, precision, bytes_a_weight):
    out = tmp_path / "accelerator.json"
    done = called("--device", "cpu", "--precision", precision, "--json", "--out", str(out), *TINY)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout.splitlines()[-1])
    written = json.loads(out.read_text())
    assert printed.items() <= written.items()
    assert written.keys() - printed.keys() == {"processor", "cores", "torch"}
    figures = {name: value for name, value in printed.items() if name not in SETTINGS}
    assert {name for name, value in figures.items() if not (math.isfinite(value) and value >= 0)} == set()
    assert {name for name, value in figures.items() if value == 0} <= {"first_epoch_s", "measuring_share"}

    def near(value):
        return pytest.approx(value, rel=1e-3)

    assert printed["ratio"] == near(printed["plain_s"] / printed["ours_s"])
    first, rest = 3072 * 32, 7 * 32 * 32 + 32 * 2 + 2 * 4
    weights = first + rest
    assert printed["flop_a_weight"] == near(128 * (4 * first + 6 * rest) / weights)
    assert printed["bytes_a_weight"] == bytes_a_weight
    memory = printed["bandwidth_gbs"] / 1e3 * printed["flop_a_weight"] / bytes_a_weight
    assert printed["roofline_tflops"] == near(min(printed["peak_tflops"], memory))
    assert printed["share_of_roofline"] == near(printed["step_tflops"] / printed["roofline_tflops"])
    assert printed["share_of_peak"] == near(printed["step_tflops"] / printed["peak_tflops"])
    assert printed["figure1_runs"] == 4 * 4 * 9 * 10
    evaluated = 1 + (printed["evaluation_share"] + printed["measuring_share"]) / 10
    # epochs of Figure 1, converted to epochs of the 400 images here
    epochs = 4 * 9 * 10 * 200 * (12_665 + 12_000 + 10_000 + 18_809) / 400
    # the study has two classes, but these images have four
    multiplied = (weights - 2 * 2) / weights
    seconds = printed["ours_s"] * epochs * evaluated * multiplied + 4 * 4 * 9 * 10 / 2 * printed["first_epoch_s"]
    assert printed["figure1_hours"] == near(seconds / 3600)


def test_a_rate_counts_the_products_of_every_run(monkeypatch):
    """A batch takes 4 x 128 FLOP per weight in the first layer and 6 x 128 elsewhere; 400 images are 3.125 batches."""
    spec = importlib.util.spec_from_file_location("accelerator_benchmark", ROOT / "benchmarks" / "accelerator.py")
    benchmark = importlib.util.module_from_spec(spec)
    for name in [name for name in sys.modules if name.partition(".")[0] == "engine"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(ROOT / "benchmarks")  # `engine` then means benchmarks/engine.py, not tests/engine
    spec.loader.exec_module(benchmark)
    rates = benchmark.roofline(benchmark.case_of(32, 5, 100), "bf16", 2.0, 1e12, 1e11)
    flop = 400 * (4 * 3072 * 32 + 6 * (7 * 32 * 32 + 32 * 2 + 2 * 4))
    assert rates["step_tflops"] == pytest.approx(5 * flop / 2.0 / 1e12)
    assert rates["share_of_peak"] == pytest.approx(rates["step_tflops"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_device_that_is_not_there_is_named_in_one_sentence():
    done = called(*TINY)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("--device cuda cannot be used")
    assert done.stderr.count("\n") == 1
