"""In a real browser, the page draws every chart, logs nothing to the console, and sends no network requests."""

import io

import pytest
from PIL import Image

from report import legibility

pytestmark = pytest.mark.browser
PATIENCE = 300_000
"""The time limit, in milliseconds, for drawing a page, generous enough for a busy machine."""


@pytest.fixture(params=["light", "dark"])
def scheme(request):
    return request.param


@pytest.fixture(scope="module")
def site(page, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    (folder / "index.html").write_text(page, "utf-8")
    return (folder / "index.html").as_uri()


@pytest.fixture(scope="module")
def opened(browser, site):
    """Open the page and wait for all charts; return it, and the browser's messages and requests so far."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    tab = context.new_page()
    messages, requests = [], []
    tab.on("console", lambda message: messages.append(f"{message.type}: {message.text}"))
    tab.on("pageerror", lambda error: messages.append(f"error: {error}"))
    tab.on("request", lambda request: requests.append(request.url))
    tab.goto(site, timeout=PATIENCE)
    tab.wait_for_selector("html[data-drawn]", timeout=PATIENCE)
    yield tab, messages, requests
    context.close()


def test_every_chart_is_drawn_silently_and_nothing_is_requested(opened, site):
    tab, messages, requests = opened
    assert messages == []
    assert requests == [site]
    tab.evaluate("document.querySelectorAll('.figure').forEach((one) => { one.open = true; })")
    charts = tab.locator(".chart")
    assert charts.count() == 9
    for place in range(charts.count()):
        marks = charts.nth(place).locator("svg .mark-symbol path, svg .mark-line path")
        assert marks.count() > 4, charts.nth(place).get_attribute("data-chart")
        box = charts.nth(place).locator("svg").bounding_box()
        assert box["width"] > 300
        assert box["height"] > 150


def test_a_click_in_the_legend_singles_out_a_loss(opened):
    tab, _, _ = opened
    chart = tab.locator("[data-chart=wrong-labels]")
    faint = lambda: chart.locator("svg .mark-line path[opacity='0.07'], svg .mark-line path[stroke-opacity='0.07']")  # noqa: E731
    before = faint().count()
    chart.locator(".role-legend-label text", has_text="RLL").first.click()
    tab.wait_for_timeout(300)
    assert before == 0
    assert faint().count() >= 5
    chart.locator(".role-legend-label text", has_text="RLL").first.dblclick()
    tab.wait_for_timeout(1500)
    assert faint().count() == 0


def test_verdicts_open_with_the_keyboard(opened):
    tab, _, _ = opened
    summary = tab.locator(".verdict summary").first
    summary.focus()
    assert tab.evaluate("document.activeElement.tagName") == "SUMMARY"
    tab.keyboard.press("Enter")
    assert tab.locator(".verdict").first.evaluate("one => one.open")
    assert tab.locator(".verdict .more").first.is_visible()


@pytest.fixture(scope="module")
def phone(browser, site):
    """Open the page at phone width in dark mode, and wait for all charts."""
    context = browser.new_context(viewport={"width": 390, "height": 800}, color_scheme="dark")
    tab = context.new_page()
    tab.goto(site, timeout=PATIENCE)
    tab.wait_for_selector("html[data-drawn]", timeout=PATIENCE)
    yield tab
    context.close()


def test_the_page_fits_a_phone_and_the_dark(phone):
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    ground, ink = (phone.evaluate(f"getComputedStyle(document.body).{name}") for name in ("backgroundColor", "color"))
    luminance = lambda rgb: sum(int(part) for part in rgb[4:-1].split(","))  # noqa: E731
    assert luminance(ground) < 150 < 500 < luminance(ink)
    label = phone.locator("[data-chart=wrong-labels] .role-axis-label text").first
    assert label.evaluate("one => getComputedStyle(one).fill") == ink


def test_nothing_is_cut_off_on_a_phone_and_what_scrolls_has_a_hint(phone):
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    assert phone.evaluate(legibility.CUT_OFF) == []
    wide = phone.evaluate(legibility.WIDE)
    assert "resistance" in " ".join(one["name"] for one in wide)
    assert [one["name"] for one in wide if "scroll" not in one["hint"]] == []


def test_text_and_marks_stand_out_from_the_ground(opened, scheme):
    tab, _, _ = opened
    tab.emulate_media(color_scheme=scheme)
    tab.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    texts = tab.evaluate(legibility.TEXTS)
    marks = tab.evaluate(legibility.MARKS)
    halos = tab.evaluate(legibility.OUTLINES)
    ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    tab.emulate_media(color_scheme="light")
    assert len(texts) > 500
    assert sorted({(one["text"][:40], one["color"]) for one in texts if legibility.contrast(one) < 4.5}) == []
    assert len(marks) > 100
    assert sorted({(one["chart"], one["color"]) for one in marks if legibility.contrast(one) < 3}) == []
    assert set(halos) == {ground}


def test_titles_and_legends_never_touch(opened, phone):
    for tab in (opened[0], phone):
        boxes = tab.evaluate(legibility.TITLES)
        assert len(boxes) > 40
        assert legibility.touching(boxes) == []


def test_a_click_in_the_legend_takes_bands_along(opened):
    tab, _, _ = opened
    chart = tab.locator("[data-chart=wrong-labels]")
    bands = "nodes => nodes.map((one) => Number(one.getAttribute('opacity') ?? one.getAttribute('fill-opacity')))"
    before = chart.locator("svg .mark-area path").evaluate_all(bands)
    chart.locator(".role-legend-label text", has_text="RLL").first.click()
    tab.wait_for_timeout(500)
    after = chart.locator("svg .mark-area path").evaluate_all(bands)
    chart.locator(".role-legend-label text", has_text="RLL").first.dblclick()
    tab.wait_for_timeout(1500)
    assert set(before) == {0.16}
    assert set(after) == {0.16, 0.0112}
    assert after.count(0.0112) > after.count(0.16)


def test_a_mark_of_the_map_leads_to_the_claim(opened):
    tab, _, _ = opened
    tab.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = false; })")
    mark = tab.locator("#map td a:not(.v-not-tested)").first
    assert ":" in mark.get_attribute("title")
    mark.click()
    claim = tab.locator(mark.get_attribute("href"))
    claim.locator(".more").wait_for(state="visible", timeout=10_000)
    untested = tab.locator("#map a", has_text="not tested").first
    untested.click()
    tab.locator(untested.get_attribute("href")).wait_for(state="visible", timeout=10_000)


@pytest.mark.long
def test_the_page_that_the_command_line_writes(browser, tmp_path):
    """The report on the committed demo draws all charts without messages or requests, and shows every judged claim."""
    from pathlib import Path

    from byrote.cli import main

    demo = Path(__file__).resolve().parent.parent.parent / "results" / "demo"
    assert main(["-q", "report", str(demo), "--out", str(tmp_path)]) == 0
    address = (tmp_path / "index.html").as_uri()
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    messages, requests = [], []
    tab.on("console", lambda message: messages.append(message.text))
    tab.on("pageerror", lambda error: messages.append(str(error)))
    tab.on("request", lambda request: requests.append(request.url))
    tab.goto(address)
    tab.wait_for_selector("html[data-drawn]", timeout=PATIENCE)
    assert messages == []
    assert requests == [address]
    assert tab.locator(".chart svg").count() == tab.locator(".chart").count() >= 6
    assert "112 runs" in tab.locator("body").inner_text()
    tab.set_viewport_size({"width": 390, "height": 800})
    tab.wait_for_function("document.querySelector('.chart svg').clientWidth > innerWidth", timeout=PATIENCE)
    assert tab.evaluate("document.documentElement.scrollHeight") <= 10_000
    context.close()


@pytest.mark.parametrize(
    ("ink", "ground", "line"),
    [("rgb(17, 17, 17)", "#ffffff", "#0072B2"), ("rgb(224, 224, 224)", "#111111", "#3FA3E0")],
)
@pytest.mark.parametrize("notebook", ["", "light", "dark"])
def test_a_figure_in_a_notebook_takes_the_ink_around_it(browser, analysis, tmp_path, ink, ground, line, notebook):
    """A figure uses the colors of the notebook around it, whatever color scheme the notebook declares."""
    from byrote import figures

    (figure,) = figures.draw(analysis, "wrong-labels")
    cell = figure._repr_mimebundle_()["text/html"]
    page = f"<html><body style='margin:0;background:{ground};color:{ink}'><div>{cell}</div></body></html>"
    scheme = f"<meta name='color-scheme' content='{notebook}'>" if notebook else ""
    (tmp_path / "book.html").write_text(f"<!doctype html><meta charset='utf-8'>{scheme}{page}", "utf-8")
    tab = browser.new_page(color_scheme="light")
    messages = []
    tab.on("pageerror", lambda error: messages.append(str(error)))
    tab.goto((tmp_path / "book.html").as_uri())
    inner = tab.frame_locator("iframe")
    inner.locator("svg .mark-line path").first.wait_for(timeout=60_000)
    assert messages == []
    body = inner.locator("body")
    assert body.evaluate("b => getComputedStyle(b).color") == ink
    drawn = {one.evaluate("p => getComputedStyle(p).stroke") for one in inner.locator("svg .mark-line path").all()}
    assert f"rgb({', '.join(str(int(line[at : at + 2], 16)) for at in (1, 3, 5))})" in drawn
    picture = Image.open(io.BytesIO(tab.locator("iframe").screenshot())).convert("RGB")
    assert picture.getpixel((2, 2)) == tuple(int(ground[at : at + 2], 16) for at in (1, 3, 5))
    tab.close()
