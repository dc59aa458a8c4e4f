"""The papers' claims as functions of the stored runs: an `Analysis` in, a verdict out.

Each family of claims has a file; importing this package registers them all. A claim has a verdict, the statistic
pooled over its cells with a 95% interval, and the bar it was held to. How to read one: docs/verdicts.md.
"""

from byrote.claims import (
    accuracy,
    convergence,
    geometry,
    identity,
    memorization,
    memorizing_losses,
    model,
    noise_models,
    past,
    resisting_losses,
    slopes,
    theory,
)
from byrote.claims.resisting_losses import resistance
from byrote.claims.verdict import CLAIMS, Claim, Finding, NotTested, Verdict, claim, evaluate, registered

__all__ = [
    "CLAIMS",
    "Claim",
    "Finding",
    "NotTested",
    "Verdict",
    "accuracy",
    "claim",
    "convergence",
    "evaluate",
    "geometry",
    "identity",
    "memorization",
    "memorizing_losses",
    "model",
    "noise_models",
    "past",
    "registered",
    "resistance",
    "resisting_losses",
    "slopes",
    "theory",
]
