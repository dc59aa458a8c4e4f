"""Figures computed from stored runs: `draw(analysis)` returns all of them, `save(figure, folder)` writes one."""

from byrote.figures.base import Drawing, Drawn, Figure, Source, draw, draw_into, figure, registered, save

__all__ = ["Drawing", "Drawn", "Figure", "Source", "draw", "draw_into", "figure", "registered", "save"]
