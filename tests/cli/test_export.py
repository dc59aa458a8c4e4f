"""Commands that read a store: `export`, `compare`, `show`, `claims --only`, `figures NAME`."""

import csv
import json
import shutil
from pathlib import Path

import duckdb
import numpy as np
import pytest

import byrote
from byrote.cli import main
from byrote.files import sha256
from byrote.store.parquet import read_parquet, write_parquet
from byrote.store.sealed import read_sealed, write_sealed
from byrote.store.written import write_rows

DEMO = Path(__file__).resolve().parent.parent.parent / "results" / "demo"
MINI = str(Path(__file__).resolve().parent.parent / "sweep" / "mini.toml")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("export") / "store"
    assert main(["run", MINI, "--import", "toys", "--on", "serial", "--out", str(root)]) == 0
    return root


@pytest.fixture
def compacted(store, tmp_path):
    assert main(["compact", str(store), "--out", str(tmp_path / "compacted")]) == 0
    return tmp_path / "compacted"


def rows_of(path):
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


def answer(capsys, *words, code=0):
    capsys.readouterr()
    assert main([*map(str, words), "--json"]) == code
    return json.loads(capsys.readouterr().out)


# ------------------------------------------------------------------------------------------- export


def test_the_table_of_resistance_is_that_of_a_plain_average(store, tmp_path):
    assert main(["export", str(store), "--to", "csv", "--out", str(tmp_path)]) == 0
    rows = rows_of(tmp_path / "tables" / "resistance.csv")
    assert len(rows) == 4  # 2 losses, 2 rates
    history = byrote.open(store).history().to_pandas()
    last = history[history["epoch"] == 4]
    for row in rows:
        seeds = last[(last["loss"] == row["loss"]) & (last["rate"] == float(row["rate"]))]
        assert len(seeds) == int(row["j1_n"]) == 2
        assert float(row["j1"]) == pytest.approx(seeds["j1"].mean(), rel=1e-15)
        half = 12.706204736 * seeds["j1"].std(ddof=1) / 2**0.5  # Student's quantile for one degree of freedom
        assert float(row["j1_high"]) - float(row["j1"]) == pytest.approx(half, rel=1e-8)


def test_verdicts_and_their_checks_are_those_of_the_command(store, tmp_path, capsys):
    verdicts = {one["id"]: one for one in answer(capsys, "claims", store)}
    assert main(["export", str(store), "--to", "csv", "--out", str(tmp_path)]) == 0
    for row in rows_of(tmp_path / "tables" / "verdicts.csv"):
        one = verdicts.pop(row["claim"])
        assert (row["verdict"], row["statement"]) == (one["verdict"], one["statement"])
        low, high = one["interval"] or (None, None)
        for name, value in (("statistic", one["statistic"]), ("low", low), ("high", high)):
            assert row[name] == ("" if value is None else repr(value)), row["claim"]
    assert not verdicts
    checks = rows_of(tmp_path / "tables" / "cells.csv")
    assert len(checks) == sum(len(one["details"]) for one in answer(capsys, "claims", store))


def test_every_figure_of_the_page_has_its_numbers_and_links_them(store, tmp_path):
    assert main(["report", str(store), "--out", str(tmp_path)]) == 0
    page = (tmp_path / "index.html").read_text()
    drawn = sorted(path.stem for path in (tmp_path / "figures").glob("*.svg"))
    assert drawn
    assert sorted(path.stem for path in (tmp_path / "figures").glob("*.csv")) == drawn
    files = [*(tmp_path / "figures").glob("*.csv"), *(tmp_path / "tables").glob("*.csv")]
    assert {"verdicts", "resistance", "parts"} <= {path.stem for path in files}
    for path in files:
        assert f'href="{path.parent.name}/{path.name}"' in page
        assert rows_of(path)
    assert 'href="tables/agreement.csv"' not in page, "the page does not link to a table that does not exist"


def test_one_figure_in_three_forms(store, tmp_path, capsys):
    for form in ("csv", "parquet", "latex"):
        (path,) = answer(capsys, "export", store, "--to", form, "--figure", "resistance", "--out", tmp_path)
        assert Path(path).parent == tmp_path / "figures"
    plain = rows_of(tmp_path / "figures" / "resistance.csv")
    stored = duckdb.sql(f"SELECT * FROM '{tmp_path}/figures/resistance.parquet'").fetchnumpy()
    assert [float(row["j1"]) for row in plain] == np.asarray(stored["j1"]).tolist()
    history = byrote.open(store).history().to_pandas()
    last = history[(history["epoch"] == 4) & (history["rate"] == 0.4)]
    points = {(row["loss"], row["seed"]): float(row["j1"]) for row in plain if row["seed"]}
    assert points == {(one["loss"], str(one["seed"])): one["j1"] for _, one in last.iterrows()}
    means = {row["loss"]: float(row["j1"]) for row in plain if row["loss"] and not row["seed"]}
    assert means == pytest.approx(dict(last.groupby("loss")["j1"].mean()), rel=1e-15)
    text = (tmp_path / "figures" / "resistance.tex").read_text()
    assert text.count("\\\\\n") == len(plain) + 1


