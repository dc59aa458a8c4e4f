"""Which runs belong together, which setting speaks, and what an interval is: computed once for every reader."""

from byrote.analysis.lines import DilationFit, LineFit, fit_dilation, fit_line, slope_ratio
from byrote.analysis.opened import Store, open_store
from byrote.analysis.runs import Analysis, Setting

__all__ = [
    "Analysis",
    "DilationFit",
    "LineFit",
    "Setting",
    "Store",
    "fit_dilation",
    "fit_line",
    "open_store",
    "slope_ratio",
]
