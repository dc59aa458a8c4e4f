"""Figures, computed from the stored runs alone: `draw(analysis)` returns all, `save(figure, folder)` writes one."""

from byrote.figures.base import Drawing, Drawn, Figure, Source, draw, draw_into, figure, registered, save

__all__ = ["Drawing", "Drawn", "Figure", "Source", "draw", "draw_into", "figure", "registered", "save"]
