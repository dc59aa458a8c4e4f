"""Test the premise behind an estimated noise rate, and compute the interval that holds under the premise.

All tests use one table. It contains the samples of which a classifier is most certain, its prediction for each, and
whether the label is one of the classes that it confuses least with its prediction (a hit). Under symmetric noise, on
samples that were not used for training, a hit is equally likely to be each of these classes, regardless of what the
sample looks like.
"""

from dataclasses import dataclass
from math import exp, pi, sqrt

import torch
from scipy.special import betainc, betaincinv, gammaincc, ndtr, ndtri
from torch import Tensor

__all__ = ["Counted", "evenness", "excess", "interval", "preference", "shared_labels"]


@dataclass(frozen=True)
class Counted:
    """The samples of which the classifier is most certain, and the labels that are counted among them.

    Attributes:
        predicted: (s,) the predicted classes of the surest samples.
        observed: (s,) their noisy labels.
        logits: (s, N) their logits.
        least: (s, N) True for the k classes that are confused least with the predicted class.
        k: the number of least confused classes, the same for each sample.
    """

    predicted: Tensor
    observed: Tensor
    logits: Tensor
    least: Tensor
    k: int

    @property
    def hit(self) -> Tensor:
        """(s,) True if the label is one of the k least confused classes."""
        return self.least.gather(1, self.observed[:, None])[:, 0]

    @property
    def scale(self) -> float:
        """(N - 1) / k, the factor that turns the share of hits into a rate."""
        return (self.least.shape[1] - 1) / self.k

    @property
    def hits(self) -> int:
        return int(self.hit.sum())

    @property
    def disagree(self) -> int:
        """The number of samples whose label is not the predicted class; hits are included."""
        return int((self.predicted != self.observed).sum())


def evenness(counted: Counted) -> float:
    """P-value of the hypothesis that hits are spread evenly over all pairs (predicted class, least confused class).

    Pearson's statistic X^2 = sum (O - E)^2 / E runs over the C pairs that occur. O is the number of hits on a pair. E
    is its expected number: all hits, shared among the pairs in proportion to the samples that could hit them. Given the
    number m of hits, X^2 has mean C - 1 and variance 2 (C - 1) + (sum 1/p - C^2 - 2 C + 2) / m, p = E / m (Haldane
    1937); a gamma law with these two moments gives the p-value, so that small counts do little harm. This test depends
    on how the hits are distributed, while the upper end of the interval depends only on their number.

    Returns:
        A number in [0, 1]; 1 without hits, with a single pair, and for one hit among equally likely pairs.
    """
    N, hit = counted.least.shape[1], counted.hit
    room = torch.zeros(N, N, dtype=torch.float64).index_add_(0, counted.predicted, counted.least.double())
    pairs = counted.predicted[hit] * N + counted.observed[hit]
    hits = torch.bincount(pairs, minlength=N * N).double().reshape(N, N)[room > 0]
    p = room[room > 0] / room.sum()
    m, C = int(hits.sum()), len(p)
    if m == 0 or C < 2:
        return 1.0
    statistic = float(((hits - m * p).square() / (m * p)).sum())
    mean, variance = C - 1, 2 * (C - 1) + (float((1 / p).sum()) - C * C - 2 * C + 2) / m
    if variance < 1e-9 * mean:  # one hit among equally likely pairs: the statistic has only one value
        return 1.0
    return float(gammaincc(mean * mean / variance, statistic * mean / variance))


def preference(counted: Counted) -> float:
    """P-value of the hypothesis that the label of a hit is drawn from the k classes independently of the logits.

    If the label was drawn independently of the logits, the rank of its logit among the k classes is uniform on 1..k.
    The rank is high if the network was trained on this label, if the label depends on the sample, or if the true class
    is one of the k. The test is a one-sided normal test of the mean rank, whose variance is (k^2 - 1) / (12 m) for m
    hits.

    Returns:
        A number in [0, 1]; 1 without hits or for k = 1.
    """
    hit, k = counted.hit, counted.k
    m = int(hit.sum())
    if m == 0 or k < 2:
        return 1.0
    logits, least = counted.logits[hit], counted.least[hit]
    own = logits.gather(1, counted.observed[hit][:, None])
    below, ties = ((least & (logits < own)).sum(1), (least & (logits == own)).sum(1))
    rank = below + (ties.double() + 1) / 2  # equal logits get their mean rank
    z = (float(rank.mean()) - (k + 1) / 2) / sqrt((k * k - 1) / (12 * m))
    return float(ndtr(-z))


