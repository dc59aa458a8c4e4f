"""Losses for learning under label noise: frozen specs called like torch losses, classes on the last axis."""

from byrote.losses.base import Loss, LossModule, bounds, symmetry
from byrote.losses.cross_entropy import CrossEntropy, Focal, LabelRelaxation, LabelSmoothing
from byrote.losses.robust import (
    GeneralizedCrossEntropy,
    MeanAbsoluteError,
    ReverseCrossEntropy,
    RobustLog,
    SymmetricCrossEntropy,
)
from byrote.losses.squared import MeanSquaredError, NormalizedMSE

__all__ = [
    "CrossEntropy",
    "Focal",
    "GeneralizedCrossEntropy",
    "LabelRelaxation",
    "LabelSmoothing",
    "Loss",
    "LossModule",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "NormalizedMSE",
    "ReverseCrossEntropy",
    "RobustLog",
    "SymmetricCrossEntropy",
    "bounds",
    "symmetry",
]
