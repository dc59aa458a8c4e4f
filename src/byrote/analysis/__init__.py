"""Group runs into settings, choose the main ones, compute intervals, and combine checks into a verdict.

`Analysis` makes the runs of a store comparable for claims, figures and reports. Each statistic has one value per seed,
a `Check` compares the values with a region, and `decide` combines checks into a one-word verdict.
"""

from byrote.analysis.check import (
    ABOVE_ZERO,
    BELOW_ZERO,
    Check,
    Region,
    at_every_epoch,
    at_least,
    at_most,
    at_some_epoch,
    within,
)
from byrote.analysis.lines import DilationFit, LineFit, fit_dilation, fit_line, slope_ratio
from byrote.analysis.more_seeds import Power, power
from byrote.analysis.opened import Store, open_store
from byrote.analysis.points import Points
from byrote.analysis.rule import Decision, Word, decide
from byrote.analysis.runs import Analysis, Setting
from byrote.analysis.samples import Estimate, Sample
from byrote.analysis.statistics import mean_over_seeds, paired_difference, spearman, unreliable

__all__ = [
    "ABOVE_ZERO",
    "BELOW_ZERO",
    "Analysis",
    "Check",
    "Decision",
    "DilationFit",
    "Estimate",
    "LineFit",
    "Points",
    "Power",
    "Region",
    "Sample",
    "Setting",
    "Store",
    "Word",
    "at_every_epoch",
    "at_least",
    "at_most",
    "at_some_epoch",
    "decide",
    "fit_dilation",
    "fit_line",
    "mean_over_seeds",
    "open_store",
    "paired_difference",
    "power",
    "slope_ratio",
    "spearman",
    "unreliable",
    "within",
]
