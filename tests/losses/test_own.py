"""A user's own loss, defined outside byrote by a single method."""

import math
import pickle

import pytest
import torch
from torch import Tensor

from byrote import losses
from byrote.losses import Loss

from .cases import batch


class Hinge(Loss):
    """The squared hinge loss: the square of max(0, 1 + max_{k != y} z_k - z_y)."""

    slack: float = 1.0

    def formula(self, z: Tensor, y: Tensor) -> Tensor:
        rivals = z.scatter(-1, y.unsqueeze(-1), -torch.inf).amax(-1)
        return (self.slack + rivals - z.gather(-1, y.unsqueeze(-1)).squeeze(-1)).clamp_min(0).square()


class Unsure(Loss):
    """A loss that declares no formula, no bounds and no symmetry."""


def test_one_method_is_enough() -> None:
    loss, (z, y) = Hinge(2.0), batch(4)
    assert loss.kind.endswith(":Hinge")
    assert Loss.from_spec(loss.spec()) == loss
    assert pickle.loads(pickle.dumps(loss)) == loss
    assert loss.label == "Hinge"
    assert math.isnan(loss.parameter)
    rows = loss(z.half(), y, "none")
    assert rows.dtype == torch.float16
    assert loss.bounds(4) == (-math.inf, math.inf)
    assert loss.symmetry(4) is None
    weighted = losses.Weighted(loss, (1.0, 2.0, 3.0, 4.0))
    torch.testing.assert_close(weighted(z, y, "sum"), (loss(z, y, "none") * (1 + y)).sum())
    each = loss.formula_of_all(z.view(4, 6, 4))
    torch.testing.assert_close(each[..., 2].reshape(-1), loss(z, torch.full_like(y, 2), "none"))


def test_what_is_not_known_is_not_assumed() -> None:
    with pytest.raises(
        ValueError, match="Normalized needs a loss that is never negative, got Hinge with values from -inf to inf"
    ):
        losses.Normalized(Hinge())
    with pytest.raises(NotImplementedError, match=r"Unsure needs a method formula\(z, y\)"):
        Unsure()(*batch(3))
