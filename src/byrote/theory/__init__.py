"""Solvers, with certificates, for the optimization problems of the two papers and extensions of these problems.

In this folder MD is *Memorization-Dilation* (Nguyen et al., ICLR 2023), LF is *Does the Loss Function Matter?* (Patel
and Sastry, PAKDD 2021), CE is cross entropy, and LS is label smoothing.
"""

from . import laws
from .assumption import Condition, Order, check_assumption, eta_bound, order_of_dilations
from .bounded import BoundedDilation, bounded_dilation
from .dilation import Dilation, dilation, solve_dilation
from .free import FreeSolution, StationaryPoint, solve_free
from .geometry import Geometry, class_geometry
from .layer_peeled import (
    LayerPeeled,
    NCDeviation,
    bias_curve,
    is_nc_configuration,
    layer_peeled,
    lower_bound,
    thresholds,
)
from .logit_losses import KINDS, LogitLoss
from .multiclass import LocalMinimum, MulticlassDilation, multiclass_dilation
from .penalties import Penalties, least_gamma, penalties_from_distances
from .predicted import VARIANTS, Variant, predicted
from .problem import Problem
from .symmetric import (
    Identity,
    Reversal,
    SampleLoss,
    Symmetry,
    check_symmetry,
    class_sums,
    find_reversal,
    from_torch,
    noisy_risk,
)
from .variants import (
    CleanMemorization,
    SquaredDilation,
    clean_memorization,
    scale_free_dilation,
    squared_dilation,
)

__all__ = [
    "KINDS",
    "VARIANTS",
    "BoundedDilation",
    "CleanMemorization",
    "Condition",
    "Dilation",
    "FreeSolution",
    "Geometry",
    "Identity",
    "LayerPeeled",
    "LocalMinimum",
    "LogitLoss",
    "MulticlassDilation",
    "NCDeviation",
    "Order",
    "Penalties",
    "Problem",
    "Reversal",
    "SampleLoss",
    "SquaredDilation",
    "StationaryPoint",
    "Symmetry",
    "Variant",
    "bias_curve",
    "bounded_dilation",
    "check_assumption",
    "check_symmetry",
    "class_geometry",
    "class_sums",
    "clean_memorization",
    "dilation",
    "eta_bound",
    "find_reversal",
    "from_torch",
    "is_nc_configuration",
    "laws",
    "layer_peeled",
    "least_gamma",
    "lower_bound",
    "multiclass_dilation",
    "noisy_risk",
    "order_of_dilations",
    "penalties_from_distances",
    "predicted",
    "scale_free_dilation",
    "solve_dilation",
    "solve_free",
    "squared_dilation",
    "thresholds",
]
