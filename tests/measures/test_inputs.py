"""Every measure accepts labels in any encoding, NaN and masked classes, or raises a clear error."""

import math
import re
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from byrote import measures
from byrote.adapters.torchmetrics import MemorizationDistance, MemorizationRates, NeuralCollapseNC1
from byrote.measures.features import FeatureSet

N, SIZE, M = 3, 60, 4
GENERATOR = torch.Generator().manual_seed(0)
TRUE = torch.arange(N).repeat(SIZE // N)
OBSERVED = torch.where(torch.rand(SIZE, generator=GENERATOR) < 0.3, (TRUE + 1) % N, TRUE)
FEATURES = 2 * torch.eye(N, M)[TRUE] + torch.randn(SIZE, M, generator=GENERATOR)
LOGITS = FEATURES[:, :N].clone()
SHUFFLED = TRUE[torch.randperm(SIZE, generator=GENERATOR)]
MEANS = measures.ClassMoments.of(FEATURES, TRUE, N).means
INDEX = torch.arange(SIZE)


def fate(index: Any = INDEX, logits: Any = LOGITS, true: Any = TRUE, observed: Any = OBSERVED) -> dict[str, float]:
    metric = MemorizationRates(SIZE)
    metric.update(index, logits, true, observed)
    return {name: value.item() for name, value in metric.compute().items()}


def mem(index: Any = INDEX, features: Any = FEATURES, true: Any = TRUE, observed: Any = OBSERVED) -> dict[str, float]:
    metric = MemorizationDistance(SIZE)
    metric.measure_from(MEANS)
    metric.update(index, features, true, observed)
    return {name: value.item() for name, value in metric.compute().items()}


def collapse(index: Any = INDEX, features: Any = FEATURES, labels: Any = TRUE) -> float:
    metric = NeuralCollapseNC1(N, M, SIZE)
    metric.update(index, features, labels)
    return metric.compute().item()


def history(true: Any = TRUE, observed: Any = OBSERVED, logits: Any = LOGITS, index: Any = None) -> Any:
    after = measures.SampleHistory.start(true, observed).after(1, logits, index)
    return after.fates, after.margin.tolist(), after.learned_epoch.tolist()


def observed_row(true: Any = TRUE, labels: Any = OBSERVED, test: Any = TRUE, index: Any = INDEX) -> Any:
    model = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Linear(M, N))
    with torch.no_grad():
        model[1].weight.copy_(torch.eye(N, M))
        model[1].bias.zero_()
    observer = measures.Observer(model, true, N, index=2)
    return observer.evaluate(1, [(FEATURES, labels, index)], [(FEATURES, test)])


# Every function of labels, called with one label argument in some encoding and the others plain.
OF_LABELS: dict[str, Callable[[Any], Any]] = {
    "j1 predictions": lambda y: measures.j1(y, OBSERVED),
    "j1 labels": lambda y: measures.j1(OBSERVED, y),
    "j2 predictions": lambda y: measures.j2(y, OBSERVED),
    "j2 labels": lambda y: measures.j2(OBSERVED, y),
    "fates predictions": lambda y: measures.fates(y, TRUE, OBSERVED),
    "fates true": lambda y: measures.fates(OBSERVED, y, OBSERVED),
    "fates observed": lambda y: measures.fates(OBSERVED, TRUE, y),
    "memorization true": lambda y: measures.memorization(FEATURES, y, OBSERVED, MEANS),
    "memorization observed": lambda y: measures.memorization(FEATURES, TRUE, y, MEANS),
    "nc1": lambda y: measures.nc1(FEATURES, y),
    "nc1 of N": lambda y: measures.nc1(FEATURES, y, N),
    "moments": lambda y: measures.nc1(measures.ClassMoments.of(FEATURES, y, N)),
    "feature set": lambda y: FeatureSet.of(FEATURES, y, N).means.tolist(),
    "split moments true": lambda y: measures.split_moments(FEATURES, y, OBSERVED, N)["clean"].counts.tolist(),
    "split moments observed": lambda y: measures.split_moments(FEATURES, TRUE, y, N)["clean"].counts.tolist(),
    "layer profile": lambda y: measures.layer_profile({"a": FEATURES}, y, N),
    "margins": lambda y: measures.margins(LOGITS, y).tolist(),
    "noise rate": lambda y: measures.noise_rate(LOGITS, y, N),
    "history true": lambda y: history(true=y),
    "history observed": lambda y: history(observed=y),
    "MemorizationRates true": lambda y: fate(true=y),
    "MemorizationRates observed": lambda y: fate(observed=y),
    "MemorizationRates predictions": lambda y: fate(logits=y),
    "MemorizationDistance true": lambda y: mem(true=y),
    "MemorizationDistance observed": lambda y: mem(observed=y),
    "NeuralCollapseNC1": lambda y: collapse(labels=y),
    "Observer true": lambda y: observed_row(true=y),
    "Observer labels": lambda y: observed_row(labels=y),
    "Observer test labels": lambda y: observed_row(test=y),
}
KNOWN_N = {name for name in OF_LABELS if not name.startswith(("j1", "j2", "fates", "history", "nc1"))} | {"nc1 of N"}
KNOWN_N -= {"memorization observed", "MemorizationRates predictions", "MemorizationDistance observed"}
EACH = pytest.mark.parametrize("name", OF_LABELS)

