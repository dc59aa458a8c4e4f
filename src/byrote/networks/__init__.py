"""Networks in plain `torch.nn` with separate features and head; `byrote.engine.stack` trains many of them as one."""

from byrote.component import discover
from byrote.networks.base import Classifier, Layered, Network
from byrote.networks.cnn import CNN8
from byrote.networks.inception import InceptionLite
from byrote.networks.mlp import MLP
from byrote.networks.own import Own
from byrote.networks.resnet import ResNet18, ResNet32

__all__ = ["CNN8", "MLP", "Classifier", "InceptionLite", "Layered", "Network", "Own", "ResNet18", "ResNet32"]

discover(__name__)
