"""Draw the samples that a person should check, so that the answers determine how many labels are wrong.

Samples are drawn at random within three strata: the suspects, the doubtful samples, and the rest. Doubtful samples are
not suspects, but the networks find their labels more likely wrong than right. The estimate is right for any noise and
any model. A good model only makes the interval narrower, because then the strata differ in their shares of wrong
labels. The seed fixes the plan before anyone looks at a sample: samples chosen later would bias the estimate.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from byrote.audit.melded import Counts, Errors, share
from byrote.component import canonical, digest
from byrote.files import write_atomic

__all__ = ["Plan", "Stratum", "allocate", "draw", "expected_half_width", "split"]

Rows = NDArray[np.int64]
FORMAT = 1
LEAST = 10  # smallest number of samples drawn from each stratum (all samples if it has fewer)
SHARES = (0.75, 0.25, 0.03)  # shares of wrong labels that the allocation assumes
_NAMES = ("suspects", "doubtful", "the rest")


@dataclass(frozen=True)
class Stratum:
    """A stratum: a set of samples from which some are drawn at random.

    Attributes:
        name: the name of the stratum.
        suspects: whether this is the stratum of the suspects.
        size: the number of samples in the stratum.
        checks: the number of samples drawn.
        likely: the share of wrong labels that the audit expects in the stratum.
        by_class: the number of its samples with each given label.
    """

    name: str
    suspects: bool
    size: int
    checks: int
    likely: float
    by_class: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """The samples to check, in order, and the expected width of the interval.

    Attributes:
        labels: digest of the audited labels.
        seed: the seed of the draw.
        confidence: the confidence level of the intervals computed from the answers.
        strata: the strata from which the samples are drawn.
        rows: the rows of the samples to check, in order.
        stratum: the number of the stratum of each of these samples.
        given: the given label of each of these samples.
        twice: the samples of `rows` to check a second time, after all first looks.
        half_width: the expected half-width of the interval.
        fingerprint: digest of the whole plan; a plan that was changed by hand is refused.
    """

    labels: str
    seed: int
    confidence: float
    strata: tuple[Stratum, ...]
    rows: tuple[int, ...]
    stratum: tuple[int, ...]
    given: tuple[int, ...]
    twice: tuple[int, ...]
    half_width: float

    @property
    def looks(self) -> int:
        """The number of answers needed, including second looks."""
        return len(self.rows) + len(self.twice)

    @property
    def size(self) -> int:
        """The number of samples in all strata."""
        return sum(s.size for s in self.strata)

    @property
    def fingerprint(self) -> str:
        return digest(self._plain())

    def _plain(self) -> dict[str, Any]:
        return {"format": FORMAT, **asdict(self)}

    def save(self, path: str | Path) -> Path:
        """Write the plan as a JSON file."""
        return write_atomic(path, canonical({**self._plain(), "fingerprint": self.fingerprint}) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> "Plan":
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: no such file.
            ValueError: the file is not a plan, or the plan was changed after it was drawn.
        """
        text = Path(path).read_text("utf-8")
        try:
            stored = json.loads(text)
            fingerprint, version = stored.pop("fingerprint"), stored.pop("format")
            strata = tuple(Stratum(**{**s, "by_class": tuple(s["by_class"])}) for s in stored.pop("strata"))
            columns: dict[str, Any] = {name: tuple(stored.pop(name)) for name in ("rows", "stratum", "given", "twice")}
            plan = cls(strata=strata, **columns, **stored)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(f"{path} is not a plan of checks: draw one with `byrote audit plan`") from None
        if version != FORMAT or plan.fingerprint != fingerprint:
            raise ValueError(f"{path} was changed since it was drawn: draw a new plan, with a new seed")
        return plan


def split(suspect: NDArray[np.bool_], doubtful: NDArray[np.bool_]) -> list[Rows]:
    """The rows of the three strata: suspects, the other doubtful samples, and the rest; each may be empty.

    Args:
        suspect: (n,) which samples are suspects.
        doubtful: (n,) which samples are doubtful, including suspects.

    >>> [rows.tolist() for rows in split(np.array([True, False, False]), np.array([True, True, False]))]
    [[0], [1], [2]]
    """
    return [np.flatnonzero(part) for part in (suspect, doubtful & ~suspect, ~doubtful & ~suspect)]


