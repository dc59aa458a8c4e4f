"""Measures of memorization and neural collapse.

Each name is loaded when first used, so that the parts which work on plain numbers (`fit`, `curves`) load no torch.
"""

import importlib
from typing import Any

_HOME = {
    "ClassMoments": "moments",
    "Dilation": "fit",
    "Estimate": "fit",
    "Fates": "mem",
    "FeatureSet": "features",
    "LineFit": "fit",
    "Memorization": "mem",
    "MomentStream": "moments",
    "NC2": "collapse",
    "Observer": "observer",
    "RateEstimate": "rate",
    "SampleHistory": "dynamics",
    "area_between": "curves",
    "cdnv": "variability",
    "class_means_coincide": "variability",
    "crossing_epoch": "curves",
    "fates": "mem",
    "feature_rank": "collapse",
    "first_reaching": "curves",
    "fit_dilation": "fit",
    "fit_line": "fit",
    "j1": "mem",
    "j2": "mem",
    "layer_profile": "profile",
    "margins": "dynamics",
    "memorization": "mem",
    "nc1": "variability",
    "nc2": "collapse",
    "nc3": "collapse",
    "nc3_by_class": "collapse",
    "nc4": "collapse",
    "noise_rate": "rate",
    "resistance_gap": "curves",
    "slope_ratio": "fit",
    "split_moments": "profile",
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
