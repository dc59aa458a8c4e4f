"""The rate of symmetric label noise, read off what one classifier answers on noisy samples it was not trained on.

A prediction on such a sample depends on its observed label through the true one alone. Where the true label is j with
probability e_ij among the samples predicted as i, symmetric noise of rate rho makes the observed label j with
probability

    q_ij = e_ij (1 - rho) + (1 - e_ij) rho / (N - 1),    j != i.

Disagreement as such (1 - J1) counts the classifier's own errors e_ij as noise. Two choices keep them out, both made by
its probabilities alone, which know nothing of these labels: the samples it is most sure of, and of all pairs of
classes those it mixes up least. There e_ij is near 0, and the observed labels lie on a flat floor of height
rho / (N - 1).
"""

from dataclasses import dataclass
from math import nan

import torch
from scipy.special import betaincinv
from torch import Tensor

from byrote.checks import classes, same_length
from byrote.measures.blocks import add_by_class_

__all__ = ["UNDERFITS", "RateEstimate", "noise_rate"]

UNDERFITS = 0.3  # errors of the classifier's own, over all samples, from which the floor is no longer believed
_SURE, _SUREST = 0.25, 0.1  # shares of the samples that the estimate and the lower end are taken from
_LEFT = 0.15  # of the classifier's own errors, the part that may be left there: a premise, the most seen in a pilot


@dataclass(frozen=True)
class RateEstimate:
    """An estimated rate of symmetric noise.

    Attributes:
        rate: the point estimate of rho in [0, 1]; NaN for N = 2, where no pair of classes is left for the floor.
        low, high: ends of the interval. `low` is the lower of those from the surest quarter of the samples and from the
            surest tenth, less .15 of the classifier's own errors: some are left among the samples it is sure of.
        own_error: share of all predictions that the rate does not explain, the classifier's own errors, in [0, 1].
    """

    rate: float
    low: float
    high: float
    own_error: float

    @property
    def underfits(self) -> bool:
        """The classifier errs so often by itself (`UNDERFITS`) that the rate cannot be told."""
        return not self.own_error <= UNDERFITS


def noise_rate(logits: Tensor, observed: Tensor, num_classes: int, confidence: float = 0.95) -> RateEstimate:
    """The rate of symmetric noise among held-out samples.

    Formula: rho = (N - 1)/k sum_i sum_{j in least_k(i)} n_ij / n over the quarter of the samples with the highest
    probabilities, n_ij of them predicted as i and observed as j, least_k(i) the k = floor((N - 1)/2) classes with the
    lowest mean probability among those predicted as i. The interval is Clopper and Pearson's for the counted samples,
    scaled alike.

    Premise: the noise is symmetric, and the classifier has not seen these labels. On its own training samples it has
    learned some by heart, and the rate comes out too low.

    Args:
        logits: (n, N), of samples that were not trained on.
        observed: (n,) their noisy labels, in 0..N-1.
        num_classes: N; with 2 the estimate is NaN.
        confidence: of the interval, in (0, 1).

    Raises:
        ValueError: lengths that differ, labels out of range, logits of another width than N.

    >>> generator = torch.Generator().manual_seed(0)
    >>> true = torch.arange(9000) % 10
    >>> flip = torch.rand(9000, generator=generator) < 0.2
    >>> observed = torch.where(flip, (true + torch.randint(1, 10, (9000,), generator=generator)) % 10, true)
    >>> told = noise_rate(5 * torch.eye(10)[true], observed, 10)
    >>> told.low < 0.2 < told.high, told.underfits
    (True, False)
    """
    same_length(logits=logits, observed=observed)
    classes("observed", observed, num_classes)
    if logits.dim() != 2 or logits.shape[1] != num_classes:
        raise ValueError(f"logits must be (n, {num_classes}), one column a class, got {tuple(logits.shape)}")
    n, k = len(observed), (num_classes - 1) // 2
    if not k or not n:
        return RateEstimate(nan, nan, nan, nan)
    probabilities = torch.softmax(logits.double(), -1)
    surest = probabilities.amax(-1).argsort(stable=True, dim=0, descending=True)
    predicted = logits.argmax(-1)
    found = []
    for share in (_SURE, _SUREST):
        rows = surest[: max(int(share * n), 1)]
        count = _floor(predicted[rows], observed[rows], probabilities[rows], k)
        found.append(_scaled(count, len(rows), (num_classes - 1) / k, confidence))
    (rate, low, high), (_, lowest, _) = found
    disagree = float((predicted != observed).double().mean())
    slack = 1 - rate - rate / (num_classes - 1)
    own = min(max((disagree - rate) / slack, 0.0), 1.0) if slack > 0 else 1.0
    return RateEstimate(rate, max(min(low, lowest) - _LEFT * own * max(slack, 0.0), 0.0), high, own)


def _floor(predicted: Tensor, observed: Tensor, probabilities: Tensor, k: int) -> int:
    """How many samples are observed as one of the k classes least mixed up with the predicted one."""
    mixed = torch.zeros_like(probabilities[:1]).expand(probabilities.shape[1], -1).clone()
    add_by_class_(mixed, predicted, probabilities)
    ranks = mixed.argsort(dim=1, stable=True).argsort(dim=1)  # 0: mixed up least; the predicted class comes last
    return int((ranks[predicted, observed] < k).sum())


def _scaled(count: int, n: int, scale: float, confidence: float) -> tuple[float, float, float]:
    """The share count / n with its Clopper-Pearson interval, times `scale`, within [0, 1]."""
    tail = (1 - confidence) / 2
    low = 0.0 if count == 0 else float(betaincinv(count, n - count + 1, tail))
    high = 1.0 if count == n else float(betaincinv(count + 1, n - count, 1 - tail))
    return min(count / n * scale, 1.0), min(low * scale, 1.0), min(high * scale, 1.0)
