"""Parts of convolutional networks for which `torch.nn` has no single module.

All parts are plain modules, because users export the networks that contain them.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["CenterCrop", "GlobalMean", "Unit", "images"]


class Unit(nn.Module):
    """Convolution, batch normalization, rectifier: max(0, BN(conv(x)))."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0, bias: bool = False
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=bias)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


class GlobalMean(nn.Module):
    """The mean over an image's height and width, summed in at least float32: (B, C, H, W) -> (B, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((-2, -1), dtype=torch.promote_types(x.dtype, torch.float32))


class CenterCrop(nn.Module):
    """The central size x size part of an image; if the margin is odd, its larger half is cut off at the bottom and on
    the right.

    A side of at most `size` pixels is left as it is.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        top, left = (max(side - self.size, 0) // 2 for side in x.shape[-2:])
        return x[..., top : top + self.size, left : left + self.size]


def images(kind: str, shape: tuple[int, ...], smallest: int) -> tuple[int, int, int]:
    """(channels, height, width) of an input that must be an image of at least `smallest` pixels per side."""
    if len(shape) != 3 or min(shape[1:]) < smallest:
        raise ValueError(f"{kind} needs images (channels, height, width) of at least {smallest} pixels, got {shape}")
    channels, height, width = shape
    return channels, height, width