ENCODINGS: dict[str, Callable[[Tensor], Any]] = {
    **{str(dtype): lambda y, dtype=dtype: y.to(dtype) for dtype in (
        torch.uint8, torch.int8, torch.int16, torch.int32, torch.uint16, torch.uint32,
    )},
    **{f"numpy {dtype}": lambda y, dtype=dtype: y.numpy().astype(dtype) for dtype in ("u1", "i1", ">i2", "i4", "u8")},
    "list": lambda y: y.tolist(),
    "tuple": lambda y: tuple(y.tolist()),
    "pandas": lambda y: pd.Series(y.numpy()),
}  # fmt: skip


def same(one: Any, other: Any) -> bool:
    return repr(one) == repr(other)  # NaN included


@EACH
def test_labels_in_every_container_and_dtype(name: str) -> None:
    expected = OF_LABELS[name](TRUE)
    assert not same(OF_LABELS[name](SHUFFLED), expected), "other labels change the result, so that this test can fail"
    for encoding, encode in ENCODINGS.items():
        assert same(OF_LABELS[name](encode(TRUE)), expected), encoding


@EACH
def test_booleans_are_the_classes_0_and_1(name: str) -> None:
    two = TRUE % 2
    assert same(OF_LABELS[name](two == 1), OF_LABELS[name](two))


@pytest.mark.parametrize(
    ("encode", "error", "message"),
    [
        (lambda y: y[:, None], ValueError, r"got shape \(60, 1\).*\[:, 0\]"),
        (lambda y: y[None], ValueError, r"got shape \(1, 60\)"),
        (lambda y: torch.eye(N, dtype=torch.int64)[y], ValueError, r"got shape \(60, 3\)"),
        (lambda y: torch.tensor(1), ValueError, r"got shape \(\)"),
        (lambda y: y.float(), TypeError, r"got torch\.float32: convert them with \.long\(\)"),
        (lambda y: y.double().index_fill(0, INDEX[3:4], math.nan), TypeError, "1 missing .* the first at position 3"),
        (lambda y: y + 0.5, TypeError, "these are not classes"),
        (lambda y: [str(k) for k in y.tolist()], TypeError, "must be an array of numbers, got a list of <U1"),
        (lambda y: y - 1, ValueError, "a negative label marks a sample without a class"),
        (lambda y: y[:-1], ValueError, "equal lengths"),
    ],
    ids=["column", "row", "one-hot", "0-dim", "float", "NaN", "fractions", "text", "-1", "short"],
)
def test_other_shapes_and_floats_give_one_sentence(
    encode: Callable[[Tensor], Any], error: type[Exception], message: str
) -> None:
    bad = encode(TRUE)
    for name in sorted(OF_LABELS):
        if name == "MemorizationRates predictions" and getattr(bad, "ndim", 1) == 2:
            continue  # these values are also a valid matrix of logits
        if name == "Observer true" and message == "equal lengths":
            continue  # the Observer takes the size of the data set from these labels
        text = ""
        try:
            OF_LABELS[name](bad)
        except error as raised:
            text = str(raised)
        assert re.search(message, text), f"{name}: {text!r}"
        assert "\n" not in text, name


@pytest.mark.parametrize("name", sorted(KNOWN_N))
def test_labels_from_1_are_refused_with_a_hint(name: str) -> None:
    with pytest.raises(
        ValueError,
        match=r"must lie in 0\.\.2, got 3 in row \d+ and \d+ more values out of range: labels must start at 0, "
        "but these run from 1 to 3; subtract 1",
    ):
        OF_LABELS[name](TRUE + 1)


# Every function of logits or features, with one bad row.
BAD = pytest.mark.parametrize("value", [math.nan, math.inf], ids=["NaN", "infinity"])


def spoiled(rows: Tensor, value: float, row: int = 7) -> Tensor:
    rows = rows.clone()
    rows[row, 1] = value
    return rows


