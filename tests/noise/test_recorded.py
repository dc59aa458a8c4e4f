"""Files of noisy labels: how they are saved and loaded, and which files are refused."""

import hashlib
import json
import os
from pathlib import Path

import duckdb
import pytest
import torch
from toys import tiny

from byrote.files import DataUnavailableError, WriteError
from byrote.noise import Noise, Recorded, Symmetric, load_labels, save_labels

IDS = torch.tensor([7, 3, 1000000007, 0])
TRUE = torch.tensor([0, 1, 2, 1])
SEEN = torch.tensor([0, 2, 1, 1])


@pytest.fixture(params=[".csv", ".parquet"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"it's 50% [new]*{request.param}"


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_round_trip_in_the_order_of_ids(path: Path) -> None:
    key = save_labels(path, IDS, TRUE, SEEN, num_classes=3)
    assert sorted(p.name for p in path.parent.iterdir()) == sorted([path.name, path.name + ".json"])
    path.with_name(f"it's 50% news{path.suffix}").write_text("what the name would match as a pattern")
    labels = load_labels(path, sha256=key)
    assert labels.ids.tolist() == [0, 3, 7, 1000000007]
    assert labels.true.tolist() == [1, 1, 0, 2]
    assert labels.observed.tolist() == [1, 2, 0, 1]
    assert labels.ids.dtype == labels.true.dtype == labels.observed.dtype == torch.int64
    assert labels.sha256 == key


def test_the_hash_is_of_the_content(tmp_path: Path) -> None:
    """The hash, here computed by hand, is the same for both formats, any row order and any integer type."""
    numbers = [0, 3, 7, 1000000007, 1, 1, 0, 2, 1, 2, 0, 1]
    expected = hashlib.sha256(b"".join(x.to_bytes(8, "little") for x in numbers)).hexdigest()
    order = torch.tensor([2, 0, 3, 1])
    assert save_labels(tmp_path / "a.csv", IDS, TRUE, SEEN, num_classes=3) == expected
    again = save_labels(tmp_path / "b.parquet", IDS[order], TRUE[order].byte(), SEEN[order].short(), num_classes=9)
    assert again == expected
    assert (tmp_path / "a.csv").read_text() == "id,true,observed\n0,1,1\n3,1,2\n7,0,0\n1000000007,2,1\n"


def test_the_manifest_says_what_was_made(path: Path) -> None:
    key = save_labels(path, IDS, TRUE, SEEN, num_classes=3, num_outputs=6, noise=Symmetric(0.3))
    assert json.loads(path.with_name(path.name + ".json").read_text()) == {
        "sha256": key,
        "rows": 4,
        "num_classes": 3,
        "num_outputs": 6,
        "corrupted": 2,
        "realised_rate": 0.5,
        "noise": {"kind": "symmetric", "rate": 0.3},
    }


def test_a_file_without_samples_is_legal(path: Path) -> None:
    none = torch.zeros(0, dtype=torch.int64)
    key = save_labels(path, none, none, none, num_classes=2)
    assert len(load_labels(path, sha256=key).ids) == 0
    noise = Recorded(str(path))
    assert noise.corrupt(none, 2, torch.Generator(), ids=none).shape == (0,)
    with pytest.raises(ValueError, match="no label for 1 of 1"):
        noise.corrupt(torch.tensor([0]), 2, torch.Generator(), ids=torch.tensor([5]))


def test_a_changed_label_is_noticed(path: Path) -> None:
    save_labels(path, IDS, TRUE, SEEN, num_classes=3)
    other = path.with_name("other" + path.suffix)
    save_labels(other, IDS, TRUE, SEEN.flip(0), num_classes=3)
    path.write_bytes(other.read_bytes())
    with pytest.raises(ValueError, match="its manifest says sha256"):
        load_labels(path)
    other.with_name(other.name + ".json").unlink()  # a file without a manifest may change
    assert load_labels(other).observed.tolist() == [0, 1, 1, 2]
    with pytest.raises(ValueError, match="you asked for sha256"):
        load_labels(other, sha256="0" * 64)
    with pytest.raises(ValueError, match="you asked for"):
        Recorded(str(other), sha256="0" * 64).effective_rate(3)


@pytest.mark.parametrize("text", ["[]", "{", '{"rows": 4}', "\xff"])
def test_a_broken_manifest_is_named(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "a.csv", "id,true,observed\n0,1,1\n")
    (tmp_path / "a.csv.json").write_bytes(text.encode("latin1"))
    with pytest.raises(ValueError, match=r"a\.csv\.json is not the manifest"):
        load_labels(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,true,observed\n1,0,1\n1,0,0\n", "each id may occur only once, got 1 more than once"),
        ("id,true,observed\n1,0,-1\n", "observed labels must be at least 0, got -1"),
        ("id,true,observed\n1,-2,1\n", "true labels must be at least 0, got -2"),
        ("id,true,observed\n1,0,1.5\n", "column 'observed' must hold an integer in every row"),
        ("id,true,observed\n1,0,\n2,1,1\n", "column 'observed' must hold an integer in every row"),
        ("id,true,observed\n1,cat,0\n", "column 'true' must hold an integer"),
        ("id,true,observed\n99999999999999999999,1,0\n", "column 'id' must hold an integer"),
        ("id,true,observd\n1,0,1\n", "has no column 'observed'; did you mean 'observd'?"),
        ("id,true,observed\n1,0,1\n2,0\n", "is not a complete csv file"),
        ("id,true,observed\n1,0,1\n2,0,1,5\n", "is not a complete csv file"),
        ("id,true,observed\n1,0,1\n2,0,", "column 'observed' must hold an integer"),
        ("a title\nid,true,observed\n1,0,1\n", "is not a complete csv file"),
        ("id;true;observed\n1;0;1\n", "has no column 'id'"),
        ("", "has no column 'id'"),
    ],
)
def test_bad_csv_gives_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "a.csv", text)
    with pytest.raises(ValueError, match=message) as caught:
        load_labels(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            ["0", "", "1"],
            "column 'observed' must hold an integer in every row, but 1 of 3 hold no value, the first in row 2",
        ),
        (["0", "1", "2.5"], r"1 of 3 hold another value, the first in row 3 \(2\.5\)"),
        (["0", "NaN", "1"], r"the first in row 2"),
        (["0", "?", "1"], r"1 of 3 hold another value, the first in row 2 \(\?\)"),
        (["0", "1", "1_0"], r"1 of 3 hold another value, the first in row 3 \(1_0\)"),
        (["0", "0x1", "1"], r"1 of 3 hold another value, the first in row 2 \(0x1\)"),
        (["0", "True", "1"], r"1 of 3 hold another value, the first in row 2 \(True\)"),
        (["cat", "dog", "cat"], r"3 of 3 hold another value, the first in row 1 \(cat\)"),
    ],
)
def test_a_label_that_is_no_integer_is_named(tmp_path: Path, cells: list[str], message: str) -> None:
    path = write(tmp_path / "a.csv", "id,true,observed\n" + "".join(f"{i},0,{cell}\n" for i, cell in enumerate(cells)))
    with pytest.raises(ValueError, match=message) as caught:
        load_labels(path)
    assert "\n" not in str(caught.value)


