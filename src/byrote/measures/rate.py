"""Estimate the rate of symmetric label noise from a classifier's logits on noisy samples it was not trained on.

A prediction on such a sample depends on its observed label only through its true label. If a share e_ij of the samples
predicted as i has the true label j, then under symmetric noise of rate rho their observed label is j with probability

    q_ij = e_ij (1 - rho) + (1 - e_ij) rho / (N - 1),    j != i.

The total disagreement (1 - J1) would count the classifier's own errors e_ij as noise. Two choices exclude these errors:
the estimate uses only the samples of which the classifier is most certain, and only the pairs of classes that it
confuses least. Both choices are based only on the logits, which do not depend on these labels. For these samples and
pairs, e_ij is near 0, and all q_ij are close to the same floor rho / (N - 1).

No interval from labels alone is right for every kind of noise (Liu, Cheng & Zhang, ICML 2023): wrong labels that depend
on the image look like clean labels. So each estimate has a premise, which is tested as far as possible. If a test
fails, the verdict is "cannot tell". The tests are in `byrote.measures.premise`.
"""

from dataclasses import dataclass
from math import nan

import torch
from torch import Tensor

from byrote.checks import class_labels, finite_rows, integers, matrix, one_axis
from byrote.measures.blocks import add_by_class_
from byrote.measures.premise import Counted, evenness, excess, interval, preference, shared_labels

__all__ = ["PREMISE", "UNDERFITS", "RateEstimate", "noise_rate"]

UNDERFITS = 0.3  # the largest share of classifier errors among all samples at which the floor is trusted
PREMISE = (
    "The noise is symmetric, no sample was trained on by the network that gave its logits, and among the samples that "
    "the classifier is surest of, its own errors reach the classes it confuses least at most half as often as errors "
    "spread evenly over all other classes would."
)
_SURE = 0.25  # share of the samples that are used
_TESTS = 3  # the number of tests of the premise, which share the significance level


@dataclass(frozen=True)
class RateEstimate:
    """An estimated rate of symmetric noise.

    Attributes:
        rate: the point estimate of rho, in [0, 1], given even without an interval; NaN for N = 2 and without samples.
        low, high: ends of the interval; NaN if `verdict` is "cannot tell".
        own_error: the estimated share of samples on which the classifier itself errs, in [0, 1]: the disagreement that
            the rate does not explain.
        verdict: "stated" or "cannot tell".
        reason: the reason for the verdict, in one sentence.
        premise: what must be true for a stated interval to be right.
        profile: (N - 1,), counts over the samples with the surest predictions: how many labels are the class that is
            confused least with the predicted class, the second least confused class, and so on. Empty if nothing was
            counted.
        counted: k, the number of leading entries of `profile` that the estimate uses.
    """

    rate: float
    low: float
    high: float
    own_error: float
    verdict: str
    reason: str
    premise: str = PREMISE
    profile: tuple[int, ...] = ()
    counted: int = 0

    @property
    def underfits(self) -> bool:
        """Whether the classifier errs too often for an estimate: on a share of samples above `UNDERFITS`."""
        return not self.own_error <= UNDERFITS


