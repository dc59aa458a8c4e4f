"""The result of an audit in three sentences, and its different estimates of the share of wrong labels."""

from __future__ import annotations

from math import isfinite, nan
from typing import Any

from byrote.audit import Audit

__all__ = ["answer", "bar", "likelihood", "premise", "share", "ways"]

Outcome = dict[str, Any]
"""The dictionary that `byrote.audit.folder.settle_folder` writes."""


def share(value: float | None) -> str:
    """A share in percent with one decimal, or a dash if it is unknown.

    >>> share(0.1234), share(None), share(0.0)
    ('12.3%', '–', '0.0%')
    """
    return "–" if value is None or not isfinite(value) else f"{100 * value:.1f}%"


def _shares(settled: Outcome) -> dict[str, dict[str, Any]]:
    return {one["share"]: one for one in settled["shares"]}


def answer(audit: Audit, settled: Outcome | None, folder: str) -> list[str]:
    """Three sentences: how many labels are wrong, what is known about the suspects, and what to do next.

    Args:
        audit: the result of the audit.
        settled: the result of checks by a person, or None if nobody has checked a sample.
        folder: the folder of the audit, as written in a command.
    """
    return [_how_many(audit, settled), _suspects(audit, settled), _next(settled, folder)]


def _how_many(audit: Audit, settled: Outcome | None) -> str:
    n, rate = f"{len(audit):,}", audit.rate
    if settled:
        wrong = _shares(settled)["wrong labels"]
        ends = f"{share(wrong['low'])} and {share(wrong['high'])}"
        if settled["verdict"] == "settled":
            return (
                f"Between {ends} of the {n} labels are wrong (95% interval, estimate {share(wrong['value'])}): "
                f"{settled['checked']} checked samples settle it for any kind of noise."
            )
        return (
            f"Between {ends} of the {n} labels are wrong, after {settled['checked']} of {settled['planned']} "
            "planned checks; each further check narrows the interval."
        )
    if rate.verdict == "stated":
        return (
            f"Between {share(rate.low)} and {share(rate.high)} of the {n} labels are wrong (95% interval, estimate "
            f"{share(rate.value)}), provided that the noise is symmetric."
        )
    return f"Labels alone cannot tell how many of the {n} are wrong: {rate.reason}."


def _suspects(audit: Audit, settled: Outcome | None) -> str:
    count = len(audit.ranked)
    if not count:
        return "No label is a suspect: networks that were not trained on a sample contradict none of the labels."
    start = (
        f"{count:,} labels ({share(count / len(audit))}) are suspects, that is, the labels that networks not trained "
        "on the sample contradict most"
    )
    if settled and settled["verdict"] == "settled":
        precision, recall = (_shares(settled)[name] for name in ("wrong among suspects", "suspects among wrong labels"))
        return (
            f"{start}. Of the suspects, {share(precision['low'])} to {share(precision['high'])} are wrong, and they "
            f"include {share(recall['low'])} to {share(recall['high'])} of all wrong labels."
        )
    return f"{start}. They are shown below, with the likeliest wrong labels first."


def _next(settled: Outcome | None, folder: str) -> str:
    if settled and settled["verdict"] == "settled":
        return (
            "The other suspects may be right or wrong: correct the labels that a person has checked, and leave the "
            "rest unchanged."
        )
    if settled:
        return f"To continue checking: byrote audit check {folder}"
    return (
        "For a rate that is valid whatever the kind of noise, have a person check about 200 samples: "
        f"byrote audit plan {folder} --checks 200, then byrote audit check {folder}"
    )


def premise(audit: Audit, settled: Outcome | None) -> tuple[str, str]:
    """The assumption behind the first sentence, or, if it states no rate, what would help to find the rate."""
    if settled:
        return "Premise", str(settled["premise"])
    if audit.rate.verdict == "stated":
        return "Premise", audit.rate.premise
    return "What would help", f"{audit.rate.help[:1].upper()}{audit.rate.help[1:]}."


def likelihood(value: float) -> str:
    """A probability in whole percents, never shown as 0% or 100%.

    >>> likelihood(0.708), likelihood(1.0), likelihood(0.0)
    ('71%', '> 99%', '< 1%')
    """
    return "> 99%" if value > 0.99 else "< 1%" if value < 0.01 else f"{100 * value:.0f}%"


def ways(audit: Audit, settled: Outcome | None) -> list[dict[str, Any]]:
    """Each estimate of the share of wrong labels: its name, value, interval (if there is one) and assumption."""
    rate, transition = audit.rate, audit.transition
    sentences = [
        _way("labels that differ from the prediction", rate.disagreement, nan, nan, "counts the networks' errors too"),
    ]
    if transition.verdict == "stated":
        note = "if a label depends on the class alone, and nearest samples share it"
        sentences.append(_way("labels of nearest samples", transition.rate, nan, nan, note))
    if rate.verdict == "stated":
        sentences.append(
            _way("labels alone", rate.value, rate.low, rate.high, "if the noise is symmetric; tests passed")
        )
    else:
        sentences.append(_way("labels alone", nan, nan, nan, f"cannot tell: {rate.reason}"))
    if settled:
        wrong, word = _shares(settled)["wrong labels"], settled["verdict"]
        value = nan if wrong["value"] is None else wrong["value"]
        sentences.append(
            _way(f"checks, {word}", value, wrong["low"], wrong["high"], "for any noise, if the plan was followed")
        )
    return sentences


def _way(name: str, value: float, low: float, high: float, note: str) -> dict[str, Any]:
    ends = f"{share(low)} to {share(high)}" if isfinite(low) else ""
    return {"name": name, "value": share(value), "ends": ends, "note": note, "bar": bar(value, low, high)}


def bar(value: float | None, low: float, high: float) -> dict[str, str] | None:
    """The left end and width of a bar, in percent of an axis from 0 to 1: the interval, or else the value alone.

    >>> bar(0.2, 0.1, 0.3)
    {'left': '10.00', 'width': '20.00'}
    """
    if not isfinite(low) or not isfinite(high):
        if value is None or not isfinite(value):
            return None
        low = high = value
    left, right = (100 * min(max(end, 0.0), 1.0) for end in (low, high))
    return {"left": f"{left:.2f}", "width": f"{right - left:.2f}"}
