"""The rate of wrong labels from labels alone: an interval with its premise where the tests pass, else "cannot tell"."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from byrote.audit.result import Rate
from byrote.audit.transition import Transition
from byrote.measures import noise_rate

__all__ = ["label_only"]

_MOST = 1 << 26  # numbers of logits that are looked at, .5 GB in float64; of more samples a random part


def label_only(
    logits: Callable[[NDArray[np.int64]], NDArray[np.floating]],
    labels: NDArray[np.int64],
    num_classes: int,
    folds: NDArray[np.int64] | None,
    transition: Transition,
    disagreement: float,
    seed: int = 0,
) -> Rate:
    """The rate by `measures.noise_rate`, never with a narrower claim than it makes.

    Args:
        logits: gives the held-out logits (r, N) of r rows.
        labels: (n,).
        num_classes: N.
        folds: (n,) which network judged; None: one network did.
        transition: the consensus estimate, for a value where no interval can be stated.
        disagreement: share of labels that differ from the prediction.
        seed: which samples are looked at where there are too many for memory.
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
