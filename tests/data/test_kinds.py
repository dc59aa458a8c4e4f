"""Cells, labels, numbers and folders that earlier versions misread."""

import os
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from byrote import data
from byrote.data.formats.numpy import read_npy

from .test_arrays import header
from .test_folders import PLAIN, classes, folder, image, pixels
from .test_tables import LABELS, A, B, N, csv, features, parquet, table

# ------------------------------------------------------------------------------------------- cells of a table


def test_digits_with_an_underscore_are_a_text(tmp_path: Path) -> None:
    """DuckDB reads 1_2 as the number 12; byrote keeps it as text."""
    folds = [f"{i % 3}_{i % 2}" for i in range(N)]
    own = table(csv(tmp_path / "t.csv", fold=folds, a=A, label=LABELS))
    np.testing.assert_array_equal(features(own)[:, 0], A.astype(np.float32))
    assert own.notes() == (f"{own.path}: left out 1 column without numbers: 'fold'",)
    csv(tmp_path / "t.csv", a=A, b=[*B[:-1], "1_000"], label=LABELS)
    with pytest.raises(ValueError, match=r"not a finite number, the first in row 40 \('1_000'\)"):
        own.load()


def test_a_column_in_order_with_the_rows_is_asked_about(tmp_path: Path) -> None:
    """An index column with gaps, left by dropped rows, reveals the class if the rows are sorted by label."""
    rising = np.cumsum(np.random.default_rng(1).integers(1, 4, N))
    for column in (rising, rising[::-1]):
        path = csv(tmp_path / "t.csv", passenger=column, a=A, label=np.sort(LABELS))
        with pytest.raises(ValueError, match="column 'passenger' rises or falls with every row, like an index, from"):
            table(path).load()
        assert features(table(path, features=("passenger", "a"))).shape == (N, 2)
    swapped = rising.copy()
    swapped[[3, 4]] = swapped[[4, 3]]
    assert features(table(csv(tmp_path / "t.csv", passenger=swapped, a=A, label=LABELS))).shape == (N, 2)


def test_a_feature_without_a_name_is_asked_about(tmp_path: Path) -> None:
    path = csv(tmp_path / "t.csv", _=A, b=B, label=LABELS)
    with pytest.raises(ValueError, match="column '' has none and does not number the rows"):
        table(path).load()
    assert features(table(path, features=("", "b"))).shape == (N, 2)


