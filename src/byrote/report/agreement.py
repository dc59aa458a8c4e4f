"""The page's statements about runs with unknown true labels: how often predictions agree with the given labels."""

from __future__ import annotations

from typing import Any

from byrote.analysis import Analysis
from byrote.analysis.labels import dataset_name
from byrote.analysis.series import Selection, losses_of, rated
from byrote.figures.style import loss_style
from byrote.given import FIELD, GIVEN
from byrote.report.words import count, joined, mean_share

__all__ = ["agreement_sentence", "agreement_tables", "given_limits", "given_settings"]

_HELD_OUT = "test_given_agreement"
_SHARES = ("j1", "given_agreement", _HELD_OUT)


def given_settings(analysis: Analysis) -> list[Selection]:
    """The settings whose true labels are unknown."""
    if not analysis.given.any():
        return []
    selections = (one.where(analysis.given[one.runs]) for one in rated(analysis))
    return [one for one in selections if len(one)]


def agreement_tables(analysis: Analysis) -> list[dict[str, Any]]:
    """A table for each setting with unknown true labels: means over seeds, with a row for each loss and added noise.

    J1 is the agreement with the labels used in training, added noise included; the other two columns are the agreement
    with the given labels. `rate` in a table is the noise rate whose rows the page shows first.
    """
    every = given_settings(analysis)
    names = losses_of(every)
    tables = [
        {"title": one.title, "rate": f"{min(one.rates):g}", "rows": _rows(one, names), "runs": len(one)}
        for one in every
    ]
    return sorted(tables, key=lambda table: -len(table["rows"]))


def _rows(one: Selection, names: list[str]) -> list[dict[str, Any]]:
    return [
        {
            "loss": mean["loss"],
            "color": loss_style(mean["loss"], names).color,
            "rate": f"{mean['rate']:g}",
            "cells": [mean_share(mean, name) for name in _SHARES],
            "n": len(one.of_losses(mean["loss"]).at_rate(mean["rate"])),
        }
        for mean in one.means(("loss", "rate"), _SHARES)
    ]


def agreement_sentence(analysis: Analysis) -> str:
    """A sentence on how well losses reproduce the given labels of held-out samples; empty if all labels are known."""
    every = given_settings(analysis)
    if not every:
        return ""
    one = max(every, key=len)
    last = one.at_rate(min(one.rates))
    means = [m for m in last.means(("loss",), (_HELD_OUT,)) if m[_HELD_OUT] is not None]
    runs = count(int(analysis.given.sum()), "run")
    start = f"The labels of {runs} are only given: nobody has checked which of them are wrong"
    if not means:
        return f"{start}."
    means.sort(key=lambda mean: -mean[_HELD_OUT])
    ends = means[:1] + means[1:][-1:]
    shares = joined([f"{_with_interval(mean)} under {mean['loss']}" for mean in ends])
    which = f", the most and the least of {count(len(means), 'loss')}" if len(means) > 2 else ""
    where = f"{one.title}, nominal η {min(one.rates):g}"
    return f"{start}. Predictions on held-out samples agree with these labels in {shares}{which} ({where})."


def _with_interval(mean: dict[str, Any]) -> str:
    """A mean share and its 95% interval over seeds; a single seed has no interval."""
    shown = mean_share(mean, _HELD_OUT)
    half = f" {shown['half']}" if shown["half"] else ""
    return f"{shown['text']}{half} (n = {mean[f'{_HELD_OUT}_n']})"


def given_limits(analysis: Analysis) -> list[str]:
    """A note that claims and figures about true labels leave out the runs whose true labels are unknown."""
    if not analysis.given.any():
        return []
    runs = int(analysis.given.sum())
    kinds = joined(sorted({dataset_name(str(kind)) for kind in analysis.field("data.kind")[analysis.given]}))
    which = f"{'All' if analysis.given.all() else f'{runs:,} of the'} {len(analysis.runs):,} runs"
    return [
        f'{which} have data ({kinds}) whose labels are only given ({FIELD} = "{GIVEN}"): no claim and no figure about '
        'true labels uses them. If somebody checked the labels, set labels = "known" in the study.'
    ]
