"""Facts of a run that its spec does not contain: numbers determined by the data, the noise law, and the network.

They are stored beside the results, so that readers need no torch.
"""

import math
from collections.abc import Mapping
from typing import Any

from byrote.experiment import Experiment

__all__ = ["facts_of", "wrong_facts"]


def facts_of(experiment: Experiment, n_train: int, n_test: int, feature_width: int) -> dict[str, Any]:
    """The constants of a run besides its spec; a value that does not exist is None.

    Args:
        experiment: the spec.
        n_train, n_test: how many samples it was trained and tested on.
        feature_width: M, the width of the features that go into the classifier.
    """
    num_classes = experiment.data.num_classes
    facts: dict[str, Any] = {
        "loss": experiment.loss.label,
        "alpha": experiment.loss.parameter,
        "num_classes": num_classes,
        "n_train": n_train,
        "n_test": n_test,
        "feature_width": feature_width,
        "effective_rate": experiment.noise.effective_rate(num_classes),
        "start_loss": "" if experiment.start is None else experiment.start.label,
    }
    return {name: None if isinstance(v, float) and math.isnan(v) else v for name, v in facts.items()}


def wrong_facts(experiment: Experiment, facts: Mapping[str, Any]) -> str:
    """The stored facts that contradict the spec, in words; empty where there are none.

    Counts of samples and features are taken as stored, because they need the data. If a user's own code raises an
    exception, no contradiction is reported.

    Args:
        experiment: the spec.
        facts: as they are stored.
    """
    try:
        counts = (facts.get(name) for name in ("n_train", "n_test", "feature_width"))
        given = facts_of(experiment, *counts)  # type: ignore[arg-type]
    except Exception:
        return ""
    wrong = {name: value for name, value in given.items() if not _same(facts.get(name), value)}
    return ", ".join(f"{name}: {facts.get(name)}, needs {value}" for name, value in wrong.items())


def _same(one: Any, other: Any) -> bool:
    """Whether two facts are equal, numbers up to the last digits, in which processors may differ."""
    numbers = isinstance(one, float) and isinstance(other, float)
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12) if numbers else bool(one == other)
