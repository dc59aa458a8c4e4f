"""Figures: functions of the stored runs alone. `draw(analysis)` gives them all, `save(figure, folder)` writes one."""

from byrote.figures.base import Drawing, Drawn, Figure, Source, draw, draw_into, figure, registered, save

__all__ = ["Drawing", "Drawn", "Figure", "Source", "draw", "draw_into", "figure", "registered", "save"]
