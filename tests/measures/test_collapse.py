"""Neural collapse measures: against 50-digit and plain versions, on numbers from the papers, on degenerate inputs."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from byrote.measures.axes import axes_of
from byrote.measures.collapse import feature_rank, nc2, nc3, nc3_by_class, nc4
from byrote.measures.moments import ClassMoments
from byrote.measures.variability import CONVENTIONS, cdnv, class_means_coincide, nc1

from .oracles import clouds, exact_nc1, plain_nc1


def tensors(features: np.ndarray, labels: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(features), torch.from_numpy(labels)


def moments(features: np.ndarray, labels: np.ndarray) -> ClassMoments:
    h, y = tensors(features, labels)
    return ClassMoments.of(h, y, int(labels.max()) + 1, counts=torch.bincount(y))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (1e3, 1e-3), (-1e3, 1e-3), (1e-3, 1e3)])
@pytest.mark.parametrize(("counts", "width"), [([9, 9], 3), ([5, 9, 2], 2), ([6, 4, 5, 6, 5], 7), ([8] * 4, 1)])
def test_nc1_against_50_digits(dtype: type, shift: float, scale: float, counts: list[int], width: int) -> None:
    """The relative error is below 1e-10, even for features shifted by 1000 and scaled by .001, and for chunks."""
    features, labels = clouds(np.random.default_rng(len(counts)), counts, width)
    features = (features * scale + shift).astype(dtype)
    h, y = tensors(features, labels)
    exact = exact_nc1(features, labels)
    chunks = list(zip(h.split(5), y.split(5), strict=True))
    final = torch.bincount(y)
    summed = ClassMoments.of(*chunks[0], len(counts), final)
    for chunk in chunks[1:]:
        summed = summed + ClassMoments.of(*chunk, len(counts), final)
    for value in (nc1(h, y), nc1(ClassMoments.stream(chunks, len(counts), final)), nc1(summed)):
        assert value == pytest.approx(exact, rel=1e-10, abs=0)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_conventions_against_50_digits(convention: str) -> None:
    features, labels = clouds(np.random.default_rng(5), [12, 3, 6], 4)
    h, y = tensors(features, labels)
    assert nc1(h, y, convention=convention) == pytest.approx(exact_nc1(features, labels, convention), rel=1e-10)


@given(seed=st.integers(0, 10_000), N=st.integers(2, 6), M=st.integers(1, 8))
def test_nc1_against_pinv(seed: int, N: int, M: int) -> None:
    rng = np.random.default_rng(seed)
    features, labels = clouds(rng, list(rng.integers(2, 30, size=N)), M)
    for convention in CONVENTIONS:
        assert nc1(*tensors(features, labels), convention=convention) == pytest.approx(
            plain_nc1(features, labels, convention), rel=1e-6
        )


def test_unequal_counts_have_three_answers() -> None:
    """With classes of 900 and 100 samples, the three weightings of NC1 differ by known factors."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [900, 100])
    features = rng.normal(size=(1000, 1)) * np.where(labels == 0, 1.0, 0.5)[:, None] + 4.0 * labels[:, None]
    averaged, pooled, centered = (nc1(*tensors(features, labels), convention=c) for c in CONVENTIONS)
    assert pooled > averaged * 1.2
    assert centered == pytest.approx(pooled * 0.25 / 0.41, rel=1e-12)


def test_two_classes_are_a_variance_ratio() -> None:
    """For N = 2, NC1 = 2 s^2 / ||h1 - h2||^2."""
    features, labels = clouds(np.random.default_rng(1), [40, 40], 3)
    means = [features[labels == n].mean(0) for n in (0, 1)]
    gap = means[1] - means[0]
    along = [(features[labels == n] - means[n]) @ gap / np.linalg.norm(gap) for n in (0, 1)]
    expected = 2 * np.square(np.concatenate(along)).mean() / (gap @ gap)
    assert nc1(*tensors(features, labels)) == pytest.approx(expected, rel=1e-12)


def test_nc1_does_not_see_rotation_scale_or_shift() -> None:
    features, labels = clouds(np.random.default_rng(2), [20] * 4, 6)
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(6, 6)))[0]
    assert nc1(*tensors(7 * features @ turn + 3, labels)) == pytest.approx(nc1(*tensors(features, labels)), rel=1e-9)


