"""In a stack of S runs, slice s equals run s trained alone, and the plain module, bit for bit."""

import copy

import pytest
import torch
import torch.nn.functional as F
from devices import same
from networks.test_mlp import by_hand

from byrote.engine.kernels.library import kernels
from byrote.networks import CNN8, MLP

from .stacks import stack_of


def generators(runs):
    return [torch.Generator().manual_seed(100 + s) for s in range(runs)]


def step(module, x, y, lr=0.1):
    """Take one step of gradient descent per run on the summed cross-entropy; return logits and gradients."""
    module.zero_grad()
    logits = module(x)
    F.cross_entropy(logits.flatten(0, -2), y.flatten(), reduction="sum").div(x.shape[-2]).backward()
    grads = [p.grad.clone() for p in module.parameters()]
    with torch.no_grad():
        for p in module.parameters():
            p -= lr * p.grad
    return logits.detach(), grads


def assert_same(actual, wanted, exactly):
    """Assert equal bits; on other devices, allow for float32 sums in a different order over three steps."""
    if exactly:
        assert torch.equal(actual, wanted)
    else:
        torch.testing.assert_close(actual, wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max().clamp(min=1)))


# odd sizes on purpose, so that slices start at addresses that are not multiples of a vector register
CASES = [
    *((MLP(4, 33, 3), 19, 21), (MLP(3, 64, None), 32, 128), (MLP(1, 5, 2), 7, 2)),
    *((MLP(3, 32, 10), 20, 129), (MLP(2, 66, 1), 60, 7), (MLP(2, 1, 10), 68, 7)),
]


needs_kernels = pytest.mark.skipif(kernels() is None, reason="no C++ compiler on this machine")


@pytest.mark.parametrize("compiled", [pytest.param(True, marks=needs_kernels), False])
@pytest.mark.parametrize(("network", "inputs", "batch"), CASES)
@pytest.mark.every(3)
def test_a_slice_is_the_run_alone_bit_for_bit_and_the_plain_twin(network, inputs, batch, compiled, device):
    runs, classes, exactly = 4, 3, not compiled and device == "cpu"
    stacked = stack_of(network, (inputs,), classes, generators(runs), compiled=compiled).to(device)
    alone = [
        stack_of(network, (inputs,), classes, [generators(runs)[s]], compiled=compiled).to(device) for s in range(runs)
    ]
    twins = [network.build((inputs,), classes, generators(runs)[s]).to(device) for s in range(runs)]
    draw = torch.Generator().manual_seed(0)
    for _ in range(3 if device == "cpu" else 1):
        x = torch.randn(runs, batch, inputs, generator=draw).to(device)
        y = torch.randint(0, classes, (runs, batch), generator=draw).to(device)
        logits, grads = step(stacked, x, y)
        for s in range(runs):
            one_logits, one_grads = step(alone[s], x[s : s + 1], y[s : s + 1])
            twin_logits, twin_grads = step(twins[s], x[s], y[s])
            same(logits[s], one_logits[0], device)
            assert_same(logits[s], twin_logits, exactly)
            for g, g1, g0 in zip(grads, one_grads, twin_grads, strict=True):
                same(g[s], g1[0], device)
                assert_same(g[s], g0, exactly)
    for name, value in stacked.state_dict().items():
        for s in range(runs):
            same(value[s], alone[s].state_dict()[name][0], device)
            assert_same(value[s], twins[s].state_dict()[name], exactly)


@pytest.mark.parametrize("batched", [False, True])
def test_a_shared_batch_is_seen_by_every_run(batched, device):
    stacked = stack_of(MLP(2, 8, 2), (1, 3, 3), 2, generators(3), batched=batched).to(device).eval()
    x = torch.randn(5, 1, 3, 3, generator=torch.Generator().manual_seed(1)).to(device)
    h = stacked.features(x)
    assert h.shape == (3, 5, 2)
    same(h, stacked.features(x.expand(3, 5, 1, 3, 3)), device)
    same(stacked.head(h), stacked(x), device)
    assert stacked(x).shape == (3, 5, 2)


@pytest.mark.parametrize(
    ("network", "precision"),
    [(MLP(3, 64, 5), "fp32"), (MLP(3, 64, 5), "bf16"), (MLP(3, 20, 5), "bf16"), (CNN8(), "fp32")],
)
def test_rows_of_all_samples_are_the_batches_made_of_them(network, precision, way):
    shape = (1, 8, 8)
    x = torch.randn(30, *shape, generator=torch.Generator().manual_seed(3))
    index = torch.stack([torch.arange(29, 29 - 18, -1), torch.arange(0, 18) * 7 % 30])
    named, gathered = (stack_of(network, shape, 2, generators(2), precision=precision) for _ in range(2))
    one, other = named.features(x, index), gathered.features(x[index])
    assert torch.equal(one, other)
    named.eval(), gathered.eval()
    with torch.no_grad():
        assert torch.equal(named.features(x, index), gathered.features(x[index]))
    named.train()
    for wrong in (30, -1):
        with pytest.raises(IndexError):
            named.features(x, torch.full_like(index, wrong))


