"""Convolutional networks in a stack, in either precision, compared run by run with plain modules and float64."""

import pytest
import torch
from devices import same
from networks.test_convolutional import SMALL, names

from .stacks import stack_of
from .test_ensemble import step


def generators(runs):
    return [torch.Generator().manual_seed(100 + s) for s in range(runs)]


@pytest.mark.parametrize(
    ("network", "shape", "batch"), [SMALL[0], SMALL[3], SMALL[5]], ids=["resnet", "inception", "cnn8"]
)
@pytest.mark.parametrize(("precision", "compiled"), [("fp32", True), ("fp32", False), ("bf16", True)])
@pytest.mark.every(3)
def test_a_slice_is_the_run_alone_bit_for_bit(network, shape, batch, precision, compiled, device):
    stacked = stack_of(network, shape, 3, generators(2), precision=precision, compiled=compiled).to(device)
    alone = stack_of(network, shape, 3, generators(2)[1:], precision=precision, compiled=compiled).to(device)
    twin = network.build(shape, 3, generators(2)[1]).to(device)
    # in bfloat16, some ReLU gates flip
    draw, bar = torch.Generator().manual_seed(0), 1e-3 if precision == "fp32" else 0.1
    for _ in range(2 if device == "cpu" else 1):
        x = torch.randn(2, batch, *shape, generator=draw).to(device)
        y = torch.randint(0, 3, (2, batch), generator=draw).to(device)
        logits, grads = step(stacked, x, y)
        one, slopes = step(alone, x[1:], y[1:])
        plain, plain_slopes = step(twin, x[1], y[1])
        same(logits[1], one[0], device, bar)
        for g, h in zip(grads, slopes, strict=True):
            same(g[1], h[0], device, bar)
        if not compiled:
            same(logits[1], plain, device, bar)
            for g, h in zip(grads, plain_slopes, strict=True):
                same(g[1], h, device, bar)
    states, others, plain = stacked.state_dict(), alone.state_dict(), twin.state_dict()
    for name, value in states.items():
        same(value[1], others[name][0], device, bar)
        if not compiled:
            same(value[1], plain[name], device, bar)
    assert list(states) == list(plain)


def all_of(module, x, y):
    """Return logits, gradients and running statistics of one step as one flat float64 vector."""
    logits, grads = step(module, x, y)
    running = [value for name, value in module.state_dict().items() if "running" in name]
    return [value.double().reshape(-1) for value in (logits, *grads, *running)]


@pytest.mark.parametrize(("network", "shape", "batch"), SMALL, ids=names)
@pytest.mark.every(3)
def test_float32_with_kernels_is_the_plain_twin_within_rounding(network, shape, batch, device):
    """The error relative to float64 is about that of a plain float32 module; on a GPU it may be larger."""
    draw = torch.Generator().manual_seed(3)
    x, y = torch.randn(batch, *shape, generator=draw), torch.randint(0, 3, (batch,), generator=draw)
    twin = network.build(shape, 3, generators(1)[0])
    plain, exact = all_of(twin, x, y), all_of(network.build(shape, 3, generators(1)[0]).double(), x.double(), y)
    stacked = all_of(stack_of(network, shape, 3, generators(1)).to(device), x[None].to(device), y[None].to(device))
    times, least = (10, 1e-5) if device == "cpu" else (100, 1e-4)
    for got, near, wanted in zip(stacked, plain, exact, strict=True):
        assert (got.cpu() - wanted).norm() <= times * (near - wanted).norm() + least * (1 + wanted.norm())


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(("network", "shape", "batch"), [SMALL[0], SMALL[2], SMALL[3], SMALL[5]])
@pytest.mark.every(3)
def test_bfloat16_stays_near_float32(network, shape, batch, compiled, device):
    low = stack_of(network, shape, 3, generators(1), precision="bf16", compiled=compiled).to(device)
    full = stack_of(network, shape, 3, generators(1)).to(device)
    x = torch.randn(16 if shape[1] < 20 else 4, *shape, generator=torch.Generator().manual_seed(2)).to(device)
    h, wanted = low.features(x), full.features(x)
    assert h.dtype == torch.float32
    error = (h - wanted).norm() / wanted.norm()
    assert 1e-5 < error < 0.06, error
    for name, value in full.state_dict().items():
        if "running" in name:
            torch.testing.assert_close(low.state_dict()[name], value, rtol=0.05, atol=0.02, msg=name)
    low.eval(), full.eval()
    with torch.no_grad():
        assert (low(x) - full(x)).norm() / full(x).norm() < 0.06
