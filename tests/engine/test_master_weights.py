"""During descent, products read bfloat16 copies of the weights, which have bfloat16 gradients and are never stale.

The expected values come from the same stack outside of descent, which rounds its weights in every pass.
"""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from toys import tiny

from byrote.engine import Descent
from byrote.engine.dense.batched import _product
from byrote.networks import MLP
from byrote.recipe import SGD, Adam, Training
from byrote.training import Checkpoint, cohort, train
from byrote.training.steps import optimizer_of

from .stacks import stack_of
from .test_bfloat16 import batch, generators

PRECISIONS = ["fp32", "bf16"]
RATES, DECAYS, MOMENTUM = [0.05, 0.2, 0.01], [0.01, 0.0, 0.1], 0.9


def stacked(precision="bf16", runs=3, depth=3, **options):
    return stack_of(MLP(depth, 24, 5), (20,), 2, generators(runs), precision=precision, **{"batched": True, **options})


def descending(network, rates=RATES, decays=DECAYS):
    descent = Descent({n: torch.zeros_like(p) for n, p in network.named_parameters()}, MOMENTUM, decays, list(rates))
    assert network.descend(descent)
    return descent


def backward(network, seed=0, size=32):
    x, y = (value[: network.runs].to(next(network.parameters()).device) for value in batch(3, size, 20, seed=seed))
    logits = network(x)
    F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="sum").backward()
    return logits.detach()


def step(network, descent, seed=0):
    backward(network, seed)
    descent.finish(dict(network.named_parameters()))


def narrow(network):
    """Return the bfloat16 copies, in the order of the layers."""
    return [held.narrow for held in network.features.computation.batched_step._copies.values()]


def without_descent(network):
    """Build a stack with the same states that rounds its weights in every pass."""
    plain = stacked(network.features.computation.precision, network.runs)
    plain.load_state_dict(network.state_dict())
    return plain.train(network.training)


def trainings():
    return [
        Training(optimizer=SGD(lr=r, weight_decay=d, momentum=MOMENTUM)) for r, d in zip(RATES, DECAYS, strict=True)
    ]


def loaded(network):
    network.load_state_dict(stacked(runs=4).state_dict() | {n: v * 1.5 for n, v in network.state_dict().items()})
    return network


def changed_in_place(network):
    with torch.no_grad():
        network.features.get_submodule("4").weight.mul_(1.5)
    return network


def changed_in_one_run(network):
    with torch.no_grad():
        network.state_dict()["features.1.weight"][1].copy_(torch.ones(24, 20))
    return network


def stepped_by_torch(network):
    weight = network.features.get_submodule("1").weight
    weight.grad = torch.ones_like(weight)
    torch.optim.SGD([weight], lr=0.5).step()
    weight.grad = None
    return network


def given_other_memory(network):
    weight = network.features.get_submodule("1").weight
    weight.data = weight.detach() * 1.5
    return network


def given_the_memory_of_before(network):
    """Convert to a different dtype and back, after which the new memory may have the old address."""
    for factor in (1.5, 0.7, 1.3):
        network.half().float()
        given_other_memory(network)
        with torch.no_grad():
            network.features.get_submodule("1").weight.data.mul_(factor)
    return network


@pytest.mark.parametrize(
    "change",
    [
        loaded,
        changed_in_place,
        changed_in_one_run,
        stepped_by_torch,
        given_other_memory,
        given_the_memory_of_before,
        copy.deepcopy,
        lambda network: pickle.loads(pickle.dumps(network)),
    ],
    ids=lambda change: change.__name__,
)
def test_a_stale_copy_is_never_read(change):
    network = stacked()
    step(network, descending(network))
    network = change(network)
    x = batch(3, 9, 20)[0]
    for training in (True, False):
        network.train(training)
        assert torch.equal(network(x), without_descent(network)(x))
    step(network, descending(network), 1)
    assert torch.equal(network(x), without_descent(network)(x))


