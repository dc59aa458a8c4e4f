"""The papers' claims, each a function that takes an `Analysis` of the stored runs and returns a verdict.

Each family of claims has a file; importing this package registers them all. A verdict comes with the statistic pooled
over the claim's cells, its 95% interval, and the bar that it must meet. How to read a verdict: docs/verdicts.md.
"""

from byrote.claims.resisting_losses import resistance
from byrote.claims.verdict import CLAIMS, Claim, Finding, NotTested, Verdict, claim, evaluate, registered
from byrote.component import discover

__all__ = ["CLAIMS", "Claim", "Finding", "NotTested", "Verdict", "claim", "evaluate", "registered", "resistance"]

discover(__name__)
