"""Networks with separable features and head, buildable alone or as a stack of runs."""

from byrote.networks.base import Classifier, Layered, Network
from byrote.networks.cnn import CNN8
from byrote.networks.descent import Descent
from byrote.networks.inception import InceptionLite
from byrote.networks.mlp import MLP
from byrote.networks.numerics import numerics
from byrote.networks.own import Own
from byrote.networks.resnet import ResNet18, ResNet32
from byrote.networks.stack import StackedNetwork

__all__ = [
    "CNN8",
    "MLP",
    "Classifier",
    "Descent",
    "InceptionLite",
    "Layered",
    "Network",
    "Own",
    "ResNet18",
    "ResNet32",
    "StackedNetwork",
    "numerics",
]
