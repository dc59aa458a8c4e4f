"""How a notebook shows a verdict; text in the verdict cannot inject HTML."""

from byrote.claims import Verdict


def verdict(id: str, word: str, statistic, interval, reason: str = "") -> Verdict:
    text = "fails in 1 of 3 cells" if word == "fails in" else word
    return Verdict(id, "LS < CE", word, text, statistic, interval, "below 0", 12, None, "m", "c", "2", "p", reason)


def test_a_verdict_as_html():
    text = verdict("A5", "fails in", 0.25, (0.1, 0.4), "x & y")._repr_html_()
    assert "<b>A5</b> <b" in text
    assert "◔ fails in 1 of 3 cells</b>: LS &lt; CE" in text
    assert "0.25 [0.1, 0.4]; bar: below 0; 12 runs; x &amp; y" in text
    assert "None" not in verdict("A7", "not tested", None, None)._repr_html_()
