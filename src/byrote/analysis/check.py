"""A check compares one kind of statistic in one cell (such as one data set, network and loss) with a region."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from byrote.analysis.core import TAIL, Held, Mask, Tests, exact_tests, student_tests
from byrote.analysis.samples import Array, Estimate, Scale

__all__ = [
    "ABOVE_ZERO",
    "BELOW_ZERO",
    "FEWEST_SEEDS",
    "Check",
    "Region",
    "all_tests",
    "at_every_epoch",
    "at_least",
    "at_most",
    "at_some_epoch",
    "computed_together",
    "held_of",
    "shown",
    "values_of",
    "within",
]

Region = tuple[float, float]
FEWEST_SEEDS = 3
ABOVE_ZERO: Region = (0.0, math.inf)
BELOW_ZERO: Region = (-math.inf, 0.0)


def at_least(bar: float) -> Region:
    """The region [bar, inf)."""
    return (bar, math.inf)


def at_most(bar: float) -> Region:
    """The region (-inf, bar]."""
    return (-math.inf, bar)


def within(low: float, high: float) -> Region:
    """The region [low, high]."""
    return (low, high)


def shown(number: float, scale: Scale) -> float:
    """Convert a number on the given scale to the number shown: a ratio for "log", a correlation for "atanh".

    >>> shown(0.0, "log"), shown(2.5, "plain"), shown(math.inf, "atanh")
    (1.0, 2.5, 1.0)
    """
    if scale == "log":
        return float(np.exp(number))
    return float(np.tanh(number)) if scale == "atanh" else float(number)


@dataclass(frozen=True, eq=False)
class Check:
    """One statistic in one cell, with one value per seed, compared with a region.

    Args:
        cell: the name of the cell: data set, network, loss, eta, and whatever else distinguishes it.
        what: the kind of statistic. Checks of one kind have the same region, `outside` and scale, and are pooled over
            cells.
        values: (n,), one number per seed on `scale`; () for a check of a share of runs. NaN: the statistic is not
            determined.
        seeds: (n,), the seeds; cells that share a seed are not treated as independent.
        region: (low, high) on the scale of the values; the end of a one-sided region is infinite.
        outside: whether the claim is that the value lies outside the region.
        floor: the lower limit of the standard error; 0 for no limit. For a share of samples it is `wilson_error` over
            all samples of the cell, for a difference of shares 1 / (number of samples), and for a statistic that
            changes in steps one step.
        unmet: the premise that this cell does not meet; "" if the premise is met.
        share: (successes, runs) for a check of a share of independent runs, which has an exact interval and no values.
        facts: further columns for the row of this check in the details.
        decides: False for a check of a secondary setting (a variation). It is shown, but it affects the verdict only if
            its kind has no other check.
        scale: "plain" if the values are the numbers to show, "log" or "atanh" if the values are logs or atanhs of these
            numbers.
        reason: why the values are NaN.
        tried: the number of epochs among which the best was chosen (see `at_some_epoch`); 1 for an ordinary check.

    Raises:
        ValueError: not exactly one value per seed, a repeated seed, an empty region, or a negative floor.

    >>> check = Check("mnist", "m", [0.95, 0.97, 0.96], (0, 1, 2), at_least(0.9))
    >>> check.estimate.value, check.verdict
    (0.96, 'inside')
    """

    cell: str
    what: str
    values: ArrayLike
    seeds: tuple[Hashable, ...]
    region: Region
    outside: bool = False
    floor: float = 0.0
    unmet: str = ""
    share: tuple[int, int] | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    decides: bool = True
    scale: Scale = "plain"
    reason: str = ""
    tried: int = 1

    def __post_init__(self) -> None:
        name = f"{self.what} in {self.cell}"
        if self.numbers.shape != (len(self.seeds),):
            raise ValueError(
                f"expected one value per seed, got shape {self.numbers.shape} and {len(self.seeds)} seeds for {name}"
            )
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(
                f"each seed may occur only once, got {self.seeds} for {name}: average the runs of each seed first"
            )
        if not self.region[0] <= self.region[1]:
            raise ValueError(f"the low end of a region must not exceed its high end, got {self.region} for {name}")
        if not 0 <= self.floor < math.inf:
            raise ValueError(
                f"the floor of the standard error must be finite and not negative, got {self.floor} for {name}"
            )
        if self.share is not None and not 0 <= self.share[0] <= self.share[1]:
            raise ValueError(f"a share must have 0 <= successes <= runs, got {self.share} for {name}")

    @cached_property
    def numbers(self) -> Array:
        """The values (n,), with infinite values replaced by NaN."""
        numbers = np.asarray(self.values, dtype=np.float64)
        return np.where(np.isfinite(numbers), numbers, np.nan)

    @property
    def n(self) -> int:
        """The number of seeds, or for a share the number of runs."""
        return self.share[1] if self.share is not None else len(self.seeds)

    @property
    def enough(self) -> bool:
        """Whether there are enough seeds (three); otherwise the check only appears in the details."""
        return self.share is not None or self.n >= FEWEST_SEEDS

    @cached_property
    def tests(self) -> Tests:
        """The estimate, interval and p-values of the check, as arrays of shape (1, 1)."""
        return all_tests([self], held_of([self]))

    @property
    def estimate(self) -> Estimate:
        """Mean and 95% interval, on the scale of the values."""
        tests = self.tests
        return Estimate(float(tests.value[0, 0]), float(tests.low[0, 0]), float(tests.high[0, 0]), self.n)

    @property
    def printed(self) -> Estimate:
        """The estimate as it is printed: a mean of logs as a ratio, a mean of atanhs as a correlation."""
        one = self.estimate
        value, low, high = (shown(number, self.scale) for number in (one.value, one.low, one.high))
        return Estimate(value, low, high, one.n)

    @property
    def p_false(self) -> float:
        """One-sided p-value against the claim: chance of values so far outside the region if the claim is just true."""
        return float(self.tests.false_p[0, 0])

    @property
    def p_true(self) -> float:
        """One-sided p-value for the claim: chance of values so far inside the region if the claim is just false."""
        return float(self.tests.true_p[0, 0])

    @property
    def verdict(self) -> Literal["inside", "outside", "open"]:
        """`inside`: the whole interval agrees with the claim. `outside`: the whole interval contradicts the claim.

        For a claim of the form "outside the region", `inside` means that the interval lies outside the region.
        """
        if self.unmet or not self.enough:
            return "open"
        if self.tests.inside[0, 0]:
            return "inside"
        return "outside" if self.p_false <= TAIL else "open"

    def row(self) -> dict[str, Any]:
        """One row of the details, with all numbers on the scale shown to readers."""
        one = self.printed
        row = {
            "cell": self.cell,
            "what": self.what,
            "value": one.value,
            "low": one.low,
            "high": one.high,
            "seeds": self.n,
            "verdict": self.verdict,
            "reason": self.unmet or self.reason or ("" if self.enough else f"fewer than {FEWEST_SEEDS} seeds"),
        } | self.facts
        return row if self.decides else row | {"variation": True}

    def __str__(self) -> str:
        one = self.printed
        bounds = f" [{one.low:.3g}, {one.high:.3g}]" if math.isfinite(self.estimate.half) else ""
        return f"{self.what} = {one.value:.3g}{bounds} in {self.cell}"


def at_every_epoch(check: Check, values: ArrayLike, epochs: Sequence[float]) -> list[Check]:
    """The checks of a claim about every epoch: one check per epoch, all of the same cell and kind.

    Args:
        check: gives cell, kind, seeds, region and the other fields; its values are ignored.
        values: (E, n), one row per epoch.
        epochs: (E,), the names of the epochs, for the column `epoch` of the details.
    """
    rows = np.asarray(values, dtype=np.float64)
    return [
        replace(check, values=row, facts={**check.facts, "epoch": epoch})
        for row, epoch in zip(rows, epochs, strict=True)
    ]


def at_some_epoch(check: Check, values: ArrayLike, epochs: Sequence[float]) -> Check:
    """The check of a claim about at least one epoch: the best epoch, corrected for the choice among E epochs.

    The p-value for the claim is multiplied by E, and the interval is widened to confidence 1 - .05 / E (Bonferroni).
    The claim is false in the cell only if it is false at every epoch. So the p-value against the claim is the largest
    over all epochs, which is the p-value of the best epoch. Because the best epoch is chosen from the data, checks of
    this kind have no pooled estimate.

    For the arguments see `at_every_epoch`; the floor of the check applies at every epoch.
    """
    each = [one for one in at_every_epoch(check, values, epochs) if np.isfinite(one.numbers).all()]
    if not each:
        return replace(check, values=np.full(len(check.seeds), np.nan), reason="no epoch has a value for every seed")
    best = max(each, key=lambda one: (one.p_false, -one.p_true))
    return replace(best, tried=len(epochs))


def computed_together(checks: Sequence[Check]) -> None:
    """Compute the tests of many checks in one pass, and store each result in its check."""
    new = [check for check in checks if "tests" not in check.__dict__]
    if not new:
        return
    tests = all_tests(new, held_of(new))
    for place, check in enumerate(new):
        check.__dict__["tests"] = Tests(*(getattr(tests, one.name)[:, place : place + 1] for one in fields(tests)))


def held_of(checks: Sequence[Check]) -> Held:
    """Collect regions, cells and kinds of checks in arrays; cells and kinds are numbered by first appearance."""
    cells = list(dict.fromkeys(check.cell for check in checks))
    kinds = list(dict.fromkeys(check.what for check in checks))
    return Held(
        cell=np.array([cells.index(check.cell) for check in checks], dtype=np.intp),
        kind=np.array([kinds.index(check.what) for check in checks], dtype=np.intp),
        low=np.array([check.region[0] for check in checks], dtype=np.float64),
        high=np.array([check.region[1] for check in checks], dtype=np.float64),
        outside=np.array([check.outside for check in checks], dtype=bool),
        floor=np.array([check.floor for check in checks], dtype=np.float64),
        tried=np.array([check.tried for check in checks], dtype=np.float64),
        pools=np.array(
            [c.share is None and c.tried == 1 and bool(np.isfinite(c.numbers).all()) for c in checks], dtype=bool
        ),
    )


def values_of(checks: Sequence[Check]) -> tuple[Array, Mask]:
    """The values of C checks over the union of their S seeds, (C, S), and which seeds each check has, (C, S)."""
    seeds: dict[Hashable, int] = {}
    for check in checks:
        for seed in check.seeds:
            seeds.setdefault(seed, len(seeds))
    values = np.zeros((len(checks), max(len(seeds), 1)))
    member = np.zeros(values.shape, dtype=bool)
    for row, check in enumerate(checks):
        at = [seeds[seed] for seed in check.seeds]
        values[row, at], member[row, at] = check.numbers, True
    return values, member


def all_tests(checks: Sequence[Check], held: Held) -> Tests:
    """Compute the tests of checks as a single repetition: Student's t-tests, and exact tests for shares."""
    values, member = values_of(checks)
    is_share = np.array([check.share is not None for check in checks], dtype=bool)
    tests = student_tests(values[None], member, held)
    if not is_share.any():
        return tests
    counts = np.array([check.share or (0, 0) for check in checks], dtype=np.float64)
    return tests.replaced(exact_tests(counts[None, :, 0], counts[None, :, 1], held), is_share)
