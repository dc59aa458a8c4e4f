"""Figures: their class, the decorator that registers them, and their outputs (SVG, PDF and CSV files, notebooks)."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from byrote import given
from byrote.checks import require
from byrote.component import did_you_mean, discover
from byrote.figures import offline
from byrote.figures.numbers import numbers
from byrote.figures.style import theme
from byrote.files import WriteError, write_atomic
from byrote.own_code import described, traced
from byrote.store.written import write_rows

if TYPE_CHECKING:
    import altair as alt

    from byrote.analysis import Analysis

__all__ = ["Drawing", "Drawn", "Figure", "Source", "draw", "draw_into", "figure", "registered", "save"]

log = logging.getLogger("byrote")


@dataclass(frozen=True)
class Drawing:
    """What a figure's function returns: a Vega-Lite chart, and a caption that states units and the number of runs."""

    chart: dict[str, Any]
    caption: str


@dataclass(frozen=True)
class Figure:
    """A finished figure, which a notebook displays without network access.

    Attributes:
        name: file name and anchor, such as "memorization-dilation".
        title: one line in words.
        paper: the corresponding figure in one of the two papers, or "".
        caption: what the chart shows, its units, the number of runs, and which runs were left out.
        spec: the chart as a Vega-Lite specification that includes its data and byrote's theme.
    """

    name: str
    title: str
    paper: str
    caption: str
    spec: dict[str, Any] = field(repr=False)

    @classmethod
    def of(cls, name: str, title: str, paper: str, caption: str, chart: alt.TopLevelMixin | dict[str, Any]) -> Figure:
        """Make a figure in byrote's theme from an Altair chart or a Vega-Lite specification."""
        plain = chart if isinstance(chart, dict) else chart.to_dict()
        looks = {"config": theme(), "description": f"{title}. {caption}"}
        return cls(name, title, paper, caption, plain | looks)

    @property
    def chart(self) -> alt.TopLevelMixin:
        """The figure as an Altair chart that can be changed further."""
        chart: alt.TopLevelMixin = require("altair", "report").Chart.from_dict(self.spec)
        return chart

    def numbers(self) -> list[dict[str, Any]]:
        """The rows that the chart draws, without duplicates, each with its panel; see `byrote.figures.numbers`."""
        return numbers(self.spec)

    def svg(self) -> str:
        """The chart as an SVG document without tooltips, legible on light and dark backgrounds."""
        return offline.with_schemes(self._drawn())

    def pdf(self) -> bytes:
        """The chart as a one-page PDF."""
        return _pdf(self._drawn())

    def _drawn(self) -> str:
        return str(require("vl_convert", "report").vegalite_to_svg(_still(self.spec), allowed_base_urls=[]))

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> dict[str, str]:  # notebooks call the method with these arguments
        page = offline.frame(self.name, self.title, self.caption, self.spec)
        return {"text/html": page, "text/plain": f"Figure({self.name!r}: {self.title})"}


Draws = Callable[["Analysis"], Drawing | None]


@dataclass(frozen=True)
class Source:
    """A registered figure: its function, name, title, place on the page, required columns, and figure in the paper."""

    name: str
    title: str
    paper: str
    order: int
    needs: tuple[str, ...]
    true_labels: bool
    function: Draws

    def __call__(self, analysis: Analysis) -> Figure | None:
        """Draw the figure for these runs; None if there is nothing to draw or a required column is missing.

        If the figure is about true labels, runs with unknown true labels are left out.
        """
        seen = analysis.known if self.true_labels else analysis
        if not len(seen.runs) or seen.need(*self.needs):
            return None
        # Altair's validation of each part would take half of the time; a test validates whole charts instead
        with require("altair.utils.schemapi", "report").debug_mode(False):
            drawing = self.function(seen)
        if drawing is None:
            return None
        if not isinstance(drawing, Drawing):
            raise TypeError(f"figure {self.name} must return a Drawing or None, got {type(drawing).__name__}")
        partial = analysis.results.partial
        unused = given.left_out(int(analysis.given.sum())) if self.true_labels else ""
        caption = " ".join(
            [f"{partial}." if partial else "", drawing.caption, f"{unused.capitalize()}." if unused else ""]
        )
        return Figure.of(self.name, self.title, self.paper, caption.strip(), drawing.chart)


_REGISTRY: dict[str, Source] = {}


