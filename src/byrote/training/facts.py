"""What a table says of a run besides its history: the constant columns, computed once when the run is made.

They are stored beside the results, so that claims, figures and reports read them as data and need no torch.
"""

import math
from pathlib import Path
from typing import Any

from byrote.experiment import Experiment

__all__ = ["facts_of"]


def facts_of(experiment: Experiment, n_train: int, n_test: int) -> dict[str, Any]:
    """The constant columns of an experiment's rows; a value that does not exist is None."""
    data, network, training = experiment.data, experiment.network, experiment.training
    optimizer = training.optimizer
    classes = getattr(data, "classes", None)
    width = getattr(network, "feature_width", None) or experiment.num_outputs
    facts: dict[str, Any] = {
        "dataset": data.kind,
        "classes": "all" if classes is None else ",".join(map(str, classes)),
        "num_classes": data.num_classes,
        "n_train": n_train,
        "n_test": n_test,
        "balance": _balance(getattr(data, "per_class", None)),
        "preprocessing": getattr(data, "preprocessing", ""),
        "resolution": getattr(data, "resolution", None),
        "network": network.kind,
        "depth": getattr(network, "depth", None),
        "width": getattr(network, "width", None),
        "feature_width": width,
        "loss": experiment.loss.label,
        "alpha": experiment.loss.parameter,
        "noise": experiment.noise.kind,
        "labels": Path(getattr(experiment.noise, "path", "")).stem,
        "rate": experiment.noise.nominal_rate,
        "effective_rate": experiment.noise.effective_rate(data.num_classes),
        "seed": experiment.seed,
        "epochs": training.epochs,
        "batch_size": training.batch_size,
        "optimizer": optimizer.kind,
        "lr": optimizer.lr,
        "momentum": getattr(optimizer, "momentum", None),
        "weight_decay": optimizer.weight_decay,
        "dropout": training.dropout,
        "schedule": _words(training.schedule.spec()),
        "precision": training.precision,
    }
    facts["start"] = "scratch" if experiment.start is None else "memorised"
    facts["start_loss"] = "" if experiment.start is None else experiment.start.label
    return {name: None if isinstance(v, float) and math.isnan(v) else v for name, v in facts.items()}


def _words(spec: dict[str, Any]) -> str:
    """A spec in one short text: its kind and its fields, so that settings that differ never look alike."""
    fields = ", ".join(f"{name}={value}" for name, value in spec.items() if name != "kind")
    return f"{spec['kind']}({fields})" if fields else str(spec["kind"])


def _balance(per_class: int | tuple[int, ...] | None) -> str:
    """How many training samples each class has: "equal" unless the spec lists different numbers."""
    if isinstance(per_class, tuple) and len(set(per_class)) > 1:
        return ",".join(map(str, per_class))
    return "equal"
