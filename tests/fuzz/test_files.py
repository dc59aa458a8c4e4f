"""Odd and damaged files are read with the numbers that were written, or refused with the reason in one sentence."""

import csv
import io
import math
import os
import struct
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
import torch
from PIL import Image

from byrote import data
from byrote.noise import Recorded
from byrote.noise.recorded import load_labels, save_labels

from .harness import Case, Refused, fuzz
from .values import labels

NAMES = ["mine", "t[1]", "a*b", "x?y", "it's", "ünï", "two words", "label=3", "#1", "%20", "a;b", "$HOME", "-rf", "nul"]
LOAD = (FileNotFoundError,)


def damaged(case: Case, content: bytes) -> bytes:
    """Remove, change, double or add a few of the bytes."""
    raw = bytearray(content)
    for _ in range(case.int(1, 3)):
        at, way = case.int(0, max(len(raw) - 1, 0)), case.int(0, 6)
        if way == 0:
            raw = raw[:at]
        elif way == 1 and raw:
            raw[at] ^= 1 << case.int(0, 7)
        elif way == 2:
            raw[at:at] = case.rng.bytes(case.int(1, 9))
        elif way == 3:
            del raw[at : at + case.int(1, 20)]
        elif way == 4:
            raw[at : at + 4] = struct.pack("<I", case.pick([0, 1, 2**31 - 1, 2**32 - 1, 10**6]))
        elif way == 5:
            raw = raw + raw[at:]
        elif case.chance(0.2):
            raw = bytearray(case.pick([b"", b"\0" * 64, b"\xff\xfe", b"PK\x03\x04", b"\x89PNG\r\n\x1a\n", b"\n\n\n"]))
    return bytes(raw)


def place(case: Case, suffix: str) -> Path:
    folder = case.folder / case.pick(["", *NAMES])
    folder.mkdir(exist_ok=True)
    return folder / (case.pick(NAMES) + case.pick([suffix, suffix, suffix.upper()]))


def loaded(case: Case, own: Any) -> Any:
    """Return all samples by id, or the refusal if either split is refused."""
    parts = [case.call(own.load, split, refusals=LOAD) for split in ("train", "test")]
    refused = [part for part in parts if isinstance(part, Refused)]
    if refused:
        return refused[0]
    order = torch.cat([part.ids for part in parts]).argsort()
    images = torch.cat([part.images.flatten(1) for part in parts])[order]
    return images.numpy(), torch.cat([part.labels for part in parts])[order].numpy()


CELLS = [
    "",
    " ",
    "NaN",
    "nan",
    "NA",
    "?",
    "1,5",
    "1 000",
    "inf",
    "-inf",
    "1e400",
    "0x1F",
    "true",
    "abc",
    "1_000",
    "٣",
    "1.5.2",
]


@fuzz(35)
def test_tables(case: Case) -> None:
    """A CSV or Parquet table of numbers is read as it was written; a damaged cell or file gives one sentence."""
    n, d = case.pick([10, 12, 20]), case.int(1, 3)
    names = list(case.rng.permutation(["a", "b c", "x'y", "d;e", "A", "größe", 'f"g', "select", "x,y", "1"])[:d])
    values = case.rng.normal(size=(n, d)).round(case.int(0, 6)) + 0.5
    classes = np.arange(n) % 2
    texts = case.pick([["0", "1"], ["cat", "dog"], ["Cat ", "ü"], ["2", "10"], ["1", "2"]])
    path = place(case, case.pick([".csv", ".csv", ".parquet"]))
    cell = case.pick(CELLS) if case.chance(0.3) and path.suffix.lower() == ".csv" else None
    row, column = case.int(0, n - 1), case.int(0, d)
    table = [[*map(repr, map(float, line)), texts[c]] for line, c in zip(values, classes, strict=True)]
    if cell is not None:
        table[row][column] = cell
    _write(case, path, [*names, "label"], table, values, [texts[c] for c in classes])
    broken = case.chance(0.3)
    if broken:
        path.write_bytes(damaged(case, path.read_bytes()))
    own = case.call(data.Table, path=str(path), preprocessing="raw")
    read = loaded(case, own)
    if broken or cell is not None:
        if not isinstance(read, Refused):
            assert np.isfinite(read[0]).all()
            assert cell is None or broken or _means(cell, read, texts, row, column, d), (cell, read)
        return
    whole = texts[0].isdigit()
    if whole and texts != ["0", "1"]:  # two numeric classes must be 0 and 1
        assert isinstance(read, Refused), read
        return
    assert not isinstance(read, Refused), read
    np.testing.assert_allclose(read[0], values.astype(np.float32), rtol=1e-6)
    assert (read[1] == classes).all(), read[1]
    assert own.content() == own.content()


