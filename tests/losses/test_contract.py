"""Properties that every registered loss must have; new losses are found automatically."""

import copy
import math
import pickle

import mpmath
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from byrote.losses import Loss

from .cases import KINDS, Criterion, batch, each, function, ids
from .oracles import EXACT, NAIVE, exact, exact_slopes, naive

EXAMPLES = [(Loss.member(kind).example(N), N) for kind in KINDS for N in (3,)]
CASES = each(2, 3, 7)
SMALL = each(2, 3)

every_case = pytest.mark.parametrize(("loss", "N"), CASES, ids=ids(CASES))
every_small = pytest.mark.parametrize(("loss", "N"), SMALL, ids=ids(SMALL))
every_example = pytest.mark.parametrize(("loss", "N"), EXAMPLES, ids=ids(EXAMPLES))


def gradient(loss: Loss, z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    z = z.detach().clone().requires_grad_()
    values = function(loss, z)(z, y)
    (slope,) = torch.autograd.grad(values.sum(), z)
    return values.detach(), slope


def test_every_loss_has_both_oracles() -> None:
    assert set(EXACT) >= set(KINDS)
    assert set(NAIVE) >= set(KINDS)


@every_case
def test_equals_the_definition_in_float64(loss: Loss, N: int) -> None:
    z, y = batch(N)
    expected = [naive(loss, row.numpy(), int(k)) for row, k in zip(z, y, strict=True)]
    np.testing.assert_allclose(function(loss, z)(z, y), expected, rtol=1e-10, atol=1e-12)


@every_small
def test_equals_fifty_digits(loss: Loss, N: int) -> None:
    z, y = batch(N, rows=2 * N)
    gaps = torch.tensor([-28.0, -18.0, 18.0, 50.0, -700.0], dtype=torch.float64)  # p down to e^-700, or nearly 1
    far = torch.cat([gaps.unsqueeze(-1), torch.zeros(5, N - 1, dtype=torch.float64)], -1) + z[0] / 8
    z, y = torch.cat([z, far]), torch.cat([y, torch.zeros(5, dtype=torch.int64)])
    values, slopes = gradient(loss, z, y)
    for value, slope, row, k in zip(values, slopes, z.tolist(), y.tolist(), strict=True):
        assert value.item() == pytest.approx(float(exact(loss, row, k)), rel=1e-9, abs=1e-14)
        low, high = exact_slopes(loss, row, k)
        np.testing.assert_allclose(slope.clamp(torch.tensor(low), torch.tensor(high)), slope, rtol=1e-7, atol=2e-14)


@every_small
def test_gradcheck(loss: Loss, N: int) -> None:
    z, y = batch(N, rows=2 * N, scale=1.5)
    assert torch.autograd.gradcheck(lambda x: function(loss, z)(x, y), (z.clone().requires_grad_(),))


def permuted(value: object, order: list[int]) -> object:
    """Reorder every field of the loss that lists values by class."""
    if isinstance(value, dict):
        return {key: permuted(part, order) for key, part in value.items()}
    if isinstance(value, list | tuple):
        parts = [permuted(part, order) for part in value]
        return [parts[k] for k in order] if len(parts) == len(order) else parts
    return value


@every_small
def test_names_of_classes_do_not_matter(loss: Loss, N: int) -> None:
    z, y = batch(N)
    order = [*range(1, N), 0]
    moved = torch.tensor([order.index(int(k)) for k in y])
    renamed = Loss.from_spec(permuted(loss.spec(), order))
    torch.testing.assert_close(
        function(renamed, z[:, order])(z[:, order], moved), function(loss, z)(z, y), rtol=1e-12, atol=1e-13
    )


@every_case
def test_reductions_and_leading_shapes(loss: Loss, N: int) -> None:
    z, y = batch(N, rows=24)
    rows = function(loss, z)(z, y)
    criterion = Criterion(loss, N)
    torch.testing.assert_close(criterion(z, y, "none"), rows)
    torch.testing.assert_close(criterion(z, y, "sum"), rows.sum())
    weight = loss.sample_weight(y, z.dtype)
    torch.testing.assert_close(criterion(z, y), rows.mean() if weight is None else rows.sum() / weight.sum())
    for shape in ((2, 12), (3, 2, 4)):
        stacked = criterion(z.view(*shape, N), y.view(shape), "none")
        torch.testing.assert_close(stacked, rows.view(shape))
    torch.testing.assert_close(criterion(z[0], y[0], "none"), rows[0])
    assert criterion(z[:0], y[:0], "none").shape == (0,)
    assert criterion(z[:0], y[:0], "sum") == 0


@every_case
def test_all_labels_at_once(loss: Loss, N: int) -> None:
    if loss.stateful:
        return  # a loss with a memory is never part of another loss
    z, _ = batch(N, scale=10)
    one_by_one = torch.stack([loss.formula(z, torch.full((len(z),), k)) for k in range(N)], -1)
    torch.testing.assert_close(loss.formula_of_all(z), one_by_one, rtol=1e-9, atol=1e-12)


def extreme_logits(N: int) -> list[list[float]]:
    rows = [[s * 1e4 * (k == 0) for k in range(N)] for s in (1, -1)]
    rows += [[s * 1e4] * N for s in (1, -1)]
    rows += [[1e4 if k % 2 else -1e4 for k in range(N)]]
    rows += [[1e4 + 8.0 * k if N > 2 else 1e4 + 64.0 * k for k in range(N)]]
    rows += [[gap * (k == 0) for k in range(N)] for gap in (-90.0, -30.0, 12.0, 88.0)]
    return rows


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@every_small
def test_extreme_logits_keep_value_and_gradient(loss: Loss, N: int, dtype: torch.dtype) -> None:
    rows = torch.tensor(extreme_logits(N), dtype=dtype)
    z, y = rows.repeat_interleave(N, 0), torch.arange(N).repeat(len(rows))
    values, slopes = gradient(loss, z, y)
    assert values.isfinite().all()
    assert slopes.isfinite().all()
    rounding = 2e-5 if dtype == torch.float32 else 1e-2
    if loss.stateful:  # 1 - <p, t> can be as small as 2e-4, and t is stored in float32
        rounding = max(rounding, 5e-4)
    usual = np.abs(exact_slopes(loss, [1.0] + [0.0] * (N - 1), 0)).max()
    for value, slope, row, k in zip(values.tolist(), slopes.double(), z.double().tolist(), y.tolist(), strict=True):
        assert value == pytest.approx(float(exact(loss, row, k)), rel=rounding, abs=2e-5)
        low, high = exact_slopes(loss, row, k)
        tolerance = rounding * max(np.abs(low).max(), np.abs(high).max()) + 1e-6 * usual
        assert (slope.numpy() >= low - tolerance).all()
        assert (slope.numpy() <= high + tolerance).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["float16", "bfloat16"])
