"""Measures of memorization and neural collapse.

Each name is loaded when first used, so that the parts which work on plain numbers (`curves`) load no torch.
"""

import importlib
from typing import Any

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


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'byrote.measures' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"byrote.measures.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
