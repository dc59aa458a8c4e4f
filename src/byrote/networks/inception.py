"""Inception-Lite, the small Inception network of Zhang, Bengio, Hardt, Recht & Vinyals (2017), which LF (Patel & Sastry
2021) trains on CIFAR-10."""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from byrote.networks.base import Classifier, Layered
from byrote.networks.layers import CenterCrop, GlobalMean, Unit, images

__all__ = ["InceptionLite"]


class Mixed(nn.Module):
    """A 1x1 and a 3x3 unit in parallel: `narrow` + `wide` channels."""

    def __init__(self, inputs: int, narrow: int, wide: int) -> None:
        super().__init__()
        self.narrow = Unit(inputs, narrow, 1, bias=True)
        self.wide = Unit(inputs, wide, 3, padding=1, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.narrow(x), self.wide(x)], -3)


class Halved(nn.Module):
    """A 3x3 unit and a 3x3 max-pool, both of stride 2, in parallel: `outputs` + `inputs` channels."""

    def __init__(self, inputs: int, outputs: int, padding: int) -> None:
        super().__init__()
        self.unit = Unit(inputs, outputs, 3, stride=2, padding=padding, bias=True)
        self.pool = nn.MaxPool2d(3, stride=2, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.unit(x), self.pool(x)], -3)


class InceptionLite(Layered, kind="inception_lite"):
    """A 3x3 stem of 96 channels, two mixed blocks, a halving, four mixed blocks, a halving, and two mixed blocks.

    Args:
        variant: "paper" takes 28x28 pixels, pads by 1 everywhere (28-14-7) and ends in the global mean of 336 channels:
            1,652,826 parameters at 3 channels and 10 outputs. A larger image is cropped to its center here, inside
            the network, as the papers do with CIFAR-10's 32x32, so that every network gets the same data. A smaller
            image, of at least 8 pixels per side, is not cropped, for experiments at reduced resolution. "released" is
            LF's published code: 32x32 pixels, an unpadded stem and halvings (30-14-6), an average pool of 7 with
            padding 1 and stride 1, which gives 4 x 336 = 1344 features and 1,662,906 parameters.
    """

    variant: Literal["paper", "released"] = "paper"

    depth: ClassVar[None] = None
    width: ClassVar[int] = 96

    @property
    def feature_width(self) -> int:
        """M: 336, or 1344 in the released variant."""
        return 336 if self.variant == "paper" else 1344

    def assemble(self, input_shape: tuple[int, ...], num_outputs: int) -> Classifier:
        smallest = 8 if self.variant == "paper" else 32
        channels, height, width = images(self.kind, input_shape, smallest)
        if self.variant == "released" and (height, width) != (32, 32):
            raise ValueError(
                f"the variant 'released' of {self.kind} needs images of 32 x 32 pixels, got {height} x {width}"
            )
        padding = 1 if self.variant == "paper" else 0
        end = [GlobalMean()] if self.variant == "paper" else [nn.AvgPool2d(7, stride=1, padding=1), nn.Flatten()]
        layers = [
            *([CenterCrop(28)] if self.variant == "paper" else []),
            Unit(channels, 96, 3, padding=padding, bias=True),
            *(Mixed(96, 32, 32), Mixed(64, 32, 48), Halved(80, 80, padding)),
            *(
                Mixed(160, 112, 48),
                Mixed(160, 96, 64),
                Mixed(160, 80, 80),
                Mixed(160, 48, 96),
                Halved(144, 96, padding),
            ),
            *(Mixed(240, 176, 160), Mixed(336, 176, 160)),
            *end,
        ]
        return Classifier(nn.Sequential(*layers), nn.Linear(self.feature_width, num_outputs))
