"""What the desk shows, without a browser."""

import re

import pytest
from audit.folders import images, table

from byrote.audit.checking import Checks
from byrote.audit.folder import draw_plan
from byrote.audit.shown import Samples
from byrote.desk.keys import class_keys
from byrote.desk.view import band, view


def shown(checks, texts=None, **more):
    return view(checks, texts or {}, folder="audit", pictures="/t/picture/", **more)


def test_a_sample_its_given_label_and_nothing_that_networks_think(tmp_path):
    audit = images(tmp_path)
    draw_plan(tmp_path / "audit", checks=10, twice=2)
    checks = Checks(tmp_path / "audit")
    for place in range(10):
        html = shown(checks)
        row = checks.rows[place]
        assert f'data-place="{place}"' in html
        assert f'src="/t/picture/{place}"' in html
        assert f"{place + 1} of 10" in html
        assert ("second look" in html) == (place >= 8)
        assert f"</span> {checks.given(row)}<span" in html
        assert audit.samples["reason"][row] not in html or not audit.samples["reason"][row]
        for word in ("suggested", "suspect", "probability", f"{audit.samples['probability'][row]:.2f}"):
            assert word not in html
        keys = re.findall(r'data-said="([^"]+)"', html)
        others = [f"class:{name}" for name in audit.names if name != checks.given(row)]
        assert keys == ["y", "n", "unsure", *others, *(["undo"] if place else [])]
        checks.answer(place, "y")
    html = shown(checks)
    assert "All 10 looks are answered" in html
    assert re.findall(r'data-said="([^"]+)"', html) == ["end", "undo"]
    assert "interval, estimate 0.0%" in html


def test_texts_are_escaped_and_whole(tmp_path):
    audit = table(tmp_path, text="A <script>alert(1)</script> & more " + "x" * 3000)
    draw_plan(tmp_path / "audit", checks=20)
    checks = Checks(tmp_path / "audit")
    texts = Samples(audit).fields(sorted(set(checks.rows)), 20_000)
    html = shown(checks, texts, message="<b>no</b>")
    assert "<script>" not in html
    assert "A &lt;script&gt;alert(1)&lt;/script&gt; &amp; more " + "x" * 3000 in html
    assert "&lt;b&gt;no&lt;/b&gt;" in html
    assert "<img" not in html


def test_an_ended_desk_takes_no_answer(tmp_path):
    images(tmp_path)
    draw_plan(tmp_path / "audit", checks=20)
    html = shown(Checks(tmp_path / "audit"), ended="Nobody answered for a while.")
    assert "data-said" not in html
    assert "0 of 20 looks are answered" in html
    assert "byrote audit check audit" in html


@pytest.mark.parametrize(
    "names", [["a", "b"], list("0123456789"), [f"c{k}" for k in range(10)], ["1", "x"], ["1", "12"]]
)
def test_a_key_names_one_class_and_no_digit_means_another_class(names):
    keys = class_keys(names)
    assert len(set(keys.values())) == len(keys)
    assert not set(keys) & set("ynuzc")
    for key, name in keys.items():
        assert key == name or not any(one.isdigit() for one in names)


def test_the_band_stays_in_its_box():
    low, high = tuple(0.1 * k / 40 for k in range(40)), tuple(1 - 0.8 * k / 40 for k in range(40))
    points = [tuple(map(float, pair.split(","))) for pair in band(low, high, 80)["points"].split()]
    assert len(points) == 80
    assert all(0 <= x <= 300 and 0 <= y <= 96 for x, y in points)
    assert [x for x, _ in points[:40]] == sorted(x for x, _ in points[:40])
    assert all(below >= above for (_, below), (_, above) in zip(points[:40], points[:39:-1], strict=True))
    assert band((), (), 10) == {}
