"""How much of the wrong labels a network has learned: J1, J2, the fate of corrupted samples, and mem."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from byrote.checks import class_labels, counted, matrix, same_length

__all__ = ["Fates", "Memorization", "distances", "fates", "j1", "j2", "memorization", "memorization_of"]

_ROWS = 4096  # rows turned into float64 at a time


def j1(predictions: Tensor, observed: Tensor) -> float:
    """Share of training samples predicted as their OBSERVED (possibly wrong) label; 1 is complete memorization.

    Formula: J1 = (1/n) #{i: prediction_i = observed_i} (Patel & Sastry, PAKDD 2021), with predictions (n,) int64
    classes, of a network in eval mode on the whole training set. NaN without samples. Both in any integer container.

    Raises: ValueError for another shape than (n,) or a negative class, TypeError for floats.

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
    """What became of clean and corrupted samples; shares of an empty group are NaN."""

    realised_rate: float  # rho, share of samples whose observed label is not the true one
    clean_accuracy: float  # a = P(predicted as observed | clean)
    corrupted_as_observed: float  # m = P(predicted as observed | corrupted): memorized
    corrupted_as_true: float  # t = P(predicted as true | corrupted): resisted
    corrupted_as_neither: float  # 1 - m - t
    count: int  # corrupted samples


def fates(predictions: Tensor, true_labels: Tensor, observed_labels: Tensor) -> Fates:
    """Fate of every sample under label noise: m, t, neither, a and rho, each (n,) int64 classes in.

    Why: J1 mixes underfitting and memorization, which can cancel. Exactly J1 - J2 = rho (m - t), and
    J1 = (1 - rho) a + rho m.

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
    corrupted = true_labels != observed_labels
    as_observed, as_true = predictions == observed_labels, predictions == true_labels
    return Fates(
        realised_rate=_share(corrupted),
        clean_accuracy=_share(as_observed[~corrupted]),
        corrupted_as_observed=_share(as_observed[corrupted]),
        corrupted_as_true=_share(as_true[corrupted]),
        corrupted_as_neither=_share(~(as_observed | as_true)[corrupted]),
        count=int(corrupted.sum()),
    )


@dataclass(frozen=True)
class Memorization:
    """The readings of mem. With no corrupted sample the sums are 0 and every mean over corrupted samples is NaN."""

    total: float  # sum over corrupted samples of ||h - mu_true||, MD eq. 3
    mean: float  # total / corrupted samples
    noise_weighted: float  # total / all samples
    relative: float  # mean / D
    noise_weighted_relative: float  # noise_weighted / D
    observed_ratio: float  # mean over corrupted samples of ||h - mu_true|| / ||mu_observed - mu_true||
    clean_mean: float  # the same mean distance over CLEAN samples: the floor mem is to be read against
    class_distance: float  # D, mean distance between the test class means
    count: int  # corrupted samples


def memorization(features: Tensor, true_labels: Tensor, observed_labels: Tensor, test_means: Tensor) -> Memorization:
    """How far the training samples with wrong labels lie from where their true class is on test data.

    Formula: mem = sum over corrupted i of ||h_i - mu_true(i)||, unsquared, with mu_n the mean of the TEST features
    of class n (Nguyen et al., ICLR 2023, eq. 3); corrupted means observed != true. D = mean over pairs of classes
    of ||mu_n - mu_k||.

    Why so many readings: mem grows with the number of corrupted samples and with the scale of the features. The
    noise-weighted relative reading predicts dilation best; `clean_mean` is the distance that is scatter, not memory.

    Args:
        features: (n, M) training features, any float dtype; measured in float64.
        true_labels, observed_labels: (n,) integers. True labels need a test mean; an observed label may lie beyond
            them (latent-class noise), then `observed_ratio` is NaN.
        test_means: (N, M), say `ClassMoments.of(test_features, test_labels, N).means`.

    Returns: a `Memorization`, in units of the features (relative readings: of D). Class means that coincide to
        rounding leave no D to divide by: relative readings are NaN. A true class without test mean: NaN.

    NaN and infinite features make those readings NaN that hold them.

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
            "features (n, M) and test_means (N, M) are needed, got shapes "
            f"{tuple(features.shape)} and {tuple(test_means.shape)}"
        )
    true_labels = class_labels("true_labels", true_labels, len(test_means), len(features)).to(features.device)
    observed_labels = counted("observed_labels", observed_labels).to(features.device)
    same_length(features=features, observed_labels=observed_labels)
    test_means = test_means.to(features.device)
    away = distances(features, true_labels, test_means)
    return memorization_of(away, true_labels, observed_labels, test_means, torch.finfo(features.dtype).eps)


def distances(features: Tensor, true_labels: Tensor, test_means: Tensor) -> Tensor:
    """||h_i - mu_true(i)|| of each sample, (n,) float64, NaN where features are not finite; as for `memorization`."""
    means = test_means.to(torch.float64)
    away = torch.cat([_distance(features[rows], means[true_labels[rows]]) for rows in _blocks(len(features))])
    return away.masked_fill(away.isinf(), torch.nan)


def memorization_of(
    away: Tensor, true_labels: Tensor, observed_labels: Tensor, test_means: Tensor, epsilon: float
) -> Memorization:
    """The readings of mem from `away` (n,), the `distances` of all samples, gathered in whatever way.

    `epsilon` is the machine epsilon of the dtype the features came in; the rest is as for `memorization`.
    """
    means = test_means.to(torch.float64)
    corrupted = true_labels != observed_labels
    count, size = int(corrupted.sum()), len(away)
    total = float(away[corrupted].sum())
    mean = total / count if count else float("nan")
    noise_weighted = total / size if size else float("nan")
    distance = _class_distance(means)
    rounding = 4 * epsilon * float(means.square().sum(1).mean().sqrt())
    unit = distance if not distance <= rounding else float("nan")
    return Memorization(
        total=total,
        mean=mean,
        noise_weighted=noise_weighted,
        relative=mean / unit,
        noise_weighted_relative=noise_weighted / unit,
        observed_ratio=_observed_ratio(away, true_labels, observed_labels, means, corrupted, rounding),
        clean_mean=float(away[~corrupted].mean()),
        class_distance=distance,
        count=count,
    )


def _observed_ratio(
    away: Tensor, true: Tensor, observed: Tensor, means: Tensor, corrupted: Tensor, rounding: float
) -> float:
    if bool((observed >= len(means)).any()):
        return float("nan")
    between = distances(means[observed[corrupted]], true[corrupted], means)
    return float((away[corrupted] / between.masked_fill(between <= rounding, torch.nan)).mean())


def _class_distance(means: Tensor) -> float:
    """Mean distance between two class means; NaN with fewer than two."""
    return float(torch.pdist(means).mean())


def _distance(features: Tensor, centres: Tensor) -> Tensor:
    away: Tensor = torch.linalg.vector_norm(features.detach().to(torch.float64) - centres, dim=1)
    return away


def _blocks(size: int) -> Iterator[slice]:
    return (slice(start, start + _ROWS) for start in range(0, max(size, 1), _ROWS))


def _agreement(predictions: Tensor, labels: Tensor) -> float:
    predictions, labels = _columns(predictions=predictions, labels=labels)
    return _share(predictions == labels)


def _columns(**columns: Tensor) -> list[Tensor]:
    """Classes (n,) in any integer container as int64, of one length and where the first is."""
    found = {name: counted(name, values) for name, values in columns.items()}
    same_length(**found)
    device = next(iter(found.values())).device
    return [values.to(device) for values in found.values()]


def _share(hits: Tensor) -> float:
    return float(hits.to(torch.float64).mean())
