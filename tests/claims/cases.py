"""Three artificial tables for every claim: the claim holds in one, fails in one, and is inconclusive in one."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from byrote.analysis import Analysis
from claims.made import SEEDS, Rows, noise_of, results, spread_over_seeds, ten_class, two_class
from claims.modeled import modeled

__all__ = ["CASES", "table"]


class Case(NamedTuple):
    """The functions that build the three tables for a claim."""

    holds: Callable[[], Analysis]
    fails: Callable[[], Analysis]
    inconclusive: Callable[[], Analysis]


ONE = (0,)
FOUR = ("CE", "LS", "LR", "MSE")
NINETEEN, FORTY = tuple(range(19)), tuple(range(40))


def unrelated(rate: float, seed: int) -> float:
    """Runs in which NC1 does not depend on mem."""
    return 0.05 + 0.2 * noise_of("unrelated", rate, seed)


def scattered(rate: float, seed: int) -> float:
    """Runs in which mem depends neither on the noise rate nor on NC1."""
    return 1 + noise_of("mem", rate, seed)


def by_rate(rate: float, seed: int) -> float:
    """Runs in which NC1 depends on the noise rate but not on the run's own mem."""
    return 0.03 + 0.4 * rate


def by_condition(loss: str) -> Callable[[float, int], float]:
    """Runs whose test error depends on the loss and the noise rate, but not on NC1."""
    return lambda rate, seed: 0.05 + 0.1 * noise_of("error", loss, rate) + 0.001 * noise_of("error", loss, rate, seed)


def widths(slopes: dict[int, dict[str, float]]) -> Rows:
    """Two-class runs at several network widths, with a slope for each width and loss."""
    rows: Rows = []
    for width, of_loss in slopes.items():
        own = {loss: {"slope": wobbling(slope, width)} for loss, slope in of_loss.items()}
        rows += two_class(width=width, by_loss=own)
    return rows


def wobbling(slope: float, width: int) -> Callable[[float, int], float]:
    """Return a slope that varies slightly from seed to seed, independently at each width."""
    return lambda rate, seed: slope * (1 + 0.02 * noise_of("slope", width, seed))


def noises(slopes: dict[str, float], seeds: tuple[int, ...] = SEEDS, **same: object) -> Rows:
    """Ten-class runs under several noise models, each with its own slope of NC1 against mem."""
    rows: Rows = []
    for noise, slope in slopes.items():
        rows += two_class(num_classes=10, noise=noise, slope=slope, seeds=seeds, m=0.95, feature_width=10, **same)
    return rows


def doubled(**changes: object) -> Rows:
    """One setting, and the same setting with twice the epochs in every stage of training."""
    epochs = tuple(range(10, 121, 10))
    return two_class(("CE",), rates=(0.2,), epochs=epochs, schedule="step", **changes)


def plain_and(**kinds: object) -> Rows:
    """Ten-class runs without a regularizer, and CE runs with each regularizer, which reach the given m."""
    rows = ten_class(("CE", "RLL"), rates=(0.4,), dropout=0.0)
    for name, m in kinds.items():
        strength = {"weight_decay": 5e-4} if name == "weight_decay" else {"dropout": 0.5}
        rows += ten_class(("CE",), rates=(0.4,), **({"dropout": 0.0, "m": m} | strength))
    return rows


def rates_off_one_run(covered: Callable[[int], bool], seeds: tuple[int, ...] = NINETEEN) -> Rows:
    """RLL runs, each with its own split and noise, with an estimated noise rate and its interval."""
    rows: Rows = []
    for seed in seeds:
        for row in ten_class(("RLL",), rates=(0.2, 0.4), seeds=(seed,)):
            own = 2 * seed + (row["rate"] > 0.3)
            row = row | {"spec": {"split_seed": own, "noise_seed": own}}
            center = row["realised_rate"] + (0.0 if covered(seed) else 0.05)
            stated = {"rate_estimate": center, "rate_low": center - 0.01, "rate_high": center + 0.01}
            rows.append(row | stated | {"underfits": False})
    return rows


