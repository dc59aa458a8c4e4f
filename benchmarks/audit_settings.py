"""The settings of benchmarks/audit.py: samples with known true labels, and with given labels that may be wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray

from byrote import data, noise
from byrote.data import Images

__all__ = ["FULL", "QUICK", "RATES", "Array", "Setting", "Size", "settings"]

LAWS = {
    "symmetric": noise.Symmetric,
    "pair": noise.PairFlip,
    "part-dependent": noise.InstanceDependent,
    "look-alike": noise.LookAlike,
}
RATES = (0.05, 0.2, 0.4)
Array = NDArray[Any]


@dataclass(frozen=True)
class Size:
    """The size of the benchmark: samples per setting, seeds, sources of samples, and draws of checks."""

    samples: int
    seeds: int
    sources: tuple[str, ...]
    draws: int
    erring_draws: int
    first: int = 0  # the first seed

    @property
    def numbers(self) -> range:
        """The seeds."""
        return range(self.first, self.first + self.seeds)


FULL = Size(8000, 3, ("fashion", "mnist", "cifar10", "cifar10n"), 200, 60)
QUICK = Size(3000, 1, ("fashion",), 60, 10)


@dataclass(frozen=True)
class Setting:
    """Samples with their true and their given labels, for one source, noise law, rate and seed."""

    source: str
    law: str
    rate: float
    seed: int
    x: Array
    given: Array
    true: Array

    @property
    def wrong(self) -> Array:
        return self.given != self.true


def settings(size: Size, laws: Sequence[str] | None = None) -> Iterator[Setting]:
    """All settings, or only those of some laws; the seeds of a setting are consecutive."""
    for source in size.sources:
        if source == "cifar10n":
            yield from (setting for setting in human(size) if laws is None or setting.law in laws)
            continue
        images = loaded(source, size.samples)
        x = features(images) if source == "cifar10" else images.images.numpy()
        every = [("none", 0.0), *((law, rate) for law in LAWS for rate in RATES)]
        for law, rate in [one for one in every if laws is None or one[0] in laws]:
            for seed in size.numbers:
                yield Setting(source, law, rate, seed, x, corrupted(images, law, rate, seed), images.labels.numpy())


def loaded(source: str, n: int) -> Images:
    if source == "fashion":
        return data.FashionMNISTSubset(per_class=n // 10, resolution=14).load()
    if source == "mnist":
        return data.MNIST(per_class=n // 10, resolution=14).load()
    return data.CIFAR10(per_class=n // 10).load()


def corrupted(images: Images, law: str, rate: float, seed: int) -> Array:
    if law == "none":
        return images.labels.numpy()
    generator = torch.Generator().manual_seed(7919 * (seed + 1) + round(1000 * rate))
    return LAWS[law](rate).corrupt(images.labels, 10, generator, features=images.images.flatten(1)).numpy()


def human(size: Size) -> Iterator[Setting]:
    """The settings of CIFAR-10N, whose labels people gave to CIFAR-10's training images."""
    images = loaded("cifar10", size.samples)
    x, y = features(images), images.labels.numpy()
    for name in ("aggre", "worst"):
        law = noise.Recorded(path=f"cache:cifar10n/{name}.csv")
        given = law.corrupt(images.labels, 10, torch.Generator(), ids=images.ids).numpy()
        for seed in size.numbers:
            yield Setting("cifar10n", name, float((given != y).mean()), seed, x, given, y)


def features(images: Images, centers: int = 256, patch: int = 6) -> Array:
    """Features by k-means on random patches (Coates, Lee and Ng 2011): whitening, triangle code, pooled quadrants."""
    generator = torch.Generator().manual_seed(0)
    x = images.images
    unfold = torch.nn.Unfold(patch, stride=2)
    some = unfold(x[torch.randperm(len(x), generator=generator)[:2000]]).transpose(1, 2).reshape(-1, 3 * patch * patch)
    some = normalized(some[torch.randperm(len(some), generator=generator)[:40_000]])
    mean = some.mean(0)
    values, vectors = torch.linalg.eigh((some - mean).T @ (some - mean) / len(some))
    whiten = vectors @ torch.diag((values + 0.1).rsqrt()) @ vectors.T
    white = (some - mean) @ whiten
    means = white[torch.randperm(len(white), generator=generator)[:centers]]
    for _ in range(10):
        near = torch.cdist(white, means).argmin(1)
        sums = torch.zeros_like(means).index_add_(0, near, white)
        means = sums / near.bincount(minlength=centers).clamp(min=1)[:, None]
    parts = []
    for chunk in x.split(200):
        code = normalized(unfold(chunk).transpose(1, 2)) - mean
        away = torch.cdist(code @ whiten, means.expand(len(chunk), -1, -1))
        triangle = (away.mean(-1, keepdim=True) - away).clamp(min=0)  # (B, positions, centers)
        side = round(triangle.shape[1] ** 0.5)
        grid = triangle.transpose(1, 2).reshape(len(chunk), centers, side, side)
        parts.append(torch.nn.functional.adaptive_avg_pool2d(grid, 2).flatten(1))
    return torch.cat(parts).numpy()


def normalized(patches: torch.Tensor) -> torch.Tensor:
    centered = patches - patches.mean(-1, keepdim=True)
    return centered / (centered.std(-1, keepdim=True) + 0.1)
