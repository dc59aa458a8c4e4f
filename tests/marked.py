"""Artificial results for data without known true labels, alone or next to results for data with true labels."""

from __future__ import annotations

import json

import numpy as np

from byrote.given import TRUE_LABELS
from byrote.store import Results
from byrote.table import Table

__all__ = ["beside_given", "labels_given"]


def labels_given(results: Results) -> Results:
    """Return the same runs, as if the true labels of their data were unknown."""
    specs = []
    for text in results.runs["spec"].tolist():
        spec = json.loads(text)
        spec["data"]["labels"] = "given"
        specs.append(json.dumps(spec))
    runs = results.runs.with_column("spec", np.array(specs, dtype=object))
    return Results(runs, results.history, results.source, results.about, results.load_features)


def beside_given(results: Results) -> Results:
    """Insert a copy before each run, without true labels, with a new key and with absurd readings."""
    other = labels_given(results)
    keys = {key: f"given-{key}" for key in results.runs["key"].tolist()}
    renamed = np.array([keys[key] for key in results.runs["key"].tolist()], dtype=object)
    count = len(results.runs)
    order = np.arange(2 * count).reshape(2, count).T.ravel()
    runs = Table.concat([other.runs.with_column("key", renamed), results.runs]).take(order)
    place = np.argsort(order)  # the position of each run in the joined order
    absurd = results.history
    for name in TRUE_LABELS:
        if name in absurd:
            absurd = absurd.with_column(name, 7.0 - 3.0 * np.asarray(absurd[name], dtype=np.float64))
    absurd = absurd.with_column("key", np.array([keys[key] for key in absurd["key"].tolist()], dtype=object))
    parts = [
        absurd.with_column("run", place[:count][results.history["run"]]),
        results.history.with_column("run", place[count:][results.history["run"]]),
    ]
    history = Table.concat(parts)
    history = history.take(np.lexsort((history["epoch"], history["run"])))
    about = {**results.about, "planned": 2 * int(results.about["planned"])}
    return Results(runs, history, results.source, about, results.load_features)