def test_copies_lie_where_the_weights_lie(device):
    network = stacked()
    descending(network)
    x = batch(3, 9, 20)[0]
    network(x)
    network.to(device)
    descent = descending(network)
    network(x.to(device))
    assert {held.device.type for held in narrow(network)} == {device}
    step(network, descent)
    torch.testing.assert_close(network(x.to(device)), without_descent(network).to(device)(x.to(device)))


def test_a_step_keeps_the_copies_and_writes_them():
    network = stacked()
    descent = descending(network)
    backward(network)
    before = narrow(network)
    values, versions = [held.detach().clone() for held in before], [held._version for held in before]
    descent.finish(dict(network.named_parameters()))
    weights = [network.features.get_submodule(i).weight for i in ("1", "4")]
    for held, value, weight in zip(before, values, weights, strict=True):
        assert torch.equal(held, weight.bfloat16())
        assert not torch.equal(held, value)
    network(batch(3, 9, 20)[0])
    assert all(held is again for held, again in zip(before, narrow(network), strict=True))
    assert [held._version for held in before] == [version + 1 for version in versions]


class Operators(TorchDispatchMode):
    """Records the operators that run, and the dtype of every result that has the shape of a weight."""

    def __init__(self, shape=()):
        super().__init__()
        self.shape, self.names, self.products = shape, [], []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        out, name = operator(*args, **(kwargs or {})), operator.overloadpacket.__name__
        self.names.append(name)
        if isinstance(out, torch.Tensor) and out.shape == self.shape and name not in ("detach", "transpose"):
            self.products.append((name, out.dtype))
        return out


def test_a_pass_makes_nothing_of_the_size_of_a_weight_but_one_narrow_gradient():
    network = stacked(depth=4)  # two of the weights are square
    step(network, descending(network))
    with Operators((3, 24, 24)) as seen:
        backward(network, 1)
    assert seen.products == [("bmm", torch.bfloat16)] * 2
    network.eval()
    with Operators((3, 24, 24)) as seen, torch.no_grad():
        network(batch(3, 9, 20)[0])
    assert not seen.products


def test_a_graph_of_copies_alone_is_refused_too():
    """A backward graph that contains only bfloat16 copies, without gammas or float32 weights, is refused too."""
    network = stacked()
    descent = descending(network)
    first, second = network.features.computation.weights(network.features)
    loss = _product(_product(torch.ones(3, 4, 20), first, True), second, True).sum()
    step(network, descent)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_copies_are_no_states():
    network, plain = stacked(), stacked()
    before = len(pickle.dumps(network))
    step(network, descending(network))
    assert network.state_dict().keys() == plain.state_dict().keys()
    assert [n for n, _ in network.named_parameters()] == [n for n, _ in plain.named_parameters()]
    assert [n for n, _ in network.named_buffers()] == [n for n, _ in plain.named_buffers()]
    assert len(pickle.dumps(network)) <= before + 1000
    assert copy.deepcopy(network).features.descent is None


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_frozen_weight_stays(precision):
    network = stacked(precision)
    weight = network.features.get_submodule("4").weight.requires_grad_(False)
    descent = Descent({n: torch.zeros_like(p) for n, p in network.named_parameters()}, MOMENTUM, DECAYS, RATES)
    assert not network.descend(descent)
    assert network.features.descent is None
    assert descent.batched_step is None
    weight.requires_grad_(True)
    step(network, descending(network))
    weight.requires_grad_(False)
    before = weight.detach().clone()
    step(network, descending_again(network), 1)
    assert torch.equal(weight, before)


def descending_again(network):
    """Start a descent of all runs, as if the frozen weights had been frozen only after `descend`."""
    memory = {n: torch.zeros_like(p) for n, p in network.named_parameters()}
    return Descent(memory, MOMENTUM, DECAYS, list(RATES), network.features.computation.batched_step)


def test_passes_in_inference_mode_leave_copies_that_can_be_trained():
    network, plain = stacked(), stacked()
    descents, x = (descending(network), descending(plain)), batch(3, 9, 20)[0]
    network.eval()
    with torch.inference_mode():
        network(x)
    step(network.train(), descents[0])
    step(plain, descents[1])
    for name, value in plain.state_dict().items():
        assert torch.equal(network.state_dict()[name], value), name


