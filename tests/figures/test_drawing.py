"""Every figure is drawn from tables alone, has a caption, is written completely, and displays offline."""

import json
import re
import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest

from byrote import figures
from byrote.figures import Figure, Source, offline
from byrote.figures.base import figure
from byrote.figures.style import DARK, LIGHT, LOSSES, loss_style
from byrote.table import Table
from figures import made
from figures.made import analysis

NAMES = {
    "wrong-labels",
    "memorization-dilation",
    "test-accuracy",
    "training-accuracy",
    "observed-and-true",
    "resistance",
    "feature-plane",
    "collapse-over-time",
    "prediction",
}


def test_the_demo_has_every_figure_but_the_one_on_feature_widths(drawn):
    assert set(drawn) == NAMES
    assert "feature-width" in {source.name for source in figures.registered()}


def test_order_is_that_of_the_page(drawn):
    places = {source.name: source.order for source in figures.registered()}
    assert list(drawn) == sorted(drawn, key=lambda name: places[name])


@pytest.mark.parametrize("name", sorted(NAMES))
def test_captions_name_runs_and_units(drawn, name):
    caption = drawn[name].caption
    assert re.search(r"\bn: ", caption), "the caption states the number of runs"
    assert re.search(r"percent|feature units|units of the features|pure number", caption), "units"
    assert drawn[name].spec["description"].startswith(drawn[name].title)


def test_no_dataset_is_larger_than_vega_lite_charts_should_carry(drawn):
    sizes = {name: max(map(len, one.spec["datasets"].values())) for name, one in drawn.items()}
    assert max(sizes.values()) <= 1000, sizes


def scales(node, channel):
    """Yield every scale of losses in this channel (color or shape) of a Vega specification, as a dictionary."""
    if isinstance(node, dict):
        one = node.get("encoding", {}).get(channel, {})
        if one.get("field") == "loss" and "scale" in one:
            yield dict(zip(one["scale"]["domain"], map(str, one["scale"]["range"]), strict=True))
        for value in node.values():
            yield from scales(value, channel)
    elif isinstance(node, list):
        for value in node:
            yield from scales(value, channel)


@pytest.mark.parametrize(("channel", "field"), [("color", "color"), ("shape", "shape")])
def test_one_color_and_one_mark_a_loss_throughout(drawn, channel, field):
    seen = {}
    for one in drawn.values():
        for scale in scales(one.spec["concat"], channel):
            for loss, value in scale.items():
                seen.setdefault(loss, set()).add(value)
    assert seen == {loss: {getattr(LOSSES[loss], field)} for loss in seen}
    assert set(seen) == {"CE", "LS", "LR", "MSE", "MSE-p", "RLL", "nMSE"}


def test_losses_are_told_apart_without_color():
    assert len({style.shape for style in LOSSES.values()}) == len(LOSSES)
    assert len({style.dash for style in LOSSES.values()}) == len(LOSSES)
    known = ["GCE", "SCE", "AGCE", "CE"]
    spare = [loss_style(name, known) for name in ("GCE", "SCE", "AGCE")]
    assert len({style.color for style in spare} | {style.color for style in LOSSES.values()}) == 3 + len(LOSSES)


def _linear(color):
    shares = np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)


def _contrast(color, ground):
    low, high = sorted(float(_linear(one) @ [0.2126, 0.7152, 0.0722]) for one in (color, ground))
    return (high + 0.05) / (low + 0.05)


