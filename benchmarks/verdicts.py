"""Simulations of the code that turns checks into verdicts: how often is a verdict wrong, and how often is it decided?

    nice -n 10 python benchmarks/verdicts.py --json --out results/benchmarks/verdicts.json

Values are drawn, one per seed, for k cells with known true means, and `byrote.analysis.core` judges them. A cell "at
the bar" has a true mean exactly at the end of its region, which is the hardest case for every kind of error. The
settings combine: k in {1, 6, 12, 36}; n in {3, 5, 10} seeds, or mixed; correlation 0 and .5 between the cells of a
seed; all SDs equal, one SD ten times larger, or half of them sqrt(10) times larger; one-sided and two-sided regions,
and claims about values outside a region; normal errors, Student's t with 3 degrees of freedom, and normal errors of
which 5% have ten times the SD. Cells with two kinds of statistics and claims about nearly all cells are simulated too.

The last line is one JSON object. Each `false_..._max` is the largest share of repetitions, over all settings, in which:
false_fails_max: the verdict is "fails" although every cell is at the bar (for claims about nearly all cells, just
enough cells).
false_names_max: a cell at the bar is named as failing.
false_holds_max: the verdict is "holds" although one cell is at the bar and all others are far inside.
false_except_max: the verdict is "holds except" and a cell at the bar is not among the named ones.
The other figures:
coverage_min: the least share of 95% intervals of five seeds that contain the true value, over three data sets and every
kind of statistic that decides (`coverage_of_intervals.py`).
coverage_min_narrow_kernel: the same with less smoothing.
power_fails: the least share of "fails" if every cell is 2 SD beyond the bar, over correlations and the two kinds of
region, with n = 5, k >= 6 and equal SDs.
power_holds: the least share of "holds" if every cell is 2 SD inside, with n = 10.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
from coverage_of_intervals import coverage
from numpy.typing import NDArray

from byrote.analysis.core import WORDS, Held, judge, nearly_all, pool, student_tests

__all__ = ["main"]

Array = NDArray[np.float64]
Rates = dict[str, float]
HOLDS, FAILS, EXCEPT = (WORDS.index(word) for word in ("holds", "fails", "holds except"))
CELLS, SEEDS = (1, 6, 12, 36), ("3", "5", "10", "mixed")
SPREADS, ERRORS = ("equal", "one tenfold", "half sqrt(10)-fold"), ("normal", "t3", "outliers")
REGIONS = ("one-sided", "two-sided", "outside")
BOUNDED = ("one-sided", "two-sided")
FALSE = ("fails", "names", "holds", "except")
FAR = 50.0  # a distance inside or outside, in SDs, that every test detects
WIDE = 1e4  # half the width of a region so wide that no test reaches its other end


@dataclass(frozen=True)
class Setting:
    """The options with which the values of one simulation are drawn."""

    k: int
    n: str
    correlation: float
    spread: str
    error: str
    kinds: int = 1  # statistics per cell

    @property
    def sd(self) -> Array:
        """The SD of each check, (C,)."""
        sd = np.ones(self.k)
        if self.spread == "one tenfold":
            sd[0] = 10.0
        elif self.spread == "half sqrt(10)-fold":
            sd[: self.k // 2] = math.sqrt(10.0)
        return np.tile(sd, self.kinds)

    def __str__(self) -> str:
        kinds = f", {self.kinds} kinds" if self.kinds > 1 else ""
        return (
            f"k {self.k}{kinds}, n {self.n}, correlation {self.correlation:g}, SDs {self.spread}, errors {self.error}"
        )

    @property
    def member(self) -> NDArray[np.bool_]:
        """A mask of the seeds of each check, (C, S)."""
        counts = np.resize([3, 5, 10], self.k) if self.n == "mixed" else np.full(self.k, int(self.n))
        return np.tile(np.arange(counts.max()) < counts[:, None], (self.kinds, 1))


def settings(cells: tuple[int, ...] = CELLS, errors_: tuple[str, ...] = ERRORS) -> Iterator[Setting]:
    """All settings; for a single cell, options that would change nothing are left out."""
    for k, n, correlation, spread, error in product(cells, SEEDS, (0.0, 0.5), SPREADS, errors_):
        if k > 1 or (n != "mixed" and correlation == 0 and spread == "equal"):
            yield Setting(k, n, correlation, spread, error)
            if k in (6, 12) and error == "normal":
                yield Setting(k, n, correlation, spread, error, kinds=2)


def errors(setting: Setting, repetitions: int, rng: np.random.Generator) -> Array:
    """Errors of mean 0 and SD `setting.sd`, (R, C, S); a part of each error is common to all checks of a seed."""
    checks, seeds = setting.member.shape
    common = _draw(setting.error, (repetitions, 1, seeds), rng)
    own = _draw(setting.error, (repetitions, checks, seeds), rng)
    share = setting.correlation
    return (math.sqrt(share) * common + math.sqrt(1 - share) * own) * setting.sd[:, None]


def _draw(error: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    if error == "t3":
        return rng.standard_t(3, shape) / math.sqrt(3.0)
    if error == "skewed":
        return rng.standard_exponential(shape) - 1
    values = rng.standard_normal(shape)
    if error == "outliers":
        values *= np.where(rng.random(shape) < 0.05, 10.0, 1.0) / math.sqrt(0.95 + 0.05 * 100)
    return values


def held(setting: Setting, region: str, half: float) -> Held:
    """k cells with one check per kind; the region is [0, inf), [-half, half], or the outside of [-half, half]."""
    k, kinds = setting.k, setting.kinds
    low, high = (0.0, math.inf) if region == "one-sided" else (-half, half)
    like = np.ones(k * kinds)
    return Held(
        cell=np.tile(np.arange(k), kinds),
        kind=np.repeat(np.arange(kinds), k),
        low=low * like,
        high=high * like,
        outside=np.full(k * kinds, region == "outside"),
        floor=0.0 * like,
        tried=like,
        pools=like > 0,
    )


def words_of(
    setting: Setting, region: str, noise: Array, margin: Array, half: float
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Apply the code that decides claims: the verdict of each repetition, and the cells that the verdict names.

    Args:
        setting, region: the setting and the region to simulate.
        noise: the errors (R, C, S) from `errors`.
        margin: (k,), the distance of each true mean from its bar in SDs, positive on the claim's side.
        half: half the width of a two-sided region.
    """
    to = held(setting, region, half)
    sign = -1.0 if region == "two-sided" else 1.0
    values = (
        noise + ((0.0 if region == "one-sided" else half) + sign * np.tile(margin, setting.kinds) * setting.sd)[:, None]
    )
    return judge(student_tests(values, setting.member, to), pool(values, setting.member, to), to)