@BAD
@pytest.mark.parametrize(
    "call", [lambda z: fate(logits=z), lambda z: history(logits=z)], ids=["MemorizationRates", "history"]
)
def test_logits_that_predict_no_class_name_their_row(call: Callable[[Tensor], Any], value: float) -> None:
    with pytest.raises(ValueError, match=r"but 1 of 60 rows are not, the first at row 7"):
        call(spoiled(LOGITS, value))
    with pytest.raises(ValueError, match="1 of 60 rows"):
        call(LOGITS.index_fill(0, torch.tensor([2]), -math.inf))  # every class is masked
    with pytest.raises(ValueError, match="2 or more columns"):
        call(LOGITS[:, :1])


def test_one_bad_row_among_a_million() -> None:
    logits, labels = torch.zeros(1_000_000, 2), torch.zeros(1_000_000, dtype=torch.int64)
    logits[:, 0] = 1
    logits[999_999, 1] = math.nan
    start = measures.SampleHistory.start(labels, labels)
    with pytest.raises(ValueError, match="1 of 1000000 rows are not, the first at row 999999"):
        start.after(1, logits)
    features = torch.arange(2_000_000.0).view(-1, 2)
    halves = torch.arange(1_000_000) % 2
    assert measures.nc1(features, halves) > 0
    features[999_999, 0] = math.nan
    assert math.isnan(measures.nc1(features, halves))
    assert math.isnan(measures.memorization(features, halves, 1 - halves, torch.eye(2)).total)


@BAD
def test_bad_features_give_nan_where_they_are_read(value: float) -> None:
    wrong = int((TRUE != OBSERVED).nonzero()[0])
    right = int((TRUE == OBSERVED).nonzero()[0])
    for row, spoils, spares in ((wrong, "mean", "clean_mean"), (right, "clean_mean", "mean")):
        bad = spoiled(FEATURES, value, row)
        broken, plain = (measures.memorization(h, TRUE, OBSERVED, MEANS) for h in (bad, FEATURES))
        assert math.isnan(getattr(broken, spoils))
        assert getattr(broken, spares) == getattr(plain, spares)
        assert math.isnan(mem(features=bad)[f"mem_{spoils}"])
        assert math.isnan(measures.nc1(bad, TRUE))
        assert math.isnan(collapse(features=bad))
        weight = torch.eye(N, M)
        assert math.isnan(measures.nc4(bad, weight, None, MEANS))
    assert math.isnan(measures.nc4(FEATURES, spoiled(torch.eye(N, M), value, 1), None, MEANS))
    assert math.isnan(measures.nc4(FEATURES, torch.eye(N, M), torch.tensor([0.0, value, 0.0]), MEANS))


def test_a_bad_batch_leaves_a_metric_as_it_was() -> None:
    metric = MemorizationRates(SIZE)
    metric.update(INDEX[:30], LOGITS[:30], TRUE[:30], OBSERVED[:30])
    before = metric.compute()
    with pytest.raises(ValueError, match="row 2"):
        metric.update(INDEX[30:], spoiled(LOGITS[30:], math.nan, 2), TRUE[30:], OBSERVED[30:])
    metric._computed = None
    assert same(metric.compute(), before)


def test_masked_classes() -> None:
    """A class with logit -inf is never predicted and does not lower a margin; a masked label has margin -inf."""
    logits = LOGITS.clone()
    logits[:, 2] = -math.inf
    two = LOGITS[:, :2]
    predicted = two.argmax(1)
    assert fate(logits=logits)["j1"] == measures.j1(predicted, OBSERVED)
    margins = measures.margins(logits, OBSERVED)
    rows = OBSERVED < 2
    assert torch.equal(margins[rows], measures.margins(two[rows], OBSERVED[rows]))
    assert bool((margins[~rows] == -math.inf).all())
    assert history(logits=logits)[0] == measures.fates(predicted, TRUE, OBSERVED)


def test_an_index_in_any_encoding() -> None:
    for name, call in (
        ("MemorizationRates", fate),
        ("MemorizationDistance", mem),
        ("NeuralCollapseNC1", collapse),
        ("Observer", observed_row),
    ):
        expected = call(index=INDEX)
        for index in (INDEX.to(torch.int16), INDEX.numpy().astype("u2"), INDEX.tolist()):
            assert same(call(index=index), expected), name
        for bad, error in ((INDEX.float(), TypeError), (INDEX[:, None], ValueError), (INDEX + 1, ValueError)):
            with pytest.raises(error, match="index"):
                call(index=bad)
