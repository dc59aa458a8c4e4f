"""The papers' claims as functions of the stored runs: an `Analysis` in, a verdict out.

Each family of claims has a file; importing this package registers them all. A claim has a verdict, the statistic
pooled over its cells with a 95% interval, and the bar it was held to. How to read one: docs/verdicts.md.
"""

from byrote.claims.resisting_losses import resistance
from byrote.claims.verdict import CLAIMS, Claim, Finding, NotTested, Verdict, claim, evaluate, registered
from byrote.component import discover

__all__ = ["CLAIMS", "Claim", "Finding", "NotTested", "Verdict", "claim", "evaluate", "registered", "resistance"]

discover(__name__)
