"""The page on tables: every code block runs, and gives the results of the stored runs."""

import importlib

import numpy as np
import pytest
from pages import DOCS, run_blocks

import byrote


def test_the_page_on_tables(monkeypatch, capsys):
    pytest.importorskip("polars", reason="needs the development install: pip install 'byrote[dev]'")
    monkeypatch.chdir(DOCS.parent)
    count, names = run_blocks(DOCS / "results.md")
    assert count == 8
    frame, polars = names["frame"], importlib.import_module("polars")
    runs = names["store"].analysis.runs
    assert len(names["last"]) == len(runs) == 112
    np.testing.assert_array_equal(
        names["last"].set_index("key").loc[runs["key"], "j1"].to_numpy(), np.asarray(runs["j1"])
    )
    csv = polars.read_csv(names["folder"] / "history.csv", infer_schema_length=None)
    parquet = polars.read_parquet(names["folder"] / "history.parquet")
    for table in (names["table"], csv, parquet):
        assert table.shape == frame.shape
        np.testing.assert_array_equal(table["j1"].to_numpy(), frame["j1"].to_numpy())
    assert "holds" in capsys.readouterr().out


def test_a_reading_that_does_not_exist_is_null_in_sql_and_files_and_nan_in_pandas(tmp_path):
    """A missing reading is null in SQL and files and NaN in pandas, and averages skip it, as the page states."""
    pandas = pytest.importorskip("pandas", reason="needs the extra: pip install 'byrote[frames]'")
    table = byrote.open(DOCS.parent / "results" / "demo").history()
    history = table.to_duckdb()
    history.write_csv(str(tmp_path / "h.csv"))
    frame = table.to_pandas()
    missing = int(np.isnan(frame["mem_mean"]).sum())
    assert missing > 0
    assert len(history.filter("mem_mean IS NULL").fetchall()) == missing
    assert int(np.isnan(pandas.read_csv(tmp_path / "h.csv")["mem_mean"]).sum()) == missing
    ((average,),) = history.aggregate("avg(mem_mean)").fetchall()
    assert average == pytest.approx(np.nanmean(frame["mem_mean"]))
