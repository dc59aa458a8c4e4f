"""Noise that depends on the sample: on its parts (Xia et al. 2020), or on its similarity to another class."""

import math
from collections.abc import Callable

import torch
from pydantic import Field

from byrote import checks
from byrote.noise.base import Noise, Samples, flip

__all__ = ["InstanceDependent", "LookAlike", "MarginDependent"]

_ROWS = 8192  # number of samples in one float64 block, to bound the memory
_PAIRS = 2**24  # number of distances in one block


class InstanceDependent(Noise):
    """Part-dependent noise: similar samples are corrupted to similar classes.

    Sample i flips with probability q_i, drawn from the normal law with mean eta and variance spread^2, truncated to the
    unit interval. Each true class n has one random matrix W_n, (S, N), with standard normal entries. The new class is
    drawn from softmax(x_i W_y) over the classes other than y (Xia et al., "Part-dependent label noise", NeurIPS 2020,
    algorithm 2).

    The S features are used unchanged: the larger their norm, the more certain the new class. So flatten and normalize
    them like the inputs of the network. Truncation changes the mean, so the effective rate is the mean of the truncated
    law: .2055 for eta = .2. At eta = 0 no label flips (the truncated law would still have mean .08).

    Args:
        rate: eta, in [0, 1), the mean of the law before truncation.
        spread: standard deviation of the law before truncation, in (0, 1].

    Example:
        >>> round(InstanceDependent(.2).effective_rate(10), 4)
        0.2055
    """

    rate: float = Field(default=0.2, ge=0, lt=1)
    spread: float = Field(default=0.1, gt=0, le=1)

    def effective_rate(self, num_classes: int) -> float:
        """Mean of the truncated law: eta + spread (phi(a) - phi(b)) / (Phi(b) - Phi(a)), [a, b] the unit interval."""
        if self.rate == 0:
            return 0.0
        a, b = -self.rate / self.spread, (1 - self.rate) / self.spread
        density = (math.exp(-a * a / 2) - math.exp(-b * b / 2)) / math.sqrt(2 * math.pi)
        mass = (math.erf(b / math.sqrt(2)) - math.erf(a / math.sqrt(2))) / 2
        return self.rate + self.spread * density / mass

    def _observe(self, samples: Samples) -> torch.Tensor:
        x, generator = _rows(self, samples), samples.generator
        quantile = torch.rand(len(samples.labels), dtype=torch.float64, generator=generator)
        q = self._flip_probability(quantile) if self.rate > 0 else torch.zeros_like(quantile)

        def targets(true: int, own: torch.Tensor) -> torch.Tensor:
            weight = torch.randn(x.shape[1], samples.num_classes, dtype=torch.float64, generator=generator)  # W_n
            logits = torch.cat([x[part].double() @ weight for part in torch.split(own, _ROWS)])  # (f, N)
            logits[:, true] = -math.inf
            return logits.softmax(1)

        return flip(samples, q, targets)

    def _flip_probability(self, quantile: torch.Tensor) -> torch.Tensor:
        """Quantiles of the truncated normal law, (n,)."""
        a, b = torch.special.ndtr(torch.tensor([-self.rate, 1 - self.rate], dtype=torch.float64) / self.spread)
        normal: torch.Tensor = torch.special.ndtri(a + quantile * (b - a))
        return (self.rate + self.spread * normal).clamp(0, 1)


class MarginDependent(Noise):
    """The nearer a sample is to another class, the more often it is corrupted to that class.

    Let mu_n be the mean features of true class n, and let k be the class other than y whose mean is nearest to x. The
    margin is the signed distance of x to the plane halfway between mu_y and mu_k,

        m = (||x - mu_k||^2 - ||x - mu_y||^2) / (2 ||mu_k - mu_y||),

    and the label changes to k with log-odds a - strength (m - mean m) / std m, where a is chosen so that the
    probabilities have mean eta for any class sizes. This is a simple model of annotators who err where classes meet. It
    is similar to the polynomial-margin noise of Zhang et al. (ICLR 2021), but needs no classifier.

    Args:
        rate: eta, in [0, 1), the expected share of corrupted samples.
        strength: decrease of the log-odds per standard deviation of the margin, in [0, 1000]; 0: all samples flip with
            the same probability, each to its nearest other class.

    Example:
        >>> x = torch.tensor([[0.], [1.], [4.], [5.]])
        >>> generator = torch.Generator().manual_seed(0)
        >>> MarginDependent(.5, strength=40.).corrupt(torch.tensor([0, 0, 1, 1]), 2, generator, features=x)
        tensor([0, 1, 0, 1])
    """

    rate: float = Field(default=0.2, ge=0, lt=1)
    strength: float = Field(default=2.0, ge=0, le=1000)

    def effective_rate(self, num_classes: int) -> float:
        """The rate eta itself, because the flip probabilities are scaled to the mean eta."""
        return self.rate

    def _observe(self, samples: Samples) -> torch.Tensor:
        return _to_nearest(self, self._pull, samples)

    def _pull(self, x: torch.Tensor, labels: torch.Tensor, num_classes: int) -> tuple[torch.Tensor, torch.Tensor]:
        margin, nearest = _margins(x, labels, num_classes)
        spread = margin.std(correction=0)
        varies = bool(spread > 1e-9 * margin.abs().max())  # otherwise all margins are equal up to rounding
        score = (margin - margin.mean()) / spread if varies else torch.zeros_like(margin)
        return _with_mean(-self.strength * score, self.rate), nearest


