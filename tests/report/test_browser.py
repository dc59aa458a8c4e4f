"""The page in a real browser: every chart drawn, nothing said on the console, nothing asked of any network."""

import pytest

pytestmark = pytest.mark.browser
PATIENCE = 300_000
"""How long a page may take to be drawn, in milliseconds: a machine may be busy with other work."""


@pytest.fixture(scope="module")
def site(page, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    (folder / "index.html").write_text(page, "utf-8")
    return (folder / "index.html").as_uri()


@pytest.fixture(scope="module")
def opened(browser, site):
    """The page once all charts are drawn, and what the browser reported until then."""
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
    """The page on a phone at night, once all charts are drawn."""
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


@pytest.mark.long
def test_the_page_that_the_command_line_writes(browser, tmp_path):
    """`byrote report` on the committed demo: drawn, silent, offline, with every claim that the command judges."""
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
    context.close()


@pytest.mark.parametrize(
    ("ink", "ground", "line"), [("rgb(17, 17, 17)", "white", "#0072B2"), ("rgb(224, 224, 224)", "#111", "#3FA3E0")]
)
def test_a_figure_in_a_notebook_takes_the_ink_around_it(browser, analysis, tmp_path, ink, ground, line):
    from byrote import figures

    (figure,) = figures.draw(analysis, "wrong-labels")
    cell = figure._repr_mimebundle_()["text/html"]
    page = f"<html><body style='background:{ground};color:{ink}'><div>{cell}</div></body></html>"
    (tmp_path / "book.html").write_text(f"<!doctype html><meta charset='utf-8'>{page}", "utf-8")
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
    tab.close()
