"""Variability within classes relative to variability between classes: NC1, CDNV, and a check for equal class means."""

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
    """Within-class variability relative to between-class variability; 0 is collapse. On test data this is the dilation.

    Formula: NC1 = (1/N) tr(Sigma_W Sigma_B^+) (Papyan, Han & Donoho 2020; Nguyen et al. 2023), with
    Sigma_B = (1/N) sum_n (h_n - hbar)(h_n - hbar)^T. For N = 2 it is 2 s^2 / ||h_1 - h_2||^2, a ratio of variances,
    where s^2 is the within-class variance along h_1 - h_2.

    How: a thin SVD of the N x M centered class means, truncated at rank min(N-1, M), because centering makes one of the
    N singular values 0. A further direction is dropped if the class means differ along it only by rounding errors of
    the features' dtype. No M x M pseudo-inverse is computed.

    The conventions agree for equal class counts and differ for unequal counts (.056, .061 and .037 in one case with 900
    and 100 samples):
        "class-averaged": every class covariance has weight 1/N; hbar is the mean of the class means (the default, which
            generalizes the balanced formula);
        "pooled": every sample has the same weight in Sigma_W; hbar is the mean of the class means;
        "sample-centred": like "pooled", but hbar is the mean of all samples.

    Args:
        moments: `ClassMoments`, a `FeatureSet`, or features (n, M) of any float dtype.
        labels: (n,) integers in any container; only if `moments` is features.
        num_classes: N; only if `moments` is features. By default the classes are the labels that occur.
        convention: see above.

    Returns: a float >= 0. If NC1 is undefined, the result is NaN and never a silent zero. NC1 is undefined if a class
        has no samples (see `ClassMoments.absent` and `.present()`), if there is a single class, if every class has one
        sample (no within-class variance), if class means coincide (`class_means_coincide`), or if features are NaN or
        infinite.

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
    """The largest share of NC1 due to one axis of Sigma_B. A share near 1 for N > 2 means that one axis determines NC1.

    Formula: tr(Sigma_W Sigma_B^+) = sum_j d_j^T Sigma_W d_j / lambda_j over the eigenvectors d_j of Sigma_B with
    eigenvalues lambda_j; the share is the largest term divided by the sum.

    Why: if the class means nearly coincide along one axis, NC1 becomes very large: it was 193 in a run where the median
    of similar runs was .95. The mean distance D of class means does not show this problem. For equal eigenvalues the
    axes are not unique, and the share depends on the axes that the decomposition returns.

    Returns: a float in [1/r, 1], where r <= N - 1 is the number of axes; 1 for N = 2. NaN as for `nc1`, and if NC1 is
        0.

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
    """Class-distance normalized variance (CDNV), averaged over pairs of classes; 0 is collapse.

    Formula: V(n, k) = (v_n + v_k) / (2 ||h_n - h_k||^2), v_n = (1/K_n) sum_i ||h_i - h_n||^2 (Galanti, Gyorgy & Hutter
    2022). CDNV needs no matrix inverse, but a single pair of nearly equal class means makes it large. NaN as for `nc1`.

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

    Rounding depends on the scale of each feature and on the original precision of the features (float32, bfloat16,
    ...). If the class means coincide, NC1 and all readings divided by their distance are NaN. Returns False if a class
    is absent or features are NaN.

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
    """d^T Sigma_W d / lambda for each axis of Sigma_B, (r,); empty if NC1 is undefined."""
    nothing, averaged = moments.offsets.new_zeros(0), convention == "class-averaged"
    if moments.absent or moments.num_classes < 2 or int(moments.counts.max()) < 2:
        return nothing
    if isinstance(moments, ClassMoments):
        moments.within_size(averaged)  # raises an error for unequal counts without counts=, even if NC1 is undefined
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
    """(1/N) tr(Sigma_W Sigma_B^+) from its terms, one per axis of Sigma_B; NaN without axes."""
    return float(ratios.sum()) / num_classes if len(ratios) else _NAN


def _feature_set(features: Tensor, labels: Tensor, num_classes: int | None) -> FeatureSet:
    """Build a feature set; without `num_classes`, the classes are the labels that occur, renumbered from 0."""
    if num_classes is None:
        occurring, labels = torch.unique(counted("labels", labels), return_inverse=True)
        num_classes = len(occurring)
    return FeatureSet.of(features, labels, num_classes)
