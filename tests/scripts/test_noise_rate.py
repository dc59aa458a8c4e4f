"""The benchmark of noise rate estimates runs and counts correctly, and the docs show its committed table."""

import csv
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from byrote.measures import RateEstimate

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPT = ROOT / "benchmarks" / "noise_rate.py"
spec = importlib.util.spec_from_file_location("noise_rate_benchmark", SCRIPT)
benchmark = importlib.util.module_from_spec(spec)
sys.modules["noise_rate_benchmark"] = benchmark
spec.loader.exec_module(benchmark)


def judged(law="symmetric", name="half", true=0.2, ends=(0.15, 0.22), verdict="stated"):
    return benchmark.Judged(law, 0.2, name, true, RateEstimate(0.19, *ends, 0.1, verdict, ""))


@pytest.mark.long
def test_it_runs_and_ends_with_one_line_of_json(tmp_path):
    table = tmp_path / "table.csv"
    command = [sys.executable, str(SCRIPT), "--quick", "--json", "--table", str(table)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout)
    rows = list(csv.DictReader(table.open()))
    assert len(rows) == 4 * 5  # four methods of estimation; four noise laws, and no noise
    assert line["runs"] == sum(int(row["runs"]) for row in rows if row["judged"] != "trained") == 20
    assert line["symmetric_stated"] >= 3
    assert line["symmetric_covered"] >= 3
    assert line["other_stated"] == line["clean_stated"] == line["narrow_missed"] == 0
    assert abs(line["symmetric_bias"]) < 0.05


def test_the_counts_tell_covering_missing_and_abstaining_apart():
    nan = float("nan")
    runs = [
        judged(),
        judged(true=0.3),  # a narrow interval that misses the truth
        judged(ends=(0.25, 0.4)),  # a wide interval that misses the truth
        judged(ends=(nan, nan), verdict="cannot tell"),
        judged(name="trained", true=0.5),
        judged(law="pair"),
        judged(law="none", true=0.0),
    ]
    line = benchmark.summary(runs)
    names = ("runs", "stated", "covered", "narrow", "narrow_missed", "symmetric_runs", "symmetric_stated")
    assert [line[name] for name in names] == [6, 5, 2, 4, 2, 4, 3]
    names = ("symmetric_covered", "other_runs", "other_stated", "clean_stated", "trained_stated", "trained_covered")
    assert [line[name] for name in names] == [1, 1, 1, 1, 1, 0]
    assert line["symmetric_width"] == pytest.approx((0.07 + 0.07 + 0.15) / 3, abs=1e-4)
    (row,) = [row for row in benchmark.table(runs) if (row["law"], row["judged"]) == ("symmetric", "half")]
    assert [row[name] for name in benchmark.COLUMNS[3:8]] == [4, 3, 1, 2, 1]
    assert row["bias"] == pytest.approx(0.19 - 0.225)


def test_the_committed_table_meets_the_bar_and_is_the_one_in_the_docs():
    rows = list(csv.DictReader((ROOT / "results" / "benchmarks" / "noise_rate.csv").open()))
    assert {row["judged"] for row in rows} == {"half", "halves", "folds", "trained"}
    honest = [row for row in rows if row["judged"] != "trained"]
    assert {(row["law"], row["rate"]) for row in honest} == {
        ("none", "0.0"),
        *((law, rate) for law in benchmark.LAWS for rate in ("0.05", "0.2", "0.4")),
    }
    assert sum(int(row["narrow_missed"]) for row in honest) == 0
    text = (ROOT / "docs" / "measures.md").read_text("utf-8")
    shown = text.partition("<!-- noise rate: begin -->\n")[2].partition("\n<!-- noise rate: end -->")[0]
    assert shown == benchmark.rendered(rows)

    def total(name, *laws):
        return sum(int(row[name]) for row in honest if row["law"] in laws)

    words = " ".join(text.split())
    stated, narrow = total("stated", "symmetric"), total("narrow", "symmetric")
    claimed = f"{stated} of {total('runs', 'symmetric')} runs under symmetric noise state an interval, and all {stated}"
    assert f"{claimed} intervals contain the true rate" in words
    assert total("covered", "symmetric") == stated
    assert f"{narrow} of them are narrower than .1" in words
    others = [law for law in benchmark.LAWS if law != "symmetric"]
    runs, clean = total("runs", *others), total("runs", "none")
    assert f"None of the {runs} runs under other noise and of the {clean} without noise states" in words
    assert total("stated", "none", *others) == 0
