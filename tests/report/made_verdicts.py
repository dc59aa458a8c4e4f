"""An artificial verdict, for tests of how the page shows verdicts."""

from byrote.claims import Verdict

__all__ = ["verdict"]


def verdict(id="A5", word="holds", **more):
    """Make a verdict on claim `id`; the given fields replace the default ones."""
    fields = {
        "id": id,
        "statement": "LS memorizes less than CE",
        "word": word,
        "verdict": word,
        "statistic": None if word == "not tested" else -0.25,
        "interval": None if word == "not tested" else (-0.5, -0.125),
        "bar": "interval < 0",
        "runs": 12,
        "published": "yes",
        "method": "paired t",
        "cells": "all cells",
        "minimum": "3 seeds",
        "premise": "CE reaches J1 .98",
    }
    return Verdict(**(fields | more))
