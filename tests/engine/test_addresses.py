"""Compiled kernels read CPU memory by address, so they must never get an address on another device."""

import pytest
import torch
from torch import nn

from byrote.engine import Descent, bfloat16
from byrote.engine.batchnorm import Norm
from byrote.engine.kernels.library import kernels
from byrote.networks import MLP

from .stacks import stack_of


def stack():
    return stack_of(MLP(2, 8), (4,), 2, [torch.Generator()])


def test_a_chain_on_a_device_refuses_samples_of_the_cpu(device):
    network = stack().to(device)
    if device == "cpu":
        assert network(torch.ones(1, 5, 4)).shape == (1, 5, 2)
        return
    with pytest.raises(RuntimeError, match="device"):
        network(torch.ones(1, 5, 4))


@pytest.mark.parametrize("far", ["states", "residual"])
def test_normalization_on_a_device_refuses_tensors_of_the_cpu(far, device):
    norm, x, residual = Norm(nn.BatchNorm1d(3), True), torch.arange(15.0).view(5, 3), torch.ones(5, 3)
    norm, residual = (norm.to(device), residual) if far == "states" else (norm, residual.to(device))
    if device == "cpu":
        assert norm(x, residual).shape == (5, 3)
        return
    with pytest.raises(RuntimeError, match="device"):
        norm(x, residual)


def test_an_index_lies_where_the_samples_do(device):
    features = stack().features
    index = torch.tensor([[0, 1, 2]]).to(device)
    if device == "cpu":
        assert features(torch.ones(5, 4), index).shape == (1, 3, 2)
        return
    with pytest.raises(RuntimeError, match="must be on the device of its samples"):
        features(torch.ones(5, 4), index)


@pytest.mark.skipif(kernels() is None, reason="no C++ compiler on this machine")
def test_a_descent_begun_on_the_cpu_steps_nothing_that_has_moved(device):
    network = stack()
    descent = Descent({n: torch.zeros_like(p) for n, p in network.named_parameters()}, 0.9, [0.0], [0.1])
    assert network.descend(descent)
    network.to(device)(torch.ones(1, 5, 4, device=device)).sum().backward()
    if device == "cpu":
        descent.finish(dict(network.named_parameters()))
        return
    with pytest.raises(RuntimeError, match="moved to cuda"):
        descent.finish(dict(network.named_parameters()))


def test_a_processor_without_bfloat16_units_does_not_decide_for_a_device(device, monkeypatch):
    monkeypatch.setattr(bfloat16, "units", lambda: "")
    seen = []
    for kind in (nn.Linear, nn.Conv2d):
        layer = kind(3, 2, 1) if kind is nn.Conv2d else kind(3, 2)
        layer = bfloat16.reduce(nn.Sequential(layer), compiled=False, batched=False).bfloat16().to(device)
        original = torch.nn.functional.linear if kind is nn.Linear else torch.nn.functional.conv2d
        name = "linear" if kind is nn.Linear else "conv2d"

        def noted(x, *rest, original=original):
            seen.append(x.dtype)
            return original(x, *rest)

        monkeypatch.setattr(torch.nn.functional, name, noted)
        shape = (2, 3) if kind is nn.Linear else (2, 3, 4, 4)
        assert layer(torch.ones(shape, dtype=torch.bfloat16, device=device)).dtype == torch.bfloat16
    assert seen == [torch.float32 if device == "cpu" else torch.bfloat16] * 2