def excess(counted: Counted) -> float:
    """P-value of the hypothesis that at most an even share, k / (N - 1), of the disagreeing labels are hits.

    Errors of the classifier can only lower the share of hits. The p-value is the exact binomial upper tail.
    """
    hits, disagree = counted.hits, counted.disagree
    return float(betainc(hits, disagree - hits + 1, 1 / counted.scale)) if hits else 1.0


def shared_labels(k: int, K: int, folds: int) -> float:
    """The largest factor by which the variance of a hit count over F folds can exceed the binomial variance.

    The network for one fold was trained on the labels of the other folds, which are also counted. So its
    least confused classes can be the classes to which few of these labels were flipped. In the worst case, these flips
    alone determine the ranking of the K = N - 1 classes. Treat the counts of one cell (pair of classes) in each fold as
    independent and normal, and the ranking as a threshold at the quantile q = k / K, with normal quantile z. Then the
    counts of two folds have the covariance K * E[phi((z sqrt(F - 1) - S))^2] in units of the variance of one cell,
    where S is normal with variance F - 2, and

        spread = 1 + (F - 1) / q * exp(-z^2 (F - 1) / (2 F - 3)) / (2 pi sqrt(2 F - 3)).

    Args:
        k: the number of classes counted.
        K: the number of classes ranked, N - 1, at least k.
        folds: F, at least 1.

    Returns:
        A number of at least 1; 1 for a single fold or if all classes are counted.

    >>> round(shared_labels(4, 9, 2), 2), round(shared_labels(4, 9, 5), 2)
    (1.35, 1.54)
    """
    if folds < 2 or k >= K:
        return 1.0
    q, step = k / K, 2 * folds - 3
    z = float(ndtri(q))
    return 1 + (folds - 1) / q * exp(-z * z * (folds - 1) / step) / (2 * pi * sqrt(step))


def interval(counted: Counted, confidence: float, spread: float = 1.0) -> tuple[float, float]:
    """Compute both ends of the interval for the rate rho.

    Let f = (N - 1)/k hits / s, and let d be the share of labels that disagree with the prediction. The classifier's own
    errors add b to f and a to d: E f = rho + b and E d = rho + a. Because b >= 0, the upper end is the Clopper-Pearson
    upper end of f. If errors are spread evenly over the classes, b = a; if the ranking is perfect, b = 0. The premise
    is b <= a / 2, halfway between. Then E(2 f - d) <= rho, and the lower end is the smaller of the lower ends of 2 f -
    d and of f. 2 f - d is a weighted difference between the share of hits and the share of other disagreements. MOVER
    (Zou & Donner 2008) computes its lower end from the ends of these two shares, with their multinomial correlation.

    Args:
        counted: the table of surest samples.
        confidence: the confidence level of the interval, in (0, 1).
        spread: the ratio of the variance of the counts to the binomial variance, at least 1.

    Returns:
        low, high in [0, 1].
    """
    s, scale = len(counted.predicted) / spread, counted.scale
    hits, rest = counted.hits / spread, (counted.disagree - counted.hits) / spread
    tail = (1 - confidence) / 2
    p, q = hits / s, rest / s
    low, high = _clopper_pearson(hits, s, tail)
    _, most = _clopper_pearson(rest, s, tail)
    weight = 2 * scale - 1
    below, above = weight * (p - low), most - q
    alike = sqrt(p * q / ((1 - p) * (1 - q))) if p < 1 and q < 1 else 0.0
    lower = weight * p - q - sqrt(below**2 + above**2 + 2 * alike * below * above)
    return max(min(low * scale, lower), 0.0), min(high * scale, 1.0)


def _clopper_pearson(count: float, n: float, tail: float) -> tuple[float, float]:
    """Exact ends of an interval for a share, with probability `tail` beyond each end."""
    low = 0.0 if count == 0 else float(betaincinv(count, n - count + 1, tail))
    high = 1.0 if count >= n else float(betaincinv(count + 1, n - count, 1 - tail))
    return low, high