def false_rates(setting: Setting, region: str, noise: Array) -> Rates:
    """The share of repetitions with each kind of wrong verdict."""
    k, near = setting.k, WIDE if region == "outside" else 1.0
    at_bar, inside = np.zeros(k), np.full(k, FAR)
    inside[-1] = 0.0
    word, named = words_of(setting, region, noise, at_bar, near)
    rates, names = {"fails": _share(word == FAILS)}, [_share(named.any(1))]
    word, named = words_of(setting, region, noise, inside, WIDE)
    rates["holds"] = _share(word == HOLDS)
    names.append(_share(named[:, -1]))
    if k > 1:
        half_beyond = np.where(np.arange(k) % 2 == 0, -2.0, 0.0)
        _, named = words_of(setting, region, noise, half_beyond, near)
        names.append(_share(named[:, 1::2].any(1)))
        inside[0] = -FAR
        word, named = words_of(setting, region, noise, inside, WIDE)
        rates["except"] = _share((word == EXCEPT) & ~named[:, -1])
        names.append(_share(named[:, -1]))
    return {**rates, "names": max(names)}


def nearly_all_rates(setting: Setting, noise: Array) -> Rates:
    """The shares of wrong verdicts on "at least 90% of the cells" if one cell too few, or just enough, are inside."""
    to = held(setting, "one-sided", 1.0)
    needed = math.ceil(0.9 * setting.k - 1e-9)
    too_few, enough = np.zeros(setting.k), np.zeros(setting.k)
    too_few[: needed - 1], enough[needed:] = FAR, -FAR
    rates = {}
    for name, margin, code in (("holds", too_few, HOLDS), ("fails", enough, FAILS)):
        tests = student_tests(noise + (margin * setting.sd)[:, None], setting.member, to)
        rates[name] = _share(nearly_all(tests, 0.9) == code)
    return rates


def power(setting: Setting, region: str, noise: Array, margin: float) -> Rates:
    """The share of "fails" if every cell is `margin` SDs beyond its bar, and of "holds" if it is as far inside."""
    beyond, inside = (np.full(setting.k, sign * margin) for sign in (-1.0, 1.0))
    half = margin * float(setting.sd.max())
    return {
        "fails": _share(words_of(setting, region, noise, beyond, half)[0] == FAILS),
        "holds": _share(words_of(setting, region, noise, inside, half)[0] == HOLDS),
    }


def all_false_rates(repetitions: int, cells: tuple[int, ...], kinds: tuple[str, ...]) -> list[tuple[str, Rates]]:
    """The rates of wrong verdicts, with the name of each setting."""
    rates = []
    for number, setting in enumerate(settings(cells, kinds)):
        noise = errors(setting, repetitions, np.random.default_rng([1, number]))
        rates += [(f"{region}, {setting}", false_rates(setting, region, noise)) for region in REGIONS]
        if setting.k > 1 and setting.kinds == 1:
            rates.append((f"nearly all, {setting}", nearly_all_rates(setting, noise)))
    return rates


