"""Noise laws given by a transition matrix, and latent-class noise."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from byrote.noise import (
    Asymmetric,
    ClassConditional,
    LatentClass,
    Noise,
    PairFlip,
    PerClass,
    RandomMatrix,
    random_transition,
    realised,
)

from .oracles import chi_square, symmetric_matrix


def draw(noise: Noise, n: int, each: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(n).repeat_interleave(each)
    return labels, noise.corrupt(labels, n, torch.Generator().manual_seed(seed))


@given(st.floats(0, 0.999), st.integers(2, 9))
def test_pair_flip_moves_to_the_next_class(rate: float, n: int) -> None:
    matrix = PairFlip(rate).transition(n).tolist()
    for true in range(n):
        assert matrix[true][true] == pytest.approx(1 - rate)
        assert matrix[true][(true + 1) % n] == pytest.approx(rate)
        assert sum(p > 0 for p in matrix[true]) <= 2
    labels, seen = draw(PairFlip(rate), n, 30)
    moved = seen != labels
    assert torch.equal(seen[moved], (labels[moved] + 1) % n)


def test_two_classes_pair_flip_is_symmetric() -> None:
    expected = torch.tensor(symmetric_matrix(0.3, 2), dtype=torch.float64)
    torch.testing.assert_close(PairFlip(0.3).transition(2), expected)


def test_asymmetric_moves_the_published_classes() -> None:
    labels, seen = draw(Asymmetric(0.4), 10, 4000)
    counted = realised(labels, seen, 10)
    moves = {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}  # truck, bird, deer, cat, dog
    for true in range(10):
        if true in moves:
            assert counted.counts[true, moves[true]] == 4000 - counted.counts[true, true]
            assert counted.class_rates[true] == pytest.approx(0.4, abs=0.03)
        else:
            assert counted.class_rates[true] == 0


def test_per_class_rates_by_hand() -> None:
    expected = [[1.0, 0.0, 0.0], [0.1, 0.8, 0.1], [0.35, 0.35, 0.3]]
    noise = PerClass((0.0, 0.2, 0.7))
    torch.testing.assert_close(noise.transition(3), torch.tensor(expected, dtype=torch.float64))
    assert noise.effective_rate(3) == pytest.approx(0.3)
    assert noise.nominal_rate != noise.nominal_rate  # NaN, because the classes have different rates


def test_a_given_matrix_is_the_law() -> None:
    rows = ((0.2, 0.0, 0.8), (0.0, 1.0, 0.0), (0.25, 0.25, 0.5))
    noise = ClassConditional(rows)
    assert noise.transition(3).tolist() == [list(row) for row in rows]
    assert noise.effective_rate(3) == pytest.approx((0.8 + 0 + 0.5) / 3)
    labels, seen = draw(noise, 3, 5000)
    counts = realised(labels, seen, 3).counts
    assert chi_square(counts, torch.tensor(rows, dtype=torch.float64)) > 1e-4
    # the matrix is not transposed
    assert chi_square(counts, torch.tensor(rows, dtype=torch.float64).T.contiguous()) < 1e-12


def test_a_realised_matrix_is_a_law_again() -> None:
    labels, seen = draw(RandomMatrix(0.3, seed=5), 4, 500)
    counted = realised(labels, seen, 4)
    again = ClassConditional(counted.matrix.tolist())
    torch.testing.assert_close(again.transition(4), counted.matrix)
    assert again.effective_rate(4) == pytest.approx(counted.rate)


@given(st.integers(2, 12), st.floats(0, 0.99), st.integers(0, 2**40))
def test_a_drawn_matrix_has_its_trace(n: int, rate: float, seed: int) -> None:
    matrix = RandomMatrix(rate, seed=seed).transition(n)
    assert float(matrix.trace()) == pytest.approx(n * (1 - rate), abs=1e-10)
    assert float(matrix.min()) >= 0
    assert float(matrix.max()) <= 1
    torch.testing.assert_close(matrix.sum(1), torch.ones(n, dtype=torch.float64))
    assert torch.equal(matrix, RandomMatrix(rate, seed=seed).transition(n))


def test_drawn_matrices_differ_by_seed_and_within() -> None:
    first, second = (RandomMatrix(0.4, seed=seed).transition(6) for seed in (1, 2))
    assert not torch.allclose(first, second)
    assert float(first.diagonal().std()) > 0.02
    away = first - first.diagonal().diag()
    assert float(away[away > 0].std()) > 0.02


def test_where_a_drawn_matrix_leads_is_uniform_on_the_simplex() -> None:
    """Targets are drawn from a flat Dirichlet law over 3 other classes: each share has mean 1/3 and variance 1/18."""
    shares = []
    for seed in range(400):
        matrix = random_transition(4, 2.0, torch.Generator().manual_seed(seed))
        shares.append(matrix[0, 1:] / matrix[0, 1:].sum())
    stacked = torch.stack(shares)
    torch.testing.assert_close(stacked.mean(0), torch.full((3,), 1 / 3).double(), rtol=0, atol=0.04)
    torch.testing.assert_close(stacked.var(0), torch.full((3,), 1 / 18).double(), rtol=0, atol=0.012)


def test_latent_class_moves_by_n() -> None:
    labels, seen = draw(LatentClass(0.3), 3, 5000)
    assert LatentClass().nominal_rate == 0.5
    assert LatentClass(0.3).num_outputs(3) == 6
    moved = seen != labels
    assert torch.equal(seen[moved], labels[moved] + 3)
    assert torch.equal(seen % 3, labels)
    assert float(moved.double().mean()) == pytest.approx(0.3, abs=0.015)
    assert realised(labels, seen, 3, 6).counts.shape == (3, 6)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"kind": "class_conditional", "matrix": [[0.9, 0.1], [0.4, 0.5]]}, "row 1 must sum to 1, got 0.9"),
        ({"kind": "class_conditional", "matrix": [[0.9, 0.1], [1.0]]}, "must be square: row 1 has 1 entries, not 2"),
        ({"kind": "class_conditional", "matrix": [[1.1, -0.1], [0.5, 0.5]]}, "ClassConditional.matrix.0.0"),
        ({"kind": "class_conditional", "matrix": [[float("nan"), 1], [0, 1]]}, "ClassConditional.matrix.0.0"),
        ({"kind": "class_conditional", "matrix": [[1.0]]}, "ClassConditional.matrix"),
        ({"kind": "per_class", "rates": [0.1, 1.0]}, "PerClass.rates.1"),
        ({"kind": "per_class", "rates": [0.1]}, "PerClass.rates"),
        ({"kind": "asymmetric", "moves": [[0, 1], [0, 2]]}, "may move each class only once"),
        ({"kind": "asymmetric", "moves": [[1, 1]]}, "must lead to another class"),
        ({"kind": "asymmetric", "moves": [[-1, 1]]}, "Asymmetric.moves.0.0"),
        ({"kind": "random_matrix", "seed": -1}, "RandomMatrix.seed"),
        ({"kind": "pair_flp"}, "did you mean 'pair_flip'"),
    ],
)
def test_bad_specs_give_one_sentence(spec: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Noise.from_spec(spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("noise", "n", "message"),
    [
        (ClassConditional(((0.9, 0.1), (0.4, 0.6))), 3, "a matrix of 2 classes, but the data has 3"),
        (PerClass((0.1, 0.2)), 3, "rates for 2 classes, but the data has 3"),
        (Asymmetric(), 9, "moves class 9, so it needs 10 classes, got 9"),
    ],
)
def test_another_number_of_classes_gives_one_sentence(noise: Noise, n: int, message: str) -> None:
    labels = torch.zeros(4, dtype=torch.int64)
    with pytest.raises(ValueError, match=message):
        noise.corrupt(labels, n, torch.Generator())


@pytest.mark.parametrize("trace", [0.0, -1.0, 3.1, float("nan")])
def test_a_trace_that_cannot_be(trace: float) -> None:
    with pytest.raises(ValueError, match=r"must lie in \(0, 3\]"):
        random_transition(3, trace, torch.Generator())
    with pytest.raises(ValueError, match="at least two classes"):
        random_transition(1, 1.0, torch.Generator())
