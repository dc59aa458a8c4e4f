"""A step of all runs at once equals torch.optim.SGD for every run, compiled or not, and is never taken twice."""

import copy

import pytest
import torch
import torch.nn.functional as F
from devices import pretended
from toys import tiny

from byrote.engine import Descent
from byrote.engine.momentum import BatchedStep
from byrote.networks import CNN8, MLP
from byrote.recipe import Adam, Training
from byrote.training import cohort
from byrote.training.steps import optimizer_of, rates

from .stacks import stack_of
from .test_bfloat16 import batch, generators
from .test_master_weights import (
    DECAYS,
    MOMENTUM,
    PRECISIONS,
    RATES,
    Operators,
    backward,
    descending,
    narrow,
    stacked,
    step,
    trainings,
    without_descent,
)


@pytest.fixture(autouse=True)
def nothing_is_compiled_yet():
    """Reset torch's compiler, because it compiles a function at most eight times, counted over all tests."""
    torch.compiler.reset()


def torch_optimizer(network):
    """Return a torch optimizer with one parameter group per run, and the parameters."""
    views = [[p.detach()[s] for p in network.parameters()] for s in range(network.runs)]
    groups = [{"params": v, "lr": r, "weight_decay": d} for v, r, d in zip(views, RATES, DECAYS, strict=True)]
    return torch.optim.SGD(groups, momentum=MOMENTUM), views


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_step_is_that_of_torch_sgd_of_every_run(precision, device):
    network = stacked(precision).to(device)
    descent, momenta = descending(network), None
    for trial in range(3):
        oracle = without_descent(network).to(device)
        optimizer, views = torch_optimizer(oracle)
        for s, of_run in enumerate(views if trial else ()):
            for view, m in zip(of_run, momenta, strict=True):
                optimizer.state[view] = {"momentum_buffer": m[s].clone()}
        assert torch.equal(backward(network, trial), backward(oracle, trial))
        slopes = dict(oracle.named_parameters())
        for held, name in zip(narrow(network), ("features.1.weight", "features.4.weight"), strict=precision == "bf16"):
            assert held.grad.dtype == torch.bfloat16
            assert torch.equal(held.grad.float(), slopes[name].grad)
        for p, *of_runs in zip(oracle.parameters(), *views, strict=True):
            for s, view in enumerate(of_runs):
                view.grad = p.grad[s]
        optimizer.step()
        descent.finish(dict(network.named_parameters()))
        momenta = [m.clone() for m in descent.memory.values()]
        for name, value in oracle.state_dict().items():
            torch.testing.assert_close(network.state_dict()[name], value, rtol=1e-6, atol=1e-7, msg=name)
        for s, of_run in enumerate(views):
            for view, m in zip(of_run, momenta, strict=True):
                wanted = optimizer.state[view]["momentum_buffer"]
                torch.testing.assert_close(m[s], wanted, rtol=1e-5, atol=1e-6)
        assert all(p.grad is None for p in [*network.parameters(), *narrow(network)])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_runs_with_their_own_rates_step_as_each_alone(precision):
    together = stacked(precision)
    descent = descending(together)
    alone = [stack_of(MLP(3, 24, 5), (20,), 2, [g], precision=precision, batched=True) for g in generators(3)]
    apart = [descending(network, RATES[s : s + 1], DECAYS[s : s + 1]) for s, network in enumerate(alone)]
    for trial in range(2):
        step(together, descent, trial)
        x, y = batch(3, 32, 20, seed=trial)
        for s, network in enumerate(alone):
            F.cross_entropy(network(x[s : s + 1])[0], y[s], reduction="sum").backward()
            apart[s].finish(dict(network.named_parameters()))
    for s, network in enumerate(alone):
        for name, value in network.state_dict().items():
            torch.testing.assert_close(together.state_dict()[name][s], value[0], rtol=1e-3, atol=1e-4, msg=name)


