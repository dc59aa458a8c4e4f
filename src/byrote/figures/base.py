"""The figure class, the registry that a decorator fills, and the outputs: SVG and PDF files, and a notebook display."""

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
    """What a figure's function returns: the Vega-Lite chart, and a caption that names units and the number of runs."""

    chart: dict[str, Any]
    caption: str


@dataclass(frozen=True)
class Figure:
    """A finished figure; a notebook shows it without any network request.

    Attributes:
        name: file name and anchor, such as "memorization-dilation".
        title: one line in words.
        paper: the figure of the paper that it corresponds to, or "".
        caption: what is drawn, with units, number of runs, and what was left out.
        spec: the chart as a Vega-Lite specification with byrote's theme, its data inside.
    """

    name: str
    title: str
    paper: str
    caption: str
    spec: dict[str, Any] = field(repr=False)

    @classmethod
    def of(cls, name: str, title: str, paper: str, caption: str, chart: alt.TopLevelMixin | dict[str, Any]) -> Figure:
        """A figure from an Altair chart, or from a Vega-Lite specification, in byrote's theme."""
        plain = chart if isinstance(chart, dict) else chart.to_dict()
        looks = {"config": theme(), "description": f"{title}. {caption}"}
        return cls(name, title, paper, caption, plain | looks)

    @property
    def chart(self) -> alt.TopLevelMixin:
        """The figure as an Altair chart, for further changes."""
        chart: alt.TopLevelMixin = require("altair", "report").Chart.from_dict(self.spec)
        return chart

    def numbers(self) -> list[dict[str, Any]]:
        """The rows that the chart draws, each once, with the panel that shows them; see `byrote.figures.numbers`."""
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
    ) -> dict[str, str]:  # the signature that notebooks expect
        page = offline.frame(self.name, self.title, self.caption, self.spec)
        return {"text/html": page, "text/plain": f"Figure({self.name!r}: {self.title})"}


Draws = Callable[["Analysis"], Drawing | None]


@dataclass(frozen=True)
class Source:
    """A registered figure: its name, title, the paper's figure, place on the page, needed columns, and the function."""

    name: str
    title: str
    paper: str
    order: int
    needs: tuple[str, ...]
    true_labels: bool
    function: Draws

    def __call__(self, analysis: Analysis) -> Figure | None:
        """The figure of these runs; None if they give it nothing to draw or lack a column that it needs.

        A figure about true labels draws only the runs whose true labels are known.
        """
        seen = analysis.known if self.true_labels else analysis
        if not len(seen.runs) or seen.need(*self.needs):
            return None
        # Altair's own check of each part would take half of the time; a test checks whole charts instead
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

    The decorated function becomes a `Source`: called with an analysis, it returns a `Figure`.

    Args:
        name: a unique name in lower case with hyphens, used as file name and anchor.
        title: one line in words.
        paper: the figure of the paper that it corresponds to.
        order: its place on the page, lowest first.
        needs: the columns of the history without which there is nothing to draw. If one of them depends on true labels
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
    """Every figure, in the order of the page; a figure is registered when its file in this folder is imported."""
    require("altair", "report")
    discover("byrote.figures")
    return sorted(_REGISTRY.values(), key=lambda source: (source.order, source.name))


def draw(analysis: Analysis, *names: str) -> list[Figure]:
    """Draw the named figures, or all figures for which the runs have data.

    Args:
        analysis: `byrote.open(DIR).analysis`.
        names: the names of figures; without names, all are drawn.

    Raises:
        ValueError: there is no figure of that name; the message names the nearest one.
    """
    drawn = (source(analysis) for source in _chosen(names))
    return [one for one in drawn if one is not None]


class Drawn(NamedTuple):
    """The figures that were drawn and written, and, by figure name, the exceptions that prevented others."""

    figures: list[Figure]
    files: dict[str, tuple[Path, ...]]
    raised: dict[str, str]


def draw_into(folder: str | Path, analysis: Analysis, *names: str) -> Drawn:
    """Draw figures and write each one's files; if a figure's function raises an exception, only that figure is missing.

    The traceback is logged once.

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
    """Write `NAME.svg`, `NAME.pdf`, and the numbers behind them as `NAME.csv`; no file is left half written.

    Returns:
        The paths; a figure that draws no row of numbers has no CSV file.

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
    """A specification without tooltips and without a description of each mark, which halves the file."""
    if isinstance(part, list):
        return [_still(one) for one in part]
    if not isinstance(part, dict):
        return part
    plain = {name: one if name == "datasets" else _still(one) for name, one in part.items() if name != "tooltip"}
    return plain | {"mark": plain["mark"] | {"aria": False}} if isinstance(plain.get("mark"), dict) else plain


def _pdf(svg: str) -> bytes:
    return bytes(require("vl_convert", "report").svg_to_pdf(svg))
