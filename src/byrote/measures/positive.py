"""How far features and classifier are from positive-feature collapse (Nguyen et al. 2023, Definition 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from byrote.measures.collapse import nc3_by_class
from byrote.measures.features import ClassMeans

__all__ = ["AT_ZERO", "Def31", "ZeroMeans", "def31", "zero_means"]

_NAN = float("nan")
AT_ZERO = (2**0.5 - 1) / (2**0.5 + 1)
"""A class mean counts as zero if its norm is below this share of the largest; for N = 2, exactly if `norm_cv` > 1."""


@dataclass(frozen=True)
class Def31:
    """Deviations from a configuration of Definition 3.1; each is 0 in such a configuration."""

    norms: float  # max_n abs(||h_n|| - m) / m, m the mean norm; in [0, N - 1]
    angles: float  # max over pairs of abs(cos(h_n, h_k)); in [0, 1]
    duality: float  # max_n 1 - cos(w_n, h_n - hbar); in [0, 2]


def def31(moments: ClassMeans, weight: Tensor | None) -> Def31:
    """Measure the largest deviations of class means and classifier from a configuration of Definition 3.1.

    Definition: (i) all features of a class equal their class mean h_n; (ii) the h_n have equal norms and are mutually
    orthogonal, without centering; (iii) w_n = C P h_n with one constant C, where P is the projection orthogonal to hbar
    = (1/N) sum_n h_n.

    How each reading follows: `nc1` measures (i), which is not repeated here. `norms` and `angles` measure (ii).
    `duality` measures (iii): under (ii), <h_n, hbar> = ||hbar||^2, so P h_n = h_n - hbar, and w_n is parallel to the
    centered class mean. `nc3` also measures whether C is the same number for all classes.

    Why the largest deviation and not the mean: the definition is about every class and every pair.

    Args:
        moments: the moments of the training features by observed label, which is the label used in the loss.
        weight: (N, M), the rows w_n of the classifier; None: unknown, and `duality` is NaN.

    Returns: a `Def31`. All readings are NaN with an absent class, a single class or NaN features. `norms` is also NaN
        if all class means are exactly 0, and `angles` if one class mean is 0. `duality` is also NaN if class means
        coincide, if a class mean equals hbar, or if a row of W is 0.

    Raises: ValueError if the weight is not N x M.

    >>> import torch
    >>> from byrote.measures import ClassMoments
    >>> moments = ClassMoments.of(torch.eye(3).repeat(2, 1), torch.arange(3).repeat(2), 3)
    >>> found = def31(moments, torch.eye(3) - 1 / 3)
    >>> found.norms, found.angles, round(abs(found.duality), 6)
    (0.0, 0.0, 0.0)
    """
    if moments.absent or moments.num_classes < 2:
        return Def31(_NAN, _NAN, _NAN)
    means = moments.means
    norms = torch.linalg.vector_norm(means, dim=1)
    directions = means / norms[:, None]
    cosines = (directions @ directions.T).fill_diagonal_(0.0).abs()
    duality = _NAN if weight is None else float((1 - nc3_by_class(moments, weight)).max().clamp(min=0.0))
    return Def31(
        norms=float((norms - norms.mean()).abs().max() / norms.mean()),
        angles=float(cosines.max().clamp(max=1.0)),
        duality=duality,
    )


@dataclass(frozen=True)
class ZeroMeans:
    """The number of class means near zero, and the smallest norm."""

    count: float  # number of class means with a norm below AT_ZERO times the largest; in [0, N - 1], or N if all are 0
    smallest_norm: float  # the smallest norm over the largest; in [0, 1]


def zero_means(moments: ClassMeans) -> ZeroMeans:
    """Count the class means near zero, and compare the smallest norm with the largest.

    Why: with a bias, the layer-peeled model of two classes has minimizers with one class mean at zero. Training can
    also end in such a state (`docs/theory/fit.md`), and then Definition 3.1 does not hold. The threshold AT_ZERO is
    (sqrt 2 - 1) / (sqrt 2 + 1), about .1716: for N = 2 the norms a < b have a coefficient of variation sqrt 2 (b - a) /
    (a + b), which exceeds 1 exactly when a / b is below the threshold.

    Returns: a `ZeroMeans`. NaN with an absent class or NaN features; `smallest_norm` also if all class means are 0.

    >>> import torch
    >>> from byrote.measures import ClassMoments
    >>> zero_means(ClassMoments.of(torch.tensor([[0.0, 4.0], [0.0, 0.0]]), torch.arange(2), 2))
    ZeroMeans(count=1.0, smallest_norm=0.0)
    """
    norms = torch.linalg.vector_norm(moments.means, dim=1)
    largest = float(norms.max())
    if largest != largest:
        return ZeroMeans(_NAN, _NAN)
    if largest == 0:
        return ZeroMeans(float(moments.num_classes), _NAN)
    return ZeroMeans(float((norms < AT_ZERO * largest).sum()), float(norms.min()) / largest)
