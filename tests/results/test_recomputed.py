"""A second program, which recomputes ten verdicts from the committed tables, agrees in every number and word."""

import ast
import json
import math
import re
import shutil
from functools import cache
from pathlib import Path

import pytest

from .recomputed import ROOT, read
from .recomputed_claims import CLAIMS, STUDIES, committed, recompute

ROWS = [(study, id) for study, ids in STUDIES.items() for id in ids]
SHOWN = {"plain": lambda number: number, "atanh": math.tanh}
PAGE = ROOT / "docs" / "studies.md"
MARKS = re.compile(r"<!-- words -->\n(.*?)<!-- end words -->", re.DOTALL)


MEDIUM = [
    (path.parent.name, id)
    for path in sorted((ROOT / "results" / "medium").glob("*/verdicts.json"))
    for id, verdict in committed(path.parent.name, scale="medium").items()
    if id in CLAIMS and verdict["verdict"] != "not tested"
]


@cache
def runs_of(study, scale="small"):
    return tuple(read(ROOT / "results" / scale / study))


@cache
def again(study, id, scale="small"):
    return recompute(id, runs_of(study, scale))


def close(number, stored, relative):
    """Whether two numbers agree within the relative tolerance; non-finite numbers are stored as null."""
    if stored is None:
        return number is None or not math.isfinite(number)
    return number is not None and math.isclose(number, stored, rel_tol=relative)


def differences(mine, stored):
    """Return the differences between a recomputed and a stored verdict, one remark each."""
    wrong = [name for name in ("word", "verdict", "runs") if mine[name] != stored[name]]
    ends = stored["interval"]
    if not close(mine["statistic"], stored["statistic"], 1e-9):
        wrong.append("statistic")
    own = mine["interval"]
    if not (own is ends is None or (own and ends and all(map(close, own, ends, (1e-6, 1e-6))))):
        wrong.append("interval")
    if mine.get("by_dataset", {}) != stored["by_dataset"]:
        wrong.append("by_dataset")
    if mine.get("pooled", {}).keys() != stored["pooled"].keys():
        wrong.append("kinds pooled")
    else:
        for what, numbers in mine.get("pooled", {}).items():
            for number, other, relative in zip(numbers, stored["pooled"][what], (1e-9, 1e-6, 1e-6), strict=True):
                if not close(number, other, relative):
                    wrong.append(f"pooled {what}")
    return wrong + differing_rows(mine, stored["details"])


def differing_rows(mine, rows):
    if "details" not in mine:  # B7 is an identity, checked in one row at the worst epoch
        (row,) = rows
        return [] if close(mine["statistic"], row["deviation"], 1e-9) else ["deviation of the worst epoch"]
    if len(mine["details"]) != len(rows):
        return [f"{len(rows)} rows stored, {len(mine['details'])} recomputed"]
    wrong = []
    for check, row in zip(mine["details"], rows, strict=True):
        low, high = check.ends
        numbers = ((check.value, row["value"], 1e-9), (low, row["low"], 1e-6), (high, row["high"], 1e-6))
        shown = [(SHOWN[check.scale](number), other, relative) for number, other, relative in numbers]
        facts = {
            "what": check.what == row["what"],
            "cell": row["cell"].startswith(check.cell.head),
            "rate": check.rate is None or row["cell"].endswith(f"eta {check.rate:g}"),
            "numbers": all(close(*three) for three in shown),
            "seeds": check.n == row["seeds"],
            "verdict": check.verdict == row["verdict"],
            "premise": (check.unmet or check.n < 3) == bool(row["reason"]),
            "variation": check.cell.speaks != row.get("variation", False),
        }
        wrong += [f"{name} of {row['what']} in {row['cell']}" for name, same in facts.items() if not same]
    return wrong


@pytest.mark.parametrize(("study", "id"), ROWS)
def test_a_committed_verdict_is_the_recomputed_one(study, id):
    assert differences(again(study, id), committed(study)[id]) == []


@pytest.mark.parametrize(("study", "id"), MEDIUM)
def test_a_committed_verdict_at_medium_is_the_recomputed_one(study, id):
    assert differences(again(study, id, "medium"), committed(study, scale="medium")[id]) == []