def test_a_step_costs_no_more_calls_for_more_runs_and_moves_nothing_to_the_device():
    names = {}
    for runs in (1, 3):
        network = stacked(runs=runs)
        optimizer = optimizer_of(network, trainings()[:runs])
        for epoch in range(2):
            optimizer.set_rates(rates(trainings()[:runs], epoch))
            for trial in range(2):
                backward(network, trial)
                with Operators() as seen:
                    optimizer.step()
        names[runs] = seen.names
    assert names[1] == names[3]
    assert not {"_to_copy", "lift_fresh", "_local_scalar_dense", "select"} & set(names[3])


def test_neither_new_rates_nor_masks_make_the_host_wait_for_a_device():
    experiments = [tiny(seed=seed, **{"training.dropout": 0.5}) for seed in (0, 1)]
    with pretended() as gpu:
        prepared = cohort.prepare(experiments, "cuda")
        optimizer = optimizer_of(prepared.network, [e.training for e in experiments])
        x = prepared.train.images[:9]
        before = gpu.copies
        for epoch in range(2):
            optimizer.set_rates(rates([e.training for e in experiments], epoch))
            prepared.network.head(prepared.dropped(prepared.network.features(x))).sum().backward()
            optimizer.step()
        assert gpu.copies == before
        prepared.order[0].get_state().to("cuda")
        assert gpu.copies == before + 1


@pytest.mark.parametrize("precision", PRECISIONS)
def test_rates_are_followed_run_by_run(precision):
    network = stacked(precision)
    descent = descending(network, decays=[0.0, 0.0, 0.0])
    descent.rates[:] = [0.0, 0.0, 0.0]
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    step(network, descent)
    assert all(torch.equal(p, before[name]) for name, p in network.named_parameters())
    descent.rates[1] = 0.1
    step(network, descent)
    for name, p in network.named_parameters():
        assert torch.equal(p[0], before[name][0])
        assert torch.equal(p[2], before[name][2])
    assert not torch.equal(network.head.weight[1], before["head.weight"][1])
    descent.decays[2], descent.rates[2] = 0.5, 0.1
    step(network, descent)
    bias = network.features.get_submodule("1").bias  # its gradient is 0, so only decay changes it
    torch.testing.assert_close(bias[2], 0.95 * before["features.1.bias"][2])


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.every(2)
def test_a_graph_made_before_a_step_is_refused(precision, compiled):
    network = stacked(precision)
    if compiled:
        network.compile_with(backend="aot_eager", fullgraph=True)
    descent, x = descending(network), batch(3, 32, 20)[0]
    loss = network.features(x).sum()
    step(network, descent)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    network.eval()
    loss = network.features(x).sum()
    step(network.train(), descent)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_compiled_step_is_the_same_in_one_graph_whatever_the_rates(precision):
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    compiled, plain = stacked(precision), stacked(precision)
    compiled.features.computation.batched_step.compile_with(backend=backend, fullgraph=True)
    descents = descending(compiled), descending(plain)
    for trial in range(3):
        for network, descent in zip((compiled, plain), descents, strict=True):
            descent.rates[0] = 0.1 * (trial + 1)
            step(network, descent, trial)
    assert len(graphs) == 1
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(compiled.state_dict()[name], value, rtol=1e-3, atol=1e-4, msg=name)
    weights = [compiled.features.get_submodule(i).weight for i in ("1", "4")]
    for held, weight in zip(narrow(compiled), weights, strict=precision == "bf16"):
        assert torch.equal(held, weight.bfloat16())


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.every(2)
def test_compiled_passes_and_steps_train_as_uncompiled_ones(precision):
    compiled, plain = stacked(precision), stacked(precision)
    compiled.compile_with(backend="aot_eager", fullgraph=True)
    for network in (compiled, plain):
        descent = descending(network)
        for trial in range(2):
            step(network, descent, trial)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(compiled.state_dict()[name], value, rtol=1e-3, atol=1e-4, msg=name)
    x = batch(3, 9, 20)[0]
    torch.testing.assert_close(compiled.eval()(x), without_descent(compiled)(x))


def broken(graph, inputs):
    raise RuntimeError("no such device")


