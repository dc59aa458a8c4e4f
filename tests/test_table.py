"""The table class that claims, figures and reports use, compared with plain Python over rows."""

from __future__ import annotations

import gc
import math
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byrote.table import Table

ROWS: list[dict[str, Any]] = [
    {"key": "b", "epoch": 2, "loss": "CE", "rate": 0.1 + 0.2, "j1": 0.9, "good": True},
    {"key": "b", "epoch": 1, "loss": "CE", "rate": 0.3, "j1": 0.5, "good": True},
    {"key": "a", "epoch": 3, "loss": "LS", "rate": 0.1, "j1": math.nan, "good": False},
    {"key": "a", "epoch": 1, "loss": "LS", "rate": 0.1, "j1": 0.4, "good": False},
]


@pytest.fixture
def table() -> Table:
    return Table.of(ROWS)


def test_rows_go_in_and_come_out(table: Table) -> None:
    assert repr(table.rows()) == repr(ROWS)
    assert table.columns == ("key", "epoch", "loss", "rate", "j1", "good")
    assert (len(table), table.runs) == (4, 2)
    assert "loss" in table
    assert "lost" not in table
    assert [table[name].dtype.kind for name in table.columns] == ["O", "i", "O", "f", "f", "b"]


def test_where_compares_as_a_reader_would(table: Table) -> None:
    assert table.where(rate=0.3)["epoch"].tolist() == [2, 1]
    assert table.where(rate=0.3 + 1e-6)["epoch"].tolist() == []
    assert table.where(loss="LS", epoch=3)["key"].tolist() == ["a"]
    assert table.where(loss=("LS", "CE"), rate=[0.1])["epoch"].tolist() == [3, 1]
    assert table.where(j1=None)["epoch"].tolist() == [3]
    assert table.where(j1=math.nan)["epoch"].tolist() == [3]
    assert table.where(j1=lambda j1: j1 > 0.45)["epoch"].tolist() == [2, 1]
    assert table.where(table["j1"] < 0.45, loss="LS")["epoch"].tolist() == [1]
    assert table.where(good=True)["key"].tolist() == ["b", "b"]
    assert len(table.where(epoch="1")) == 0
    assert len(table.where(loss=1)) == 0
    assert len(table.where()) == 4


def test_where_refuses_what_is_no_condition(table: Table) -> None:
    with pytest.raises(KeyError, match="did you mean 'rate'"):
        table.where(rat=0.3)
    with pytest.raises(ValueError, match="boolean mask of 4 rows"):
        table.where(np.array([True]))
    with pytest.raises(ValueError, match="boolean mask of 4 rows"):
        table.where(rate=lambda rate: rate)


def test_final_is_the_last_epoch_of_each_run_in_the_order_of_the_runs(table: Table) -> None:
    assert table.final()["key"].tolist() == ["b", "a"]
    assert table.final()["epoch"].tolist() == [2, 3]
    assert len(Table({}).final()) == 0


def test_groups_are_sorted_and_complete(table: Table) -> None:
    groups = [(values, part["epoch"].tolist()) for values, part in table.groups("loss", "epoch")]
    assert groups == [(("CE", 1), [1]), (("CE", 2), [2]), (("LS", 1), [1]), (("LS", 3), [3])]
    assert [type(value) for values, _ in table.groups("rate", "good") for value in values][:2] == [float, bool]
    absent = [values for values, _ in table.groups("j1")]
    assert absent[:3] == [(0.4,), (0.5,), (0.9,)]
    assert math.isnan(absent[3][0])
    assert list(Table({}).groups("x")) == []


def test_groups_of_many_names_do_not_overflow() -> None:
    n = 40
    columns = {f"c{i}": np.arange(n) for i in range(20)}  # there are 40 ** 20 combinations
    assert [len(part) for _, part in Table(columns).groups(*columns)] == [1] * n


def test_what_is_absent(table: Table) -> None:
    ragged = Table.of([{"a": 1, "s": "x", "b": True}, {"a": None}, {"c": 2.0}])
    assert ragged["s"].tolist() == ["x", "", ""]
    assert ragged["a"].dtype.kind == ragged["b"].dtype.kind == "f"
    assert np.isnan(ragged["a"]).tolist() == [False, True, True]
    masked = Table({"x": np.ma.masked_array([1.0, 2.0], mask=[False, True])})
    assert np.isnan(masked["x"]).tolist() == [False, True]


def test_concat_keeps_every_row_and_column(table: Table) -> None:
    both = Table.concat([table, Table.of([{"key": "c", "epoch": 1, "extra": "new"}]), Table({})])
    assert len(both) == 5
    assert both["extra"].tolist() == ["", "", "", "", "new"]
    assert np.isnan(both["rate"][-1])
    assert Table.concat([table, table])["epoch"].tolist() == [2, 1, 3, 1] * 2
    assert Table.concat([Table({"x": [1]}), Table({"x": [0.5]})])["x"].tolist() == [1.0, 0.5]
    assert len(Table.concat([])) == 0


