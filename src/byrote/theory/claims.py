"""Verdicts on the claims that theory alone can decide: A1, A9, B8. Computed now, from nothing stored; C3, which needs
fits of stored runs, is a claim on their table (`byrote.claims.model`).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from .assumption import eta_bound, order_of_dilations
from .free import FreeSolution, solve_free
from .layer_peeled import LayerPeeled, is_nc_configuration, layer_peeled
from .symmetric import SampleLoss, find_reversal, noisy_risk, symmetry

__all__ = ["TheoryVerdict", "claim_a1", "claim_a9", "claim_b8", "theory_claims"]

Word = Literal["holds", "fails", "inconclusive", "not tested"]


@dataclass(frozen=True)
class TheoryVerdict:
    """One claim's verdict; `runs` counts the problems solved, `detail` says in words what was
    looked at.
    """

    id: str
    statement: str
    verdict: Word
    statistic: float | None
    interval: tuple[float, float] | None
    bar: str
    runs: int
    published: str
    detail: str
    rows: tuple[dict[str, object], ...] = field(default=(), repr=False)


def claim_a1(restarts: int = 6) -> TheoryVerdict:
    """A1: best-of-restarts minimisers of the positive layer-peeled problem are NC configurations, over a
    grid on both sides of the threshold.
    """
    rows: list[dict[str, object]] = []
    worst = 0.0
    for (N, M), alpha, product, bias in itertools.product(
        ((2, 2), (2, 4), (3, 3), (4, 4)), (0.0, 0.2), (1e-3, 3e-2, 1.1), (False, True)
    ):
        root = (
            product * (1 - alpha) / (2 * N * np.sqrt(N / (N - 1)))
        )  # sqrt(lambda_W lambda_H); 1 is the exact threshold
        exact = layer_peeled(N, alpha, 2 * root, root / 2, bias=bias, width=M)
        free = solve_free(N, alpha, 2 * root, root / 2, True, bias, M, restarts=restarts)
        deviation = _deviation(exact, free)
        worst = max(worst, deviation)
        row: dict[str, object] = {"N": N, "M": M, "alpha": alpha, "of_threshold": product, "bias": bias}
        rows.append(row | {"deviation": deviation, "met_at_minimum": free.stationary_points[0].times_met})
    return TheoryVerdict(
        "A1",
        "Best-of-restarts minimisers of the positive layer-peeled problem are NC configurations (Def. 3.1)",
        "holds" if worst < 1e-6 else "fails",
        worst,
        None,
        "largest relative deviation from the closed form < 1e-6 (with a bias and N = 2: of the value only)",
        len(rows) * restarts,
        "Theorem 3.2; its footnote on biases is false for N = 2, where the minimisers form a curve",
        f"{len(rows)} parameter sets, a third of them beyond the exact threshold, {restarts} restarts each",
        tuple(rows),
    )


def _deviation(exact: LayerPeeled, free: FreeSolution) -> float:
    value = abs(free.value / float(exact.value) - 1)
    if exact.bias and exact.num_classes == 2:
        return value
    if exact.collapsed:
        return max(value, float(np.abs(free.features).max()), float(np.abs(free.weight).max()))
    shape = is_nc_configuration(free.weight, free.features)
    norms = np.linalg.norm(free.features, axis=1)
    size = float(np.abs(norms / float(exact.feature_norm) - 1).max())
    rows = np.linalg.norm(free.weight, axis=1) / np.linalg.norm(exact.weight, axis=1)
    return max(value, shape.within_class, shape.orthogonality, shape.duality, size, float(np.abs(rows - 1).max()))


def claim_a9(points: int = 7) -> TheoryVerdict:
    """A9: Theorem 4.3 on a grid of (alpha, lambda, C_MD, eta) and laws; those points count that lie inside
    Assumption 4.2.
    """
    alpha, lam, slope, share = np.meshgrid(
        [0.01, 0.1, 0.2, 0.4],
        np.geomspace(1e-6, 1e-2, points),
        np.geomspace(0.1, 10, points),
        np.geomspace(1e-4, 1e4, 2 * points),
        indexing="ij",
    )
    eta = np.minimum(eta_bound(alpha, lam, lam, slope) * share, 1.0)
    rows: list[dict[str, object]] = []
    inside, kept, outside, reversed_outside = 0, 0, 0, 0
    for law in ("two-point", "segment", "circle", "disc", "sphere"):
        order = order_of_dilations(alpha, lam, lam, eta, slope, law, 3)
        known, within = np.isfinite(np.asarray(order.ratio)), np.asarray(order.inside)
        holds = np.asarray(order.holds)
        counts = [int(flags.sum()) for flags in (within, holds & within, known & ~within, known & ~within & ~holds)]
        inside, kept, outside, reversed_outside = (
            total + count for total, count in zip((inside, kept, outside, reversed_outside), counts, strict=True)
        )
        names = ("inside", "holds_inside", "outside", "reversed_outside")
        smallest = float(np.asarray(order.ratio)[within].min()) if within.any() else None
        rows.append({"law": law, **dict(zip(names, counts, strict=True)), "smallest_ratio_inside": smallest})
    return TheoryVerdict(
        "A9",
        "Theorem 4.3: the optimal dilation of CE exceeds that of LS under Assumption 4.2",
        "not tested" if inside == 0 else "holds" if kept == inside else "fails",
        kept / inside if inside else None,
        None,
        "share of the grid inside the assumption where r/D of CE exceeds that of LS = 1",
        inside,
        "Theorem 4.3",
        f"{inside} grid points inside over 5 laws; outside, {reversed_outside} of {outside} reverse the order",
        tuple(rows),
    )


def claim_b8(
    losses: Mapping[str, SampleLoss], constants: Mapping[str, float | None] | None = None, num_classes: int = 10
) -> TheoryVerdict:
    """B8: symmetry constant and noisy-risk identity of each loss, on random logits.

    Args:
        losses: name to callable(logits (S, N), labels (S,)) -> one value a sample. constants: the class sum
        each claims for N, None for none;
            a loss that is missing here is judged by its measured sums alone. num_classes: N.
    """
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(400, num_classes)) * generator.uniform(0.1, 8, size=(400, 1))
    labels = generator.integers(num_classes, size=400)
    rows: list[dict[str, object]] = []
    errors: list[float] = []
    wrong: list[str] = []
    for name, loss in losses.items():
        found = symmetry(loss, logits)
        identity = noisy_risk(loss, logits, labels, 0.4)
        pair = None if found.holds else find_reversal(loss, num_classes, 0.4)
        claimed = (constants or {}).get(name)
        off = abs(found.constant / claimed - 1) if claimed else 0.0
        error = (
            max(identity.deviation, found.deviation, identity.symmetric_deviation, off)
            if found.holds
            else identity.deviation
        )
        errors.append(error)
        stated = constants is None or name not in constants or found.holds == (claimed is not None)
        if not stated or error > 1e-9 or (not found.holds and pair is None):
            wrong.append(name)
        row: dict[str, object] = {
            "loss": name,
            "symmetric": found.holds,
            "constant": found.constant if found.holds else None,
        }
        rows.append(row | {"error": error, "noise_reverses_a_pair": pair is not None})
    symmetric = sum(bool(row["symmetric"]) for row in rows)
    return TheoryVerdict(
        "B8",
        "Symmetric losses have a constant class sum and obey the noisy-risk identity: noise keeps the order of risks",
        "not tested" if not symmetric else "fails" if wrong else "holds",
        max(errors) if errors else None,
        None,
        "relative error of constant and identity < 1e-9; every other loss has a pair whose order noise reverses",
        len(rows),
        "the theorem quoted by LF",
        f"{symmetric} of {len(rows)} losses are symmetric" + (f"; wrong: {', '.join(wrong)}" if wrong else ""),
        tuple(rows),
    )


def theory_claims(
    losses: Mapping[str, SampleLoss] | None = None,
    constants: Mapping[str, float | None] | None = None,
) -> list[TheoryVerdict]:
    """All three verdicts; without losses B8 is not tested.

    >>> theory_claims()[2].verdict
    'not tested'
    """
    return [claim_a1(), claim_a9(), claim_b8(losses or {}, constants)]
