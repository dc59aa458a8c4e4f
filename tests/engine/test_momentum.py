"""Descent inside the backward pass equals the step of a separate optimizer."""

import pytest
import torch
import torch.nn.functional as F

from byrote.engine import Descent, numerics
from byrote.engine.kernels.library import kernels
from byrote.networks import MLP, ResNet32

from .conftest import take
from .stacks import stack_of
from .test_bfloat16 import batch, generators

needs_kernels = pytest.mark.skipif(kernels() is None, reason="no C++ compiler on this machine")
# a width that tile units cannot compute
KINDS = [
    *(("fp32", width, way) for way in ("vectors", "narrow") for width in (64, 37)),
    *(("bf16", 64, way) for way in ("tiles", "vectors", "pairs")),
    *(("bf16", 37, way) for way in ("vectors", "pairs", "narrow", "rounded")),
]


@pytest.fixture(params=KINDS, ids=lambda kind: "-".join(map(str, kind)))
def kind(request, monkeypatch):
    precision, width, way = request.param
    take(way, monkeypatch)
    return precision, width


RATES, DECAYS, MOMENTUM = [0.05, 0.2], [0.01, 0.0], 0.9


def stacked(width=64, inputs=45, precision="bf16", **options):
    return stack_of(MLP(3, width, 5), (inputs,), 2, generators(2), precision=precision, **options)


def descending(network, rates=RATES, decays=DECAYS):
    descent = Descent({n: torch.zeros_like(p) for n, p in network.named_parameters()}, MOMENTUM, decays, list(rates))
    return descent, network.descend(descent)


def steps(network, descent, trials, rows=48, inputs=45):
    losses = []
    for trial in range(trials):
        x, y = batch(network.runs, rows, inputs, seed=trial)
        network.zero_grad()
        loss = F.cross_entropy(network(x).flatten(0, 1), y.flatten(), reduction="sum")
        loss.backward()
        descent.finish(dict(network.named_parameters()))
        losses.append(loss.item())
    return losses


@needs_kernels
@pytest.mark.parametrize("rows", [48, 64])
def test_it_is_the_step_of_torch_sgd_of_every_run(rows, kind):
    precision, width = kind
    inside, outside = stacked(width, precision=precision), stacked(width, precision=precision)
    descent, taken = descending(inside)
    assert taken
    views = [[p.detach()[s] for p in outside.parameters()] for s in range(2)]
    groups = [{"params": v, "lr": r, "weight_decay": d} for v, r, d in zip(views, RATES, DECAYS, strict=True)]
    optimizer = torch.optim.SGD(groups, momentum=MOMENTUM)
    for trial in range(2):  # the second step uses momenta; in later steps, rounding would flip ReLU gates
        x, y = batch(2, rows, 45, seed=trial)
        for network in (inside, outside):
            network.zero_grad()
            F.cross_entropy(network(x).flatten(0, 1), y.flatten(), reduction="sum").backward()
        assert inside.features.get_submodule("1").weight.grad is None
        assert inside.head.weight.grad is not None
        descent.finish(dict(inside.named_parameters()))
        for p, *parts in zip(outside.parameters(), *views, strict=True):
            for s, part in enumerate(parts):
                part.grad = p.grad[s]
        optimizer.step()
        tolerance = {"rtol": 1e-5, "atol": 1e-6} if trial == 0 else {"rtol": 0.05, "atol": 0.02}
        for i, (name, value) in enumerate(inside.state_dict().items()):
            torch.testing.assert_close(value, outside.state_dict()[name], **tolerance, msg=f"{trial} {i} {name}")
        for s in range(2):
            for name, view in zip(descent.memory, views[s], strict=True):
                wanted = optimizer.state[view]["momentum_buffer"]
                torch.testing.assert_close(descent.memory[name][s], wanted, **tolerance, msg=f"{trial} {name}")


@needs_kernels
def test_a_run_descends_alone_as_in_a_stack_bit_for_bit(kind):
    precision, width = kind
    together = stacked(width, precision=precision)
    steps(together, descending(together)[0], 3)
    for s in range(2):
        alone = stack_of(MLP(3, width, 5), (45,), 2, [generators(2)[s]], precision=precision)
        descent, _ = descending(alone, RATES[s : s + 1], DECAYS[s : s + 1])
        for trial in range(3):
            x, y = batch(2, 48, 45, seed=trial)
            alone.zero_grad()
            F.cross_entropy(alone(x[s : s + 1])[0], y[s], reduction="sum").backward()
            descent.finish(dict(alone.named_parameters()))
        for name, value in alone.state_dict().items():
            assert torch.equal(value[0], together.state_dict()[name][s]), name


@needs_kernels
def test_rates_may_change_and_a_graph_is_used_once(kind):
    precision, width = kind
    network = stacked(width, precision=precision)
    descent, _ = descending(network, decays=[0.0, 0.0])
    descent.rates[:] = [0.0, 0.0]
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    steps(network, descent, 1)
    assert all(torch.equal(p, before[name]) for name, p in network.named_parameters())
    descent.rates[1] = 0.1
    steps(network, descent, 1)
    weight = network.features.get_submodule("4").weight
    assert torch.equal(weight[0], before["features.4.weight"][0])
    assert not torch.equal(weight[1], before["features.4.weight"][1])
    loss = network(batch(2, 48, 45)[0]).sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="allows only one backward pass"):
        loss.backward()


def test_a_graph_made_before_a_step_is_refused(kind):
    precision, width = kind
    network = stacked(width, precision=precision)
    descending(network)
    first, second = (network(batch(2, 48, 45)[0]).sum() for _ in range(2))
    first.backward()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        second.backward()


def test_networks_without_kernels_of_their_own_leave_the_step_to_the_optimizer():
    for network in (
        stacked(compiled=False),
        stacked(precision="fp32", compiled=False),
        stack_of(ResNet32(), (1, 8, 8), 2, generators(1), precision="bf16"),
    ):
        _, taken = descending(network, RATES[: network.runs], DECAYS[: network.runs])
        assert not taken
        assert network.features.descent is None
        assert network.features.way() in ("plain", "layers")


def test_numerics_say_what_runs(way):
    by_kernels = {"compiled": True, "kernels": True, "tiles": False, "vectors": False, "pairs": False}
    units = {way: True} if way in ("tiles", "vectors", "pairs") else {}
    library = kernels()
    by_kernels["library"] = "" if library is None else library.digest
    assert numerics(stacked()) == {**by_kernels, **units}
    assert numerics(stacked(37)) == {**by_kernels, **({} if way == "tiles" else units)}
    assert numerics(stacked(precision="fp32")) == {**by_kernels, "vectors": way in ("vectors", "pairs")}
    assert numerics(stacked(compiled=False)) == dict.fromkeys(by_kernels, False) | {"library": ""}
