"""Measures of memorization and neural collapse.

Each name is imported on first use, so that `curves`, which works on plain numbers, does not import torch.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byrote.measures.collapse import NC2 as NC2
    from byrote.measures.collapse import feature_rank as feature_rank
    from byrote.measures.collapse import nc2 as nc2
    from byrote.measures.collapse import nc3 as nc3
    from byrote.measures.collapse import nc3_by_class as nc3_by_class
    from byrote.measures.collapse import nc4 as nc4
    from byrote.measures.curves import area_between as area_between
    from byrote.measures.curves import crossing_epoch as crossing_epoch
    from byrote.measures.curves import first_reaching as first_reaching
    from byrote.measures.curves import resistance_gap as resistance_gap
    from byrote.measures.dynamics import SampleHistory as SampleHistory
    from byrote.measures.dynamics import margins as margins
    from byrote.measures.features import FeatureSet as FeatureSet
    from byrote.measures.mem import Fates as Fates
    from byrote.measures.mem import Memorization as Memorization
    from byrote.measures.mem import fates as fates
    from byrote.measures.mem import j1 as j1
    from byrote.measures.mem import j2 as j2
    from byrote.measures.mem import memorization as memorization
    from byrote.measures.moments import ClassMoments as ClassMoments
    from byrote.measures.moments import MomentStream as MomentStream
    from byrote.measures.observer import Observer as Observer
    from byrote.measures.positive import Def31 as Def31
    from byrote.measures.positive import ZeroMeans as ZeroMeans
    from byrote.measures.positive import def31 as def31
    from byrote.measures.positive import zero_means as zero_means
    from byrote.measures.profile import layer_profile as layer_profile
    from byrote.measures.profile import split_moments as split_moments
    from byrote.measures.rate import RateEstimate as RateEstimate
    from byrote.measures.rate import noise_rate as noise_rate
    from byrote.measures.variability import cdnv as cdnv
    from byrote.measures.variability import class_means_coincide as class_means_coincide
    from byrote.measures.variability import nc1 as nc1
    from byrote.measures.variability import nc1_top_share as nc1_top_share

_HOME = {
    "ClassMoments": "moments",
    "Def31": "positive",
    "Fates": "mem",
    "FeatureSet": "features",
    "Memorization": "mem",
    "MomentStream": "moments",
    "NC2": "collapse",
    "Observer": "observer",
    "RateEstimate": "rate",
    "SampleHistory": "dynamics",
    "ZeroMeans": "positive",
    "area_between": "curves",
    "cdnv": "variability",
    "class_means_coincide": "variability",
    "crossing_epoch": "curves",
    "def31": "positive",
    "fates": "mem",
    "feature_rank": "collapse",
    "first_reaching": "curves",
    "j1": "mem",
    "j2": "mem",
    "layer_profile": "profile",
    "margins": "dynamics",
    "memorization": "mem",
    "nc1": "variability",
    "nc1_top_share": "variability",
    "nc2": "collapse",
    "nc3": "collapse",
    "nc3_by_class": "collapse",
    "nc4": "collapse",
    "noise_rate": "rate",
    "resistance_gap": "curves",
    "split_moments": "profile",
    "zero_means": "positive",
}

__all__ = sorted(_HOME)

if not TYPE_CHECKING:  # type checkers use the imports above instead and can report a name that does not exist

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module 'byrote.measures' has no attribute {name!r}")
        value = getattr(importlib.import_module(f"byrote.measures.{_HOME[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
