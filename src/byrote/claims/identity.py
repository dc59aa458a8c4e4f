"""B7: the exact identity that ties J1, J2 and the outcomes of the corrupted samples together."""

from __future__ import annotations

import numpy as np

from byrote.claims.verdict import Finding, NotTested, claim
from byrote.store import Results

__all__ = ["EXACT"]

EXACT = 1e-6


@claim(
    "B7",
    statement="J1 - J2 = rho (m - t) at every epoch of every run; so J1 = 1 implies J2 = 1 - rho",
    bar="largest deviation < 1e-6: a check of the measuring code",
    published="J1 = 100 with J2 = 79.9, 59.7, 40.0 at eta .2, .4, .6 (CE, Inception-Lite)",
    method="exact, no interval",
    aggregation="every epoch of every run, collapsed and unfinished ones included; latent-class noise is left out: J2 "
    "folds its 2N outputs into N classes, so that a prediction can be the observed and the true label at once",
    minimum="1 run with a corrupted sample",
    needs=("noise", "j1", "j2", "realised_rate", "corrupted_as_observed", "corrupted_as_true"),
)
def _b7(results: Results) -> Finding:
    table = results.history.where(results.history["noise"] != "latent_class")
    rho = table["realised_rate"].astype(np.float64)
    lead = table["corrupted_as_observed"] - table["corrupted_as_true"]
    gap = np.asarray(table["j1"] - table["j2"], dtype=np.float64)
    with np.errstate(invalid="ignore"):
        deviation = np.abs(gap - np.where(rho > 0, rho * lead, 0.0))
    counted = np.isfinite(deviation)
    if not counted.any():
        raise NotTested("no epoch with J1, J2, m and t")
    worst = int(np.argmax(np.where(counted, deviation, -1.0)))
    largest = float(deviation[worst])
    runs = len(set(table["key"][counted]))
    details = ({"key": table["key"][worst], "epoch": int(table["epoch"][worst]), "deviation": largest},)
    if largest >= EXACT:
        return Finding("fails", largest, None, runs, f"worst in run {table['key'][worst]}", details)
    if not (rho[counted] > 0).any():
        return Finding("inconclusive", largest, None, runs, "no corrupted sample: the identity is empty", details)
    return Finding("holds", largest, None, runs, "", details)
