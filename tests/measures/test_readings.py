"""The readings of training features, classifier and redrawn samples: compared with plain NumPy, and at collapse."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from byrote.measures import ClassMoments, def31, nc1, nc1_top_share, nc2, zero_means
from byrote.measures.positive import AT_ZERO
from byrote.measures.snapshot import Snapshot, read

from . import readings as plain
from .oracles import plain_nc1

DOCS = Path(__file__).parents[2] / "docs" / "measures.md"
OF_THE_WEIGHT = ("train_nc3", "train_nc4", "def31_duality")
OF_THE_REDRAW = (
    *("mem_redrawn_mean", "mem_redrawn_noise_weighted", "mem_redrawn_relative"),
    *("mem_redrawn_noise_weighted_relative", "redrawn_rate"),
)


def snapshot(seed: int = 0, N: int = 3, M: int = 4, each: int = 12, outputs: int = 0, **changes: Any) -> Snapshot:
    """Draw Gaussian clouds around the center of the observed label, in float64, with every class in every set."""
    rng = np.random.default_rng(seed)
    outputs = outputs or N
    true = np.tile(np.arange(N), each)
    redrawn = rng.random(len(true)) < 0.5
    observed = np.where(redrawn, rng.integers(outputs, size=len(true)), true)
    observed[:outputs], redrawn[:outputs] = np.arange(outputs), np.arange(outputs) != true[:outputs]
    centers = np.abs(rng.normal(size=(outputs, M))) + 0.1
    features = centers[observed] + 0.4 * rng.normal(size=(len(true), M))
    test_true = np.tile(np.arange(N), each)
    test_features = centers[test_true] + 0.6 * rng.normal(size=(len(test_true), M))
    weight, bias = rng.normal(size=(outputs, M)), rng.normal(size=outputs)
    values = {
        "num_classes": N,
        "true": true,
        "observed": observed,
        "features": features,
        "logits": features @ weight.T + bias,
        "test_true": test_true,
        "test_features": test_features,
        "test_logits": test_features @ weight.T + bias,
        "weight": weight,
        "bias": bias,
        "redrawn": redrawn,
    }
    tensors = {name: v if isinstance(v, int) else torch.from_numpy(v) for name, v in values.items()}
    return Snapshot(**tensors | changes)


def collapsed_snapshot(N: int, M: int, C: float = 0.7, a: float = 2.0) -> Snapshot:
    """Build an NC configuration (Definition 3.1 of MD): orthogonal class means of norm a, and w_n = C (h_n - hbar)."""
    means = a * torch.eye(N, M, dtype=torch.float64)
    labels = torch.arange(N).repeat(5)
    weight = C * (means - means.mean(0))
    h, z = means[labels], means[labels] @ weight.T
    return Snapshot(N, labels, labels, h, z, labels, h, z, weight=weight)


@given(seed=st.integers(0, 10_000), N=st.integers(2, 5), M=st.integers(1, 6), latent=st.booleans())
def test_every_column_equals_the_plain_one(seed: int, N: int, M: int, latent: bool) -> None:
    """Each column equals its plain version, even with two outputs per class, where training labels are outputs."""
    s = snapshot(seed, N, M, outputs=2 * N if latent else N)
    h, true, observed, redrawn = (getattr(s, name).numpy() for name in ("features", "true", "observed", "redrawn"))
    means = plain.class_means(h, observed, s.num_outputs)
    test_means = plain.class_means(s.test_features.numpy(), s.test_true.numpy(), N)
    assert s.weight is not None
    assert s.bias is not None
    expected = (
        plain.train_geometry(means)
        | plain.train_duality(h, means, s.weight.numpy(), s.bias.numpy())
        | plain.redrawn(h, true, redrawn, test_means)
        | {"nc1_test_top_share": plain.top_share(s.test_features.numpy(), s.test_true.numpy())}
        | {"nc1_train_observed": plain_nc1(h, observed % N)}
    )
    row = read(s)
    for name, value in expected.items():
        assert row[name] == pytest.approx(value, rel=1e-6, abs=1e-9), name
    assert len(expected) == 20


@pytest.mark.parametrize(("N", "M"), [(2, 2), (2, 7), (3, 3), (10, 16)])
def test_an_nc_configuration_has_no_deviation(N: int, M: int) -> None:
    """Under Definition 3.1 (equal norms, orthogonal class means, rows of W along centered means), NC2 to NC4 are 0."""
    row = read(collapsed_snapshot(N, M))
    zeros = ("def31_norms", "def31_angles", "def31_duality", "train_norm_cv", "train_uncentred_cosine")
    for name in (*zeros, "train_nc2_norm_cv", "train_nc2_cosine", "train_nc3", "train_classes_at_zero"):
        assert row[name] == pytest.approx(0, abs=1e-12), name
    assert row["train_nc4"] == 1
    assert row["train_smallest_norm"] == 1
    assert row["train_centred_cosine"] == pytest.approx(-1 / (N - 1))
    assert row["train_class_distance"] == pytest.approx(2 * 2**0.5)


def test_each_deviation_sees_its_own_part_of_the_definition() -> None:
    """A longer class mean changes norms, two rotated means change angles, and a rotated row of W changes duality."""
    exact = collapsed_snapshot(4, 6)
    names = ("def31_norms", "def31_angles", "def31_duality")
    longer = exact.features.clone()
    longer[exact.observed == 1] *= 1.8
    one = read(replace(exact, features=longer))
    assert one["def31_norms"] == pytest.approx((3.6 - 2.4) / 2.4)  # norms 2, 3.6, 2, 2 have mean 2.4
    assert one["def31_angles"] == pytest.approx(0, abs=1e-12)
    turned = exact.features.clone()
    turned[exact.observed == 1, :2] = torch.tensor([-1.2, 1.6], dtype=torch.float64)
    two = read(replace(exact, features=turned))
    assert two["def31_norms"] == pytest.approx(0, abs=1e-12)
    assert two["def31_angles"] == pytest.approx(0.6), "a negative cosine deviates as much as a positive one"
    assert exact.weight is not None
    weight = exact.weight.clone()
    weight[2] = -weight[2]
    three = read(replace(exact, weight=weight))
    assert [three[name] for name in names] == pytest.approx([0, 0, 2], abs=1e-12)
    unequal = exact.weight.clone()
    unequal[2] *= 3
    four = read(replace(exact, weight=unequal))
    assert four["def31_duality"] == pytest.approx(0, abs=1e-12), (
        "scaling W changes NC3 but not duality, which depends on angles only"
    )
    assert four["train_nc3"] > 0.3


@given(small=st.floats(0, 1), scale=st.sampled_from([1e-6, 1.0, 1e6]))
def test_of_two_classes_one_lies_at_zero_just_when_the_norms_vary_by_more_than_1(small: float, scale: float) -> None:
    if abs(small - AT_ZERO) < 1e-9:
        return
    means = scale * torch.tensor([[small, 0.0], [0.0, 1.0]], dtype=torch.float64)
    moments = ClassMoments.of(means.repeat(3, 1), torch.arange(2).repeat(3), 2)
    zeros = zero_means(moments)
    assert zeros.count == (nc2(moments).norm_cv > 1)
    assert zeros.smallest_norm == pytest.approx(small, rel=1e-12)


def test_class_means_at_zero_are_counted() -> None:
    norms = torch.tensor([1.0, 0.0, 0.1715, 0.1716, 0.5], dtype=torch.float64)
    labels = torch.arange(5).repeat(2)
    zeros = zero_means(ClassMoments.of(torch.diag(norms).repeat(2, 1), labels, 5))
    assert (zeros.count, zeros.smallest_norm) == (2, 0.0), "the threshold for the norm is .17157"
    nothing = zero_means(ClassMoments.of(torch.zeros(10, 3), labels, 5))
    assert nothing.count == 5
    assert math.isnan(nothing.smallest_norm)


def test_a_direction_that_all_but_died_holds_nearly_all_of_nc1() -> None:
    """If two of ten class means nearly coincide, D hardly changes, but NC1 explodes, mostly in one direction."""
    rng = np.random.default_rng(3)
    labels = np.tile(np.arange(10), 200)
    centers = 5 * np.eye(10)
    noise = rng.normal(size=(2000, 10))
    near = centers.copy()
    near[1] = near[0] + 0.05 * (near[1] - near[0])
    shares, values, distances = [], [], []
    for c in (centers, near):
        moments = ClassMoments.of(torch.from_numpy(c[labels] + noise), torch.from_numpy(labels), 10)
        shares.append(nc1_top_share(moments))
        values.append(nc1(moments))
        distances.append(float(torch.pdist(moments.means).mean()))
    assert shares[0] < 0.2
    assert shares[1] > 0.9
    assert values[1] > 20 * values[0]
    assert distances[1] > 0.9 * distances[0]


@pytest.mark.parametrize("seed", range(3))
def test_with_two_classes_one_direction_holds_all(seed: int) -> None:
    assert read(snapshot(seed, N=2))["nc1_test_top_share"] == pytest.approx(1, abs=1e-15)


def test_what_is_not_known_is_nan_and_changes_nothing_else() -> None:
    whole = read(snapshot())
    row = read(snapshot(weight=None, bias=None, redrawn=None))
    assert {name for name, value in row.items() if value != value} - {n for n, v in whole.items() if v != v} == {
        *OF_THE_WEIGHT,
        *OF_THE_REDRAW,
    }
    unbiased = read(snapshot(bias=None))
    assert unbiased["train_nc3"] == whole["train_nc3"]
    assert unbiased["train_nc4"] != whole["train_nc4"], "NC4 depends on the bias"


def test_training_columns_have_their_value_where_the_test_means_coincide() -> None:
    still = torch.ones(36, 4, dtype=torch.float64)
    row = read(snapshot(test_features=still))
    whole = read(snapshot())
    assert row["collapsed"]
    for name in ("nc1_test_top_share", "mem_redrawn_relative", "mem_redrawn_noise_weighted_relative"):
        assert math.isnan(row[name]), name
    for name in whole:
        if name.startswith(("train_", "def31_")):
            assert row[name] == whole[name], name
    assert row["redrawn_rate"] == whole["redrawn_rate"]


def test_training_means_that_coincide_or_lie_at_zero() -> None:
    """If all class means coincide, angles about the center are NaN but norms are not; at zero, every cosine is NaN."""
    constant = read(snapshot(features=torch.ones(36, 4, dtype=torch.float64)))
    for name in ("train_centred_cosine", "train_nc2_norm_cv", "train_nc2_cosine", "train_nc3", "def31_duality"):
        assert math.isnan(constant[name]), name
    assert constant["train_norm_cv"] == constant["train_classes_at_zero"] == constant["def31_norms"] == 0
    assert constant["def31_angles"] == pytest.approx(1)
    nothing = read(snapshot(features=torch.zeros(36, 4, dtype=torch.float64)))
    assert math.isnan(nothing["def31_angles"])
    assert math.isnan(nothing["def31_norms"])
    assert nothing["train_classes_at_zero"] == 3


def test_an_absent_training_class_and_features_without_a_value_are_nan() -> None:
    s = snapshot()
    absent = read(replace(s, observed=s.observed % 2))
    broken = s.features.clone()
    broken[0, 0] = math.nan
    for row in (absent, read(replace(s, features=broken))):
        for name in row:
            if name.startswith(("train_", "def31_")):
                assert math.isnan(row[name]), name


def test_a_classifier_that_is_not_finite_has_no_duality() -> None:
    s = snapshot()
    assert s.weight is not None
    weight = s.weight.clone()
    weight[0, 0] = math.nan
    row = read(replace(s, weight=weight))
    assert all(math.isnan(row[name]) for name in OF_THE_WEIGHT)
    assert math.isnan(read(replace(s, bias=torch.full((3,), math.inf)))["train_nc4"])


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_none_and_all_redrawn(share: float) -> None:
    s = snapshot()
    row = read(replace(s, redrawn=torch.full_like(s.true, int(share)).bool()))
    assert row["redrawn_rate"] == share
    if share:
        assert row["mem_redrawn_mean"] == row["mem_redrawn_noise_weighted"]
    else:
        assert row["mem_redrawn_noise_weighted"] == row["mem_redrawn_noise_weighted_relative"] == 0
        assert math.isnan(row["mem_redrawn_mean"])


def test_over_corrupted_samples_alone_both_readings_of_mem_agree() -> None:
    s = snapshot()
    row = read(replace(s, redrawn=s.corrupted))
    for name in ("mean", "noise_weighted", "relative", "noise_weighted_relative"):
        assert row[f"mem_redrawn_{name}"] == row[f"mem_{name}"], name
    assert row["redrawn_rate"] == row["realised_rate"]


@pytest.mark.parametrize("wrong", [torch.ones(36), torch.ones(35, dtype=torch.bool)])
def test_a_mask_that_does_not_fit_is_refused(wrong: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"redrawn must be one bool per sample, shape \(36,\), got"):
        read(snapshot(redrawn=wrong))


def test_weights_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"weight must be \(N, M\) = \(3, 4\), got \(2, 4\)"):
        def31(snapshot().by_observed, torch.ones(2, 4))


def test_the_documentation_names_every_column() -> None:
    text = DOCS.read_text("utf-8")
    assert not [name for name in read(snapshot()) if f"`{name}`" not in text]
