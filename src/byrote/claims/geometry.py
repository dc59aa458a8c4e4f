"""A2: on clean labels, trained ReLU networks reach the positive neural collapse of MD's Definition 3.1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from byrote.analysis import Analysis, at_least
from byrote.claims.cells import Group, cells
from byrote.claims.gathering import Gathered
from byrote.claims.verdict import Finding, claim

__all__ = ["COSINE", "SHARE", "SPREAD", "orthogonal_and_equal"]

COSINE, SPREAD, SHARE = 0.1, 0.2, 0.9
LOSSES = ("CE", "LS")  # the losses of Theorem 3.2
_WIDTH = ("network.feature_width",)


def orthogonal_and_equal(group: Group) -> NDArray[np.bool_]:
    """A mask of the runs with orthogonal training class means (uncentered cosine < .1) of equal norm (CV < .2)."""
    cosine, spread = group["train_uncentred_cosine"], group["train_norm_cv"]
    return np.asarray((np.abs(cosine) < COSINE) & (spread < SPREAD))


@claim(
    "A2",
    statement="Under CE and LS with weight decay, ReLU networks trained on clean labels have training class means of "
    "equal norm that are orthogonal without centering",
    bar="share of runs with mean uncentered cosine < .1 and CV of the norms < .2, on training data: at least .9",
    published="asserted (Theorem 3.2 and MD's Fig. 3)",
    method="exact (Clopper-Pearson) interval over runs",
    cells="one share for each loss, of the runs at eta 0 with weight decay at every M; rows by setting, M and loss",
    minimum="36 runs that all agree to hold",
    needs=("train_uncentred_cosine", "train_norm_cv", "train_classes_at_zero"),
    true_labels=True,  # without true labels, it is unknown whether the labels are clean
)
def _a2(analysis: Analysis) -> Finding:
    gathered = Gathered(analysis)
    decay = analysis.field("training.optimizer.weight_decay")
    penalized = np.array([isinstance(value, (int, float)) and value > 0 for value in decay], dtype=bool)
    for loss in LOSSES:
        of, good = [], []
        for family in cells(analysis, vary=_WIDTH):
            for width, cell in family.by(*_WIDTH).items():
                group = cell.at(loss, 0.0)
                group = group.where(penalized[group.rows] & _is_read(group))
                if not len(group):
                    continue
                hits = orthogonal_and_equal(group)
                of.append((cell, group))
                good.append(hits)
                gathered.rows.append(_shape(f"{cell.title}, M = {width}, {loss}", group, hits))
        gathered.share(f"share of runs, {loss}", of, good, at_least(SHARE))
    return gathered.finding("no run of CE or LS with weight decay at eta 0")


def _is_read(group: Group) -> NDArray[np.bool_]:
    """A mask of the runs that count: runs with readings, and runs with a class mean of 0 (no neural collapse)."""
    return np.isfinite(group["train_norm_cv"]) | (group["train_classes_at_zero"] > 0)


def _shape(name: str, group: Group, hits: NDArray[np.bool_]) -> dict[str, object]:
    """Further columns about a setting: cosines, norms, and the number of runs with a class mean at zero."""
    readings = ("train_uncentred_cosine", "train_norm_cv", "train_centred_cosine", "uncentred_cosine", "norm_cv")
    row: dict[str, object] = {"cell": name, "what": "share of runs", "value": float(np.mean(hits)), "seeds": len(group)}
    row |= {column: group.value(column) for column in readings if column in group.analysis.runs}
    return row | {"runs_with_a_class_at_zero": int(np.sum(group["train_classes_at_zero"] > 0))}
