"""Facts of a run that its spec does not contain: numbers determined by the data, the noise law, and the network.

They are stored with the results, so that results can be read without torch.
"""

import math
from typing import Any

from byrote.experiment import Experiment

__all__ = ["facts_of"]


def facts_of(experiment: Experiment, n_train: int, n_test: int, feature_width: int) -> dict[str, Any]:
    """The facts of a run; a value that does not exist is None.

    Args:
        experiment: the spec.
        n_train, n_test: the numbers of its training and test samples.
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
