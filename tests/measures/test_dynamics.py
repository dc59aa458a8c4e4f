"""Per-sample histories, compared with a loop over samples and epochs."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from byrote.measures import Observer
from byrote.measures.dynamics import SampleHistory, margins


def by_loop(logits: np.ndarray, observed: np.ndarray) -> list[dict[str, float]]:
    """Compute the histories in a loop over logits (E, n, C) of epochs 1..E; a row of NaN means not evaluated."""
    result = []
    for i, y in enumerate(observed):
        was, learned, forgotten, seen = False, 0, 0, []
        for epoch, z in enumerate(logits[:, i], start=1):
            if np.isnan(z).any():
                continue
            correct = bool(np.argmax(z) == y)
            if correct and learned == 0:
                learned = epoch
            forgotten += was and not correct
            was = correct
            seen.append(z[y] - max(z[k] for k in range(len(z)) if k != y))
        result.append(
            {
                "learned_epoch": learned,
                "forgotten": forgotten,
                "margin": seen[-1] if seen else math.nan,
                "aum": np.mean(seen) if seen else math.nan,
                "evaluations": len(seen),
            }
        )
    return result


@given(seed=st.integers(0, 10_000), n=st.integers(1, 12), C=st.integers(2, 5), epochs=st.integers(1, 6))
def test_history_equals_the_loop(seed: int, n: int, C: int, epochs: int) -> None:
    """The history equals the loop for whole epochs, and for batches of some samples in any order."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(epochs, n, C))
    true, observed = rng.integers(C, size=n), rng.integers(C, size=n)
    whole = batched = SampleHistory.start(*map(torch.from_numpy, (true, observed)))
    partly = logits.copy()
    for epoch in range(epochs):
        z = torch.from_numpy(logits[epoch])
        whole = whole.after(epoch + 1, z)
        order = torch.from_numpy(rng.permutation(n)[: rng.integers(0, n + 1)])
        partly[epoch, np.setdiff1d(np.arange(n), order.numpy())] = np.nan
        for index in order.split(5):
            batched = batched.after(epoch + 1, z[index], index)
    for history, expected in ((whole, by_loop(logits, observed)), (batched, by_loop(partly, observed))):
        for name in expected[0]:
            wanted = [row[name] for row in expected]
            np.testing.assert_allclose(getattr(history, name).numpy(), wanted, rtol=1e-12, err_msg=name)


def test_history_is_a_value() -> None:
    """`after` does not change the old history, and the new history carries no gradient."""
    start = SampleHistory.start(torch.tensor([0, 1]), torch.tensor([1, 1]))
    after = start.after(1, torch.tensor([[0.0, 1.0], [0.0, 1.0]], requires_grad=True))
    assert start.learned_epoch.tolist() == [0, 0]
    assert start.margin.isnan().all()
    assert start.aum.isnan().all()
    assert not after.margin.requires_grad
    assert after.corrupted.tolist() == [True, False]
    assert after.fates.corrupted_as_observed == 1
    assert math.isnan(start.fates.clean_accuracy)
    assert start.fates.count == 0


@pytest.mark.parametrize(
    ("epoch", "kind", "sentence"),
    [
        (0, ValueError, "epochs are numbered from 1, got 0: pass epoch \\+ 1 if your loop starts at 0"),
        (-1, ValueError, "epochs are numbered from 1, got -1"),
        (True, ValueError, "epochs are numbered from 1, got True"),
        (1.5, TypeError, "expected a whole number as the epoch, got 1.5"),
        ("1", TypeError, "expected a whole number as the epoch, got '1'"),
    ],
)
def test_epochs_count_from_one(epoch, kind, sentence) -> None:
    """Epochs are counted from 1, because 0 marks samples that were never learned."""
    history = SampleHistory.start(torch.tensor([0, 1]), torch.tensor([0, 1]))
    with pytest.raises(kind, match=sentence):
        history.after(epoch, torch.eye(2))
    model = torch.nn.Linear(2, 2)
    with Observer(model, torch.tensor([0, 1]), 2) as observer:
        with pytest.raises(kind, match=sentence):
            observer.evaluate(epoch, [(torch.eye(2), torch.tensor([0, 1]))])
        with pytest.raises(kind, match=sentence):
            observer.finish(epoch)
    assert history.after(np.int64(3), torch.eye(2)).learned_epoch.tolist() == [3, 3]


def test_margins_at_the_edges() -> None:
    z = torch.tensor([[1e4, -1e4], [2.0, 2.0], [math.nan, 0.0]])
    values = margins(z, torch.tensor([1, 0, 0]))
    assert values[:2].tolist() == [-2e4, 0.0]
    assert values[2].isnan()
    assert margins(z.bfloat16(), torch.tensor([0, 0, 0])).dtype == torch.bfloat16


def test_misuse_gives_one_sentence() -> None:
    start = SampleHistory.start(torch.tensor([0, 1]), torch.tensor([1, 2]))
    with pytest.raises(ValueError, match=r"logits \(2, C\)"):
        start.after(1, torch.zeros(3, 3))
    with pytest.raises(ValueError, match="once in index"):
        start.after(1, torch.zeros(2, 3), torch.tensor([1, 1]))
    with pytest.raises(ValueError, match="index must lie"):
        start.after(1, torch.zeros(1, 3), torch.tensor([2]))
    with pytest.raises(ValueError, match="observed labels"):
        start.after(1, torch.zeros(2, 2))
    with pytest.raises(ValueError, match="equal lengths"):
        SampleHistory.start(torch.tensor([0]), torch.tensor([0, 1]))
