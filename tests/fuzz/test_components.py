"""Losses, noise laws, specs and theory give the expected number for random arguments, or an error of one sentence."""

import math
from typing import Any

import numpy as np
import torch
from losses.cases import Criterion
from losses.oracles import exact, mpf
from noise.oracles import flip_one_by_one

from byrote import theory
from byrote.component import Component
from byrote.data import Dataset
from byrote.losses import Loss
from byrote.networks import Network
from byrote.noise import Noise, TransitionNoise, convert_rate
from byrote.noise.base import uniforms
from byrote.recipe import Optimizer, Schedule, Training

from .harness import Case, Refused, fuzz
from .values import classes, labels, logits, number

LOSSES = sorted(kind for kind, member in Loss.registry.items() if member.__module__.startswith("byrote."))
NOISE = sorted(kind for kind, member in Noise.registry.items() if member.__module__.startswith("byrote."))
FAMILIES: dict[str, type[Component]] = {
    "losses": Loss,
    "noise": Noise,
    "networks": Network,
    "data": Dataset,
    "optimizers": Optimizer,
    "schedules": Schedule,
}


@fuzz(165)
def test_losses(case: Case) -> None:
    """Each loss agrees with 50-digit arithmetic for logits of any size and dtype; bad labels and shapes are refused."""
    N, rows = case.pick([2, 3, 5]), case.int(1, 3)
    loss = Loss.member(case.pick(LOSSES)).example(N)
    criterion = Criterion(loss, N)
    dtype = case.pick([torch.float64, torch.float64, torch.float32, torch.float16, torch.bfloat16])
    scale = case.pick([1.0, 10.0, 100.0, 1e4]) if dtype != torch.float16 else case.pick([1.0, 10.0])
    z = torch.from_numpy(logits(case, rows, N, scale)).to(dtype)
    y = classes(case, rows, N)
    t, fine = labels(case, y, N, 0.8)
    if case.chance(0.08):
        z = case.pick(
            [z.long(), z[:, :1], z[0, 0], z[None], z.tolist(), None, z.double().numpy(), z[:, :0], z.tile(2, 1)]
        )
        assert isinstance(case.call(_called, loss, N, z, y, rows), Refused)
        return
    values = case.call(_called, loss, N, z, t, rows)
    assert isinstance(values, Refused) != fine, values
    if not fine:
        return
    wanted = [exact(loss, z[i].double().tolist(), int(y[i])) for i in range(rows)]
    eps = torch.finfo(dtype).eps
    rounding = max(eps, 2e-5 if dtype != torch.float64 else 1e-11)
    for value, true in zip(values.double().tolist(), wanted, strict=True):
        if abs(true) > torch.finfo(dtype).max / 4:
            continue
        room = rounding * (1 + scale) + 2 * max(eps, 1e-5 if dtype != torch.float64 else 1e-9) * abs(float(true))
        assert abs(mpf(value) - true) <= room, (value, float(true))
    mean = criterion(z, y, "mean")
    assert torch.isfinite(mean) or not all(math.isfinite(float(v)) for v in values), mean


def _called(loss: Loss, num_classes: int, z: Any, y: Any, rows: int) -> Any:
    module = loss.module(num_samples=100, num_classes=num_classes)
    return module(z, y, "none", torch.arange(rows) if loss.stateful else None)


def field_value(case: Case, depth: int = 0) -> Any:
    """Draw any value that JSON, TOML or a caller could put into a field."""
    plain = [
        *(0, 1, 2, 3, -1, 10, 2**31, 2**63, 2**64, 10**30, -(10**18)),
        *(0.1, 0.5, 0.9, 1.0, 1.5, -0.1, math.nan, math.inf, -math.inf, 1e-320, 1e308),
        *("", "0.2", "uniform", "cross_entropy", "fp32", "x" * 3, "ü\n", "a\0b", "no:where", ":", "os:path", "json:"),
        *(True, False, None, [], {}, b"1", object, 1 + 1j),
    ]
    if depth < 2 and case.chance(0.3):
        inside = [field_value(case, depth + 1) for _ in range(case.int(0, 3))]
        names = ["kind", "rate", "alpha", "loss", "x"]
        return case.pick([inside, tuple(inside), {case.pick(names): v for v in inside}])
    return case.pick(plain)


def good_value(case: Case) -> Any:
    return case.pick(
        [0.1, 0.5, 0.9, 1, 2, 3, 1.5, 0, 8, True, "cross_entropy", "uniform", {"kind": "focal"}, (0.1, 0.2)]
    )