def allocate(sizes: Sequence[int], shares: Sequence[float], checks: int) -> list[int]:
    """How many samples to draw per stratum: n_h ~ N_h sqrt(p_h (1 - p_h)) (Neyman 1934), at least 10 each.

    Args:
        sizes: N_h.
        shares: the assumed p_h, each in (0, 1).
        checks: how many samples to draw in total. If this exceeds the number of samples, all are drawn. If this is too
            small for 10 per stratum, the strata get equal shares.

    Returns:
        n_h, each at most N_h, with the sum min(checks, N).

    >>> allocate([1000, 1000, 8000], [.75, .75, .03], 200)
    [39, 39, 122]
    """
    N = np.asarray(sizes, dtype=np.int64)
    total = min(checks, int(N.sum()))
    floor = np.minimum(N, min(LEAST, total // max(int((N > 0).sum()), 1)))
    wanted = N * np.sqrt([p * (1 - p) for p in shares])
    drawn = floor.astype(np.float64)
    free = N > 0
    for _ in range(2 * len(N)):  # each round fixes a stratum at its minimum or its size, or ends the loop
        if not free.any() or wanted[free].sum() == 0:
            break
        left = total - drawn[~free].sum()
        ideal = left * wanted / wanted[free].sum()
        bounded = np.clip(ideal, floor, N)
        excess = (bounded - ideal)[free].sum()
        tight = free & ((bounded > ideal) if excess > 1e-9 else (bounded < ideal))
        if not tight.any():
            drawn[free] = bounded[free]
            break
        drawn[tight], free = bounded[tight], free & ~tight
    return _rounded(drawn, N, total)


def _rounded(drawn: NDArray[np.float64], most: Rows, total: int) -> list[int]:
    """Round to whole numbers with the given sum, each at most `most`, by the method of largest remainders."""
    whole = np.minimum(np.floor(drawn + 1e-9).astype(np.int64), most)
    while whole.sum() < total:
        room = np.where(whole < most, drawn - whole, -np.inf)
        whole[int(np.argmax(room))] += 1
    return [int(n) for n in whole]


def expected_half_width(
    sizes: Sequence[int], likely: Sequence[float], drawn: Sequence[int], twice: int, confidence: float
) -> float:
    """Half the width of the interval if each stratum has as many wrong labels as the audit expects."""
    strata = [Counts(N, n, round(n * p)) for N, p, n in zip(sizes, likely, drawn, strict=True)]
    _, low, high = share(strata, confidence, Errors(twice, 0) if twice else None)
    return (high - low) / 2


def draw(
    strata: Sequence[Rows],
    given: Rows,
    likely: Sequence[float],
    *,
    labels: str,
    num_classes: int,
    checks: int | None = None,
    half_width: float | None = None,
    twice: int = 0,
    seed: int = 0,
    confidence: float = 0.95,
) -> Plan:
    """Draw a plan.

    Args:
        strata: the rows of the suspects, the other doubtful samples and the rest (see `split`).
        given: (n,) given labels.
        likely: the share of wrong labels that the audit expects in each stratum. It affects the announced width but not
            the samples drawn.
        labels: digest of the labels.
        num_classes: N.
        checks: the total number of looks, at least 2; or
        half_width: the half-width to reach, in (0, .5); the plan then has the smallest sufficient number of looks.
        twice: how many of the looks are second looks, from which the reviewer's error rate is estimated.
        seed: the seed of the draw.
        confidence: the confidence level of the intervals.

    Raises:
        ValueError: neither or both of `checks` and `half_width`, or a value out of range.
    """
    _check(checks, half_width, twice, confidence)
    sizes = [len(rows) for rows in strata]

    def width(looks: int) -> float:
        return expected_half_width(sizes, likely, allocate(sizes, SHARES, looks - twice), twice, confidence)

    looks = checks if checks is not None else _fewest(width, half_width or 0.0, sum(sizes) + twice, twice)
    drawn = allocate(sizes, SHARES, looks - twice)
    generator = np.random.default_rng(seed)
    chosen = [generator.choice(rows, n, replace=False) for rows, n in zip(strata, drawn, strict=True)]
    rows = np.concatenate(chosen)
    stratum = np.repeat(np.arange(len(strata)), drawn)
    order = generator.permutation(len(rows))
    again = generator.permutation(len(rows))[:twice]
    described = tuple(
        Stratum(
            name=_NAMES[h],
            suspects=h == 0,
            size=sizes[h],
            checks=drawn[h],
            likely=float(likely[h]),
            by_class=tuple(np.bincount(given[strata[h]], minlength=num_classes).tolist()),
        )
        for h in range(len(strata))
    )
    return Plan(
        labels=labels,
        seed=seed,
        confidence=confidence,
        strata=described,
        rows=tuple(rows[order].tolist()),
        stratum=tuple(stratum[order].tolist()),
        given=tuple(given[rows[order]].tolist()),
        twice=tuple(rows[again].tolist()),
        half_width=width(looks),
    )


def _check(checks: int | None, half_width: float | None, twice: int, confidence: float) -> None:
    if (checks is None) == (half_width is None):
        raise ValueError(
            "a plan needs either checks=, the number of samples to check, or half_width=, the half-width to reach"
        )
    if checks is not None and (checks < 2 or not 0 <= twice < checks):
        raise ValueError(
            f"a plan needs at least 2 checks, and fewer second looks than checks, got checks {checks}, twice {twice}"
        )
    if half_width is not None and not 0 < half_width < 0.5:
        raise ValueError(f"half_width must lie between 0 and .5, got {half_width:g}")
    if twice < 0:
        raise ValueError(f"twice must be 0 or more, got {twice}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence:g}")


def _fewest(width: Callable[[int], float], wanted: float, most: int, twice: int) -> int:
    """The smallest number of looks whose expected half-width is at most `wanted`, by bisection."""
    low, high = twice + 2, most
    if width(high) > wanted:
        raise ValueError(
            f"a half-width of {wanted:g} cannot be reached: even if all samples are checked, it is {width(high):.3f}, "
            f"because {twice} second looks determine the reviewer's error rate only this well: ask for more second "
            "looks"
        )
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if width(middle) <= wanted else (middle + 1, high)
    return high
