"""Published values for comparison with measured ones."""

from byrote.reference.published import beside, finals, source

__all__ = ["beside", "finals", "source"]
