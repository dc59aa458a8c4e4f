"""The final J1 and J2 read from LF's figures, for comparison with measured ones."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

__all__ = ["beside", "finals", "source"]

_LOSS = {"CE": "cross_entropy", "MSE-p": "mse_probabilities", "RLL": "robust_log", "nMSE": "normalized_mse"}


@cache
def _file() -> dict[str, Any]:
    text = resources.files("byrote.reference").joinpath("lf_published_curves.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content


def source() -> str:
    """Where the published values come from, in one sentence."""
    return str(_file()["source"])


def finals(dataset: str, network: str, loss: str, rate: float) -> dict[str, float]:
    """The published final J1 and J2 as shares, those that the figures show.

    Args:
        dataset: kind, `cifar10` or `mnist`.
        network: kind, `inception_lite`, `resnet32` or `resnet18`.
        loss: short label, `CE`, `MSE-p`, `RLL` or `nMSE`.
        rate: eta of the symmetric noise.

    Returns:
        {"j1": ..., "j2": ...} in [0, 1]; empty where nothing is published.

    >>> finals("cifar10", "inception_lite", "RLL", 0.4)
    {'j1': 0.655, 'j2': 0.849}
    """
    rows = [
        row
        for row in _file()["rows"]
        if (row["dataset"], row["network"], row["loss"]) == (dataset, network, _LOSS.get(loss))
        and abs(row["eta"] - rate) < 1e-9
    ]
    return {row["measure"].lower(): round(row["final"] / 100, 6) for row in rows}


def beside(facts: dict[str, Any], loss: str, rate: float) -> dict[str, float]:
    """`published_j1`, `published_j2` for a cell of that dataset and network, where there are any."""
    values = finals(str(facts.get("dataset")), str(facts.get("network")), loss, rate)
    return {f"published_{measure}": value for measure, value in values.items()}
