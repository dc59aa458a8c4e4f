"""Verdicts on artificial tables, for tests of claims."""

from __future__ import annotations

from byrote import claims
from claims.made import Rows, results

__all__ = ["FOUR", "rows", "verdict"]

FOUR = ("CE", "LS", "LR", "MSE")


def verdict(id: str, *parts: Rows) -> claims.Verdict:
    return claims.evaluate(results(*parts), [id])[0]


def rows(judged: claims.Verdict, what: str) -> list[dict[str, object]]:
    return [row for row in judged.details if row["what"] == what]
