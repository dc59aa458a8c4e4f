"""Exact intervals for a share of a population from samples of its strata: melded Clopper-Pearson.

Suppose that n_h of the N_h samples of a stratum were drawn and checked, and k_h of these were wrong. Then the share p_h
of wrong samples has two confidence distributions: the lower Beta(k_h, n_h - k_h + 1) and the upper Beta(k_h + 1, n_h -
k_h). Their quantiles are the ends of the Clopper-Pearson interval. For a finite stratum, the hypergeometric law
replaces the binomial law. The lower end for the sum of W_h p_h is the alpha/2 quantile of the sum of independent draws
from the lower distributions. The upper end is the (1 - alpha/2) quantile of the sum of draws from the upper
distributions (Fay, Proschan and Brittain 2015, "Combining one-sample confidence procedures for inference in the
two-sample case", Biometrics 71, 146).

The quantiles are computed and not simulated: the distributions are put on a grid of step 2^-14 and convolved. Each
value is rounded outward, so that the interval is too wide by at most one step per stratum at each end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft, special

__all__ = ["Counts", "Errors", "at_random", "share", "share_of"]

Array = NDArray[np.float64]
_CELLS = 1 << 14
_PLACES = np.arange(_CELLS + 1)
_FINITE = 0.1  # if a larger share of a stratum was drawn, its finite size is taken into account
_LEVELS = 32  # number of quantiles of the reviewer's error rate over which the ends are averaged


@dataclass(frozen=True)
class Counts:
    """The counts of one stratum.

    Args:
        size: N_h, the number of samples in the stratum, at least 0.
        checked: n_h, the number of samples drawn and checked, at most N_h.
        wrong: k_h, how many of the checked samples are wrong, at most n_h.
        unsure: how many of the checked samples were answered "unsure". These count as right for the lower end of an
            interval and as wrong for the upper end.
    """

    size: int
    checked: int
    wrong: int
    unsure: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.wrong <= self.wrong + self.unsure <= self.checked <= self.size or self.unsure < 0:
            raise ValueError(
                f"a stratum needs 0 <= wrong + unsure <= checked <= size, got wrong {self.wrong}, "
                f"unsure {self.unsure}, checked {self.checked}, size {self.size}"
            )

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.size + other.size,
            self.checked + other.checked,
            self.wrong + other.wrong,
            self.unsure + other.unsure,
        )


@dataclass(frozen=True)
class Errors:
    """Counts of samples that a reviewer checked twice, and of those with two different answers.

    Premise: the reviewer errs with probability epsilon < 1/2 on right and on wrong labels alike, independently at each
    look. Then two looks differ with probability d = 2 epsilon (1 - epsilon).

    Args:
        twice: the number of samples checked twice, at least 1.
        differ: how many of these samples got two different answers, at most `twice`.
    """

    twice: int
    differ: int

    def __post_init__(self) -> None:
        if not 0 <= self.differ <= self.twice or self.twice < 1:
            raise ValueError(
                f"expected 0 <= differ <= twice and twice >= 1, got differ {self.differ}, twice {self.twice}"
            )

    @property
    def rate(self) -> float:
        """The estimate of epsilon, in [0, 1/2]."""
        return float(_error_rate(np.array(self.differ / self.twice)))

    def ends(self) -> list[tuple[float, float]]:
        """Equally likely draws (lower, upper) of epsilon from its two confidence distributions."""
        u = (np.arange(_LEVELS) + 0.5) / _LEVELS
        m, d = self.twice, self.differ
        low = special.betaincinv(max(d, 1), m - d + 1, u) if d else np.zeros(_LEVELS)
        high = special.betaincinv(d + 1, max(m - d, 1), u) if d < m else np.ones(_LEVELS)
        return list(zip(_error_rate(low).tolist(), _error_rate(high).tolist(), strict=True))


def _error_rate(differ: Array) -> Array:
    """Solve 2 epsilon (1 - epsilon) = differ for epsilon; 1/2 if at least half of the answers differ."""
    root: Array = np.sqrt(np.clip(1 - 2 * differ, 0, None))
    return (1 - root) / 2


def share(
    strata: Sequence[Counts], confidence: float = 0.95, errors: Errors | None = None
) -> tuple[float, float, float]:
    """The share of wrong samples in the union of the strata: estimate, lower end, upper end.

    Formula: sum W_h p_h with W_h = N_h / N. With `errors`, the reviewer calls a share q_h of the samples wrong, where
    q_h = p_h (1 - epsilon) + (1 - p_h) epsilon. So p_h = (q_h - epsilon) / (1 - 2 epsilon), clipped to [0, 1]. The ends
    then average over the confidence distributions of epsilon. For each draw of epsilon, every p_h takes its least
    favorable value.

    Args:
        strata: the counts of the strata, with at least one sample in total. The share of a stratum without checked
            samples can be any value from 0 to 1.
        confidence: in (0, 1).
        errors: counts of second looks, from which the reviewer's error rate is estimated; None: all answers are taken
            as right.

    Returns:
        value, low, high in [0, 1]; the value is NaN if a stratum has samples but none was checked.

    Raises:
        ValueError: no samples, or a confidence outside (0, 1).

    >>> value, low, high = share([Counts(1000, 100, 90), Counts(9000, 100, 0)])
    >>> round(value, 3), round(low, 3), round(high, 3)
    (0.09, 0.082, 0.123)
    """
    strata = _some(strata, confidence)
    total = sum(s.size for s in strata)
    value = sum(s.size / total * _estimate(s, errors) for s in strata)
    if errors is None and all(s.checked == s.size and not s.unsure for s in strata):
        return value, value, value
    tail = (1 - confidence) / 2
    low = _quantile(_mixed(strata, total, errors, upper=False), tail)
    high = _quantile(_mixed(strata, total, errors, upper=True), 1 - tail)
    return value, max(low, 0.0), min(high, 1.0)


def share_of(
    part: Sequence[Counts], rest: Sequence[Counts], confidence: float = 0.95, errors: Errors | None = None
) -> tuple[float, float, float]:
    """The share of all wrong samples that are in `part`. If the part is the suspects, this is their recall.

    Formula: A / (A + B), where A and B are the numbers of wrong samples in the part and in the rest. It rises with A
    and falls with B, so the lower end combines the lower distribution of A with the upper distribution of B, and the
    upper end combines the other two distributions.

    Returns:
        value, low, high in [0, 1]; NaN with the interval [0, 1] if no wrong sample was found.

    >>> [round(x, 2) for x in share_of([Counts(1000, 100, 90)], [Counts(9000, 100, 0)])]
    [1.0, 0.73, 1.0]
    """
    part, rest = [s for s in part if s.size], [s for s in rest if s.size]
    everything = _some([*part, *rest], confidence)
    total = sum(s.size for s in everything)
    a, b = (sum(s.size / total * _estimate(s, errors) for s in strata) for strata in (part, rest))
    if not a + b > 0:
        return float("nan"), 0.0, 1.0
    tail = (1 - confidence) / 2
    ends = []
    for upper, level in ((False, tail), (True, 1 - tail)):
        first = _mixed(part, total, errors, upper) if part else np.ones(1)
        second = _mixed(rest, total, errors, not upper) if rest else np.ones(1)
        ends.append(_ratio_quantile(first, second, level))
    return a / (a + b), ends[0], ends[1]


def at_random(counts: Counts, confidence: float = 0.95) -> tuple[float, float, float]:
    """The share of wrong samples in one stratum, from a random sample: Clopper-Pearson or hypergeometric limits."""
    return share([counts], confidence)


def _some(strata: Sequence[Counts], confidence: float) -> list[Counts]:
    nonempty = [s for s in strata if s.size]
    if not nonempty:
        raise ValueError("a share needs strata with at least one sample, got none")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence:g}")
    return nonempty


def _estimate(counts: Counts, errors: Errors | None) -> float:
    """The estimate of p_h; unsure answers count as half wrong."""
    if not counts.checked:
        return float("nan")
    q = (counts.wrong + counts.unsure / 2) / counts.checked
    epsilon = errors.rate if errors else 0.0
    if not epsilon:
        return q
    return min(max((q - epsilon) / (1 - 2 * epsilon), 0.0), 1.0) if epsilon < 0.5 else 0.5


def _mixed(strata: Sequence[Counts], total: int, errors: Errors | None, upper: bool) -> Array:
    """The distribution of sum W_h p_h on the grid, averaged over the reviewer's error."""
    if errors is None:
        return _sum([_masses(s, s.size / total, upper, None) for s in strata])
    parts = [_sum([_masses(s, s.size / total, upper, ends) for s in strata]) for ends in errors.ends()]
    return np.asarray(np.mean(parts, axis=0), dtype=np.float64)