def _lab(color):
    """Convert a color to CIE L*a*b* under daylight D65."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ _linear(color)
    f = np.cbrt(xyz / [0.9505, 1, 1.089])
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize(("shown", "ground"), [(LIGHT, "#fdfcf9"), (DARK, "#15171a")])
def test_colors_stand_out_and_differ_on_light_and_dark_ground(shown, ground):
    """In an earlier version, CE and MSE-p had the same blue on a dark background."""
    known = [*LOSSES, *(f"own{place}" for place in range(6))]
    colors = {name: loss_style(name, known).color for name in known}
    seen = {name: shown.get(color, color) for name, color in colors.items()}
    assert {name: color for name, color in seen.items() if _contrast(color, ground) < 3} == {}
    pairs = combinations(LOSSES, 2)
    assert [(one, two) for one, two in pairs if np.linalg.norm(_lab(seen[one]) - _lab(seen[two])) < 30] == []


def test_legends_take_clicks_in_every_panel(drawn):
    for name, one in drawn.items():
        if name == "feature-plane":
            assert "params" not in one.spec
            continue
        (chosen,) = one.spec["params"]
        assert chosen["bind"] == "legend"
        assert len(chosen["views"]) == len(one.spec["concat"])


@pytest.mark.parametrize("name", ["observed-and-true", "test-accuracy"])
def test_a_tooltip_gives_one_run_no_interval(drawn, name):
    """In an earlier version, the tooltip of one run was "95% from 60.9% to 60.9%"."""
    shown = [layer for panel in drawn[name].spec["concat"] for layer in panel["layer"] if _tips(layer)]
    layers = [layer for layer in shown if "95% interval" in _tips(layer)]
    assert layers
    for layer in shown:
        assert not {"95% from", "to"} & set(_tips(layer))
    for layer in layers:
        (one,) = layer["transform"]
        assert one["as"] == "interval"
        assert one["calculate"].startswith("datum['")
        assert one["calculate"].endswith(" : 'none (one seed)'")
        low, high = re.findall(r"format\(datum\['(\w+)'\], '\.1%'\)", one["calculate"])
        rows = drawn[name].spec["datasets"][layer["data"]["name"]]
        assert all(row[low] <= row[high] for row in rows if row[low] is not None)


def _tips(layer):
    return [tip.get("title") for tip in layer.get("encoding", {}).get("tooltip", []) if isinstance(tip, dict)]


def test_the_legends_layer_comes_first(drawn):
    for name, one in drawn.items():
        if name != "feature-plane":
            first = [panel["layer"][0]["name"] for panel in one.spec["concat"]]
            assert first == one.spec["params"][0]["views"]


def test_every_layer_has_its_data(drawn):
    for one in drawn.values():
        for panel in one.spec["concat"]:
            for layer in panel["layer"]:
                assert one.spec["datasets"][layer["data"]["name"]]


def test_equal_tables_give_equal_figures(demo, drawn):
    (again,) = figures.draw(demo, "wrong-labels")
    assert json.dumps(again.spec) == json.dumps(drawn["wrong-labels"].spec)
    assert again.svg() == drawn["wrong-labels"].svg()


def test_specs_are_valid_vega_lite(drawn):
    small = made.runs(made.Cells(made.TWO, ("CE", "RLL"), (0.1, 0.2), seeds=1, every=30))
    for one in (drawn["feature-plane"], *figures.draw(analysis(small), "wrong-labels", "test-accuracy", "resistance")):
        part = dict(one.spec) | {"concat": one.spec["concat"][:1], "params": []}
        assert Figure.of("x", "x", "", "", part).chart.to_dict(validate=True)["concat"]


def test_nothing_is_drawn_of_tables_that_hold_nothing_for_it():
    clean = made.runs(made.Cells(made.TWO, ("CE",), (0.0,), seeds=1, every=60))
    assert figures.draw(analysis(clean)) == []


def test_an_unknown_figure_is_named_with_the_nearest(demo):
    with pytest.raises(ValueError, match="did you mean 'feature-plane'"):
        figures.draw(demo, "feature-plan")


def test_a_name_belongs_to_one_function(drawn):
    with pytest.raises(ValueError, match="figure 'feature-plane' exists already"):
        figure("feature-plane", title="x")(lambda results: None)
    source = next(source for source in figures.registered() if source.name == "feature-plane")
    assert isinstance(source, Source)
    assert source.function.__module__ == "byrote.figures.feature_plane"


def test_files_are_written_whole(drawn, tmp_path):
    svg, pdf, csv = figures.save(drawn["feature-plane"], tmp_path / "deep" / "figures")
    assert svg.name == "feature-plane.svg"
    assert svg.read_text("utf-8").startswith("<svg")
    assert pdf.read_bytes().startswith(b"%PDF")
    assert sorted(path.name for path in svg.parent.iterdir()) == [
        "feature-plane.csv",
        "feature-plane.pdf",
        "feature-plane.svg",
    ]
    assert csv.read_text("utf-8").splitlines()[1:], "the CSV file contains the numbers of the figure"


def test_an_unwritable_folder_leaves_nothing(drawn, tmp_path):
    (tmp_path / "figures").write_text("a file where a folder is needed")
    with pytest.raises(OSError):
        figures.save(drawn["feature-plane"], tmp_path / "figures")
    assert [path.name for path in tmp_path.iterdir()] == ["figures"]


def test_a_figure_shows_itself_in_a_notebook_offline(drawn):
    shown = drawn["test-accuracy"]._repr_mimebundle_()
    page = shown["text/html"]
    assert page.startswith("<iframe srcdoc=")
    assert "vegaEmbed" in page
    assert not re.search(r"(src|href)=(&quot;|&#x27;|'|\")(https?:)?//", page)
    assert "test-accuracy" in shown["text/plain"]


def test_json_cannot_end_its_script_element():
    hostile = {"a": "</script><script>alert(1)</script>", "b": "\u2028<!--"}
    text = offline.embed_json(hostile)
    assert "<" not in text
    assert "\u2028" not in text
    assert json.loads(text) == hostile


def test_of_takes_an_altair_chart():
    import altair as alt

    chart = alt.Chart(alt.Data(values=[{"x": 1}])).mark_point().encode(x="x:Q")
    one = Figure.of("own", "Own", "", "n: 1", chart)
    assert one.spec["config"]["background"] == "transparent"
    assert one.svg().startswith("<svg")


def test_importing_draws_in_neither_torch_nor_altair():
    code = (
        "import sys, byrote.figures, byrote.report; a = 'altair' in sys.modules; byrote.figures.registered();"
        "print(a, 'torch' in sys.modules, 'altair' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["False", "False", "True"]


def test_failed_runs_are_not_drawn():
    rows = made.runs(made.Cells(made.TWO, ("CE", "RLL"), (0.2,), seeds=2, every=20)).rows()
    for row in rows:
        if row["loss"] == "RLL" and row["seed"] == 1:
            row |= {"status": "failed", "j1": 7.0, "j2": 7.0}
    (one,) = figures.draw(analysis(Table.of(rows)), "resistance")
    assert "3 runs (1 to 2 seeds per cell)" in one.caption
    assert all(row.get("j1", 0) <= 1 for rows in one.spec["datasets"].values() for row in rows)


OPTIONAL = (
    *("j1", "j2", "test_accuracy", "realised_rate", "clean_accuracy", "corrupted_as_observed", "corrupted_as_true"),
    *("nc1_test", "class_distance", "mem_mean", "mem_noise_weighted", "mem_relative", "mem_noise_weighted_relative"),
    *("uncentred_cosine", "collapsed", "rate_estimate", "rate_low", "underfits"),
)


@pytest.mark.parametrize("absent", OPTIONAL)
@pytest.mark.every(3)
def test_a_column_that_the_tables_lack_stops_no_figure(absent):
    table = made.runs(made.Cells(made.TWO, ("CE", "LS"), (0.0, 0.2, 0.4), seeds=1, every=30))
    features = made.plane(table, points=9)
    stated = dict.fromkeys(("rate_estimate", "rate_low", "rate_high"), table["realised_rate"])
    columns = {name: table[name] for name in table.columns} | stated | {"underfits": table["collapsed"]}
    whole = {one.name for one in figures.draw(analysis(Table(columns), features))}
    assert len(whole) == 10
    del columns[absent]
    drawn = {one.name for one in figures.draw(analysis(Table(columns), features))}
    needing = {source.name for source in figures.registered() if absent in source.needs}
    assert drawn == whole - needing
