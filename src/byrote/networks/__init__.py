"""Networks with separable features and head, buildable alone or as a stack of runs."""

from byrote.networks.base import Classifier, Network
from byrote.networks.mlp import MLP
from byrote.networks.stack import StackedNetwork

__all__ = ["MLP", "Classifier", "Network", "StackedNetwork"]