def test_whole_floats_are_the_integers_they_are(tmp_path: Path) -> None:
    """pandas writes an integer column that once had a missing value as floats, which are read as integers."""
    path = write(tmp_path / "a.csv", "id,true,observed\n0,0.0,1.0\n1,1.0,1.0\n")
    assert load_labels(path).true.tolist() == [0, 1]
    assert load_labels(path).observed.tolist() == [1, 1]
    assert load_labels(path).true.dtype == torch.int64


def test_home_folder_suffix_and_partitions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    key = save_labels("~/id=9/true=7/LABELS.CSV", IDS, TRUE, SEEN, num_classes=3)
    assert (tmp_path / "id=9" / "true=7" / "LABELS.CSV.json").is_file()
    noise = Recorded("~/id=9/true=7/LABELS.CSV")
    assert noise.load().true.tolist() == [1, 1, 0, 2]
    assert noise.content() == key
    assert save_labels("~/id=9/l.PARQUET", IDS, TRUE, SEEN, num_classes=3) == key
    assert Recorded("~/id=9/l.PARQUET").content() == key


def test_content_follows_the_file(path: Path) -> None:
    key = save_labels(path, IDS, TRUE, SEEN, num_classes=3)
    noise = Recorded(str(path))
    assert noise.content() == noise.content() == key == load_labels(path).sha256
    other = save_labels(path, IDS, TRUE, SEEN.flip(0), num_classes=3)
    assert noise.content() == other != key
    path.unlink()
    with pytest.raises(FileNotFoundError):
        noise.content()


