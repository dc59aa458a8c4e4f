"""Variability within classes relative to variability between classes: NC1, CDNV, and coinciding class means."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from byrote.checks import counted, one_of
from byrote.measures.axes import Axes, axes_of
from byrote.measures.features import ClassMeans, FeatureSet
from byrote.measures.moments import ClassMoments

__all__ = ["CONVENTIONS", "Convention", "cdnv", "class_means_coincide", "nc1", "nc1_top_share"]

Convention = Literal["class-averaged", "pooled", "sample-centred"]
CONVENTIONS = ("class-averaged", "pooled", "sample-centred")
_NAN = float("nan")


def nc1(
    moments: ClassMoments | FeatureSet | Tensor,
    labels: Tensor | None = None,
    num_classes: int | None = None,
    *,
    convention: Convention = "class-averaged",
) -> float:
    """Within-class variability relative to between-class variability; 0 is collapse. On test data: the dilation.

    Formula: NC1 = (1/N) tr(Sigma_W Sigma_B^+) (Papyan, Han & Donoho 2020; Nguyen et al. 2023), with
    Sigma_B = (1/N) sum_n (h_n - hbar)(h_n - hbar)^T. For N = 2 it is 2 s^2 / ||h_1 - h_2||^2, s^2 the within-class
    variance along h_1 - h_2: a ratio of variances.

    How: a thin SVD of the N x M centered class means, cut at rank min(N-1, M), since one of N singular values is
    null by centering; a further direction is dropped when the class means differ along it by no more than rounding of
    the features' dtype. No M x M pseudo-inverse is formed.

    The conventions agree for equal class counts and give different numbers for unequal counts (.056, .061 and .037 in
    one case with 900 and 100 samples):
        "class-averaged": every class covariance has weight 1/N; hbar is the mean of the class means (the default, which
            generalizes the balanced formula);
        "pooled": every sample has the same weight in Sigma_W; hbar as before;
        "sample-centred": as pooled, and hbar is the mean of all samples.

    Args:
        moments: `ClassMoments`, a `FeatureSet`, or features (n, M) of any float dtype.
        labels: (n,) integers in any container, with features only.
        num_classes: N, with features only; when left out, the classes are the labels that occur.
        convention: see above.

    Returns: a float >= 0. Where NC1 has no value, it is NaN and never a silent zero: a class without a sample (see
        `ClassMoments.absent` and `.present()`), a single class, one sample in every class (no within-class variance to
        see), class means that coincide (`class_means_coincide`), or NaN or infinite features.

    Raises: ValueError if unequal counts need `counts=` (see `ClassMoments.within`), or if the convention is unknown.

    >>> import torch
    >>> features = torch.tensor([[0.0, 0.0], [2.0, 0.0], [10.0, 0.0], [12.0, 0.0]])
    >>> round(nc1(features, torch.tensor([0, 0, 1, 1])), 12)  # 2 s^2 / D^2 = 2 / 100
    0.02
    >>> nc1(torch.ones(4, 2), torch.tensor([0, 0, 1, 1]))
    nan
    """
    one_of("convention", convention, CONVENTIONS)
    if not isinstance(moments, ClassMoments | FeatureSet):
        if labels is None:
            raise TypeError("nc1 needs labels with the features, got none: call nc1(features, labels) or nc1(moments)")
        moments = _feature_set(moments, labels, num_classes)
    elif labels is not None or num_classes is not None:
        raise TypeError("labels and num_classes belong to features, but nc1 got moments: pass the moments alone")
    return _average(_ratios(moments, convention), moments.num_classes)


def nc1_top_share(moments: ClassMeans) -> float:
    """The largest share of NC1 that comes from one axis of Sigma_B; near 1 for N > 2, one axis alone determines NC1.

    Formula: tr(Sigma_W Sigma_B^+) = sum_j d_j^T Sigma_W d_j / lambda_j over the eigenvectors d_j of Sigma_B with
    eigenvalues lambda_j; the share is the largest term over the sum.

    Why: if the class means nearly coincide along one axis, NC1 becomes very large: it was 193 in a run where the median
    of similar runs was .95. The mean distance D of class means does not show this. Among equal eigenvalues the axes are
    not unique, and the share is that of the axes that the decomposition gives.

    Returns: a float in [1/r, 1], r <= N - 1 the number of axes; 1 for N = 2. NaN as for `nc1`, and where NC1 is 0.

    >>> import torch
    >>> centers = torch.tensor([[9.0, 0.0], [-9.0, 0.0], [0.0, 0.1]])
    >>> noise = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> features = (centers[:, None] + noise).flatten(0, 1)
    >>> moments = ClassMoments.of(features, torch.arange(3).repeat_interleave(4), 3)
    >>> round(nc1(moments), 1), round(nc1_top_share(moments), 4)
    (75.0, 1.0)
    """
    ratios = _ratios(moments, "class-averaged")
    return float(ratios.max() / ratios.sum()) if len(ratios) else _NAN


def cdnv(moments: ClassMeans) -> float:
    """Class-distance normalized variance, mean over pairs of classes; 0 is collapse.

    Formula: V(n, k) = (v_n + v_k) / (2 ||h_n - h_k||^2), v_n = (1/K_n) sum_i ||h_i - h_n||^2 (Galanti, Gyorgy & Hutter
    2022). It needs no matrix inverse; a single pair of nearly equal class means makes it large. NaN as for `nc1`.

    >>> import torch
    >>> cdnv(ClassMoments.of(torch.tensor([[0.0], [2.0], [9.0], [11.0]]), torch.tensor([0, 0, 1, 1]), 2))
    0.012345679012345678
    """
    if moments.absent or moments.num_classes < 2 or int(moments.counts.max()) < 2 or class_means_coincide(moments):
        return _NAN
    variance = moments.spread / moments.counts
    first, second = torch.triu_indices(moments.num_classes, moments.num_classes, 1, device=variance.device)
    return float(((variance[first] + variance[second]) / (2 * torch.pdist(moments.offsets).square())).mean())


def class_means_coincide(moments: ClassMeans) -> bool:
    """Whether all class means are one point, up to rounding of the features: total collapse.

    Rounding depends on the scale of each feature and on the precision the features came in (float32, bfloat16, ...).
    Where the class means coincide, NC1 and everything relative to their distance are NaN. False where a class is absent
    or features are NaN.

    >>> import torch
    >>> labels = torch.arange(2).repeat(50)
    >>> class_means_coincide(ClassMoments.of(torch.full((100, 3), 0.1), labels, 2))
    True
    >>> class_means_coincide(ClassMoments.of(torch.full((100, 3), 0.1) + 1e-6 * labels[:, None], labels, 2))
    False
    """
    if moments.absent or moments.num_classes < 2 or not bool(moments.offsets.isfinite().all()):
        return False
    return len(moments.axes.values) == 0


def _ratios(moments: ClassMeans, convention: Convention) -> Tensor:
    """d^T Sigma_W d / lambda of each axis of Sigma_B, (r,); empty where NC1 has no value."""
    nothing, averaged = moments.offsets.new_zeros(0), convention == "class-averaged"
    if moments.absent or moments.num_classes < 2 or int(moments.counts.max()) < 2:
        return nothing
    if isinstance(moments, ClassMoments):
        moments.within_size(averaged)  # for all features alike, unequal counts without counts= are an error
    if not bool(moments.offsets.isfinite().all()):
        return nothing
    if averaged:
        return moments.axis_variances / moments.axes.values.square()
    axes = moments.axes if convention == "pooled" else _about_all_samples(moments)
    return moments.variances(axes.directions, averaged=False) / axes.values.square()


def _about_all_samples(moments: ClassMeans) -> Axes:
    """The axes of Sigma_B about the mean of all samples."""
    return axes_of(moments.centered(by_sample=True), moments.scale, moments.epsilon, int(moments.counts.sum()))


def _average(ratios: Tensor, num_classes: int) -> float:
    """(1/N) tr(Sigma_W Sigma_B^+) from its terms, one per axis of Sigma_B; NaN without an axis."""
    return float(ratios.sum()) / num_classes if len(ratios) else _NAN


def _feature_set(features: Tensor, labels: Tensor, num_classes: int | None) -> FeatureSet:
    """Features with their labels; without `num_classes` the classes are the labels that occur, renumbered."""
    if num_classes is None:
        occurring, labels = torch.unique(counted("labels", labels), return_inverse=True)
        num_classes = len(occurring)
    return FeatureSet.of(features, labels, num_classes)
