"""The script for runs on a GPU, with tiny slices on the CPU and on a simulated GPU, can be stopped and continued."""

import importlib.util
import json
from pathlib import Path

import pytest

import byrote
from byrote.store import committed
from byrote.study import Study

ROOT = Path(__file__).resolve().parent.parent.parent
MINI = ROOT / "tests" / "sweep" / "mini.toml"
spec = importlib.util.spec_from_file_location("paper_on_gpu", ROOT / "scripts" / "paper_on_gpu.py")
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)
TINY = (
    script.Slice("first", str(MINI), "grid", "", {"seed": [0]}),
    script.Slice("second", str(MINI), "grid", "", {"seed": [1], "loss": ["cross_entropy"]}),
)
OPTIONS = {"imports": ["toys"], "on": "serial"}


def test_slices_are_runs_that_the_studies_ask_for_at_their_printed_size():
    for one, count in zip(script.SLICES, (2 * 2 * 5 * 10, 4 * 4 * 2), strict=True):
        planned = {e.key for part, e in Study.load(one.study).experiments("paper") if part == one.part}
        keys = [e.key for _, e in one.grid().experiments("paper")]
        assert len(keys) == count
        assert set(keys) <= planned, one.name


def test_slices_are_trained_in_order_and_shared_without_features(device, tmp_path):
    assert script.carry_out(TINY, tmp_path, device, 60, **OPTIONS) == 2
    files = sorted(str(path.relative_to(tmp_path / "results")) for path in (tmp_path / "results").rglob("*.*"))
    assert files == [
        f"{name}/{file}" for name in ("first", "second") for file in ("about.json", "runs.parquet", "table.parquet")
    ]
    for name, runs in (("first", 4), ("second", 2)):
        results = byrote.open(tmp_path / "results" / name).results
        assert len(results.runs) == runs == results.history.runs
        assert not results.partial
        assert len(results.features) == 0
    script.check_size(tmp_path / "results")


def test_it_stops_when_its_time_is_over_and_goes_on(tmp_path):
    ticks = iter([0.0, 0.0, 59.0 * 60, 61.0 * 60])  # one minute is left for the second slice
    assert script.carry_out(TINY, tmp_path, "cpu", 60, clock=lambda: next(ticks), **OPTIONS) == 2
    other = tmp_path / "other"
    ticks = iter([0.0, 0.0, 61.0 * 60])
    assert script.carry_out(TINY, other, "cpu", 60, clock=lambda: next(ticks), **OPTIONS) == 1
    assert not (other / "stores" / "second").exists()
    before = committed(other / "stores" / "first")
    assert script.carry_out(TINY, other, "cpu", 60, **OPTIONS) == 2
    assert committed(other / "stores" / "first") == before


def test_a_slice_that_the_time_cuts_is_shared_with_the_runs_it_has(tmp_path):
    assert script.carry_out(TINY[:1], tmp_path, "cpu", 1e-6, **OPTIONS) == 0
    assert not (tmp_path / "results" / "first").exists()
    assert script.carry_out(TINY[:1], tmp_path, "cpu", 60, limit=2, **OPTIONS) == 0
    results = byrote.open(tmp_path / "results" / "first").results
    assert 0 < len(results.runs) < 4
    assert results.partial
    assert script.carry_out(TINY[:1], tmp_path, "cpu", 60, **OPTIONS) == 1
    assert not byrote.open(tmp_path / "results" / "first").results.partial


@pytest.mark.parametrize(("files", "size"), [(9, 1), (1, 16 * 2**20 + 1)])
def test_what_is_too_large_to_share_is_refused(files, size, tmp_path):
    for number in range(files):
        with (tmp_path / f"{number}.json").open("wb") as file:
            file.truncate(size)
    with pytest.raises(ValueError, match="the limit is 8 files of 16777216 bytes"):
        script.check_size(tmp_path)
    for number in range(1, files):
        (tmp_path / f"{number}.json").unlink()
    (tmp_path / "0.json").write_bytes(b"")
    script.check_size(tmp_path)


def test_checks_come_first_leave_their_results_and_stop_the_script(monkeypatch, tmp_path):
    called = []

    def passes(command, **_):
        called.append(command[1:])
        return script.subprocess.CompletedProcess(command, 0, "told\n12 passed\n", "")

    monkeypatch.setattr(script.subprocess, "run", passes)
    script.checked(tmp_path)
    script.checked(tmp_path)  # checks that have passed are not repeated
    assert [next(word for word in command if "/" in word) for command in called] == [
        "tests/networks",
        "benchmarks/accelerator.py",
    ]
    assert (tmp_path / "tests.txt").read_text() == "12 passed\n"

    def fails(command, **_):
        return script.subprocess.CompletedProcess(command, 1, "1 failed\n", "")

    monkeypatch.setattr(script.subprocess, "run", fails)
    monkeypatch.setattr(script, "carry_out", lambda *_, **__: pytest.fail("trained in spite of a failed check"))
    with pytest.raises(RuntimeError, match="failed with exit code 1: 1 failed"):
        script.main(["--out", str(tmp_path / "new")])


def test_the_command_gives_the_slices_what_time_is_left(monkeypatch, tmp_path):
    given = []
    monkeypatch.setattr(script, "carry_out", lambda slices, out, device, minutes: given.append((device, minutes)) or 0)
    assert script.main(["--out", str(tmp_path), "--max-time", "7", "--device", "cpu", "--skip-checks"]) == 0
    ((device, minutes),) = given
    assert device == "cpu"
    assert minutes == pytest.approx(7, abs=0.1)
    assert json.dumps(sorted(path.name for path in tmp_path.iterdir())) == '["results"]'