def test_labels_from_one_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "id,true,observed\n0,1,2\n1,2,2\n")
    with pytest.raises(ValueError, match="differ, such as id 0; its labels count from 1 and must count from 0"):
        Recorded(str(path)).corrupt(torch.tensor([0, 1]), 3, torch.Generator(), ids=torch.tensor([0, 1]))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_no_file_that_never_ends(tmp_path: Path, suffix: str) -> None:
    os.mkfifo(tmp_path / f"a{suffix}")
    (tmp_path / f"b{suffix}").symlink_to("/dev/zero")
    for name, kind in (("a", "a named pipe"), ("b", "a device")):
        for call in (lambda path: load_labels(path), lambda path: Recorded(str(path)).content()):
            with pytest.raises(ValueError, match=f"expected .*, but .* is {kind}"):
                call(tmp_path / f"{name}{suffix}")


def test_bad_files_give_one_sentence(tmp_path: Path, path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no file of noisy labels at"):
        load_labels(path)
    save_labels(path, IDS, TRUE, SEEN, num_classes=3)
    if path.suffix == ".parquet":
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(ValueError, match="is not a complete parquet file") as caught:
            load_labels(path)
        assert "\n" not in str(caught.value)
    text = write(tmp_path / "labels.txt", "id,true,observed\n")
    with pytest.raises(ValueError, match=r"ends in .csv or .parquet, got 'labels.txt'"):
        load_labels(text)
    with pytest.raises(ValueError, match=r"ends in .csv or .parquet"):
        save_labels(text, IDS, TRUE, SEEN, num_classes=3)


def test_saving_refuses_and_leaves_what_was_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = save_labels(path, IDS, TRUE, SEEN, num_classes=3)
    before = {p.name: p.read_bytes() for p in path.parent.iterdir()}
    for ids, true, seen, message in (
        (torch.zeros(4, dtype=torch.int64), TRUE, SEEN, "each id may occur only once, got 0"),
        (IDS, TRUE + 1, SEEN, "true labels must lie in 0..2, got 3"),
        (IDS, TRUE, SEEN - 1, "observed labels must lie in 0..2, got -1"),
        (IDS[:3], TRUE, SEEN, "expected equal lengths, got ids 3"),
        (IDS, TRUE, SEEN[0], r"expected observed labels \(n,\), one number per sample, got shape \(\)"),
        (IDS, TRUE[:, None], SEEN, r"expected true labels \(n,\), one number per sample, got shape \(4, 1\)"),
    ):
        with pytest.raises(ValueError, match=message):
            save_labels(path, ids, true, seen, num_classes=3)
    with pytest.raises(TypeError, match="ids must be integers"):
        save_labels(path, IDS.double(), TRUE, SEEN, num_classes=3)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(WriteError, match="cannot be written"):
        save_labels(path, IDS, TRUE, SEEN.flip(0), num_classes=3)
    monkeypatch.undo()
    assert {p.name: p.read_bytes() for p in path.parent.iterdir()} == before
    assert load_labels(path).sha256 == key


def test_recorded_finds_labels_by_id_in_any_order(path: Path) -> None:
    key = save_labels(path, IDS, TRUE, SEEN, num_classes=3)
    noise = Recorded(str(path), sha256=key)
    order = torch.tensor([2, 0, 1])  # the file has labels for only some of the samples
    state = (generator := torch.Generator().manual_seed(0)).get_state()
    seen = noise.corrupt(TRUE[order], 3, generator, ids=IDS[order].int())
    assert torch.equal(seen, SEEN[order])
    assert seen.dtype == torch.int64
    assert torch.equal(generator.get_state(), state)
    assert noise.effective_rate(3) == 0.5
    assert noise.nominal_rate != noise.nominal_rate
    assert noise.num_outputs(3) == 3
    with pytest.raises(ValueError, match="Recorded has no transition matrix"):
        noise.transition(3)


def test_recorded_refuses_other_data(path: Path) -> None:
    save_labels(path, IDS, TRUE, SEEN, num_classes=3)
    noise = Recorded(str(path))
    with pytest.raises(ValueError, match=r"needs ids="):
        noise.corrupt(TRUE, 3, torch.Generator())
    with pytest.raises(ValueError, match=r"no label for 2 of 4 samples, such as id 8"):
        noise.corrupt(TRUE, 3, torch.Generator(), ids=torch.tensor([7, 8, 2000000000, 0]))
    with pytest.raises(
        ValueError, match=r"made for different data: the true labels of 2 of 4 samples differ, such as id 7"
    ):
        noise.corrupt(torch.tensor([1, 1, 2, 0]), 3, torch.Generator(), ids=IDS)
    with pytest.raises(ValueError, match=r"observed labels in .* must lie in 0..1, got 2"):
        noise.corrupt(TRUE[[0, 1]], 2, torch.Generator(), ids=IDS[[0, 1]])


def test_human_labels_under_their_own_column_names(tmp_path: Path) -> None:
    """The layout of CIFAR-10N: a column of clean labels, and several columns of labels from human annotators."""
    path = tmp_path / "cifar10n.parquet"
    duckdb.sql(
        f"COPY (SELECT * FROM (VALUES (0, 6, 6, 1), (1, 9, 9, 1)) t(id, clean_label, aggre_label, worse_label)) "
        f"TO '{path}' (FORMAT parquet)"
    )
    labels, ids = torch.tensor([6, 9]), torch.arange(2)
    for column, expected in (("worse_label", [1, 1]), ("aggre_label", [6, 9])):
        noise = Recorded(str(path), true_column="clean_label", observed_column=column)
        assert noise.corrupt(labels, 10, torch.Generator(), ids=ids).tolist() == expected
    assert noise.effective_rate(10) == 0


def test_a_spec_names_the_file() -> None:
    spec = {"kind": "recorded", "path": "a.csv", "true_column": "true", "observed_column": "observed", "sha256": ""}
    assert Noise.from_spec({"kind": "recorded", "path": "a.csv"}).spec() == spec
    for bad in ({}, {"path": ""}, {"path": "a.csv", "sha256": "xyz"}):
        with pytest.raises(ValueError, match=r"Recorded"):
            Noise.from_spec({"kind": "recorded", **bad})


def test_a_path_in_the_cache_is_the_same_spec_on_every_machine(tmp_path, monkeypatch):
    model = Recorded("cache:human/labels.csv")
    ids, true, observed = torch.tensor([3, 7]), torch.tensor([0, 1]), torch.tensor([1, 1])
    for machine in ("a", "b"):
        monkeypatch.setenv("BYROTE_CACHE", str(tmp_path / machine))
        save_labels(tmp_path / machine / "human" / "labels.csv", ids, true, observed, num_classes=2)
        assert model.file == tmp_path / machine / "human" / "labels.csv"
        assert model.effective_rate(2) == 0.5
    assert model.spec()["path"] == "cache:human/labels.csv"
    monkeypatch.setenv("BYROTE_CACHE", str(tmp_path / "c"))
    with pytest.raises(DataUnavailableError, match="try `byrote data get human`"):
        model.load()
    assert Recorded("plain.csv").file == Path("plain.csv")


def test_a_run_is_named_by_the_labels_and_not_by_their_file(tmp_path):
    ids, true, observed = torch.arange(80), torch.arange(80) % 2, torch.arange(80) // 40
    for name in ("a.csv", "b.parquet"):
        save_labels(tmp_path / name, ids, true, observed, num_classes=2)

    def key(path, **fields):
        return tiny(noise={"kind": "recorded", "path": str(path), **fields}).key

    first = key(tmp_path / "a.csv")
    assert key(tmp_path / "b.parquet") == first, "the key is the same under a new file name and in another format"
    sha256 = load_labels(tmp_path / "a.csv").sha256
    assert key(tmp_path / "a.csv", sha256=sha256) == first
    assert key(tmp_path / "a.csv", observed_column="true") != first
    save_labels(tmp_path / "a.csv", ids, true, 1 - observed, num_classes=2)
    assert key(tmp_path / "a.csv") != first, "the key changes with the content of the file"


def test_a_name_in_the_cache_names_the_run_whether_the_file_is_there_or_not(tmp_path, monkeypatch):
    monkeypatch.setenv("BYROTE_CACHE", str(tmp_path / "cache"))
    experiment = tiny(noise={"kind": "recorded", "path": "cache:human/labels.csv"})
    assert "file:cache:human/labels.csv" not in experiment.contents
    ids = torch.arange(80)
    save_labels(tmp_path / "cache" / "human" / "labels.csv", ids, ids % 2, ids // 40, num_classes=2)
    assert tiny(noise={"kind": "recorded", "path": "cache:human/labels.csv"}).key == experiment.key


def test_integers_however_they_are_written(tmp_path: Path) -> None:
    cells = ["1", "+1", "01", " 1 ", "1.", "1.0", "1e0", '"1"']
    path = write(tmp_path / "a.csv", "id,true,observed\n" + "".join(f"{i},0,{cell}\n" for i, cell in enumerate(cells)))
    assert load_labels(path).observed.tolist() == [1] * len(cells)
    write(path, "id,true,observed\n1152921504606846977.0,False,True\n3,True,True\n")  # too many digits for float64
    assert load_labels(path).ids.tolist() == [3, 1152921504606846977]
    assert load_labels(path).true.tolist() == [1, 0]
    assert load_labels(path).observed.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("VARCHAR", [0, 1]), ("BOOLEAN", [0, 1]), ("DECIMAL(5, 1)", [0, 1]), ("UTINYINT", [0, 1]), ("INTEGER[]", None)],
)
def test_types_of_parquet(tmp_path: Path, kind: str, expected: list[int] | None) -> None:
    path = tmp_path / "a.parquet"
    cells = ("[0]", "[1]") if expected is None else ("0", "1")
    rows = ", ".join(f"({i}, 0, {cell}::{kind})" for i, cell in enumerate(cells))
    duckdb.sql(f"COPY (SELECT * FROM (VALUES {rows}) t(id, \"true\", observed)) TO '{path}'")
    if expected is None:
        with pytest.raises(ValueError, match=r"2 of 2 hold another value, the first in row 1 \(\[0\]\)"):
            load_labels(path)
    else:
        assert load_labels(path).observed.tolist() == expected


