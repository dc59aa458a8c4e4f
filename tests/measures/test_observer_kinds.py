"""Inputs that the Observer once misread: hidden shuffling, samples with two labels, arrays, similar heads."""

import itertools
from collections import namedtuple
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from byrote.adapters.feed import Indexed
from byrote.measures import ClassMoments, Observer, SampleHistory, memorization, nc1, nc3, nc4

from .test_observer_inputs import IMAGES, INDEX, NOISY, PLAIN, SIZE, TRUE, N, loader, net, row, same


class Wrapped:
    """A typical wrapper around a loader, for example to move batches, count them, or show a progress bar."""

    def __init__(self, inner: Any) -> None:
        self.inner = self.also = inner

    def __iter__(self) -> Iterator[Any]:
        yield from self.inner


WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "iterator": iter,
    "wrapper": Wrapped,
    "wrapper of wrapper's iterator": lambda inner: iter(Wrapped(inner)),
    "generator": lambda inner: (batch for batch in inner),
    "generator of generator": lambda inner: (batch for batch in (part for part in inner)),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_shuffling_is_seen_through_what_wraps_a_loader(name: str) -> None:
    """If shuffling went unnoticed, labels would go to the wrong samples, and at least .6 of them would seem wrong."""
    wrap = WRAPPERS[name]
    with pytest.raises(ValueError, match=r"in the order of their labels, but it shuffles \(RandomSampler\)"):
        row(wrap(loader(IMAGES, NOISY, shuffle=True)))
    with pytest.raises(ValueError, match=r"its list does not go through the data set in order"):
        row(wrap(loader(IMAGES, NOISY, sampler=torch.randperm(SIZE).tolist())))
    assert same(row(wrap(loader(IMAGES, NOISY)), loader(IMAGES, TRUE)), PLAIN)
    shuffled = wrap(loader(IMAGES, NOISY, INDEX, shuffle=True))
    assert same(row(shuffled, loader(IMAGES, TRUE), index=2), PLAIN)


def test_a_wrapper_of_two_loaders_is_taken_as_it_comes() -> None:
    both = Wrapped(loader(IMAGES, NOISY))
    both.also = loader(IMAGES, NOISY, shuffle=True)
    assert same(row(both, loader(IMAGES, TRUE)), PLAIN)


def test_a_sample_with_two_labels_gives_one_sentence() -> None:
    other = NOISY.clone()
    other[7] = (other[7] + 1) % N
    twice = [(IMAGES, NOISY, INDEX), (IMAGES, other, INDEX)]
    with pytest.raises(
        ValueError, match="must keep its observed label, but 1 came with two labels, the first of them at position 7"
    ):
        row(twice, index=2)
    assert same(row([twice[0], twice[0]], loader(IMAGES, TRUE), index=2), PLAIN)
    with Observer(net(), TRUE, N, index=2) as observer:  # a failed first attempt leaves nothing behind
        with pytest.raises(ValueError, match="must keep its observed label"):
            observer.evaluate(1, twice)
        assert same(observer.evaluate(1, twice[:1], loader(IMAGES, TRUE)), PLAIN)


def test_more_samples_than_labels_are_not_called_an_index() -> None:
    with pytest.raises(ValueError, match="expected each of the 60 training samples once, got more samples"):
        row([(IMAGES, NOISY), (IMAGES, NOISY)])


def test_empty_batches_are_nothing() -> None:
    empty = (IMAGES[:0], NOISY[:0])
    halves = [(IMAGES[:30], NOISY[:30]), empty, (IMAGES[30:], NOISY[30:]), empty]
    assert same(row([empty, *halves], [empty, (IMAGES, TRUE)]), PLAIN)


def test_members_of_a_namedtuple_have_names() -> None:
    Batch = namedtuple("Batch", "index image label")
    batches = [Batch(p, IMAGES[p], NOISY[p]) for p in torch.randperm(SIZE).split(16)]
    names = {"inputs": "image", "labels": "label", "index": "index"}
    assert same(row(batches, [Batch(INDEX, IMAGES, TRUE)], **names), PLAIN)
    with pytest.raises(
        ValueError, match="index='id' must name a member, but there are only the keys index, image, label"
    ):
        row(batches, inputs="image", labels="label", index="id")


def test_inputs_keep_their_type() -> None:
    Pair = namedtuple("Pair", "image domain")

    class OfPairs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net()

        def forward(self, pair: Any) -> torch.Tensor:
            assert isinstance(pair, Pair)
            return self.net(pair.image)  # type: ignore[no-any-return]

    assert same(row([(Pair(IMAGES, TRUE), NOISY)], [(Pair(IMAGES, TRUE), TRUE)], model=OfPairs()), PLAIN)


def test_logits_of_a_loop_in_any_container() -> None:
    for convert in (torch.Tensor.tolist, torch.Tensor.numpy):
        model = net()
        with Observer(model, TRUE, N) as observer:
            for rows in INDEX.split(16):
                logits = model(IMAGES[rows]).detach()
                observer.update(convert(rows), convert(logits), convert(NOISY[rows]))
            assert observer.finish(1)["j1"] == PLAIN["j1"]


@pytest.mark.parametrize("answer", [None, 1.5, "logits"])
def test_an_answer_that_holds_no_logits(answer: Any) -> None:
    class Silent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(5, N)

        def forward(self, x: torch.Tensor) -> Any:
            self.head(x)
            return answer

    with pytest.raises(
        ValueError,
        match=r"expected the model to return logits \(B, .*\), got a "
        rf"{type(answer).__name__}",
    ):
        row(loader(IMAGES, NOISY), model=Silent())


