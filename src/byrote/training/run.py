"""The result of one trained experiment, as a value that can be stored."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from numpy.typing import NDArray

from byrote.experiment import Experiment
from byrote.networks import Classifier
from byrote.table import Table

__all__ = ["Run", "trained"]


@dataclass(frozen=True)
class Run:
    """The outcome of one experiment.

    Attributes:
        experiment: its spec.
        status: "done" or "failed".
        error: one sentence if it failed.
        history: one row per evaluated epoch (columns in docs/measures.md); `.to_pandas()`, `.to_polars()`, `.rows()`.
        samples: one row per training sample: id, true, observed, learned_epoch (0: never learned), forgotten (times),
            margin, aum.
        features: split, id, true, observed, x, y of some samples if M = 2, otherwise empty.
        facts: numbers about the run in addition to its spec (number of classes, effective rate, ...).
        weights: the trained weights by name, if they were kept; `model` builds the network from them.
        seconds: the wall time of the run's cohort, and the run's share of this time.
        numerics: the arithmetic of its network (`byrote.engine.numerics`).
    """

    experiment: Experiment
    status: str
    error: str
    history: Table
    samples: Table
    features: Table
    facts: Mapping[str, Any]
    weights: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    numerics: Mapping[str, bool | str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return self.experiment.key

    @property
    def final(self) -> dict[str, Any]:
        """The last row of the history."""
        return self.history.row(-1) if len(self.history) else {}

    def model(self) -> Classifier:
        """The trained network in eval mode: `model(x)` gives logits, and `model.features(x)` gives features.

        Its input is what `run.experiment.data.load(...)` gives: float32 (B, C, H, W), prepared as in training.

        Raises:
            ValueError: the weights of the run were not kept, or it failed.
        """
        if self.error:
            raise ValueError(f"there is no network of run {self.key}, because it failed: {self.error}")
        if not self.weights:
            raise ValueError(
                f"the weights of run {self.key} were not kept; train it with experiment.run(keep_weights=True)"
            )
        return trained(self.experiment, self.weights)


def trained(experiment: Experiment, weights: Mapping[str, NDArray[Any]]) -> Classifier:
    """The network of an experiment with these weights, in eval mode.

    Args:
        experiment: the spec, whose data determine the input shape.
        weights: arrays by their names in `network.state_dict()`.
    """
    shape = experiment.data.load("train", experiment.split_seed).shape
    network = experiment.network.build(shape, experiment.num_outputs)
    network.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    return network.eval()
