"""Dense chains computed for all runs at once, as on an accelerator, compared on the CPU with one run after another."""

import copy
import pickle
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from byrote.engine.dense.batched import BatchedChain
from byrote.networks import MLP

from .stacks import stack_of
from .test_bfloat16 import batch, generators, gradients

PRECISIONS = ["fp32", "bf16"]


def pair(precision, inputs=20, width=24):
    networks = []
    for options in ({"batched": True}, {"compiled": False}):
        network = stack_of(MLP(3, width, 5), (inputs,), 2, generators(3), precision=precision, **options)
        with torch.no_grad():
            for s, name in enumerate(("2", "5", "8")):  # rounding flips no ReLU; states differ by run
                norm = network.features.get_submodule(name)
                norm.bias.copy_(torch.tensor([[6.0], [5.0], [4.0]]).expand_as(norm.bias))[:, s::3] *= -1
                network.features.get_submodule(str(int(name) - 1)).bias.add_(0.5)
        networks.append(network)
    assert isinstance(networks[0].features.computation, BatchedChain)
    return networks


def near(got, wanted, precision):
    bar, least = (1e-4, 0.1) if precision == "fp32" else (0.03, 1.0)
    assert (got - wanted).double().norm() <= bar * wanted.double().norm().clamp(min=least)


@pytest.fixture(autouse=True)
def nothing_is_compiled_yet():
    """Reset torch's compiler, because it compiles a function at most eight times, counted over all tests."""
    torch.compiler.reset()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_values_gradients_and_statistics_are_those_run_by_run(precision):
    together, apart = pair(precision)
    for trial, size in enumerate((32, 7)):
        x, y = batch(3, size, 20, seed=trial)
        (logits, grads), (wanted, slopes) = gradients(together, x, y), gradients(apart, x, y)
        assert logits.dtype == torch.float32
        near(logits, wanted, precision)
        for name, slope in slopes.items():
            if name in ("features.1.bias", "features.4.bias", "features.7.bias"):  # a bias before batch norm
                assert torch.equal(grads[name], torch.zeros_like(slope))
            else:
                near(grads[name], slope, precision)
    for name, value in apart.state_dict().items():
        near(together.state_dict()[name], value, precision)
    together.eval(), apart.eval()
    with torch.no_grad():
        for given in (x, x[0]):
            near(together(given), apart(given), precision)


def test_features_are_sums_of_rounded_operands_in_float32():
    stack = stack_of(MLP(1, 9, 9), (30,), 2, generators(2), precision="bf16", batched=True).features
    x, weight = batch(2, 16, 30)[0], stack.get_submodule("1").weight.detach()
    a = torch.einsum("sbi,soi->sbo", x.bfloat16().double(), weight.bfloat16().double())
    wanted = torch.stack([F.relu(F.batch_norm(one, None, None, training=True)) for one in a])
    torch.testing.assert_close(stack(x).double(), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_index_names_the_batches(precision):
    one, other = pair(precision)[0], pair(precision)[0]
    samples = torch.randn(30, 20, generator=torch.Generator().manual_seed(1))
    index = torch.randint(0, 30, (3, 8), generator=torch.Generator().manual_seed(2))
    assert torch.equal(one.features(samples, index), other.features(samples[index]))
    with pytest.raises(ValueError, match="3 runs"):
        one.features(samples, index[:2])
    with pytest.raises(ValueError, match="20 numbers per sample, got 19"):
        one.features(samples[:, 1:])


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.every(3)
def test_a_compiled_pass_is_the_same_in_one_graph(precision):
    compiled, plain = pair(precision)[0], pair(precision)[0]
    compiled.compile_with(backend="aot_eager", fullgraph=True)
    for training in (True, False):
        compiled.train(training), plain.train(training)
        for size in (32, 7):
            x, y = batch(3, size, 20, seed=size)
            (logits, grads), (wanted, slopes) = gradients(compiled, x, y), gradients(plain, x, y)
            torch.testing.assert_close(logits, wanted, rtol=1e-5, atol=1e-5)
            for name, slope in slopes.items():
                torch.testing.assert_close(grads[name], slope, rtol=1e-4, atol=1e-5, msg=name)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(compiled.state_dict()[name], value, rtol=1e-5, atol=1e-6, msg=name)
    x = batch(3, 9, 20)[0]
    for again in (copy.deepcopy(compiled), pickle.loads(pickle.dumps(compiled))):
        torch.testing.assert_close(again(x), compiled(x))


def test_where_no_compiler_works_a_pass_runs_uncompiled_and_logs_it_once(caplog):
    network, plain = pair("fp32")[0], pair("fp32")[0]

    def broken(graph, inputs):
        raise RuntimeError("no such device")

    network.compile_with(backend=broken)
    x = batch(3, 9, 20)[0]
    with caplog.at_level("INFO", "byrote"):
        for _ in range(2):
            assert torch.equal(network(x), plain(x))
    assert caplog.text.count("runs uncompiled") == 1
    assert F.relu(network.features(x)).equal(network.features(x))


def test_a_lack_of_memory_is_not_taken_for_a_lack_of_a_compiler(monkeypatch, caplog):
    def full(*given):
        raise torch.OutOfMemoryError("CUDA out of memory")

    network = pair("fp32")[0]
    monkeypatch.setattr(torch, "compile", lambda function, **options: full)
    network.compile_with()
    before = {name: value.clone() for name, value in network.named_buffers()}
    for _ in range(2):  # the network does not fall back to uncompiled code
        with caplog.at_level("INFO", "byrote"), pytest.raises(torch.OutOfMemoryError):
            network(batch(3, 9, 20)[0])
    assert not caplog.text
    assert all(torch.equal(value, before[name]) for name, value in network.named_buffers())


def test_where_torch_has_no_compiler_it_runs_as_it_is(monkeypatch, caplog):
    def unsupported(function, **options):
        raise RuntimeError("torch.compile is not supported on this platform")

    network, plain = pair("fp32")[0], pair("fp32")[0]
    monkeypatch.setattr(torch, "compile", unsupported)
    with caplog.at_level("INFO", "byrote"):
        network.compile_with()
        assert torch.equal(network(batch(3, 9, 20)[0]), plain(batch(3, 9, 20)[0]))
    assert caplog.text.count("runs uncompiled") == 1


def test_the_compiler_is_imported_when_it_is_asked_for():
    code = "import sys, byrote.training; sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
