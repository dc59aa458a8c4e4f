"""Splits of samples, and profiles of measures over layers."""

import math

import numpy as np
import pytest
import torch

from byrote.measures.moments import ClassMoments
from byrote.measures.profile import layer_profile, split_moments
from byrote.measures.variability import nc1

from .oracles import clouds, plain_nc1


def test_splits_are_the_subsets_by_their_labels() -> None:
    features, true = clouds(np.random.default_rng(0), [40, 30, 20], 4)
    rng = np.random.default_rng(1)
    observed = np.where(rng.random(90) < 0.4, (true + rng.integers(1, 3, size=90)) % 3, true)
    wrong = true != observed
    parts = split_moments(*map(torch.from_numpy, (features, true, observed)), 3)
    expected = {
        "observed": (features, observed),
        "true": (features, true),
        "clean": (features[~wrong], true[~wrong]),
        "corrupted_observed": (features[wrong], observed[wrong]),
        "corrupted_true": (features[wrong], true[wrong]),
    }
    assert list(parts) == list(expected)
    for name, (h, y) in expected.items():
        assert nc1(parts[name]) == pytest.approx(plain_nc1(h, y), rel=1e-9), name


def test_no_corrupted_sample_is_nan() -> None:
    labels = torch.arange(2).repeat(4)
    parts = split_moments(torch.randn(8, 2), labels, labels, 2)
    assert math.isnan(nc1(parts["corrupted_true"]))
    assert parts["corrupted_true"].absent == [0, 1]
    assert nc1(parts["clean"]) == nc1(parts["true"])


def test_profile_pools_places_and_names_degenerate_layers() -> None:
    labels = torch.arange(3).repeat(5)
    images = torch.randn(15, 4, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    flat = torch.full((15, 2), 0.1)
    broken = torch.full((15, 2), math.nan)
    conv, constant, nan = layer_profile({"conv": images, "constant": flat, "nan": broken}, labels, 3)
    assert conv["nc1"] == pytest.approx(nc1(images.mean((2, 3)), labels))
    assert (conv["layer"], conv["width"], conv["rank"], conv["collapsed"]) == ("conv", 4, 4, False)
    assert math.isnan(constant["nc1"])
    assert (constant["rank"], constant["collapsed"]) == (0, True)
    assert math.isnan(nan["rank"])
    assert not nan["collapsed"]


def test_unequal_counts_are_class_averaged() -> None:
    features, labels = clouds(np.random.default_rng(2), [30, 5], 3)
    h, y = torch.from_numpy(features), torch.from_numpy(labels)
    (row,) = layer_profile({"h": h}, y, 2)
    assert row["nc1"] == pytest.approx(nc1(ClassMoments.of(h, y, 2, [30, 5])))
