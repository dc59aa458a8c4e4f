"""Turn rows of facts and readings into artificial results like those of a store: specs, runs and a history."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from byrote.store import Results
from byrote.table import Table

__all__ = ["results_of", "spec_of"]

KINDS = {
    "CE": {"kind": "cross_entropy"},
    "LS": {"kind": "label_smoothing", "alpha": 0.1},
    "LR": {"kind": "label_relaxation", "alpha": 0.1},
    "MSE": {"kind": "mean_squared_error", "on": "logits"},
    "MSE-p": {"kind": "mean_squared_error", "on": "probabilities"},
    "RLL": {"kind": "robust_log", "alpha": 0.1},
    "nMSE": {"kind": "normalized_mse", "scale": 1.0},
}
_FACTS = ("loss", "alpha", "num_classes", "n_train", "n_test", "feature_width", "effective_rate", "start_loss")
_OUTSIDE = {  # the facts in a row that belong to a spec
    *("key", "study", "part", "dataset", "classes", "network", "depth", "width", "noise", "rate", "seed", "epochs"),
    *("batch_size", "optimizer", "lr", "momentum", "weight_decay", "dropout", "schedule", "precision", "balance"),
    *("preprocessing", "resolution", "labels", "start", "status", "error", "noise_seed", "spec", "bind", "contents"),
}


def _present(value: Any) -> bool:
    return value is not None and value == value and value != ""


def spec_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Build the spec of a row; dotted paths in the row's `spec` override the rest."""
    classes = str(row.get("classes", "all"))
    loss = dict(KINDS.get(row["loss"], {"kind": str(row["loss"]).lower()}))
    if _present(row.get("alpha")) and row["loss"] in ("LS", "LR", "RLL"):
        loss["alpha"] = row["alpha"]
    elif _present(row.get("alpha")):
        loss["parameter"] = row["alpha"]
    data = {"kind": row.get("dataset", "fashion_mnist"), "per_class": row.get("n_train"), "test_per_class": None}
    data |= {"classes": None if classes == "all" else [int(c) for c in classes.split(",")]}
    data |= {name: row[name] for name in ("balance", "preprocessing", "resolution") if _present(row.get(name))}
    network = {"kind": row.get("network", "mlp"), "depth": row.get("depth"), "width": row.get("width")}
    network |= {"feature_width": row.get("feature_width")}
    noise = {"kind": row.get("noise", "uniform")}
    if _present(row.get("labels")):
        noise["path"] = row["labels"]
    if _present(row.get("rate")):
        noise["rate"] = row["rate"]
    optimizer = {"kind": row.get("optimizer", "sgd")}
    optimizer |= {name: row[name] for name in ("lr", "momentum", "weight_decay") if _present(row.get(name))}
    training = {"epochs": row.get("epochs"), "batch_size": row.get("batch_size", 128), "optimizer": optimizer}
    training |= {"schedule": {"kind": row.get("schedule", "step")}, "precision": row.get("precision", "fp32")}
    training |= {"dropout": row.get("dropout") or 0.0, "clip": 0.0}
    start = None if row.get("start", "scratch") in ("scratch", "", None) else {"kind": "cross_entropy"}
    spec = {"data": data, "noise": noise, "loss": loss, "network": network, "training": training, "start": start}
    spec |= {"seed": row["seed"], "noise_seed": row.get("noise_seed"), "split_seed": None}
    for path, value in row.get("spec", {}).items():
        *parents, leaf = path.split(".")
        tree = spec
        for name in parents:
            tree = tree.setdefault(name, {})
        tree[leaf] = value
    return spec


def results_of(
    rows: Iterable[Mapping[str, Any]], features: Table | None = None, about: Mapping[str, Any] | None = None
) -> Results:
    """Make results from rows; each row contains the facts of a run and the readings of one epoch."""
    listed = [dict(row) for row in rows]
    places: dict[str, int] = {}
    runs: list[dict[str, Any]] = []
    for row in listed:
        if row["key"] not in places:
            places[row["key"]] = len(runs)
            described = {name: row.get(name) for name in _FACTS} | {"key": row["key"], "part": row.get("part", "made")}
            described |= {"status": row.get("status", "done"), "error": row.get("error", "")}
            described |= {"spec": json.dumps(spec_of(row)), "contents": json.dumps(row.get("contents", {}))}
            runs.append(described | {"bind": json.dumps(row.get("bind", []))})
    readings = [
        {"run": places[row["key"]], "key": row["key"]}
        | {name: value for name, value in row.items() if name not in _OUTSIDE and name not in _FACTS}
        for row in sorted(listed, key=lambda row: (places[row["key"]], row["epoch"]))
        if row.get("status", "done") == "done"
    ]
    facts = {"format": 2, "study": "made", "scale": "", "planned": len(runs), "not_run": [], "machine": {}} | (
        about or {}
    )
    return Results(Table.of(runs), Table.of(readings), "made", facts, lambda: features or Table({}))
