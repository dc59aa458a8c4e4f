"""The base class of noise models: a law that turns true labels into observed labels.

Most models are given by a matrix: the observed label depends only on the true label (`TransitionNoise`). All models
draw in the same way: each sample gets one number u, and flips if u < flip probability, and one number v, which selects
the new class. These numbers do not depend on the rate. So the samples corrupted at a higher rate include all samples
corrupted at a lower rate.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar

import torch

from byrote import checks
from byrote.component import Component

__all__ = ["Noise", "Samples", "TransitionNoise", "at_least_two", "flip", "transition_matrix", "uniforms"]


@dataclass(frozen=True, eq=False)
class Samples:
    """The samples that a law corrupts, checked and on the CPU.

    Args:
        labels: true classes, int64 (n,).
        num_classes: N.
        generator: the only source of randomness.
        features: one row per sample, for laws that depend on features.
        ids: int64 (n,), for recorded labels.
    """

    labels: torch.Tensor
    num_classes: int
    generator: torch.Generator
    features: torch.Tensor | None = None
    ids: torch.Tensor | None = None


class Noise(Component, family="noise"):
    """Base class of noise models. A sample is corrupted if its observed label differs from its true label.

    A model defines `_observe` and `effective_rate`. If the observed label depends on the true label alone, the model
    subclasses `TransitionNoise` and defines only the matrix.

    There are two rates. The *nominal* rate is the parameter eta as a paper states it. The *effective* rate is the
    expected share of corrupted samples. The two can differ (see `convert_rate`), so every run records both, and also
    the realised share of corrupted labels (see `realised`).
    """

    outputs_per_class: ClassVar[int] = 1

    @property
    def nominal_rate(self) -> float:
        """The parameter `rate` (eta), or NaN if the model has no single rate."""
        return float(getattr(self, "rate", math.nan))

    def num_outputs(self, num_classes: int) -> int:
        """The number of possible observed labels and of network outputs: N, or 2N under latent-class noise."""
        return self.outputs_per_class * num_classes

    def transition(self, num_classes: int) -> torch.Tensor:
        """T[n, k] = P(observed k | true n), float64 (N, num_outputs); only defined for `TransitionNoise`.

        Raises:
            ValueError: the law has no matrix, because a flip depends on more than the true class.
        """
        raise ValueError(
            f"{type(self).__name__} has no transition matrix, because its flips depend on more than the true class: "
            "use byrote.noise.realised for the matrix of the labels it made"
        )

    def effective_rate(self, num_classes: int) -> float:
        """Expected share of corrupted samples if the N classes have equal size."""
        raise NotImplementedError

    def corrupt(
        self,
        labels: torch.Tensor,
        num_classes: int,
        generator: torch.Generator,
        *,
        features: torch.Tensor | None = None,
        ids: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Draw the observed labels.

        Args:
            labels: true classes in 0..N-1, integers in any container, shape (n,). n = 0 and classes without samples are
                allowed.
            num_classes: N, at least 2.
            generator: a CPU generator, the only source of randomness: the same state gives the same labels, regardless
                of the global generator. A model draws the same numbers at every rate.
            features: one row per sample, with any further shape (such as images), for models that depend on features.
            ids: the stable ids of the samples, int64 (n,), for recorded labels.

        Returns:
            Observed labels in 0..num_outputs-1, int64 (n,), on the device of `labels`.

        Raises:
            ValueError, TypeError: labels outside 0..N-1 or not integers, fewer than two classes, a generator
                that is not on the CPU, or features or ids that are missing or do not fit.

        Example:
            >>> from byrote import noise
            >>> labels = torch.arange(8) % 4
            >>> noise.Symmetric(.5).corrupt(labels, 4, torch.Generator().manual_seed(1)).shape
            torch.Size([8])
        """
        true = _checked(self, labels, num_classes, generator)
        features = None if features is None else checks.numbers("features", features)
        ids = None if ids is None else checks.integers("ids", ids)
        if features is not None and (features.ndim == 0 or len(features) != len(true)):
            raise ValueError(
                f"features must have one row per label, got {tuple(features.shape)} for {len(true)} labels"
            )
        if ids is not None and ids.shape != true.shape:
            raise ValueError(f"ids must be one per label, got shape {tuple(ids.shape)} for {len(true)} labels")
        samples = Samples(true.detach().cpu(), num_classes, generator, features, ids)
        return self._observe(samples).to(true.device)

    def redrawn(self, labels: torch.Tensor, num_classes: int, generator: torch.Generator) -> torch.Tensor | None:
        """The samples whose labels `corrupt` redraws from the same generator state.

        A law that redraws from all classes can draw the true class again, and then the observed label is the true
        label. So more samples are redrawn than corrupted: twice as many under `Uniform` with two classes.

        Args:
            labels, num_classes, generator: as for `corrupt`; the generator must be in the state from which `corrupt`
                starts.

        Returns:
            bool (n,), on the device of `labels`; None for a law that redraws no labels.

        Raises:
            ValueError, TypeError: as for `corrupt`.

        Example:
            >>> from byrote import noise
            >>> labels = torch.arange(1000) % 2
            >>> model = noise.Uniform(.4)
            >>> observed = model.corrupt(labels, 2, torch.Generator().manual_seed(1))
            >>> redrawn = model.redrawn(labels, 2, torch.Generator().manual_seed(1))
            >>> int((observed != labels).sum()), int(redrawn.sum())
            (187, 360)
        """
        true = _checked(self, labels, num_classes, generator)
        mask = self._redrawn(len(true), generator)
        return None if mask is None else mask.to(true.device)

    def _observe(self, samples: Samples) -> torch.Tensor:
        """The observed labels, int64 (n,)."""
        raise NotImplementedError

    def _redrawn(self, size: int, generator: torch.Generator) -> torch.Tensor | None:
        """The mask of `redrawn` for `size` samples."""
        return None


