"""The Observer in typical user loops: kinds of batches, loaders, outputs and heads, and runs that diverge."""

import logging
import math
from collections import OrderedDict, namedtuple
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from byrote.adapters.feed import Indexed
from byrote.measures import Observer, nc1, noise_rate
from byrote.measures.features import FeatureSet
from byrote.measures.snapshot import READINGS, needs_features, reading

N, SIZE = 3, 60
TRUE = torch.arange(N).repeat(SIZE // N)
GENERATOR = torch.Generator().manual_seed(0)
NOISY = torch.where(torch.rand(SIZE, generator=GENERATOR) < 0.3, (TRUE + 1) % N, TRUE)
IMAGES = 2 * torch.eye(N, 5)[TRUE] + torch.randn(SIZE, 5, generator=GENERATOR)
OTHER = torch.randint(N, (SIZE,), generator=GENERATOR)  # could be mistaken for labels or indices
INDEX = torch.arange(SIZE)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, N))


def loader(*columns: Tensor, **options: Any) -> DataLoader[Any]:
    return DataLoader(TensorDataset(*columns), batch_size=16, **options)


def row(train: Any, test: Any = (), model: nn.Module | None = None, **options: Any) -> dict[str, Any]:
    with Observer(net() if model is None else model, TRUE, N, **options) as observer:
        return observer.evaluate(1, train, test)


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        a == pytest.approx(other[name], rel=1e-5, nan_ok=True) for name, a in one.items()
    )


PLAIN = row(loader(IMAGES, NOISY), loader(IMAGES, TRUE))
MORE = {
    "clean": (IMAGES, NOISY, TRUE),
    "domain": (IMAGES, NOISY, OTHER),
    "index": (IMAGES, NOISY, INDEX),
    "four": (IMAGES, NOISY, OTHER, INDEX),
}


@pytest.mark.parametrize("columns", MORE.values(), ids=MORE)
def test_further_members_of_a_batch_are_no_index_by_themselves(columns: tuple[Tensor, ...]) -> None:
    # without shuffling the order is known
    assert same(row(loader(*columns), loader(*columns[:1], TRUE, OTHER)), PLAIN)
    with pytest.raises(ValueError, match=r"it shuffles \(RandomSampler\): use Observer\(index=\)"):
        row(loader(*columns, shuffle=True))
    with pytest.raises(
        ValueError, match=rf"batches of {len(columns)} members came from a list whose order is not known"
    ):
        row(list(loader(*columns)))


def test_a_declared_index_is_used_wherever_it_stands() -> None:
    test = loader(IMAGES, TRUE)
    assert same(row(loader(*MORE["index"], shuffle=True), test, index=2), PLAIN)
    assert same(row(loader(*MORE["four"], shuffle=True), test, index=3), PLAIN)
    assert same(
        row(loader(INDEX, IMAGES, NOISY, shuffle=True), loader(INDEX, IMAGES, TRUE), index=0, inputs=1, labels=2), PLAIN
    )
    assert same(row(DataLoader(Indexed(TensorDataset(IMAGES, NOISY)), 16, shuffle=True), test), PLAIN)
    part = Subset(Indexed(TensorDataset(IMAGES, NOISY)), list(range(SIZE)))
    assert same(row(DataLoader(part, 16, shuffle=True), test), PLAIN)
    with pytest.raises(ValueError, match="index=2 must name a member, but there are only 2 positions"):
        row(loader(IMAGES, NOISY), index=2)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(list(zip(IMAGES, NOISY, strict=True)))


class Odd(BatchSampler):
    """A user's own batch sampler."""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shuffle": True}, "shuffles"),
        ({"sampler": WeightedRandomSampler(torch.ones(SIZE).tolist(), SIZE)}, "WeightedRandomSampler does not go"),
        ({"sampler": SubsetRandomSampler(range(SIZE))}, "SubsetRandomSampler does not go"),
        ({"sampler": DistributedSampler(range(SIZE), 1, 0, shuffle=True)}, r"shuffles \(DistributedSampler\)"),
        (
            {"sampler": DistributedSampler(range(SIZE), 2, 0, shuffle=False)},
            "gives each of 2 processes only a share of it",
        ),
    ],
    ids=["shuffle", "weighted", "subset", "distributed", "share"],
)
def test_a_loader_without_an_order_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        row(loader(IMAGES, NOISY, **options))


def test_streams_and_other_batch_samplers_have_no_order_that_is_known() -> None:
    with pytest.raises(ValueError, match="IterableDataset"):
        row(DataLoader(Stream(), batch_size=16))
    batches = Odd(SequentialSampler(range(SIZE)), 16, drop_last=False)
    with pytest.raises(ValueError, match="come from a Odd, whose order is not known"):
        row(DataLoader(TensorDataset(IMAGES, NOISY), batch_sampler=batches))