def noise_rate(
    logits: Tensor,
    observed: Tensor,
    num_classes: int,
    confidence: float = 0.95,
    *,
    folds: Tensor | None = None,
    held_out: bool = True,
) -> RateEstimate:
    """Estimate the rate of symmetric noise among held-out samples, or state the reason why this is not possible.

    Formula: rho = (N - 1)/k sum_i sum_{j in least_k(i)} n_ij / n over the quarter of the samples with the largest
    log-odds of the predicted class. n is their number, n_ij of them are predicted as i and observed as j, and
    least_k(i) are the k = floor((N - 1)/2) classes with the lowest mean probability over those predicted as i. The
    interval is that of `premise.interval`.

    The interval is stated if three tests of the premise pass. Their joint level is 1 - confidence, so they wrongly
    reject the premise about as often as the interval may miss the rate. They test whether the counted labels are spread
    evenly over all pairs of classes (`evenness`), are independent of the logits (`preference`), and are at most an even
    share of the disagreements (`excess`). The interval is not stated if its lower end is 0. In this case there is no
    evidence of symmetric noise: the labels may have no noise, depend on the image, or have been learned.

    With `folds`, the surest samples and the least confused classes are chosen within each fold, because networks differ
    in how certain they are, and because the networks of the other folds were trained on the counted labels. The counted
    labels still influence which classes those networks confuse least in their own folds. This widens the interval
    (`premise.shared_labels`).

    Args:
        logits: (n, N), finite, for samples on which the classifier was not trained.
        observed: (n,) their noisy labels, integers in 0..N-1 in any container.
        num_classes: N, at least 2; for N = 2 no pair of classes is left to count, and the estimate is NaN.
        confidence: the confidence level of the interval, in (0, 1).
        folds: (n,) the number of the network that gave each row, if there were several networks (cross-validation).
        held_out: False if the networks were trained on these samples. Then some labels are memorized, and the floor is
            too low by an unknown amount: there is an estimate, but no interval.

    Raises:
        TypeError: labels or folds that are not integers.
        ValueError: shapes or lengths that differ, labels out of range, logits that are not finite, a confidence
            outside (0, 1), fewer than two classes.

    >>> generator = torch.Generator().manual_seed(0)
    >>> true = torch.arange(9000) % 10
    >>> flip = torch.rand(9000, generator=generator) < 0.2
    >>> observed = torch.where(flip, (true + torch.randint(1, 10, (9000,), generator=generator)) % 10, true)
    >>> estimate = noise_rate(5 * torch.eye(10)[true], observed, 10)
    >>> estimate.low < 0.2 < estimate.high, estimate.verdict
    (True, 'stated')
    >>> noise_rate(5 * torch.eye(10)[true], (true + flip) % 10, 10).verdict  # to the next class
    'cannot tell'
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence:g}")
    if num_classes < 2:
        raise ValueError(f"a noise rate needs at least two classes, got {num_classes}")
    rows = matrix("logits", logits, num_classes)
    observed = class_labels("observed", observed, num_classes, len(rows)).cpu()
    finite_rows("logits", rows, "leave out those samples, or the columns of masked classes")
    networks = _fold_numbers(folds, len(observed))
    if not len(observed):
        return RateEstimate(nan, nan, nan, nan, "cannot tell", "there are no samples")
    if num_classes == 2:
        return RateEstimate(
            nan,
            nan,
            nan,
            nan,
            "cannot tell",
            "with two classes, there are no classes that the classifier confuses less than others",
        )
    z = rows.to("cpu", torch.float64)
    return _estimate(z, observed, networks, confidence, held_out)


def _estimate(z: Tensor, observed: Tensor, networks: Tensor, confidence: float, held_out: bool) -> RateEstimate:
    """Compute the estimate from checked float64 logits, labels and fold numbers, for at least three classes."""
    N = z.shape[1]
    counted, profile = _count(z, observed, networks)
    rate = min(counted.hits / len(counted.predicted) * counted.scale, 1.0)
    disagree = float((z.argmax(-1) != observed).double().mean())
    slack = 1 - rate - rate / (N - 1)
    own = min(max((disagree - rate) / slack, 0.0), 1.0) if slack > 0 else 1.0
    spread = shared_labels(counted.k, N - 1, int(networks.max()) + 1)
    low, high = interval(counted, confidence, spread)
    reason = _doubt(counted, own, low, (1 - confidence) / _TESTS, held_out)
    if reason:
        return RateEstimate(rate, nan, nan, own, "cannot tell", reason, PREMISE, profile, counted.k)
    reason = f"{counted.hits} labels are counted, spread evenly over the classes that the classifier confuses least"
    return RateEstimate(rate, low, high, own, "stated", reason, PREMISE, profile, counted.k)


def _doubt(counted: Counted, own: float, low: float, level: float, held_out: bool) -> str:
    """The reason why no interval can be stated; empty if one can be stated."""
    if not held_out:
        return "the samples were trained on, and wrong labels that were memorized are not counted"
    if own > UNDERFITS:
        return f"the classifier itself errs on {own:.0%} of the samples, which is above {UNDERFITS:.0%}"
    if (p := evenness(counted)) < level:
        return f"the labels fall unevenly on the classes confused least (p = {p:.1g}): the noise is not symmetric"
    if (p := preference(counted)) < level:
        return (
            f"the labels follow the logits even among the classes confused least (p = {p:.1g}): the samples were "
            "trained on, or the noise depends on them"
        )
    if (p := excess(counted)) < level:
        return f"more than an even share of the labels falls on the classes confused least (p = {p:.1g})"
    if low > 0:
        return ""
    if counted.disagree == 0:
        return "no label disagrees, as with clean labels, labels that follow the sample, or learned labels"
    return (
        f"only {counted.hits} of the {counted.disagree} labels that disagree among the surest samples are counted, "
        "which is too few to tell symmetric noise from the classifier's errors and from labels that follow the sample"
    )


def _count(z: Tensor, observed: Tensor, networks: Tensor) -> tuple[Counted, tuple[int, ...]]:
    """The surest samples of each network with its least confused classes, and the number of labels by rank."""
    N = z.shape[1]
    k = (N - 1) // 2
    top, predicted = z.max(-1)
    lead = top - z.scatter(1, predicted[:, None], float("-inf")).logsumexp(-1)  # probabilities near 1 would be rounded
    rows, least, places = [], [], []
    for fold in range(int(networks.max()) + 1):
        own = (networks == fold).nonzero()[:, 0]
        surest = own[lead[own].argsort(stable=True, dim=0, descending=True)[: max(int(_SURE * len(own)), 1)]]
        confused = torch.zeros(N, N, dtype=torch.float64)
        add_by_class_(confused, predicted[surest], torch.softmax(z[surest], -1))
        ranks = confused.argsort(dim=1, stable=True).argsort(dim=1)  # 0: confused least; the predicted class is last
        rows.append(surest)
        least.append(ranks[predicted[surest]] < k)
        places.append(ranks[predicted[surest], observed[surest]])
    chosen = torch.cat(rows)
    profile = torch.cat(places).bincount(minlength=N)[: N - 1].tolist()
    return Counted(predicted[chosen], observed[chosen], z[chosen], torch.cat(least), k), tuple(profile)


def _fold_numbers(folds: Tensor | None, n: int) -> Tensor:
    """Number the folds from 0, (n,); all 0 without folds."""
    if folds is None:
        return torch.zeros(n, dtype=torch.int64)
    numbers = integers("folds", folds).cpu()
    one_axis("folds", numbers)
    if len(numbers) != n:
        raise ValueError(f"expected equal lengths, got {len(numbers)} folds for {n} samples")
    numbered: Tensor = numbers.unique(return_inverse=True)[1]
    return numbered