def tampered(verdict, part, sign):
    """Yield copies of the verdict with one word or number changed, numbers by three times the tolerance."""
    value, end = 1 + sign * 3e-9, 1 + sign * 3e-6
    kind = next(iter(verdict["pooled"]))
    if part == "statistic":
        verdict[part] *= value
    elif part in ("low", "high"):
        verdict["interval"][part == "high"] *= end
    elif part == "pooled":
        verdict[part][kind][2] *= end
    elif part == "value of a row":
        verdict["details"][-1]["value"] *= value
    elif part == "end of a row":
        verdict["details"][-1]["high"] *= end
    elif part == "verdict of a row":
        verdict["details"][0]["verdict"] = "other"
    elif part == "runs":
        verdict[part] += sign
    elif part == "by_dataset":
        verdict[part]["MNIST"] = "other"
    else:
        verdict[part] = "other"


PARTS = ("statistic", "low", "high", "pooled", "value of a row", "end of a row", "verdict of a row", "runs")
WORDS = ("word", "verdict", "by_dataset")


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("part", [*PARTS, *WORDS])
def test_a_committed_number_that_was_tampered_with_is_noticed(tmp_path, part, sign):
    study = "memorization-dilation"
    folder = tmp_path / "results" / "small" / study
    folder.mkdir(parents=True)
    stored = folder / "verdicts.json"
    shutil.copy(ROOT / "results" / "small" / study / "verdicts.json", stored)
    assert differences(again(study, "A5r"), committed(study, tmp_path)["A5r"]) == []
    verdicts = json.loads(stored.read_text("utf-8"))
    tampered(next(one for one in verdicts if one["id"] == "A5r"), part, sign)
    stored.write_text(json.dumps(verdicts), "utf-8")
    assert len(differences(again(study, "A5r"), committed(study, tmp_path)["A5r"])) == 1


@pytest.mark.parametrize("name", ["__init__", "recomputed", "recomputed_claims", "recomputed_rule"])
def test_the_recomputation_imports_nothing_of_byrote(name):
    tree = ast.parse(Path(__file__).with_name(f"{name}.py").read_text("utf-8"))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add("." * node.level + (node.module or "").partition(".")[0])
    plain = {"collections", "dataclasses", "itertools", "json", "math", "pathlib"}
    assert names <= plain | {"duckdb", "numpy", "scipy"} | {".recomputed", ".recomputed_rule"}
    assert not {"__import__", "importlib", "exec", "eval"} & {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name)
    }


def printed_rows(text):
    """Read the table of ten verdicts in docs/studies.md: a list of cells per row, without the header."""
    (table,) = MARKS.findall(text)
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in table.strip().splitlines()]
    assert rows[0] == ["claim", "study", "statement", "verdict", "mean over cells, 95% interval", "runs"]
    return rows[2:]


def expected_row(study, id):
    """Build the expected row of the page from the recomputation and the statement of the committed verdict."""
    mine = again(study, id)
    kinds = mine.get("pooled", {})
    text = "; ".join(f"{kind} {value:.3g} [{low:.3g}, {high:.3g}]" for kind, (value, low, high) in kinds.items())
    text = text or f"{mine['statistic']:.3g}"
    return [id, study, committed(study)[id]["statement"], mine["verdict"], text, str(mine["runs"])]


def not_recomputed(rows):
    return [row[:2] for row in rows if (row[1], row[0]) not in ROWS]


def test_every_row_of_the_page_is_recomputed():
    rows = printed_rows(PAGE.read_text("utf-8"))
    assert rows
    assert not_recomputed(rows) == []
    for id, study, statement, verdict, numbers, runs in rows:
        assert [id, study, statement, verdict.replace("**", ""), numbers, runs] == expected_row(study, id)


def test_a_row_without_a_recomputation_is_noticed():
    text = PAGE.read_text("utf-8")
    more = text.replace("<!-- end words -->", "| A3 | robust | A line | **holds** | 1 | 3 |\n<!-- end words -->")
    assert not_recomputed(printed_rows(more)) == [["A3", "robust"]]


def test_what_is_recomputed_is_what_is_listed():
    assert sorted(CLAIMS) == sorted(id for _, id in ROWS)
