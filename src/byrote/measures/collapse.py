"""Neural collapse: NC1 to NC4, the positive-feature version, CDNV and the rank of the features, from class moments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from byrote.checks import one_of
from byrote.measures.moments import ClassMoments

__all__ = [
    "NC2",
    "Convention",
    "cdnv",
    "class_means_coincide",
    "feature_rank",
    "nc1",
    "nc2",
    "nc3",
    "nc3_by_class",
    "nc4",
]

Convention = Literal["class-averaged", "pooled", "sample-centred"]
CONVENTIONS = ("class-averaged", "pooled", "sample-centred")
_NAN = float("nan")
_EPSILON = torch.finfo(torch.float64).eps
_ROWS = 4096  # rows turned into float64 at a time


def nc1(
    moments: ClassMoments | Tensor,
    labels: Tensor | None = None,
    num_classes: int | None = None,
    *,
    convention: Convention = "class-averaged",
) -> float:
    """Within-class variability relative to between-class variability; 0 is collapse. On test data: the dilation.

    Formula: NC1 = (1/N) tr(Sigma_W Sigma_B^+) (Papyan, Han & Donoho 2020; Nguyen et al. 2023), with
    Sigma_B = (1/N) sum_n (h_n - hbar)(h_n - hbar)^T. For N = 2 it is 2 s^2 / ||h_1 - h_2||^2, s^2 the within-class
    variance along h_1 - h_2: a ratio of variances.

    How: a thin SVD of the N x M centred class means, cut at rank min(N-1, M), since one of N singular values is
    null by centring; a further direction is dropped when the class means differ along it by no more than rounding of
    the features' dtype. No M x M pseudo-inverse is formed.

    On equal class counts the conventions agree; on unequal ones they are different numbers (.056, .061, .037 in one
    900/100 case):
        "class-averaged": every class covariance weighs 1/N; hbar is the mean of the class means (the default, it
            generalises the balanced formula);
        "pooled": every sample weighs the same in Sigma_W; hbar as before;
        "sample-centred": as pooled, and hbar is the mean of all samples.

    Args:
        moments: `ClassMoments`, or features (n, M) of any float dtype.
        labels: (n,) integers, with features only.
        num_classes: N, with features only; when left out, the classes are the labels that occur.
        convention: see above.

    Returns: a float >= 0. NaN, never a silent zero, when it has no value: a class without a sample (see
        `ClassMoments.absent` and `.present()`), a single class, one sample in every class (no within-class variance to
        see), class means that coincide (`class_means_coincide`), or NaN or infinite features.

    Raises: ValueError when unequal counts need `counts=` (see `ClassMoments.within`), or a convention is unknown.

    >>> import torch
    >>> features = torch.tensor([[0.0, 0.0], [2.0, 0.0], [10.0, 0.0], [12.0, 0.0]])
    >>> round(nc1(features, torch.tensor([0, 0, 1, 1])), 12)  # 2 s^2 / D^2 = 2 / 100
    0.02
    >>> nc1(torch.ones(4, 2), torch.tensor([0, 0, 1, 1]))
    nan
    """
    one_of("convention", convention, CONVENTIONS)
    if not isinstance(moments, ClassMoments):
        moments = _gather(moments, labels, num_classes, averaged=convention == "class-averaged")
    elif labels is not None or num_classes is not None:
        raise TypeError("labels and num_classes go with features, got them beside moments: pass the moments alone")
    if moments.absent or moments.num_classes < 2 or int(moments.counts.max()) < 2:
        return _NAN
    within = moments.within(averaged=convention == "class-averaged")
    if not bool(moments.offsets.isfinite().all() & within.isfinite().all()):
        return _NAN
    values, directions = _between(moments, weighted=convention == "sample-centred")
    if len(values) == 0:
        return _NAN
    along = ((directions @ within) * directions).sum(1)  # variance within classes along each direction
    return float((along / values.square()).sum()) / moments.num_classes


@dataclass(frozen=True)
class NC2:
    """Geometry of the class means. Cosines are means over pairs of classes; a class mean of norm 0 makes them NaN."""

    norm_cv: float  # coefficient of variation (ddof 1) of ||h_n||; 0: positive collapse, N = 2 and > 1: one at zero
    uncentred_cosine: float  # mean cos(h_n, h_k); 0: positive-feature collapse, mutually orthogonal (MD Def. 3.1)
    centred_norm_cv: float  # the same of ||h_n - hbar||; 0: NC2
    centred_cosine: float  # mean cos(h_n - hbar, h_k - hbar); -1/(N-1): NC2
    cosine_deviation: float  # mean abs(cos(h_n - hbar, h_k - hbar) + 1/(N-1)); 0: NC2


def nc2(moments: ClassMoments) -> NC2:
    """Equal norms and equal angles of the class means: simplex frame (centred), orthogonal frame (uncentred).

    Claim: at collapse the centred class means have equal norm and cosine -1/(N-1) (Papyan et al. 2020); with
    non-negative features the class means themselves have equal norm and are orthogonal (Nguyen et al. 2023, Def. 3.1).
    For N = 2 the centred cosine is -1 whatever the features are, so look at the uncentred readings.

    Returns: an `NC2`. NaN: an absent or single class, NaN features; centred readings also where class means coincide.

    >>> import torch
    >>> frame = nc2(ClassMoments.of(torch.eye(3).repeat(2, 1), torch.arange(3).repeat(2), 3))
    >>> frame.norm_cv, frame.uncentred_cosine, round(frame.centred_cosine, 12), round(frame.cosine_deviation, 12)
    (0.0, 0.0, -0.5, 0.0)
    """
    N = moments.num_classes
    if moments.absent or N < 2:
        return NC2(_NAN, _NAN, _NAN, _NAN, _NAN)
    norm_cv, cosines = _frame(moments.means)
    if class_means_coincide(moments):
        return NC2(norm_cv, float(cosines.mean()), _NAN, _NAN, _NAN)
    centred_cv, angles = _frame(_centred(moments))
    deviation = float((angles + 1 / (N - 1)).abs().mean())
    return NC2(norm_cv, float(cosines.mean()), centred_cv, float(angles.mean()), deviation)


def nc3(moments: ClassMoments, weight: Tensor) -> float:
    """Self-duality: distance between the classifier and the centred class means, each scaled to Frobenius norm 1.

    Formula: || W/||W||_F - H/||H||_F ||_F, H the N x M centred class means, W the classifier `weight` (N, M)
    (Papyan et al. 2020). In [0, 2]; 0: every w_n is parallel to h_n - hbar with one common factor.

    Returns NaN where class means coincide or a class is absent. Raises ValueError when W is not N x M.

    >>> import torch
    >>> moments = ClassMoments.of(torch.eye(2).repeat(2, 1), torch.arange(2).repeat(2), 2)
    >>> round(nc3(moments, torch.tensor([[5.0, -5.0], [-5.0, 5.0]])), 12)
    0.0
    """
    weight, centred = _dual(moments, weight)
    return float(torch.linalg.norm(weight / torch.linalg.norm(weight) - centred / torch.linalg.norm(centred)))


def nc3_by_class(moments: ClassMoments, weight: Tensor) -> Tensor:
    """Self-duality class by class: cos(w_n, h_n - hbar), (N,) float64; 1 is collapse, whatever the row's length.

    >>> import torch
    >>> moments = ClassMoments.of(torch.eye(2).repeat(2, 1), torch.arange(2).repeat(2), 2)
    >>> nc3_by_class(moments, torch.tensor([[5.0, -5.0], [1.0, 1.0]])).round(decimals=6).abs().tolist()
    [1.0, 0.0]
    """
    weight, centred = _dual(moments, weight)
    norms = torch.linalg.vector_norm(weight, dim=1) * torch.linalg.vector_norm(centred, dim=1)
    cosines: Tensor = (weight * centred).sum(1) / norms
    return cosines


def nc4(features: Tensor, weight: Tensor, bias: Tensor | None, means: Tensor) -> float:
    """Share of samples on which the classifier and the nearest class mean agree; 1 is collapse.

    Formula: (1/n) #{i: argmax_n (W h_i + b)_n = argmin_n ||h_i - h_n||}. The bias counts.

    Args: features (n, M); weight (N, M); bias (N,) or None for a head without one; means (N, M), of the training
        classes as a rule. Raises ValueError for shapes that do not fit. NaN means or features: NaN.

    >>> import torch
    >>> means = torch.tensor([[0.0], [4.0]])
    >>> nc4(torch.tensor([[1.0], [1.9], [2.1], [5.0]]), torch.tensor([[-1.0], [1.0]]), torch.tensor([2.0, -2.0]), means)
    1.0
    """
    N, M = means.shape
    if weight.shape != (N, M) or features.shape[1:] != (M,) or (bias is not None and bias.shape != (N,)):
        raise ValueError(
            f"weight ({N}, {M}), bias ({N},) and features (n, {M}) are needed for means ({N}, {M}), got "
            f"{tuple(weight.shape)}, {None if bias is None else tuple(bias.shape)} and {tuple(features.shape)}"
        )
    if len(features) == 0 or not bool(means.isfinite().all() & features.isfinite().all()):
        return _NAN
    weight, means = weight.detach().to(torch.float64), means.to(torch.float64)
    offset = torch.zeros(N, dtype=torch.float64, device=means.device) if bias is None else bias.detach().double()
    origin = means.mean(0)
    centres, threshold = means - origin, 0.5 * (means - origin).square().sum(1)
    agree = 0
    for start in range(0, len(features), _ROWS):
        h = features[start : start + _ROWS].detach().to(torch.float64)
        nearest = ((h - origin) @ centres.T - threshold).argmax(1)
        agree += int((torch.addmm(offset, h, weight.T).argmax(1) == nearest).sum())
    return agree / len(features)


def cdnv(moments: ClassMoments) -> float:
    """Class-distance normalised variance, mean over pairs of classes; 0 is collapse.

    Formula: V(n, k) = (v_n + v_k) / (2 ||h_n - h_k||^2), v_n = (1/K_n) sum_i ||h_i - h_n||^2 (Galanti, Gyorgy & Hutter
    2022). It needs no inverse, and one pair of classes that touch raises it. NaN as for `nc1`.

    >>> import torch
    >>> cdnv(ClassMoments.of(torch.tensor([[0.0], [2.0], [9.0], [11.0]]), torch.tensor([0, 0, 1, 1]), 2))
    0.012345679012345678
    """
    if moments.absent or moments.num_classes < 2 or int(moments.counts.max()) < 2 or class_means_coincide(moments):
        return _NAN
    variance = moments.spread / moments.counts
    first, second = torch.triu_indices(moments.num_classes, moments.num_classes, 1, device=variance.device)
    return float(((variance[first] + variance[second]) / (2 * torch.pdist(moments.offsets).square())).mean())


def feature_rank(moments: ClassMoments, tolerance: float = 1e-3) -> int:
    """Numerical rank of the features about their mean: singular values above `tolerance` times the largest.

    The covariance is Sigma_W + Sigma_B; tolerance .001 is that of Masarczyk et al. 2023 (the tunnel effect). 0 for
    constant features. Raises ValueError for NaN features (a rank cannot say NaN), and a tolerance outside (0, 1).

    >>> import torch
    >>> features = torch.tensor([[0.0, 0.0, 1.0], [2.0, 0.0, 1.0], [9.0, 5.0, 1.0], [11.0, 5.0, 1.0]])
    >>> feature_rank(ClassMoments.of(features, torch.tensor([0, 0, 1, 1]), 2))
    2
    """
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance must lie in (0, 1), got {tolerance}")
    moments = moments.present()
    averaged = moments.final is not None
    share = (torch.ones_like(moments.counts) if averaged else moments.counts).to(torch.float64)
    centred = _centred(moments, weighted=not averaged)
    covariance = moments.within(averaged) + (centred * (share / share.sum())[:, None]).T @ centred
    if not bool(covariance.isfinite().all()):
        raise ValueError("features must be finite to have a rank, got NaN or infinite ones")
    variances, directions = torch.linalg.eigh(covariance)
    floor = directions.square().T @ (moments.epsilon * _scale(moments)).square()
    return int((variances > torch.maximum(floor, tolerance**2 * variances[-1])).sum())


def class_means_coincide(moments: ClassMoments) -> bool:
    """Whether all class means are one point, up to rounding of the features: total collapse, no geometry left.

    Relative to the scale of each feature and to the precision the features came in (float32, bfloat16, ...): NC1 and
    everything relative to the distance of class means is then NaN. False where a class is absent or features are NaN.

    >>> import torch
    >>> labels = torch.arange(2).repeat(50)
    >>> class_means_coincide(ClassMoments.of(torch.full((100, 3), 0.1), labels, 2))
    True
    >>> class_means_coincide(ClassMoments.of(torch.full((100, 3), 0.1) + 1e-6 * labels[:, None], labels, 2))
    False
    """
    if moments.absent or moments.num_classes < 2 or not bool(moments.offsets.isfinite().all()):
        return False
    return len(_between(moments, weighted=False)[0]) == 0


def _gather(features: Tensor, labels: Tensor | None, num_classes: int | None, averaged: bool) -> ClassMoments:
    if labels is None:
        raise TypeError("nc1 needs labels beside features, got none: call nc1(features, labels) or nc1(moments)")
    labels = torch.as_tensor(labels)
    if num_classes is None:
        occurring, labels = torch.unique(labels, return_inverse=True)
        num_classes = len(occurring)
    counts = torch.bincount(labels, minlength=num_classes) if averaged else None
    return ClassMoments.of(features, labels, num_classes, counts)


def _centred(moments: ClassMoments, weighted: bool = False) -> Tensor:
    """Class means less the mean of the class means, or of all samples. # (N, M)"""
    offsets = moments.offsets
    if weighted:
        return offsets - (moments.counts.to(torch.float64) / moments.counts.sum()) @ offsets
    return offsets - offsets.mean(0)