def test_a_figure_that_the_runs_do_not_hold_is_refused(store, tmp_path, capsys):
    words = ["export", str(store), "--to", "csv", "--out", str(tmp_path), "--figure"]
    assert main([*words, "human-noise"]) == 2
    assert "has no runs for the figure human-noise" in capsys.readouterr().err
    assert main([*words, "wrong-label"]) == 2
    assert "did you mean 'wrong-labels'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_latex_table_escapes_what_latex_reads(tmp_path):
    rows = [{"a_b": "50% & #1_{x}^2 ~ \\ $ η", "n": 12, "x": -1.25e-9}, {"a_b": None, "n": 3, "x": float("nan")}]
    text = write_rows(tmp_path / "t", rows, "latex", "two\nlines").read_text()
    assert text.splitlines() == [
        "% two lines",
        r"% needs \usepackage{booktabs}",
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"a b & n & x \\",
        r"\midrule",
        r"50\% \& \#1\_\{x\}\textasciicircum{}2 \textasciitilde{} \textbackslash{} \$ $\eta$ & 12"
        r" & $-1.25 \times 10^{-9}$ \\",
        r" & 3 &  \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


# ------------------------------------------------------------------------------------------ compare


def changed(folder, column, row, value):
    """Change one reading in the compacted results, and write matching checksums."""
    path = folder / "table.parquet"
    columns = read_parquet(path)
    columns[column] = columns[column].copy()
    columns[column][row] = value
    write_parquet(path, columns)
    about, _ = read_sealed(folder / "about.json")
    write_sealed(folder / "about.json", about | {"files": about["files"] | {"table.parquet": sha256(path)}})
    return str(columns["key"][row]), int(columns["epoch"][row])


def test_a_store_equals_what_was_compacted_from_it(store, compacted, capsys):
    comparison = answer(capsys, "compare", store, compacted)
    counts = [comparison[name] for name in ("common", "equal", "only_first", "only_second")]
    assert counts == [8, 8, 0, 0]
    assert (comparison["different"], comparison["unshared"]) == ([], [])
    assert comparison["claims"]
    assert all(row["same"] and row["first_estimate"] == row["second_estimate"] for row in comparison["claims"])


def test_the_last_bit_of_one_reading_is_found(store, compacted, capsys):
    old = read_parquet(compacted / "table.parquet")["j1"][5]
    key, epoch = changed(compacted, "j1", 5, np.nextafter(old, 2))
    (one,) = answer(capsys, "compare", store, compacted)["different"]
    assert (one["key"], one["readings"], one["files"]) == (key, ["j1"], [])
    assert one["what"].startswith(f"j1 differs from epoch {epoch} on, by at most ")
    assert main(["compare", str(store), str(compacted)]) == 0
    assert f"{key}\tgrid\tj1 differs from epoch {epoch}" in capsys.readouterr().out


def test_a_reading_that_one_folder_does_not_have_a_number_for_is_different(store, compacted, capsys):
    changed(compacted, "j2", 3, np.nan)
    (one,) = answer(capsys, "compare", store, compacted)["different"]
    assert one["readings"] == ["j2"]
    assert "by at most" not in one["what"]


def test_runs_in_one_folder_alone_and_files_that_differ_are_counted(store, tmp_path, capsys):
    other = tmp_path / "other"
    words = ["run", MINI, "--import", "toys", "--on", "serial", "--out", str(other), "--max-runs", "3"]
    assert main(words) == 0
    comparison = answer(capsys, "compare", store, other)
    assert [comparison[name] for name in ("common", "equal", "only_first", "only_second")] == [3, 3, 5, 0]
    key = sorted(path.name for path in other.glob("*/manifest.json") for path in [path.parent])[0]
    manifest, _ = read_sealed(other / key / "manifest.json")
    write_sealed(other / key / "manifest.json", manifest | {"files": manifest["files"] | {"samples.parquet": "0" * 64}})
    (one,) = answer(capsys, "compare", other, store)["different"]
    assert (one["key"], one["files"], one["readings"]) == (key, ["samples.parquet"], [])


def test_verdicts_that_differ_stand_side_by_side(store, compacted, capsys):
    for row in range(len(read_parquet(compacted / "table.parquet")["j1"])):
        changed(compacted, "j1", row, 0.123)  # violates J1 - J2 = rho (m - t)
    rows = {row["claim"]: row for row in answer(capsys, "compare", store, compacted)["claims"]}
    assert (rows["B7"]["first"], rows["B7"]["second"][:5], rows["B7"]["same"]) == ("holds", "fails", False)
    assert main(["compare", str(store), str(compacted)]) == 0
    assert "B7\tNO\tholds" in capsys.readouterr().out


# --------------------------------------------------------------------------------------------- show


def test_one_run_is_shown_from_the_first_characters_of_its_key(store, capsys):
    rows = answer(capsys, "show", store)
    assert len(rows) == 8
    assert {row["loss"] for row in rows} == {"CE", "RLL"}
    key = rows[3]["key"]
    one = answer(capsys, "show", store, key[:8])
    assert (one["key"], one["epoch"], one["status"]) == (key, 4, "done")
    assert one["spec"] == byrote.open(store).results.specs[key]
    row = byrote.open(store).history().where(key=key, epoch=4).row(0)
    assert one["readings"]["j1"] == row["j1"]
    assert {Path(file["file"]).name for file in one["files"]} >= {"spec.json", "history.parquet", "samples.parquet"}
    for file in one["files"]:
        assert (Path(file["file"]).stat().st_size, sha256(Path(file["file"]))) == (file["bytes"], file["sha256"])
    assert f"--set seed={one['spec']['seed']}" in one["command"]
    assert main(["show", str(store), key]) == 0
    captured = capsys.readouterr()
    assert f"noise.rate\t{one['spec']['noise']['rate']:.4g}" in captured.out
    assert "train it again: byrote run " in captured.err


def test_a_run_of_compacted_results_is_shown_without_files(store, compacted, capsys):
    key = answer(capsys, "show", compacted)[0]["key"]
    one = answer(capsys, "show", compacted, key)
    assert "files" not in one
    assert one["readings"] == answer(capsys, "show", store, key)["readings"]


def test_a_key_that_names_no_run_or_several_is_refused(store, capsys):
    assert main(["show", str(store), "xyz"]) == 2
    assert f"there is no run 'xyz'; `byrote show {store}` lists the keys" in capsys.readouterr().err
    firsts = [row["key"][0] for row in answer(capsys, "show", store)]
    twice = [first for first in firsts if firsts.count(first) > 1]
    if twice:
        assert main(["show", str(store), twice[0]]) == 2
        assert f"{firsts.count(twice[0])} runs begin with '{twice[0]}'" in capsys.readouterr().err


# --------------------------------------------------------------------------- claims --only, figures NAME


def test_only_the_claims_that_are_named(store, capsys):
    every = {one["id"]: one for one in answer(capsys, "claims", store)}
    assert answer(capsys, "claims", store, "--only", "B7", "A3") == [every["B7"], every["A3"]]
    assert main(["claims", str(store), "--only", "B77"]) == 2
    assert "no claim is called 'B77'; did you mean 'B7'" in capsys.readouterr().err
    assert [one["id"] for one in answer(capsys, "claims", "--only", "B8")] == ["B8"], (
        "a claim about theory needs no store"
    )


def test_only_the_figures_that_are_named(store, tmp_path, capsys):
    words = ["figures", str(store), "resistance", "--out", str(tmp_path)]
    assert main(words) == 0
    assert {path.name for path in tmp_path.iterdir()} == {f"resistance.{end}" for end in ("svg", "pdf", "csv")}
    assert main(["figures", str(store), "resistence", "--out", str(tmp_path)]) == 2
    assert "did you mean 'resistance'" in capsys.readouterr().err
    shutil.rmtree(tmp_path)
    assert main(["figures", str(store), "human-noise", "resistance", "--out", str(tmp_path)]) == 1
    assert "has no runs for the figure human-noise; all other figures were drawn" in capsys.readouterr().err
    assert (tmp_path / "resistance.svg").is_file()


def test_claims_may_be_separated_by_commas(store, capsys):
    assert [one["id"] for one in answer(capsys, "claims", store, "--only", "B7,A3")] == ["B7", "A3"]


def test_a_list_is_no_interval(store, tmp_path, capsys):
    """Printed tables write "to" only between the ends of an interval; lists of classes and files use commas."""
    low, high = answer(capsys, "claims", DEMO, "--only", "A5")[0]["interval"]
    capsys.readouterr()
    main(["claims", str(DEMO), "--only", "A5"])
    assert f"\t{low:.4g} to {high:.4g}\t" in capsys.readouterr().out
    main(["show", str(DEMO), byrote.open(DEMO).results.runs["key"][0]])
    assert "data.classes\t0, 1\n" in capsys.readouterr().out
    main(["figures", str(store), "resistance", "--out", str(tmp_path)])
    files = ", ".join(str(tmp_path / f"resistance.{end}") for end in ("svg", "pdf", "csv"))
    assert capsys.readouterr().out.endswith(f"\t{files}\n")
