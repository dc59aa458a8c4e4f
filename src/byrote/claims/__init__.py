"""The papers' claims as functions of the stored runs, or of theory alone: table in, verdict out.

Each family of claims has a file; importing this package registers them all. A claim has a verdict (`holds`,
`fails`, `inconclusive`, `not tested`), a statistic with its 95% interval, and the bar it was held to.
"""

from byrote.claims import (
    accuracy,
    convergence,
    curves,
    geometry,
    identity,
    memorising,
    memorization,
    model,
    past,
    resisting,
    slopes,
    theory,
)
from byrote.claims.resisting import resistance
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
    "curves",
    "evaluate",
    "geometry",
    "identity",
    "memorising",
    "memorization",
    "model",
    "past",
    "registered",
    "resistance",
    "resisting",
    "slopes",
    "theory",
]
