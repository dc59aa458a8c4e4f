"""Uniform and symmetric noise, and conversions between the definitions of eta."""

import hashlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from byrote.noise import Clean, Symmetric, Uniform, convert_rate, realised

from .oracles import chi_square, flip_one_by_one, symmetric_matrix, uniform_matrix

rates = st.floats(0, 0.999)
sizes = st.integers(2, 12)


@given(rates, sizes)
def test_the_matrices_are_the_words_of_the_laws(rate: float, n: int) -> None:
    for noise, oracle in ((Uniform(rate), uniform_matrix), (Symmetric(rate), symmetric_matrix)):
        expected = torch.tensor(oracle(rate, n), dtype=torch.float64)
        torch.testing.assert_close(noise.transition(n), expected, rtol=0, atol=1e-14)


@given(rates, sizes)
def test_effective_rates(rate: float, n: int) -> None:
    assert Uniform(rate).effective_rate(n) == pytest.approx(rate * (n - 1) / n, abs=1e-14)
    assert Symmetric(rate).effective_rate(n) == pytest.approx(rate, abs=1e-14)
    assert Clean().effective_rate(n) == 0


def test_two_classes_uniform_corrupts_half_of_eta() -> None:
    labels = torch.arange(2).repeat(20000)
    seen = Uniform(0.4).corrupt(labels, 2, torch.Generator().manual_seed(3))
    assert realised(labels, seen, 2).rate == pytest.approx(0.2, abs=0.008)
    seen = Symmetric(0.4).corrupt(labels, 2, torch.Generator().manual_seed(3))
    assert realised(labels, seen, 2).rate == pytest.approx(0.4, abs=0.01)


@given(st.floats(0, 0.99), sizes, st.integers(0, 2**32))
def test_drawing_equals_one_sample_at_a_time(rate: float, n: int, seed: int) -> None:
    labels = torch.arange(60) % n
    numbers = torch.rand(60, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).tolist()
    for noise, law in ((Uniform(rate), uniform_matrix(rate, n)), (Symmetric(rate), symmetric_matrix(rate, n))):
        seen = noise.corrupt(labels, n, torch.Generator().manual_seed(seed))
        assert seen.tolist() == flip_one_by_one(labels.tolist(), law, numbers)


@given(st.floats(0, 0.999), sizes, st.integers(0, 2**32))
def test_who_is_corrupted_was_redrawn(rate: float, n: int, seed: int) -> None:
    """A label is redrawn if u < eta, even if it then keeps its class; requesting the mask changes no label."""
    labels = torch.arange(60) % n
    numbers = torch.rand(60, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).tolist()
    redrawn = Uniform(rate).redrawn(labels, n, torch.Generator().manual_seed(seed))
    assert redrawn is not None
    assert redrawn.tolist() == [u < rate for u, _ in numbers]
    observed = Uniform(rate).corrupt(labels, n, torch.Generator().manual_seed(seed))
    assert redrawn[observed != labels].all()


@pytest.mark.parametrize("n", [2, 3, 10])
@pytest.mark.parametrize("rate", [0.0, 0.025, 0.4, 0.95])
def test_a_redrawn_label_is_any_class_alike(rate: float, n: int) -> None:
    """The share of redrawn labels is eta within binomial error; redrawn labels are uniform by a chi-square test."""
    labels = torch.arange(30000) % n
    observed = Uniform(rate).corrupt(labels, n, torch.Generator().manual_seed(7))
    redrawn = Uniform(rate).redrawn(labels, n, torch.Generator().manual_seed(7))
    assert redrawn is not None
    assert abs(float(redrawn.double().mean()) - rate) <= 4 * (rate * (1 - rate) / len(labels)) ** 0.5
    if rate:
        counts = realised(labels[redrawn], observed[redrawn], n).counts
        assert chi_square(counts, torch.full((n, n), 1 / n, dtype=torch.float64)) > 1e-4


