"""docs/findings.md: every finding has a number, and every number is in the committed table that its paragraph names.

A paragraph ends with `(Source: STORE, CLAIM, CLAIM; STORE, CLAIM)` or `(Source: results/FILE)`. STORE is the name of a
folder in results/small or results, or `NAME medium` for the folder NAME in results/medium. The folder's verdicts.json
must have a verdict on each CLAIM. A finding is the text under a `###` heading.
"""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
WHOLE = (ROOT / "docs" / "findings.md").read_text("utf-8")
# the table by scale is made by scripts/summary.py; tests/results/test_committed.py compares it with the verdicts
PAGE = re.sub(r"<!-- scales -->.*?<!-- end scales -->", "", WHOLE, flags=re.DOTALL)

SOURCE = re.compile(r"\(Source: ([^()]+)\)\Z")
NUMBER = r"[-+]?(?:\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)"
LONE = re.compile(rf"(?<![\w.]){NUMBER}(?!\w)")
INTERVAL = re.compile(rf"({NUMBER}) \[({NUMBER}), ({NUMBER})\]")
# A setting in the text: it must occur in the name of a cell of a claim that the paragraph cites.
CELL = re.compile(rf"\b(?:width|batch|weight decay) {NUMBER}|(?<![\d.,]){NUMBER} (?:images per class|epochs(?! per))\b")
# Numbers that are not results, so that no table must contain them.
NO_RESULT = re.compile(
    r"`[^`]*`"  # code
    r"|CIFAR-10N?|ResNet-\d+|CNN-8"  # data sets and networks
    r"|\b(?:J1|J2|NC1)\b|R\^2|D\^2|1/D\^2|\b1 - (?:eta|rho|R\^2)"  # measures and expressions
    r"|\b[ABC]\d+r?\b"  # claims
    r"|\b(?:Figure|Theorem) \d+(?:\.\d+)?"  # figures and theorems in the papers
    r"|\b\d(?:/\d)+\b"  # classes: 0/1
    r"|\b[MN] = \d+"  # feature width, number of classes
    rf"|\beta {NUMBER}(?:, {NUMBER})*(?:,? and {NUMBER})?"  # noise rates, such as eta .2, or eta .2 and .4
)


def blocks(page: str) -> Iterator[tuple[str, str]]:
    """Yield (finding, block) for each heading, paragraph, list item, and table with the source note below it."""
    finding = ""
    page = re.sub(r"^(#.*)$", r"\n\1\n", re.sub(r"\|\n\n\(Source", "|\n(Source", page), flags=re.MULTILINE)
    for block in re.split(r"\n\s*\n", page.strip()):
        for part in re.split(r"\n(?=[-*] |\d+\. )", block):
            if part.startswith("#"):
                finding = part.lstrip("# ") if part.startswith("### ") else ""
            yield finding, " ".join(part.split())


def named(source: str) -> list[object]:
    """Return the committed tables that a source note names: the verdict on each claim, or the content of a file."""
    tables: list[object] = []
    for part in source.split("; "):
        store, *ids = part.split(", ")
        if store.startswith("results/"):
            path, text = ROOT / store, (ROOT / store).read_text("utf-8")
            tables.append(json.loads(text) if path.suffix == ".json" else list(csv.DictReader(text.splitlines())))
            continue
        name, _, scale = store.partition(" ")
        places = (
            [ROOT / "results" / scale / name] if scale else [ROOT / "results" / "small" / name, ROOT / "results" / name]
        )
        folder = next(at for at in places if (at / "verdicts.json").is_file())
        verdicts = {one["id"]: one for one in json.loads((folder / "verdicts.json").read_text("utf-8"))}
        if not ids:
            raise KeyError(f"{store} names no claim")
        tables += [verdicts[id] for id in ids]
    return tables


def leaves(table: object, key: str = "") -> Iterator[tuple[str, object]]:
    """Yield every number and string in a table with its key."""
    if isinstance(table, dict):
        for name, value in table.items():
            yield from leaves(value, name)
    elif isinstance(table, list):
        for value in table:
            yield from leaves(value, key)
    elif table is not None:
        yield key, table


def triples(table: object) -> Iterator[tuple[float, float, float]]:
    """Yield (value, low, high) for the statistic, the pooled estimates and the rows."""
    for verdict in (one for one in (table if isinstance(table, list) else [table]) if isinstance(one, dict)):
        if verdict.get("interval"):
            yield (verdict["statistic"], *verdict["interval"])
        yield from map(tuple, verdict.get("pooled", {}).values())
        if {"value", "low", "high"} <= verdict.keys():  # a row of a CSV file
            yield tuple(float(verdict[name]) for name in ("value", "low", "high"))
        for row in verdict.get("details", []):
            if None not in (row.get("value"), row.get("low"), row.get("high")):
                yield row["value"], row["low"], row["high"]


