"""Networks with separable features and head, buildable alone or as a stack of runs."""

from byrote.networks.base import Classifier, Network
from byrote.networks.cnn import CNN8
from byrote.networks.inception import InceptionLite
from byrote.networks.mlp import MLP
from byrote.networks.resnet import ResNet18, ResNet32
from byrote.networks.stack import StackedNetwork

__all__ = ["CNN8", "MLP", "Classifier", "InceptionLite", "Network", "ResNet18", "ResNet32", "StackedNetwork"]
