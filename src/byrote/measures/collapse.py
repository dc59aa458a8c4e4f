"""Geometry of the class means at collapse: NC2 (also for positive features), NC3, NC4, and the feature rank."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from byrote.checks import matrix, numbers
from byrote.measures.blocks import blocks
from byrote.measures.features import ClassMeans
from byrote.measures.moments import ClassMoments
from byrote.measures.variability import class_means_coincide

__all__ = ["NC2", "feature_rank", "nc2", "nc3", "nc3_by_class", "nc4"]

_NAN = float("nan")


@dataclass(frozen=True)
class NC2:
    """Geometry of the class means. Each cosine is a mean over pairs of classes; a class mean of norm 0 makes it NaN."""

    norm_cv: float  # coefficient of variation (ddof 1) of ||h_n||; 0: positive collapse; > 1 at N = 2: one mean near 0
    uncentred_cosine: float  # mean cos(h_n, h_k); 0: positive-feature collapse, mutually orthogonal (MD Def. 3.1)
    centred_norm_cv: float  # coefficient of variation of ||h_n - hbar||; 0: NC2
    centred_cosine: float  # mean cos(h_n - hbar, h_k - hbar); -1/(N-1): NC2
    cosine_deviation: float  # mean abs(cos(h_n - hbar, h_k - hbar) + 1/(N-1)); 0: NC2


def nc2(moments: ClassMeans) -> NC2:
    """How close the class means are to a simplex frame (centered) or to an orthogonal frame (uncentered).

    Claim: at collapse the centered class means have equal norm and cosine -1/(N-1) (Papyan et al. 2020); with
    non-negative features the class means themselves have equal norm and are orthogonal (Nguyen et al. 2023, Def. 3.1).
    For N = 2 the centered cosine is -1 for any features, so use the uncentered readings.

    Returns: an `NC2`. All readings are NaN with an absent class, a single class or NaN features. The centered readings
        are also NaN if class means coincide.

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
    centered_cv, angles = _frame(moments.centered())
    deviation = float((angles + 1 / (N - 1)).abs().mean())
    return NC2(norm_cv, float(cosines.mean()), centered_cv, float(angles.mean()), deviation)


def nc3(moments: ClassMeans, weight: Tensor) -> float:
    """Self-duality: the distance between classifier and centered class means, each scaled to Frobenius norm 1.

    Formula: || W/||W||_F - H/||H||_F ||_F, H the N x M centered class means, W the classifier `weight` (N, M) (Papyan
    et al. 2020). The value lies in [0, 2]; 0 means that w_n = c (h_n - hbar) for all n with one c > 0.

    Returns NaN if class means coincide or a class is absent. Raises ValueError if W is not N x M.

    >>> import torch
    >>> moments = ClassMoments.of(torch.eye(2).repeat(2, 1), torch.arange(2).repeat(2), 2)
    >>> round(nc3(moments, torch.tensor([[5.0, -5.0], [-5.0, 5.0]])), 12)
    0.0
    """
    weight, centered = _dual(moments, weight)
    return float(torch.linalg.norm(weight / torch.linalg.norm(weight) - centered / torch.linalg.norm(centered)))


def nc3_by_class(moments: ClassMeans, weight: Tensor) -> Tensor:
    """Self-duality of each class: cos(w_n, h_n - hbar), (N,) float64; 1 is collapse. The norm of w_n does not matter.

    >>> import torch
    >>> moments = ClassMoments.of(torch.eye(2).repeat(2, 1), torch.arange(2).repeat(2), 2)
    >>> nc3_by_class(moments, torch.tensor([[5.0, -5.0], [1.0, 1.0]])).round(decimals=6).abs().tolist()
    [1.0, 0.0]
    """
    weight, centered = _dual(moments, weight)
    norms = torch.linalg.vector_norm(weight, dim=1) * torch.linalg.vector_norm(centered, dim=1)
    cosines: Tensor = (weight * centered).sum(1) / norms
    return cosines