class TwoHeads(nn.Module):
    """Two heads with equal initial weights; the head that is called last does not return the logits."""

    def __init__(self, copied: bool) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.near, self.far = nn.Linear(5, 8), nn.Linear(5, 6)
        self.head, self.aux = nn.Linear(8, N), nn.Linear(6, N)
        for head in (self.head, self.aux):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        self.copied = copied

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.near(x).relu())
        self.aux(self.far(x).relu())
        return logits.clone() if self.copied else logits


def test_heads_that_answer_alike_are_told_apart_or_asked_about() -> None:
    """If both heads start at zero, they give equal outputs; an earlier version always chose the last head."""
    model = TwoHeads(copied=False)
    measured = row([(IMAGES, NOISY)], [(IMAGES, TRUE)], model=model)
    expected = nc1(ClassMoments.of(model.near(IMAGES).relu().detach(), TRUE, N))
    assert measured["nc1_test"] == pytest.approx(expected, rel=1e-5)
    model = TwoHeads(copied=True)
    with pytest.raises(ValueError, match=r"2 modules output the logits of the model: .* with head=, here 'head' or"):
        row([(IMAGES, NOISY)], model=model)
    measured = row([(IMAGES, NOISY)], [(IMAGES, TRUE)], model=model, head="head")
    assert measured["nc1_test"] == pytest.approx(
        nc1(ClassMoments.of(model.near(IMAGES).relu().detach(), TRUE, N)), rel=1e-5
    )


def test_a_head_that_is_a_convolution_is_measured_when_it_is_named() -> None:
    class Pointwise(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(5, 8), nn.Conv2d(8, N, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.body(x).relu()[:, :, None, None]).flatten(1)  # type: ignore[no-any-return]

    model = Pointwise()
    expected = nc1(ClassMoments.of(model.body(IMAGES).relu().detach(), TRUE, N))
    measured = row(loader(IMAGES, NOISY), loader(IMAGES, TRUE), model=model, head="head")
    assert measured["nc1_test"] == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="use head= to name the module that outputs them, here 'head'"):
        row(loader(IMAGES, NOISY), model=model)


def test_states_see_labels_that_no_class_has() -> None:
    logits = torch.eye(N)[NOISY]
    history = SampleHistory.start(TRUE, NOISY).after(1, logits)
    assert history.fates.realised_rate == pytest.approx(float((TRUE != NOISY).float().mean()))
    for wrong in (TRUE + 1, torch.where(INDEX == 5, 255, TRUE).to(torch.uint8)):
        with pytest.raises(ValueError, match=r"true labels must lie in 0\.\.2, got"):
            SampleHistory.start(wrong, NOISY).after(1, logits)
        with pytest.raises(ValueError, match="observed_labels must"):
            memorization(IMAGES, TRUE, wrong, IMAGES[:N])
    assert memorization(IMAGES, TRUE, NOISY + N * (NOISY != TRUE), IMAGES[:N]).count == int((TRUE != NOISY).sum())


def test_a_masked_label_is_a_missing_one() -> None:
    masked = np.ma.masked_array(NOISY.numpy(), mask=np.arange(SIZE) == 3)
    for call in (lambda y: row([(IMAGES, y)]), lambda y: memorization(IMAGES, TRUE, y, IMAGES[:N])):
        with pytest.raises(TypeError, match="must be present for every sample, got a masked array that hides 1"):
            call(masked)
        call(np.ma.masked_array(NOISY.numpy(), mask=False))


def test_an_indexed_set_keeps_its_positions_in_any_order() -> None:
    shuffled = DataLoader(Indexed(list(zip(IMAGES, NOISY, strict=True))), batch_size=7, shuffle=True)
    assert same(row(shuffled, loader(IMAGES, TRUE)), PLAIN)
    assert same(row(list(itertools.chain(shuffled)), loader(IMAGES, TRUE), index=-1), PLAIN)


def test_classifiers_and_masks_in_any_container() -> None:
    moments = ClassMoments.of(IMAGES, TRUE, N)
    weight, bias = torch.randn(N, 5, generator=torch.Generator().manual_seed(3)), torch.tensor([0.0, 1.0, -1.0])
    wrong = TRUE != NOISY
    expected = (
        nc3(moments, weight),
        nc4(IMAGES, weight, bias, moments.means),
        memorization(IMAGES, TRUE, NOISY, moments.means, wrong).redrawn_mean,
    )
    for convert in (torch.Tensor.tolist, torch.Tensor.numpy):
        values = (
            nc3(moments, convert(weight)),
            nc4(convert(IMAGES), convert(weight), convert(bias), convert(moments.means)),
            memorization(IMAGES, TRUE, NOISY, convert(moments.means), convert(wrong)).redrawn_mean,
        )
        assert values == pytest.approx(expected, rel=1e-6)


def test_an_infinite_class_mean_has_no_distance() -> None:
    """In an earlier version, an infinite class mean made D infinite, and readings relative to D were 0."""
    means = torch.tensor([[0.0, 0.0], [4.0, 0.0], [torch.inf, 0.0]])
    mem = memorization(torch.tensor([[3.0, 0.0]]), [0], [1], means)
    assert mem.mean == 3
    assert np.isnan([mem.class_distance, mem.relative, mem.noise_weighted_relative]).all()
