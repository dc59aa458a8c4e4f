"""The committed results: verdicts follow from the tables, and the runs are those that the study plans."""

import importlib.util
import json
from pathlib import Path

import pytest

import byrote
from byrote import claims
from byrote.study import Study

ROOT = Path(__file__).resolve().parent.parent.parent
spec = importlib.util.spec_from_file_location("summary", ROOT / "scripts" / "summary.py")
summary = importlib.util.module_from_spec(spec)
spec.loader.exec_module(summary)
FOLDERS = sorted(path.parent for path in (ROOT / "results").rglob("table.parquet"))
JUDGED = [folder for folder in FOLDERS if (folder / "verdicts.json").is_file()]


def name(folder):
    return str(folder.relative_to(ROOT))


def test_there_is_evidence():
    assert JUDGED


@pytest.mark.parametrize("folder", JUDGED, ids=name)
def test_committed_verdicts_are_those_of_the_committed_table(folder):
    stored = {verdict["id"]: verdict for verdict in json.loads((folder / "verdicts.json").read_text())}
    again = {verdict.id: verdict.to_json() for verdict in claims.evaluate(byrote.open(folder).analysis)}
    assert stored.keys() == again.keys()
    for id, verdict in stored.items():
        for part in ("verdict", "word", "by_dataset", "runs"):
            assert again[id][part] == verdict[part], f"{id} {part}"
        for part, relative in (("statistic", 1e-9), ("interval", 1e-6)):
            now, then = again[id][part], verdict[part]
            assert now == (then if then is None else pytest.approx(then, rel=relative)), f"{id} {part}"
        assert again[id]["pooled"].keys() == verdict["pooled"].keys()
        for kind, numbers in verdict["pooled"].items():
            assert again[id]["pooled"][kind] == pytest.approx(numbers, rel=1e-6, nan_ok=True), f"{id} {kind}"


@pytest.mark.slow
def test_committed_verdicts_of_theory_are_those_computed_today():
    stored = json.loads((ROOT / "results" / "theory" / "verdicts.json").read_text())
    again = [verdict.to_json() for verdict in claims.evaluate(None)]
    exact = ("id", "statement", "verdict", "bar", "runs", "published")
    assert [[one[name] for name in exact] for one in stored] == [[one[name] for name in exact] for one in again]


def test_the_tables_show_the_claims_of_theory_alone():
    stores = summary.folders(ROOT / "results")
    table = summary.verdicts(stores)
    assert table.splitlines()[0].endswith("| theory alone |")
    (row,) = [line for line in table.splitlines() if line.startswith("| A9: ")]
    cells = [part.strip() for part in row.strip("|").split("|")]
    assert cells[-1].startswith("**holds**")
    assert not any(cell.startswith("**") for cell in cells[:-1])


@pytest.mark.parametrize("folder", FOLDERS, ids=name)
def test_committed_runs_are_those_the_study_asks_for_today(folder):
    results = byrote.open(folder).results
    about = results.about
    study = Study.load(ROOT / about["file"] if about.get("file") else about["study"])
    planned = {e.key for _, e in study.experiments(about["scale"], about["overrides"])}
    assert set(results.runs["key"].tolist()) <= planned
    assert (folder / "command.txt").read_text().strip()
    assert all(run["reason"].startswith("not run: data not available") for run in about["not_run"])
    assert set(results.runs["status"].tolist()) <= {"done", "failed"}
    assert len(results.runs) + len(about["not_run"]) == about["planned"]


def test_the_table_by_scale_has_each_claim_of_the_papers_once():
    stores = summary.folders(ROOT / "results")
    rows = [line.strip("| ").split(" | ") for line in summary.by_scale(stores).splitlines()[2:]]
    assert len(rows) == 23
    assert len({row[0] for row in rows}) == 23
    (a14,) = [row for row in rows if row[0] == "A14"]
    assert a14[1].startswith("memorization-dilation: inconclusive")
    assert a14[2].startswith("mechanism: **fails**")
    assert "mechanism: Fashion-MNIST fails" in a14[3]


@pytest.mark.parametrize("page", ["docs/claims.md", "docs/studies.md", "docs/findings.md"])
def test_the_pages_hold_the_tables_of_the_committed_results(page):
    for name, table in summary.tables(summary.folders(ROOT / "results"))[page].items():
        text = (ROOT / page).read_text("utf-8")
        assert f"<!-- {name} -->\n{table}\n<!-- end {name} -->" in text, "run python scripts/summary.py --write"
