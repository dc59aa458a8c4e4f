"""Figures: functions of the stored runs alone. `draw(analysis)` gives them all, `save(figure, folder)` writes one."""

from byrote.figures.base import Drawing, Figure, Source, draw, figure, registered, save

__all__ = ["Drawing", "Figure", "Source", "draw", "figure", "registered", "save"]
