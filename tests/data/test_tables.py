"""Real-world tables: every column, row and cell is used, reported as left out, or refused in one sentence."""

import logging
import os
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from byrote import data

N = 40
RNG = np.random.default_rng(0)
A, B = RNG.normal(size=N).round(6), RNG.normal(size=N).round(6)
LABELS = np.arange(N) % 2


def csv(path: Path, between: str = ",", **columns: Any) -> Path:
    """Write a CSV file of these columns; the argument `_` becomes a column without a name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = ["" if name == "_" else name for name in columns]
    rows = [between.join(map(str, row)) for row in zip(*columns.values(), strict=True)]
    path.write_text("\n".join([between.join(names), *rows, ""]), encoding="utf-8")
    return path


def table(path: Path, **fields: Any) -> data.Table:
    return data.Table(path=str(path), preprocessing="raw", **fields)


def features(own: data.Table) -> np.ndarray:
    """Return the features of all samples, in the order of ids."""
    splits = [own.load(split) for split in ("train", "test")]  # type: ignore[arg-type]
    order = np.argsort(np.concatenate([f.ids for f in splits]))
    return np.concatenate([f.images.flatten(1) for f in splits])[order]


def parquet(path: Path, **columns: np.ndarray) -> Path:
    with duckdb.connect() as connection:
        connection.register("t", {name: np.ascontiguousarray(column) for name, column in columns.items()})
        connection.execute(f"COPY (SELECT * FROM t) TO '{path}' (FORMAT parquet)")
    return path


def replaced(column: np.ndarray, **cells: object) -> list[object]:
    """Replace cells of a column: the argument r7 gives the new value in row 7, counted from 1."""
    values = column.tolist()
    for row, cell in cells.items():
        values[int(row[1:]) - 1] = cell
    return values


# -------------------------------------------------------------------------------------- what is a feature


def test_the_index_of_pandas_is_no_feature(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": A, "b": B, "label": LABELS})
    frame.to_csv(tmp_path / "i.csv")
    again = pandas.read_csv(tmp_path / "i.csv")
    again.to_csv(tmp_path / "j.csv")
    frame.sample(frac=1, random_state=0).sort_index().iloc[::-1].to_csv(tmp_path / "k.csv")
    for name, left in (
        ("i", "1 column of row numbers: ''"),
        ("j", "2 columns of row numbers: '', 'Unnamed: 0'"),
    ):
        own = table(tmp_path / f"{name}.csv")
        with caplog.at_level(logging.WARNING, "byrote"):
            np.testing.assert_array_equal(features(own), np.stack([A, B], 1).astype(np.float32))
        assert own.notes() == (f"{tmp_path / name}.csv: left out {left}",)
        assert caplog.messages[-1] == own.notes()[0]
    assert features(table(tmp_path / "k.csv")).shape == (N, 2)


@pytest.mark.parametrize(
    "name", ["_", "Unnamed: 0", "Unnamed: 0.1", "index", "id", "Id", "level_0", "__index_level_0__", "rownames"]
)
def test_a_column_that_numbers_rows_is_left_out_by_name(tmp_path: Path, name: str) -> None:
    for numbers in (np.arange(N), np.arange(N) + 1, np.arange(N)[::-1] * 3):
        own = table(csv(tmp_path / "t.csv", **{name: numbers, "a": A, "label": LABELS}))
        assert features(own).shape == (N, 1)
        assert "left out 1 column of row numbers" in own.notes()[0]
    chosen = table(tmp_path / "t.csv", features=("a", "" if name == "_" else name))
    assert features(chosen).shape == (N, 2)
    assert chosen.notes() == ()


def test_a_count_under_another_name_is_asked_about(tmp_path: Path) -> None:
    path = csv(tmp_path / "t.csv", step=RNG.permutation(N) + 5, a=A, label=LABELS)
    with pytest.raises(
        ValueError, match=r"t\.csv: column 'step' counts the rows from 5 to 44: list features=\(...\) with"
    ):
        table(path).load()
    assert features(table(path, features=("step", "a"))).shape == (N, 2)
    assert features(table(path, id_column="step")).shape == (N, 1)
    csv(path, step=RNG.permutation(N) * 2, a=A, label=LABELS)
    assert features(table(path)).shape == (N, 2)


@pytest.mark.parametrize("words", [("True", "False"), ("TRUE", "FALSE"), ("true", "false")])
def test_truth_values_are_features(tmp_path: Path, words: tuple[str, str]) -> None:
    truth = RNG.integers(0, 2, N)
    path = csv(tmp_path / "t.csv", a=A, b=[words[1 - t] for t in truth], label=LABELS)
    stored = parquet(tmp_path / "t.parquet", a=A, b=truth.astype(bool), label=LABELS)
    for own in (table(path), table(stored), table(path, features=("a", "b"))):
        np.testing.assert_array_equal(features(own)[:, 1], truth)
        assert own.notes() == ()


def test_texts_and_columns_without_values_are_left_out_with_a_note(tmp_path: Path) -> None:
    note = [f"note {i}" for i in range(N)]
    day = [f"2026-01-{i % 28 + 1:02}" for i in range(N)]
    path = csv(
        tmp_path / "t.csv", note=note, a=A, day=day, nothing=[""] * N, **{"Unnamed: 32": ["NaN"] * N}, label=LABELS
    )
    own = table(path)
    np.testing.assert_array_equal(features(own)[:, 0], A.astype(np.float32))
    assert own.notes() == (
        f"{path}: left out 2 columns without numbers: 'note', 'day'",
        f"{path}: left out 2 columns without a value: 'nothing', 'Unnamed: 32'",
    )
    for name in ("note", "day", "nothing"):
        with pytest.raises(ValueError, match=rf"feature columns must be numbers, got \['{name}'\]"):
            table(path, features=("a", name)).load()


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("", r"1 of 40 cells has no value, the first in row 7 \(''\)"),
        ("NA", r"1 of 40 cells has no value, the first in row 7 \('NA'\)"),
        ("nan", r"1 of 40 cells has no value, the first in row 7 \('nan'\)"),
        ("?", r"1 of 40 cells has no value, the first in row 7 \('\?'\)"),
        ("n/a", r"1 of 40 cells has no value, the first in row 7 \('n/a'\)"),
        ('"1,234"', r"1 of 40 cells is not a finite number, the first in row 7 \('1,234'\)"),
        ("12 kg", r"1 of 40 cells is not a finite number, the first in row 7 \('12 kg'\)"),
        ("inf", r"1 of 40 cells is not a finite number, the first in row 7 \('inf'\)"),
        ("-Infinity", r"1 of 40 cells is not a finite number, the first in row 7 \('-Infinity'\)"),
        ("1e999", r"1 of 40 cells is not a finite number, the first in row 7 \('1e999'\)"),
        ("True", r"1 of 40 cells is not a finite number, the first in row 7 \('True'\)"),
    ],
)
@pytest.mark.parametrize("named", [False, True])
def test_one_cell_that_is_no_number_is_named(tmp_path: Path, cell: str, message: str, named: bool) -> None:
    path = csv(tmp_path / "t.csv", a=A, b=replaced(B, r7=cell), label=LABELS)
    own = table(path, **({"features": ("a", "b")} if named else {}))
    with pytest.raises(
        ValueError, match=rf"t\.csv: features must be finite numbers in every row, but in column 'b', {message}"
    ) as caught:
        own.load()
    assert "\n" not in str(caught.value)
    assert features(table(path, features=("a",))).shape == (N, 1)


def test_one_missing_cell_in_parquet(tmp_path: Path) -> None:
    for name, cell in (("null", "NULL::DOUBLE"), ("nan", "'nan'::DOUBLE"), ("float", "'nan'::FLOAT")):
        path = tmp_path / f"{name}.parquet"
        rows = ", ".join(f"({A[i]}, {cell if i == 6 else B[i]}, {i % 2})" for i in range(N))
        duckdb.sql(f"COPY (SELECT * FROM (VALUES {rows}) t(a, b, label)) TO '{path}' (FORMAT parquet)")
        with pytest.raises(ValueError, match=r"'b', 1 of 40 cells has no value, the first in row 7"):
            table(path).load()


@pytest.mark.parametrize("cells", ["1,234", "1 234", "1.234,5", "3,5", "-1,234,567.8", "5%", "5.5 %", "$3", "-3,10 €"])
def test_a_column_of_separators_is_named(tmp_path: Path, cells: str) -> None:
    path = csv(tmp_path / "t.csv", a=A, b=[f'"{cells}"'] * N, label=LABELS)
    with pytest.raises(ValueError, match=r"column 'b' has numbers with separators or other signs, .* in row 1"):
        table(path).load()


def test_several_columns_with_holes_are_counted(tmp_path: Path) -> None:
    path = csv(tmp_path / "t.csv", a=replaced(A, r2=""), b=replaced(B, r7="x"), c=replaced(B, r9="?"), label=LABELS)
    with pytest.raises(ValueError, match=r"column 'a', .* \(other such columns: 2\)"):
        table(path).load()


def test_numbers_that_float32_cannot_tell_apart(tmp_path: Path) -> None:
    for column in (1_700_000_000 + np.arange(N) % 7, 1e300 * A, 1 + 1e-9 * A):
        path = csv(tmp_path / "t.csv", a=A, time=column, label=LABELS)
        with pytest.raises(ValueError, match="float32 cannot tell the values of column 'time' apart"):
            table(path).load()
    csv(path, a=A, time=np.full(N, 1_700_000_000), label=LABELS)
    assert features(table(path)).shape == (N, 2)


def test_names_that_differ_in_case_are_two_columns(tmp_path: Path) -> None:
    own = table(csv(tmp_path / "t.csv", a=A, A=B, label=LABELS, LABEL=1 - LABELS), features=("A", "a"))
    np.testing.assert_array_equal(features(own), np.stack([B, A], 1).astype(np.float32))


@settings(max_examples=30)
@given(
    st.lists(
        st.sampled_from(["1", "-2.5", "3e2", ".5", " 7 ", "", "x", "inf", "NA", "true", "1,5"]), min_size=5, max_size=9
    )
)
def test_any_column_is_used_whole_or_named(cells: list[str]) -> None:
    folder = Path(os.environ["BYROTE_CACHE"])
    n = len(cells)
    path = csv(folder / "t.csv", a=A[:n], b=[f'"{cell}"' for cell in cells], label=[0, 1] * (n // 2) + [0] * (n % 2))
    own = table(path)
    try:
        notes, (train, test) = own.notes(), (own.read().train, own.read().test)
    except ValueError as error:
        assert "column 'b'" in str(error), error  # noqa: PT017
        return
    stored = np.concatenate([train.images, test.images])[np.argsort(np.concatenate([train.ids, test.ids]))]
    if stored.shape[1] == 2:
        assert stored[:, 1].ravel().tolist() == [1.0 if cell == "true" else float(cell) for cell in cells]
    else:
        assert "'b'" in notes[0]
        assert not any(cell in ("1", "-2.5", "3e2", ".5", " 7 ") for cell in cells)


# ------------------------------------------------------------------------------------------ ids and splits


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (replaced(np.arange(N), r7=""), "1 of 40 are missing, the first in row 7"),
        (replaced(np.arange(N), r7="1.5"), "got 1.5 in row 7"),
        (replaced(np.arange(N), r7="a17"), "got 'a17' in row 7"),
        (replaced(np.arange(N), r7=3), "3 is in rows 4 and 7"),
        (replaced(np.arange(N), r7="99999999999999999999"), r"got (1e\+20|'9+') in row 7"),
        ([f"s{i}" for i in range(N)], "got 's0' in row 1"),
        (["True", "False"] * (N // 2), "got 'True' in row 1"),
    ],
)
def test_ids_that_name_no_sample(tmp_path: Path, ids: list[Any], message: str) -> None:
    path = csv(tmp_path / "t.csv", a=A, key=ids, label=LABELS)
    with pytest.raises(
        ValueError, match=rf"t\.csv, column key: ids must be whole numbers without repeats .*{message}"
    ) as caught:
        table(path, id_column="key").load()
    assert "\n" not in str(caught.value)


def test_ids_are_kept_exactly(tmp_path: Path) -> None:
    large = 2**62 + np.arange(N)[::-1]
    for ids in (large, np.arange(N) - 7, [f"{i}.0" for i in range(N)]):
        loaded = table(csv(tmp_path / "t.csv", a=A, key=ids, label=LABELS), id_column="key").load()
        stored = {
            int(float(i)) if isinstance(i, str) else int(i): a for i, a in zip(ids, A.astype(np.float32), strict=True)
        }
        assert all(stored[i] == a for i, a in zip(loaded.ids.tolist(), loaded.images.flatten().tolist(), strict=True))
    loaded = table(parquet(tmp_path / "t.parquet", a=A, key=large, label=LABELS), id_column="key").load()
    assert set(loaded.ids.tolist()) < set(large.tolist())


@pytest.mark.parametrize(
    ("words", "train", "test", "note"),
    [
        (("train", "test"), 0, 1, ""),
        (("Train", " TEST "), 0, 1, ""),
        (("training", "valid"), 0, 1, "no row is test, so val is the test split"),
        (("train", "test", "val", "validation"), 0, 1, "left out 20 rows with val"),
    ],
)
def test_splits_people_write(tmp_path: Path, words: tuple[str, ...], train: int, test: int, note: str) -> None:
    k = len(words)
    split = [words[i // 2 % k] for i in range(N)]
    own = table(csv(tmp_path / "t.csv", a=A, part=split, label=LABELS), split_column="part")
    assert own.load().ids.tolist() == [i for i in range(N) if i // 2 % k == train]
    assert own.load("test").ids.tolist() == [i for i in range(N) if i // 2 % k == test]
    assert own.notes() == ((f"{own.path}, column part: {note}",) if note else ())


@pytest.mark.parametrize("word", ["extra", "", "0", "tests"])
def test_a_row_of_no_split_is_named(tmp_path: Path, word: str) -> None:
    split = replaced(np.array(["train", "test"] * (N // 2)), r7=word, r9=word)
    path = csv(tmp_path / "t.csv", a=A, part=split, label=LABELS)
    with pytest.raises(
        ValueError,
        match=rf"column part: every row must be train, test or val, but 2 of 40 are not, .* row 7 \('{word}'\)",
    ):
        table(path, split_column="part").load()


@pytest.mark.parametrize(
    "fields",
    [
        {"features": ("a", "label")},
        {"features": ("a", "a")},
        {"id_column": "label"},
        {"split_column": "a", "id_column": "a"},
    ],
)
def test_a_column_has_one_role(tmp_path: Path, fields: dict[str, Any]) -> None:
    path = csv(tmp_path / "t.csv", a=A, b=B, label=LABELS)
    with pytest.raises(ValueError, match=r"column \w+: a column can have only one role"):
        table(path, **fields).load()
