"""The report page: its headline numbers come from the tables, it loads nothing, and it is never left half-written."""

import json
import re
from html.parser import HTMLParser

import pytest
from figures import made

from byrote import claims, report
from byrote.analysis import Analysis
from byrote.report import headline as heads
from byrote.store import Results
from byrote.table import Table
from report.made_verdicts import verdict


class Page(HTMLParser):
    """Collects element ids, links, and the text of JSON blocks."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.addresses, self.json, self.stack, self.text = [], [], {}, [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.addresses += [attrs[name] for name in ("href", "src", "srcset", "action") if attrs.get(name)]
        self.stack.append((tag, attrs))

    def handle_data(self, data):
        tag, attrs = self.stack[-1] if self.stack else ("", {})
        if attrs.get("type") == "application/json":
            self.json[attrs["id"]] = json.loads(data)
        elif tag not in ("script", "style"):
            self.text.append(data)

    def handle_endtag(self, tag):
        while self.stack and self.stack.pop()[0] != tag:
            pass


def test_the_page_holds_every_part(page, analysis, verdicts):
    read = Page(page)
    text = " ".join(read.text)
    for sentence in heads.headline(analysis, verdicts):
        assert sentence in text
    for one in verdicts:
        assert f" {one.id} " in f" {text.replace(',', ' ')} ".replace("\n", " "), one.id
        assert one.statement in text
    assert {"verdicts", "figures", "resistance", "rerun", "made", "limits"} <= set(read.ids)
    assert len(read.ids) == len(set(read.ids))
    assert set(read.json["specs"]) == {name.removeprefix("figure-") for name in read.ids if name.startswith("figure-")}


def test_the_page_asks_for_nothing(page):
    outside = [one for one in Page(page).addresses if not one.startswith(("#", "figures/", "data:"))]
    assert outside == []
    assert "default-src 'none'" in page
    assert not re.search(r"@import|url\((?!['\"]?(data:|#))", Page(page) and page.split("</style>")[0])


def test_charts_need_no_eval(page):
    assert Page(page).json["options"] == {"actions": False, "renderer": "svg", "ast": True}
    assert "unsafe-eval" not in page


def test_hostile_text_stays_text():
    hostile = "</script><img src=x onerror=alert(1)>"
    rows = made.runs(made.Cells(made.TWO | {"part": hostile}, ("CE",), (0.2,), seeds=1, every=60))
    from byrote.report.page import render

    marks = {hostile: "holds", "MNIST": "holds"}
    text = render(made.analysis(rows, study=hostile), [verdict(reason=hostile, by_dataset=marks)], [])
    assert "<img src=x" not in text
    assert "&lt;img src=x" in text


def test_writing_gives_page_and_figures(small, tmp_path):
    path = report.write_report(small, claims.evaluate(small), tmp_path / "out")
    assert path == tmp_path / "out" / "index.html"
    linked = {one for one in Page(path.read_text("utf-8")).addresses if one.startswith(("figures/", "tables/"))}
    assert linked == {f"{file.parent.name}/{file.name}" for file in path.parent.glob("*/*")}
    assert len(linked) >= 12
    assert sorted(one.name for one in path.parent.iterdir()) == ["figures", "index.html", "tables"]


def test_equal_results_give_equal_pages(table, analysis, verdicts, page):
    from byrote import figures
    from byrote.report.page import render

    again = made.analysis(table, made.plane(table), machine={"processors": 2, "torch": "2.13"})
    assert render(again, verdicts, figures.draw(again)) == page


def test_an_empty_store_has_no_page(tmp_path):
    with pytest.raises(ValueError, match="at least one finished run"):
        report.write_report(Analysis.of(Results(Table({}), Table({}), "", {})), [], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
