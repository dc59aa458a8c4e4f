"""Losses for learning with noisy labels: frozen specs, called like torch losses, with classes on the last axis.

MD and LF stand for the two papers *Memorization-Dilation* (Nguyen et al., ICLR 2023) and *Does the Loss Function
Matter?* (Patel and Sastry, PAKDD 2021).
"""

from byrote.component import discover
from byrote.losses.asymmetric import AEL, AGCE, AUL
from byrote.losses.base import Loss, LossModule
from byrote.losses.correction import BackwardCorrection, ForwardCorrection, HardBootstrap, SoftBootstrap
from byrote.losses.cross_entropy import CrossEntropy, Focal, LabelRelaxation, LabelSmoothing
from byrote.losses.normalized import ActivePassive, NCEAndAGCE, NCEAndMAE, NCEAndRCE, NFLAndRCE, Normalized
from byrote.losses.robust import (
    GeneralizedCrossEntropy,
    MeanAbsoluteError,
    ReverseCrossEntropy,
    RobustLog,
    SymmetricCrossEntropy,
)
from byrote.losses.squared import MeanSquaredError, NormalizedMSE
from byrote.losses.stateful import EarlyLearning, RememberingLoss, RememberingModule
from byrote.losses.weighted import Weighted

__all__ = [
    "AEL",
    "AGCE",
    "AUL",
    "ActivePassive",
    "BackwardCorrection",
    "CrossEntropy",
    "EarlyLearning",
    "Focal",
    "ForwardCorrection",
    "GeneralizedCrossEntropy",
    "HardBootstrap",
    "LabelRelaxation",
    "LabelSmoothing",
    "Loss",
    "LossModule",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "NCEAndAGCE",
    "NCEAndMAE",
    "NCEAndRCE",
    "NFLAndRCE",
    "Normalized",
    "NormalizedMSE",
    "RememberingLoss",
    "RememberingModule",
    "ReverseCrossEntropy",
    "RobustLog",
    "SoftBootstrap",
    "SymmetricCrossEntropy",
    "Weighted",
]

discover(__name__)
