"""Quantities computed from the curves of J1 and J2 over epochs."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byrote.measures.curves import area_between, crossing_epoch, first_reaching, resistance_gap


@given(seed=st.integers(0, 1000), n=st.integers(2, 30))
def test_area_is_a_fine_mean_and_odd(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    epochs = np.cumsum(rng.integers(1, 4, size=n)).astype(float)
    j2, j1 = rng.random(n), rng.random(n)
    grid = np.linspace(epochs[0], epochs[-1], 20_001)
    fine = np.mean(np.interp(grid, epochs, j2) - np.interp(grid, epochs, j1))
    assert area_between(epochs, j2, j1) == pytest.approx(fine, abs=1e-3)
    assert area_between(epochs, j1, j2) == pytest.approx(-area_between(epochs, j2, j1))


def test_crossing() -> None:
    epochs = [2, 4, 8, 10]
    assert crossing_epoch(epochs, [0.8] * 4, [0.6, 0.7, 0.9, 1.0]) == pytest.approx(6)
    assert crossing_epoch(epochs, [0.8] * 4, [0.9, 0.7, 0.7, 0.9]) == pytest.approx(9)  # the last crossing is used
    assert crossing_epoch(epochs, [0.5] * 4, [0.6] * 4) == 2  # the second curve is above the first at every epoch
    assert math.isnan(crossing_epoch(epochs, [0.8] * 4, [0.9, 0.9, 0.9, 0.7]))  # the second curve ends below the first
    assert math.isnan(crossing_epoch(epochs, [0.8] * 4, [0.8] * 4))
    assert math.isnan(crossing_epoch(epochs, [0.8, math.nan, 0.8, 0.8], [0.9] * 4))
    assert math.isnan(crossing_epoch([], [], []))


def test_first_reaching_is_censored() -> None:
    assert first_reaching([1, 2, 3], [0.2, 0.95, 0.5], 0.95) == 2
    assert first_reaching([1, 2, 3], [0.2, 0.94, math.nan], 0.95) == 4


def test_gap_and_misuse() -> None:
    assert resistance_gap(0.6, 0.9) == pytest.approx(-0.3)
    assert math.isnan(area_between([1], [0.5], [0.5]))
    assert math.isnan(area_between([1, 2], [0.5, math.nan], [0.5, 0.5]))
    for bad in (([1, 1], [0, 0], [0, 0]), ([1, 2], [0], [0, 0])):
        with pytest.raises(ValueError, match="epochs must increase"):
            area_between(*bad)
