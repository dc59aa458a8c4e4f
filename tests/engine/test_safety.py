"""Compiled kernels never get the address of memory that they cannot read, and refuse unsupported requests."""

import copy
import functools
import pickle

import pytest
import torch
from torch import nn

from byrote.engine import Descent
from byrote.engine.batchnorm import Norm
from byrote.networks import CNN8, MLP

from .stacks import stack_of
from .test_bfloat16 import batch, generators
from .test_momentum import descending

PRECISIONS = ["fp32", "bf16"]


def stack(precision="fp32", **options):
    return stack_of(MLP(3, 64, 3), (1, 16, 16), 2, generators(2), precision=precision, **options)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("side", [4, 20])
@pytest.mark.parametrize("training", [True, False])
def test_samples_of_another_size_are_refused(precision, side, training, way):
    network = stack(precision).train(training)
    with torch.no_grad(), pytest.raises(ValueError, match=f"256 numbers per sample, got {side**2}"):
        network(torch.ones(2, 8, 1, side, side))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_index_is_one_batch_for_each_run(precision, way):
    network, x = stack(precision), torch.randn(30, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    index = torch.tensor([[3, 29, 0, 7], [1, 1, 2, 3]])
    wanted = network.features(x, index)
    assert torch.equal(network.features(x, index.int()), wanted)
    for wrong in (index[:1], index[0], index.expand(2, 2, 4)):
        with pytest.raises(ValueError, match="2 runs"):
            network.features(x, wrong)
    with pytest.raises(ValueError, match="2 runs"):
        network.features(x.expand(2, 30, 1, 16, 16), index)


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("network", [MLP(3, 64, 3), CNN8()], ids=["mlp", "cnn8"])
def test_states_of_another_type_take_torchs_operators(kind, network, way):
    stack, plain = (
        stack_of(network, (3, 8, 8), 2, generators(2), compiled=compiled).to(kind) for compiled in (True, False)
    )
    x = torch.randn(2, 8, 3, 8, 8, generator=torch.Generator().manual_seed(1)).to(kind)
    torch.testing.assert_close(stack(x), plain(x), rtol=0.1 if kind == torch.bfloat16 else 1e-9, atol=0.05)
    with pytest.raises(RuntimeError, match="type"):
        stack.features(x.float())


def test_states_that_do_not_fit_the_columns_are_refused(way):
    for columns in (64, 6):
        norm = Norm(nn.BatchNorm1d(columns), True)
        for training in (True, False):
            with torch.no_grad(), pytest.raises(RuntimeError, match="32"):
                norm.train(training)(torch.zeros(4, 32))


@pytest.mark.parametrize("leaf", ["weight", "bias"])
@pytest.mark.parametrize("layer", ["4", "5"])
@pytest.mark.parametrize("training", [True, False])
def test_a_state_with_new_storage_is_read_where_it_is(leaf, layer, training, way):
    changed, fresh = stack().train(training), stack().train(training)
    x = torch.randn(2, 8, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        changed(x), fresh(x)
        for network in (changed, fresh):
            state = network.features.get_submodule(layer).get_parameter(leaf)
            if network is changed:
                state.data = state.data * 2 + 1
            else:
                state.mul_(2).add_(1)
        assert torch.equal(changed(x), fresh(x))


@pytest.mark.parametrize("network", [MLP(3, 64, 3), CNN8()], ids=["mlp", "cnn8"])
def test_second_derivatives_are_an_error_and_not_wrong(network, way):
    stack = stack_of(network, (3, 8, 8), 2, generators(1))
    x = torch.randn(1, 8, 3, 8, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
    (slope,) = torch.autograd.grad(stack(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        slope.square().sum().backward()


def test_the_default_type_of_tensors_does_not_matter(way):
    gradients = []
    for kind in (torch.float32, torch.float64):
        networks = [stack_of(net, (3, 8, 8), 2, generators(1)) for net in (MLP(2, 32, 3), CNN8())]
        x = torch.randn(1, 8, 3, 8, 8, generator=torch.Generator().manual_seed(1))
        torch.set_default_dtype(kind)
        try:
            for network in networks:
                network(x).square().sum().backward()
                gradients.append([p.grad for p in network.parameters()])
        finally:
            torch.set_default_dtype(torch.float32)
    for one, other in zip(gradients[:2], gradients[2:], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_graph_from_evaluation_is_refused_after_a_step(way):
    network = stack()
    descent, _ = descending(network)
    x, _ = batch(2, 8, 1, 16, 16)
    loss = network.eval()(x).square().sum()
    network.train()(x).square().sum().backward()
    descent.finish(dict(network.named_parameters()))
    with pytest.raises(RuntimeError, match=r"modified (by an )?inplace"):
        loss.backward()


def test_a_frozen_weight_stays(way):
    network = stack()
    network.features.get_submodule("4").weight.requires_grad_(False)
    assert not descending(network)[1]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("rows", [7, 8, 33])
def test_old_content_of_the_memory_of_the_passes_does_not_matter(precision, rows, way, monkeypatch):
    """If padding of the batch or of the last features kept old NaN, the result would change."""
    x, results, empty = torch.randn(2, rows, 45, generator=torch.Generator().manual_seed(1)), [], torch.empty

    def filled(byte, *shape, **options):
        memory = empty(*shape, **options)
        return memory.fill_(byte) if memory.dtype == torch.uint8 else memory

    for byte in (0, 255):
        with monkeypatch.context() as patch:
            patch.setattr(torch, "empty", functools.partial(filled, byte))
            network = stack_of(MLP(3, 64 if way == "tiles" else 37, 5), (45,), 2, generators(2), precision=precision)
            features = network.features(x)
            features.square().sum().backward()
            with torch.no_grad():
                results.append([features, network.eval().features(x), *(p.grad for p in network.features.parameters())])
    assert all(torch.equal(zeros, others) for zeros, others in zip(*results, strict=True))


def test_the_memory_of_the_passes_is_not_pickled(way):
    network = stack()
    before = len(pickle.dumps(network))
    network(batch(2, 8, 1, 16, 16)[0]).sum().backward()
    network.zero_grad()
    assert len(pickle.dumps(network)) <= before + 1000


def test_a_copy_is_not_stepped_by_the_descent_of_the_first(way):
    network = stack()
    descending(network)
    other = copy.deepcopy(network)
    before = {name: p.detach().clone() for name, p in other.named_parameters()}
    other(batch(2, 8, 1, 16, 16)[0]).square().sum().backward()
    assert all(torch.equal(p, before[name]) for name, p in other.named_parameters())
    assert other.features.get_submodule("1").weight.grad.abs().sum() > 0


def test_momenta_that_kernels_cannot_write_are_refused(way):
    network = stack()
    descent, _ = descending(network)
    momenta = network.features.descent.memory
    for wrong in (lambda m: m.half(), lambda m: m[:, :1], lambda m: m.repeat(1, 1, 2)[..., ::2]):
        spoiled = {n: wrong(m) for n, m in momenta.items()}
        network.features.descent = Descent(spoiled, 0.9, descent.decays, descent.rates)
        with pytest.raises(RuntimeError, match="start a new descent"):
            network(batch(2, 8, 1, 16, 16)[0])
