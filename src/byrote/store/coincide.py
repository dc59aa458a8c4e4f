"""Runs that learned nothing: a rectified network whose features have died, but for a trace.

A run whose class means coincide to the last digit has no NC1 (`collapsed`). One whose means lie a thousandth of the
usual distance apart has one, in the thousands, that says nothing of collapse and hides everything else on a line or an
axis.
"""

import numpy as np

from byrote.store.table import Table

__all__ = ["COINCIDE", "marked"]

COINCIDE = 0.01  # of the median distance of the runs of the same data, network and loss
_PEERS = ("dataset", "classes", "network", "width", "feature_width", "noise", "weight_decay", "loss")
_WITHOUT = ("nc1_test", "mem_relative", "mem_weighted_relative")  # what is relative to the distance


def marked(history: Table) -> Table:
    """The table with rows whose class means coincide for all purposes marked as collapsed, like those with D = 0.

    D is compared with the median over the final rows of the runs of the same data, network and loss: below 1% of it,
    NC1 and what is divided by D have no value.

    >>> rows = [{"key": k, "epoch": 1, "loss": "CE", "class_distance": d, "collapsed": False, "nc1_test": 1.0}
    ...         for k, d in (("a", 2.0), ("b", 1.9), ("c", 0.003))]
    >>> marked(Table.of(rows))["collapsed"].tolist()
    [False, False, True]
    """
    if not len(history) or not all(name in history for name in ("class_distance", "collapsed", "loss")):
        return history
    peers = [name for name in _PEERS if name in history]
    least = np.zeros(len(history))
    for _, group in history.with_column("_row", np.arange(len(history))).groups(*peers):
        distance = group.final()["class_distance"]
        known = distance[np.isfinite(distance)]
        least[group["_row"]] = COINCIDE * np.median(known) if len(known) else 0.0
    apart = history["class_distance"]
    gone = np.isfinite(apart) & (apart < least)
    table = history.with_column("collapsed", history["collapsed"].astype(bool) | gone)
    for name in _WITHOUT:
        if name in table:
            table = table.with_column(name, np.where(gone, np.nan, table[name].astype(np.float64)))
    return table
