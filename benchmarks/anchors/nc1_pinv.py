"""NC1 by the usual algorithm, to measure against: two passes, M x M matrices, a pseudo-inverse, float64.

A reference for the benchmark, not a part of the library; written plainly, as the formula is usually coded.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["nc1_pinv"]


def nc1_pinv(features: Tensor, labels: Tensor, num_classes: int) -> float:
    """NC1 = (1/N) tr(Sigma_W pinv(Sigma_B)) on equal class counts; features (n, M), labels (n,)."""
    h = features.to(torch.float64)
    means = torch.stack([h[labels == n].mean(0) for n in range(num_classes)])
    centered = means - means.mean(0)
    between = centered.T @ centered / num_classes
    deviations = h - means[labels]
    within = deviations.T @ deviations / len(h)
    # Sigma_B has rank N - 1 at most: the tolerance cuts the eigenvalue that centering makes null
    return float(torch.trace(within @ torch.linalg.pinv(between, rtol=1e-10, hermitian=False))) / num_classes
