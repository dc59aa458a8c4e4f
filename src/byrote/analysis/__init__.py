"""Which runs belong together, which setting speaks, and what an interval is: computed once for every reader."""

from byrote.analysis.opened import Store, open_store
from byrote.analysis.runs import Analysis, Setting

__all__ = ["Analysis", "Setting", "Store", "open_store"]