def test_the_index_that_pandas_names_in_parquet_is_no_feature(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    order = np.random.default_rng(2).permutation(N) * 3
    frame = pandas.DataFrame({"a": A, "label": LABELS}, index=pandas.Index(order, name="patient"))
    frame.to_parquet(tmp_path / "t.parquet")
    own = table(tmp_path / "t.parquet")
    np.testing.assert_array_equal(features(own)[:, 0], A.astype(np.float32))
    assert own.notes() == (f"{own.path}: left out 1 column that pandas wrote as the index: 'patient'",)
    assert features(table(tmp_path / "t.parquet", features=("patient", "a"))).shape == (N, 2)
    frame.reset_index(drop=True).to_parquet(tmp_path / "t.parquet")
    assert table(tmp_path / "t.parquet").notes() == ()


def test_lists_are_no_features_and_no_labels(tmp_path: Path) -> None:
    rows = ", ".join(f"({a}, [{a}, 1.0], {i % 2})" for i, a in enumerate(A))
    duckdb.sql(f"COPY (SELECT * FROM (VALUES {rows}) t(a, pair, label)) TO '{tmp_path / 't.parquet'}'")
    own = table(tmp_path / "t.parquet")
    assert features(own).shape == (N, 1)
    assert own.notes() == (f"{own.path}: left out 1 column without numbers: 'pair'",)
    with pytest.raises(ValueError, match="labels must be integers or strings, got a list in row 1: write one class"):
        table(tmp_path / "t.parquet", label_column="pair").load()
    duckdb.sql(f"COPY (SELECT pair, label FROM '{tmp_path / 't.parquet'}') TO '{tmp_path / 'u.parquet'}'")
    with pytest.raises(ValueError, match="got none; column 'pair' contains lists: write a column for each number"):
        table(tmp_path / "u.parquet").load()


def test_an_error_names_the_file_and_no_other(tmp_path: Path) -> None:
    path = parquet(tmp_path / "t.parquet", a=A, label=LABELS)
    for content in (path.read_bytes()[:-20], b"", b"PAR1"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"t\.parquet is not a complete table: .*'t\.parquet'") as caught:
            table(path).load()
        assert "byrote-" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,label\r\n1,0\r\n2,1\n", r"its lines end in two ways, some with \\r\\n and some with \\n"),
        (b"\n\na,label\n1,0\n", "its first line is blank, but a header with the names of the columns is expected"),
        (b"", "it is empty, but a header with the names of the columns is expected"),
        ("a,label\n1,0\n".encode("utf-16"), "it is not written in UTF-8: save it as UTF-8"),
    ],
)
def test_what_is_wrong_with_a_csv_file(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        table(tmp_path / "t.csv").load()
    assert "\n" not in str(caught.value)


# --------------------------------------------------------------------------------------------------- labels


def npz(path: Path, **arrays: Any) -> data.Arrays:
    np.savez(path / "a.npz", **arrays)
    return data.Arrays(path=str(path / "a.npz"), preprocessing="raw")


def test_an_infinity_among_numbers_is_no_class(tmp_path: Path) -> None:
    for word in ("inf", "-Infinity"):
        own = table(csv(tmp_path / "t.csv", a=A, label=["0", word] * (N // 2)))
        with pytest.raises(ValueError, match=r"labels must be integers or strings, got -?inf in row 2"):
            own.load()
    csv(tmp_path / "t.csv", a=A, label=["inf", "sup"] * (N // 2))
    assert own.class_names() == ("inf", "sup")


@pytest.mark.parametrize("pair", [("1", "01"), ("1", "1.0"), ("0", "-0")])
def test_a_number_written_in_two_ways_is_one_class(tmp_path: Path, pair: tuple[str, str]) -> None:
    own = npz(tmp_path, images=np.stack([A, B], 1), labels=np.array(pair * (N // 2)))
    with pytest.raises(ValueError, match=r"the classes '.*' and '.*' are the same number; use one name for both"):
        own.load()
    with pytest.raises(ValueError, match="are the same number; use one name for both"):
        folder(classes(tmp_path / "top", pair)).load()


def test_bytes_are_texts_in_utf8_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    rows = ", ".join(f"({a}, '{'ab'[i % 2]}'::BLOB)" for i, a in enumerate(A))
    duckdb.sql(f"COPY (SELECT * FROM (VALUES {rows}) t(a, label)) TO '{path}'")
    assert table(path).class_names() == ("a", "b")
    for code in (r"\xFF", r"\x00\x01"):
        duckdb.sql(f"COPY (SELECT 1.5 a, 'a'::BLOB AS label UNION ALL SELECT 2.5, '{code}'::BLOB) TO '{path}'")
        with pytest.raises(ValueError, match="labels must be strings in UTF-8, got bytes that are not UTF-8 in row 2"):
            table(path).load()


@pytest.mark.parametrize("row", [(1, 1, 0), (0, 0, 0), (0.5, 0.5, 0)])
def test_a_row_that_is_not_one_hot_is_named(tmp_path: Path, row: tuple[float, ...]) -> None:
    hot = np.eye(3)[np.arange(N) % 3]
    assert npz(tmp_path, images=np.stack([A, B], 1), labels=hot).load().num_classes == 3
    hot[6] = row
    own = npz(tmp_path, images=np.stack([A, B], 1), labels=hot)
    with pytest.raises(ValueError, match=r"must have exactly one 1, got \[.*\] in sample 7 \(wrong rows: 1 of 40\)"):
        own.load()


def test_labels_of_minus_one_and_one_come_with_advice(tmp_path: Path) -> None:
    own = npz(tmp_path, images=np.stack([A, B], 1), labels=(2 * LABELS - 1).astype(np.int8))
    with pytest.raises(ValueError, match="got -1 in sample 1: for labels -1 and 1, add 1 and halve them"):
        own.load()


# --------------------------------------------------------------------------------------------------- arrays


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x + 1e9, r"values of feature 1 of images apart \(up to 1e\+09, deviation"),
        (lambda x: (x * 1e3).astype(np.int64) + 10**15, "values of feature 1 of images apart"),
        (lambda x: x * 1e-60, "values of feature 1 of images apart"),
    ],
)
def test_numbers_that_float32_cannot_hold(tmp_path: Path, change: Any, message: str) -> None:
    """In an earlier version, numbers too large for float32 became equal, so all samples were the same."""
    values = np.stack([A, change(B)], 1)
    with pytest.raises(ValueError, match=message):
        npz(tmp_path, images=values, labels=LABELS).load()
    square = np.stack([A[:, None, None] + np.zeros((2, 2)), change(B)[:, None, None] + np.zeros((2, 2))], 1)
    with pytest.raises(ValueError, match=message.replace("feature", "channel")):
        data.Arrays(path=npz(tmp_path, images=square, labels=LABELS).path, layout="nchw").load()
    assert npz(tmp_path, images=np.stack([A, B * 1e-30], 1), labels=LABELS).load().images.std() > 0


def test_splits_of_two_scales_are_refused(tmp_path: Path) -> None:
    gray = np.random.default_rng(0).random((N, 3, 3))
    parts = {"train_labels": LABELS, "test_labels": LABELS}
    with pytest.raises(ValueError, match=r"must have the same scale, but .* and 2.*: divide the larger ones by"):
        npz(tmp_path, train_images=gray, test_images=255 * gray, **parts).load()
    assert len(npz(tmp_path, train_images=gray, test_images=2 * gray, **parts).load()) == N


def test_names_of_other_programs_are_answered_with_ours(tmp_path: Path) -> None:
    own = npz(tmp_path, x=np.stack([A, B], 1), y=LABELS)
    with pytest.raises(ValueError, match=r"must be named images and labels, or .*, but the arrays there are x, y"):
        own.load()


@pytest.mark.parametrize(
    "content", [header((True, 40)) + b"\0" * 40, header((20,), "<U0"), header((10**13,), "|S0"), header((2.0,))]
)
def test_headers_that_numpy_itself_cannot_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "images.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"images\.npy is not a complete npy file of plain arrays"):
        read_npy(tmp_path / "images.npy")


def test_every_version_of_the_format_is_read(tmp_path: Path) -> None:
    for version in ((1, 0), (2, 0), (3, 0)):
        with (tmp_path / "a.npy").open("wb") as file:
            np.lib.format.write_array(file, A, version=version)
        np.testing.assert_array_equal(read_npy(tmp_path / "a.npy"), A)


# -------------------------------------------------------------------------------------------------- folders


@pytest.mark.parametrize("names", [("training_set", "test_set"), ("seg_train", "seg_test"), ("train1", "valid1")])
def test_splits_under_other_names_are_no_classes(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in names:
        classes(tmp_path / name)
    with pytest.raises(ValueError, match="look like splits but would be read as classes: call them train, test and"):
        folder(tmp_path).load()


def test_classes_that_sound_like_splits_stay_classes(tmp_path: Path) -> None:
    names = ("contest", "plane", "test_tube", "train_station")
    assert folder(classes(tmp_path, names)).class_names() == names


def test_a_folder_around_the_classes_is_named(tmp_path: Path) -> None:
    classes(tmp_path / "data")
    with pytest.raises(ValueError, match="every sample is of class 'data', a folder of folders: give the path of the"):
        folder(tmp_path).load()
    with pytest.raises(ValueError, match=r"expected a folder .*, but .*0\.png is a file"):
        folder(tmp_path / "data" / "cat" / "0.png").load()


def test_names_that_look_alike_are_one_class(tmp_path: Path) -> None:
    for number, pair in enumerate((("cat", "cat "), ("\xe9", "e\u0301"))):
        with pytest.raises(ValueError, match="differ only in spaces or in the encoding of an accent"):
            folder(classes(tmp_path / str(number), pair)).load()


@pytest.mark.parametrize("name", ["@Recycle", "RECYCLER", "~$cat", "@tmp", "node_modules"])
def test_litter_of_further_systems(tmp_path: Path, name: str) -> None:
    classes(tmp_path, ("cat", "dog", name))
    assert pixels(folder(tmp_path)) == PLAIN


def test_an_empty_hidden_folder_gives_no_note(tmp_path: Path) -> None:
    (classes(tmp_path) / ".cache").mkdir()
    assert folder(tmp_path).notes() == ()


def test_images_that_are_there_twice_are_counted(tmp_path: Path) -> None:
    classes(tmp_path)
    (tmp_path / "dog" / "x.png").symlink_to(tmp_path / "cat" / "0.png")
    os.link(tmp_path / "cat" / "1.png", tmp_path / "cat" / "y.png")
    (note,) = folder(tmp_path).notes()
    assert "2 of 12 images repeat earlier images because of links, the first: " in note


def test_what_is_no_image_is_named_without_python(tmp_path: Path) -> None:
    (image(tmp_path / "dog" / "a.png").parent / "b.png").write_bytes(b"<html>404</html>")
    classes(tmp_path)
    with pytest.raises(ValueError, match=r"b\.png is not an image that can be read: its format is none of PNG, JPEG"):
        folder(tmp_path).load()