class TransitionNoise(Noise, abstract=True):
    """Base class of models with a matrix T[n, k] = P(observed k | true n): a subclass defines `transition`."""

    def effective_rate(self, num_classes: int) -> float:
        """1 - tr(T) / N: the expected share of corrupted samples when the N classes are equally large."""
        return float(_off_diagonal(self.transition(num_classes)).sum(1).mean())

    def _observe(self, samples: Samples) -> torch.Tensor:
        away = _off_diagonal(self.transition(samples.num_classes))  # (N, num_outputs)
        return flip(samples, away.sum(1)[samples.labels], lambda true, own: away[true])


def flip(
    samples: Samples, probability: torch.Tensor, targets: Callable[[int, torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Flip each label with its probability; all models draw in this way.

    Sample i gets two uniform numbers. It flips if u_i < probability_i, and v_i picks the new class by inversion of the
    cumulative distribution of its targets. Neither number depends on the probabilities. So larger probabilities corrupt
    a superset of the samples, and samples corrupted in both cases get the same new class.

    Args:
        samples: the samples; 2n numbers are drawn from their generator.
        probability: float64 (n,), the probability that the label is changed.
        targets: called once for each true class, in order, with the class and the indices of its f flipping samples. It
            returns the weights of the new classes, (num_outputs,) for all these samples or (f, num_outputs). The
            weights need not sum to 1; the weight of the true class is 0.

    Returns:
        int64 (n,).
    """
    labels = samples.labels
    u, v = uniforms(len(labels), samples.generator)
    flipped = (u < probability).nonzero()[:, 0]
    by_class, order = labels[flipped].sort(stable=True)
    sizes = by_class.bincount(minlength=samples.num_classes).tolist()
    observed = labels.clone()
    for true, own in enumerate(torch.split(flipped[order], sizes)):
        weights = targets(true, own)
        if len(own):
            upto = weights.cumsum(-1).expand(len(own), -1)
            # divided by the last value, so that it ends at exactly 1, above every v
            observed[own] = torch.searchsorted(upto / upto[:, -1:], v[own, None], right=True)[:, 0]
    return observed


def uniforms(size: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw two uniform numbers per sample: u, by which the sample flips or not, and v, which selects its new class."""
    u, v = torch.rand(size, 2, dtype=torch.float64, generator=generator).T
    return u, v


def transition_matrix(rows: torch.Tensor) -> torch.Tensor:
    """Turn flip probabilities, float64 (N, outputs) with zeros at [n, n], into a matrix with rows that sum to 1."""
    matrix = rows.clone()
    matrix.diagonal().copy_(1 - rows.sum(1))
    return matrix


def _off_diagonal(matrix: torch.Tensor) -> torch.Tensor:
    """A copy with zeros at [n, n]."""
    away = matrix.clone()
    away.diagonal().zero_()
    return away


def at_least_two(law: str, num_classes: int) -> int:
    """Check N, the number of classes of a law.

    Raises:
        ValueError: N is less than two or not a whole number.
    """
    if not isinstance(num_classes, Integral) or num_classes < 2:
        raise ValueError(f"{law} needs at least two classes, got {num_classes!r}")
    return int(num_classes)


def _checked(model: Noise, labels: Any, num_classes: int, generator: torch.Generator) -> torch.Tensor:
    """Check the labels and return them as int64, on their device."""
    at_least_two(type(model).__name__, num_classes)
    checked = checks.class_labels("labels", labels, num_classes)
    if generator.device.type != "cpu":
        raise ValueError(
            "expected a CPU generator, so that labels are the same on every machine, got a generator on "
            f"{generator.device}"
        )
    return checked
