"""Counts of the noise in a set of labels."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from byrote.noise import realised

from .oracles import count


@given(st.integers(1, 6), st.integers(0, 6), st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=60))
def test_counts_equal_counting_one_by_one(n: int, extra: int, pairs: list[tuple[int, int]]) -> None:
    true = torch.tensor([a % n for a, _ in pairs], dtype=torch.int32)
    seen = torch.tensor([b % (n + extra) for _, b in pairs], dtype=torch.int64)
    counted = realised(true, seen, n, n + extra)
    table = count(true, seen, n, n + extra)
    assert counted.counts.tolist() == table.tolist()
    assert counted.total == len(pairs)
    assert counted.corrupted == int((true != seen).sum())
    if pairs:
        assert counted.rate == counted.corrupted / len(pairs)
    for row, share in zip(table, counted.matrix, strict=True):
        assert torch.allclose(share, torch.tensor(row / row.sum())) if row.sum() else share.isnan().all()


def test_an_unbalanced_case_by_hand() -> None:
    counted = realised(torch.tensor([0, 0, 0, 2]), torch.tensor([0, 1, 0, 0]), 3)
    assert counted.counts.tolist() == [[2, 1, 0], [0, 0, 0], [1, 0, 0]]
    assert counted.rate == 0.5
    assert counted.class_rates[0] == pytest.approx(1 / 3)
    assert math.isnan(counted.class_rates[1])
    assert counted.class_rates[2] == 1


def test_no_samples() -> None:
    counted = realised(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), 2)
    assert math.isnan(counted.rate)
    assert counted.corrupted == 0
    assert counted.counts.shape == (2, 2)


def test_it_is_frozen_and_bad_labels_are_named() -> None:
    counted = realised(torch.tensor([0]), torch.tensor([1]), 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        counted.counts = counted.counts  # type: ignore[misc]
    with pytest.raises(ValueError, match=r"true labels must lie in 0..1, got 2"):
        realised(torch.tensor([2]), torch.tensor([0]), 2)
    with pytest.raises(ValueError, match=r"observed labels must lie in 0..1, got 2"):
        realised(torch.tensor([0]), torch.tensor([2]), 2)
    with pytest.raises(ValueError, match="true 1, observed 2"):
        realised(torch.tensor([0]), torch.tensor([0, 0]), 2)
    with pytest.raises(TypeError, match="integer classes"):
        realised(torch.tensor([0.0]), torch.tensor([0]), 2)


def test_labels_in_any_container() -> None:
    for convert in (list, np.array, tuple):
        assert realised(convert([0, 0, 1]), convert([0, 1, 1]), 2).counts.tolist() == [[1, 1], [0, 1]]
    with pytest.raises(ValueError, match=r"expected true labels \(n,\), one number per sample, got shape \(3, 1\)"):
        realised(torch.zeros(3, 1).long(), torch.zeros(3).long(), 2)