@pytest.mark.parametrize("whole", [True, False])
def test_where_no_compiler_works_the_step_is_taken_once_and_logged_once(whole, caplog):
    network, plain = stacked(), stacked()
    (network if whole else network.features.computation.batched_step).compile_with(backend=broken)
    descents = descending(network), descending(plain)
    with caplog.at_level("INFO", "byrote"):
        for trial in range(2):
            step(network, descents[0], trial)
            step(plain, descents[1], trial)
    assert caplog.text.count("runs uncompiled") == 1
    for name, value in plain.state_dict().items():
        assert torch.equal(network.state_dict()[name], value), name


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
def test_half_a_step_is_not_made_again(error, monkeypatch, caplog):
    """If a step fails halfway, it is not repeated as if the compiler had failed; copies and gradients are dropped."""

    def half(thetas, *others):
        thetas[0].data.mul_(2)  # like a kernel on a device, this does not increase the version counter
        raise error("the device is lost")

    network = stacked()
    monkeypatch.setattr(torch, "compile", lambda function, **options: half)
    network.features.computation.batched_step.compile_with()
    monkeypatch.undo()
    descent, weight = descending(network), network.features.get_submodule("1").weight
    backward(network)
    before = weight.detach().clone()
    with caplog.at_level("INFO", "byrote"), pytest.raises(error, match="lost"):
        descent.finish(dict(network.named_parameters()))
    descent.finish(dict(network.named_parameters()))
    assert torch.equal(weight, 2 * before)
    assert not caplog.text
    x = batch(3, 9, 20)[0]
    assert torch.equal(network(x), without_descent(network)(x))


def test_any_stack_on_an_accelerator_is_stepped_at_once(device):
    for network in (stack_of(CNN8(), (1, 8, 8), 2, generators(2)), stacked("fp32", 2, batched=False, compiled=False)):
        network.to("meta" if device == "cpu" else device)
        memory = {n: torch.zeros_like(p) for n, p in network.named_parameters()}
        descent = Descent(memory, 0.5, DECAYS[:2], RATES[:2])
        assert network.descend(descent)
        assert descent.batched_step is not None
        assert network.features.descent is None  # no kernel gets the address of a momentum buffer on the device
        network(torch.ones(4, *network.input_shape, device=network.head.weight.device)).square().sum().backward()
        before = [(p.detach().clone(), p.grad) for p in network.parameters()]
        descent.finish(dict(network.named_parameters()))
        for p, (old, g) in zip(network.parameters(), before, strict=True):
            wanted = torch.stack([old[s] - RATES[s] * (g[s] + DECAYS[s] * old[s]) for s in range(2)])
            if device != "cpu":
                torch.testing.assert_close(p.detach(), wanted, rtol=1e-5, atol=1e-6)


def test_all_runs_of_a_stack_without_copies_are_stepped_on_a_cpu_too():
    network = stacked("fp32", batched=False, compiled=False)
    memory = {n: torch.zeros_like(p) for n, p in network.named_parameters()}
    descent = Descent(memory, MOMENTUM, DECAYS, list(RATES), BatchedStep())
    oracle = copy.deepcopy(network)
    optimizer, views = torch_optimizer(oracle)
    for trial in range(2):
        for each in (network, oracle):
            backward(each, trial)
        for p, *of_runs in zip(oracle.parameters(), *views, strict=True):
            for s, view in enumerate(of_runs):
                view.grad = p.grad[s]
        optimizer.step()
        oracle.zero_grad()
        descent.finish(dict(network.named_parameters()))
    for name, value in oracle.state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], value, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.long
def test_cohorts_of_many_shapes_are_all_compiled(caplog):
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    for width in range(8, 20):
        network = stack_of(MLP(3, width, 2), (20,), 2, generators(2), precision="bf16", batched=True)
        network.compile_with(backend=backend)
        descent, before = descending(network, RATES[:2], DECAYS[:2]), len(graphs)
        with caplog.at_level("INFO", "byrote"):
            step(network, descent)
        assert len(graphs) >= before + 2, "both the pass and the step are compiled"
    assert not caplog.text


def test_an_optimizer_that_is_not_descent_leaves_no_copies_behind():
    network = stacked("bf16")
    step(network, descending(network))
    assert network.features.computation.batched_step._copies
    optimizer_of(network, [Training(optimizer=Adam(lr=0.01))] * 3)
    assert not network.features.computation.batched_step._copies
