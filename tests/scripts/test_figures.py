"""Each committed picture is what the code draws from the committed tables, in the colors of the code."""

import importlib.util
import re
import shutil
from pathlib import Path

import pytest

from byrote.figures.style import LOSSES

ROOT = Path(__file__).resolve().parent.parent.parent
spec = importlib.util.spec_from_file_location("pictures", ROOT / "scripts" / "figures.py")
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)
QUICK = {Path("results/benchmarks"), Path("results/demo"), Path("results/medium/mechanism")}
COMMITTED = sorted((ROOT / "results").rglob("figures/*.svg"))
ENTRY = re.compile(r'loss_legend_symbols"><path[^>]*stroke="([^"]+)"[^>]*/></g><g[^>]*><text[^>]*>([^<]+)</text>')


@pytest.mark.parametrize(
    "folder",
    [pytest.param(one, marks=[] if one in QUICK else [pytest.mark.long], id=str(one)) for one in script.folders()],
)
def test_committed_pictures_are_what_the_tables_give(folder):
    assert list(script.differing(folder)) == [], "run python scripts/figures.py --write"


def test_every_legend_has_the_colors_of_the_code():
    """A cheap test for all pictures: the legend shows each loss of the papers in its color."""
    shown = {(name, color) for path in COMMITTED for color, name in ENTRY.findall(path.read_text("utf-8"))}
    shown = {(name, color) for name, color in shown if name in LOSSES}
    assert {name for name, _ in shown} == set(LOSSES)
    assert shown == {(name, style.color) for name, style in LOSSES.items()}


def test_every_picture_is_drawn_for_light_and_dark_ground():
    assert len(COMMITTED) > 50
    assert [path for path in COMMITTED if "prefers-color-scheme:dark" not in path.read_text("utf-8")] == []


ONE = (
    '<svg width="10"><g transform="translate(1,2)"><path d="M0,1.5h3" stroke="#0072B2"/><text x="3">CE</text></g></svg>'
)


@pytest.mark.parametrize(
    ("old", "new", "equal"),
    [
        ('width="10"', 'width="12"', True),
        ("translate(1,2)", "translate(4,2)", True),
        ("1.5h3", "1.503h3", True),
        ("1.5h3", "1.55h3", False),
        ("#0072B2", "#0073B2", False),
        ("CE", "LS", False),
        ('<text x="3">CE</text>', "", False),
    ],
)
def test_what_counts_as_the_same_picture(old, new, equal):
    assert ONE.count(old) == 1
    assert script.same(ONE, ONE.replace(old, new)) is equal


def test_a_changed_picture_is_named_and_drawn_again(tmp_path, monkeypatch, capsys):
    folder = Path("results/medium/mechanism")
    shutil.copytree(ROOT / folder, tmp_path / folder)
    monkeypatch.setattr(script, "ROOT", tmp_path)
    changed, foreign = tmp_path / folder / "figures/resistance.svg", tmp_path / folder / "figures/feature-plane.svg"
    whole = changed.read_text("utf-8")
    changed.write_text(whole.replace("#D55E00", "#D55E01"), "utf-8")
    foreign.write_text(whole, "utf-8")
    monkeypatch.setattr("sys.argv", ["figures.py", str(tmp_path / folder)])
    assert script.main() == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{folder}/figures/feature-plane.svg: the tables give no such picture",
        f"{folder}/figures/resistance.svg: differs from the picture drawn now",
    ]
    monkeypatch.setattr("sys.argv", ["figures.py", "--write", str(tmp_path / folder)])
    assert script.main() == 0
    assert script.same(changed.read_text("utf-8"), whole)
    assert not foreign.exists()
    assert script.differing(folder) == {}