def _masses(counts: Counts, weight: float, upper: bool, ends: tuple[float, float] | None) -> Array:
    """The distribution of W_h p_h on the grid, each value rounded down (lower) or up (upper)."""
    cells = max(int(np.ceil(weight * _CELLS - 1e-9)), 1)
    x = np.minimum(np.arange(cells + 1) / (weight * _CELLS), 1.0)
    k = counts.wrong + (counts.unsure if upper else 0)
    if ends is not None:
        moved = [x * (1 - 2 * e) + e for e in ends]
        q = np.minimum(*moved) if upper else np.maximum(*moved)
        below = np.where(x >= 1, 1.0, np.interp(q * _CELLS, _PLACES, _beta(counts.checked, k, upper)))
    elif counts.checked > _FINITE * counts.size:
        steps = _finite(counts.size, counts.checked, k, upper)
        below = steps[np.floor(x * counts.size + 1e-9).astype(np.int64)]
    else:
        below = np.interp(x * _CELLS, _PLACES, _beta(counts.checked, k, upper))
    masses = np.diff(below, prepend=0.0)  # masses of the intervals (x_{j-1}, x_j]; the first is the mass of x <= 0
    if upper:
        return masses
    masses[1] += masses[0]
    return masses[1:]


@lru_cache(maxsize=256)
def _beta(n: int, k: int, upper: bool) -> Array:
    """P(p_h <= x) for x = 0, 2^-14, ..., 1 in a large stratum, under one of its confidence distributions."""
    if k == (n if upper else 0):  # all mass at one value, 1 or 0
        return ((_CELLS if upper else 0) <= _PLACES).astype(np.float64)
    a, b = (k + 1, n - k) if upper else (k, n - k + 1)
    return np.asarray(special.betainc(a, b, _PLACES / _CELLS), dtype=np.float64)


