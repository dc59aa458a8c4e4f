"""Losses with a memory of past predictions: what they store, when they update it, and for how many runs."""

import copy
import io

import numpy as np
import pytest
import torch

from byrote import losses

from .cases import batch


def clipped(z: torch.Tensor) -> torch.Tensor:
    return z.softmax(-1).clamp(1e-4, 1 - 1e-4)


def by_hand(z: torch.Tensor, y: int, t: torch.Tensor, strength: float) -> float:
    return float(-z.log_softmax(-1)[y] + strength * torch.log(1 - (clipped(z) * t).sum()))


def test_three_visits_by_hand() -> None:
    loss = losses.EarlyLearning(beta=0.6, strength=2.0)
    criterion = loss.module(num_samples=5, num_classes=3)
    t = torch.zeros(3)
    for visit in range(3):
        z = batch(3, rows=1, seed=visit)[0][0].float()
        p = clipped(z)
        t = 0.6 * t + 0.4 * p / p.sum()
        value = criterion(z.unsqueeze(0), torch.tensor([1]), index=torch.tensor([4]))
        assert value.item() == pytest.approx(by_hand(z, 1, t, 2.0), rel=1e-5)
        torch.testing.assert_close(criterion.state[4], t)
    assert criterion.state[:4].abs().max() == 0


def test_eval_mode_only_reads() -> None:
    criterion = losses.EarlyLearning().module(num_samples=6, num_classes=2)
    z, y = batch(2, rows=6)
    index = torch.tensor([5, 3, 1, 0, 2, 4])
    criterion(z.float(), y, index=index)
    before = criterion.state.clone()
    criterion.eval()
    first = criterion(z.float(), y, "none", index)
    assert torch.equal(criterion.state, before)
    assert torch.equal(criterion(z.float(), y, "none", index), first)
    criterion.train()
    criterion(z.float(), y, index=index)
    assert not torch.equal(criterion.state, before)


def test_no_gradient_reaches_the_memory() -> None:
    loss = losses.EarlyLearning(beta=0.0, strength=1.0)
    criterion = loss.module(num_samples=1, num_classes=3)
    z = torch.tensor([[0.3, -0.2, 0.1]], dtype=torch.float64, requires_grad=True)
    criterion(z, torch.tensor([0]), index=torch.tensor([0])).backward()
    assert not criterion.state.requires_grad
    p = z.detach()[0].softmax(-1)
    e = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    agreement = (p * p).sum()  # t = p, without a gradient
    expected = p - e - (p * p - agreement * p) / (1 - agreement)
    assert z.grad is not None
    torch.testing.assert_close(z.grad[0], expected, rtol=1e-6, atol=1e-7)


def test_stacked_runs_are_separate_runs() -> None:
    S, n, B, N = 3, 7, 4, 3
    generator = torch.Generator().manual_seed(1)
    loss = losses.EarlyLearning()
    stacked = loss.module(num_samples=n, num_classes=N, runs=S)
    alone = [loss.module(num_samples=n, num_classes=N) for _ in range(S)]
    assert stacked.state.shape == (S, n, N)
    for _ in range(3):
        z = torch.randn(S, B, N, generator=generator)
        y = torch.randint(0, N, (S, B), generator=generator)
        index = torch.stack([torch.randperm(n, generator=generator)[:B] for _ in range(S)])
        values = stacked.per_sample(z, y, index)
        expected = torch.stack([alone[s].per_sample(z[s], y[s], index[s]) for s in range(S)])
        assert torch.equal(values, expected)
        checked = stacked(z, y, "none", index)  # a second visit, through the public call
        assert torch.equal(checked, torch.stack([alone[s](z[s], y[s], "none", index[s]) for s in range(S)]))
    assert torch.equal(stacked.state, torch.stack([criterion.state for criterion in alone]))


