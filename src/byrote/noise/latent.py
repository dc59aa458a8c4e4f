"""Latent-class noise: every class is split into two classes that cannot be told apart."""

from typing import ClassVar

import torch
from pydantic import Field

from byrote.noise.base import TransitionNoise, at_least_two

__all__ = ["LatentClass"]


class LatentClass(TransitionNoise):
    """With probability q the label y becomes the new class y + N: 2N outputs are trained, N classes are tested.

    T[n, n] = 1 - q, T[n, N + n] = q, of shape (N, 2N). A moved label still stands for the right class, but nothing in
    the sample shows that the label was moved (appendix of the memorization-dilation paper; the details are from its
    released code). A moved sample counts as corrupted. For the test accuracy, an output k >= N counts as class k - N.

    Args:
        rate: q, in [0, 1), the expected share of moved samples.

    Example:
        >>> LatentClass(.5).num_outputs(2)
        4
        >>> LatentClass(.25).transition(2)
        tensor([[0.7500, 0.0000, 0.2500, 0.0000],
                [0.0000, 0.7500, 0.0000, 0.2500]], dtype=torch.float64)
    """

    outputs_per_class: ClassVar[int] = 2

    rate: float = Field(default=0.5, ge=0, lt=1)

    def transition(self, num_classes: int) -> torch.Tensor:
        same = torch.eye(at_least_two("LatentClass", num_classes), dtype=torch.float64)
        return torch.cat([(1 - self.rate) * same, self.rate * same], dim=1)
