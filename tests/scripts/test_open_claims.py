"""The cost of settling inconclusive claims: which claims they are, and how many seeds and core-minutes they need."""

import csv
import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
spec = importlib.util.spec_from_file_location("open_claims", ROOT / "scripts" / "open_claims.py")
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)


def test_the_cost_of_a_seed_is_the_share_of_the_study_that_the_claim_used():
    about = {"seconds": 6000.0, "planned": 90, "not_run": [{}] * 10}
    verdict = {"runs": 40, "details": [{"seeds": 10}, {"seeds": 5}, {}]}
    assert script.cost(verdict, about) == (10, 5.0)
    assert script.cost(verdict | {"runs": 80}, about) == (10, 10.0)


@pytest.mark.parametrize(
    ("forecast", "seeds"),
    [
        ("12 more seeds would decide it in 81% of cases", 12),
        ("1 more seed would decide it in 84% of cases", 1),
        ("60 more runs would decide it in 84% of cases", 60),
        ("even 100 more seeds would decide it in 11% of cases only", None),
        ("no forecast: m has no spread over seeds in MNIST", None),
    ],
)
def test_a_forecast_names_its_seeds(forecast, seeds):
    assert script.seeds_of(forecast) == seeds


def judged_folder(root, scale, study, **words):
    place = root / scale / study if scale else root / study
    place.mkdir(parents=True)
    (place / "about.json").write_text("{}")
    (place / "verdicts.json").write_text(json.dumps([{"id": id, "verdict": word} for id, word in words.items()]))
    return place


def test_a_claim_is_open_where_no_study_of_its_largest_scale_decides_it(tmp_path, monkeypatch):
    monkeypatch.setattr(script.summary, "THEORY", judged_folder(tmp_path / "theory", "", "theory"))
    first = judged_folder(tmp_path, "small", "one", A3="inconclusive", A5="inconclusive", A6="holds", B1="inconclusive")
    second = judged_folder(tmp_path, "small", "two", A3="inconclusive", A5="fails in 1 of 2 cells", B1="not tested")
    third = judged_folder(tmp_path, "medium", "one", A6="inconclusive", B1="not tested")
    demo = judged_folder(tmp_path, "", "demo", A3="holds", A2="inconclusive")
    folders_of = dict(script.open_claims([demo, first, second, third]))
    assert folders_of == {"A2": [demo], "A3": [first, second], "A6": [third], "B1": [first]}


def test_the_committed_table_lists_the_claims_that_are_open():
    stores = script.summary.folders(ROOT / "results")
    wanted = [(id, folder) for id, folders in script.open_claims(stores) for folder in folders]
    with (ROOT / "results" / "medium" / "open_claims.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["claim"], row["study"]) for row in rows] == [(id, folder.name) for id, folder in wanted]
    for row, (id, folder) in zip(rows, wanted, strict=True):
        (verdict,) = [one for one in json.loads((folder / "verdicts.json").read_text()) if one["id"] == id]
        about = json.loads((folder / "about.json").read_text())
        seeds, minutes = script.cost(verdict, about)
        assert (int(row["runs"]), int(row["seeds"])) == (verdict["runs"], seeds)
        assert float(row["core_minutes_a_seed"]) == minutes
        more = script.seeds_of(row["forecast"])
        assert row["more_seeds"] == ("" if more is None else str(more))
        assert row["core_minutes"] == ("" if more is None else str(round(more * minutes, 1)))
