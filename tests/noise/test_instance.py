"""Noise laws that depend on the features of each sample."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import truncnorm

from byrote.noise import InstanceDependent, LookAlike, MarginDependent, Noise, realised

from .conftest import samples


def test_part_dependent_noise_one_sample_at_a_time() -> None:
    """Labels equal those of Algorithm 2 of Xia et al., written out with scipy's truncated normal and the same draws."""
    n, rate, spread = 4, 0.45, 0.3
    labels, features = samples(n, 40)
    seen = InstanceDependent(rate, spread).corrupt(labels, n, torch.Generator().manual_seed(9), features=features)

    generator = torch.Generator().manual_seed(9)
    quantiles = torch.rand(len(labels), dtype=torch.float64, generator=generator).numpy()
    numbers = torch.rand(len(labels), 2, dtype=torch.float64, generator=generator).numpy()
    weights = [torch.randn(6, n, dtype=torch.float64, generator=generator).numpy() for _ in range(n)]
    law = truncnorm(-rate / spread, (1 - rate) / spread, loc=rate, scale=spread)
    for i, true in enumerate(labels.tolist()):
        expected = true
        if numbers[i, 0] < law.ppf(quantiles[i]):
            x = features[i].flatten().double().numpy()
            others = [k for k in range(n) if k != true]
            p = np.exp([x @ weights[true][:, k] for k in others])
            expected = others[int(np.searchsorted(np.cumsum(p / p.sum()), numbers[i, 1], side="right"))]
        assert seen[i] == expected


@pytest.mark.parametrize(("rate", "spread"), [(0.2, 0.1), (0.01, 0.1), (0.99, 0.1), (0.5, 1.0), (0.3, 1e-3)])
def test_the_effective_rate_is_the_mean_of_the_truncated_law(rate: float, spread: float) -> None:
    law = truncnorm(-rate / spread, (1 - rate) / spread, loc=rate, scale=spread)
    assert InstanceDependent(rate, spread).effective_rate(10) == pytest.approx(law.mean(), abs=1e-9)


def test_equal_samples_get_equal_targets() -> None:
    """For large features, the class to which a label moves depends on the sample, not on chance."""
    labels = torch.arange(3).repeat(300)
    features = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))[labels] * 1000
    seen = InstanceDependent(0.5).corrupt(labels, 3, torch.Generator().manual_seed(1), features=features)
    counts = realised(labels, seen, 3).counts
    assert all(int((row > 0).sum()) == 2 for row in counts)


def test_without_features_to_tell_by_all_targets_are_alike() -> None:
    labels = torch.arange(3).repeat(4000)
    seen = InstanceDependent(0.6).corrupt(labels, 3, torch.Generator().manual_seed(1), features=torch.zeros(12000, 2))
    counts = realised(labels, seen, 3).counts
    off = counts[~torch.eye(3, dtype=torch.bool)]
    assert int(off.min()) > 1050
    assert int(off.max()) < 1350


def slow_margins(x: np.ndarray, labels: list[int], n: int) -> tuple[list[float], list[int]]:
    """Compute each sample's distance from the plane halfway between two class means, one at a time."""
    means = {k: np.mean([a for a, b in zip(x, labels, strict=True) if b == k], axis=0) for k in set(labels)}
    margin, nearest = [], []
    for row, true in zip(x, labels, strict=True):
        k = min((k for k in means if k != true), key=lambda k: float(np.linalg.norm(row - means[k])))
        normal = (means[true] - means[k]) / np.linalg.norm(means[true] - means[k])
        margin.append(float((row - (means[true] + means[k]) / 2) @ normal))
        nearest.append(k)
    return margin, nearest


@pytest.mark.parametrize(
    ("rate", "strength", "shift"), [(0.2, 2.0, 0.0), (0.7, 0.5, 1e4), (0.02, 8.0, -1e3), (0.9, 30.0, 0)]
)
def test_margin_dependent_noise_one_sample_at_a_time(rate: float, strength: float, shift: float) -> None:
    n = 4
    labels, features = samples(n, 50)
    features = features.double() + shift
    present = labels != 2  # a class without samples is never a target
    labels, features = labels[present], features[present]
    noise = MarginDependent(rate, strength)
    seen = noise.corrupt(labels, n, torch.Generator().manual_seed(4), features=features)

    margin, nearest = slow_margins(features.flatten(1).numpy(), labels.tolist(), n)
    score = strength * (np.array(margin) - np.mean(margin)) / np.std(margin)
    with np.errstate(over="ignore"):
        a = brentq(lambda a: float(np.mean(1 / (1 + np.exp(score - a)))) - rate, -1000, 1000, xtol=1e-13)
        probability = 1 / (1 + np.exp(score - a))
    u = torch.rand(len(labels), 2, dtype=torch.float64, generator=torch.Generator().manual_seed(4))[:, 0].tolist()
    expected = [k if go < p else y for y, k, go, p in zip(labels.tolist(), nearest, u, probability, strict=True)]
    assert seen.tolist() == expected


def test_small_margins_flip_more() -> None:
    labels, features = samples(3, 3000)
    margin = torch.tensor(slow_margins(features.flatten(1).numpy(), labels.tolist(), 3)[0])
    shares = []
    for strength in (0.0, 2.0):
        seen = MarginDependent(0.3, strength).corrupt(labels, 3, torch.Generator().manual_seed(0), features=features)
        moved = (seen != labels).double()
        shares.append([float(moved[part].mean()) for part in margin.argsort().chunk(3)])
    assert max(shares[0]) - min(shares[0]) < 0.04
    assert shares[1][0] > shares[1][1] + 0.1 > shares[1][2] + 0.2


