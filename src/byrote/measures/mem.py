"""How many wrong labels a network has learned: J1, J2, the fate of corrupted samples, and mem."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from byrote.checks import class_labels, counted, matrix, numbers, same_length
from byrote.measures.blocks import blocks, ranges

__all__ = [
    "Fates",
    "Memorization",
    "class_distance",
    "distances",
    "fates",
    "j1",
    "j2",
    "memorization",
    "memorization_of",
    "observed_of",
]

_NAN = float("nan")


def j1(predictions: Tensor, observed: Tensor) -> float:
    """Share of training samples predicted as their OBSERVED (possibly wrong) label; 1 is complete memorization.

    Formula: J1 = (1/n) #{i: prediction_i = observed_i} (Patel & Sastry, PAKDD 2021), where a network in eval mode
    predicts the whole training set. NaN without samples. Predictions and labels are class numbers (n,) in any integer
    container.

    Raises: ValueError for a shape other than (n,) or a negative class, TypeError for floats.

    >>> import torch
    >>> j1(torch.tensor([0, 1, 1, 0]), torch.tensor([0, 1, 0, 0]))
    0.75
    """
    return _agreement(predictions, observed)


def j2(predictions: Tensor, true: Tensor) -> float:
    """Share of samples predicted as their TRUE label; on test data this is the test accuracy.

    Formula: J2 = (1/n) #{i: prediction_i = true_i} (Patel & Sastry, PAKDD 2021). NaN without samples.

    >>> import torch
    >>> j2(torch.tensor([0, 1, 1, 0]), torch.tensor([0, 1, 1, 0]))
    1.0
    """
    return _agreement(predictions, true)


@dataclass(frozen=True)
class Fates:
    """What a network predicts on clean and on corrupted samples; the shares of an empty group are NaN."""

    realised_rate: float  # rho, share of samples whose observed label is not the true one
    clean_accuracy: float  # a = P(predicted as observed | clean)
    corrupted_as_observed: float  # m = P(predicted as observed | corrupted): memorized
    corrupted_as_true: float  # t = P(predicted as true | corrupted): resisted
    corrupted_as_neither: float  # 1 - m - t
    count: int  # corrupted samples

    @classmethod
    def of(cls, corrupted: Tensor, as_observed: Tensor, as_true: Tensor) -> Fates:
        """Compute the fates from three bool masks (n,): corrupted, predicted as observed, and predicted as true."""
        return cls(
            realised_rate=_share(corrupted),
            clean_accuracy=_share(as_observed[~corrupted]),
            corrupted_as_observed=_share(as_observed[corrupted]),
            corrupted_as_true=_share(as_true[corrupted]),
            corrupted_as_neither=_share(~(as_observed | as_true)[corrupted]),
            count=int(corrupted.sum()),
        )

    def columns(self) -> dict[str, float]:
        """The readings m, t, a and rho under their column names in a history."""
        names = ("realised_rate", "clean_accuracy", "corrupted_as_observed", "corrupted_as_true")
        return {name: getattr(self, name) for name in names}


def fates(predictions: Tensor, true_labels: Tensor, observed_labels: Tensor) -> Fates:
    """The shares m, t, neither, a and rho of `Fates` under label noise; all arguments are class numbers (n,).

    Why: underfitting and memorization both change J1 and can cancel each other. The identities J1 - J2 = rho (m - t)
    and J1 = (1 - rho) a + rho m are exact.

    >>> import torch
    >>> true, observed = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 2, 0, 2])
    >>> fate = fates(torch.tensor([0, 2, 1, 0]), true, observed)
    >>> fate.realised_rate, fate.clean_accuracy, fate.count
    (0.75, 1.0, 3)
    >>> round(fate.corrupted_as_observed, 3), round(fate.corrupted_as_true, 3), round(fate.corrupted_as_neither, 3)
    (0.333, 0.333, 0.333)
    """
    predictions, true_labels, observed_labels = _columns(
        predictions=predictions, true_labels=true_labels, observed_labels=observed_labels
    )
    as_observed, as_true = predictions == observed_labels, predictions == true_labels
    return Fates.of(true_labels != observed_labels, as_observed, as_true)


@dataclass(frozen=True)
class Memorization:
    """The readings of mem. Without corrupted samples the sums are 0 and every mean over corrupted samples is NaN."""

    total: float  # sum over corrupted samples of ||h - mu_true||, MD eq. 3
    mean: float  # total / corrupted samples
    noise_weighted: float  # total / all samples
    relative: float  # mean / D
    noise_weighted_relative: float  # noise_weighted / D
    observed_ratio: float  # mean over corrupted samples of ||h - mu_true|| / ||mu_observed - mu_true||
    clean_mean: float  # mean of ||h - mu_true|| over CLEAN samples: the baseline for mem
    class_distance: float  # D, mean distance between the test class means
    count: int  # corrupted samples
    redrawn_mean: float = _NAN  # these five: as above, over all REDRAWN samples, wrong or not;
    redrawn_noise_weighted: float = _NAN  # NaN for a noise that redraws no label
    redrawn_relative: float = _NAN
    redrawn_noise_weighted_relative: float = _NAN
    redrawn_rate: float = _NAN  # redrawn samples / all samples


def memorization(
    features: Tensor,
    true_labels: Tensor,
    observed_labels: Tensor,
    test_means: Tensor,
    redrawn: Tensor | None = None,
) -> Memorization:
    """How far training samples with wrong labels are from the test-data mean of their true class.

    Formula: mem = sum over corrupted i of ||h_i - mu_true(i)||, unsquared, where mu_n is the mean TEST feature of class
    n (Nguyen et al., ICLR 2023, eq. 3) and corrupted means observed != true. D = mean over pairs of classes of ||mu_n -
    mu_k||.

    The paper allows a second reading: a corrupted label is drawn from all classes, and the observed label "may be the
    true label or not". The `redrawn_...` readings cover all samples whose label was redrawn; about 1/N of these samples
    got their true label back.

    Why there are several readings: mem grows with the number of corrupted samples and with the scale of the features.
    `noise_weighted_relative` predicts dilation best; `clean_mean` is the distance that is due to scatter and not to
    memorization.

    Args:
        features: (n, M) training features, any float dtype; measured in float64.
        true_labels, observed_labels: (n,) integers. Every true label needs a row of `test_means`. An observed label may
            be N or more (latent-class noise); then `observed_ratio` is NaN.
        test_means: (N, M), such as `ClassMoments.of(test_features, test_labels, N).means`.
        redrawn: (n,) bool, the samples whose label was redrawn (`Noise.redrawn`); None if the noise redraws no label.

    Returns: a `Memorization`, in units of the features; relative readings are in units of D. If the class means
        coincide up to rounding, D counts as 0 and the relative readings are NaN. All readings that need the test mean
        of a class without one are NaN, too.

    NaN and infinite features make the readings that depend on them NaN.

    Raises: ValueError for shapes that do not fit and true labels without a row of `test_means`; TypeError for labels
        that are not integers.

    >>> import torch
    >>> features = torch.tensor([[0.0, 0.0], [3.0, 0.0], [4.0, 0.0]])
    >>> mem = memorization(features, torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]),
    ...                    test_means=torch.tensor([[0.0, 0.0], [4.0, 0.0]]))
    >>> mem.total, mem.mean, mem.noise_weighted, mem.relative, mem.noise_weighted_relative
    (3.0, 3.0, 1.0, 0.75, 0.25)
    >>> mem.clean_mean, mem.class_distance, mem.count
    (0.0, 4.0, 1)
    """
    features, test_means = matrix("features", features), matrix("test_means", test_means)
    if features.shape[1] != test_means.shape[1]:
        raise ValueError(
            f"expected features (n, M) and test_means (N, M), got shapes {tuple(features.shape)} and "
            f"{tuple(test_means.shape)}"
        )
    true_labels = class_labels("true_labels", true_labels, len(test_means), len(features)).to(features.device)
    observed_labels = observed_of(observed_labels, len(test_means), len(features)).to(features.device)
    redrawn = None if redrawn is None else _mask(redrawn, len(features)).to(features.device)
    test_means = test_means.to(features.device)
    away = distances(features, true_labels, test_means)
    return memorization_of(away, true_labels, observed_labels, test_means, torch.finfo(features.dtype).eps, redrawn)


def observed_of(labels: Tensor, num_classes: int, size: int) -> Tensor:
    """Check that observed labels (size,) are in 0..2N-1, the range under latent-class noise, and return them as int64.

    Raises: see `class_labels`; also ValueError if there are more than 2N labels and exactly the labels 1..N occur.

    >>> observed_of([0, 3], num_classes=2, size=2)
    tensor([0, 3])
    """
    classes = class_labels("observed_labels", labels, 2 * num_classes, size)
    if size > 2 * num_classes and classes.unique().tolist() == list(range(1, num_classes + 1)):
        raise ValueError(f"observed_labels must count from 0, got labels from 1 to {num_classes}; subtract 1")
    return classes


def distances(features: Tensor, true_labels: Tensor, test_means: Tensor) -> Tensor:
    """||h_i - mu_true(i)|| of each sample, (n,) float64, NaN where features are not finite; see `memorization`."""
    means = test_means.to(torch.float64)
    away = torch.empty(len(features), dtype=torch.float64, device=features.device)
    for rows in blocks(features):
        away[rows] = _distance(features[rows], means[true_labels[rows]])
    return away.masked_fill_(away.isinf(), torch.nan)


def memorization_of(
    away: Tensor,
    true_labels: Tensor,
    observed_labels: Tensor,
    test_means: Tensor,
    epsilon: float,
    redrawn: Tensor | None = None,
) -> Memorization:
    """Compute the readings of mem from `away` (n,), the result of `distances` for all samples.

    `epsilon` is the machine epsilon of the original dtype of the features; for the other arguments see `memorization`.
    """
    means = test_means.to(torch.float64)
    corrupted = true_labels != observed_labels
    total, mean, noise_weighted = _amounts(away, corrupted)
    distance = class_distance(means)
    rounding = 4 * epsilon * float(means.square().sum(1).mean().sqrt())
    unit = distance if not distance <= rounding else _NAN
    _, redrawn_mean, redrawn_weighted = (_NAN, _NAN, _NAN) if redrawn is None else _amounts(away, redrawn)
    return Memorization(
        total=total,
        mean=mean,
        noise_weighted=noise_weighted,
        relative=mean / unit,
        noise_weighted_relative=noise_weighted / unit,
        observed_ratio=_observed_ratio(away, true_labels, observed_labels, means, corrupted, rounding),
        clean_mean=float(away[~corrupted].mean()),
        class_distance=distance,
        count=int(corrupted.sum()),
        redrawn_mean=redrawn_mean,
        redrawn_noise_weighted=redrawn_weighted,
        redrawn_relative=redrawn_mean / unit,
        redrawn_noise_weighted_relative=redrawn_weighted / unit,
        redrawn_rate=_NAN if redrawn is None else _share(redrawn),
    )


def _amounts(away: Tensor, chosen: Tensor) -> tuple[float, float, float]:
    """Sum the distances `away` (n,) of the chosen samples; return the sum, the mean, and the sum divided by n."""
    count, size, total = int(chosen.sum()), len(away), float(away[chosen].sum())
    return total, total / count if count else _NAN, total / size if size else _NAN


def _observed_ratio(
    away: Tensor, true: Tensor, observed: Tensor, means: Tensor, corrupted: Tensor, rounding: float
) -> float:
    if bool((observed >= len(means)).any()):
        return _NAN
    codes, place = torch.unique(observed[corrupted] * len(means) + true[corrupted], return_inverse=True)
    pairs = away.new_empty(len(codes))  # the distance for each pair of classes that occurs, computed once and in blocks
    for rows in ranges(len(codes), means.shape[1]):
        pairs[rows] = _distance(means[codes[rows] // len(means)], means[codes[rows] % len(means)])
    between = pairs.masked_fill(pairs.isinf() | (pairs <= rounding), torch.nan)[place]
    return float((away[corrupted] / between).mean())


def class_distance(means: Tensor) -> float:
    """D, the mean distance over pairs of class means (N, M); NaN with fewer than two means, or a non-finite mean.

    >>> import torch
    >>> class_distance(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
    5.0
    """
    distance = float(torch.pdist(means).mean())
    return distance if math.isfinite(distance) else _NAN


def _distance(features: Tensor, centers: Tensor) -> Tensor:
    away: Tensor = torch.linalg.vector_norm(features.detach().to(torch.float64) - centers, dim=1)
    return away


def _agreement(predictions: Tensor, labels: Tensor) -> float:
    predictions, labels = _columns(predictions=predictions, labels=labels)
    return _share(predictions == labels)


def _columns(**columns: Tensor) -> list[Tensor]:
    """Class numbers (n,) from integer containers as int64 on the device of the first, checked for equal length."""
    checked = {name: counted(name, values) for name, values in columns.items()}
    same_length(**checked)
    device = next(iter(checked.values())).device
    return [values.to(device) for values in checked.values()]


def _share(hits: Tensor) -> float:
    return float(hits.to(torch.float64).mean())


def _mask(redrawn: Tensor, size: int) -> Tensor:
    """Check a mask (n,), which must have one bool per sample."""
    redrawn = numbers("redrawn", redrawn)
    if redrawn.dtype != torch.bool or redrawn.shape != (size,):
        raise ValueError(
            f"redrawn must be one bool per sample, shape {(size,)}, got {redrawn.dtype} of shape "
            f"{tuple(redrawn.shape)}: pass the mask that Noise.redrawn gives"
        )
    return redrawn