def test_the_memory_is_saved_with_the_module_and_copied_with_it() -> None:
    loss = losses.EarlyLearning()
    criterion = loss.module(num_samples=3, num_classes=2)
    z, y = batch(2, rows=3)
    criterion(z.float(), y, index=torch.arange(3))
    file = io.BytesIO()
    torch.save(criterion.state_dict(), file)
    file.seek(0)
    fresh = loss.module(num_samples=3, num_classes=2)
    fresh.load_state_dict(torch.load(file))
    assert torch.equal(fresh.state, criterion.state)
    twin = copy.deepcopy(criterion)
    twin(z.float(), y, index=torch.arange(3))
    assert torch.equal(fresh.state, criterion.state)
    assert loss == losses.EarlyLearning()  # the spec does not contain the memory


def test_bad_use_gets_one_sentence() -> None:
    loss = losses.EarlyLearning()
    z, y = batch(2, rows=4)
    with pytest.raises(TypeError, match=r"EarlyLearning remembers every sample: use loss\.module"):
        loss(z, y)
    with pytest.raises(ValueError, match="needs num_samples >= 1 and num_classes >= 2, got None and None"):
        loss.module()
    criterion = loss.module(num_samples=4, num_classes=2)
    with pytest.raises(ValueError, match="ELR needs index="):
        criterion(z, y)
    with pytest.raises(ValueError, match=r"index must lie in 0\.\.3, got 4"):
        criterion(z, y, index=torch.arange(1, 5))
    with pytest.raises(ValueError, match=r"index must have the shape \(4,\)"):
        criterion(z, y, index=torch.arange(3))
    with pytest.raises(ValueError, match="remembers 2 classes, but the logits have 3"):
        criterion(batch(3, rows=4)[0], y, index=torch.arange(4))
    stacked = loss.module(num_samples=4, num_classes=2, runs=3)
    with pytest.raises(ValueError, match="index must start with the 3 runs"):
        stacked(z, y, index=torch.arange(4))
    assert criterion.state.abs().max() == 0  # the memory was not partly updated


def test_a_plain_loss_as_a_module() -> None:
    criterion = losses.RobustLog().module(num_samples=10, num_classes=2)
    z, y = batch(2)
    assert torch.equal(criterion(z, y), losses.RobustLog()(z, y))
    assert torch.equal(criterion.per_sample(z, y, torch.arange(24)), losses.RobustLog()(z, y, "none"))
    assert not criterion.state_dict()
    assert "RobustLog" in repr(criterion)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_bad_batch_does_not_spoil_the_memory(value: float) -> None:
    """A sample with non-finite logits keeps its memory; the other samples are updated as in a batch without it."""
    criterion, other = (losses.EarlyLearning().module(num_samples=4, num_classes=3) for _ in range(2))
    z, y = batch(3, rows=4)
    z, index = z.float(), torch.arange(4)
    for module in (criterion, other):
        module(z, y, index=index)
    before = criterion.state.clone()
    spoiled = z.flip(0)
    spoiled[2, 1] = value
    values = criterion(spoiled, y, "none", index)
    other(z.flip(0), y, index=index)
    assert values.isnan().tolist() == [False, False, True, False]
    assert torch.equal(criterion.state[2], before[2])
    good = [0, 1, 3]
    assert torch.equal(criterion.state[good], other.state[good])
    assert not torch.equal(criterion.state[good], before[good])


def test_an_index_in_any_container() -> None:
    criterion = losses.EarlyLearning().module(num_samples=4, num_classes=3)
    z, y = batch(3, rows=4)
    for index in ([3, 1, 0, 2], np.array([3, 1, 0, 2], np.uint16), torch.tensor([3, 1, 0, 2], dtype=torch.int32)):
        criterion.state.zero_()
        criterion(z.float(), y, index=index)
        assert (criterion.state.sum(1) > 0).all()
    with pytest.raises(TypeError, match=r"index must be integers, got torch\.float32"):
        criterion(z.float(), y, index=torch.arange(4.0))