def nc4(features: Tensor, weight: Tensor, bias: Tensor | None, means: Tensor) -> float:
    """Share of samples on which the classifier and the nearest class mean agree; 1 is collapse.

    Formula: (1/n) #{i: argmax_n (W h_i + b)_n = argmin_n ||h_i - h_n||}.

    Args: features (n, M); weight (N, M); bias (N,), or None for a head without a bias; means (N, M), usually the class
        means of the training features.

    Returns NaN if means, features, weight or bias contain NaN. Raises ValueError for shapes that do not fit.

    >>> import torch
    >>> means = torch.tensor([[0.0], [4.0]])
    >>> nc4(torch.tensor([[1.0], [1.9], [2.1], [5.0]]), torch.tensor([[-1.0], [1.0]]), torch.tensor([2.0, -2.0]), means)
    1.0
    """
    features, weight, means = matrix("features", features), matrix("weight", weight), matrix("means", means)
    N, M = means.shape
    bias = None if bias is None else numbers("bias", bias)
    if weight.shape != (N, M) or features.shape[1:] != (M,) or (bias is not None and bias.shape != (N,)):
        raise ValueError(
            f"expected weight ({N}, {M}), bias ({N},) and features (n, {M}) for means ({N}, {M}), got "
            f"{tuple(weight.shape)}, {None if bias is None else tuple(bias.shape)} and {tuple(features.shape)}"
        )
    known = [means, features, weight] if bias is None else [means, features, weight, bias]
    if len(features) == 0 or not all(bool(values.isfinite().all()) for values in known):
        return _NAN
    weight, means = weight.to(torch.float64), means.to(torch.float64)
    offset = torch.zeros(N, dtype=torch.float64, device=means.device) if bias is None else bias.double()
    origin = means.mean(0)
    centers, threshold = means - origin, 0.5 * (means - origin).square().sum(1)
    agree = 0
    for rows in blocks(features):
        h = features[rows].to(torch.float64)
        nearest = ((h - origin) @ centers.T - threshold).argmax(1)
        agree += int((torch.addmm(offset, h, weight.T).argmax(1) == nearest).sum())
    return agree / len(features)


def feature_rank(moments: ClassMoments, tolerance: float = 1e-3) -> int:
    """Numerical rank of the centered features: the number of singular values above `tolerance` times the largest.

    The singular values are the square roots of the eigenvalues of Sigma_W + Sigma_B. Masarczyk et al. 2023 (the tunnel
    effect) use a tolerance of .001. The rank is 0 for constant features. Raises ValueError for NaN features (an integer
    cannot be NaN) and for a tolerance outside (0, 1).

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
    centered = moments.centered(by_sample=not averaged)
    covariance = moments.within(averaged) + (centered * (share / share.sum())[:, None]).T @ centered
    if not bool(covariance.isfinite().all()):
        raise ValueError("features must be finite to have a rank, got NaN or infinity")
    variances, directions = torch.linalg.eigh(covariance)
    floor = directions.square().T @ (moments.epsilon * moments.scale).square()
    return int((variances > torch.maximum(floor, tolerance**2 * variances[-1])).sum())


def _frame(vectors: Tensor) -> tuple[float, Tensor]:
    """The coefficient of variation of the norms of N vectors (N, M), and the cosine of each pair."""
    norms = torch.linalg.vector_norm(vectors, dim=1)
    directions = vectors / norms[:, None]
    first, second = torch.triu_indices(len(vectors), len(vectors), 1, device=vectors.device)
    return float(norms.std() / norms.mean()), (directions @ directions.T)[first, second]


def _dual(moments: ClassMeans, weight: Tensor) -> tuple[Tensor, Tensor]:
    weight = matrix("weight", weight)
    if weight.shape != moments.offsets.shape:
        raise ValueError(
            f"the classifier weight must be (N, M) = {tuple(moments.offsets.shape)}, got {tuple(weight.shape)}"
        )
    centered = moments.centered()
    if moments.absent or class_means_coincide(moments):
        centered = torch.full_like(centered, _NAN)
    return weight.to(centered), centered