@every_example
def test_half_precision_is_computed_in_float32(loss: Loss, N: int, dtype: torch.dtype) -> None:
    z, y = batch(N)
    z = z.to(dtype)
    values, slopes = gradient(loss, z, y)
    assert values.dtype == slopes.dtype == dtype
    wide, wide_slopes = gradient(loss, z.float(), y)
    torch.testing.assert_close(values, wide.to(dtype))
    torch.testing.assert_close(slopes, wide_slopes.to(dtype))
    mean = Criterion(loss, N)(z, y)
    assert mean.dtype == dtype
    torch.testing.assert_close(mean, Criterion(loss, N)(z.float(), y).to(dtype))


@every_example
@pytest.mark.every(3)
def test_compiles_into_one_graph(loss: Loss, N: int) -> None:
    torch._dynamo.reset()
    z, y = batch(N)

    criterion = Criterion(loss, N)

    def step(x: Tensor) -> Tensor:
        return criterion(x, y) + criterion.per_sample(x, y).sum()

    eager, compiled = z.clone().requires_grad_(), z.clone().requires_grad_()
    expected = step(eager)
    value = torch.compile(step, fullgraph=True, backend="aot_eager")(compiled)
    torch.testing.assert_close(value, expected)
    expected.backward()
    value.backward()
    torch.testing.assert_close(compiled.grad, eager.grad)


