"""Dense chains on vector units, compared with the plain stack in float64, at sizes below and above one panel."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from byrote.engine.kernels.library import kernels
from byrote.networks import MLP

from .conftest import take
from .stacks import stack_of

pytestmark = pytest.mark.skipif(kernels() is None or not kernels().vectors, reason="no vector units on this machine")

# inputs, width, outputs of the last block, samples: just below and above the kernel's block sizes, which are panels of
# 32, heights of 8, depths of 256 and groups of 128
SIZES = [(1, 1, 1, 2), (5, 33, 2, 7), (32, 32, 32, 8), (45, 37, 3, 131), (600, 40, 70, 33), (300, 290, 5, 16)]
sizes = st.tuples(*(st.integers(least, most) for least, most in ((1, 70), (1, 70), (1, 40), (2, 40))))


def numbers(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def features(inputs, width, outputs, **options):
    generators = [torch.Generator().manual_seed(7 + s) for s in range(2)]
    stack = stack_of(MLP(3, width, outputs), (inputs,), 2, generators, **options).features
    with torch.no_grad():
        for name, p in stack.named_parameters():
            if p.dim() == 2:  # gammas, betas and biases that differ by run and feature
                p.add_(0.4 * numbers(*p.shape, seed=len(name) + p.shape[1]))
    return stack


def passed(stack, x, target, index=None):
    """Return features, gradients and running statistics of one pass in training mode."""
    features = stack(x, index)
    (features * target.to(features.dtype)).sum().backward()
    return {
        "features": features.detach(),
        **{f"gradient of {name}": p.grad for name, p in stack.named_parameters()},
        **{name: value.double() for name, value in stack.named_buffers()},
    }


def compare(inputs, width, outputs, rows):
    """Compare with the plain stack on random numbers; the error of the plain float32 stack sets the tolerance."""
    x, target = numbers(2, rows, inputs, seed=rows), numbers(2, rows, outputs, seed=rows + 1)
    stack = features(inputs, width, outputs)
    assert stack.way() == "vectors"
    got = passed(stack, x, target)
    wanted = passed(features(inputs, width, outputs, compiled=False).double(), x.double(), target)
    plain = passed(features(inputs, width, outputs, compiled=False), x, target)
    for name, value in wanted.items():
        spread = (plain[name] - value).norm() + 1e-6 * value.norm() + 1e-6 * rows
        # a flipped gate changes a gradient; this is rare, and then the plain float32 stack flips as well
        assert (got[name] - value).norm() <= 10 * spread, name


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_float32_is_the_plain_stack_within_rounding(size):
    compare(*size)


@settings(max_examples=30, deadline=None)
@given(sizes)
def test_any_size_is_the_plain_stack_within_rounding(size):
    compare(*size)


@pytest.mark.parametrize("way", ["vectors", "pairs"])
@pytest.mark.parametrize("size", SIZES[1:], ids=str)
def test_rounded_operands_are_those_of_bfloat16(size, way, monkeypatch):
    """The first block, whose inputs have no earlier rounding errors, multiplies bfloat16-rounded operands exactly."""
    take(way, monkeypatch)
    inputs, width, _, rows = size
    generators = [torch.Generator().manual_seed(s) for s in range(2)]
    stack = stack_of(MLP(1, width, width), (inputs,), 2, generators, precision="bf16").features
    assert stack.way() == way
    x = numbers(2, rows, inputs, seed=3)
    out = stack(x)
    weight = stack.get_submodule("1").weight.detach()
    a = torch.einsum("sbi,soi->sbo", x.bfloat16().double(), weight.bfloat16().double())
    wanted = torch.stack([F.relu(F.batch_norm(one, None, None, training=True)) for one in a])
    torch.testing.assert_close(out.double(), wanted, rtol=1e-4, atol=2e-4)
    away = torch.einsum("sbi,soi->sbo", x.double(), weight.double())
    far = torch.stack([F.relu(F.batch_norm(one, None, None, training=True)) for one in away])
    assert (out - far).norm() > 10 * (out - wanted).norm(), "the difference made by rounding is visible"


def by_rounding(way, inputs, width, outputs, rows):
    with pytest.MonkeyPatch.context() as patch:
        take(way, patch)
        x, target = numbers(2, rows, inputs, seed=rows), numbers(2, rows, outputs, seed=rows + 1)
        return passed(features(inputs, width, outputs, precision="bf16"), x, target)


def compare_pairs(*size):
    """Compare with room for sums in a different order, which can change a bfloat16 number by 1 part in 256."""
    got, wanted = by_rounding("pairs", *size), by_rounding("vectors", *size)
    largest = max(value.norm() for name, value in wanted.items() if "gradient" in name)
    for name, value in wanted.items():
        least = largest if "gradient" in name else 1e-3
        assert (got[name] - value).norm() <= 0.02 * value.norm() + 1e-3 * least, name


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_pairs_are_summed_as_rounded_operands(size):
    compare_pairs(*size)


@settings(max_examples=30, deadline=None)
@given(sizes)
def test_pairs_of_any_size_are_summed_as_rounded_operands(size):
    compare_pairs(*size)


def test_a_batch_is_the_rows_that_its_index_names():
    samples, index = numbers(40, 9, seed=1), torch.tensor([[3, 39, 0, 7, 8], [1, 1, 2, 3, 4]])
    target = numbers(2, 5, 4, seed=2)
    one, other = features(9, 35, 4), features(9, 35, 4)
    by_index, by_rows = passed(one, samples, target, index), passed(other, samples[index], target)
    assert all(torch.equal(value, by_rows[name]) for name, value in by_index.items())
    for wrong in (-1, 40):
        with pytest.raises(IndexError, match=r"0\.\.39"):
            one(samples, torch.full((2, 5), wrong))


@pytest.mark.parametrize("way", ["vectors", "pairs"])
@pytest.mark.parametrize("rows", [1, 3, 256, 300])
def test_evaluation_is_the_plain_stack_sample_by_sample(rows, way, monkeypatch):
    take(way, monkeypatch)
    precision, bar = ("bf16", 0.03) if way == "pairs" else ("fp32", 1e-4)
    stack, plain = features(45, 37, 35, precision=precision), features(45, 37, 35, compiled=False)
    x = numbers(2, rows, 45, seed=9)
    with torch.no_grad():
        for one in (stack, plain):
            for name, value in one.named_buffers():
                if "running" in name:
                    value.add_(numbers(*value.shape, seed=len(name)).abs())
            one.eval()
        for batch in (x, x[0]):
            actual, wanted = stack(batch), plain(batch)
            assert (actual - wanted).norm() <= bar * wanted.norm()
        assert torch.equal(stack(x[:, -1:]), stack(x)[:, -1:]), "a sample's features do not depend on the others"
    assert actual.shape == (2, rows, 35)


def test_numbers_that_are_not_finite_pass_through():
    stack = features(6, 20, 3)
    x = numbers(2, 10, 6, seed=0)
    clean = stack(x)[1].detach()
    x[0, 3, 2] = float("nan")
    out = stack(x)
    assert not out[0].isfinite().any()
    assert torch.equal(out[1], clean)
