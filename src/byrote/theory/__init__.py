"""The theory laboratory: the papers' optimisation problems, solved and certified, and what lies past them."""

from . import laws
from .assumption import Condition, Order, check_assumption, eta_bound, order_of_dilations
from .claims import TheoryVerdict, claim_a1, claim_a9, claim_b8, theory_claims
from .dilation import Dilation, dilation
from .fit import Fit, Prediction, SlopeRatio, Variant, fit_runs
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
from .oracle import FullSolution, full_problem
from .penalties import Penalties, least_gamma, penalties_from_distances
from .resampled import Estimate
from .stored import Columns, fit_history, fittable, mean_eta, readable
from .symmetric import (
    Identity,
    Reversal,
    SampleLoss,
    Symmetry,
    class_sums,
    find_reversal,
    from_torch,
    noisy_risk,
    symmetry,
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
    "CleanMemorization",
    "Columns",
    "Condition",
    "Dilation",
    "Estimate",
    "Fit",
    "FreeSolution",
    "FullSolution",
    "Geometry",
    "Identity",
    "LayerPeeled",
    "LocalMinimum",
    "LogitLoss",
    "MulticlassDilation",
    "NCDeviation",
    "Order",
    "Penalties",
    "Prediction",
    "Reversal",
    "SampleLoss",
    "SlopeRatio",
    "SquaredDilation",
    "StationaryPoint",
    "Symmetry",
    "TheoryVerdict",
    "Variant",
    "bias_curve",
    "check_assumption",
    "claim_a1",
    "claim_a9",
    "claim_b8",
    "class_geometry",
    "class_sums",
    "clean_memorization",
    "dilation",
    "eta_bound",
    "find_reversal",
    "fit_history",
    "fit_runs",
    "fittable",
    "from_torch",
    "full_problem",
    "is_nc_configuration",
    "laws",
    "layer_peeled",
    "least_gamma",
    "lower_bound",
    "mean_eta",
    "multiclass_dilation",
    "noisy_risk",
    "order_of_dilations",
    "penalties_from_distances",
    "readable",
    "scale_free_dilation",
    "solve_free",
    "squared_dilation",
    "symmetry",
    "theory_claims",
    "thresholds",
]