class LookAlike(Noise):
    """Samples that look like another class get that class as their label.

    Let d_k be the distance from x to the nearest other sample of true class k. The class that x resembles is k = argmin
    of d over the classes other than y, and the resemblance is

        s = (d_y - d_k) / (d_y + d_k),    in [-1, 1]; above 0 the nearest neighbor belongs to class k.

    The n samples are ranked by s, the highest first. The sample of rank i (from 0) has r = (i + 1/2) / n, and its label
    changes to its class k with probability

        p = clip(1/2 + (eta - r) / min(eta, 1 - eta), 0, 1),

    which has mean eta and never decreases as eta increases. At eta = .2 the labels of the first tenth of the samples
    always change, and those of the last seven tenths never change. Samples with equal s get the mean of their p.

    In `MarginDependent`, the flip probability depends on class means, decreases smoothly, and is above 0 even for
    samples that resemble no other class. In `LookAlike`, it depends on single neighbors, and samples that resemble no
    other class never flip if eta is small. Then the observed label is as predictable from the sample as the true label,
    so nobody can distinguish this law from clean labels by samples and observed labels alone. All n^2 distances are
    computed: about 2 n^2 S operations in float64.

    Args:
        rate: eta, in [0, 1), the expected share of corrupted samples.

    Example:
        >>> x = torch.tensor([[0.], [1.], [4.], [6.], [5.1], [9.]])
        >>> generator = torch.Generator().manual_seed(0)
        >>> LookAlike(.2).corrupt(torch.tensor([0, 0, 0, 1, 1, 1]), 2, generator, features=x)
        tensor([0, 0, 1, 1, 1, 1])
    """

    rate: float = Field(default=0.2, ge=0, lt=1)

    def effective_rate(self, num_classes: int) -> float:
        """The rate eta itself, because the mean of the flip probabilities is eta."""
        return self.rate

    def _observe(self, samples: Samples) -> torch.Tensor:
        return _to_nearest(self, self._pull, samples)

    def _pull(self, x: torch.Tensor, labels: torch.Tensor, num_classes: int) -> tuple[torch.Tensor, torch.Tensor]:
        resemblance, nearest = _resemblance(x, labels, num_classes)
        return self._flip_probability(resemblance), nearest

    def _flip_probability(self, resemblance: torch.Tensor) -> torch.Tensor:
        """The probability p of every sample, (n,)."""
        n, width = len(resemblance), min(self.rate, 1 - self.rate)
        if not width:
            return torch.zeros_like(resemblance)
        r = (torch.arange(n, dtype=torch.float64) + 0.5) / n
        ranked = (0.5 + (self.rate - r) / width).clamp(0, 1)
        _, group, sizes = (-resemblance).unique(return_inverse=True, return_counts=True)
        ends = sizes.cumsum(0)
        upto = torch.cat([ranked.new_zeros(1), ranked.cumsum(0)])
        shared: torch.Tensor = (upto[ends] - upto[ends - sizes]) / sizes
        return shared[group]


def _to_nearest(
    law: Noise,
    pull: Callable[[torch.Tensor, torch.Tensor, int], tuple[torch.Tensor, torch.Tensor]],
    samples: Samples,
) -> torch.Tensor:
    """Flip each sample with the probability and to the class that `pull` computes from features, labels, and N."""
    x = _rows(law, samples)
    if len(x) == 0:
        return samples.labels.clone()
    probability, nearest = pull(x, samples.labels, samples.num_classes)
    one_hot = torch.eye(samples.num_classes, dtype=torch.float64)
    return flip(samples, probability, lambda true, own: one_hot[nearest[own]])


