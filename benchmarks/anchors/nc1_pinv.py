"""NC1 by the usual algorithm, as a reference for speed: two passes, M x M matrices, a pseudo-inverse, float64.

This function is not part of the library. It is written plainly, as the formula is usually coded.
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
    # Sigma_B has at most rank N - 1: the tolerance removes the eigenvalue that centering makes zero
    return float(torch.trace(within @ torch.linalg.pinv(between, rtol=1e-10, hermitian=False))) / num_classes
