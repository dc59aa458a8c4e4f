"""A1, A9, B8: claims of theory, which are decided by computation on request and need no runs."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from byrote.claims.verdict import Finding, Row, Word, claim
from byrote.theory import (
    FreeSolution,
    LayerPeeled,
    Problem,
    SampleLoss,
    check_symmetry,
    eta_bound,
    find_reversal,
    from_torch,
    is_nc_configuration,
    layer_peeled,
    noisy_risk,
    order_of_dilations,
    solve_free,
)

if TYPE_CHECKING:
    from byrote.analysis import Analysis

__all__ = ["Stated", "configurations", "orders", "symmetries"]

_CLOSE, _EXACT = 1e-6, 1e-9
_CLASSES = 10  # the numbers of classes N for which the symmetry of losses is checked
_RATE = 0.4  # the noise rate in the noisy-risk identity


@claim(
    "A1",
    statement="The best minimizers over restarts of the positive layer-peeled problem are NC configurations (Def. 3.1)",
    bar="largest relative deviation from the closed form < 1e-6 (with a bias and N = 2: of the value only)",
    published="Theorem 3.2; its footnote on biases is false for N = 2, where the minimizers form a curve",
    method="exact, no interval",
    cells="a grid of N, M, alpha, penalties on both sides of the exact threshold, with and without a bias; the "
    "largest deviation decides. The number of runs is that of the problems solved",
    minimum="none: no run is needed",
    theory=True,
)
def _a1(analysis: Analysis) -> Finding:
    return configurations(restarts=6)


def configurations(restarts: int) -> Finding:
    """Claim A1 with `restarts` random starts for each problem."""
    rows: list[Row] = []
    sizes, alphas, products = ((2, 2), (2, 4), (3, 3), (4, 4)), (0.0, 0.2), (1e-3, 3e-2, 1.1)
    for (N, M), alpha, product, bias in itertools.product(sizes, alphas, products, (False, True)):
        root = product * (1 - alpha) / (2 * N * np.sqrt(N / (N - 1)))  # sqrt(lambda_W lambda_H); 1 is the threshold
        exact = layer_peeled(N, alpha, 2 * root, root / 2, bias=bias, width=M)
        solution = solve_free(N, alpha, 2 * root, root / 2, True, bias, M, restarts=restarts)
        row: Row = {"N": N, "M": M, "alpha": alpha, "of_threshold": product, "bias": bias}
        met = solution.stationary_points[0].times_met
        rows.append(row | {"deviation": _deviation(exact, solution), "met_at_minimum": met})
    worst = max(row["deviation"] for row in rows)
    reason = f"{len(rows)} parameter sets, a third of them beyond the exact threshold, {restarts} restarts each"
    word: Word = "holds" if worst < _CLOSE else "fails"
    return Finding(word, statistic=worst, runs=len(rows) * restarts, reason=reason, details=tuple(rows))


def _deviation(exact: LayerPeeled, solution: FreeSolution) -> float:
    value = abs(solution.value / float(exact.value) - 1)
    if exact.bias and exact.num_classes == 2:
        return value
    if exact.collapsed:
        return max(value, float(np.abs(solution.features).max()), float(np.abs(solution.weight).max()))
    shape = is_nc_configuration(solution.weight, solution.features)
    norms = np.linalg.norm(solution.features, axis=1)
    size = float(np.abs(norms / float(exact.feature_norm) - 1).max())
    rows = np.linalg.norm(solution.weight, axis=1) / np.linalg.norm(exact.weight, axis=1)
    return max(value, shape.within_class, shape.orthogonality, shape.duality, size, float(np.abs(rows - 1).max()))


@claim(
    "A9",
    statement="Theorem 4.3: the optimal dilation of CE exceeds that of LS under Assumption 4.2",
    bar="share of the grid points inside the assumption where r/D of CE exceeds that of LS: 1",
    published="Theorem 4.3",
    method="exact, no interval",
    cells="a grid of alpha, penalties, C_MD and eta for five laws of the spread; only points inside Assumption 4.2 "
    "count. The number of runs is theirs",
    minimum="none: no run is needed",
    theory=True,
)
def _a9(analysis: Analysis) -> Finding:
    return orders(points=7)


def orders(points: int) -> Finding:
    """Claim A9 on a grid with `points` values of the penalties and of C_MD, and twice as many values of eta."""
    alpha, lam, slope, share = np.meshgrid(
        [0.01, 0.1, 0.2, 0.4],
        np.geomspace(1e-6, 1e-2, points),
        np.geomspace(0.1, 10, points),
        np.geomspace(1e-4, 1e4, 2 * points),
        indexing="ij",
    )
    eta = np.minimum(eta_bound(Problem(alpha, lam, lam, slope=slope)) * share, 1.0)
    names = ("inside", "holds_inside", "outside", "reversed_outside")
    rows: list[Row] = []
    for law in ("two-point", "segment", "circle", "disc", "sphere"):
        order = order_of_dilations(Problem(alpha, lam, lam, eta, slope, law, 3))
        known, within, holds = np.isfinite(np.asarray(order.ratio)), np.asarray(order.inside), np.asarray(order.holds)
        flags = (within, holds & within, known & ~within, known & ~within & ~holds)
        smallest = float(np.asarray(order.ratio)[within].min()) if within.any() else None
        counts = {name: int(flag.sum()) for name, flag in zip(names, flags, strict=True)}
        rows.append({"law": law, **counts, "smallest_ratio_inside": smallest})
    inside, held, outside, reversed_outside = (sum(row[name] for row in rows) for name in names)
    reason = f"{inside} grid points inside over 5 laws; outside, {reversed_outside} of {outside} reverse the order"
    if inside == 0:
        return Finding("not tested", runs=0, reason=reason, details=tuple(rows))
    word: Word = "holds" if held == inside else "fails"
    return Finding(word, statistic=held / inside, runs=inside, reason=reason, details=tuple(rows))


@claim(
    "B8",
    statement="Symmetric losses have a constant class sum and obey the noisy-risk identity: noise keeps the order of "
    "risks",
    bar="relative error of constant and identity < 1e-9; every other loss has a pair whose order noise reverses",
    published="the theorem quoted by LF",
    method="exact, no interval",
    cells="each built-in loss with its defaults, on random logits; one loss that differs from what it states "
    "decides. The number of runs is that of the losses",
    minimum="one symmetric loss; no run is needed",
    theory=True,
)
def _b8(analysis: Analysis) -> Finding:
    from byrote import losses

    built: dict[str, Stated] = {}
    without: list[str] = []
    for kind, member in sorted(losses.Loss.registry.items()):
        if ":" in kind:  # skip losses that a user has registered; `byrote.theory.check_symmetry` checks them
            continue
        try:
            loss = member()
        except (TypeError, ValueError):
            without.append(kind)
            continue
        if isinstance(loss, losses.Loss) and not loss.stateful:
            built[kind] = Stated(from_torch(loss), loss.symmetry(_CLASSES))
    return symmetries(built, without)


@dataclass(frozen=True)
class Stated:
    """A loss that maps logits (S, N) and labels (S,) to (S,), and its declared class sum for N classes, or None."""

    loss: SampleLoss
    constant: float | None


def symmetries(losses: Mapping[str, Stated], without: list[str]) -> Finding:
    """Claim B8 for these losses: the symmetry constant and the noisy-risk identity of each, on random logits.

    Args:
        losses: the losses by name, each with its declared class sum.
        without: names of losses that cannot be built without arguments.
    """
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(400, _CLASSES)) * generator.uniform(0.1, 8, size=(400, 1))
    labels = generator.integers(_CLASSES, size=400)
    rows: list[Row] = []
    wrong: list[str] = []
    for name, stated in losses.items():
        symmetry = check_symmetry(stated.loss, logits)
        identity = noisy_risk(stated.loss, logits, labels, _RATE)
        pair = None if symmetry.holds else find_reversal(stated.loss, _CLASSES, _RATE)
        error = identity.deviation
        if symmetry.holds:
            off = abs(symmetry.constant / stated.constant - 1) if stated.constant else 0.0
            error = max(error, symmetry.deviation, identity.symmetric_deviation, off)
        agrees = symmetry.holds == (stated.constant is not None)
        if not agrees or error > _EXACT or (not symmetry.holds and pair is None):
            wrong.append(name)
        row: Row = {
            "loss": name,
            "symmetric": symmetry.holds,
            "constant": symmetry.constant if symmetry.holds else None,
        }
        rows.append(row | {"error": error, "noise_reverses_a_pair": pair is not None})
    count = sum(bool(row["symmetric"]) for row in rows)
    notes = [f"{count} of {len(rows)} losses are symmetric"]
    notes += [f"wrong: {', '.join(wrong)}"] if wrong else []
    notes += [f"left out for having no defaults: {', '.join(without)}"] if without else []
    worst = max((row["error"] for row in rows), default=None)
    word: Word = "not tested" if not count else "fails" if wrong else "holds"
    return Finding(word, statistic=worst, runs=len(rows), reason="; ".join(notes), details=tuple(rows))