def test_a_table_is_frozen_and_compared_by_value(table: Table) -> None:
    for one in (table, table.where(loss="CE"), table.with_column("new", [1, 2, 3, 4])):
        with pytest.raises(ValueError, match="read-only"):
            one["epoch"][0] = 7
    assert table == Table.of(ROWS)
    assert table != table.with_column("epoch", [1, 1, 1, 1])
    assert table != table.where(loss="CE")
    assert (table == 3) is False
    source = np.array([1.0, 2.0])
    Table({"x": source})
    source[0] = 5.0  # the array is not copied, and its owner can still write to it


def test_what_is_no_table() -> None:
    with pytest.raises(ValueError, match="equal length"):
        Table({"a": [1], "b": [1, 2]})
    with pytest.raises(ValueError, match="one-dimensional"):
        Table({"a": [[1]]})
    with pytest.raises(ValueError, match="2 values"):
        Table({"a": [1, 2]}).with_column("b", [1])
    with pytest.raises(KeyError, match="did you mean 'epoch'"):
        Table({"epoch": [1]})["epochs"]


_ROW = st.fixed_dictionaries(
    {
        "key": st.sampled_from("abcd"),
        "epoch": st.integers(0, 5),
        "loss": st.sampled_from(["CE", "LS"]),
        "rate": st.sampled_from([0.0, 0.1, 0.2, math.nan]),
    }
)


def text(rows: list[dict[str, Any]]) -> str:
    return repr([sorted(row.items()) for row in rows])


@given(st.lists(_ROW, min_size=1, max_size=30, unique_by=lambda row: (row["key"], row["epoch"])))
def test_against_plain_python(rows: list[dict[str, Any]]) -> None:
    table = Table.of(rows)
    last: dict[str, dict[str, Any]] = {}
    for row in rows:
        held = last.setdefault(row["key"], row)
        last[row["key"]] = row if row["epoch"] > held["epoch"] else held
    assert text(table.final().rows()) == text(list(last.values()))
    wanted = [row for row in rows if row["loss"] == "CE" and row["rate"] == 0.1]
    assert text(table.where(loss="CE", rate=0.1).rows()) == text(wanted)
    parts = list(table.groups("loss", "rate"))
    assert sum(len(part) for _, part in parts) == len(rows)
    for (loss, rate), part in parts:
        assert text(part.rows()) == text([r for r in rows if r["loss"] == loss and repr(r["rate"]) == repr(rate)])


class Counted:
    """The columns of ROWS as lazy loaders that count how often they are called."""

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}

    def table(self) -> Table:
        names = list(ROWS[0])
        return Table.lazy({name: lambda name=name: self._read(name) for name in names}, len(ROWS))

    def _read(self, name: str) -> list[Any]:
        self.calls[name] = self.calls.get(name, 0) + 1
        return [row[name] for row in ROWS]


def test_a_lazy_column_is_read_once_and_only_when_it_is_asked_for(table: Table) -> None:
    counted = Counted()
    lazy = counted.table()
    assert (lazy.columns, len(lazy), "j1" in lazy) == (table.columns, 4, True)
    assert counted.calls == {}
    assert repr(Counted().table()) == repr(table)
    np.testing.assert_array_equal(lazy["j1"], table["j1"])
    np.testing.assert_array_equal(lazy["j1"], table["j1"])
    assert counted.calls == {"j1": 1}
    with pytest.raises(ValueError, match="read-only"):
        lazy["j1"][0] = 1.0


@pytest.mark.parametrize(
    ("step", "read"),
    [
        (lambda t: t.where(loss="CE"), {"loss"}),
        (lambda t: t.take(np.array([3, 0, 0])), set()),
        (lambda t: t.select("epoch", "j1"), set()),
        (lambda t: t.with_column("more", [1, 2, 3, 4]), set()),
        (lambda t: t.with_lazy({"twice": lambda: 2 * t["epoch"]}), set()),
        (lambda t: t.final(), {"key", "epoch"}),
        (lambda t: t.where(key="b").take(np.array([1])).select("j1", "key"), {"key"}),
        (lambda t: next(iter(t.groups("key")))[1], {"key"}),
    ],
    ids=["where", "take", "select", "with_column", "with_lazy", "final", "chain", "groups"],
)
def test_a_lazy_table_does_as_a_plain_one_and_reads_no_more_than_it_needs(table: Table, step: Any, read: Any) -> None:
    counted = Counted()
    lazy = step(counted.table())
    assert set(counted.calls) == read
    assert repr(lazy.rows()) == repr(step(table).rows())
    assert lazy == step(table)
    assert max(counted.calls.values()) == 1, "each column is read only once"