def is_printed(printed: str, value: float) -> bool:
    """Whether a value, rounded to the printed decimals, is the printed number; whole numbers (counts) must be exact."""
    digits = printed.replace(",", "")
    decimals = len(digits.partition(".")[2])
    return value == float(digits) if not decimals else abs(value - float(digits)) <= 0.5001 * 10.0**-decimals


def values(tables: list[object]) -> tuple[list[float], str]:
    """Return the numbers in the tables, verdicts and reasons included, and all cell names joined to one string."""
    numbers, cells = [], []
    for key, leaf in (pair for table in tables for pair in leaves(table)):
        if isinstance(leaf, (int, float)):
            numbers += [] if isinstance(leaf, bool) else [float(leaf)]
        elif key == "cell":
            cells.append(str(leaf))
        elif key not in ("id", "statement", "method", "cells", "minimum", "what"):
            numbers += [float(one.replace(",", "")) for one in LONE.findall(NO_RESULT.sub(" ", str(leaf)))]
    return numbers, "\n".join(cells)


def missing(text: str, tables: list[object]) -> list[str]:
    """Return the numbers of a text that the tables do not contain, except for numbers in settings."""
    numbers, cells = values(tables)
    intervals = [triple for table in tables for triple in triples(table)]
    absent = []
    for match in CELL.finditer(text):
        setting = re.sub(r"(?<=\d),|(?<!\d)(?=\.\d)", lambda at: "" if at[0] else "0", match[0])
        absent += [] if re.search(rf"(?<![\d.]){re.escape(setting)}(?![\d.])", cells) else [match[0]]
    text = CELL.sub(" ", text)
    for match in INTERVAL.finditer(text):
        held = any(all(map(is_printed, match.groups(), triple)) for triple in intervals)
        absent += [] if held else [match[0]]
    lone = LONE.findall(INTERVAL.sub(" ", text))
    return absent + [one for one in lone if not any(is_printed(one, value) for value in numbers)]


def faults(page: str) -> list[str]:
    """Return the mistakes on a page of findings, one sentence each."""
    wrong, empty = [], {}
    for finding, block in blocks(page):
        source = SOURCE.search(block)
        text = NO_RESULT.sub(" ", block[: source.start()] if source else block)
        has_number = bool(LONE.search(CELL.sub(" ", text)))
        if block.startswith("#"):
            empty |= {finding: True} if finding else {}
            wrong += [f"a number in a heading: {block}"] if LONE.search(text) else []
            continue
        empty[finding] = False
        if finding and not has_number:
            wrong.append(f"no number: {block}")
        if source is None:
            wrong += [f"no source: {block}"] if finding or LONE.search(text) else []
            continue
        try:
            tables = named(source[1])
        except (KeyError, OSError, StopIteration, UnicodeDecodeError):
            wrong.append(f"unknown source {source[1]}: {block}")
            continue
        wrong += [f"not in {source[1]}: {one} in {block}" for one in missing(text, tables)]
    return wrong + [f"no paragraph: {finding}" for finding, nothing in empty.items() if nothing]


def test_every_number_of_the_findings_is_in_the_table_that_its_paragraph_names():
    assert not (wrong := faults(PAGE)), "\n".join(wrong)


def test_every_number_of_the_page_on_resistance_is_in_the_table_that_its_paragraph_names():
    text = (ROOT / "docs" / "resistance.md").read_text("utf-8")
    # this file's tables come from scripts/resistance.py; tests/results/test_resistance.py compares them with the runs
    assert not (wrong := faults(re.sub(r"<!-- (.*?) -->.*?<!-- end \1 -->", "", text, flags=re.DOTALL))), "\n".join(
        wrong
    )


def test_every_number_that_came_out_in_readme_is_in_the_table_that_its_sentence_names():
    text = (ROOT / "README.md").read_text("utf-8")
    section = text.partition("## What came out\n")[2].partition("\n## ")[0]
    sentences = re.findall(r"^- .*?\(Source: [^()]+\)$", section, re.MULTILINE | re.DOTALL)
    assert len(sentences) == 3
    page = "### What came out\n\n" + "\n\n".join(one.removeprefix("- ") for one in sentences)
    assert not (wrong := faults(page)), "\n".join(wrong)