def test_what_else_reads_a_weight_adds_to_its_gradient():
    network = stacked()
    descent, plain = descending(network), without_descent(network)
    for each in (network, plain):
        each.features.get_submodule("4").weight.square().sum().backward()
        backward(each)
    wanted = plain.features.get_submodule("4").weight.grad
    descent.finish(dict(network.named_parameters()))
    decayed = torch.tensor(DECAYS)[:, None, None] * plain.features.get_submodule("4").weight.detach()
    torch.testing.assert_close(descent.memory["features.4.weight"], wanted + decayed)


def test_gradients_that_are_not_stepped_are_dropped_from_the_copies():
    network = stacked()
    optimizer = optimizer_of(network, trainings())
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    backward(network)
    assert all(held.grad is not None for held in narrow(network))
    optimizer.zero_grad()
    optimizer.step()
    assert all(torch.equal(p, before[name]) for name, p in network.named_parameters())
    backward(network)
    optimizer_of(network, trainings())
    assert all(held.grad is None for held in narrow(network))


def test_another_optimizer_ends_a_descent_and_its_copies_are_not_trusted_later():
    """Fused torch optimizers increase no version, so only the start of a new descent shows that copies are stale."""
    network, x = stacked(), batch(3, 9, 20)[0]
    for kind in (SGD(lr=0.05), Adam(lr=0.05), SGD(lr=0.05)):
        optimizer = optimizer_of(network, [Training(optimizer=kind)] * 3)
        assert (network.features.descent is not None) == isinstance(kind, SGD)
        assert torch.equal(network(x), without_descent(network)(x))
        weight = network.features.get_submodule("1").weight
        before = weight.detach().clone()
        backward(network)
        optimizer.step()
        assert not torch.equal(weight, before)


def test_a_new_descent_narrows_again_what_a_fused_optimizer_changed():
    """Here no call of `end_descent` has dropped the copies."""
    network, x = stacked(), batch(3, 9, 20)[0]
    step(network, descending(network))
    weight = network.features.get_submodule("1").weight
    weight.grad = torch.ones_like(weight)
    torch.optim.SGD([weight], lr=0.5, fused=True).step()
    weight.grad = None
    descending(network)
    assert torch.equal(network(x), without_descent(network)(x))


def test_what_is_remembered_of_a_run_can_be_restored():
    whole, again = stacked(), stacked()
    first, second = optimizer_of(whole, trainings()), optimizer_of(again, trainings())
    for network, optimizer in ((whole, first), (again, second)):
        backward(network)
        optimizer.step()
    backward(whole, 1)
    first.step()
    with torch.no_grad():
        for s in range(3):
            for name, value in again.state_dict().items():
                value[s].copy_(whole.state_dict()[name][s])
            second.restore(s, [{n: v.clone() for n, v in held.items()} for held in first.state_of(s)])
    assert first.state_of(1)[0]["momentum_buffer"].abs().sum() > 0
    for network, optimizer in ((whole, first), (again, second)):
        backward(network, 2)
        optimizer.step()
    for name, value in whole.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_stopped_cohort_continues_to_the_same_numbers(precision, monkeypatch, tmp_path):
    monkeypatch.setattr(cohort, "prefers_batched", lambda module, device: True)
    experiments = [tiny(seed=seed, **{"training.precision": precision}) for seed in (0, 1)]

    def stop(progress):
        if progress.epoch == 2:
            raise KeyboardInterrupt

    whole, path = train(experiments, keep_weights=True), tmp_path / "c.checkpoint"
    with pytest.raises(KeyboardInterrupt):
        train(experiments, on_epoch=stop, checkpoint=Checkpoint(path, seconds=0))
    again = train(experiments, keep_weights=True, checkpoint=Checkpoint(path, seconds=0))
    for one, other in zip(whole, again, strict=True):
        assert all((one.weights[name] == other.weights[name]).all() for name in one.weights)