@fuzz(195)
def test_specs(case: Case) -> None:
    """A spec with arbitrary fields gives a component that works and has an equal spec, or an error of one sentence."""
    family = case.pick(sorted(FAMILIES))
    base = FAMILIES[family]
    kinds = sorted(kind for kind, member in base.registry.items() if member.__module__.startswith("byrote."))
    kind = case.pick(kinds) if case.chance(0.9) else case.pick([k[:-1] for k in kinds] + [None, "", 3, "x:Y", "os:"])
    member = base.registry.get(kind)
    names = list(member.model_fields) if member and case.chance(0.95) else ["rate", "rat", "alpha", "", "kind "]
    chosen = case.rng.permutation(names)[: case.int(0, 2)] if names else []
    spec = {str(n): good_value(case) if case.chance(0.6) else field_value(case) for n in chosen} | {"kind": kind}
    part = case.call(base.from_spec, spec if case.chance(0.95) else field_value(case))
    if isinstance(part, Refused):
        return
    again = case.call(base.from_spec, part.spec())
    assert again == part, (again, part)
    assert again.digest() == part.digest()
    assert hash(again) == hash(part)
    if isinstance(part, Loss):
        _works(case, part)
    if isinstance(part, Noise) and part.kind != "recorded":
        case.call(part.effective_rate, case.pick([2, 3, 10]))
    if isinstance(part, Schedule):
        factors = [case.call(part.factor, epoch, 4) for epoch in range(4)]
        assert all(isinstance(f, Refused) or 0 <= f <= 1 for f in factors), factors
    training = case.call(Training, **{case.pick(list(Training.model_fields)): field_value(case)})
    if isinstance(training, Training):
        assert Training(**training.spec()) == training


def _works(case: Case, loss: Loss) -> None:
    """Check that the loss gives finite numbers, or an error that names its number of classes."""
    z = torch.from_numpy(logits(case, 2, 3))
    values = case.call(_called, loss, 3, z, torch.tensor([0, 2]), 2)
    if not isinstance(values, Refused):
        assert bool(values.isfinite().all()), values


@fuzz(165)
def test_noise(case: Case) -> None:
    """Observed labels follow the law, checked one sample at a time; odd labels and class counts give one sentence."""
    N = case.pick([2, 2, 3, 4, 10])
    noise = _law(case, N)
    if noise is None:
        return
    n = case.pick([0, 1, case.int(2, 30)])
    y = classes(case, n, N)
    x = case.pick([torch.from_numpy(case.rng.normal(size=(n, 2, 2))), torch.zeros(n, 3), None])
    seed, odd = case.int(0, 9), case.chance(0.1)
    count = case.pick([0, 1, -1, -5]) if odd else N
    if odd:
        for ask in (noise.transition, noise.effective_rate):
            answer = case.call(ask, count)
            assert isinstance(answer, Refused | float), answer
        assert isinstance(case.call(noise.corrupt, torch.from_numpy(y), count, torch.Generator()), Refused)
        return
    t, fine = labels(case, y, N, 0.85)
    observed = case.call(noise.corrupt, t, N, torch.Generator().manual_seed(seed), features=x)
    if not fine:
        assert isinstance(observed, Refused), observed
        return
    if isinstance(observed, Refused):
        assert x is None or not isinstance(noise, TransitionNoise), observed
        return
    assert observed.dtype == torch.int64
    assert observed.shape == (n,)
    assert n == 0 or 0 <= int(observed.min()) <= int(observed.max()) < noise.num_outputs(N)
    if isinstance(noise, TransitionNoise):
        law = noise.transition(N)
        assert float(law.min()) >= 0
        assert float((law.sum(1) - 1).abs().max()) < 1e-12
        assert abs(noise.effective_rate(N) - (1 - float(law.trace()) / N)) < 1e-12
        u, v = uniforms(n, torch.Generator().manual_seed(seed))
        away = law.clone()
        away.diagonal().zero_()
        border = (u - away.sum(1)[torch.from_numpy(y)]).abs() < 1e-12
        slow = flip_one_by_one(y.tolist(), law.tolist(), list(zip(u.tolist(), v.tolist(), strict=True)))
        assert [a for a, b in zip(observed.tolist(), border, strict=True) if not b] == [
            a for a, b in zip(slow, border, strict=True) if not b
        ]


def _law(case: Case, N: int) -> Noise | None:
    kind, rate = case.pick(NOISE), round(float(case.rng.random()), 2) * 0.99
    rows = case.rng.dirichlet(np.full(N, case.pick([0.1, 1.0])), N)
    fields: dict[str, Any] = {
        "class_conditional": {"matrix": rows.tolist()},
        "per_class": {"rates": (case.rng.random(N) * 0.99).tolist()},
        "clean": {},
    }.get(kind, {"rate": rate})
    if kind == "asymmetric" and N < 10:
        fields["moves"] = [(0, 1)]
    if kind == "recorded":
        return None
    noise = case.call(Noise.from_spec, {"kind": kind} | fields)
    return None if isinstance(noise, Refused) else noise


@fuzz(65)
def test_conversion_of_rates(case: Case) -> None:
    """A noise rate is converted from any definition of the rate to any other, as the formulas say."""
    names = ["uniform", "symmetric", "odds"]
    rate, N = case.pick([number(case), float(case.rng.random())]), case.pick([2, 3, 10, 10, 1, 0])
    source, target = case.pick([*names, "odd"]), case.pick(names)
    converted = case.call(convert_rate, rate, N, source=source, target=target)
    if isinstance(converted, Refused):
        return
    effective = {"uniform": rate * (N - 1) / N, "symmetric": rate, "odds": rate / (1 + rate)}[source]
    wanted = {"uniform": effective * N / (N - 1), "symmetric": effective, "odds": effective / (1 - effective)}[target]
    assert N >= 2
    assert rate >= 0
    room = 1e-9 + (1e-15 * rate if source == "odds" else 0)  # 1 - eps, which is 1 / (1 + rate), loses digits
    right = rate if source == target else wanted
    assert math.isclose(converted, right, rel_tol=room, abs_tol=1e-300), (converted, right)


