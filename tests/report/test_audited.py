"""The report page of an audit: its sentences, the statements that it never makes, and its size."""

import json
import re

import numpy as np
import pytest
from audit.folders import images, probabilities, table, truth

from byrote.audit import Audit, audit_probabilities
from byrote.audit.checking import Checks
from byrote.audit.folder import draw_plan, settle_folder
from byrote.report.audited import write_audit_page
from byrote.report.audited.answer import answer, premise, share, ways
from byrote.report.audited.charts import margins, picture
from byrote.report.audited.samples import SHOWN, chosen
from report import legibility

LONGEST = {390: 9_000, 1300: 6_500}
"""The largest allowed height of the page of an audit, by the width of the screen, in pixels."""


def text_of(page):
    """Return the text that a reader of the page sees."""
    body = page[page.index("<body>") :]
    body = re.sub(r"<script.*?</script>|<style.*?</style>", " ", body, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


def answered(folder, count):
    true, given = truth()
    draw_plan(folder, checks=40, twice=4)
    checks = Checks(folder)
    for place in range(count):
        row = checks.rows[place]
        checks.answer(place, "y" if true[row] == given[row] else "n")
    return settle_folder(folder)


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    at = tmp_path_factory.mktemp("audited")
    return images(at), at / "audit"


@pytest.fixture(scope="module")
def page(audited):
    return write_audit_page(audited[1]).read_text("utf-8")


def test_three_sentences_and_the_premise(audited):
    audit, _ = audited
    messages = answer(audit, None, "audit")
    assert len(messages) == 3
    known = "provided that the noise is symmetric" if audit.rate.verdict == "stated" else "Labels alone cannot tell"
    assert known in messages[0]
    assert f"{len(audit.ranked):,} labels" in messages[1]
    assert "byrote audit plan audit --checks 200" in messages[2]
    name, words = premise(audit, None)
    assert words == audit.rate.premise if audit.rate.verdict == "stated" else name == "What would help"


def test_what_was_settled_comes_first(tmp_path):
    audit = images(tmp_path)
    _, so_far = answered(tmp_path / "audit", 12)
    messages = answer(audit, so_far, "audit")
    assert "after 12 of 36 planned checks" in messages[0]
    for place in range(12, 40):
        checks = Checks(tmp_path / "audit")
        true, given = truth()
        row = checks.rows[place]
        checks.answer(place, "y" if true[row] == given[row] else "n")
    settled, outcome = settle_folder(tmp_path / "audit")
    messages = answer(audit, outcome, "audit")
    assert messages[0].startswith(f"Between {share(settled.rate.low)} and {share(settled.rate.high)} of the 300 labels")
    assert f"{share(settled.precision.low)} to {share(settled.precision.high)} are wrong" in messages[1]
    page = text_of(write_audit_page(tmp_path / "audit").read_text("utf-8"))
    for word in ("What the checks settle", settled.premise, "Checked by stratum", "wrong among bee"):
        assert word in page
    for stratum in outcome["strata"]:
        cells = (stratum["stratum"], f"{stratum['samples']:,}", stratum["checked"], stratum["wrong"], stratum["unsure"])
        assert " ".join(map(str, cells)) in page
    last = ways(audit, outcome)[-1]
    assert (last["name"], last["value"]) == ("checks, settled", share(settled.rate.value))


def test_another_plans_outcome_is_not_shown(tmp_path):
    images(tmp_path)
    answered(tmp_path / "audit", 40)
    (tmp_path / "audit" / "plan.json").unlink()
    (tmp_path / "audit" / "answers.csv").unlink()
    draw_plan(tmp_path / "audit", checks=40, seed=1)
    assert "What the checks settle" not in write_audit_page(tmp_path / "audit").read_text("utf-8")


def test_every_suspect_has_a_picture_with_both_labels_probability_reason_and_name(audited, page):
    audit, _ = audited
    words = text_of(page)
    assert f"All {len(audit.ranked)} suspects are shown" in words
    assert page.count('<img src="data:image/png') >= len(audit.ranked)
    for row in audit.ranked.tolist():
        name, given = audit.samples["id"][row], audit.names[audit.samples["given"][row]]
        assert f'alt="{name}, given as {given}"' in page
        assert audit.samples["reason"][row] in words
    assert audit.transition.premise in words or audit.transition.reason in words
    assert "makes no claim about the true label of any sample" in words
    assert "left out 2 files" in words


def test_nothing_is_asked_of_a_network(page):
    addresses = re.findall(
        r'(?:src|href|action|srcset)="([^"]*)"', page[: page.index('<script type="application/json"')]
    )
    assert all(one.startswith(("data:", "#")) or "/" not in one for one in addresses)
    assert "default-src 'none'" in page


def test_links_lead_to_files_that_are_there(audited, page):
    _, folder = audited
    links = re.findall(r'<a href="([^"#]+)"', page)
    assert links
    assert all((folder / one).exists() for one in links)
    assert "byrote audit export" in page


def test_texts_of_a_table_are_escaped(tmp_path):
    table(tmp_path, text="A <script>alert(1)</script> letter")
    page = write_audit_page(tmp_path / "audit").read_text("utf-8")
    assert "A &lt;script&gt;alert(1)&lt;/script&gt; letter" in page
    assert "<script>alert" not in page
    assert '<img src="data' not in page


def test_thousands_of_suspects_make_a_page_of_bounded_size(tmp_path):
    n = 6000
    true, _ = truth(n)
    given = (true + 1) % 3
    given[: n // 2] = true[: n // 2]
    audit = audit_probabilities(probabilities(true), given, ("ant", "bee", "cow"))
    columns = dict(audit.samples)
    columns["suspect"] = true != given
    audit = Audit(audit.names, columns, audit.rate, audit.transition, audit.confused, audit.advice, audit.about)
    audit.save(tmp_path)
    page = write_audit_page(tmp_path).read_text("utf-8")
    assert f"{SHOWN} of 3,000 suspects are shown" in text_of(page)
    assert page[: page.index('id="matrix"')].count('class="reason"') == SHOWN
    assert len(page) < 3_000_000


def test_shares_of_the_page_are_even():
    rng = np.random.default_rng(0)
    for _ in range(200):
        sizes = rng.integers(0, 50, rng.integers(1, 9)).tolist()
        most = int(rng.integers(0, 120))
        taken = chosen(sizes, most)
        assert sum(taken) == min(sum(sizes), most)
        assert all(n <= size for n, size in zip(taken, sizes, strict=True))
        open_ = [n for n, size in zip(taken, sizes, strict=True) if n < size]
        assert not open_ or max(taken) - min(open_) <= 1


def test_the_picture_counts_every_label_once(audited):
    audit, _ = audited
    figure = picture(audit)
    assert json.dumps(figure.spec, allow_nan=False)
    rows = [json.loads(text) if isinstance(text, str) else text for text in figure.spec["datasets"].values()]
    totals = [sum(row["labels"] for row in part) for part in rows if part and "top" in part[0]]
    suspects = int(audit.samples["suspect"].sum())
    assert len(audit) in totals
    assert any(suspects <= total < len(audit) for total in totals)
    score = audit.samples["score"]
    assert (np.argsort(margins(audit), kind="stable")[:5] == np.argsort(-score, kind="stable")[:5]).all() or (
        margins(audit)[score.argmax()] == margins(audit).min()
    )
    counted = [part for part in rows if part and "high" in part[0] and "top" not in part[0]]
    if sum(audit.rate.profile):
        assert [row["labels"] for row in counted[0]] == list(audit.rate.profile)
        assert [row["kind"] for row in counted[0]].count("counted") == audit.rate.counted


@pytest.mark.browser
@pytest.mark.every(2)
@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1300, "light"), (1300, "dark"), (390, "light")])
def test_the_page_in_a_browser(width, scheme, browser, audited, page):
    from browsers import watched

    address = (audited[1] / "index.html").as_uri()
    with watched(browser, width, scheme) as (tab, messages, requests):
        tab.goto(address)
        tab.wait_for_selector("html[data-drawn]", timeout=90_000)
        assert messages == []
        assert [one for one in requests if not one.startswith("data:")] == [address]
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.locator(".chart svg").count() == 1
        broken = "[...document.images].filter((one) => one.complete && !one.naturalWidth).length"
        assert tab.evaluate(broken) == 0
        assert tab.locator("h1").count() == 1
        assert tab.evaluate("document.documentElement.scrollHeight") <= LONGEST[width]
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.textContent") == "Skip to the suspects"
        assert tab.locator(".cards .reason:visible").count() < len(audited[0].ranked)
        tab.locator("button[data-opens=suspects]").click()
        assert tab.locator("#suspects .cards .reason:visible").count() == len(audited[0].ranked)
        tab.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        tab.wait_for_timeout(300)
        texts = tab.evaluate(legibility.TEXTS)
        assert len(texts) > 300
        assert sorted({(one["text"][:40], one["color"]) for one in texts if legibility.contrast(one) < 4.5}) == []
        assert tab.evaluate(legibility.CUT_OFF) == []
        assert [one["name"] for one in tab.evaluate(legibility.WIDE) if "scroll" not in one["hint"]] == []