def starts(m: object, scratch: object = 0.02) -> Rows:
    """RLL runs from scratch, and RLL runs that start from weights trained under CE until they memorized."""
    rows = ten_class(("CE", "RLL"), rates=(0.4,), extra={"start": "scratch"}, by_loss={"RLL": {"m": scratch}})
    again = ten_class(("RLL",), rates=(0.4,), extra={"start": "cross_entropy"}, m=m, start_m=0.99, t=0.0)
    return rows + [row | {"key": row["key"] + "-memorized"} for row in again]


def look_alike(ls: object) -> Rows:
    """Runs on classes 0 and 6 of Fashion-MNIST, which look alike, without noise."""
    return two_class(rates=(0.0,), classes="0,6", by_loss={"CE": {"nc1": 0.3}, "LS": {"nc1": ls}})


def _ten(loss: str, **changes: object) -> Callable[[], Analysis]:
    return lambda: results(ten_class(by_loss={loss: changes}))


swing = spread_over_seeds

CASES: dict[str, Case] = {
    "A2": Case(
        lambda: results(two_class(rates=(0.0,), seeds=FORTY)),
        lambda: results(two_class(rates=(0.0,), seeds=FORTY, norm_cv=lambda rate, seed: 1.3 if seed % 2 else 0.05)),
        lambda: results(two_class(rates=(0.0,), seeds=SEEDS)),
    ),
    "A3": Case(
        lambda: results(two_class()),
        lambda: results(two_class(nc1=by_rate, mem=scattered)),
        lambda: results(two_class(seeds=ONE)),
    ),
    "A4": Case(
        lambda: results(two_class(FOUR)),
        lambda: results(two_class(FOUR, by_loss={"LS": {"slope": 1.0}})),
        lambda: results(two_class(("CE", "LS"))),
    ),
    "A5": Case(
        lambda: results(two_class()),
        lambda: results(two_class(by_loss={"LS": {"mem": 1.9}, "CE": {"mem": 1.7}})),
        lambda: results(two_class(by_loss={"LS": {"mem": swing(1.0, 2.3)}, "CE": {"mem": 1.7}})),
    ),
    "A5r": Case(
        lambda: results(two_class()),
        lambda: results(two_class(by_loss={"LS": {"distance": 2.0}})),
        lambda: results(two_class(by_loss={"LS": {"distance": swing(2.0, 4.0), "mem": 1.2}})),
    ),
    "A6": Case(
        lambda: results(two_class(by_loss={"CE": {"error": 0.06}, "LS": {"error": 0.05}})),
        lambda: results(two_class(by_loss={"CE": {"error": 0.05}, "LS": {"error": 0.06}})),
        lambda: results(two_class(by_loss={"CE": {"error": 0.05}, "LS": {"error": swing(0.03, 0.068)}})),
    ),
    "A7": Case(
        lambda: results(two_class(), two_class(feature_width=8, slope=0.8)),
        lambda: results(two_class(nc1=by_rate, mem=scattered), two_class(feature_width=8, nc1=by_rate, mem=scattered)),
        lambda: results(two_class(seeds=ONE), two_class(feature_width=8, seeds=ONE)),
    ),
    "A8": Case(
        lambda: results(noises({"symmetric": 0.5, "pair_flip": 0.52})),
        lambda: results(noises({"symmetric": 0.1, "pair_flip": 0.4}, nc1=by_rate, mem=scattered)),
        lambda: results(noises({"symmetric": 0.5, "pair_flip": 0.52}, ONE)),
    ),
    "A10": Case(
        lambda: results(two_class(rates=(0.1, 0.2)), doubled()),
        lambda: results(two_class(rates=(0.1, 0.2), late=0.9), doubled(late=0.9, mem=9.0)),
        lambda: results(two_class(rates=(0.1, 0.2))),
    ),
    "A11": Case(
        lambda: results(two_class(FOUR)),
        lambda: results(two_class(FOUR, by_loss={loss: {"error": by_condition(loss)} for loss in FOUR})),
        lambda: results(two_class(FOUR, seeds=ONE)),
    ),
    "A12": Case(
        lambda: results(two_class(rates=(0.0,), error=0.02)),
        lambda: results(two_class(rates=(0.0,), by_loss={"CE": {"error": 0.05}, "LS": {"error": 0.02}})),
        lambda: results(two_class(rates=(0.0,), by_loss={"CE": {"error": 0.03}, "LS": {"error": swing(0.01, 0.05)}})),
    ),
    "A13": Case(
        lambda: results(widths({64: {"CE": 1.0, "LS": 1.0}, 1024: {"CE": 0.4, "LS": 0.4}})),
        lambda: results(widths({64: {"CE": 0.5, "LS": 0.9}, 1024: {"CE": 0.5, "LS": 0.9}})),
        lambda: results(*[two_class(width=width, seeds=ONE) for width in (64, 1024)]),
    ),
    "A14": Case(
        lambda: results(look_alike(0.2)),
        lambda: results(look_alike(0.4)),
        lambda: results(look_alike(swing(0.2, 0.42))),
    ),
    "A15": Case(
        lambda: results(two_class(clean_slope=0.1)),
        lambda: results(two_class(clean_slope=-0.1)),
        lambda: results(two_class(clean_slope=0.1, seeds=ONE)),
    ),
    "B1": Case(
        _ten("CE"),
        lambda: results(ten_class(by_loss={"CE": {"m": 0.6}, "MSE-p": {"m": 0.6}})),
        _ten("MSE-p", m=swing(0.9, 0.99)),
    ),
    "B2": Case(_ten("RLL"), _ten("RLL", m=0.8), _ten("RLL", m=swing(0.1, 0.45))),
    "B3": Case(_ten("RLL"), _ten("RLL", m=0.4), _ten("RLL", m=swing(0.02, 0.2))),
    "B4": Case(
        _ten("RLL"),
        lambda: results(
            ten_class(("CE", "RLL"), by_loss={"RLL": {"m": 0.8, "t": 0.1}}), ten_class(("MSE-p",), m=0.3, t=0.6)
        ),
        _ten("RLL", m=swing(0.37, 0.51), t=0.43),
    ),
    "B5": Case(_ten("RLL"), _ten("RLL", t=0.3), _ten("RLL", t=swing(0.85, 0.97))),
    "B6": Case(_ten("RLL"), _ten("nMSE", m=0.4), _ten("nMSE", m=swing(0.02, 0.2))),
    "B7": Case(
        lambda: results(ten_class()),
        lambda: results([row | {"j2": row["j2"] + 0.001 * (row["epoch"] == 40)} for row in ten_class()]),
        lambda: results(ten_class(rates=(0.0,))),
    ),
    "B9": Case(
        lambda: results(ten_class(("CE",), rates=(0.2, 0.4, 0.6), half=lambda rate, seed: 0.2 + 0.4 * rate)),
        lambda: results(ten_class(("CE",), rates=(0.2, 0.4, 0.6), half=lambda rate, seed: 0.7 - rate)),
        lambda: results(ten_class(("CE",), m=0.3, a=0.9)),
    ),
    "B10": Case(
        lambda: results(plain_and(weight_decay=0.98, dropout=0.9)),
        lambda: results(plain_and(weight_decay=0.2, dropout=0.1)),
        lambda: results(plain_and(weight_decay=0.98)),
    ),
    "C1": Case(
        lambda: results(rates_off_one_run(lambda seed: True)),
        lambda: results(rates_off_one_run(lambda seed: seed % 2 == 0)),
        lambda: results(rates_off_one_run(lambda seed: True, SEEDS)),
    ),
    "C3": Case(
        lambda: results(modeled()),
        lambda: results(modeled(mem=dict.fromkeys(FOUR, 2.0), dilation=dict.fromkeys(FOUR[1:], 3.0))),
        lambda: results(modeled(seeds=ONE)),
    ),
    "C4": Case(
        lambda: results(starts(0.97)),
        lambda: results(starts(0.2)),
        lambda: results(starts(swing(0.8, 0.99))),
    ),
}


@cache
def table(id: str, word: str) -> Analysis:
    """Return the table in which this claim holds, fails or is inconclusive."""
    analysis: Analysis = getattr(CASES[id], word)()
    return analysis
