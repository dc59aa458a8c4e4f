"""B7: the exact identity that relates J1, J2 and the outcomes of the corrupted samples."""

from __future__ import annotations

import numpy as np

from byrote.analysis import Analysis
from byrote.claims.verdict import Finding, claim, needed

__all__ = ["EXACT"]

EXACT = 1e-6


@claim(
    "B7",
    statement="J1 - J2 = rho (m - t) at every epoch of every run; so J1 = 1 implies J2 = 1 - rho",
    bar="largest deviation < 1e-6: a check of the measuring code",
    published="J1 = 100 with J2 = 79.9, 59.7, 40.0 at eta .2, .4, .6 (CE, Inception-Lite)",
    method="exact, no interval",
    cells="every epoch of every run, collapsed ones included; latent-class noise is left out: J2 folds its 2N outputs "
    "into N classes, so that a prediction can be the observed and the true label at once",
    minimum="1 run with a corrupted sample",
    needs=("j1", "j2", "realised_rate", "corrupted_as_observed", "corrupted_as_true"),
)
def _b7(analysis: Analysis) -> Finding:
    history = analysis.history
    latent = (analysis.runs["noise"] == "latent_class")[history["run"]]
    j1, j2, rho, m, t = (
        np.asarray(history[name], dtype=np.float64)
        for name in ("j1", "j2", "realised_rate", "corrupted_as_observed", "corrupted_as_true")
    )
    with np.errstate(invalid="ignore"):
        deviation = np.abs(j1 - j2 - np.where(rho > 0, rho * (m - t), 0.0))
    counted = np.isfinite(deviation) & ~latent
    needed(counted.any(), "no epoch with J1, J2, m and t")
    worst = int(np.argmax(np.where(counted, deviation, -1.0)))
    largest, key = float(deviation[worst]), str(analysis.runs["key"][history["run"][worst]])
    runs = len(np.unique(history["run"][counted]))
    details = ({"key": key, "epoch": int(history["epoch"][worst]), "deviation": largest},)
    if largest >= EXACT:
        return Finding("fails", statistic=largest, runs=runs, reason=f"worst in run {key}", details=details)
    if not (rho[counted] > 0).any():
        reason = "no corrupted sample: the identity is empty"
        return Finding("inconclusive", statistic=largest, runs=runs, reason=reason, details=details)
    return Finding("holds", statistic=largest, runs=runs, details=details)