def test_each_verdict_that_fails_or_cannot_be_decided_has_a_finding():
    folders = sorted(
        path.parent for scale in ("small", "medium") for path in (ROOT / "results" / scale).glob("*/verdicts.json")
    )
    assert len(folders) >= 4
    for folder in folders:
        store = folder.name + (" medium" if folder.parent.name == "medium" else "")
        notes = [at[1].split("; ") for _, block in blocks(PAGE) if (at := SOURCE.search(block))]
        cited = {id for note in notes for part in note if part.split(", ")[0] == store for id in part.split(", ")[1:]}
        for verdict in json.loads((folder / "verdicts.json").read_text("utf-8")):
            if verdict["word"] not in ("holds", "not tested"):
                assert verdict["id"] in cited, f"{store} {verdict['id']}"


A5 = next(one for one in named("memorization-dilation, A5") if isinstance(one, dict))
SIZE = "{:.3f} [{:.3f}, {:.3f}]".format(A5["statistic"], *A5["interval"])
# the value is from one cell and the interval from another
OTHER = "{:.3f} [{:.3f}, {:.3f}]".format(A5["details"][0]["value"], A5["details"][1]["low"], A5["details"][1]["high"])
RIGHT = f"# Page\n\n### A5 holds\n\nOn {A5['runs']} runs with width 512 at eta .2 it is {SIZE}.\n"
NOTE = "(Source: memorization-dilation, A5)"


def test_a_page_with_its_numbers_is_right():
    assert faults(f"{RIGHT}{NOTE}") == []
    assert faults(f"{RIGHT}{NOTE}\n\n## No finding\n\nWords alone.") == []


@pytest.mark.parametrize(
    ("page", "fault"),
    [
        (f"{RIGHT.replace(SIZE, SIZE[:-2] + str((int(SIZE[-2]) + 1) % 10) + ']')}{NOTE}", "not in"),
        (f"{RIGHT.replace(SIZE, SIZE.split()[0] + '1')}{NOTE}", "not in"),
        (f"{RIGHT.replace(SIZE, OTHER)}{NOTE}", "not in"),
        (f"{RIGHT.replace(SIZE, SIZE.lstrip('-'))}{NOTE}", "not in"),
        (f"{RIGHT.replace(str(A5['runs']), str(A5['runs'] + 1))}{NOTE}", "not in"),
        # -.7 must not be accepted as the count -1
        (f"{RIGHT.replace('at eta', 'and -1 at eta')}{NOTE}", "not in"),
        (f"{RIGHT.replace('width 512', 'width 51')}{NOTE}", "not in"),
        (f"{RIGHT.replace('width 512', 'width 1,024')}{NOTE}", "not in"),
        (f"{RIGHT.replace('eta .2', 'rho .7312')}{NOTE}", "not in"),
        (RIGHT, "no source"),
        (f"{RIGHT}{NOTE} And {SIZE}.", "no source"),
        (f"{RIGHT}{NOTE.replace('A5', 'A99')}", "unknown source"),
        (f"{RIGHT}{NOTE.replace(', A5', '')}", "unknown source"),
        (f"{RIGHT}{NOTE.replace('memorization-dilation', 'nowhere')}", "unknown source"),
        (f"{RIGHT}(Source: results/benchmarks/nowhere.csv)", "unknown source"),
        (f"{RIGHT}(Source: results/demo/runs.parquet)", "unknown source"),
        (f"{RIGHT}(Source: results/benchmarks/noise_rate.csv)", "not in"),
        (f"{RIGHT}{NOTE}\n\nAt eta .2 with M = 2 it holds on 0/1. {NOTE}", "no number"),
        (f"{RIGHT}{NOTE}\n\n- one of 530\n- two {NOTE}", "no source"),
        (f"{RIGHT}{NOTE}\n\n| m |\n|---|\n| .7312 |\n\n{NOTE}", "not in"),
        (f"{RIGHT}{NOTE}\n\n### A5r fails\nIn .7312 of the runs. {NOTE}", "not in"),
        (f"{RIGHT}{NOTE}\n\n### A5r fails", "no paragraph"),
        (f"{RIGHT}{NOTE}\n\n### A5r fails in 3 cells\n\nIt is {SIZE}. {NOTE}", "a number in a heading"),
        (f"{RIGHT}{NOTE}\n\n## No finding\n\nOf 12 runs.", "no source"),
    ],
)
def test_a_wrong_page_is_refused(page, fault):
    assert [one for one in faults(page) if one.startswith(fault)], faults(page)