def all_power(repetitions: int, cells: tuple[int, ...], n: str, margin: float) -> list[tuple[str, Rates]]:
    """The power of each setting under normal errors."""
    rates = []
    for number, setting in enumerate(settings(cells, ("normal",))):
        if setting.n == n and setting.kinds == 1:
            noise = errors(setting, repetitions, np.random.default_rng([2, number]))
            rates += [(f"{region}, {setting}", power(setting, region, noise, margin)) for region in REGIONS]
    return rates


def worst(results: list[tuple[str, Rates]], name: str) -> tuple[float, str]:
    """The largest rate of this name, and the setting in which it occurred."""
    return max((rates[name], where) for where, rates in results if name in rates)


def least(results: list[tuple[str, Rates]], name: str, regions: tuple[str, ...], spreads: str) -> tuple[float, str]:
    """The smallest rate of this name in these regions for one pattern of SDs ("" for any), and its setting."""
    return min(
        (rates[name], where) for where, rates in results if where.startswith(regions) and f"SDs {spreads}" in where
    )


def table(repetitions: int) -> list[str]:
    """A table of power for equal SDs and one-sided regions: "fails" 1 SD beyond, "holds" 2 SD inside."""
    lines = [f"{'n = 3 / 5 / 10':46}" + "".join(f"{f'k = {k}':>20}" for k in (1, 12, 36))]
    for (name, margin), correlation in product((("fails", 1.0), ("holds", 2.0)), (0.0, 0.25, 0.5)):
        row = f"{f'{name}, truth {margin:g} SD away, correlation {correlation:g}':46}"
        for k in (1, 12, 36):
            shares = []
            for n in ("3", "5", "10"):
                setting = Setting(k, n, correlation, "equal", "normal")
                noise = errors(setting, repetitions, np.random.default_rng([3, k, int(n)]))
                shares.append(power(setting, "one-sided", noise, margin)[name])
            row += f"{'/'.join(f'{share:.3f}' for share in shares):>20}"
        lines.append(row)
    return lines


def _share(mask: NDArray[np.bool_]) -> float:
    return float(np.mean(mask))


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the JSON line only")
    parser.add_argument("--out", type=Path, help="write the JSON line to this file")
    parser.add_argument("--quick", action="store_true", help="few repetitions and cells, to test the script")
    parser.add_argument("--repetitions", type=int, default=4000, help="number of repetitions of each setting")
    chosen = parser.parse_args()
    started = time.perf_counter()
    repetitions, cells = (200, (1, 6)) if chosen.quick else (chosen.repetitions, CELLS)
    false = all_false_rates(repetitions, cells, ERRORS)
    figures = {f"false_{name}_max": worst(false, name) for name in FALSE}
    covered = coverage(40 if chosen.quick else max(2000, repetitions // 2))
    figures["coverage_min"] = min((row.covered, str(row)) for row in covered if row.decides and row.bounded)
    figures["coverage_min_narrow_kernel"] = min((row.covered, str(row)) for row in covered if not row.bounded)
    fails = all_power(5 * repetitions, tuple(k for k in cells if k >= 6), "5", 2.0)
    holds = all_power(5 * repetitions, cells, "10", 2.0)
    figures["power_fails"] = least(fails, "fails", BOUNDED, "equal")
    figures["power_holds"] = least(holds, "holds", BOUNDED, "equal")
    if not chosen.json:
        for name, (value, where) in figures.items():
            print(f"{name:28} {value:.4f}  {where}")
        print("\nnot bounded:")
        print("power_fails, any SDs: {:.4f}  {}".format(*least(fails, "fails", BOUNDED, "")))
        print("power_holds, any SDs: {:.4f}  {}".format(*least(holds, "holds", BOUNDED, "")))
        print('power_fails of "outside": {:.4f}  {}'.format(*least(fails, "fails", ("outside",), "")))
        skewed = all_false_rates(repetitions, cells, ("skewed",))
        for name in FALSE:
            print("skewed errors, {}: {:.4f}  {}".format(name, *worst(skewed, name)))
        print("\n".join(["", *table(repetitions), "", *map(str, covered), ""]))
        print(f"{repetitions} repetitions, {time.perf_counter() - started:.0f} s")
    line = json.dumps({name: round(value, 4) for name, (value, _) in figures.items()})
    print(line)
    if chosen.out:
        chosen.out.write_text(line + "\n", "utf-8")


if __name__ == "__main__":
    main()