class NoWaiting(TorchDispatchMode):
    """Raises an error for operators that would make the host wait for the device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default):
            raise RuntimeError(f"{func} waits for the device")
        return func(*args, **(kwargs or {}))


@every_example
def test_per_sample_never_waits_for_the_device(loss: Loss, N: int) -> None:
    z, y = batch(N)
    criterion = Criterion(loss, N)
    with NoWaiting():
        criterion.per_sample(z.requires_grad_(), y).sum().backward()
    with NoWaiting(), pytest.raises(RuntimeError, match="waits"):
        criterion(z, y)  # the public call checks the labels and must wait, so NoWaiting raises


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@every_example
def test_on_a_device_it_neither_waits_nor_differs(loss: Loss, N: int) -> None:
    z, y = batch(N)
    criterion = Criterion(loss, N)
    expected = criterion.per_sample(z, y)
    criterion.module.cuda()
    logits, labels = z.cuda(), y.cuda()
    index = torch.arange(len(y), device="cuda")
    for state in criterion.module.buffers():
        state.zero_()
    torch.cuda.set_sync_debug_mode("error")
    try:
        values = criterion.module.per_sample(logits, labels, index)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(values.cpu(), expected)


@every_example
def test_gradients_of_single_samples_through_vmap(loss: Loss, N: int) -> None:
    z, y = batch(N)
    each = function(loss, z)
    if loss.stateful:
        return  # the loss has a memory for the whole batch only
    gradients = torch.func.vmap(torch.func.grad(each))(z, y)
    torch.testing.assert_close(gradients, gradient(loss, z, y)[1])


@every_example
def test_minimizing_it_classifies(loss: Loss, N: int) -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(60) % N
    x = 4 * torch.eye(N)[y] + 0.5 * torch.randn(60, N, generator=generator)
    weight = torch.zeros(N, N, requires_grad=True)
    solver, criterion = torch.optim.Adam([weight], lr=0.05), Criterion(loss, N)
    for _ in range(60):
        solver.zero_grad()
        criterion(x @ weight, y).backward()
        solver.step()
    assert ((x @ weight).argmax(-1) == y).all()


@every_case
def test_spec_round_trip(loss: Loss, N: int) -> None:
    again = Loss.from_spec(loss.spec())
    assert again == loss
    assert hash(again) == hash(loss)
    assert again.digest() == loss.digest()
    assert pickle.loads(pickle.dumps(loss)) == loss
    assert copy.deepcopy(loss) == loss
    assert loss.label
    assert isinstance(loss.parameter, float)
    main = type(loss).main
    assert math.isnan(loss.parameter) if main is None else loss.parameter == getattr(loss, main)


@every_example
def test_bad_input_gets_one_sentence(loss: Loss, N: int) -> None:
    z, y = batch(N)
    criterion = Criterion(loss, N)
    for bad, label in ((y - 1, -1), (y + 1, N)):
        where = rf"labels must lie in 0\.\.{N - 1}, got {label} in row \d+ and \d+ more values out of range: "
        with pytest.raises(ValueError, match=where):
            criterion(z, bad)
    with pytest.raises(TypeError, match=r"labels must be integer classes, got torch\.float64"):
        criterion(z, y.double())
    with pytest.raises(ValueError, match=r"labels must have the shape \(24,\)"):
        criterion(z, y[:-1])
    with pytest.raises(TypeError, match=r"logits must be floating point, got torch\.int64"):
        criterion(y.unsqueeze(-1).expand(-1, N), y)
    with pytest.raises(ValueError, match="2 or more classes"):
        criterion(z[:, :1], y)
    with pytest.raises(ValueError, match="reduction must be one of mean, sum, none, got 'average'"):
        criterion(z, y, "average")
    for dtype in (torch.int32, torch.uint8, torch.int8, torch.int16, torch.uint16):
        torch.testing.assert_close(criterion(z, y.to(dtype)), criterion(z, y))
    torch.testing.assert_close(criterion(z, y.numpy()), criterion(z, y))
    torch.testing.assert_close(criterion(z, y.tolist()), criterion(z, y))
    torch.testing.assert_close(criterion(z, y % 2 == 1), criterion(z, y % 2))
    for bad, hint in ((y[:, None], "without the last axis"), (torch.eye(N, dtype=torch.int64)[y], "argmax")):
        with pytest.raises(ValueError, match=hint):
            criterion(z, bad)
    with pytest.raises(ValueError, match="labels must start at 0, but these run from 1"):
        criterion(z, y + 1)
    with pytest.raises(TypeError, match=r"must be a torch\.Tensor, got a ndarray"):
        criterion(z.numpy(), y)


@every_small
def test_masked_classes_have_the_limit_of_value_and_gradient(loss: Loss, N: int) -> None:
    """At a logit of -inf the loss equals its limit as the logit falls; the limit is infinite for an unbounded loss."""
    base, y = batch(N, rows=4 * N, scale=1.0)
    for masked in range(N):
        for others in range(N - 1):  # mask one class, two classes, ..., all classes except one
            hidden = torch.zeros(N, dtype=torch.bool)
            hidden[[(masked + k) % N for k in range(others + 1)]] = True
            (far, _), (farther, slopes) = (gradient(loss, base.masked_fill(hidden, end), y) for end in (-1e12, -1e13))
            values, gradients = gradient(loss, base.masked_fill(hidden, -torch.inf), y)
            ends = (far - farther).abs() < 1e-9
            expected = torch.where(ends, farther, (farther - far).sign() * torch.inf)
            torch.testing.assert_close(values, expected, rtol=1e-9, atol=1e-9)
            torch.testing.assert_close(gradients[ends][:, ~hidden], slopes[ends][:, ~hidden], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16], ids=["float16", "bfloat16"])
@every_example
def test_under_autocast_it_is_a_float32_loss(loss: Loss, N: int, half: torch.dtype) -> None:
    """As in torch, the loss is float32: a float16 loss would overflow at GradScaler's first scale, 65,536."""
    z, y = batch(N)
    criterion, wide, z = Criterion(loss, N), z.to(half).float(), z.to(half).requires_grad_()
    with torch.autocast("cpu", dtype=half):
        values, mean, rows = criterion(z, y, "none"), criterion(z, y), criterion.per_sample(z, y)
    assert values.dtype == mean.dtype == rows.dtype == torch.float32
    expected = criterion(wide, y, "none")
    torch.testing.assert_close(values, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(rows, expected, rtol=1e-6, atol=1e-6)
    (65536 * mean).backward()
    assert z.grad is not None
    assert z.grad.isfinite().all()
    assert criterion(z, y).dtype == half  # without autocast, the dtype of the logits is kept


@every_example
def test_a_grad_scaler_skips_no_step(loss: Loss, N: int) -> None:
    """Ten float16 steps keep the scaler's default scale, which any skipped step would halve."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(32, 8, generator=generator), torch.arange(32) % N
    layer, criterion = torch.nn.Linear(8, N), Criterion(loss, N)
    solver, scaler = torch.optim.SGD(layer.parameters(), lr=0.01), torch.amp.GradScaler("cpu")
    slopes = gradient(loss, layer(x).double(), y)[1] * 65536 / len(y)
    peak = max(slopes.abs().max(), (slopes.T @ x.double()).abs().max(), slopes.sum(0).abs().max())
    for _ in range(10):
        with torch.autocast("cpu", dtype=torch.float16):
            value = criterion(layer(x), y)
        solver.zero_grad()
        scaler.scale(value).backward()
        scaler.step(solver)
        scaler.update()
    fits = peak < torch.finfo(torch.float16).max  # not true for AUL, whose slope is 3 (5.5 - p_y)^2
    assert (scaler.get_scale() == 65536) == bool(fits)


@every_case
def test_symmetry_constant(loss: Loss, N: int) -> None:
    z = torch.cat([batch(N, scale=scale)[0] for scale in (0.1, 3.0, 30.0)])
    per_sample = function(loss, z)
    sums = sum(per_sample(z, torch.full((len(z),), k)) for k in range(N))
    constant = loss.symmetry(N)
    if constant is None:
        assert sums.max() - sums.min() > 1e-3
    else:
        torch.testing.assert_close(sums, torch.full_like(sums, constant), rtol=1e-12, atol=1e-12)


def corners(N: int, label: int) -> Tensor:
    """Return logits from planes that contain the extremes: the label and one other class vary, all others are equal."""
    steps = torch.cat([torch.linspace(-40, 40, 81), torch.tensor([-1e3, 1e3])]).double()
    a, b = torch.meshgrid(steps, steps, indexing="ij")
    z = torch.zeros(*a.shape, N, dtype=torch.float64)
    z[..., (label + 1) % N] = b
    z[..., label] = a
    return z.reshape(-1, N)


def refined(loss: Loss, z: Tensor, y: Tensor, sign: float) -> float:
    """Search for the smallest value of sign * loss near z."""
    x = z.clone().requires_grad_()
    solver = torch.optim.LBFGS([x], max_iter=60, line_search_fn="strong_wolfe", tolerance_grad=1e-12)
    per_sample = function(loss, z, visits=80)

    def closure() -> Tensor:
        solver.zero_grad()
        value = sign * per_sample(x, y)
        value.backward()
        return value

    solver.step(closure)
    return sign * float(per_sample(x.detach(), y))


@every_small
def test_bounds_are_kept_and_approached(loss: Loss, N: int) -> None:
    low, high = loss.bounds(N)
    found_low, found_high = math.inf, -math.inf
    for label in range(N):
        z = torch.cat([corners(N, label), batch(N, rows=200)[0]])
        y = torch.full((len(z),), label)
        values = function(loss, z, visits=80)(z, y)
        found_low = min(found_low, refined(loss, z[values.argmin()], y[0], 1.0), values.min().item())
        if math.isfinite(high):
            found_high = max(found_high, refined(loss, z[values.argmax()], y[0], -1.0))
        found_high = max(found_high, values.max().item())
    slack = 1e-9 * max(1.0, abs(low))
    assert found_low >= low - slack if math.isfinite(low) else found_low < -300
    assert found_high <= high + 1e-9 * max(1.0, abs(high)) if math.isfinite(high) else found_high > 10
    if math.isfinite(low):
        assert found_low == pytest.approx(low, abs=3e-3)
    if math.isfinite(high):
        assert found_high == pytest.approx(high, rel=3e-3)


def test_working_precision_of_the_oracles() -> None:
    assert mpmath.mp.dps >= 50