def _means(cell: str, read: Any, texts: list[str], row: int, column: int, d: int) -> bool:
    """Whether the value read from an accepted cell is the value that its text shows."""
    if column == d:  # a new string would be a class with too few samples, so the cell must be one of the class names
        return cell.strip() in texts
    if cell == "true":
        return False
    return read[0].shape[1] == d and math.isclose(float(cell), read[0][row, column], rel_tol=1e-6)


def _write(case: Case, path: Path, names: list[str], table: list[list[str]], values: Any, classes: list[str]) -> None:
    if path.suffix.lower() == ".parquet":
        columns = dict(zip(names, values.T.copy(), strict=False)) | {"label": np.array(classes, dtype=object)}
        # DuckDB would treat names that differ only in case as one name
        if len({name.lower() for name in names}) < len(names):
            columns = {f"{name}{k}": column for k, (name, column) in enumerate(columns.items()) if name != "label"}
            columns["label"] = np.array(classes, dtype=object)
        if classes[0].isdigit():
            columns["label"] = columns["label"].astype(np.int64)
        plain = path.with_name("plain.parquet")
        with duckdb.connect() as connection:
            connection.register("made", columns)
            connection.execute(f"COPY (SELECT * FROM made) TO '{str(plain).replace(chr(39), chr(39) * 2)}'")
        plain.rename(path)
        return
    text = io.StringIO()
    between = case.pick([",", ";", "\t", "|"])
    other = any(mark in name for name in names for mark in ",;\t|")  # a quoted delimiter does not separate cells
    quoting = csv.QUOTE_ALL if other else case.pick([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
    writer = csv.writer(text, delimiter=between, quoting=quoting, lineterminator=case.pick(["\n", "\r\n"]))
    writer.writerows([names, *table])
    path.write_bytes(text.getvalue().encode(case.pick(["utf-8", "utf-8-sig"])))


@fuzz(100)
def test_arrays(case: Case) -> None:
    """Arrays in npz and npy files are read as they were saved; odd shapes, types and bytes give one sentence."""
    n, side = case.pick([10, 20]), case.pick([1, 4])
    shape = case.pick([(n, 3), (n, side, side), (n, side, side, 3), (n, 3, side, side), (n,), (0, 3), (n, 2, 2, 2, 2)])
    kind = case.pick(
        ["uint8", "float32", "float64", "int16", "float16", "bool", ">f4", "complex64", "U3", "longdouble"]
    )
    images = (case.rng.integers(0, 200, shape) + 0.0).astype(kind)
    if case.chance(0.1) and images.size and images.dtype.kind == "f":
        images.flat[case.int(0, images.size - 1)] = case.pick([np.nan, np.inf, -np.inf])
    if images.ndim > 1 and case.chance(0.3):
        images = np.asfortranarray(images)
    classes = np.arange(len(images)) % 2
    y, fine = labels(case, classes, 2, 0.7)
    column = classes if fine else _saved(y)
    if column is None:
        return
    path = place(case, ".npz")
    single = case.chance(0.3)
    if single:
        path = path.with_name("images.npy")
        np.save(path, images)
        np.save(path.with_name("labels.npy"), column)
    else:
        with path.open("wb") as file:
            case.pick([np.savez, np.savez_compressed])(file, images=images, labels=column)
    broken = case.chance(0.35)
    if broken:
        path.write_bytes(damaged(case, path.read_bytes()))
    read = loaded(case, case.call(data.Arrays, path=str(path), preprocessing="raw"))
    if isinstance(read, Refused):
        odd = broken or not fine or images.ndim not in (2, 3, 4) or not len(images) or images.dtype.kind in "cU"
        assert odd or images.ndim == 4 or not np.isfinite(images).all(), read
        return
    if not broken:
        assert np.isfinite(read[0]).all()
        assert (read[1] == classes).all()
        flat = images if images.ndim < 4 or images.shape[1] == 3 else images.transpose(0, 3, 1, 2)
        np.testing.assert_array_equal(read[0], flat.reshape(len(images), -1).astype(np.float32))


def _saved(y: Any) -> Any:
    """Convert odd labels, if possible, to an array that can be saved without pickle."""
    try:
        array = y.double().numpy() if isinstance(y, torch.Tensor) else np.asarray(y)
    except (ValueError, TypeError):
        return None
    if array.dtype.kind not in "biufcUM" or array.ndim == 0:
        return None
    whole = array.dtype.kind in "f" and array.ndim == 1 and np.array_equal(array, array.round())
    alike = array.ndim == 2 and array.shape[1] == 1
    onehot = (
        array.ndim == 2
        and array.shape[1] == 2
        and ((array == 1).sum(1) == 1).all()
        and ((array == 0).sum(1) == 1).all()
    )
    legal = whole or alike or onehot or array.dtype.kind == "U"
    return None if legal else array


@fuzz(40)
def test_image_folders(case: Case) -> None:
    """An image folder is read with the right classes and pixels, or refused with an error that names the bad file."""
    root = case.folder / case.pick(NAMES)
    names = list(case.rng.permutation(["cat", "dog", "10", "2", "a b", "t[1]", "it's"])[:2])
    wanted, mode = {}, case.pick(["L", "RGB", "RGBA", "P", "1", "I;16"])
    for name in names:
        (root / name).mkdir(parents=True)
        for k in range(5):
            pixels = case.rng.integers(0, 256, (3, 3, 3), dtype=np.uint8)
            picture = Image.fromarray(pixels).convert("I" if mode == "I;16" else mode)
            file = root / name / f"{case.pick(['x', 'y z', 'ü', 'q[0]'])}{k}{case.pick(['.png', '.PNG', '.bmp'])}"
            if mode in ("I;16", "RGBA", "P", "1"):
                file = file.with_suffix(".png")
            picture = picture.convert(mode) if mode == "I;16" else picture
            picture.save(file)
            wanted[file] = np.asarray(picture.convert("RGB"), dtype=np.float32).transpose(2, 0, 1).ravel()
    odd = case.pick([None] * 3 + ["damaged", "empty", "hidden", "text", "link", "pipe", "notebook", "folder"])
    victim = case.pick(sorted(wanted))
    _spoil(case, root, victim, odd)
    own = case.call(data.ImageFolder, path=str(root), preprocessing="raw")
    read = loaded(case, own)
    if isinstance(read, Refused):
        assert odd not in (None, "hidden", "notebook", "link"), read
        return
    assert np.isfinite(read[0]).all()
    if odd in (None, "hidden", "notebook") and mode in ("L", "RGB"):
        by_class = sorted(names, key=lambda s: (int(s) if s.isdigit() else 1 << 62, s))
        files = sorted(wanted, key=lambda f: str(f.relative_to(root)))
        assert own.class_names() == tuple(by_class)
        assert sorted(read[1].tolist()) == [0] * 5 + [1] * 5
        assert sorted(map(bytes, read[0])) == sorted(wanted[f].tobytes() for f in files)
        for image, label in zip(read[0], read[1], strict=True):
            owner = next(f for f in files if np.array_equal(wanted[f], image))
            assert owner.parent.name == by_class[label]


def _spoil(case: Case, root: Path, victim: Path, odd: str | None) -> None:
    if odd == "damaged":
        victim.write_bytes(damaged(case, victim.read_bytes()))
    elif odd == "empty":
        victim.write_bytes(b"")
    elif odd == "hidden":
        (victim.parent / "._x.png").write_bytes(b"\0")
        (root / ".DS_Store").write_bytes(b"\0")
    elif odd == "text":
        (victim.parent / case.pick(["notes.txt", "Thumbs.png", "labels.csv"])).write_text("hello")
    elif odd == "link":
        (victim.parent / "zz.png").symlink_to(victim)
    elif odd == "pipe":
        os.mkfifo(victim.parent / "pipe.png")
    elif odd == "notebook":
        (root / ".ipynb_checkpoints").mkdir()
        (root / ".ipynb_checkpoints" / "cat.png").write_bytes(victim.read_bytes())
    elif odd == "folder":
        (root / "empty").mkdir()


@fuzz(15)
def test_recorded_labels(case: Case) -> None:
    """Noisy labels are read back as saved, and a changed file is never accepted in place of the saved file."""
    n, N = case.int(1, 8), 3
    ids, true = case.rng.permutation(50)[:n], case.rng.integers(0, N, n)
    seen = case.rng.integers(0, N, n)
    path = place(case, case.pick([".csv", ".parquet"]))
    o, fine = labels(case, seen, N, 0.85)
    key = case.call(save_labels, path, ids, true, o, num_classes=N)
    assert isinstance(key, Refused) != fine, key
    if not fine:
        return
    order = ids.argsort()
    way = case.int(0, 3)
    if way == 1:
        path.write_bytes(damaged(case, path.read_bytes()))
    elif way == 2:
        manifest = path.with_name(path.name + ".json")
        manifest.write_bytes(
            case.pick([b"", b"[]", b"3", b"{}", b'{"sha256": 5}', damaged(case, manifest.read_bytes())])
        )
    elif way == 3 and path.suffix.lower() == ".csv":
        between = case.pick([",", ";"])
        cells = case.pick([["x"], ["1.5"], [""], ["-1"], ["1", "2", "3", "4"], ["99999999999999999999"], ["\0"], ["'"]])
        path.write_text(between.join(["id", "true", "observed"]) + "\n" + between.join([*"01", *cells]) + "\n")
    recorded = case.call(load_labels, path, refusals=LOAD)
    again = case.call(load_labels, path, sha256=key, refusals=LOAD)
    for answer in (recorded, again) if way < 2 else (again,):
        if not isinstance(answer, Refused):
            assert answer.ids.tolist() == ids[order].tolist()
            assert answer.true.tolist() == true[order].tolist()
            assert answer.observed.tolist() == seen[order].tolist()
    assert way or not isinstance(again, Refused), again
    noise = case.call(Recorded, str(path), sha256=case.pick([key, "", "0" * 64, "x"]))
    if not isinstance(noise, Refused):
        wanted_ids = case.pick([ids, ids[::-1], ids[:0], ids + 100])
        own = dict(zip(ids.tolist(), zip(true.tolist(), seen.tolist(), strict=True), strict=True))
        y = [own.get(i, (0, 0))[0] for i in wanted_ids.tolist()]
        observed = case.call(noise.corrupt, y, N, torch.Generator(), ids=wanted_ids, refusals=LOAD)
        if not isinstance(observed, Refused) and way < 2:
            assert observed.tolist() == [own[i][1] for i in wanted_ids.tolist()]


@pytest.mark.parametrize("content", [b"", b"\n", b"a\n", b"\xff\xfe", b"label\n", b"label,a\n", b",\n,\n"])
def test_the_smallest_tables_give_one_sentence(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        data.Table(path=str(path)).load()
    assert "\n" not in str(caught.value)
