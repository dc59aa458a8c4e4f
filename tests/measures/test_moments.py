"""Class moments from one float64 pass over any chunks, compared with numpy on the whole array."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from byrote.measures.blocks import add_gram_, along, packed_size, unpacked
from byrote.measures.moments import ClassMoments, MomentStream

from .oracles import clouds


def reference(features: np.ndarray, labels: np.ndarray, N: int, weights: np.ndarray) -> tuple[np.ndarray, ...]:
    """Compute class means, weighted scatter and spread in two passes."""
    x = features.astype(np.float64)
    means = np.stack([x[labels == n].mean(0) if (labels == n).any() else np.full(x.shape[1], np.nan) for n in range(N)])
    z = x - means[labels]
    spread = np.array([np.square(z[labels == n]).sum() for n in range(N)])
    return means, (z * weights[labels, None]).T @ z, spread


def same(one: ClassMoments, other: ClassMoments, rtol: float = 1e-11) -> None:
    assert torch.equal(one.counts, other.counts)
    scale = float(other.scatter.abs().max())
    torch.testing.assert_close(one.means, other.means, rtol=rtol, atol=1e-12, equal_nan=True)
    torch.testing.assert_close(one.scatter, other.scatter, rtol=rtol, atol=rtol * scale)
    torch.testing.assert_close(one.spread, other.spread, rtol=rtol, atol=rtol * scale)


@given(
    seed=st.integers(0, 10_000),
    N=st.integers(1, 6),
    M=st.integers(1, 5),
    size=st.integers(1, 40),
    announced=st.booleans(),
    cuts=st.lists(st.integers(0, 40), max_size=5),
)
def test_any_chunking_equals_two_passes(seed: int, N: int, M: int, size: int, announced: bool, cuts: list[int]) -> None:
    """For any division into parts, even parts without some classes, sums and streams agree with numpy on the whole."""
    rng = np.random.default_rng(seed)
    features, labels = 3 + rng.normal(size=(size, M)), rng.integers(N, size=size)
    counts = np.bincount(labels, minlength=N)
    weights = 1 / np.maximum(counts, 1) if announced else np.ones(N)
    means, scatter, spread = reference(features, labels, N, weights)
    final = torch.from_numpy(counts) if announced else None
    h, y = torch.from_numpy(features), torch.from_numpy(labels)
    bounds = [0, *sorted(min(c, size) for c in cuts), size]
    parts = [(h[a:b], y[a:b]) for a, b in itertools.pairwise(bounds)]

    whole = ClassMoments.of(h, y, N, final)
    np.testing.assert_allclose(whole.means.numpy(), means, rtol=1e-12)
    np.testing.assert_allclose(whole.scatter.numpy(), scatter, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(whole.spread.numpy(), spread, rtol=1e-10, atol=1e-12)
    same(ClassMoments.stream(parts, N, final), whole)
    summed = ClassMoments.of(*parts[0], N, final)
    for part in reversed(parts[1:]):
        summed = ClassMoments.of(*part, N, final) + summed
    same(summed, whole)


@pytest.mark.parametrize("announced", [False, True])
def test_wide_features_use_several_panels(announced: bool) -> None:
    """With more features than one panel, `of`, streams and sums still give the whole symmetric scatter."""
    features, labels = clouds(np.random.default_rng(0), [40, 25, 10], 600)
    counts = np.bincount(labels)
    h, y = torch.from_numpy(features).float(), torch.from_numpy(labels)
    final = torch.from_numpy(counts) if announced else None
    weights = 1 / counts if announced else np.ones(3)
    _, scatter, _ = reference(h.numpy(), labels, 3, weights)
    stream = ClassMoments.stream([(h[:20], y[:20]), (h[20:], y[20:])], 3, final)
    for moments in (
        ClassMoments.of(h, y, 3, final),
        stream,
        ClassMoments.of(h[:20], y[:20], 3, final) + ClassMoments.of(h[20:], y[20:], 3, final),
    ):
        assert torch.equal(moments.scatter, moments.scatter.T)
        np.testing.assert_allclose(moments.scatter.numpy(), scatter, rtol=1e-9, atol=1e-11 * np.abs(scatter).max())


def test_many_rows_use_several_blocks() -> None:
    """The moments are correct for more rows than fit in one float64 block."""
    rng = np.random.default_rng(1)
    features, labels = rng.normal(size=(9_000, 257)).astype(np.float32), rng.integers(4, size=9_000)
    _, scatter, spread = reference(features, labels, 4, np.ones(4))
    moments = ClassMoments.of(torch.from_numpy(features), torch.from_numpy(labels), 4)
    np.testing.assert_allclose(moments.scatter.numpy(), scatter, rtol=1e-9, atol=1e-11 * np.abs(scatter).max())
    np.testing.assert_allclose(moments.spread.numpy(), spread, rtol=1e-12)


def test_stream_can_be_read_and_continued() -> None:
    """Moments taken from a stream are not changed by later updates of the stream."""
    features, labels = clouds(np.random.default_rng(2), [30, 30], 3)
    h, y = torch.from_numpy(features), torch.from_numpy(labels)
    stream = MomentStream(2)
    stream.update(h[:20], y[:20])
    half = stream.moments()
    before = half.scatter.clone(), half.counts.clone(), half.means.clone()
    stream.update(h[20:], y[20:])
    assert all(torch.equal(a, b) for a, b in zip(before, (half.scatter, half.counts, half.means), strict=True))
    same(half, ClassMoments.of(h[:20], y[:20], 2))
    same(stream.moments(), ClassMoments.of(h, y, 2))
    same(stream.moments(), stream.moments(), rtol=0)


def test_cancellation_is_controlled() -> None:
    """Streamed features shifted by 1000 and scaled by .001 keep 12 digits of their scatter."""
    features, labels = clouds(np.random.default_rng(3), [50, 50], 4)
    # shifting and scaling by powers of two is exact for these numbers
    exact = torch.from_numpy(features).mul(1024).round() / 1024
    y = torch.from_numpy(labels)
    moved = exact * 2.0**-10 + 1024
    plain = ClassMoments.of(exact, y, 2)
    stream = ClassMoments.stream(zip(moved.split(7), y.split(7), strict=True), 2)
    np.testing.assert_allclose(stream.scatter.numpy() * 2.0**20, plain.scatter.numpy(), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(
        (stream.offsets[1] - stream.offsets[0]).numpy() * 2.0**10,
        (plain.offsets[1] - plain.offsets[0]).numpy(),
        rtol=1e-12,
    )


def test_input_kinds() -> None:
    """numpy arrays, half precision, integers and tensors with gradients work; the coarsest dtype is recorded."""
    h, y = torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([0, 0, 1], dtype=torch.int32)
    assert ClassMoments.of(h.numpy(), y.numpy(), 2).means.tolist() == [[2.0], [5.0]]
    assert ClassMoments.of(h.long(), y, 2).epsilon == torch.finfo(torch.float64).eps
    half = ClassMoments.of(h.bfloat16(), y, 2)
    assert half.scatter.dtype == torch.float64
    assert (half + ClassMoments.of(h, y, 2)).epsilon == torch.finfo(torch.bfloat16).eps
    tracked = h.clone().requires_grad_()
    assert not ClassMoments.of(tracked, y, 2).scatter.requires_grad


def test_missing_classes() -> None:
    """A class without samples has NaN means and is named in the error; `present` drops it and renumbers the others."""
    moments = ClassMoments.of(torch.tensor([[1.0], [3.0], [7.0]]), torch.tensor([0, 0, 2]), 4)
    assert moments.absent == [1, 3]
    assert moments.means[1].isnan().all()
    assert moments.present().means.tolist() == [[2.0], [7.0]]
    assert moments.present().num_classes == 2
    nothing = ClassMoments.of(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), 2)
    assert nothing.absent == [0, 1]
    some = ClassMoments.of(torch.ones(2, 3), torch.tensor([0, 1]), 2)
    same(nothing + some, some)
    same(some + nothing, some)


def test_nan_travels() -> None:
    h = torch.tensor([[1.0], [float("nan")], [7.0]])
    assert ClassMoments.of(h, torch.tensor([0, 0, 1]), 2).scatter.isnan().all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ClassMoments.of(torch.ones(3, 2), torch.tensor([0, 1, 2]), 2), "0..1"),
        (lambda: ClassMoments.of(torch.ones(3, 2), torch.tensor([0, -1, 1]), 2), "got -1"),
        (lambda: ClassMoments.of(torch.ones(3, 2), torch.tensor([0, 1]), 2), "equal lengths"),
        (lambda: ClassMoments.of(torch.ones(3), torch.tensor([0, 1, 1]), 2), r"\(n, M\)"),
        (lambda: ClassMoments.of(torch.ones(3, 2), torch.tensor([0, 1, 1]), 2, [1, 2, 3]), "class counts"),
        (lambda: ClassMoments.of(torch.ones(3, 2), torch.tensor([0, 1, 1]), 2, [-1, 2]), "non-negative"),
        (lambda: MomentStream(0), "at least 1"),
        (lambda: MomentStream(2).moments(), "got none"),
        (lambda: ClassMoments.stream([], 2), "got none"),
        (
            lambda: ClassMoments.stream([(torch.ones(1, w), torch.tensor([0])) for w in (2, 3)], 2),
            "keep their width 2, got 3",
        ),
        (
            lambda: (
                ClassMoments.of(torch.ones(1, 2), torch.tensor([0]), 2)
                + ClassMoments.of(torch.ones(1, 3), torch.tensor([0]), 2)
            ),
            "same classes and width",
        ),
        (
            lambda: (
                ClassMoments.of(torch.ones(1, 2), torch.tensor([0]), 2)
                + ClassMoments.of(torch.ones(1, 2), torch.tensor([0]), 2, [1, 1])
            ),
            "final counts",
        ),
    ],
)
def test_bad_input_gives_one_sentence(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        call()  # type: ignore[operator]
    assert "\n" not in str(error.value)


def test_float_labels_are_refused() -> None:
    with pytest.raises(TypeError, match="integer classes"):
        ClassMoments.of(torch.ones(2, 2), torch.tensor([0.0, 1.0]), 2)


def test_within_says_which_counts_it_needs() -> None:
    """With unequal counts, the class-averaged and the pooled scatter cannot be computed from each other."""
    h, y = torch.arange(6.0).reshape(3, 2), torch.tensor([0, 0, 1])
    with pytest.raises(ValueError, match="counts="):
        ClassMoments.of(h, y, 2).within()
    with pytest.raises(ValueError, match="without counts="):
        ClassMoments.of(h, y, 2, [2, 1]).within(averaged=False)
    with pytest.raises(ValueError, match="got 3 of 4 samples"):
        ClassMoments.of(h, y, 2, [2, 2]).within()
    np.testing.assert_allclose(ClassMoments.of(h, y, 2, [2, 1]).within(), 0.5)
    np.testing.assert_allclose(ClassMoments.of(h, y, 2).within(averaged=False), 2 / 3)


@pytest.mark.parametrize("width", [1, 5, 256, 257, 600])
def test_packed_matrices(width: int) -> None:
    """A symmetric matrix stored by its upper half gives products, the full matrix, the diagonal and quadratic forms."""
    rows = torch.randn(20, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    directions = torch.randn(3, width, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    packed = torch.zeros(packed_size(width), dtype=torch.float64)
    add_gram_(packed, rows)
    add_gram_(packed, 0.5 * rows, sign=-1.0)
    whole = 0.75 * rows.T @ rows
    torch.testing.assert_close(unpacked(packed, width), whole)
    torch.testing.assert_close(along(packed, directions), ((directions @ whole) * directions).sum(1))
    assert packed_size(width) <= width**2
    assert packed_size(2048) < 0.57 * 2048**2
