"""Collapse by subset and by layer: for clean and corrupted samples, true and observed labels, each network layer."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from byrote.checks import class_labels, matrix
from byrote.measures.collapse import feature_rank
from byrote.measures.moments import ClassMoments
from byrote.measures.variability import cdnv, class_means_coincide, nc1

__all__ = ["layer_profile", "split_moments"]


def split_moments(
    features: Tensor, true_labels: Tensor, observed_labels: Tensor, num_classes: int
) -> dict[str, ClassMoments]:
    """Class moments of training features under label noise, for groups of samples and by observed or true label.

    Why: under memorization the features follow the observed labels, so NC1 by observed label decreases and NC1 by true
    label increases. NC1 of the clean samples alone shows whether they are also dilated when the other samples are
    memorized.

    Args: features (n, M); both labels (n,) in 0..num_classes-1.

    Returns: a dictionary of moments with class-averaged scatter. The keys are "observed" and "true" (all samples),
        "clean" (samples whose two labels agree), and "corrupted_observed" and "corrupted_true" (samples whose labels
        differ). In the last two, a class without corrupted samples is absent, so NC1 is NaN; `.present()` leaves out
        absent classes.

    >>> import torch
    >>> true, observed = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([0, 0, 1, 1, 0])
    >>> parts = split_moments(torch.arange(5.0)[:, None], true, observed, 2)
    >>> {name: part.counts.tolist() for name, part in parts.items()}
    {'observed': [3, 2], 'true': [3, 2], 'clean': [2, 1], 'corrupted_observed': [1, 1], 'corrupted_true': [1, 1]}
    """
    features = matrix("features", features)
    true_labels = class_labels("true_labels", true_labels, num_classes, len(features)).to(features.device)
    observed_labels = class_labels("observed_labels", observed_labels, num_classes, len(features)).to(features.device)
    corrupted = true_labels != observed_labels
    everything = torch.ones_like(corrupted)
    parts = {
        "observed": (everything, observed_labels),
        "true": (everything, true_labels),
        "clean": (~corrupted, true_labels),
        "corrupted_observed": (corrupted, observed_labels),
        "corrupted_true": (corrupted, true_labels),
    }
    return {name: _averaged(features[rows], labels[rows], num_classes) for name, (rows, labels) in parts.items()}


def layer_profile(
    activations: Mapping[str, Tensor], labels: Tensor, num_classes: int
) -> list[dict[str, str | int | float]]:
    """How collapse builds up with depth: one row per layer, in the given order.

    Args: activations by layer name, (n, M) or (n, channels, ...), and labels (n,). Activations with positions are
        averaged over all positions (global mean pooling), so that M is the number of channels.

    Returns: one dictionary {layer, width, nc1, cdnv, rank, collapsed} per layer. `rank` is the `feature_rank`, NaN for
        features that are not finite.

    >>> import torch
    >>> labels = torch.arange(2).repeat(3)
    >>> inputs = torch.tensor([[0.0, 1.0], [4.0, 0.0], [1.0, 0.0], [5.0, 1.0], [2.0, 1.0], [6.0, 0.0]])
    >>> for row in layer_profile({"inputs": inputs, "head": inputs.clamp(1.5, 4.5)}, labels, 2):
    ...     print(row["layer"], round(row["nc1"], 3), row["rank"])
    inputs 0.082 2
    head 0.016 1
    """
    rows: list[dict[str, str | int | float]] = []
    labels = class_labels("labels", labels, num_classes)
    for layer, values in activations.items():
        features = values if values.ndim <= 2 else values.detach().flatten(2).to(torch.float64).mean(2)
        moments = _averaged(features, labels, num_classes)
        finite = bool(moments.packed.isfinite().all())
        rows.append(
            {
                "layer": layer,
                "width": moments.width,
                "nc1": nc1(moments),
                "cdnv": cdnv(moments),
                "rank": feature_rank(moments) if finite else float("nan"),
                "collapsed": class_means_coincide(moments),
            }
        )
    return rows


def _averaged(features: Tensor, labels: Tensor, num_classes: int) -> ClassMoments:
    return ClassMoments.of(features, labels, num_classes, counts=torch.bincount(labels, minlength=num_classes))
