"""The rate of wrong labels from labels alone: an interval with its premise if the tests pass, else "cannot tell"."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from byrote.audit.result import Rate
from byrote.audit.transition import Transition
from byrote.measures import noise_rate

__all__ = ["label_only"]

_MOST = 1 << 26  # largest number of logits used (.5 GB in float64); if there are more, random samples are drawn


def label_only(
    logits: Callable[[NDArray[np.int64]], NDArray[np.floating]],
    labels: NDArray[np.int64],
    num_classes: int,
    folds: NDArray[np.int64] | None,
    transition: Transition,
    disagreement: float,
    seed: int = 0,
) -> Rate:
    """Estimate the rate with `measures.noise_rate` and keep its verdict and premise.

    Args:
        logits: a function that returns the held-out logits (r, N) of r rows.
        labels: (n,).
        num_classes: N.
        folds: (n,) number of the network that judged each sample; None: a single network.
        transition: the consensus estimate, which provides the value if no interval can be stated.
        disagreement: the share of labels that differ from the prediction.
        seed: the seed for drawing samples if not all samples fit in memory.
    """
    n, N = len(labels), num_classes
    rows = np.arange(n)
    if n * N > _MOST:
        rows = np.sort(np.random.default_rng(seed).choice(n, _MOST // N, replace=False))
    z = torch.from_numpy(np.asarray(logits(rows), dtype=np.float64))
    which = None if folds is None else torch.from_numpy(folds[rows])
    estimate = noise_rate(z, torch.from_numpy(labels[rows]), N, folds=which)
    if estimate.verdict == "stated":
        return Rate(
            estimate.rate,
            estimate.low,
            estimate.high,
            "stated",
            estimate.reason,
            estimate.premise,
            help="",
            disagreement=disagreement,
            profile=estimate.profile,
            counted=estimate.counted,
        )
    known = transition.verdict == "stated"
    value, premise = (transition.rate, transition.premise) if known else (float("nan"), estimate.premise)
    fit = "more epochs or another network, or " if estimate.underfits else ""
    return Rate(
        value=value,
        low=float("nan"),
        high=float("nan"),
        verdict="cannot tell",
        reason=estimate.reason,
        premise=premise,
        help=f"{fit}checking some 200 planned samples, which settles it for any noise",
        disagreement=disagreement,
        profile=estimate.profile,
        counted=estimate.counted,
    )
