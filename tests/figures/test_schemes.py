"""In a browser, the text and colors of a figure's SVG file are legible on light and dark backgrounds."""

import pytest
from report import legibility

from byrote import figures
from byrote.figures.offline import with_schemes

GROUNDS = {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 18, 18)"}


def test_colors_that_a_picture_lacks_have_no_rule():
    drawn = '<svg width="1"><path stroke="#0072B2"/></svg>'
    text = with_schemes(drawn)
    assert text.startswith('<svg width="1"><style>@media screen and (prefers-color-scheme:light)')
    assert "#3FA3E0" in text
    assert "#CC79A7" not in text
    assert "[stroke='white']" not in text
    assert text.count("<style>") == 1
    assert text[: text.index("<style>")] + text[text.index("</style>") + 8 :] == drawn


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_file_is_legible_on_either_ground(browser, drawn, tmp_path, scheme):
    context = browser.new_context(color_scheme=scheme)
    tab = context.new_page()
    for name in ("wrong-labels", "memorization-dilation", "resistance"):
        path = figures.save(drawn[name], tmp_path)[0]
        tab.goto(path.as_uri())
        ink = tab.evaluate(
            "[...new Set([...document.querySelectorAll('text')].map((one) => getComputedStyle(one).fill))]"
        )
        marks = tab.evaluate(
            "[...document.querySelectorAll('.role-legend-symbol path')].map((one) => getComputedStyle(one).stroke)"
        )
        for colors, least in ((ink, 7), (marks, 3)):
            seen = [{"color": color, "opacity": 1, "ground": GROUNDS[scheme]} for color in colors]
            assert seen, name
            assert [one["color"] for one in seen if legibility.contrast(one) < least] == [], name
    context.close()
