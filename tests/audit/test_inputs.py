"""All supported inputs and outputs: labels in any encoding, data frames of any library, rows in their given order."""

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pytest

from byrote.audit import LabelAudit
from byrote.audit.inputs import class_numbers, features_of, group_numbers
from byrote.table import Table


def world(n=120):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, n)
    return (np.eye(3)[y] * 4 + rng.normal(size=(n, 3))).astype(np.float32), y


@pytest.mark.parametrize(
    ("y", "names", "numbers"),
    [
        ([7, 5, 7], ("5", "7"), [1, 0, 1]),
        ([-1, 1, -1], ("-1", "1"), [0, 1, 0]),
        (["dog", "ant", "10"], ("10", "ant", "dog"), [2, 1, 0]),
        ([1.0, 0.0, 1.0], ("0", "1"), [1, 0, 1]),
        ([True, False, True], ("False", "True"), [1, 0, 1]),
        (np.eye(3)[[2, 0, 1]], ("0", "1", "2"), [2, 0, 1]),
        (pd.Series(["b", "a", "b"], index=[5, 9, 2]), ("a", "b"), [1, 0, 1]),
        (pd.Categorical(["b", "a", "b"]), ("a", "b"), [1, 0, 1]),
    ],
)
def test_labels_in_any_encoding(y, names, numbers):
    encoded, called = class_numbers(y)
    assert called == names
    assert encoded.tolist() == numbers


@pytest.mark.parametrize("y", [["a", None, "b"], [0.0, np.nan], [0.5, 1.0], np.zeros((3, 2))])
def test_labels_that_are_none_are_refused(y):
    with pytest.raises(ValueError, match="label"):
        class_numbers(y)


FRAMES = {
    "pandas": lambda x, y: pd.DataFrame(
        {"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": y}, index=range(900, 900 + len(y))
    ),
    "polars": lambda x, y: pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": y}),
    "arrow": lambda x, y: pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": y}).to_arrow(),
    "datasets": lambda x, y: datasets.Dataset.from_dict({"e": x.tolist(), "y": y.tolist()}),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_a_frame_comes_back_as_its_own_kind_in_its_own_order(kind):
    x, y = world()
    names = np.array(["ant", "bee", "cow"])[y]
    frame = FRAMES[kind](x, names)
    plain = LabelAudit(epochs=2).fit(x, names)
    audit = LabelAudit(epochs=2).fit(frame, "y")
    assert type(audit.suspects_) is type(frame)
    assert len(audit.suspects_) == len(y)
    assert list(audit.suspects_["given"][:]) == names.tolist() or audit.suspects_["given"].to_pylist() == names.tolist()
    assert audit.audit_.samples["score"].tolist() == plain.audit_.samples["score"].tolist()
    if kind == "pandas":
        assert audit.suspects_.index.tolist() == frame.index.tolist()
    assert isinstance(plain.suspects_, Table)


def test_labels_beside_a_frame_keep_its_index():
    x, y = world()
    frame = pd.DataFrame(x, columns=["a", "b", "c"], index=[f"r{i}" for i in range(len(y))])
    assert LabelAudit(epochs=1).fit(frame, y).suspects_.index.tolist() == frame.index.tolist()


def test_images_are_samples_too():
    x, y = world()
    images = np.repeat(x, 12, axis=1).reshape(-1, 6, 6)
    assert len(LabelAudit(epochs=1).fit(images, y).suspects_) == len(y)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: features_of(np.zeros(3), None), r"expected X \(n, d\)"),
        (lambda: features_of(np.array([[1.0], [np.nan]]), None), "infinity in row 1"),
        (lambda: features_of(np.zeros((3, 2)), "y"), "need a frame"),
        (lambda: features_of(pd.DataFrame({"a": [1]}), "b"), "no column 'b'"),
        (lambda: features_of(pd.DataFrame({"a": ["x"]}), None), "columns of numbers"),
        (lambda: group_numbers([1, 2], 3), "groups must name"),
        (lambda: LabelAudit(epochs=1).fit(np.zeros((8, 2)), [0] * 8), "at least two classes"),
        (lambda: LabelAudit(epochs=1).plan(checks=5), "not fitted"),
        (lambda: LabelAudit(network="cnn").fit(*world()), "network must be"),
    ],
)
def test_errors_give_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        call()
    assert "\n" not in str(error.value)