def test_missing_and_repeated_samples() -> None:
    with pytest.raises(
        ValueError, match="expected each of the 60 training samples, but 12 are missing, the first at position 48"
    ):
        row(loader(IMAGES, NOISY, drop_last=True))
    twice = torch.cat([INDEX, INDEX[:7]])
    again = loader(IMAGES[twice], NOISY[twice], twice)
    assert same(row(again, loader(IMAGES, TRUE), index=2), PLAIN)
    with pytest.raises(ValueError, match=r"index must lie in 0\.\.59, got 60"):
        row([(IMAGES, NOISY, INDEX + 1)], index=2)


def test_a_last_batch_of_one_and_batches_as_mappings() -> None:
    test = loader(IMAGES, TRUE)
    pairs = list(zip(IMAGES.split(59), NOISY.split(59), strict=True))
    assert same(row(pairs, test), PLAIN)
    named = [
        {"x": x, "y": y, "domain": y, "i": i}
        for x, y, i in zip(IMAGES.split(16), NOISY.split(16), INDEX.split(16), strict=True)
    ]
    assert same(row(named[::-1], [{"x": IMAGES, "y": TRUE}], inputs="x", labels="y", index="i"), PLAIN)
    with pytest.raises(
        ValueError, match="labels='labels' must name a member, but there are only the keys x, y, domain, i"
    ):
        row(named)
    with pytest.raises(TypeError, match=r"cannot be called with the members x, domain, i .* inputs="):
        row(named, labels="y")
    with pytest.raises(ValueError, match=r"expected a batch \(inputs, labels\) or a mapping, got a Tensor"):
        row([IMAGES])


Output = namedtuple("Output", ["hidden", "logits"])


class Answering(nn.Module):
    """A model that returns other outputs in addition to logits."""

    def __init__(self, pack: Any) -> None:
        super().__init__()
        self.net, self.pack = net(), pack

    def forward(self, x: Tensor) -> Any:
        hidden = self.net[1](self.net[0](x))
        return self.pack(self.net[2](hidden), hidden)


@pytest.mark.parametrize(
    ("pack", "options"),
    [
        (lambda z, h: (z,), {}),
        (lambda z, h: (z, h), {}),
        (lambda z, h: (h, z), {}),
        (lambda z, h: [z.mean(), z, (h,)], {}),
        (lambda z, h: {"logits": z, "hidden": h}, {}),
        (lambda z, h: OrderedDict(loss=z.mean(), logits=z), {}),
        (lambda z, h: Output(h, z), {}),
        (lambda z, h: {"out": z}, {}),
        (lambda z, h: (z + 1, z, h), {"logits": 1}),
        (lambda z, h: {"a": h, "b": z}, {"logits": "b"}),
    ],
)
def test_models_that_answer_more_than_logits(pack: Any, options: dict[str, Any]) -> None:
    assert same(row(loader(IMAGES, NOISY), loader(IMAGES, TRUE), Answering(pack), **options), PLAIN)


def test_an_answer_that_is_not_clear_gives_one_sentence() -> None:
    for pack in (lambda z, h: (z, z + 1), lambda z, h: (h, h), lambda z, h: {"a": z, "b": z}, lambda z, h: "logits"):
        with pytest.raises(ValueError, match=r"name the member that holds .* with Observer\(logits=\)"):
            row(loader(IMAGES, NOISY), (), Answering(pack))
    with pytest.raises(ValueError, match=r"expected logits \(B, 3\), one column per class, got shape \(16, 1\)"):
        row(loader(IMAGES, NOISY), (), Answering(lambda z, h: z[:, :1]))