def figure(
    name: str,
    *,
    title: str,
    paper: str = "",
    order: int = 100,
    needs: tuple[str, ...] = (),
    true_labels: bool = False,
) -> Callable[[Draws], Source]:
    """Register a function that draws one figure from an analysis, or returns None if it has nothing to draw.

    The decorated function becomes a `Source`, which returns a `Figure` when it is called with an analysis.

    Args:
        name: a unique name in lower case with hyphens, used as the file name and as the anchor on the page.
        title: one line in words.
        paper: the corresponding figure in one of the two papers.
        order: its place on the page, lowest first.
        needs: the columns of the history that the figure cannot do without. If one of them depends on true labels
            (`byrote.given.TRUE_LABELS`), the function sees only the runs whose true labels are known.
        true_labels: the figure is about true labels, although no column in `needs` depends on them.

    Raises:
        ValueError: the name is taken by another function.
    """

    def register(function: Draws) -> Source:
        known = _REGISTRY.get(name)
        if known is not None and known.function.__module__ != function.__module__:
            raise ValueError(f"figure {name!r} exists already, in {known.function.__module__}")
        truth = true_labels or given.speaks_of_true_labels(needs)
        _REGISTRY[name] = Source(name, title, paper, order, needs, truth, function)
        return _REGISTRY[name]

    return register


def registered() -> list[Source]:
    """Every registered figure in page order; importing a module of this folder registers its figures."""
    require("altair", "report")
    discover("byrote.figures")
    return sorted(_REGISTRY.values(), key=lambda source: (source.order, source.name))


def draw(analysis: Analysis, *names: str) -> list[Figure]:
    """Draw the named figures, or all figures for which the runs have data.

    Args:
        analysis: `byrote.open(DIR).analysis`.
        names: the names of figures; without names, all are drawn.

    Raises:
        ValueError: no figure has one of these names; the message suggests the most similar name.
    """
    drawn = (source(analysis) for source in _chosen(names))
    return [one for one in drawn if one is not None]


class Drawn(NamedTuple):
    """The figures that were drawn and written, and the exception of each figure that failed, by figure name."""

    figures: list[Figure]
    files: dict[str, tuple[Path, ...]]
    raised: dict[str, str]


def draw_into(folder: str | Path, analysis: Analysis, *names: str) -> Drawn:
    """Draw figures and write the files of each; a figure whose function raises an exception is skipped.

    The traceback of each exception is logged once.

    Args:
        folder: where `NAME.svg`, `NAME.pdf` and `NAME.csv` go.
        analysis, names: see `draw`.

    Raises:
        ModuleNotFoundError: the `report` extra is not installed.
        byrote.files.WriteError: the disk is full or read-only.
    """
    require("vl_convert", "report")
    drawn = Drawn([], {}, {})
    for source in _chosen(names):
        try:
            one = source(analysis)
            if one is not None:
                json.dumps(one.spec, allow_nan=False)
                drawn.files[source.name] = save(one, folder)
                drawn.figures.append(one)
        except WriteError:
            raise
        except (Exception, SystemExit) as error:
            log.error("figure %s raised an exception\n%s", source.name, traced(error))
            drawn.raised[source.name] = described(error)
    return drawn


def _chosen(names: tuple[str, ...]) -> list[Source]:
    sources = {source.name: source for source in registered()}
    for name in names:
        if name not in sources:
            raise ValueError(f"there is no figure {name!r}; {did_you_mean(name, list(sources))}")
    return [sources[name] for name in names] if names else list(sources.values())


def save(figure: Figure, folder: str | Path) -> tuple[Path, ...]:
    """Write `NAME.svg`, `NAME.pdf`, and the numbers that they show as `NAME.csv`; no file is ever left half written.

    Returns:
        The paths of the files; a figure without rows of numbers has no CSV file.

    Raises:
        byrote.files.WriteError: the disk is full or read-only.
    """
    folder = Path(folder)
    plain = figure._drawn()
    drawn = (
        write_atomic(folder / f"{figure.name}.svg", offline.with_schemes(plain)),
        write_atomic(folder / f"{figure.name}.pdf", _pdf(plain)),
    )
    rows = figure.numbers()
    return (*drawn, write_rows(folder / figure.name, rows, "csv")) if rows else drawn


def _still(part: Any) -> Any:
    """A copy of a specification without tooltips and descriptions of marks, which halves the size of the file."""
    if isinstance(part, list):
        return [_still(one) for one in part]
    if not isinstance(part, dict):
        return part
    plain = {name: one if name == "datasets" else _still(one) for name, one in part.items() if name != "tooltip"}
    return plain | {"mark": plain["mark"] | {"aria": False}} if isinstance(plain.get("mark"), dict) else plain


def _pdf(svg: str) -> bytes:
    return bytes(require("vl_convert", "report").svg_to_pdf(svg))
