"""bfloat16 products agree with the float32 stack within bfloat16 rounding, and with exact arithmetic."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from byrote.engine import bfloat16
from byrote.engine.dense.batched import BatchedChain
from byrote.engine.dense.chain import CompiledChain
from byrote.engine.kernels.library import kernels
from byrote.engine.run_by_run import RunByRun, Vmapped
from byrote.networks import CNN8, MLP

from .conftest import take
from .stacks import stack_of

needs_kernels = pytest.mark.skipif(kernels() is None, reason="no C++ compiler on this machine")


def generators(runs):
    return [torch.Generator().manual_seed(100 + s) for s in range(runs)]


def batch(runs, size, *shape, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(runs, size, *shape, generator=draw), torch.randint(0, 2, (runs, size), generator=draw)


def gradients(module, x, y):
    module.zero_grad()
    logits = module(x)
    F.cross_entropy(logits.flatten(0, -2), y.flatten(), reduction="sum").backward()
    return logits.detach(), {name: p.grad.clone() for name, p in module.named_parameters()}


def exact(stacked, x, y, s):
    """Compute run s in float64, with operands rounded to bfloat16; return its logits and gradients."""

    def rounded(v):
        return v + (v.detach().to(torch.bfloat16).double() - v.detach())

    state = {n: v[s].detach().double().requires_grad_() for n, v in stacked.named_parameters()}
    h, layer = x[s].double().flatten(1), 1
    while f"features.{layer}.weight" in state:
        a = rounded(h) @ rounded(state[f"features.{layer}.weight"]).T
        h = F.batch_norm(
            a, None, None, state[f"features.{layer + 1}.weight"], state[f"features.{layer + 1}.bias"], True
        )
        h, layer = F.relu(h), layer + 3
    logits = h @ state["head.weight"].T + state["head.bias"]
    F.cross_entropy(logits, y[s], reduction="sum").backward()
    return logits.detach(), {n: v.grad for n, v in state.items()}


@pytest.mark.parametrize(("width", "size"), [(48, 32), (64, 32), (96, 45)])  # tiles need multiples of 32
def test_values_and_gradients_are_those_of_rounded_operands(compiled, width, size):
    stacked = stack_of(MLP(3, width, 5), (1, 5, 5), 2, generators(2), precision="bf16", compiled=compiled)
    for norm in ("2", "5", "8"):  # every third ReLU is clearly off and the others clearly on, so rounding flips no gate
        beta = stacked.features.get_submodule(norm).bias
        beta.data.fill_(6.0)[:, ::3] = -6.0
    x, y = batch(2, size, 1, 5, 5)
    logits, grads = gradients(stacked, x, y)
    assert logits.dtype == torch.float32
    for s in range(2):
        wanted, slopes = exact(stacked, x, y, s)
        # two activations and their gradients are rounded to 8 bits along the way
        assert (logits[s] - wanted).norm() / wanted.norm() < 0.01
        for name, slope in slopes.items():
            if slope is None:  # a bias before batch norm, whose gradient is 0
                assert grads[name][s].abs().max() <= (0 if compiled else 0.02)
            else:
                assert (grads[name][s] - slope).norm() < 0.03 * slope.norm().clamp(min=1), name


@pytest.mark.parametrize(("width", "size", "inputs"), [(64, 32, 40), (37, 21, 19), (130, 128, 33)])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_slice_is_the_run_alone_bit_for_bit(width, size, inputs, precision, way):
    net, runs = MLP(3, width, 3), 3
    stacked = stack_of(net, (inputs,), 2, generators(runs), precision=precision)
    alone = [stack_of(net, (inputs,), 2, [generators(runs)[s]], precision=precision) for s in range(runs)]
    for trial in range(3):
        x, y = batch(runs, size, inputs, seed=trial)
        logits, grads = gradients(stacked, x, y)
        for s in range(runs):
            one, slopes = gradients(alone[s], x[s : s + 1], y[s : s + 1])
            assert torch.equal(one[0], logits[s])
            assert all(torch.equal(slopes[name][0], grads[name][s]) for name in slopes)
        with torch.no_grad():
            for module in (stacked, *alone):
                for p in module.parameters():
                    p -= 0.05 * p.grad
    for name, value in stacked.state_dict().items():
        assert all(torch.equal(value[s], alone[s].state_dict()[name][0]) for s in range(runs)), name
    stacked.eval()
    with torch.no_grad():
        h = stacked(x)
        for s in range(runs):
            assert torch.equal(alone[s].eval()(x[s : s + 1])[0], h[s])


def test_running_statistics_and_evaluation_follow_the_float32_network(compiled):
    net = MLP(3, 32, 3)
    low = stack_of(net, (12,), 2, generators(2), precision="bf16", compiled=compiled)
    full = stack_of(net, (12,), 2, generators(2), compiled=False)
    for module in (low, full):
        for linear in ("1", "4", "7"):
            module.features.get_submodule(linear).bias.data.add_(0.5)  # the running mean must include the bias
    for trial in range(5):
        x, _ = batch(2, 64, 12, seed=trial)
        low(x), full(x)
    for name, value in full.state_dict().items():
        if "running" in name or "tracked" in name:
            torch.testing.assert_close(low.state_dict()[name], value, rtol=0.02, atol=0.01, msg=name)
    low.eval(), full.eval()
    shared = x[0]
    with torch.no_grad():
        torch.testing.assert_close(low(shared), full(shared), rtol=0.05, atol=0.05)
        assert (low(shared) - full(shared)).abs().max() > 0  # the results of bfloat16 and float32 must differ
    graded = low(shared)  # torch's operators compute passes in eval mode that need gradients
    torch.testing.assert_close(graded, low(shared.clone()), rtol=0, atol=0)
    graded.sum().backward()
    assert low.features.get_submodule("1").weight.grad.abs().sum() > 0


def test_the_gradient_reaches_the_input_alone_and_shared(way):
    stacked = stack_of(MLP(2, 16, 3), (6,), 2, generators(2), precision="bf16")
    x = batch(1, 8, 6)[0][0].requires_grad_()
    (shared,) = torch.autograd.grad(stacked(x).square().sum(), x)
    each = x.detach().expand(2, 8, 6).clone().requires_grad_()
    (apart,) = torch.autograd.grad(stacked(each).square().sum(), each)
    torch.testing.assert_close(shared, apart.sum(0))
    assert shared.abs().sum() > 0


def changed_before_backward(width, precision="bf16"):
    """Return the loss of a stack whose weights are zeroed after the forward pass, and the correct gradients."""
    stacked = stack_of(MLP(2, width, 3), (6,), 2, generators(1), precision=precision)
    x, y = batch(1, 8, 6)
    _, wanted = gradients(copy.deepcopy(stacked), x, y)
    loss = F.cross_entropy(stacked(x)[0], y[0], reduction="sum")
    with torch.no_grad():
        for p in stacked.features.parameters():
            if p.dim() == 3:
                p.zero_()
    return stacked, loss, wanted["features.1.weight"]


def test_weights_changed_before_the_backward_pass_are_kept_or_noticed(way):
    if way in ("narrow", "rounded"):  # these ways keep bfloat16 copies of the weights
        stacked, loss, wanted = changed_before_backward(64)
        loss.backward()
        assert torch.equal(stacked.features.get_submodule("1").weight.grad, wanted)
    else:
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            changed_before_backward(64)[1].backward()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        changed_before_backward(37, "fp32")[1].backward()


@needs_kernels
def test_which_stacks_are_dense():
    def computation(network, **options):
        return type(stack_of(network, (1, 8, 8), 2, generators(1), **options).features.computation)

    assert computation(MLP(2, 8), precision="bf16") is computation(MLP(2, 8)) is CompiledChain
    assert computation(MLP(2, 8), batched=True) is BatchedChain
    assert computation(CNN8()) is RunByRun
    assert computation(CNN8(), batched=True) is Vmapped


def test_a_single_sample_cannot_be_normalized():
    stacked = stack_of(MLP(2, 8, 2), (4,), 2, generators(1), precision="bf16")
    with pytest.raises(ValueError, match=r"[12]"):
        stacked(torch.zeros(1, 1, 4))


@pytest.mark.parametrize("width", [37, 64])
def test_a_fused_optimizer_is_followed(width, compiled):
    """Steps of a fused optimizer are noticed, although they do not increase the version of the parameters."""
    stacked = stack_of(MLP(3, width, 3), (6,), 2, generators(2), precision="bf16", compiled=compiled)
    x, y = batch(2, 32, 6)
    views = [p.detach()[s] for p in stacked.parameters() for s in range(2)]
    before = gradients(stacked, x, y)[0]
    pairs = [(p, s) for p in stacked.parameters() for s in range(2)]
    for view, (p, s) in zip(views, pairs, strict=True):
        view.grad = p.grad[s]
    torch.optim.SGD(views, lr=0.5, fused=True).step()
    fresh = stack_of(MLP(3, width, 3), (6,), 2, generators(2), precision="bf16", compiled=compiled)
    fresh.load_state_dict(stacked.state_dict())
    after = stacked(x)
    assert torch.equal(after, fresh(x))
    assert (after - before).abs().max() > 1e-3
    stacked.eval(), fresh.eval()
    with torch.no_grad():
        assert torch.equal(stacked(x), fresh(x))
        torch.optim.SGD(views, lr=0.5, fused=True).step()
        fresh.load_state_dict(stacked.state_dict())
        assert torch.equal(stacked(x), fresh(x))


def test_features_do_not_lie_on_the_grid_of_bfloat16(compiled):
    """NC1 of collapsed features depends on deviations of 1e-4 of their size, which rounding to 8 bits would change."""
    stacked = stack_of(MLP(2, 32, 2), (6,), 2, generators(1), precision="bf16", compiled=compiled)
    linear = stacked.features.get_submodule("4")
    linear.bias.data.fill_(300.0)  # at 300, neighboring bfloat16 numbers are 2 apart
    x = batch(1, 64, 6)[0]
    h = stacked.features(x)
    linear.bias.data.zero_()
    torch.testing.assert_close(stacked.features(x), h, rtol=1e-3, atol=1e-3)


class _Products(TorchDispatchMode):
    """Records the dtypes of the operands of every product and convolution."""

    def __init__(self):
        super().__init__()
        self.types = set()

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        if operator.overloadpacket.__name__ in ("mm", "addmm", "convolution", "convolution_backward"):
            self.types |= {a.dtype for a in args if isinstance(a, torch.Tensor)}
        return operator(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("network", "compiled"),
    [(MLP(3, 20, 5), True), (MLP(3, 20, 5), False), (CNN8(), True)],
    ids=["dense", "plain", "cnn"],
)
def test_without_bfloat16_units_rounded_operands_are_multiplied_in_float32(network, compiled, monkeypatch):
    x, y = torch.randn(2, 16, 1, 8, 8, generator=torch.Generator().manual_seed(4)), torch.arange(32).view(2, 16) % 2
    results = []
    for units in (True, False):
        take("narrow" if units else "rounded", monkeypatch)
        stack = stack_of(network, (1, 8, 8), 2, generators(2), precision="bf16", compiled=compiled)
        with _Products() as seen:
            features = stack.features(x)
            F.cross_entropy(stack.head(features).flatten(0, 1), y.flatten(), reduction="sum").backward()
        assert (torch.bfloat16 in seen.types) == units
        results.append([features, *(p.grad for p in stack.features.parameters())])
    largest = max(g.norm() for g in results[0][1:])
    for one, other in zip(
        *results, strict=True
    ):  # a few ReLU gates flip; the gradient of a bias before batch norm is only noise
        assert (one - other).norm() <= 0.15 * one.norm() + 0.01 * largest


@pytest.mark.parametrize(
    ("flags", "units"),
    [
        ("vendor_id\t: GenuineIntel\nflags\t\t: avx512f avx512_bf16 amx_bf16 amx_tile\n", "matrix"),
        ("vendor_id\t: GenuineIntel\nflags\t\t: avx512f avx512_bf16\n", ""),
        ("vendor_id\t: AuthenticAMD\nflags\t\t: avx512f avx512_bf16\n", "pairs"),
        ("vendor_id\t: AuthenticAMD\nflags\t\t: avx2\n", ""),
        ("Features\t: asimd bf16 i8mm\n", "matrix"),
        ("", ""),
    ],
)
def test_bfloat16_is_multiplied_as_such_only_where_that_is_faster(flags, units):
    assert bfloat16.units_in(flags) == units
