"""The eight-layer convolutional network of the noisy-label papers."""

from typing import ClassVar

from torch import nn

from byrote.networks.base import Classifier, Layered
from byrote.networks.layers import Unit, images

__all__ = ["CNN8"]


class CNN8(Layered, kind="cnn8"):
    """Six 3x3 convolutions and two linear layers: the CIFAR-10 network of Ma et al. (2020) and Wang et al. (2019).

    Three pairs of convolutions with 64, 128 and 196 channels, a 2x2 max-pool after each pair, a linear layer with 256
    outputs, normalization and rectifier (M = 256), and the classifier. The convolutions have biases. Those papers use
    Glorot initialization in linear layers; here, as in all networks of byrote, torch's default initialization is used.

    >>> net = CNN8().build((3, 32, 32), 10)
    >>> net.features[-3]
    Linear(in_features=3136, out_features=256, bias=True)
    """

    depth: ClassVar[int] = 8
    width: ClassVar[int] = 64
    feature_width: ClassVar[int] = 256

    def assemble(self, input_shape: tuple[int, ...], num_outputs: int) -> Classifier:
        inputs, height, width = images(self.kind, input_shape, smallest=8)
        layers: list[nn.Module] = []
        for channels in (64, 128, 196):
            layers += [
                Unit(inputs, channels, 3, padding=1, bias=True),
                Unit(channels, channels, 3, padding=1, bias=True),
            ]
            layers.append(nn.MaxPool2d(2))
            inputs, height, width = channels, height // 2, width // 2
        layers += [nn.Flatten(), nn.Linear(inputs * height * width, 256), nn.BatchNorm1d(256), nn.ReLU()]
        return Classifier(nn.Sequential(*layers), nn.Linear(256, num_outputs))
