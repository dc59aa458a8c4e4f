"""Table files: paths are taken literally, files that are not tables are refused, and a table can name image files."""

import os
from pathlib import Path

import duckdb
import numpy as np
import pytest

from byrote import data, files, inputs

from .test_tables import LABELS, A, B, N, csv, features, parquet, replaced, table

# ------------------------------------------------------------------------------------------- paths and files


@pytest.mark.parametrize(
    "name", ["t[1]", "t*", "t?", "label=3/t", "s3:/t", "100%25", "it's; DROP TABLE", "back\\slash[a]", "~t"]
)
@pytest.mark.parametrize("suffix", ["csv", "parquet", "CSV"])
def test_a_path_is_no_pattern(tmp_path: Path, name: str, suffix: str) -> None:
    path = tmp_path / f"{name}.{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    write = parquet if suffix == "parquet" else csv
    for other in ("t1", "tt", "t"):
        write(tmp_path / f"{other}.{suffix}", a=np.tile(A, 3), b=np.tile(B, 3), label=np.tile(LABELS, 3))
    plain = write(tmp_path / f"plain.{suffix}", a=A, b=B, label=LABELS)
    plain.replace(path)
    own = table(path, sha256=files.sha256(path))
    np.testing.assert_array_equal(features(own), np.stack([A, B], 1).astype(np.float32))
    assert own.content() == files.sha256(path)


def test_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    csv(tmp_path / "t.csv", a=A, label=LABELS)
    assert len(data.Table(path="~/t.csv").load()) == 32


@pytest.mark.parametrize(("between", "other"), [(";", ","), ("\t", ";"), (",", "|")])
def test_separators_inside_quoted_names_separate_nothing(tmp_path: Path, between: str, other: str) -> None:
    name = f'a{other}b{other}""c'
    path = tmp_path / "t.csv"
    rows = [f"{a}{between}{label}" for a, label in zip(A, LABELS, strict=True)]
    path.write_text("\n".join([f'"{name}"{between}label', *rows, ""]))
    np.testing.assert_allclose(features(table(path))[:, 0], A, rtol=1e-6)


