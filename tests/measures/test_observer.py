"""The Observer gives the same readings as the library's functions, and does not change the observed training."""

import copy
import math
import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from byrote.measures import Observer, fates, j1, j2, memorization, nc1, nc3, nc4
from byrote.measures.moments import ClassMoments
from byrote.table import Table

N, TRAIN, TEST = 3, 30, 18


@pytest.fixture
def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, N))


@pytest.fixture
def data() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    true = torch.arange(N).repeat(TRAIN // N)
    observed = torch.where(torch.rand(TRAIN, generator=generator) < 0.4, (true + 1) % N, true)
    images = torch.randn(TRAIN, 5, generator=generator) + true[:, None]
    test_labels = torch.arange(N).repeat(TEST // N)
    test_images = torch.randn(TEST, 5, generator=generator) + test_labels[:, None]
    return {"images": images, "true": true, "observed": observed, "test_images": test_images, "test": test_labels}


def loader(*columns: torch.Tensor, size: int = 7) -> list[tuple[torch.Tensor, ...]]:
    return list(zip(*(column.split(size) for column in columns), strict=True))


def test_evaluate_gives_the_columns_of_the_library(model: nn.Sequential, data: dict[str, torch.Tensor]) -> None:
    """From shuffled batches with an index, every column equals the functions on the whole set in eval mode."""
    order = torch.randperm(TRAIN, generator=torch.Generator().manual_seed(2))
    train = loader(data["images"][order], data["observed"][order], order)
    with Observer(model, data["true"], N, index=2) as observer:
        row = observer.evaluate(3, train, loader(data["test_images"], data["test"]), train_loss=0.5)
    reference = copy.deepcopy(model).eval()
    with torch.no_grad():
        h, test_h = (reference[:4](data[name]) for name in ("images", "test_images"))
        predictions = reference[4](h).argmax(1)
        test_predictions = reference[4](test_h).argmax(1)
    fate = fates(predictions, data["true"], data["observed"])
    means = ClassMoments.of(test_h, data["test"], N).means
    mem = memorization(h, data["true"], data["observed"], means)
    expected = {
        "epoch": 3,
        "train_loss": 0.5,
        "j1": j1(predictions, data["observed"]),
        "j2": j2(predictions, data["true"]),
        "test_accuracy": j2(test_predictions, data["test"]),
        "nc1_train_observed": nc1(h, data["observed"]),
        "nc1_train_true": nc1(h, data["true"]),
        "nc1_test": nc1(test_h, data["test"]),
        "mem_mean": mem.mean,
        "mem_total": mem.total,
        "mem_clean_mean": mem.clean_mean,
        "realised_rate": fate.realised_rate,
        "corrupted_as_observed": fate.corrupted_as_observed,
        "corrupted_as_true": fate.corrupted_as_true,
        "class_distance": mem.class_distance,
        "train_nc3": nc3(ClassMoments.of(h, data["observed"], N), reference[4].weight),
        "train_nc4": nc4(h, reference[4].weight, reference[4].bias, ClassMoments.of(h, data["observed"], N).means),
    }
    for name, value in expected.items():
        assert row[name] == pytest.approx(value, rel=1e-5), name
    assert observer.history == Table.of([row])
    assert torch.equal(observer.sample_history.predicted, predictions)
    assert torch.equal(observer.sample_history.learned_epoch, 3 * (predictions == data["observed"]))


class Half(nn.Module):
    """A model that returns only some of the outputs of its head."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(5, 8), nn.Linear(8, 2 * N)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.body(x))
        return logits[:, :N]


@pytest.mark.parametrize(
    ("make", "head", "known"),
    [
        (lambda: nn.Sequential(nn.Linear(5, 8), nn.Linear(8, N, bias=False)), "1", True),
        (lambda: nn.Sequential(nn.Linear(5, 8), nn.Sequential(nn.Linear(8, N), nn.Tanh())), "1", False),
        (Half, "head", False),
    ],
    ids=["without a bias", "not linear", "more outputs than logits"],
)
def test_the_classifier_is_read_where_it_is_the_linear_head(
    make: Callable[[], nn.Module], head: str, known: bool, data: dict[str, torch.Tensor]
) -> None:
    with Observer(make(), data["true"], N, head=head) as observer:
        row = observer.evaluate(1, loader(data["images"], data["observed"]))
    for name in ("train_nc3", "train_nc4", "def31_duality"):
        assert math.isfinite(row[name]) == known, name
    assert math.isfinite(row["def31_norms"])


@pytest.mark.parametrize(("second", "known"), [(N + 1, True), (N, False)], ids=["one of that shape", "two"])
def test_with_features_passed_the_classifier_is_the_only_layer_of_that_shape(
    second: int, known: bool, data: dict[str, torch.Tensor]
) -> None:
    """If the user passes features, the Observer sees no call of the model, and finds the head by its shape."""
    model = nn.ModuleList([nn.Linear(5, N), nn.Linear(5, second)])
    with Observer(model, data["true"], N) as observer:
        observer.update(torch.arange(TRAIN), model[0](data["images"]), data["observed"], features=data["images"])
        row = observer.finish(1)
    assert math.isfinite(row["train_nc3"]) == known
    if known:
        moments = ClassMoments.of(data["images"], data["observed"], N)
        assert row["train_nc3"] == pytest.approx(nc3(moments, model[0].weight), rel=1e-6)


def train_loop(model: nn.Sequential, data: dict[str, torch.Tensor], observe: bool) -> list[torch.Tensor]:
    """Run three epochs of a user's loop with dropout, batch norm and shuffling by the global generator."""
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    random.seed(5)
    model[1].eval()  # a module that the user froze on purpose
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    observer = Observer(model, data["true"], N, index=2) if observe else None
    trace = []
    for epoch in range(3):
        for index in torch.randperm(TRAIN).split(8):
            logits = model(data["images"][index])
            if observer is not None:
                observer.update(index, logits, data["observed"][index])
            optimizer.zero_grad()
            nn.functional.cross_entropy(logits, data["observed"][index]).backward()
            trace += [p.grad.clone() for p in model.parameters()]
            optimizer.step()
        if observer is not None:
            observer.finish(epoch + 1)
            shuffled = torch.utils.data.DataLoader(
                torch.utils.data.TensorDataset(data["images"], data["observed"], torch.arange(TRAIN)), 8, shuffle=True
            )
            observer.evaluate(epoch + 1, shuffled, loader(data["test_images"], data["test"]))
        trace += [b.clone().float() for b in model.buffers()]
        trace.append(torch.tensor([m.training for m in model.modules()]))
        trace.append(torch.rand(1))
        trace.append(torch.tensor([np.random.rand(), random.random()]))  # noqa: NPY002
    return trace


def test_training_is_the_same_bit_for_bit(model: nn.Sequential, data: dict[str, torch.Tensor]) -> None:
    """Observing changes no gradients, buffers, module modes, or random states of torch, numpy and random."""
    other = copy.deepcopy(model)
    plain, observed = train_loop(model, data, observe=False), train_loop(other, data, observe=True)
    assert len(plain) == len(observed)
    assert all(torch.equal(a, b) for a, b in zip(plain, observed, strict=True))


def test_running_readings_are_of_the_logits_given(model: nn.Sequential, data: dict[str, torch.Tensor]) -> None:
    """`update` measures the loop's logits in train mode; without test data the test columns are NaN."""
    observer = Observer(model, data["true"], N)
    logits = []
    for index in torch.arange(TRAIN).split(8):
        z = model(data["images"][index])
        observer.update(index, z, data["observed"][index])
        logits.append(z.detach())
    row = observer.finish(1)
    assert row["j1"] == j1(torch.cat(logits).argmax(1), data["observed"])
    assert math.isnan(row["test_accuracy"])
    assert math.isnan(row["nc1_test"])
    assert math.isnan(row["mem_mean"])
    assert row["nc1_train_observed"] > 0


def test_a_sample_that_comes_twice_counts_once(model: nn.Sequential, data: dict[str, torch.Tensor]) -> None:
    """A sample repeated in padded batches is counted once, with its last logits; missing samples are left out."""
    observer = Observer(model, data["true"], N)
    h = torch.randn(4, 8)
    z = torch.tensor([[9.0, 0, 0], [0, 9.0, 0], [0, 9.0, 0], [0, 0, 9.0]])
    observer.update(torch.tensor([0, 1, 0, 2]), z, torch.tensor([0, 1, 0, 2]), features=h)
    row = observer.finish(1)
    assert row["j1"] == pytest.approx(2 / 3)
    assert observer.sample_history.predicted[:4].tolist() == [1, 1, 2, -1]


def test_close_removes_the_hook(model: nn.Sequential, data: dict[str, torch.Tensor]) -> None:
    observer = Observer(model, data["true"], N, head="4")
    assert len(model[4]._forward_hooks) == 1
    observer.close()
    assert not any(module._forward_hooks for module in model.modules())
    with pytest.raises(ValueError, match="got none"):
        observer.update(torch.arange(2), model(data["images"][:2]), data["observed"][:2])


def test_misuse_gives_one_sentence(model: nn.Sequential, data: dict[str, torch.Tensor]) -> None:
    with pytest.raises(ValueError, match="known names are"):
        Observer(model, data["true"], N, head="fc")
    with pytest.raises(ValueError, match=r"without nn\.Linear"):
        Observer(nn.ReLU(), data["true"], N)
    with pytest.raises(ValueError, match=r"0\.\.1"):
        Observer(model, data["true"], 2)
    observer = Observer(model, data["true"], N)
    with pytest.raises(ValueError, match="call update first"):
        observer.finish(1)
    z = model(data["images"][:4])
    with pytest.raises(ValueError, match="of this batch"):
        observer.update(torch.arange(3), z[:3], data["observed"][:3])
    with pytest.raises(ValueError, match="index must lie"):
        observer.update(torch.tensor([TRAIN]), z[:1], data["observed"][:1], features=torch.zeros(1, 8))
    observer.evaluate(1, loader(data["images"], data["observed"]))
    with pytest.raises(ValueError, match="stay the same"):
        observer.evaluate(2, loader(data["images"], (data["observed"] + 1) % N))