def slow_resemblance(x: np.ndarray, labels: list[int]) -> tuple[list[float], list[int]]:
    """Compute distances to the nearest other sample of each class, one pair at a time."""
    s, nearest = [], []
    for i, true in enumerate(labels):
        away: dict[int, float] = {}
        for j, other in enumerate(labels):
            if i != j:
                away[other] = min(away.get(other, math.inf), math.dist(x[i], x[j]))
        k = min((k for k in sorted(away) if k != true), key=lambda k: away[k])
        own = away.get(true, math.inf)
        s.append(1.0 if math.isinf(own) else (own - away[k]) / (own + away[k]) if own + away[k] else 0.0)
        nearest.append(k)
    return s, nearest


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5, 0.9])
def test_look_alike_noise_one_sample_at_a_time(rate: float) -> None:
    n = 5
    labels, features = samples(n, 30)
    first = int((labels == 2).nonzero()[0, 0])
    present = (labels != 2) | (torch.arange(len(labels)) == first)  # class 2 has one sample
    present &= labels != 4  # class 4 has no samples
    labels, features = labels[present], features[present].double() + 100.0
    features[7] = features[3]  # a duplicate sample
    seen = LookAlike(rate).corrupt(labels, n, torch.Generator().manual_seed(4), features=features)

    s, nearest = slow_resemblance(features.flatten(1).numpy(), labels.tolist())
    order = sorted(range(len(s)), key=lambda i: -s[i])
    p = np.zeros(len(s))
    for place, i in enumerate(order):
        p[i] = np.clip(0.5 + (rate - (place + 0.5) / len(s)) / min(rate, 1 - rate), 0, 1)
    for value in set(s):
        tied = [i for i in range(len(s)) if s[i] == value]
        p[tied] = p[tied].mean()
    assert p.mean() == pytest.approx(rate, abs=0.005)
    u = torch.rand(len(labels), 2, dtype=torch.float64, generator=torch.Generator().manual_seed(4))[:, 0].tolist()
    expected = [k if go < q else y for y, k, go, q in zip(labels.tolist(), nearest, u, p, strict=True)]
    assert seen.tolist() == expected


def test_look_alikes_always_move_and_others_never() -> None:
    """At rate .2, the tenth of samples that most resemble another class always move, the lowest seven tenths never."""
    labels, features = samples(3, 200)
    s = torch.tensor(slow_resemblance(features.flatten(1).double().numpy(), labels.tolist())[0])
    order = s.argsort(descending=True)
    for seed in range(5):
        seen = LookAlike(0.2).corrupt(labels, 3, torch.Generator().manual_seed(seed), features=features)
        moved = (seen != labels)[order]
        assert bool(moved[:60].all())
        assert not bool(moved[180:].any())
        assert 0 < int(moved[60:180].sum()) < 120


def test_blocks_of_distances_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, features = samples(4, 30)
    whole = LookAlike(0.3).corrupt(labels, 4, torch.Generator().manual_seed(0), features=features)
    monkeypatch.setattr("byrote.noise.instance._PAIRS", 700)
    parts = LookAlike(0.3).corrupt(labels, 4, torch.Generator().manual_seed(0), features=features)
    assert torch.equal(whole, parts)


@pytest.mark.parametrize("noise", [MarginDependent(0.3), LookAlike(0.3)])
def test_scale_rotation_and_order_of_axes_do_not_matter(noise: Noise) -> None:
    labels, features = samples(3, 100)
    generator = torch.Generator().manual_seed(2)
    turn, _ = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64, generator=generator))
    first = noise.corrupt(labels, 3, torch.Generator().manual_seed(0), features=features)
    turned = 7 * features.flatten(1).double() @ turn + 3
    assert torch.equal(noise.corrupt(labels, 3, torch.Generator().manual_seed(0), features=turned), first)


def test_constant_features_still_have_the_rate() -> None:
    """If all features are equal, so are margins and resemblance, and every sample flips with the same probability."""
    labels = torch.arange(2).repeat_interleave(2000)
    for noise in (MarginDependent(0.3), LookAlike(0.3)):
        moved = (
            noise.corrupt(labels, 2, torch.Generator().manual_seed(0), features=torch.full((4000, 3), 0.1)) != labels
        )
        for part in moved.double().split(1000):
            assert float(part.mean()) == pytest.approx(0.3, abs=0.05)


def test_integer_features_and_one_sample_each() -> None:
    images = torch.tensor([[0, 0], [255, 255], [0, 255]], dtype=torch.uint8)
    labels = torch.arange(3)
    for noise in (InstanceDependent(0.5), LookAlike(0.5), MarginDependent(0.5)):
        seen = noise.corrupt(labels, 3, torch.Generator().manual_seed(0), features=images)
        assert seen.shape == (3,)


@pytest.mark.parametrize("noise", [InstanceDependent(), LookAlike(), MarginDependent()])
def test_features_are_needed_and_finite(noise: Noise) -> None:
    labels = torch.tensor([0, 1])
    with pytest.raises(ValueError, match=r"depends on the samples: corrupt\(...\) needs features="):
        noise.corrupt(labels, 2, torch.Generator())
    with pytest.raises(ValueError, match="features must be finite, but 1 of"):
        noise.corrupt(labels, 2, torch.Generator(), features=torch.tensor([[0.0], [math.nan]]))


@pytest.mark.parametrize("noise", [LookAlike(), MarginDependent()])
def test_one_class_has_no_other_to_move_to(noise: Noise) -> None:
    with pytest.raises(ValueError, match=f"{type(noise).__name__} needs samples of at least two classes.*only class 1"):
        noise.corrupt(torch.tensor([1, 1]), 3, torch.Generator(), features=torch.eye(2))
