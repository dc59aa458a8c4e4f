import numpy as np
import pytest

from byrote import theory


def test_lambdas_from_distances():
    ce, ls = (theory.dilation(alpha, 5e-4, 3e-3).distance for alpha in (0.0, 0.2))
    penalties = theory.penalties_from_distances(ce, ls, 0.2)
    assert (penalties.lambda_w, penalties.lambda_h) == pytest.approx((5e-4, 3e-3), rel=1e-9)
    assert theory.penalties_from_distances(1.0, 1.0, 0.1) is None
    assert theory.penalties_from_distances(1.0, 1.001, 0.1) is None
    least = theory.least_gamma(0.1)
    assert theory.penalties_from_distances(least * 1.0001, 1.0, 0.1) is not None
    assert theory.penalties_from_distances(least * 0.9999, 1.0, 0.1) is None
    five = [theory.layer_peeled(5, alpha, 1e-4, 6e-4) for alpha in (0.0, 0.1)]
    many = theory.penalties_from_distances(*(np.sqrt(2) * one.feature_norm for one in five), 0.1, 5)
    # if losses are summed over classes, penalties are N times as large
    assert (many.lambda_w, many.lambda_h) == pytest.approx((5e-4, 3e-3), rel=1e-8)


def test_many_pairs_of_distances_at_once():
    """For arrays of distances, each pair of distances has its own penalties, or NaN if no penalties exist."""
    pairs = [(3.0, 2.0), (3.0, 2.5), (1.0, 1.0)]
    first, second = np.array(pairs).T
    penalties = theory.penalties.penalties(first, second, 0.1, 2)
    for (ce, ls), lambda_w, lambda_h in zip(pairs, *penalties, strict=True):
        alone = theory.penalties_from_distances(ce, ls, 0.1)
        if alone is None:
            assert np.isnan(lambda_w)
            assert np.isnan(lambda_h)
        else:
            assert (lambda_w, lambda_h) == (alone.lambda_w, alone.lambda_h)
