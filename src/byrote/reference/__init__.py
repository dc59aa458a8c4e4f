"""Published values that measured ones are set beside."""

from byrote.reference.published import beside, finals, source

__all__ = ["beside", "finals", "source"]
