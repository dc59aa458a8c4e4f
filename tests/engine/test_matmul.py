"""bfloat16 products on a processor without bfloat16 units: inputs are rounded to bfloat16 and multiplied in float32."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from byrote.engine.dense.matmul import Products
from byrote.engine.kernels.arguments import NormArguments
from byrote.engine.kernels.library import address, address_of, kernels
from byrote.networks import MLP

from .conftest import take
from .stacks import stack_of

library = kernels()
pytestmark = pytest.mark.skipif(library is None, reason="no C++ compiler on this machine")


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [1, 15, 16, 33, 1000])
def test_rounding_is_that_of_a_cast(size):
    x = numbers(size) * 10.0 ** torch.arange(size).remainder(20).sub(10)
    x[-1] = float("nan") if size % 2 else float("inf")
    torch.testing.assert_close(
        Products("rounded", library).operand(x), x.bfloat16().float(), rtol=0, atol=0, equal_nan=True
    )
    assert Products("bf16", library).operand(x).dtype == torch.bfloat16
    assert Products("fp32", library).operand(x) is x


@pytest.mark.parametrize("columns", [3, 16, 70, 128])
def test_the_rounding_kernels_give_the_bits_of_the_bfloat16_ones(columns):
    """Kernels that round their float32 input give the same bits as kernels that get bfloat16 input."""
    a, dy, gamma, beta = (
        numbers(40, columns),
        numbers(40, columns, seed=1),
        numbers(columns, seed=2),
        numbers(columns, seed=3),
    )
    got = {}
    for kind, given in (("rounded", torch.Tensor.clone), ("bf16", torch.Tensor.bfloat16)):
        norm_kernels, x, g = getattr(library, kind), given(a), given(dy)
        out, da, again = torch.empty_like(x), torch.empty_like(x), torch.empty_like(x)
        mean, inverse, running_mean, running_var, dgamma, dbeta = torch.zeros(6, columns).unbind()
        arguments = NormArguments(x=address(x), out=address(out), rows=40, columns=columns, stride=columns)
        arguments.gamma, arguments.beta, arguments.eps, arguments.momentum = address(gamma), address(beta), 1e-5, 0.1
        arguments.running_mean, arguments.running_var = address(running_mean), address(running_var)
        arguments.mean, arguments.inverse = address(mean), address(inverse)
        norm_kernels.forward(arguments)
        arguments.gate, arguments.dy, arguments.dx = address(out), address(g), address(da)
        arguments.dgamma, arguments.dbeta = address(dgamma), address(dbeta)
        norm_kernels.backward(arguments)
        arguments.out, arguments.scale, arguments.shift = address(again), address(gamma), address(beta)
        norm_kernels.apply(arguments)
        got[kind] = [t.float() for t in (out, da, again, mean, inverse, running_mean, running_var, dgamma, dbeta)]
    for one, other in zip(got["rounded"], got["bf16"], strict=True):
        if columns % 16:  # a compiler may fuse the arithmetic of single columns differently
            torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-6)
        else:
            assert torch.equal(one, other)


def by_casts(module, x):
    """Compute the plain chain with a cast before and after each product, slowly and obviously."""
    layers = list(module.features)
    h = x.flatten(1).bfloat16().float()
    for i in range(1, len(layers), 3):
        last = i + 3 == len(layers)
        a = h @ _Cast.apply(layers[i].weight).t()
        h = F.relu(layers[i + 1](a if last else _Cast.apply(a)))
        h = h if last else _Cast.apply(h)
    return h


class _Cast(torch.autograd.Function):
    """Round to bfloat16 and back, in the forward and in the backward pass."""

    @staticmethod
    def forward(ctx, x):
        return x.bfloat16().float()

    @staticmethod
    def backward(ctx, dy):
        return dy.bfloat16().float()


def test_a_chain_is_that_of_casts_around_every_product(monkeypatch):
    take("rounded", monkeypatch)
    stack = stack_of(
        MLP(3, 32, 6), (1, 5, 5), 2, [torch.Generator().manual_seed(s) for s in range(3)], precision="bf16"
    )
    with torch.no_grad():
        for name, p in stack.named_parameters():
            if p.dim() == 2:  # gammas, betas and biases that differ by run
                p.add_(0.3 * numbers(*p.shape, seed=len(name)))
    x, target = numbers(3, 20, 1, 5, 5, seed=5), numbers(3, 20, 6, seed=6)
    features = stack.features(x)
    (features * target).sum().backward()
    for s in range(3):
        twin: nn.Module = stack.run_module(s)
        for layer in twin.features:
            if isinstance(layer, nn.BatchNorm1d):
                layer.reset_running_stats()
        expected = by_casts(twin, x[s])
        (expected * target[s]).sum().backward()
        torch.testing.assert_close(features[s], expected, rtol=2e-2, atol=2e-2)
        for name, p in twin.features.named_parameters():
            got = dict(stack.features.named_parameters())[name].grad[s]
            if p.dim() == 2:
                assert (got - p.grad).norm() <= 0.03 * p.grad.norm(), name
                on_grid = torch.equal(got, got.bfloat16().float())
                assert on_grid == (p.shape[0] != 6), "weight gradients are rounded except in the last block"


def test_where_a_run_starts():
    x = numbers(4, 3, 5)
    assert [address_of(x, s) for s in range(4)] == [x[s].data_ptr() for s in range(4)]