@pytest.mark.parametrize("between", [",", ";", "\t", "|"])
def test_the_header_says_what_separates(tmp_path: Path, between: str) -> None:
    path = csv(tmp_path / "t.csv", between, a=A, b=B, label=LABELS)
    assert features(table(path)).shape == (N, 2)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert features(table(path)).shape == (N, 2)
    csv(path, ";", a=[str(a).replace(".", ",") for a in A], label=LABELS)
    with pytest.raises(ValueError, match=r"column 'a' has numbers with separators|no finite number"):
        table(path).load()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty, but a header with the names of the columns is expected"),
        (b"a,label\n", "must have at least one row"),
        (b"a,label\n1,0\n2\n", "CSV Error on Line: 3"),
        (b"a,label\n1,0\n2,1,3\n", "CSV Error on Line: 3"),
        (b'a,label\n1,"0\n2,1\n', "CSV Error"),
        (b"a,a,label\n1,2,0\n", "its header has the column 'a' twice"),
        ("a,label\né,0\n".encode("latin-1"), "not a complete table"),
        ("é,label\n1,0\n".encode("latin-1"), "it is not written in UTF-8"),
        ("a,label\n1,0\n".encode("utf-16"), "it is not written in UTF-8"),
        (b"PK\x03\x04\0\0\0\0", "has no column 'label'|not a complete table"),
        (b"\0" * 100, "has no column 'label'|not a complete table"),
    ],
)
def test_what_is_no_table_gives_one_sentence(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        table(tmp_path / "t.csv").load()
    assert "\n" not in str(caught.value)
    assert "t.csv" in str(caught.value)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_no_file_that_never_ends(tmp_path: Path, suffix: str) -> None:
    os.mkfifo(tmp_path / f"t.{suffix}")
    with pytest.raises(ValueError, match=r"expected .*, but .* is a named pipe"):
        table(tmp_path / f"t.{suffix}").load()
    (tmp_path / f"u.{suffix}").symlink_to("/dev/zero")
    with pytest.raises(ValueError, match="is a device"):
        table(tmp_path / f"u.{suffix}").content()


def test_rows_that_do_not_fit_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten billion equal rows take a few kilobytes as Parquet but do not fit into memory."""
    path = tmp_path / "t.parquet"
    duckdb.sql(f"COPY (SELECT 1.5 AS a, 0 AS label FROM range(3000000)) TO '{path}' (FORMAT parquet)")
    assert path.stat().st_size < 1 << 20
    monkeypatch.setattr(inputs, "available_memory", lambda: 1 << 20)
    with pytest.raises(ValueError, match=r"3000000 rows .* MiB of memory, but only 1\.0 MiB are available"):
        table(path).load()


# --------------------------------------------------------------------------------------- names of images


def pictures(folder: Path) -> Path:
    """Write images to a folder, and next to it a table of their names and labels."""
    pillow = pytest.importorskip("PIL.Image")
    (folder / "pics[1]").mkdir()
    for i in range(10):
        pillow.fromarray(np.full((3, 4, 3), 20 * i, np.uint8)).save(folder / "pics[1]" / f"{i} *.png")
    return csv(folder / "l.csv", file=[f"pics[1]/{i} *.png" for i in range(10)], label=["cat", "dog"] * 5)


def test_a_table_of_files_and_labels(tmp_path: Path) -> None:
    path = pictures(tmp_path)
    own = table(path, image_column="file")
    assert own.load().images[:, 0, 0, 0].tolist() == [20 * i for i in range(8)]
    assert own.load("test").ids.tolist() == [8, 9]
    assert own.load().shape == (3, 3, 4)
    assert own.class_names() == ("cat", "dog")
    gray = table(path, image_column="file", channels=1, image_folder=str(tmp_path), resolution=2)
    assert gray.load().shape == (1, 2, 2)
    with pytest.raises(
        ValueError, match="must be numbers, got none; column 'file' names images: set image_column='file'"
    ):
        table(path).load()


def test_the_content_of_such_a_table_covers_its_images(tmp_path: Path) -> None:
    path = pictures(tmp_path)
    own = table(path, image_column="file")
    name, before = own.content(), own.load().images
    assert name != files.sha256(path)
    (tmp_path / "pics[1]" / "unused.png").write_bytes(b"x")
    assert own.content() == name
    (tmp_path / "pics[1]" / "0 *.png").write_bytes((tmp_path / "pics[1]" / "1 *.png").read_bytes())
    assert own.content() != name
    assert own.load().images[0, 0, 0, 0] == 20 != before[0, 0, 0, 0]


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (
            {"r3": "gone.png"},
            FileNotFoundError,
            r"there is no file .*gone\.png \(row 3\); paths are relative to",
        ),
        ({"r3": "gone.png", "r5": "too"}, FileNotFoundError, r"\(row 3, and 1 other files are missing\)"),
        ({"r3": "pics[1]/0 *.png"}, ValueError, r"each image can have only one row, but .* is in rows 1 and 3"),
        ({"r3": ""}, ValueError, r"expected the name of a file, got None in row 3"),
        ({"r3": "l.csv"}, ValueError, r"l\.csv is not an image that can be read"),
        ({"r3": "/dev/zero"}, ValueError, r"is a device"),
    ],
)
def test_names_that_name_no_image(tmp_path: Path, names: dict[str, str], error: type[Exception], message: str) -> None:
    path = pictures(tmp_path)
    csv(path, file=replaced(np.array([f"pics[1]/{i} *.png" for i in range(10)]), **names), label=["cat", "dog"] * 5)
    with pytest.raises(error, match=message):
        table(path, image_column="file").load()