@lru_cache(maxsize=256)
def _finite(size: int, n: int, k: int, upper: bool) -> Array:
    """P(K <= j) for j = 0..size wrong samples in a finite stratum, under one of its confidence distributions.

    X is hypergeometric, and u is uniform. The lower distribution is the law of the least K with P(X >= k | K) > u, so
    that P(K <= j) = P(X >= k | j). The upper distribution is the law of the largest K with P(X <= k | K) > u, so that
    P(K <= j) = 1 - P(X <= k | j + 1).
    """
    j = np.arange(size + 1)
    if not upper:
        return 1 - _hypergeometric_cdf(k - 1, size, j, n)
    return np.append(1 - _hypergeometric_cdf(k, size, j[1:], n), 1.0)


def _hypergeometric_cdf(k: int, size: int, wrong: NDArray[np.int64], n: int) -> Array:
    """P(X <= k) if n samples are drawn without replacement from `size` samples with `wrong` (j,) wrong ones."""
    if k < 0:
        return np.zeros(len(wrong))
    hits = np.arange(min(k, n) + 1)  # (i,)
    K = wrong[:, None]
    possible = (hits <= K) & (n - hits <= size - K)
    log_p = (
        _log_choose(K, np.minimum(hits, K))
        + _log_choose(size - K, np.clip(n - hits, 0, size - K))
        - _log_choose(np.array(size), np.array(n))
    )
    p = np.where(possible, np.exp(log_p), 0.0).sum(axis=1)
    return np.asarray(np.minimum(p, 1.0), dtype=np.float64)


def _log_choose(n: NDArray[np.int64], k: NDArray[np.int64]) -> Array:
    value: Array = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
    return value


def _sum(parts: Sequence[Array]) -> Array:
    """The distribution of a sum of independent values on the grid."""
    size = sum(len(p) for p in parts) - len(parts) + 1
    room = fft.next_fast_len(size, real=True)
    product = np.prod([fft.rfft(part, room) for part in parts], axis=0)
    return np.clip(fft.irfft(product, room)[:size], 0.0, None)


def _quantile(masses: Array, level: float) -> float:
    """The least grid value x such that at least `level` of the distribution is at most x."""
    reached = np.cumsum(masses) >= level - 1e-12
    return float(np.argmax(reached)) / _CELLS if reached.any() else 1.0


def _ratio_quantile(a: Array, b: Array, level: float) -> float:
    """The quantile of A / (A + B) for independent A and B on the grid, by bisection; 0/0 counts as 0."""
    below = np.append(np.cumsum(a), 1.0)
    places = np.arange(len(b))
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        limit = np.floor(places * middle / (1 - middle) + 1e-9) if middle < 1 else np.full(len(b), len(a))
        at = np.minimum(limit, len(a)).astype(np.int64)
        if float((b * below[at]).sum()) >= level:
            high = middle
        else:
            low = middle
    return low if level < 0.5 else high
