"""Small components, defined as in a user's own module, with which fast tests train."""

from typing import Any

import numpy as np
import torch
from pydantic import Field

from byrote.data.base import Dataset, Raw
from byrote.losses import Loss


class Blobs(Dataset):
    """N Gaussian blobs of 1 x 4 x 4 images, far enough apart to be learned in a few epochs."""

    count = None
    mean = (0.5,)
    std = (0.25,)
    num: int = Field(default=2, ge=2)
    samples: int = Field(default=40, ge=1)
    spread: float = Field(default=0.15, ge=0)
    poisoned: bool = False

    @property
    def num_classes(self) -> int:
        return self.num

    def decode(self, split: str) -> Raw:
        rng = np.random.default_rng(0 if split == "train" else 1)
        labels = np.arange(self.samples * self.num) % self.num
        centers = np.random.default_rng(9).random((self.num, 1, 4, 4))
        images = centers[labels] + self.spread * rng.standard_normal((len(labels), 1, 4, 4))
        if self.poisoned:
            images[0] = np.nan
        return Raw(images.astype(np.float32), labels, np.arange(len(labels)))


class Explosive(Loss):
    """Cross-entropy with its gradient multiplied by `factor`; training diverges immediately for a large factor."""

    factor: float = Field(default=1e30, gt=0)

    def formula(self, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return -self.factor * z.gather(-1, y[..., None])[..., 0] * z.abs().sum(-1)


def tiny(**changes: Any) -> Any:
    """Make a tiny experiment; arguments replace fields by name or dotted path."""
    from byrote.experiment import Experiment
    from byrote.study import _merged

    base = {
        "data": {"kind": "toys:Blobs"},
        "noise": {"kind": "uniform", "rate": 0.4},
        "loss": "cross_entropy",
        "network": {"kind": "mlp", "depth": 2, "width": 16},
        "training": {"epochs": 4, "batch_size": 16, "evaluate_every": 2},
        "seed": 0,
    }
    return Experiment(**_merged(base, changes))


class Deadly(Loss):
    """A loss that kills the process that computes it."""

    def formula(self, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        import os

        os._exit(7)


class Broken(Loss):
    """A loss that raises an exception."""

    def formula(self, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("this loss is broken")


class Leaving(Loss):
    """A loss that tries to end Python."""

    def formula(self, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        raise SystemExit(5)


class Unreadable(Blobs):
    """A data set that raises an exception when it is read."""

    def decode(self, split: str) -> Raw:
        return {}["pixels"]
