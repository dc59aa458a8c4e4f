"""The theory laboratory: the papers' optimisation problems, solved and certified."""

from . import laws
from .assumption import Condition, Order, check_assumption, order_of_dilations
from .dilation import Dilation, dilation
from .free import FreeSolution, StationaryPoint, solve_free
from .layer_peeled import (
    LayerPeeled,
    NCDeviation,
    bias_curve,
    is_nc_configuration,
    layer_peeled,
    lower_bound,
    thresholds,
)
from .oracle import FullSolution, full_problem

__all__ = [
    "Condition",
    "Dilation",
    "FreeSolution",
    "FullSolution",
    "LayerPeeled",
    "NCDeviation",
    "Order",
    "StationaryPoint",
    "bias_curve",
    "check_assumption",
    "dilation",
    "full_problem",
    "is_nc_configuration",
    "laws",
    "layer_peeled",
    "lower_bound",
    "order_of_dilations",
    "solve_free",
    "thresholds",
]