class Auxiliary(nn.Module):
    """A model that defines its head first and an auxiliary classifier last."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, N)
        self.body = net()[:2]
        self.early = nn.Linear(5, N)

    def forward(self, x: Tensor) -> Tensor:
        self.seen = self.early(x)
        z: Tensor = self.head(self.body(x))
        return z


def test_the_head_is_the_module_whose_outputs_are_the_logits() -> None:
    model = Auxiliary()
    with torch.no_grad():
        features = model.body(IMAGES)
    measured = row(loader(IMAGES, NOISY), loader(IMAGES, TRUE), model)
    assert measured["nc1_test"] == pytest.approx(nc1(features, TRUE), rel=1e-6)
    assert abs(measured["nc1_test"] / nc1(IMAGES, TRUE) - 1) > 0.1  # the value from the auxiliary head is far off
    assert same(row(loader(IMAGES, NOISY), loader(IMAGES, TRUE), model, head="head"), measured)
    with pytest.raises(
        ValueError,
        match=r"head='early', but they differ from them: use head= to name the module "
        r"that outputs them, here 'head'",
    ):
        row(loader(IMAGES, NOISY), (), model, head="early")
    observer = Observer(model, TRUE, N, head="head")
    model(IMAGES)
    with pytest.raises(ValueError, match=r"head='head', but they differ .* use head= .*, here 'early'"):
        observer.update(INDEX, model.seen, NOISY)


@pytest.mark.parametrize("after", [nn.LogSoftmax(1), nn.Identity(), nn.Dropout(0.0)])
def test_what_leaves_the_logits_alike_may_follow_the_head(after: nn.Module) -> None:
    assert same(row(loader(IMAGES, NOISY), loader(IMAGES, TRUE), nn.Sequential(*net(), after)), PLAIN)


@pytest.mark.parametrize("after", [nn.Softmax(1), nn.Sigmoid(), nn.BatchNorm1d(N, momentum=0.7, eps=2.0)])
def test_what_changes_the_logits_gives_one_sentence(after: nn.Module) -> None:
    model = nn.Sequential(*net(), after)
    if isinstance(after, nn.BatchNorm1d):
        after.running_var = torch.tensor([1.0, 4.0, 9.0])
        after.running_mean = torch.tensor([1.0, 0.0, -2.0])
    with pytest.raises(
        ValueError, match=r"no nn\.Linear outputs the logits of the model: .* without softmax; .*'0', '2'"
    ):
        row(loader(IMAGES, NOISY), (), model)


class Masked(nn.Module):
    """A model that masks one class after the head."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).masked_fill(torch.tensor([False, False, True]), -math.inf)


def test_masked_classes_after_the_head() -> None:
    measured = row(loader(IMAGES, NOISY), loader(IMAGES, TRUE), Masked())
    predicted = net()(IMAGES)[:, :2].argmax(1)
    assert measured["j1"] == pytest.approx((predicted == NOISY).double().mean().item())
    assert measured["nc1_test"] == pytest.approx(PLAIN["nc1_test"], rel=1e-6)


def test_a_model_called_on_something_else_before_update_gives_one_sentence() -> None:
    model = net()
    observer = Observer(model, TRUE, N)
    observer.update(INDEX[:16], model(IMAGES[:16]), NOISY[:16])
    logits = model(IMAGES[16:32])
    model(IMAGES[32:48])
    with pytest.raises(
        ValueError, match="but they differ from those of its last call: call the model on the batch right before"
    ):
        observer.update(INDEX[16:32], logits, NOISY[16:32])


def test_a_training_that_diverged_has_no_numbers(caplog: pytest.LogCaptureFixture) -> None:
    model = net()
    observer = Observer(model, TRUE, N)
    before = observer.evaluate(1, loader(IMAGES, NOISY), loader(IMAGES, TRUE))
    history = observer.sample_history
    with torch.no_grad():
        model[2].weight.fill_(math.nan)
    with caplog.at_level(logging.WARNING, "byrote"):
        measured = observer.evaluate(2, loader(IMAGES, NOISY), loader(IMAGES, TRUE))
    assert "epoch 2: 60 of 60 training samples have logits that are NaN or infinite, the first in row 0" in caplog.text
    for name in ("j1", "j2", "test_accuracy", "clean_accuracy", "corrupted_as_observed", "corrupted_as_true"):
        assert math.isnan(measured[name]), name
    assert measured["realised_rate"] == before["realised_rate"]
    assert torch.equal(observer.sample_history.margin_sum, history.margin_sum)  # not poisoned
    assert torch.equal(observer.sample_history.evaluations, history.evaluations)


def test_one_bad_row_spoils_its_readings_and_not_the_history() -> None:
    images = IMAGES.clone()
    images[5] = math.inf
    model = net()
    observer = Observer(model, TRUE, N, test_observed=NOISY)
    measured = observer.evaluate(1, loader(images, NOISY), loader(IMAGES, TRUE))
    assert math.isnan(measured["j1"])
    assert math.isnan(measured["nc1_train_true"])
    assert measured["test_accuracy"] == PLAIN["test_accuracy"]
    assert observer.sample_history.evaluations.tolist() == [0 if i == 5 else 1 for i in range(SIZE)]
    assert observer.sample_history.aum.isnan().nonzero().tolist() == [[5]]
    again = observer.evaluate(2, loader(IMAGES, NOISY), loader(images, TRUE))
    assert again["j1"] == PLAIN["j1"]
    assert math.isnan(again["test_accuracy"])
    assert math.isnan(again["rate_estimate"])