@pytest.mark.parametrize(
    ("n", "rate", "seed", "digest"),
    [
        (2, 0.4, 0, "c5a6b808f4eaab9a"),
        (10, 0.4, 1, "acb610122d8c5f69"),
        (3, 0.025, 2, "bd844c7c7398907b"),
        (10, 0.9, 3, "68751246f943646e"),
    ],
)
def test_the_labels_are_those_of_stored_runs(n: int, rate: float, seed: int, digest: str) -> None:
    """The digests are from labels drawn before `redrawn` was added; stored runs rely on the same labels."""
    observed = Uniform(rate).corrupt(torch.arange(2000) % n, n, torch.Generator().manual_seed(seed))
    assert hashlib.sha256(observed.numpy().astype("<i8").tobytes()).hexdigest()[:16] == digest


@pytest.mark.parametrize("n", [2, 10])
def test_uniform_and_symmetric_of_one_effective_rate_give_the_same_labels(n: int) -> None:
    labels = torch.arange(5000) % n
    uniform = Uniform(0.3).corrupt(labels, n, torch.Generator().manual_seed(5))
    rate = convert_rate(0.3, n, source="uniform", target="symmetric")
    symmetric = Symmetric(rate).corrupt(labels, n, torch.Generator().manual_seed(5))
    assert torch.equal(uniform, symmetric)


def test_a_rate_close_to_1_leaves_next_to_nothing() -> None:
    labels = torch.arange(1000) % 5
    seen = Symmetric(1 - 1e-12).corrupt(labels, 5, torch.Generator().manual_seed(0))
    assert not (seen == labels).any()
    assert realised(labels, seen, 5).counts.gt(0).sum() == 20


@pytest.mark.parametrize(
    ("rate", "n", "source", "target", "expected"),
    [
        (0.4, 2, "uniform", "symmetric", 0.2),
        (0.4, 2, "uniform", "odds", 0.25),
        (0.2, 2, "symmetric", "uniform", 0.4),
        (0.25, 2, "odds", "uniform", 0.4),
        (0.25, 7, "odds", "symmetric", 0.2),
        (0.5, 10, "uniform", "symmetric", 0.45),
        (0.75, 10, "symmetric", "odds", 3.0),
        (0.37, 10, "uniform", "uniform", 0.37),
    ],
)
def test_conversions(rate: float, n: int, source: str, target: str, expected: float) -> None:
    assert convert_rate(rate, n, source=source, target=target) == pytest.approx(expected, abs=1e-15)  # type: ignore[arg-type]


@given(st.floats(0, 0.49), sizes, *[st.sampled_from(["uniform", "symmetric", "odds"])] * 2)
def test_conversion_there_and_back(rate: float, n: int, source: str, target: str) -> None:
    there = convert_rate(rate, n, source=source, target=target)  # type: ignore[arg-type]
    assert convert_rate(there, n, source=target, target=source) == pytest.approx(rate, abs=1e-13)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.6, 2, "symmetric", "uniform"), "got 1.2, which symmetric 0.6 at N = 2 would be"),
        ((1.0, 2, "symmetric", "odds"), r"in \[0, 1\), got 1"),
        ((-0.1, 2, "odds", "uniform"), "at least 0, got -0.1"),
        ((float("nan"), 2, "uniform", "odds"), "got nan"),
        ((float("inf"), 2, "odds", "uniform"), "got inf"),
        ((0.1, 1, "uniform", "odds"), "at least two classes, got 1"),
        ((0.1, 2, "unifrm", "odds"), "source must be one of"),
        ((0.1, 2, "odds", "rate"), "target must be one of"),
    ],
)
def test_conversions_that_have_no_answer(arguments: tuple[float, int, str, str], message: str) -> None:
    rate, n, source, target = arguments
    with pytest.raises(ValueError, match=message):
        convert_rate(rate, n, source=source, target=target)  # type: ignore[arg-type]


@pytest.mark.parametrize("target", ["uniform", "symmetric"])
def test_odds_so_large_that_no_sample_is_clean_give_one_sentence(target: str) -> None:
    with pytest.raises(ValueError, match=r"must be in \[0, 1\), got .*, which odds 1e\+38 at N = 10 would be"):
        convert_rate(1e38, 10, source="odds", target=target)  # type: ignore[arg-type]
    assert convert_rate(1e38, 10, source="odds", target="odds") == 1e38
