"""One evaluation of a classifier, and the readings computed from it, which are the columns of the history.

A reading is a function of a `Snapshot`. `@reading` registers the function under its name, or under several names if it
returns a mapping. To add a measure, write a function with this decorator.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property

import torch
from torch import Tensor

from byrote.checks import unusable
from byrote.component import did_you_mean
from byrote.measures.collapse import nc2, nc3, nc4
from byrote.measures.features import FeatureSet
from byrote.measures.mem import Fates, Memorization, class_distance, j1, j2, memorization
from byrote.measures.positive import def31, zero_means
from byrote.measures.rate import noise_rate
from byrote.measures.variability import class_means_coincide, nc1, nc1_top_share

__all__ = ["READINGS", "Snapshot", "chosen", "needs_features", "read", "reading"]

Readings = float | bool | Mapping[str, float]
READINGS: dict[str, Callable[["Snapshot"], Readings]] = {}


def reading(function: Callable[["Snapshot"], Readings]) -> Callable[["Snapshot"], Readings]:
    """Register a function of a snapshot as one or more columns of the history."""
    READINGS[function.__name__] = function
    return function


@dataclass(frozen=True)
class Snapshot:
    """The outputs of a network in eval mode on the whole training set and the test set.

    Each set of features is a `FeatureSet`, whose class means and axes are computed once for all readings. Under
    latent-class noise the network has more outputs than classes. Then output k stands for class k mod N whenever a
    prediction is compared with a true label.
    """

    num_classes: int
    true: Tensor  # (n,)
    observed: Tensor  # (n,)
    features: Tensor  # (n, M)
    logits: Tensor  # (n, outputs)
    test_true: Tensor  # (n',)
    test_features: Tensor  # (n', M)
    test_logits: Tensor  # (n', outputs)
    test_observed: Tensor | None = None  # (n',) noisy labels drawn from the same law; None: cannot be drawn
    weight: Tensor | None = None  # (outputs, M) of the linear classifier; None: unknown
    bias: Tensor | None = None  # (outputs,); None: the classifier has none
    redrawn: Tensor | None = None  # (n,) bool, samples whose label was redrawn; None: the noise redraws no label

    @property
    def num_outputs(self) -> int:
        return self.logits.shape[-1]

    @cached_property
    def predicted(self) -> Tensor:
        return self.logits.argmax(-1)

    @cached_property
    def predicted_class(self) -> Tensor:
        return self.predicted % self.num_classes

    @cached_property
    def corrupted(self) -> Tensor:
        return self.observed != self.true

    @cached_property
    def by_observed(self) -> FeatureSet:
        """Training features by observed label, the label used in the loss: one class per output."""
        return FeatureSet.of(self.features, self.observed, self.num_outputs)

    @cached_property
    def by_observed_class(self) -> FeatureSet:
        """Training features by the class of the observed label."""
        if self.num_outputs == self.num_classes:
            return self.by_observed
        return FeatureSet.of(self.features, self.observed % self.num_classes, self.num_classes)

    @cached_property
    def by_true(self) -> FeatureSet:
        """Training features by true label."""
        return FeatureSet.of(self.features, self.true, self.num_classes)

    @property
    def clean(self) -> FeatureSet:
        """The features of the clean training samples. They are not cached, because the copy would stay in memory."""
        clean = ~self.corrupted
        return FeatureSet.of(self.features[clean], self.true[clean], self.num_classes)

    @cached_property
    def test(self) -> FeatureSet:
        """Test features by true label."""
        return FeatureSet.of(self.test_features, self.test_true, self.num_classes)

    @cached_property
    def mem(self) -> Memorization:
        means = self.test.means.to(self.features.dtype)
        return memorization(self.features, self.true, self.observed, means, self.redrawn)

    @cached_property
    def collapsed(self) -> bool:
        """Whether the test class means coincide; then NC1 and all readings divided by their distance are undefined."""
        return class_means_coincide(self.test)


def read(snapshot: Snapshot, columns: Collection[str] | None = None) -> dict[str, float | bool]:
    """Compute the readings of the snapshot as one row of the history: all, or only `columns` (see `chosen`).

    A reading is computed only if one of its columns is requested.
    """
    row: dict[str, float | bool] = {}
    for name, function in READINGS.items():
        if columns is None or not _columns(name, function).isdisjoint(columns):
            row.update(_row(name, function(snapshot)))
    return row if columns is None else {name: value for name, value in row.items() if name in columns}


def chosen(columns: Collection[str] | None) -> frozenset[str] | None:
    """Check that the names are existing columns and return them; None: all columns.

    Raises: ValueError for an unknown name; the message suggests the nearest known name.

    >>> sorted(chosen(["nc1_test", "j1"]))
    ['j1', 'nc1_test']
    """
    if columns is None:
        return None
    columns = [columns] if isinstance(columns, str) else columns
    known = [column for name, function in READINGS.items() for column in sorted(_columns(name, function))]
    for column in columns:
        if column not in known:
            raise ValueError(f"readings has no {column!r}; {did_you_mean(str(column), known)}")
    return frozenset(columns)


def _row(name: str, value: Readings) -> Mapping[str, float | bool]:
    return value if isinstance(value, Mapping) else {name: value}


def needs_features(columns: Collection[str] | None) -> bool:
    """Whether a reading of these columns uses the training features; otherwise the features need not be kept."""
    if columns is None:
        return True
    functions = [f for name, f in READINGS.items() if not _columns(name, f).isdisjoint(columns)]
    without = replace(_small(), features=None)  # type: ignore[arg-type]  # a reading that uses the features fails
    try:
        for function in functions:
            function(without)
    except Exception:  # a user's own reading may raise anything
        return True
    return False


@cache
def _columns(name: str, function: Callable[["Snapshot"], Readings]) -> frozenset[str]:
    """The columns of a reading, found by applying it to twelve samples; the name of the reading if this raises."""
    try:
        return frozenset(_row(name, function(_small())))
    except Exception:  # a user's own reading may need more than twelve samples of three classes
        return frozenset([name])


def _small() -> "Snapshot":
    """A snapshot with twelve samples of three classes."""
    labels, generator = torch.arange(12) % 3, torch.Generator().manual_seed(0)
    h, z = (torch.rand(12, width, generator=generator) for width in (4, 3))
    return Snapshot(3, labels, labels.roll(1), h, z, labels, h, z, labels, h[:3], z[0], labels == 0)


_LABELS = (
    "j1",
    "j2",
    "test_accuracy",
    "realised_rate",
    "clean_accuracy",
    "corrupted_as_observed",
    "corrupted_as_true",
)


@reading
def labels(snapshot: Snapshot) -> dict[str, float]:
    """J1, J2, test accuracy, the fates of clean and corrupted samples (a, m, t), and the realised rate rho."""
    wrong, predicted = snapshot.corrupted, snapshot.predicted
    if bool(unusable(snapshot.logits).any()):  # a row with NaN predicts no class
        return dict.fromkeys(_LABELS, float("nan")) | {
            "test_accuracy": _test_accuracy(snapshot),
            "realised_rate": float(wrong.double().mean()),
        }
    return {
        "j1": j1(predicted, snapshot.observed),
        "j2": j2(snapshot.predicted_class, snapshot.true),
        "test_accuracy": _test_accuracy(snapshot),
        **Fates.of(wrong, predicted == snapshot.observed, snapshot.predicted_class == snapshot.true).columns(),
    }


def _test_accuracy(snapshot: Snapshot) -> float:
    if bool(unusable(snapshot.test_logits).any()):
        return float("nan")
    return j2(snapshot.test_logits.argmax(-1) % snapshot.num_classes, snapshot.test_true)


@reading
def nc1_train_observed(snapshot: Snapshot) -> float:
    """NC1 on training data by observed label."""
    return float("nan") if snapshot.collapsed else nc1(snapshot.by_observed_class)


@reading
def nc1_train_true(snapshot: Snapshot) -> float:
    """NC1 on training data by true label."""
    return float("nan") if snapshot.collapsed else nc1(snapshot.by_true)


@reading
def nc1_train_clean(snapshot: Snapshot) -> float:
    """NC1 on the clean training samples."""
    return float("nan") if snapshot.collapsed else nc1(snapshot.clean)


@reading
def nc1_test(snapshot: Snapshot) -> float:
    """NC1 on test data: the dilation."""
    return float("nan") if snapshot.collapsed else nc1(snapshot.test)


@reading
def nc1_test_top_share(snapshot: Snapshot) -> float:
    """The largest share of NC1 on test data due to one axis of Sigma_B."""
    return float("nan") if snapshot.collapsed else nc1_top_share(snapshot.test)


@reading
def geometry(snapshot: Snapshot) -> dict[str, float]:
    """Norms and angles of the test class means, centered and not, and their mean distance D."""
    shape = nc2(snapshot.test)
    return {
        "class_distance": snapshot.mem.class_distance,
        "norm_cv": shape.norm_cv,
        "uncentred_cosine": shape.uncentred_cosine,
        "centred_cosine": shape.centred_cosine,
    }


@reading
def train_geometry(snapshot: Snapshot) -> dict[str, float]:
    """Norms and angles of the TRAINING class means by observed label, centered and not, and how many are near zero."""
    moments = snapshot.by_observed
    shape, zero = nc2(moments), zero_means(moments)
    return {
        "train_class_distance": class_distance(moments.means),
        "train_norm_cv": shape.norm_cv,
        "train_uncentred_cosine": shape.uncentred_cosine,
        "train_centred_cosine": shape.centred_cosine,
        "train_nc2_norm_cv": shape.centred_norm_cv,
        "train_nc2_cosine": shape.cosine_deviation,
        "train_classes_at_zero": zero.count,
        "train_smallest_norm": zero.smallest_norm,
    }


@reading
def train_duality(snapshot: Snapshot) -> dict[str, float]:
    """Compare classifier and training class means: NC3, NC4, and deviations from Definition 3.1 of MD."""
    moments, weight, nan = snapshot.by_observed, snapshot.weight, float("nan")
    deviation = def31(moments, weight)
    return {
        "train_nc3": nc3(moments, weight) if weight is not None else nan,
        "train_nc4": nc4(snapshot.features, weight, snapshot.bias, moments.means) if weight is not None else nan,
        "def31_norms": deviation.norms,
        "def31_angles": deviation.angles,
        "def31_duality": deviation.duality,
    }


@reading
def mem(snapshot: Snapshot) -> dict[str, float]:
    """The readings of mem over corrupted and over redrawn samples, and the baseline, the mean over clean samples."""
    value, nan = snapshot.mem, float("nan")
    return {
        "mem_total": value.total,
        "mem_mean": value.mean,
        "mem_noise_weighted": value.noise_weighted,
        "mem_relative": nan if snapshot.collapsed else value.relative,
        "mem_noise_weighted_relative": nan if snapshot.collapsed else value.noise_weighted_relative,
        "mem_clean_mean": value.clean_mean,
        "mem_redrawn_mean": value.redrawn_mean,
        "mem_redrawn_noise_weighted": value.redrawn_noise_weighted,
        "mem_redrawn_relative": nan if snapshot.collapsed else value.redrawn_relative,
        "mem_redrawn_noise_weighted_relative": nan if snapshot.collapsed else value.redrawn_noise_weighted_relative,
        "redrawn_rate": value.redrawn_rate,
    }


@reading
def rate(snapshot: Snapshot) -> dict[str, float]:
    """The rate of symmetric noise estimated from held-out noisy labels, and whether it is stated (see `noise_rate`).

    `rate_stated` is 1 or 0. If it is 0, the ends of the interval are NaN. Without an estimate, all columns are NaN.
    """
    names = ("rate_estimate", "rate_low", "rate_high", "rate_stated", "underfits")
    if snapshot.test_observed is None or snapshot.test_logits.shape[-1] != snapshot.num_classes:
        return dict.fromkeys(names, float("nan"))
    estimate = noise_rate(snapshot.test_logits, snapshot.test_observed, snapshot.num_classes)
    if estimate.rate != estimate.rate:
        return dict.fromkeys(names, float("nan"))
    stated = float(estimate.verdict == "stated")
    return dict(
        zip(names, (estimate.rate, estimate.low, estimate.high, stated, float(estimate.underfits)), strict=True)
    )


@reading
def collapsed(snapshot: Snapshot) -> bool:
    """Whether the test class means coincide."""
    return snapshot.collapsed
