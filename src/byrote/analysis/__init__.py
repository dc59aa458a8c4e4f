"""From values a seed to a word: statistics, single checks, the rule that joins them, and its power."""

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
from byrote.analysis.more_seeds import Power, power
from byrote.analysis.points import Points
from byrote.analysis.rule import Decision, Word, decide
from byrote.analysis.samples import Estimate, Sample
from byrote.analysis.statistics import mean_over_seeds, paired_difference, spearman, unreliable

__all__ = [
    "ABOVE_ZERO",
    "BELOW_ZERO",
    "Check",
    "Decision",
    "Estimate",
    "Points",
    "Power",
    "Region",
    "Sample",
    "Word",
    "at_every_epoch",
    "at_least",
    "at_most",
    "at_some_epoch",
    "decide",
    "mean_over_seeds",
    "paired_difference",
    "power",
    "spearman",
    "unreliable",
    "within",
]