def test_rank_cut_survives_float32_means() -> None:
    """The singular value that should be 0 is 1e-8 for float32 features, so it must be cut by rank, not by size."""
    features, labels = clouds(np.random.default_rng(4), [30] * 6, 12)
    value = nc1(*tensors(features.astype(np.float32), labels))
    assert value == pytest.approx(plain_nc1(features, labels), rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_rank_deficient_features(dtype: torch.dtype) -> None:
    """Constant features, and features from a low-rank layer, do not change NC1 in the remaining directions."""
    features, labels = clouds(np.random.default_rng(6), [200] * 8, 3)
    h, y = tensors(features, labels)
    alive = nc1(h.to(dtype), y)
    dead = torch.cat([h.to(dtype), torch.zeros(len(h), 9, dtype=dtype)], dim=1)
    assert nc1(dead, y) == pytest.approx(alive, rel=1e-9)
    constant = torch.cat([h.to(dtype), torch.full((len(h), 9), 0.1, dtype=dtype)], dim=1)
    assert nc1(constant, y) == pytest.approx(alive, rel=1e-9)
    assert feature_rank(moments(dead.double().numpy(), labels)) == 3
    if dtype != torch.bfloat16:
        spread = torch.linalg.qr(torch.from_numpy(np.random.default_rng(7).normal(size=(12, 3)))).Q.to(dtype)
        mixed = (h.to(dtype)) @ spread.T
        assert nc1(mixed, y) == pytest.approx(alive, rel=1e-3)


def test_class_absent_from_a_chunk_is_legal_and_overall_is_nan() -> None:
    features, labels = clouds(np.random.default_rng(8), [10, 10], 3)
    h, y = tensors(features, labels)
    one, other = ClassMoments.of(h[y == 0], y[y == 0], 2), ClassMoments.of(h[y == 1], y[y == 1], 2)
    assert math.isnan(nc1(one))
    assert nc1(one + other) == pytest.approx(nc1(h, y), rel=1e-12)
    three = ClassMoments.of(h, 2 * y, 3, counts=[10, 0, 10])
    assert math.isnan(nc1(three))
    assert math.isnan(nc1(h, 2 * y, 3))
    assert math.isnan(nc2(three).norm_cv)
    assert math.isnan(nc2(three).centred_cosine)
    assert math.isnan(nc3(three, torch.ones(3, 3)))
    assert math.isnan(cdnv(three))
    assert not class_means_coincide(three)
    assert nc1(three.present()) == pytest.approx(nc1(h, y), rel=1e-12)
    assert nc1(h, 2 * y + 5) == pytest.approx(nc1(h, y), rel=1e-12)


@pytest.mark.parametrize(
    ("features", "labels"),
    [
        (torch.randn(3, 4), torch.arange(3)),  # one sample per class
        (torch.full((6, 4), 0.1), torch.arange(3).repeat(2)),  # all features are constant
        (torch.zeros(6, 4), torch.arange(3).repeat(2)),
        (torch.randn(6, 4), torch.zeros(6, dtype=torch.int64)),  # one class
        (torch.randn(6, 4).index_fill(0, torch.tensor([2]), math.nan), torch.arange(3).repeat(2)),
        (torch.randn(6, 4).index_fill(0, torch.tensor([2]), math.inf), torch.arange(3).repeat(2)),
        (torch.tensor([[1.0], [2.0], [2.0], [1.0]]), torch.tensor([0, 0, 1, 1])),  # equal class means
    ],
)
def test_no_value_is_nan_and_never_zero(features: torch.Tensor, labels: torch.Tensor) -> None:
    assert math.isnan(nc1(features, labels))
    N = int(labels.max()) + 1
    state = ClassMoments.of(features, labels, N)
    if N > 1 and len(features) > N:
        assert math.isnan(cdnv(state))
        assert math.isnan(nc2(state).centred_cosine)
        assert math.isnan(nc3(state, torch.ones(N, features.shape[1])))


def test_true_collapse_is_zero() -> None:
    """If every feature equals its class mean, NC1 is 0, not NaN."""
    h, y = torch.eye(3).repeat(4, 1), torch.arange(3).repeat(4)
    assert nc1(h, y) == pytest.approx(0, abs=1e-25)
    assert nc1(ClassMoments.of(h, y, 3)) == 0.0
    assert cdnv(ClassMoments.of(h, y, 3)) == 0.0


def test_coincidence_is_relative_to_scale_and_precision() -> None:
    y = torch.arange(2).repeat(100)
    base = torch.full((200, 3), 0.3)
    for scale in (1e-12, 1.0, 1e12):
        assert class_means_coincide(ClassMoments.of(base * scale, y, 2))
        apart = (base * (1 + 1e-5 * y[:, None])) * scale
        assert not class_means_coincide(ClassMoments.of(apart, y, 2))
    noise = 0.3 + 3e-8 * torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    assert class_means_coincide(ClassMoments.of(noise, y, 2))
    tiny = 0.3 + 1e-10 * y[:, None].double()
    assert not class_means_coincide(ClassMoments.of(tiny, y, 2))
    assert class_means_coincide(ClassMoments.of(tiny.float(), y, 2))


def test_nc2_of_known_frames() -> None:
    eye = ClassMoments.of(torch.eye(4).double().repeat(2, 1), torch.arange(4).repeat(2), 4)
    frame = nc2(eye)
    assert (frame.norm_cv, frame.uncentred_cosine) == (0.0, 0.0)
    assert frame.centred_cosine == pytest.approx(-1 / 3)
    assert frame.cosine_deviation == pytest.approx(0, abs=1e-12)
    assert frame.centred_norm_cv == pytest.approx(0, abs=1e-12)
    rows = torch.tensor([[3.0, 0.0], [1.0, 1.0], [0.0, 1.0]]).double()
    skew = nc2(ClassMoments.of(rows.repeat(2, 1), torch.arange(3).repeat(2), 3))
    norms = np.array([3, math.sqrt(2), 1])
    assert skew.norm_cv == pytest.approx(norms.std(ddof=1) / norms.mean())
    assert skew.uncentred_cosine == pytest.approx((math.sqrt(0.5) + 0 + math.sqrt(0.5)) / 3)
    z = rows.numpy() - rows.numpy().mean(0)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    pairs = np.array([z[0] @ z[1], z[0] @ z[2], z[1] @ z[2]])
    assert skew.centred_cosine == pytest.approx(pairs.mean())
    assert skew.cosine_deviation == pytest.approx(np.abs(pairs + 0.5).mean())


def test_a_class_at_zero() -> None:
    """If one of two class means is at the origin, norm_cv is above 1 (ddof 1), and the uncentered cosine is NaN."""
    h, y = torch.tensor([[0.0, 0.0], [2.0, 1.0]]).repeat(3, 1), torch.arange(2).repeat(3)
    frame = nc2(ClassMoments.of(h, y, 2))
    assert frame.norm_cv == pytest.approx(math.sqrt(2))
    assert math.isnan(frame.uncentred_cosine)
    assert frame.centred_cosine == pytest.approx(-1)


def test_nc3_tells_scale_from_direction() -> None:
    features, labels = clouds(np.random.default_rng(9), [20] * 3, 5)
    state = moments(features, labels)
    dual = state.means - state.means.mean(0)
    assert nc3(state, 3 * dual) == pytest.approx(0, abs=1e-12)
    assert nc3(state, -dual) == pytest.approx(2)
    np.testing.assert_allclose(nc3_by_class(state, torch.tensor([[1.0], [2.0], [-3.0]]) * dual), [1, 1, -1])
    other = torch.from_numpy(np.random.default_rng(10).normal(size=(3, 5)))
    w, m = other.numpy(), dual.numpy()
    assert nc3(state, other) == pytest.approx(np.linalg.norm(w / np.linalg.norm(w) - m / np.linalg.norm(m)))
    with pytest.raises(ValueError, match=r"\(3, 5\)"):
        nc3(state, other[:, :4])


@given(seed=st.integers(0, 1000), biased=st.booleans())
def test_nc4_against_a_loop(seed: int, biased: bool) -> None:
    rng = np.random.default_rng(seed)
    h, W, b, means = rng.normal(size=(17, 3)), rng.normal(size=(4, 3)), rng.normal(size=4), rng.normal(size=(4, 3))
    agree = sum(np.argmax(W @ x + biased * b) == np.argmin([np.linalg.norm(x - mean) for mean in means]) for x in h)
    bias = torch.from_numpy(b) if biased else None
    assert nc4(*map(torch.from_numpy, (h, W)), bias, torch.from_numpy(means)) == agree / 17


def test_nc4_of_shifted_float32_and_bad_shapes() -> None:
    """Distances far from the origin keep their precision; features with NaN, or no features, give NaN."""
    means = torch.tensor([[1000.0], [1000.001]])
    assert (
        nc4(torch.tensor([[1000.0], [1000.001]]), torch.tensor([[0.0], [0.0]]), torch.tensor([1.0, 0.0]), means) == 0.5
    )
    assert math.isnan(nc4(torch.zeros(0, 1), torch.zeros(2, 1), None, means))
    assert math.isnan(nc4(torch.tensor([[math.nan]]), torch.zeros(2, 1), None, means))
    with pytest.raises(ValueError, match="bias"):
        nc4(torch.zeros(1, 1), torch.zeros(2, 1), torch.zeros(3), means)


def test_cdnv_against_a_loop() -> None:
    features, labels = clouds(np.random.default_rng(11), [9, 4, 6], 5)
    groups = [features[labels == n] for n in range(3)]
    variances = [np.square(g - g.mean(0)).sum(1).mean() for g in groups]
    expected = np.mean(
        [
            (variances[n] + variances[k]) / (2 * np.square(groups[n].mean(0) - groups[k].mean(0)).sum())
            for n, k in ((0, 1), (0, 2), (1, 2))
        ]
    )
    assert cdnv(moments(features, labels)) == pytest.approx(expected, rel=1e-12)


def test_feature_rank() -> None:
    rng = np.random.default_rng(12)
    low = rng.normal(size=(60, 3)) @ rng.normal(size=(3, 8))
    labels = np.arange(60) % 4
    h, y = tensors(low.astype(np.float32), labels)
    assert feature_rank(ClassMoments.of(h, y, 4)) == 3
    assert feature_rank(ClassMoments.of(h + 100, y, 4)) == 3
    assert feature_rank(ClassMoments.of(torch.full((60, 8), 0.1), y, 4)) == 0
    stretched = torch.from_numpy(rng.normal(size=(60, 3)) * [1.0, 1e-2, 1e-4])
    assert feature_rank(ClassMoments.of(stretched, y, 4)) == 2
    assert feature_rank(ClassMoments.of(stretched, y, 4), tolerance=1e-6) == 3
    assert feature_rank(ClassMoments.of(stretched, y, 4), tolerance=0.1) == 1
    with pytest.raises(ValueError, match="finite"):
        feature_rank(ClassMoments.of(h * math.nan, y, 4))
    with pytest.raises(ValueError, match="tolerance"):
        feature_rank(ClassMoments.of(h, y, 4), tolerance=0)


def test_misuse_gives_one_sentence() -> None:
    h, y = torch.randn(5, 2), torch.tensor([0, 0, 1, 1, 1])
    with pytest.raises(TypeError, match="labels"):
        nc1(h)
    with pytest.raises(TypeError, match="moments alone"):
        nc1(ClassMoments.of(h, y, 2), y)
    with pytest.raises(ValueError, match="convention"):
        nc1(h, y, convention="balanced")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="counts="):
        nc1(ClassMoments.of(h, y, 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_features_are_only_read(dtype: torch.dtype) -> None:
    h, y = torch.randn(20, 3, dtype=dtype), torch.arange(4).repeat(5)
    before = h.clone(), y.clone()
    nc1(h, y)
    nc4(h, torch.ones(4, 3), None, ClassMoments.of(h, y, 4, [5] * 4).means)
    assert torch.equal(h, before[0])
    assert torch.equal(y, before[1])


def test_rank_cut_is_n_minus_one() -> None:
    """Centered means of N classes have rank N - 1, even if rounding to float32 hides the null direction."""
    features, labels = clouds(np.random.default_rng(13), [20] * 5, 9)
    rounded = moments(features, labels).centered().float().double()
    # a noise level near 0: no direction is small enough to be dropped as rounding, so only the rank limit drops it
    unaware = torch.full((9,), 1e-30, dtype=torch.float64)
    assert len(axes_of(rounded, unaware, 0.0, 100).values) == 4
