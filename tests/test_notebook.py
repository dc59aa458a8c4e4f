"""Stores, tables and verdicts in a notebook are legible on light and dark backgrounds; the tutorial notebook runs."""

import json
import re
from pathlib import Path

import pytest

import byrote
from byrote import claims
from byrote.analysis import Analysis
from byrote.claims import shown
from byrote.claims.verdict import Verdicts
from byrote.table import Table

ROOT = Path(__file__).resolve().parent.parent
TUTORIAL = ROOT / "docs" / "tutorial.ipynb"


@pytest.fixture(scope="module")
def store():
    return byrote.open(ROOT / "results" / "demo")


def cells(text):
    rows = re.findall(r"<tr>(.*?)</tr>", text, re.DOTALL)
    return [[re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in rows]


def test_a_table_shows_its_first_rows_and_its_size():
    table = Table({"loss": ["<b>CE</b>"] * 12, "j1": [0.123456, float("nan"), *[1.0] * 10], "n": range(12)})
    text = table._repr_html_()
    assert "<b>CE" not in text
    assert cells(text)[:3] == [
        ["loss", "j1", "n"],
        ["&lt;b&gt;CE&lt;/b&gt;", "0.1235", "0"],
        ["&lt;b&gt;CE&lt;/b&gt;", "–", "1"],
    ]
    assert len(cells(text)) == 11
    assert "the first 10 of 12 rows, 3 columns" in text
    assert "the first" not in Table({"a": [1]})._repr_html_()
    assert "0 rows" in Table({})._repr_html_()


def test_a_store_shows_its_settings(store):
    text = store._repr_html_()
    assert "<b>demo</b>" in text
    finished = len(store.analysis.runs)
    assert f"{finished} finished runs" in text
    rows = cells(text)
    assert rows[0] == ["setting", "losses", "noise rates", "seeds", "runs"]
    assert sum(int(row[-1]) for row in rows[1:]) == finished
    assert any("CE, LS" in row[1] and row[2].startswith("0, 0.1, 0.2, 0.4") for row in rows[1:])


def test_verdicts_show_themselves_as_a_table(store):
    verdicts = claims.evaluate(store.analysis, ["B7", "A5", "C4"])
    assert isinstance(verdicts, Verdicts)
    rows = cells(verdicts._repr_html_())
    assert rows[0] == ["claim", "statement", "verdict", "estimate", "bar", "runs", "reason"]
    assert [row[0] for row in rows[1:]] == ["B7", "A5", "C4"]
    for row, verdict in zip(rows[1:], verdicts, strict=True):
        assert row[2] == f"{shown.SIGNS[verdict.word]} {verdict.verdict}"
        assert row[3] == shown.estimate(verdict)


def luminance(color):
    parts = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in color]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


def contrast(one, two):
    low, high = sorted((luminance(one), luminance(two)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("ink", "ground"), [(0.0, 1.0), (0.13, 1.0), (0.88, 0.07), (1.0, 0.0)])
def test_the_words_are_legible_on_light_and_on_dark_ground(ink, ground):
    """WCAG AA requires a contrast of 4.5. The CSS function color-mix in sRGB is a weighted mean of two colors."""
    for word, hue in shown._HUES.items():
        color = [0.55 * int(hue[at : at + 2], 16) / 255 + 0.45 * ink for at in (1, 3, 5)]
        assert contrast(color, [ground] * 3) >= 4.5, word


def notebook():
    return json.loads(TUTORIAL.read_text("utf-8"))


def code():
    return ["".join(cell["source"]) for cell in notebook()["cells"] if cell["cell_type"] == "code"]


def test_the_tutorial_is_committed_without_outputs():
    assert TUTORIAL.stat().st_size < 20_000
    for cell in notebook()["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
            compile("".join(cell["source"]), "tutorial", "exec")
    assert len(code()) >= 6


@pytest.mark.long
def test_the_tutorial_runs(tmp_path):
    nbformat = pytest.importorskip("nbformat", reason="needs the extra: pip install 'byrote[notebook]'")
    nbclient = pytest.importorskip("nbclient", reason="needs the extra: pip install 'byrote[notebook]'")
    pytest.importorskip("ipykernel", reason="needs the extra: pip install 'byrote[notebook]'")
    book = nbformat.read(TUTORIAL, as_version=4)
    nbclient.NotebookClient(
        book, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    shown = [out for cell in book.cells if cell.cell_type == "code" for out in cell.outputs if "data" in out]
    html = [out["data"]["text/html"] for out in shown if "text/html" in out["data"]]
    assert sum("byrote-verdicts" in text for text in html) >= 1
    assert sum("byrote-table" in text for text in html) >= 1
    assert sum("<iframe" in text for text in html) >= 1


def test_an_empty_analysis_shows_itself():
    from byrote.store import Results

    empty = Analysis.of(Results(Table({}), Table({}), "", {}))
    from byrote.analysis.shown import store_html

    assert "0 finished runs" in store_html(Path("runs/x"), {}, empty)


def test_short_values_of_a_table_stay_on_one_line():
    text = Table({"part": ["two-class"], "error": ["word " * 40]})._repr_html_()
    assert re.search(r'<td style="[^"]*white-space:nowrap">two-class</td>', text)
    assert not re.search(r'nowrap">word word', text)
