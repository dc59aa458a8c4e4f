"""The MLP of the MD paper: parameters counted by hand, outputs computed by hand."""

import math

import pytest
import torch

from byrote.component import Spec
from byrote.networks import MLP, Network


def test_the_parameters_of_the_paper_counted_by_hand():
    twin = MLP(depth=9, width=2048, feature_width=2).build((3, 32, 32), 2)
    first = 3072 * 2048 + 2048
    middle = 7 * (2048 * 2048 + 2048)
    norms = 8 * 2 * 2048
    penultimate = 2048 * 2 + 2 + 2 * 2
    head = 2 * 2 + 2
    assert first + middle + norms + penultimate + head == 35_704_844
    assert sum(p.numel() for p in twin.parameters()) == 35_704_844


@pytest.mark.parametrize(("feature_width", "expected"), [(None, 5), (3, 3)])
def test_the_feature_width_defaults_to_the_number_of_outputs(feature_width, expected):
    net = MLP(depth=2, width=7, feature_width=feature_width)
    twin = net.build((1, 2, 2), 5)
    assert twin.features(torch.zeros(4, 1, 2, 2)).shape == (4, expected)
    assert (net.depth, net.width, net.feature_width) == (2, 7, feature_width)


def by_hand(twin, x):
    """Compute every block in float64: product, batch norm with the biased variance, ReLU."""
    state = {name: value.double() for name, value in twin.state_dict().items()}
    h, layer = x.double().flatten(1), 1
    while f"features.{layer}.weight" in state:
        a = h @ state[f"features.{layer}.weight"].T + state[f"features.{layer}.bias"]
        mean, var = a.mean(0), a.var(0, unbiased=False)
        scale, shift = state[f"features.{layer + 1}.weight"], state[f"features.{layer + 1}.bias"]
        h = ((a - mean) / (var + 1e-5).sqrt() * scale + shift).clamp(min=0)
        layer += 3
    return h, h @ state["head.weight"].T + state["head.bias"]


def test_the_forward_pass_is_the_formula():
    twin = MLP(depth=4, width=12, feature_width=3).build((2, 3, 3), 4, torch.Generator().manual_seed(3))
    x = torch.randn(16, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    features, logits = by_hand(twin, x)
    torch.testing.assert_close(twin.features(x).double(), features, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(twin(x).double(), logits, rtol=1e-4, atol=1e-4)
    assert (twin.features(x) >= 0).all()
    assert (twin.features(x) > 0).any()


def test_the_initial_law_is_torchs_default():
    twin = MLP(depth=2, width=400, feature_width=300).build((100,), 2, torch.Generator().manual_seed(0))
    for layer in (twin.features[1], twin.features[4]):
        bound = 1 / math.sqrt(layer.in_features)
        for values in (layer.weight.detach(), layer.bias.detach()):
            assert values.abs().max() <= bound
            assert values.abs().max() > 0.95 * bound
            assert values.std() == pytest.approx(bound / math.sqrt(3), rel=0.1)
    assert torch.equal(twin.features[2].weight, torch.ones(400))
    assert torch.equal(twin.features[2].running_var, torch.ones(400))
    assert torch.equal(twin.features[2].running_mean, torch.zeros(400))


@pytest.mark.parametrize("fields", [{"depth": 0}, {"width": 0}, {"feature_width": 0}])
def test_fields_out_of_range_are_named(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        MLP(**fields)


def test_a_network_is_a_field_of_an_experiment():
    class Holder(Spec):
        network: Network

    assert Holder(network={"kind": "mlp", "width": 8}).network == MLP(width=8)
    assert Holder(network=MLP(width=8)).spec()["network"]["width"] == 8
