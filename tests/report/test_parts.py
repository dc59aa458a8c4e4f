"""Foldable parts of the page: the page starts short; folded parts can be searched, linked to, printed and read."""

import pytest
from browsers import watched

from report import legibility

pytestmark = pytest.mark.browser
PATIENCE = 300_000
PHONE, DESK = 390, 1300
OPEN_ALL = "document.querySelectorAll('details').forEach((one) => { one.open = true; })"


@pytest.fixture(scope="module")
def address(page, tmp_path_factory):
    path = tmp_path_factory.mktemp("parts") / "index.html"
    path.write_text(page, "utf-8")
    return path.as_uri()


def opened(tab, address):
    tab.goto(address, timeout=PATIENCE)
    tab.wait_for_selector("html[data-drawn]", timeout=PATIENCE)
    return tab


@pytest.fixture(scope="module", params=[(PHONE, "dark"), (DESK, "light")], ids=["phone", "desk"])
def tab(request, browser, address):
    width, scheme = request.param
    with watched(browser, width, scheme) as (tab, _, _):
        yield opened(tab, address)


@pytest.mark.parametrize(("width", "most"), [(PHONE, 10_000), (DESK, 9_000)])
def test_the_page_is_short(browser, address, width, most):
    with watched(browser, width) as (tab, _, _):
        opened(tab, address)
        assert tab.evaluate("document.documentElement.scrollHeight") <= most
        assert tab.locator(".figure[open] .chart svg").count() == 4
        assert tab.locator(".verdict summary").count() > 12


def test_opened_parts_are_as_legible_as_the_page(tab):
    tab.evaluate(OPEN_ALL)
    tab.wait_for_timeout(500)
    texts, boxes = [], tab.evaluate(legibility.TITLES)
    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme=scheme)
        texts += tab.evaluate(legibility.TEXTS)
    wide = tab.evaluate(legibility.WIDE)
    cut = tab.evaluate(legibility.CUT_OFF)
    seen = tab.evaluate("[...document.querySelectorAll('.chart svg')].filter((one) => one.checkVisibility()).length")
    tab.evaluate("location.reload()")
    tab.wait_for_selector("html[data-drawn]", timeout=PATIENCE)
    assert seen == 9
    assert len(texts) > 3000
    assert sorted({(one["text"][:40], one["color"]) for one in texts if legibility.contrast(one) < 4.5}) == []
    assert len(boxes) > 100
    assert legibility.touching(boxes) == []
    assert cut == []
    assert [one["name"] for one in wide if "scroll" not in one["hint"]] == []


def test_a_chart_in_a_closed_part_is_drawn_for_the_width_that_it_will_have(tab):
    figure = tab.locator(".figure").last
    assert not figure.locator(".chart").is_visible()
    figure.locator("> summary").focus()
    tab.keyboard.press("Enter")
    chart = figure.locator(".chart")
    assert chart.is_visible()
    drawn = chart.evaluate("one => one.querySelector('svg').clientWidth")
    assert 0.6 * chart.evaluate("one => one.clientWidth") < drawn
    tab.keyboard.press("Enter")
    assert not chart.locator("svg").is_visible()


def test_no_chart_is_wider_than_a_desk(browser, address):
    with watched(browser, DESK) as (tab, _, _):
        opened(tab, address).evaluate(OPEN_ALL)
        tab.wait_for_timeout(300)
        wide = [one["name"] for one in tab.evaluate(legibility.WIDE)]
        assert [name for name in wide if not name.startswith("cells of ")] == []


def test_on_a_phone_panels_stand_in_a_row_and_the_legend_stays(browser, address):
    with watched(browser, PHONE) as (tab, _, _):
        chart = opened(tab, address).locator("[data-chart=wrong-labels]")
        chart.scroll_into_view_if_needed()
        panels = chart.locator(".root > g > g > .role-scope")
        boxes = [panels.nth(place).bounding_box() for place in range(panels.count())]
        assert len(boxes) == 4
        assert len({round(box["y"]) for box in boxes}) == 1
        assert boxes[0]["x"] >= 0
        assert boxes[0]["x"] + boxes[0]["width"] < PHONE, "the first panel is completely visible"
        assert boxes[1]["x"] < PHONE, "the edge of the second panel is visible"
        chart.evaluate("one => one.scrollTo({ left: one.scrollWidth, behavior: 'instant' })")
        tab.wait_for_timeout(300)
        last = panels.nth(3).bounding_box()
        assert last["x"] >= 0
        assert last["x"] + last["width"] <= PHONE
        legend = chart.locator(".role-legend-label text").first.bounding_box()
        assert 0 <= legend["x"] < PHONE / 2
        resting = chart.locator(".stop").evaluate_all("all => all.map((one) => one.offsetLeft)")
        assert len(resting) == 4
        assert resting == sorted(resting)


def test_a_button_opens_all_parts_of_its_section_and_closes_them(tab):
    button = tab.locator("button[data-opens=figures]")
    closed = tab.locator("#figures details:not([open])")
    assert (button.inner_text(), closed.count() > 5) == ("Open all figures", True)
    button.click()
    tab.wait_for_timeout(300)
    assert (button.inner_text(), closed.count()) == ("Close all figures", 0)
    button.click()
    tab.wait_for_timeout(300)
    assert (button.inner_text(), tab.locator("#figures details[open]").count()) == ("Open all figures", 0)


def test_a_search_finds_what_is_closed(browser, address, verdicts):
    """The test opens an address with a text fragment, for which a browser searches just as for Ctrl-F."""
    one = next(v for v in verdicts if v.word != "not tested" and v.bar)
    words = one.bar.split(",")[0].replace("-", "%2D").replace("&", "%26").replace(" ", "%20")
    with watched(browser, PHONE) as (tab, _, _):
        tab.goto(f"{address}#:~:text={words}", timeout=PATIENCE)
        tab.wait_for_selector(".verdict[open]", timeout=30_000)


def test_without_scripts_each_part_opens_and_all_are_printed(browser, address):
    context = browser.new_context(viewport={"width": DESK, "height": 900}, java_script_enabled=False)
    tab = context.new_page()
    tab.goto(address)
    more = tab.locator(".verdict .more dl").first
    assert not more.is_visible()
    tab.locator(".verdict summary").first.click()
    assert more.is_visible()
    assert tab.locator("button:visible").count() == 0
    tab.emulate_media(media="print")
    for what in (".verdict .more > dl", ".figure figcaption", ".resist table", "#made dl", ".untested li", ".key dl"):
        parts = tab.locator(what)
        assert parts.count() > 1
        assert [place for place in range(parts.count()) if not parts.nth(place).is_visible()] == [], what
    context.close()
