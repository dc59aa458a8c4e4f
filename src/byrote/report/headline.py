"""The three sentences at the top of the page, computed from the tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from byrote.claims import Verdict
from byrote.figures.settings import Setting, losses_in, references, telling_rate
from byrote.report.words import count, joined, number, percent
from byrote.store.query import Results
from byrote.table import Table

__all__ = ["claims_sentence", "geometry_sentence", "headline", "labels_sentence", "rank_correlation"]


def headline(results: Results, verdicts: Sequence[Verdict]) -> list[str]:
    """What the losses did to the wrong labels, what that did to the geometry, which claims held."""
    said = [labels_sentence(results), geometry_sentence(results), claims_sentence(verdicts)]
    return [sentence for sentence in said if sentence]


def _main(results: Results) -> Setting | None:
    """The setting with wrong labels in which most losses were run; among equals the one with most runs."""
    found = [
        one
        for one in references(results.history, "dataset", "classes", "network")
        if bool(np.any(one.table["rate"] > 0))
    ]
    return max(found, key=lambda one: (len(losses_in(one.table)), one.table.runs), default=None)


def _mean(table: Table, column: str) -> float:
    finite = table[column][np.isfinite(table[column])]
    return float(finite.mean()) if len(finite) else float("nan")


def _means(last: Table, column: str) -> dict[str, float]:
    """Mean over seeds of a column by loss, lowest first; a loss without a finite value is left out."""
    means = {loss: _mean(last.where(loss=loss), column) for loss in losses_in(last)}
    return dict(sorted(((k, v) for k, v in means.items() if np.isfinite(v)), key=lambda item: item[1]))


def labels_sentence(results: Results) -> str:
    """Who repeats most of the wrong labels, who least, and what the latter does with them."""
    one = _main(results)
    if one is None:
        return ""
    rate = telling_rate(one)
    last = one.table.final().where(rate=rate)
    repeated = _means(last, "corrupted_as_observed")
    if not repeated:
        return ""
    where = f"With {percent(_mean(last, 'realised_rate'))} of the labels wrong ({one.title}, nominal η {rate:g})"
    if len(repeated) == 1:
        ((loss, share),) = repeated.items()
        return f"{where}, {loss} ends by repeating {percent(share)} of the wrong labels."
    (least, low), (most, high) = next(iter(repeated.items())), list(repeated.items())[-1]
    seen = _mean(last.where(loss=least), "corrupted_as_true")
    return (
        f"{where}, {most} ends by repeating {percent(high)} of the wrong labels and {least} {percent(low)}, the most "
        f"and the least of {count(len(repeated), 'loss')}; {least} gives {percent(seen)} of them their true class."
    )


def rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's rank correlation of the pairs where both are finite; NaN for fewer than three.

    >>> round(rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 15.0])), 2)
    0.5
    """
    from scipy.stats import rankdata

    both = np.isfinite(x) & np.isfinite(y)
    if both.sum() < 3 or np.ptp(x[both]) == 0 or np.ptp(y[both]) == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(x[both]), rankdata(y[both]))[0, 1])


def geometry_sentence(results: Results) -> str:
    """Whether the features of unseen images spread as more is memorised."""
    one = _main(results)
    if one is None:
        return ""
    rate = telling_rate(one)
    every = one.table.final()
    every = every.where(every["rate"] > 0)
    rho = rank_correlation(every["mem_weighted_relative"], every["nc1_test"])
    dilated = _means(every.where(rate=rate), "nc1_test")
    if not np.isfinite(rho) or len(dilated) < 2:
        return ""
    (least, low), (most, high) = next(iter(dilated.items())), list(dilated.items())[-1]
    trend = "the more is memorised" if rho > 0 else "the less is memorised"
    strength = (
        f"{trend} the more spread out are the features of unseen images"
        if abs(rho) >= 0.5
        else "how far the features of unseen images spread hardly follows what is memorised"
    )
    return (
        f"In the geometry, {strength} (rank correlation of test NC1 with memorization, relative to the class distance: "
        f"{number(rho, 2)} over {count(every.runs, 'run')}): at the same η test NC1 goes from {number(low, 2)} under "
        f"{least} to {number(high, 2)} under {most}."
    )


def claims_sentence(verdicts: Sequence[Verdict]) -> str:
    """How many claims held, failed, could not be decided, with their names."""
    by = {word: [v.id for v in verdicts if v.verdict == word] for word in ("holds", "fails", "inconclusive")}
    tested = sum(len(ids) for ids in by.values())
    if not tested:
        return "None of the papers' claims could be tested on these runs."
    verbs = {"holds": ("holds", "hold"), "fails": ("fails", "fail"), "inconclusive": ("is open", "are open")}
    parts = [
        f"{len(ids)} {verbs[word][len(ids) != 1]} ({joined(ids)})" if ids else f"none {verbs[word][0]}"
        for word, ids in by.items()
    ]
    untested = len(verdicts) - tested
    rest = f"; {untested} could not be tested on these runs" if untested else ""
    return f"Of {count(tested, 'claim')} tested, {parts[0]}, {parts[1]} and {parts[2]}{rest}."