def test_a_lazy_column_is_computed_from_the_table_it_stands_beside(table: Table) -> None:
    twice = table.with_lazy({"twice": lambda: 2 * table["epoch"], "j1": lambda: table["j1"] + 1})
    assert twice["twice"].tolist() == [4, 2, 6, 2]
    assert twice["j1"][:2].tolist() == [1.9, 1.5]
    assert twice.columns == (*table.columns, "twice")
    assert table["j1"][:2].tolist() == [0.9, 0.5], "the original table does not change"


def test_a_lazy_column_of_another_length_is_named() -> None:
    with pytest.raises(ValueError, match="column 'j1' needs 2 values, got 3"):
        _ = Table.lazy({"j1": lambda: [1, 2, 3]}, 2)["j1"]
    with pytest.raises(KeyError, match="did you mean 'j1'"):
        _ = Table.lazy({"j1": lambda: [1, 2]}, 2)["j2"]


def test_a_lazy_table_joins_with_a_plain_one(table: Table) -> None:
    joined = Table.concat([Counted().table(), table])
    assert repr(joined.rows()) == repr([*ROWS, *ROWS])


def test_a_column_that_fails_fails_again_and_leaves_the_others(table: Table) -> None:
    def broken() -> list[float]:
        raise ValueError("the file is gone")

    lazy = table.with_lazy({"bad": broken})
    for _ in range(2):
        with pytest.raises(ValueError, match="the file is gone"):
            _ = lazy["bad"]
    assert lazy["epoch"].tolist() == table["epoch"].tolist()


MIXED = {
    "key": ["a", "", "c"],
    "epoch": np.arange(1, 4),
    "j1": [0.5, None, 0.25],
    "collapsed": [False, True, False],
}


def test_a_table_becomes_a_pandas_frame():
    pytest.importorskip("pandas", reason="needs the extra: pip install 'byrote[frames]'")
    table = Table(MIXED)
    frame = table.to_pandas()
    assert list(frame.columns) == list(table.columns)
    assert frame["key"].tolist() == ["a", "", "c"]
    assert (frame["epoch"].dtype, frame["collapsed"].dtype) == (np.int64, bool)
    np.testing.assert_array_equal(frame["j1"].to_numpy(), table["j1"])
    frame.loc[0, "epoch"] = 9
    assert table["epoch"][0] == 1, "changing the data frame does not change the table"


def test_a_table_becomes_a_polars_frame_whose_means_leave_out_what_is_absent():
    pytest.importorskip("polars", reason="needs the extra: pip install 'byrote[frames]'")
    frame = Table(MIXED).to_polars()
    assert frame.rows() == [("a", 1, 0.5, False), ("", 2, None, True), ("c", 3, 0.25, False)]
    assert frame["j1"].mean() == 0.375


def test_a_table_becomes_a_relation_that_lives_on_its_own():
    relation = Table(MIXED).to_duckdb()
    gc.collect()
    assert relation.filter("j1 IS NULL").fetchall() == [("", 2, None, True)]
    assert relation.aggregate("avg(j1)").fetchall() == [(0.375,)]
    assert Table(MIXED).to_duckdb().filter("epoch > 2").fetchall() == [("c", 3, 0.25, False)]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_missing_library_gives_one_sentence(library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ModuleNotFoundError, match=rf"^{library} is required .* pip install 'byrote\[frames\]'$"):
        getattr(Table(MIXED), f"to_{library}")()


def test_a_table_shows_its_first_and_last_rows_and_the_columns_that_fit():
    assert repr(Table({})) == "Table of 0 rows and 0 columns"
    long = Table({"epoch": np.arange(40), "loss": [1 / 3] * 40, "what": ["x" * 30] * 40})
    lines = repr(long).splitlines()
    assert lines[0] == "Table of 40 rows and 3 columns"
    assert lines[1].split() == ["epoch", "loss", "what"]
    assert [line.split()[0] for line in lines[2:]] == ["0", "1", "2", "3", "4", "...", "35", "36", "37", "38", "39"]
    assert lines[2].split()[1:] == ["0.3333", "x" * 17 + "..."]
    wide = Table({f"column{i:02}": [i] for i in range(40)})
    lines = repr(wide).splitlines()
    assert lines[0] == "Table of 1 row and 40 columns, of which 11 are shown"
    assert max(map(len, lines)) <= 110


def test_only_the_columns_that_are_shown_are_read():
    def never():
        raise AssertionError("read")

    wide = Table.lazy({f"column{i:02}": (lambda: [1]) for i in range(20)} | {"last": never}, 1)
    assert "11 are shown" in repr(wide)


def test_a_table_is_not_iterated_by_chance():
    with pytest.raises(TypeError, match="not iterable"):
        list(Table(MIXED))
