"""Residual networks (He, Zhang, Ren & Sun 2016): the ResNet-32 for CIFAR-10 and the ResNet-18 for MNIST of LF (Patel &
Sastry 2021)."""

from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from byrote.networks.base import Classifier, Layered
from byrote.networks.layers import GlobalMean, Unit, images

__all__ = ["ResNet18", "ResNet32"]


class Block(nn.Module):
    """max(0, BN(conv(max(0, BN(conv(x))))) + shortcut(x)), both convolutions 3x3."""

    def __init__(self, inputs: int, outputs: int, stride: int, shortcut: nn.Module) -> None:
        super().__init__()
        self.first = Unit(inputs, outputs, 3, stride, padding=1)
        self.conv = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(self.first(x))) + self.shortcut(x))


class Padded(nn.Module):
    """A shortcut of option A: every `stride`-th pixel, with half of the new zero channels before and half after."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        before = (outputs - inputs) // 2
        self.stride, self.pad = stride, (before, outputs - inputs - before)

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[..., :: self.stride, :: self.stride], (0, 0, 0, 0, *self.pad))


class Projected(nn.Sequential):
    """A shortcut of option B: a 1x1 convolution with normalization."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


def _stages(widths: tuple[int, ...], blocks: int, shortcut: type[Padded] | type[Projected]) -> list[nn.Module]:
    """One stage of `blocks` blocks for each width; every stage except the first halves the image."""
    layers: list[nn.Module] = []
    inputs = widths[0]
    for stage, width in enumerate(widths):
        for i in range(blocks):
            stride = 2 if stage and i == 0 else 1
            same = stride == 1 and inputs == width
            layers.append(Block(inputs, width, stride, nn.Identity() if same else shortcut(inputs, width, stride)))
            inputs = width
    return layers


class ResNet32(Layered, kind="resnet32"):
    """He et al. section 4.2: a 3x3 stem, three stages of five blocks of 16, 32 and 64 channels, mean pooling.

    Shortcuts of option A have no parameters; at 3 channels and 10 outputs the network has 464,154 parameters.

    >>> sum(p.numel() for p in ResNet32().build((3, 32, 32), 10).parameters())
    464154
    """

    depth: ClassVar[int] = 32
    width: ClassVar[int] = 16
    feature_width: ClassVar[int] = 64

    def assemble(self, input_shape: tuple[int, ...], num_outputs: int) -> Classifier:
        channels, _, _ = images(self.kind, input_shape, smallest=4)
        layers = [Unit(channels, 16, 3, padding=1), *_stages((16, 32, 64), 5, Padded), GlobalMean()]
        return Classifier(nn.Sequential(*layers), nn.Linear(64, num_outputs))


class ResNet18(Layered, kind="resnet18"):
    """He et al. table 1: four stages of two blocks of 64, 128, 256 and 512 channels, shortcuts of option B.

    Args:
        stem: "7x7" is the original stem, a 7x7 convolution and a 3x3 max-pool, both of stride 2. With it, the network
            has 11,175,370 parameters at 1 channel and 10 outputs; this is LF's network for MNIST. "3x3" keeps the size
            of the image, as is usual for 32x32 images.
    """

    stem: Literal["7x7", "3x3"] = "7x7"

    depth: ClassVar[int] = 18
    width: ClassVar[int] = 64
    feature_width: ClassVar[int] = 512

    def assemble(self, input_shape: tuple[int, ...], num_outputs: int) -> Classifier:
        channels, _, _ = images(self.kind, input_shape, smallest=8)
        layers: list[nn.Module] = [Unit(channels, 64, 3, padding=1)]
        if self.stem == "7x7":
            layers = [Unit(channels, 64, 7, stride=2, padding=3), nn.MaxPool2d(3, stride=2, padding=1)]
        layers += [*_stages((64, 128, 256, 512), 2, Projected), GlobalMean()]
        return Classifier(nn.Sequential(*layers), nn.Linear(512, num_outputs))
