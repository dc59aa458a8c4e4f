"""A verdict shows itself in a notebook, with nothing that its text could do to the page."""

from byrote.claims import Verdict


def test_a_verdict_as_html():
    verdict = Verdict("A5", "LS < CE", "fails", 0.25, (0.1, 0.4), "below 0", 12, None, "m", "a", "2", "p", "x & y")
    text = verdict._repr_html_()
    assert "<b>A5 fails</b>: LS &lt; CE" in text
    assert "0.25 [0.1, 0.4]; bar: below 0; 12 runs; x &amp; y" in text
    untested = Verdict("A7", "s", "not tested", None, None, "b", 0, None, "m", "a", "2", "p")
    assert "None" not in untested._repr_html_()
