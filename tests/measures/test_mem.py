"""J1, J2, fates and mem, compared with loops over samples."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from byrote import measures
from byrote.measures import mem as mem_module
from byrote.measures.mem import fates, j1, j2, memorization


def by_loop(features: np.ndarray, true: np.ndarray, observed: np.ndarray, means: np.ndarray) -> dict[str, float]:
    """Compute every reading of mem, one sample at a time."""
    corrupted, clean, ratios = [], [], []
    for h, t, o in zip(features, true, observed, strict=True):
        away = math.dist(h, means[t])
        if t == o:
            clean.append(away)
        else:
            corrupted.append(away)
            ratios.append(away / math.dist(means[o], means[t]))
    D = np.mean([math.dist(a, b) for a, b in itertools.combinations(means, 2)])
    mean = np.mean(corrupted) if corrupted else math.nan
    return {
        "total": sum(corrupted),
        "mean": mean,
        "noise_weighted": sum(corrupted) / len(features),
        "relative": mean / D,
        "noise_weighted_relative": sum(corrupted) / len(features) / D,
        "observed_ratio": np.mean(ratios) if corrupted else math.nan,
        "clean_mean": np.mean(clean) if clean else math.nan,
        "class_distance": D,
        "count": len(corrupted),
    }


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 30),
    N=st.integers(2, 5),
    M=st.integers(1, 4),
    rate=st.sampled_from([0, 0.4, 1]),
)
def test_every_reading_equals_the_loop(seed: int, n: int, N: int, M: int, rate: float) -> None:
    """Every reading equals the loop, whether some, none or all samples are corrupted."""
    rng = np.random.default_rng(seed)
    features, means = rng.normal(size=(n, M)), rng.normal(size=(N, M))
    true = rng.integers(N, size=n)
    observed = np.where(rng.random(n) < rate, (true + rng.integers(1, N, size=n)) % N, true)
    measured = memorization(*map(torch.from_numpy, (features, true, observed, means)))
    for name, expected in by_loop(features, true, observed, means).items():
        assert getattr(measured, name) == pytest.approx(expected, rel=1e-12, nan_ok=True), name


def test_none_corrupted() -> None:
    """Without corrupted samples, sums are 0 and means over corrupted samples are NaN; the clean mean remains."""
    labels = torch.tensor([0, 1])
    mem = memorization(torch.tensor([[1.0], [3.0]]), labels, labels, torch.tensor([[0.0], [4.0]]))
    assert (mem.total, mem.count, mem.noise_weighted, mem.noise_weighted_relative) == (0.0, 0, 0.0, 0.0)
    assert math.isnan(mem.mean)
    assert math.isnan(mem.relative)
    assert math.isnan(mem.observed_ratio)
    assert mem.clean_mean == 1.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_class_means_that_coincide_leave_no_unit(dtype: torch.dtype) -> None:
    features, true, observed = (
        torch.full((4, 2), 0.1, dtype=dtype),
        torch.tensor([0, 0, 1, 1]),
        torch.tensor([0, 1, 1, 0]),
    )
    for gap in (0.0, 0.05 * torch.finfo(dtype).eps):
        mem = memorization(features, true, observed, torch.tensor([[0.1, 0.1], [0.1, 0.1 + gap]], dtype=torch.float64))
        assert math.isnan(mem.relative)
        assert math.isnan(mem.noise_weighted_relative)
        assert math.isnan(mem.observed_ratio)
        assert not math.isnan(mem.mean)
    apart = memorization(features, true, observed, torch.tensor([[0.1, 0.1], [0.1, 0.1001]], dtype=torch.float64))
    assert not math.isnan(apart.relative)


def test_two_classes_ratio_is_relative() -> None:
    generator = torch.Generator().manual_seed(0)
    true = torch.arange(2).repeat(20)
    mem = memorization(
        torch.randn(40, 3, generator=generator), true, true.roll(3), torch.randn(2, 3, generator=generator)
    )
    assert mem.observed_ratio == pytest.approx(mem.relative)


def test_many_rows_and_large_offset() -> None:
    """float32 features near 1000, in more rows than one block holds, are measured in float64."""
    rng = np.random.default_rng(0)
    features = (1000 + 1e-2 * rng.normal(size=(9000, 2))).astype(np.float32)
    true = rng.integers(2, size=9000)
    observed = np.where(rng.random(9000) < 0.2, 1 - true, true)
    means = np.array([[1000.0, 1000.0], [1000.5, 1000.0]])
    measured = memorization(*map(torch.from_numpy, (features, true, observed, means)))
    expected = by_loop(features.astype(np.float64), true, observed, means)
    assert measured.total == pytest.approx(expected["total"], rel=1e-11)
    assert measured.clean_mean == pytest.approx(expected["clean_mean"], rel=1e-11)


def test_latent_labels_nan_and_bad_shapes() -> None:
    """Samples with observed labels beyond N (latent classes) are corrupted, but the ratio skips them; NaN gives NaN."""
    h, true = torch.tensor([[1.0], [3.0]]), torch.tensor([0, 1])
    means = torch.tensor([[0.0], [4.0]])
    latent = memorization(h, true, torch.tensor([2, 1]), means)
    assert (latent.mean, latent.count) == (1.0, 1)
    assert math.isnan(latent.observed_ratio)
    assert math.isnan(memorization(h * math.nan, true, true.flip(0), means).mean)
    assert math.isnan(memorization(h, true, true.flip(0), means * math.nan).relative)
    with pytest.raises(ValueError, match=r"0\.\.1"):
        memorization(h, torch.tensor([0, 2]), true, means)
    with pytest.raises(ValueError, match="test_means"):
        memorization(h, true, true, means.repeat(1, 2))
    with pytest.raises(ValueError, match="equal lengths"):
        memorization(h, true[:1], true, means)


@given(seed=st.integers(0, 10_000), N=st.integers(2, 5))
def test_fates_are_shares_and_satisfy_b7(seed: int, N: int) -> None:
    """The fates a, m and t satisfy J1 - J2 = rho (m - t) exactly (claim B7), and J1 = (1 - rho) a + rho m."""
    rng = np.random.default_rng(seed)
    predictions, true, observed = (rng.integers(N, size=25) for _ in range(3))
    wrong = np.flatnonzero(true != observed)
    fate = fates(*map(torch.from_numpy, (predictions, true, observed)))
    assert fate.count == len(wrong)
    assert fate.realised_rate == pytest.approx(len(wrong) / 25)
    if len(wrong) in (0, 25):
        return
    m, t = fate.corrupted_as_observed, fate.corrupted_as_true
    assert m == pytest.approx(np.mean([predictions[i] == observed[i] for i in wrong]))
    assert t == pytest.approx(np.mean([predictions[i] == true[i] for i in wrong]))
    assert m + t + fate.corrupted_as_neither == pytest.approx(1)
    J1 = j1(*map(torch.from_numpy, (predictions, observed)))
    J2 = j2(*map(torch.from_numpy, (predictions, true)))
    assert pytest.approx(fate.realised_rate * (m - t)) == J1 - J2
    assert pytest.approx((1 - fate.realised_rate) * fate.clean_accuracy + fate.realised_rate * m) == J1


def test_empty_groups_and_lengths() -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    assert math.isnan(j1(nothing, nothing))
    clean = fates(torch.tensor([0, 1]), torch.tensor([0, 1]), torch.tensor([0, 1]))
    assert math.isnan(clean.corrupted_as_observed)
    assert clean.clean_accuracy == 1
    with pytest.raises(ValueError, match="predictions 1"):
        j2(torch.tensor([0]), torch.tensor([0, 1]))


def test_the_package_exports_functions_not_modules() -> None:
    assert callable(measures.memorization)
    assert measures.nc1.__module__ == "byrote.measures.variability"
    assert set(measures.__all__) <= set(dir(measures))
    with pytest.raises(AttributeError, match="nc5"):
        measures.nc5  # noqa: B018


def test_the_ratio_to_the_distance_of_the_means_is_that_of_all_samples_in_blocks(monkeypatch):
    """Computed in blocks, the ratio is the same up to rounding, and no block exceeds the working memory."""
    draw = torch.Generator().manual_seed(3)
    N, M, n = 40, 3000, 2500
    means, features = torch.randn(N, M, generator=draw), torch.randn(n, M, generator=draw)
    true, observed = (torch.randint(N, (n,), generator=draw) for _ in range(2))
    sizes = []
    plain = mem_module._distance

    def seen(rows, centers):
        sizes.append(rows.numel())
        return plain(rows, centers)

    monkeypatch.setattr(mem_module, "_distance", seen)
    measured = memorization(features, true, observed, means)
    assert len(sizes) > 12
    assert max(sizes) <= 256 * M
    wrong = true != observed
    h, m = features[wrong].double(), means.double()
    expected = ((h - m[true[wrong]]).norm(dim=1) / (m[observed[wrong]] - m[true[wrong]]).norm(dim=1)).mean()
    assert measured.observed_ratio == pytest.approx(float(expected), rel=1e-12)
