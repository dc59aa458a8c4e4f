"""`recomputed_rule` and byrote give the same word on random checks, including cases absent from committed tables."""

import math
from collections import Counter

import numpy as np
import pytest

from byrote import analysis

from .recomputed import Cell, Check
from .recomputed_rule import decide

REGIONS = ((0.0, math.inf), (-math.inf, 0.0), (-0.5, 0.5))
DIRECTIONS = (1.0, -1.0, 0.3)  # signs such that, for every kind of check, a positive shift makes the claim true
SPREADS, SHIFTS = (0.02, 0.1, 0.5), (-2.0, -0.3, 0.0, 0.3, 2.0)


def drawn(number, kinds):
    """Draw checks in 1 to 8 cells with shared seeds; some premises are unmet, some cells not the main setting."""
    generator = np.random.default_rng(number)
    k, spread, shift = generator.integers(1, 9), generator.choice(SPREADS), generator.choice(SHIFTS)
    unmet_share, few_share, variation_share = generator.choice([0.0, 0.0, 0.5], 3)
    checks = []
    for place in range(k):
        cell = Cell([], bool(generator.random() >= variation_share), place)
        outlier = generator.choice([0.0, 0.0, 0.0, -1.0, 1.0])
        for kind in range(kinds):
            n = int(generator.integers(1, 3)) if generator.random() < few_share else int(generator.integers(3, 8))
            values = DIRECTIONS[kind] * (0.3 * shift + outlier) + spread * generator.standard_normal(n)
            values = dict(enumerate(values.tolist()))
            unmet = bool(generator.random() < unmet_share)
            checks.append(Check(cell, None, f"kind {kind}", values, REGIONS[kind], 0.01, unmet))
    return checks


def of_byrote(check):
    return analysis.Check(
        str(check.cell.number),
        check.what,
        list(check.values.values()),
        tuple(check.values),
        check.region,
        floor=check.floor,
        unmet="unmet" if check.unmet else "",
        decides=check.cell.speaks,
    )


@pytest.mark.parametrize(("kinds", "share"), [(1, None), (3, None), (1, 0.7), (1, 0.9)])
def test_both_rules_give_one_word(kinds, share):
    words = Counter()
    for number in range(150):
        checks = drawn(number, kinds)
        word, text, pooled = decide(checks, share)
        other = analysis.decide([of_byrote(check) for check in checks], nearly_all=share)
        assert (word, text) == (other.word, str(other)), number
        assert pooled.keys() == other.pooled.keys(), number
        for what, numbers in pooled.items():
            one = other.pooled[what]
            assert numbers == pytest.approx((one.value, one.low, one.high), rel=1e-9, abs=1e-12), number
        words[word] += 1
    every = {"holds", "fails", "inconclusive"} | (set() if share else {"fails in", "holds except"})
    assert words.keys() == every, "some word never occurred in the random checks"
    assert min(words.values()) >= 5, words