def test_a_column_twice_is_not_chosen_from(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "id,true,true,observed\n1,2,0,1\n")
    with pytest.raises(ValueError, match="its header has the column 'true' twice"):
        load_labels(path)


def test_an_error_in_a_file_names_its_line_and_no_other_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "id,true,observed\n1,0,1\n2,0,1,5\n")
    with pytest.raises(ValueError, match=r"a\.csv is not a complete csv file of labels: .*Line: 3") as caught:
        load_labels(path)
    assert "byrote-" not in str(caught.value)


def test_labels_and_ids_in_any_container(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    key = save_labels(path, IDS, TRUE, SEEN, num_classes=3)
    for convert in (torch.Tensor.tolist, torch.Tensor.numpy, lambda x: x.numpy().astype("u1"), lambda x: x.short()):
        ids = IDS.tolist() if convert is torch.Tensor.tolist else IDS.numpy()
        assert save_labels(path, ids, convert(TRUE), convert(SEEN), num_classes=3) == key
        observed = Recorded(str(path)).corrupt(convert(TRUE), 3, torch.Generator(), ids=ids)
        assert observed.tolist() == SEEN.tolist()
    with pytest.raises(TypeError, match=r"ids must be integers, got torch\.float64"):
        Recorded(str(path)).corrupt(TRUE, 3, torch.Generator(), ids=IDS.double() + 0.5)
    with pytest.raises(ValueError, match=r"expected true labels \(n,\)"):
        save_labels(path, IDS, TRUE[:, None], SEEN, num_classes=3)
