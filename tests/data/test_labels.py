"""Every reader of user data turns labels in any encoding into the right classes, or raises an error of one sentence."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byrote import data
from byrote.data.formats.labels import MISSING, different_ids, numbered, typed

N = 20
TRUE = np.arange(N) % 3
VALUES = np.random.default_rng(0).normal(size=(N, 2))


def arrays(folder: Path, labels: np.ndarray, **fields: Any) -> data.Arrays:
    np.savez(folder / "a.npz", images=VALUES, labels=labels)
    return data.Arrays(path=str(folder / "a.npz"), **fields)


def npy(folder: Path, labels: np.ndarray, **fields: Any) -> data.Arrays:
    np.save(folder / "images.npy", VALUES)
    np.save(folder / "labels.npy", labels)
    return data.Arrays(path=str(folder / "images.npy"), **fields)


def csv(folder: Path, labels: np.ndarray, **fields: Any) -> data.Table:
    rows = [f"{a},{b},{label}" for (a, b), label in zip(VALUES, labels.tolist(), strict=True)]
    (folder / "t.csv").write_text("\n".join(["a,b,label", *rows, ""]))
    return data.Table(path=str(folder / "t.csv"), **fields)


def parquet(folder: Path, labels: np.ndarray, **fields: Any) -> data.Table:
    with duckdb.connect() as connection:
        connection.register("t", {"a": VALUES[:, 0].copy(), "b": VALUES[:, 1].copy(), "label": labels})
        connection.execute(f"COPY (SELECT * FROM t) TO '{folder / 't.parquet'}' (FORMAT parquet)")
    return data.Table(path=str(folder / "t.parquet"), **fields)


READERS = [arrays, npy, csv, parquet]
NAMES = np.array(["ant", "bee", "cat"])


def whole(own: data.Arrays | data.Table) -> list[int]:
    """Return the labels of all samples, by id."""
    label_of = {}
    for split in ("train", "test"):
        loaded = own.load(split)  # type: ignore[arg-type]
        label_of |= dict(zip(loaded.ids.tolist(), loaded.labels.tolist(), strict=True))
    return [label_of[i] for i in range(N)]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "labels",
    [
        *(TRUE.astype(kind) for kind in ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")),
        NAMES[TRUE],
        NAMES[TRUE].astype(object),
    ],
    ids=lambda labels: labels.dtype.str,
)
def test_encodings_that_are_certain(tmp_path: Path, reader: Any, labels: np.ndarray) -> None:
    if labels.dtype == object and reader in (arrays, npy):
        with pytest.raises(ValueError, match="Python objects are pickles, which are never read"):
            reader(tmp_path, labels).load()
        return
    own = reader(tmp_path, labels)
    assert whole(own) == TRUE.tolist()
    assert own.num_classes == 3
    assert own.class_names() == (tuple(NAMES) if labels.dtype.kind in "OU" else ("0", "1", "2"))


@pytest.mark.parametrize("reader", [arrays, npy])
@pytest.mark.parametrize(
    "labels",
    [
        *(np.eye(3)[TRUE].astype(kind) for kind in ("?", "u1", "f4", "i8")),
        TRUE[:, None],
        NAMES[TRUE].astype("S"),
        TRUE.astype(">i4"),
        np.asfortranarray(np.eye(3)[TRUE]),
    ],
    ids=lambda labels: f"{labels.dtype.str}{labels.shape}",
)
def test_encodings_only_arrays_have(tmp_path: Path, reader: Any, labels: np.ndarray) -> None:
    assert whole(reader(tmp_path, labels)) == TRUE.tolist()


@pytest.mark.parametrize("reader", READERS)
def test_truth_values_are_two_classes(tmp_path: Path, reader: Any) -> None:
    truth = np.arange(N) % 2 == 1
    assert whole(reader(tmp_path, truth)) == truth.astype(int).tolist()


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (TRUE + 1, r"no sample of class 0: .* from 1 to 3; give classes=tuple\(range\(1, 4\)\)"),
        (TRUE * 2, r"no sample of class 1: 3 classes need the labels 0 to 2, got labels up to 4; name the classes"),
        (TRUE * 10**12, "no sample of class 1: 3 classes need .* up to 2000000000000"),
        (TRUE - 1, r"labels must be at least 0, got -1 in (sample|row) 1: number the classes from 0"),
        (np.where(TRUE == 2, -1, TRUE), r"at least 0, got -1 in (sample|row) 3"),
        (TRUE + 0.5, r"integers or strings, got 0.5 in (sample|row) 1"),
        (np.where(TRUE == 2, np.inf, TRUE), r"integers or strings, got inf in (sample|row) 3|labels must be|classes"),
        (np.zeros(N, int), "expected at least two classes, but every sample is of class 0"),
        (np.array(["only"] * N), "expected at least two classes, but every sample is of class 'only'"),
        (np.array(["cat", "cat ", "dog", "dog"] * 5), r"classes 'cat' and 'cat ' differ only in spaces"),
        (np.array(["é", "e\u0301", "dog", "dog"] * 5), r"differ only in spaces or in the encoding of an accent"),
    ],
)
def test_encodings_that_are_refused(tmp_path: Path, reader: Any, labels: np.ndarray, message: str) -> None:
    if reader is csv and labels.dtype.kind == "f" and np.isinf(labels).any():
        pytest.skip("in a CSV file, 'inf' is a string")
    with pytest.raises(ValueError, match=message) as caught:
        reader(tmp_path, labels).load()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("reader", READERS)
def test_what_an_error_advises_works(tmp_path: Path, reader: Any) -> None:
    assert whole(reader(tmp_path, TRUE + 1, classes=(1, 2, 3))) == TRUE.tolist()
    assert whole(reader(tmp_path, TRUE * 10**9, classes=(0, 10**9, 2 * 10**9))) == TRUE.tolist()


@pytest.mark.parametrize("text", ["", "nan", "NaN", "NA", "NULL", "None", "?", "n/a", "<NA>", " "])
@pytest.mark.parametrize("reader", [arrays, csv, parquet])
@pytest.mark.parametrize("others", ["ant", "1"])
def test_a_missing_label_is_no_class(tmp_path: Path, reader: Any, text: str, others: str) -> None:
    labels = np.array([others, "0"] * (N // 2), dtype="U4")
    labels[[4, 7]] = text
    with pytest.raises(ValueError, match=r"2 of 20 labels are missing, the first in (sample|row) 5") as caught:
        reader(tmp_path, labels).load()
    assert "a.npz" in str(caught.value) or "column label" in str(caught.value)


@pytest.mark.parametrize("kind", ["f8", "object"])
def test_a_missing_number_in_parquet(tmp_path: Path, kind: str) -> None:
    (tmp_path / "t.csv").write_text("")
    value = "NULL::DOUBLE" if kind == "object" else "'nan'::DOUBLE"
    rows = ", ".join(f"({i}.5, {value if i == 3 else i % 2})" for i in range(N))
    duckdb.sql(f"COPY (SELECT * FROM (VALUES {rows}) t(a, label)) TO '{tmp_path / 't.parquet'}' (FORMAT parquet)")
    with pytest.raises(ValueError, match=r"missing.* the first in row 4"):
        data.Table(path=str(tmp_path / "t.parquet")).load()


def test_categories_of_a_data_frame(tmp_path: Path) -> None:
    """DuckDB, pandas and polars write categories as an ENUM."""
    path = tmp_path / "t.parquet"
    kind = "ENUM('cat', 'ant', 'bee')"
    rows = ", ".join(f"({i}.5, '{NAMES[i % 3]}'::{kind})" for i in range(N))
    duckdb.sql(f"COPY (SELECT * FROM (VALUES {rows}) t(a, label)) TO '{path}' (FORMAT parquet)")
    own = data.Table(path=str(path))
    assert whole(own) == TRUE.tolist()
    assert own.class_names() == ("ant", "bee", "cat")


def test_texts_that_are_numbers_count_by_value(tmp_path: Path) -> None:
    labels = np.array(["10", "2", "1", "2"] * 5)
    own = arrays(tmp_path, labels)
    assert own.class_names() == ("1", "2", "10")
    assert whole(own) == [2, 1, 0, 1] * 5
    assert csv(tmp_path, np.array(["none", "mild"] * 10)).class_names() == ("mild", "none")


def test_a_class_that_one_split_lacks_is_named(tmp_path: Path) -> None:
    few = np.array(["ant"] * 10 + ["bee"] * 6 + ["cow"] * 4)
    own = csv(tmp_path, few)
    with pytest.raises(ValueError, match=r"\(test\) has no sample of class 2 \('cow'\): .* .at least 5 if every fifth"):
        own.load("test")
    path = tmp_path / "s.npz"
    np.savez(path, train_images=VALUES, train_labels=TRUE, test_images=VALUES, test_labels=TRUE + 1)
    with pytest.raises(ValueError, match=r"s\.npz \(train\) has no sample of class 3"):
        data.Arrays(path=str(path)).load()


@given(st.lists(st.sampled_from(["a", "b", "10", "9", "z z"]), min_size=1, max_size=12))
def test_numbered_against_plain_python(texts: list[str]) -> None:
    order = [name for name in ("9", "10", "a", "b", "z z") if name in texts]
    expected = [order.index(text) for text in texts]
    for column in (np.array(texts), np.array(texts, dtype=object), np.array([t.encode() for t in texts])):
        labels = numbered(column, "x")
        assert labels.numbers.tolist() == expected
        assert labels.names == tuple(order)


@given(st.lists(st.one_of(st.integers(-(2**70), 2**70), st.floats(), st.sampled_from(sorted(MISSING))), max_size=6))
def test_cells_are_read_exactly_or_refused(cells: list[Any]) -> None:
    """No id is ever rounded, changed by integer overflow, or invented."""
    for written in (cells, [str(cell) for cell in cells]):
        refusal = ""
        try:
            ids = different_ids(written, "t.csv").tolist()
        except ValueError as error:
            refusal = str(error)
        assert "\n" not in refusal
        assert refusal or ids == [int(Decimal(str(cell))) for cell in cells]


def test_typed_reads_what_python_reads() -> None:
    assert typed([" 1", "+2", "-3"]).tolist() == [1, 2, -3]
    assert typed(["1e3", ".5", "2."]).tolist() == [1000, 0.5, 2]
    assert typed(["1", None]).tolist() == ["1", None]
    assert typed([True, False]).dtype == bool
    assert typed([True, 2]).dtype == object
    assert typed([]).dtype == object
    for odd in ("1_000", "0x10", "١", "1,5", "9" * 30):
        assert typed([odd]).dtype.kind != "i"