def _rows(model: Noise, samples: Samples) -> torch.Tensor:
    """Features on the CPU, one flat row per sample, (n, S)."""
    features = samples.features
    if features is None:
        raise ValueError(f"{type(model).__name__} depends on the samples: corrupt(...) needs features=")
    checks.finite("features", features)
    features = features if features.is_floating_point() else features.double()
    return features.detach().cpu().reshape(len(features), math.prod(features.shape[1:]))


def _counts(law: type[Noise], labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """The number of samples of each class, (N,); at least two classes must have samples."""
    counts = labels.bincount(minlength=num_classes)
    if int((counts > 0).sum()) < 2:
        raise ValueError(
            f"{law.__name__} needs samples of at least two classes, because a label changes to the nearest other "
            f"class, got only class {int(labels[0])}"
        )
    return counts


def _margins(x: torch.Tensor, labels: torch.Tensor, num_classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Signed distance to the plane between own and nearest other class mean, (n,), and that other class, (n,)."""
    counts = _counts(MarginDependent, labels, num_classes)
    means = torch.zeros(num_classes, x.shape[1], dtype=torch.float64)
    for true in counts.nonzero()[:, 0].tolist():
        own = (labels == true).nonzero()[:, 0]
        means[true] = torch.stack([x[part].double().sum(0) for part in torch.split(own, _ROWS)]).sum(0) / len(own)
    center = means[counts > 0].mean(0)
    means = means - center
    between = torch.cdist(means, means, compute_mode="donot_use_mm_for_euclid_dist")
    margins, nearest = [], []
    for rows, true in zip(torch.split(x, _ROWS), torch.split(labels, _ROWS), strict=True):
        # ||x - mu_k||^2 = ||x||^2 - 2 s_k, so differences in s are half the differences in squared distance
        s = (rows.double() - center) @ means.T - means.square().sum(1) / 2  # (B, N)
        own_s = s.gather(1, true[:, None])[:, 0]
        s[:, counts == 0] = -math.inf
        other_s, other = s.scatter(1, true[:, None], -math.inf).max(1)
        gap = between[true, other]
        margins.append(torch.where(gap > 0, (own_s - other_s) / gap, 0.0))
        nearest.append(other)
    return torch.cat(margins), torch.cat(nearest)


def _with_mean(log_odds: torch.Tensor, rate: float) -> torch.Tensor:
    """Probabilities sigmoid(a + log_odds), where bisection finds the a for which their mean is `rate`."""
    middle = torch.logit(torch.tensor(rate, dtype=torch.float64))  # -inf at rate 0, where a is also -inf
    low, high = middle - log_odds.max(), middle - log_odds.min()
    for _ in range(100):
        a = (low + high) / 2
        low, high = (a, high) if float(torch.sigmoid(a + log_odds).mean()) < rate else (low, a)
    return torch.sigmoid(high + log_odds)


def _resemblance(x: torch.Tensor, labels: torch.Tensor, num_classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """How much more each sample resembles its nearest other class than its own class, (n,), and that class, (n,)."""
    sizes = _counts(LookAlike, labels, num_classes).tolist()
    order = labels.argsort(stable=True)  # so that each class is one slice
    points = x[order].double()
    points -= points.mean(0)
    half = points.square().sum(1) / 2
    own_class = labels[order]
    s, nearest = torch.empty(len(x), dtype=torch.float64), torch.empty_like(labels)
    for rows in torch.arange(len(x)).split(max(_PAIRS // len(x), 1)):
        # half the squared distances, (B, n)
        squared = torch.addmm(half + half[rows, None], points[rows], points.T, alpha=-1).clamp_(min=0)
        squared[torch.arange(len(rows)), rows] = math.inf  # a sample is not its own neighbor
        by_class = [part.amin(1) if part.shape[1] else squared.new_full((len(rows),), math.inf)
                    for part in squared.split(sizes, 1)]  # fmt: skip
        away = torch.stack(by_class, 1).sqrt()  # (B, N)
        true = own_class[rows, None]
        own = away.gather(1, true)[:, 0]
        other, nearest[order[rows]] = away.scatter(1, true, math.inf).min(1)
        apart = torch.where(own + other > 0, (own - other) / (own + other), 0.0)
        s[order[rows]] = torch.where(own.isinf(), 1.0, apart)
    return s, nearest