def _scale(moments: ClassMoments) -> Tensor:
    """Root mean square of each feature. # (M,)"""
    size = moments.num_classes if moments.final is not None else moments.counts.sum()
    return (moments.means.square().mean(0) + moments.scatter.diagonal() / size).sqrt()


def _between(moments: ClassMoments, weighted: bool) -> tuple[Tensor, Tensor]:
    """Singular values (r,) and right vectors (r, M) of the centred class means over sqrt(N), without null ones.

    Null are those past rank min(N-1, M), and those within rounding: that of the decomposition, plus that of N means
    of K values stored with the features' epsilon (the largest singular value of N x M such errors, over sqrt(N)).
    """
    N, M = moments.offsets.shape
    _, values, directions = torch.linalg.svd(_centred(moments, weighted) / N**0.5, full_matrices=False)
    rank = min(N - 1, M)
    values, directions = values[:rank], directions[:rank]
    stored = moments.epsilon * (N / float(moments.counts.sum())) ** 0.5 + 4 * _EPSILON
    scale = (directions * _scale(moments)).norm(dim=1)
    rounding = stored * (1 + (M / N) ** 0.5) * scale + max(N, M) * _EPSILON * values[0]
    keep = values > rounding
    return values[keep], directions[keep]


def _frame(vectors: Tensor) -> tuple[float, Tensor]:
    """Coefficient of variation of the norms of (N, M) vectors, and the cosine of each pair of them."""
    norms = torch.linalg.vector_norm(vectors, dim=1)
    directions = vectors / norms[:, None]
    first, second = torch.triu_indices(len(vectors), len(vectors), 1, device=vectors.device)
    return float(norms.std() / norms.mean()), (directions @ directions.T)[first, second]


def _dual(moments: ClassMoments, weight: Tensor) -> tuple[Tensor, Tensor]:
    if weight.shape != moments.offsets.shape:
        raise ValueError(
            f"the classifier weight must be (N, M) = {tuple(moments.offsets.shape)}, got {tuple(weight.shape)}"
        )
    centred = _centred(moments)
    if moments.absent or class_means_coincide(moments):
        centred = torch.full_like(centred, _NAN)
    return weight.detach().to(centred), centred