@pytest.mark.parametrize("batched", [False, True])
def test_rows_of_samples_on_a_device_are_the_batches_made_of_them(batched, device):
    for network, precision in ((MLP(3, 20, 5), "fp32"), (MLP(3, 20, 5), "bf16"), (CNN8(), "fp32")):
        stacked = stack_of(network, (1, 8, 8), 2, generators(2), precision=precision, batched=batched).to(device).eval()
        x = torch.randn(30, 1, 8, 8, generator=torch.Generator().manual_seed(3)).to(device)
        index = torch.stack([torch.arange(29, 29 - 18, -1), torch.arange(0, 18) * 7 % 30]).to(device)
        with torch.no_grad():
            same(stacked.features(x, index), stacked.features(x[index]), device)


def test_the_twin_exports_weights_statistics_and_mode(device):
    stacked = stack_of(MLP(3, 8, 2), (4,), 3, generators(3)).to(device)
    stacked(torch.randn(3, 6, 4).to(device)).sum().backward()
    stacked.eval()
    twin = stacked.run_module(1)
    assert {state.device.type for state in twin.state_dict().values()} == {"cpu"}
    x = torch.randn(6, 4)
    assert not twin.training
    same(twin(x), stacked(x.to(device))[1], device)
    assert list(twin.state_dict()) == list(stacked.state_dict())
    assert twin.state_dict()["features.2.num_batches_tracked"] == 1
    twin.head.weight.data.zero_()
    assert stacked.state_dict()["head.weight"][1].abs().sum() > 0
    with pytest.raises(IndexError, match="got 3"):
        stacked.run_module(3)


@pytest.mark.parametrize("batched", [False, True])
def test_a_stack_can_be_copied_after_a_step_and_its_state_loaded(batched, device):
    stacked = stack_of(MLP(2, 8, 2), (4,), 2, generators(2), batched=batched).to(device)
    x = torch.randn(2, 6, 4).to(device)
    stacked(x).sum().backward()
    clone = copy.deepcopy(stacked)
    other = stack_of(MLP(2, 8, 2), (4,), 2, generators(4)[2:], batched=batched).to(device)
    other.load_state_dict(stacked.state_dict())
    same(clone(x), stacked(x), device)
    stacked.load_state_dict(other.state_dict())
    same(other.eval()(x), stacked.eval()(x), device)


def test_only_the_given_generator_is_drawn_from():
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    a = MLP(2, 8, 2).build((4,), 2, torch.Generator().manual_seed(7))
    assert torch.equal(before, torch.random.get_rng_state())
    b = MLP(2, 8, 2).build((4,), 2, torch.Generator().manual_seed(7))
    c = MLP(2, 8, 2).build((4,), 2, torch.Generator().manual_seed(8))
    assert torch.equal(a.head.weight, b.head.weight)
    assert not torch.equal(a.head.weight, c.head.weight)


@pytest.mark.parametrize("shape", [(3, 6, 5), (6, 4), (1, 2, 6, 4), (4,)])
def test_a_wrong_input_is_named(shape):
    stacked = stack_of(MLP(2, 8, 2), (4,), 2, generators(2))
    if shape == (6, 4):
        assert stacked(torch.zeros(shape)).shape == (2, 6, 2)
        return
    with pytest.raises(ValueError, match="that all 2 runs share"):
        stacked(torch.zeros(shape))


def test_bad_requests_are_named():
    with pytest.raises(ValueError, match="at least one module"):
        stack_of(MLP(2, 8, 2), (4,), 2, [])
    with pytest.raises(ValueError, match="at least one output"):
        MLP(2, 8, 2).build((4,), 0)
    with pytest.raises(ValueError, match="sizes of at least 1"):
        MLP(2, 8, 2).build((3, 0), 2)


@pytest.mark.parametrize("compiled", [True, False])
def test_what_enters_a_product_lies_at_an_aligned_address(compiled, monkeypatch):
    """On AMD, results depend on alignment; slices of 3 runs with 7 samples of 5 numbers would not be aligned."""
    stacked = stack_of(MLP(1, 5, 5), (5,), 3, generators(3), compiled=compiled)
    seen = []

    def noted(x, weight, bias=None, linear=F.linear):
        out = linear(x, weight, bias)
        out.register_hook(lambda g: seen.append(g.data_ptr()))
        seen.append(x.data_ptr())
        return out

    monkeypatch.setattr(F, "linear", noted)
    features = stacked.features(torch.ones(3, 7, 5))
    stacked.head(features).square().sum().backward()
    assert len(seen) == 6 if compiled and kernels() is not None else 12
    assert not any(address % 64 for address in seen)


@pytest.mark.parametrize("batched", [False, True])
def test_a_stack_on_a_device_is_the_formula(batched, device):
    net = MLP(depth=4, width=12, feature_width=3)
    stacked = stack_of(net, (2, 3, 3), 4, [torch.Generator().manual_seed(s) for s in (3, 4)], batched=batched)
    twins = [stacked.run_module(s) for s in range(2)]
    x = torch.randn(2, 16, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    logits = stacked.to(device)(x.to(device)).cpu()
    for s, twin in enumerate(twins):
        _, wanted = by_hand(twin, x[s])
        torch.testing.assert_close(logits[s].double(), wanted, rtol=1e-4, atol=1e-4)
        _ = twin.train()(x[s])  # this also updates the running statistics of the plain module
        for name, value in stacked.run_module(s).state_dict().items():
            torch.testing.assert_close(value, twin.state_dict()[name], rtol=1e-4, atol=1e-5, msg=name)
