"""The sentences at the top of the page, computed from the tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from byrote.analysis import Analysis
from byrote.analysis.samples import Sample
from byrote.analysis.series import NETWORK, Selection, one_each, rated, reference_rate
from byrote.analysis.statistics import spearman
from byrote.claims import Verdict
from byrote.report.agreement import agreement_sentence
from byrote.report.words import count, joined, number, percent, span

__all__ = ["claims_sentence", "geometry_sentence", "headline", "labels_sentence"]


def headline(analysis: Analysis, verdicts: Sequence[Verdict]) -> list[str]:
    """Sentences on how much each loss memorizes, how features spread as more is memorized, and which claims hold."""
    one = _main(analysis.known)
    of_runs = [] if one is None else [labels_sentence(one), geometry_sentence(one)]
    sentences = (*of_runs, agreement_sentence(analysis), claims_sentence(verdicts))
    return [sentence for sentence in sentences if sentence]


def _main(analysis: Analysis) -> Selection | None:
    """The setting with wrong labels that has the most losses, and among settings with equally many, the most runs."""
    noisy = one_each(rated(analysis), NETWORK, lambda one: max(one.rates) > 0)
    return max(noisy, key=lambda one: (len(one.losses), len(one)), default=None)


def _mean(one: Selection, column: str) -> float:
    """The mean of the finite last readings of a column; NaN if none is finite."""
    values = one.last(column)
    return float(np.mean(values[np.isfinite(values)])) if np.isfinite(values).any() else float("nan")


def _means(one: Selection, column: str) -> dict[str, float]:
    """The mean of a column over seeds for each loss, lowest first; a loss without a finite value is left out."""
    means = {row["loss"]: row[column] for row in one.means(("loss",), (column,)) if row[column] is not None}
    return dict(sorted(means.items(), key=lambda item: item[1]))


def labels_sentence(one: Selection) -> str:
    """A sentence on which losses repeat the most and fewest wrong labels, and how often the latter predicts the truth.

    Args:
        one: the runs of one setting, some of them with noise.
    """
    rate = reference_rate(one)
    last = one.at_rate(rate)
    repeated = _means(last, "corrupted_as_observed")
    if not repeated:
        return ""
    where = f"With {percent(_mean(last, 'realised_rate'))} of the labels wrong ({one.title}, nominal η {rate:g})"
    if len(repeated) == 1:
        ((loss, share),) = repeated.items()
        return f"{where}, {loss} ends by repeating {percent(share)} of the wrong labels."
    (least, low), (most, high) = next(iter(repeated.items())), list(repeated.items())[-1]
    seen = _mean(last.of_losses(least), "corrupted_as_true")
    return (
        f"{where}, {most} ends by repeating {percent(high)} of the wrong labels and {least} {percent(low)}, the most "
        f"and the least of {count(len(repeated), 'loss')}. {least} predicts the true class for {percent(seen)} of the "
        "samples with wrong labels."
    )


def geometry_sentence(one: Selection) -> str:
    """A sentence on whether the features of unseen images spread as more is memorized, with a rank correlation.

    Args:
        one: the runs of one setting, some of them with noise.
    """
    noisy = one.where(one.rate > 0)
    memorized, dilation = noisy.last("mem_noise_weighted_relative"), noisy.last("nc1_test")
    known = int(np.sum(np.isfinite(memorized) & np.isfinite(dilation)))
    sample = spearman(memorized, dilation, noisy.seeds.tolist())
    rho = float(np.tanh(sample.whole))
    dilated = _means(one.at_rate(reference_rate(one)), "nc1_test")
    if known < 3 or not np.isfinite(rho) or len(dilated) < 2:
        return ""
    (least, low), (most, high) = next(iter(dilated.items())), list(dilated.items())[-1]
    trend = "more" if rho > 0 else "less"
    strength = (
        f"The {trend} a run memorizes, the more the features of unseen images spread"
        if abs(rho) >= 0.5
        else "The spread of the features of unseen images hardly follows how much a run memorizes"
    )
    return (
        f"{strength} (rank correlation of test NC1 with memorization, relative to the class distance: "
        f"{number(rho, 2)}{_within(sample)} over {count(known, 'run')}): at the same η test NC1 goes from "
        f"{number(low, 2)} under {least} to {number(high, 2)} under {most}."
    )


def _within(sample: Sample) -> str:
    """The 95% interval of a rank correlation over seeds; empty for a single seed."""
    estimate = sample.estimate()
    low, high = (round(float(np.tanh(end)), 2) for end in (estimate.low, estimate.high))
    return f" {span((low, high))}" if estimate.n > 1 else ""


def claims_sentence(verdicts: Sequence[Verdict]) -> str:
    """A sentence on how many claims hold, fail or cannot be decided, with their ids."""
    by = {word: [v.id for v in verdicts if v.word == word] for word in _VERBS}
    tested = sum(len(ids) for ids in by.values())
    broken = [v.id for v in verdicts if v.word == "error"]
    raised = f"; {len(broken)} raised an error ({joined(broken)})" if broken else ""
    if not tested:
        return f"None of the papers' claims could be tested on these runs{raised}."
    parts = [
        f"{len(ids)} {_VERBS[word][len(ids) != 1]} ({joined(ids)})" if ids else f"none {_VERBS[word][0]}"
        for word, ids in by.items()
        if ids or word in _ALWAYS
    ]
    untested = len(verdicts) - tested - len(broken)
    rest = f"; {untested} could not be tested on these runs" if untested else ""
    return f"Of {count(tested, 'claim')} tested, {joined(parts)}{rest}{raised}."


_VERBS = {
    "holds": ("holds", "hold"),
    "holds except": ("holds except in some cells", "hold except in some cells"),
    "fails": ("fails", "fail"),
    "fails in": ("fails in some cells", "fail in some cells"),
    "inconclusive": ("is open", "are open"),
}
_ALWAYS = ("holds", "fails", "inconclusive")