def test_noisy_test_labels_give_a_rate_estimate() -> None:
    true = torch.arange(3000) % 5
    generator = torch.Generator().manual_seed(2)
    others = (true + torch.randint(1, 5, (3000,), generator=generator)) % 5
    noisy = torch.where(torch.rand(3000, generator=generator) < 0.2, others, true)
    images, model = 8 * torch.eye(5)[true], nn.Sequential(nn.Identity(), nn.Linear(5, 5))
    with torch.no_grad():
        model[1].weight.copy_(torch.eye(5))
    train, test = [(images, noisy)], [(x, y) for x, y in zip(images.split(700), true.split(700), strict=True)]
    for labels in (noisy, noisy.numpy().astype(np.uint8), noisy.tolist()):
        measured = Observer(model, true, 5, test_observed=labels).evaluate(1, train, test)
        expected = noise_rate(images @ torch.eye(5) + model[1].bias.detach(), noisy, 5)
        assert measured["rate_estimate"] == pytest.approx(expected.rate)
        assert measured["rate_estimate"] > 0.05
        assert measured["rate_stated"] == 1
        assert measured["rate_high"] == pytest.approx(expected.high)
    assert math.isnan(Observer(model, true, 5).evaluate(1, train, test)["rate_estimate"])
    with pytest.raises(ValueError, match=r"expected test_observed \(3000,\), one label per test sample, got 2999"):
        Observer(model, true, 5, test_observed=noisy[1:]).evaluate(1, train, test)
    shuffled = DataLoader(TensorDataset(images, true), 500, shuffle=True)
    with pytest.raises(ValueError, match="give test_observed for a loader that does not shuffle"):
        Observer(model, true, 5, test_observed=noisy).evaluate(1, train, shuffled)


def test_chosen_readings_are_those_of_all() -> None:
    assert PLAIN.keys() > {"j1", "nc1_test", "mem_mean", "collapsed"}
    for name in PLAIN.keys() - {"epoch", "train_loss"}:
        measured = row(loader(IMAGES, NOISY), loader(IMAGES, TRUE), readings=(name,))
        assert list(measured) == ["epoch", "train_loss", name]
        assert measured[name] == pytest.approx(PLAIN[name], rel=1e-12, nan_ok=True)
    measured = row(loader(IMAGES, NOISY), loader(IMAGES, TRUE), readings=("nc1_test", "j1"))
    assert list(measured) == ["epoch", "train_loss", "j1", "nc1_test"]
    with pytest.raises(ValueError, match=r"readings has no 'nc1_tets'; did you mean 'nc1_test'\?"):
        row(loader(IMAGES, NOISY), readings=("nc1_tets",))


def test_readings_that_are_not_chosen_are_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(snapshot: Any) -> float:
        calls.append(len(snapshot.true))
        return float(snapshot.features.sum())

    monkeypatch.setitem(READINGS, "counted", counted)
    assert not needs_features(("j1", "nc1_test"))
    assert needs_features(("nc1_train_true",))
    assert needs_features(("mem_mean",))
    row(loader(IMAGES, NOISY), readings=("j1",))
    assert SIZE not in calls
    measured = row(loader(IMAGES, NOISY), readings=("counted",))
    assert calls.count(SIZE) == 1
    assert measured["counted"] > 0
    assert callable(reading)


def test_the_decomposition_is_shared_by_the_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four feature sets are decomposed once each: test, training by true label, by observed label, clean training."""
    shapes = []
    svd = torch.linalg.svd
    monkeypatch.setattr(torch.linalg, "svd", lambda x, **options: (shapes.append(tuple(x.shape)), svd(x, **options))[1])
    row(loader(IMAGES, NOISY), loader(IMAGES, TRUE))
    assert [shape for shape in shapes if shape == (N, 8)] == [(N, 8)] * 4
    shapes.clear()
    row(loader(IMAGES, NOISY), loader(IMAGES, TRUE), readings=("j1", "nc1_test"))
    assert shapes.count((N, 8)) == 1


def test_the_variances_along_the_axes_are_shared_by_the_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    """NC1 on test data and the share of NC1 in its largest direction use one pass over the test features."""
    calls = []
    variances = FeatureSet.variances
    monkeypatch.setattr(
        FeatureSet, "variances", lambda own, *rest: (calls.append(len(own.labels)), variances(own, *rest))[1]
    )
    measured = row(loader(IMAGES, NOISY), loader(IMAGES, TRUE), readings=("nc1_test", "nc1_test_top_share"))
    assert measured["nc1_test_top_share"] == PLAIN["nc1_test_top_share"] < 1
    assert calls.count(SIZE) == 1