def parameter(case: Case, low: float, high: float) -> float:
    """Draw a number between two bounds, uniformly in its logarithm; sometimes draw any number."""
    return number(case) if case.chance(0.12) else float(math.exp(case.rng.uniform(math.log(low), math.log(high))))


@fuzz(100)
def test_layer_peeled(case: Case) -> None:
    """The closed-form minimum is below the objective along a ray of points, and above the lower bound."""
    N = case.pick([2, 3, 5, 10, 100]) if case.chance(0.9) else case.pick([1, 0, -1, 2.5, math.nan, 10**9])
    alpha, w, h = parameter(case, 1e-3, 0.99), parameter(case, 1e-8, 1.0), parameter(case, 1e-8, 1.0)
    positive = case.chance(0.5)
    solved = case.call(theory.layer_peeled, N, alpha, w, h, positive)
    if isinstance(solved, Refused):
        return
    assert N >= 2
    assert 0 <= alpha < 1
    assert w > 0
    assert h > 0
    room = 1e-9 * max(1.0, abs(solved.value))
    c = alpha * (N - 1) / N + 2 * (math.sqrt(N * (N - 1) * w * h) if positive else (N - 1) * math.sqrt(w * h))
    gaps = np.concatenate([[0.0, solved.gap], np.geomspace(1e-6, 200, 300)])
    assert solved.value <= (np.log1p((N - 1) * np.exp(-gaps)) + c * gaps).min() + room, solved
    assert solved.lower_bound <= solved.value + room, solved
    assert math.isfinite(solved.value), solved
    assert solved.collapsed == (solved.gap == 0)


@fuzz(40)
def test_dilation(case: Case) -> None:
    """Dilation and memorization agree with the returned features; a sweep gives the results of single calls."""
    alpha, w, h = case.pick([0.0, parameter(case, 1e-2, 0.9)]), parameter(case, 1e-5, 0.1), parameter(case, 1e-5, 0.1)
    eta, slope = parameter(case, 1e-4, 1.0), parameter(case, 0.1, 10.0)
    law = case.pick(["two-point", "segment", "circle", "disc", "sphere"]) if case.chance(0.95) else "ring"
    given = {"lambda_w": w, "lambda_h": h, "eta": eta, "slope": slope, "law": law, "width": case.pick([2, 2, 3, 1])}
    given["loss"] = case.pick(["smoothing", "relaxation", "smoothing", "squared"])
    solved = case.call(theory.dilation, alpha, **given)
    if isinstance(solved, Refused):
        return
    if solved.collapsed or not solved.converged or min(w, h) < 1e-12:  # there, only the certificate bounds the error
        return
    other = parameter(case, 1e-2, 0.5)
    if 0 <= other < 1 and case.chance(0.2):
        both = theory.dilation([alpha, other], **given)
        assert math.isclose(both.dilation[0], solved.dilation, rel_tol=1e-6, abs_tol=1e-12), (both.dilation, solved)
    assert 0 <= solved.r <= solved.r_max * (1 + 1e-9), solved
    assert math.isclose(solved.dilation, solved.r / solved.distance, rel_tol=1e-9)
    assert solved.optimality_gap <= 1e-6 * max(1, abs(solved.value)), solved
    u = np.asarray(solved.features)
    h1, h2 = np.zeros(u.shape[1]), np.zeros(u.shape[1])
    h1[0] = h2[1] = solved.feature_norm
    apart = np.linalg.norm(h2 - u[0])
    memorization = eta * apart
    assert math.isclose(solved.memorization, memorization, rel_tol=1e-6, abs_tol=1e-12), (solved, memorization)


@fuzz(100)
def test_theory_of_symmetric_losses(case: Case) -> None:
    """The noisy risk equals the sum over every possible flip; odd labels and logits give one sentence."""
    rows, N = case.int(1, 6), case.pick([2, 3, 5])
    z, y, eta = logits(case, rows, N), classes(case, rows, N), case.pick([0.0, 0.3, 1.0, number(case)])
    t, fine = labels(case, y, N, 0.7)

    def squared(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return ((logits - np.eye(logits.shape[1])[labels]) ** 2).sum(1)

    risks = case.call(theory.noisy_risk, squared, z, t, eta)
    assert isinstance(risks, Refused) == (not fine or not 0 <= eta <= 1), risks
    if not isinstance(risks, Refused):
        table = np.array([[squared(z[i : i + 1], np.array([k]))[0] for k in range(N)] for i in range(rows)])
        share = np.full((rows, N), eta / (N - 1))
        share[np.arange(rows), y] = 1 - eta
        assert math.isclose(risks.noisy, float((share * table).sum(1).mean()), rel_tol=1e-9)
