"""The user's own arrays, image folders and tables: scaling by their own statistics, and which data are refused."""

import os
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
import torch

from byrote import data, files


def write(path: Path, **arrays: Any) -> str:
    np.savez(path, **arrays)
    return str(path)


RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (20, 6, 6), dtype=np.uint8)
LABELS = np.arange(20) % 2

# ----------------------------------------------------------------------------------------------- arrays


def test_every_fifth_of_each_class_is_held_out(tmp_path: Path) -> None:
    own = data.Arrays(path=write(tmp_path / "a.npz", images=GRAY, labels=LABELS), preprocessing="raw")
    train, test = own.load(), own.load("test")
    assert test.ids.tolist() == [8, 9, 18, 19]  # the fifth and the tenth even id, and the fifth and the tenth odd id
    assert sorted(train.ids.tolist() + test.ids.tolist()) == list(range(20))
    assert torch.equal(test.images[:, 0], torch.from_numpy(GRAY[[8, 9, 18, 19]]).float())
    assert own.num_classes == 2
    assert own.available()
    assert own.label == "a.npz"


def test_own_test_arrays_and_text_labels_share_one_numbering(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.npz",
        train_images=GRAY[:3],
        train_labels=np.array(["dog", "ant", "cat"]),
        test_images=GRAY[3:6],
        test_labels=np.array(["dog", "cat", "ant"]),
    )
    own = data.Arrays(path=path)
    assert own.load().labels.tolist() == [2, 0, 1]
    assert own.load("test").labels.tolist() == [2, 1, 0]
    assert own.load("test").ids.tolist() == [3, 4, 5]


def test_standardized_by_the_training_split_alone(tmp_path: Path) -> None:
    images = np.concatenate([GRAY[:10] // 2, GRAY[10:] // 2 + 100])
    path = write(
        tmp_path / "a.npz",
        train_images=images[:10],
        train_labels=LABELS[:10],
        test_images=images[10:],
        test_labels=LABELS[10:],
    )
    own = data.Arrays(path=path)
    train, test = own.load().images, own.load("test").images
    assert abs(float(train.mean())) < 1e-5
    assert abs(float(train.std(correction=0)) - 1) < 1e-5
    assert float(test.mean()) > 1


def test_float_images_are_taken_as_they_are(tmp_path: Path) -> None:
    values = RNG.normal(3, 2, (20, 4))
    path = write(tmp_path / "a.npz", images=values, labels=LABELS)
    for preprocessing in ("raw", "unit"):
        loaded = data.Arrays(path=path, preprocessing=preprocessing).load()
        assert loaded.shape == (4, 1, 1)
        np.testing.assert_allclose(loaded.images.flatten(1).numpy(), values[loaded.ids], rtol=1e-6)
    scaled = data.Arrays(path=path).load().images.flatten(1)
    torch.testing.assert_close(scaled.mean(0), torch.zeros(4), atol=1e-5, rtol=0)  # each feature is scaled separately
    torch.testing.assert_close(scaled.std(0, correction=0), torch.ones(4), atol=1e-5, rtol=0)


def test_a_constant_feature_does_not_divide_by_zero(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", images=np.ones((20, 2)), labels=LABELS)
    assert float(data.Arrays(path=path).load().images.abs().max()) == 0


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((20, 6, 6), (1, 6, 6)), ((20, 6, 6, 3), (3, 6, 6)), ((20, 3, 6, 6), (3, 6, 6)), ((20, 9), (9, 1, 1))],
)
def test_layouts(tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    images = RNG.integers(0, 256, shape, dtype=np.uint8)
    loaded = data.Arrays(path=write(tmp_path / "a.npz", images=images, labels=LABELS), preprocessing="raw").load()
    assert loaded.shape == expected
    if shape[-1] == 3:
        assert loaded.images[4, 2, 1, 5] == images[int(loaded.ids[4]), 1, 5, 2]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": GRAY}, "has no array 'labels'"),
        ({"picture": GRAY, "labels": LABELS}, "has no array 'images'"),
        ({"picture": GRAY}, "has no array 'train_images'"),
        (
            {"images": GRAY, "labels": LABELS, "test_labels": LABELS},
            "contains both test_labels and arrays named images",
        ),
        ({"images": GRAY, "labels": LABELS[:-1]}, "20 images need the same number of labels"),
        ({"images": GRAY, "labels": np.stack([LABELS, LABELS], 1)}, "expected one label per sample"),
        ({"images": GRAY, "labels": LABELS - 1}, "at least 0"),
        ({"images": GRAY, "labels": LABELS + 0.5}, "integers or strings"),
        ({"images": GRAY, "labels": LABELS * 2}, "no sample of class 1"),
        ({"images": GRAY[None, None], "labels": LABELS}, "expected images"),
        ({"images": GRAY.astype(str), "labels": LABELS}, "must be numbers"),
        ({"images": np.where(GRAY[2, 2, 2] == GRAY, np.nan, GRAY), "labels": LABELS}, "finite"),
        ({"images": GRAY[:4], "labels": LABELS[:4]}, "has no test samples"),
    ],
)
def test_arrays_that_do_not_make_a_data_set(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    own = data.Arrays(path=write(tmp_path / "a.npz", **arrays), preprocessing="raw")
    with pytest.raises(ValueError, match=message) as caught:
        own.load("test" if "test" in message else "train")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_npz_or_hides_a_pickle(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(FileNotFoundError, match=r"there is no .*a\.npz"):
        data.Arrays(path=str(path)).load()
    whole = Path(write(path, images=GRAY, labels=LABELS)).read_bytes()
    for content in (b"", b"nothing", whole[:300]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="not a complete npz file"):
            data.Arrays(path=str(path)).load()
    write(path, images=np.array([os.getcwd], dtype=object), labels=LABELS[:1])
    with pytest.raises(ValueError, match="not a complete npz file of plain arrays"):
        data.Arrays(path=str(path)).load()


def test_a_changed_file_is_read_anew_and_a_checksum_pins_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", images=GRAY, labels=LABELS)
    pinned = data.Arrays(path=path, sha256=files.sha256(path))
    free = data.Arrays(path=path)
    before = free.load().images
    assert torch.equal(pinned.load().images, before)
    assert pinned.digest() != free.digest()
    write(tmp_path / "a.npz", images=255 - GRAY, labels=LABELS)
    os.utime(path, ns=(1, 1))
    assert not torch.equal(free.load().images, before)
    with pytest.raises(ValueError, match="damaged or a different file"):
        pinned.load()


def test_digits_of_scikit_learn(tmp_path: Path) -> None:
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    images = (digits.images * (255 / 16)).astype(np.uint8)
    own = data.Arrays(path=write(tmp_path / "digits.npz", images=images, labels=digits.target))
    assert len(own.load()) + len(own.load("test")) == 1797
    assert own.num_classes == 10
    assert own.load().shape == (1, 8, 8)


# ---------------------------------------------------------------------------------------------- folders


def save(path: Path, pixels: np.ndarray) -> None:
    pillow = pytest.importorskip("PIL.Image")
    path.parent.mkdir(parents=True, exist_ok=True)
    pillow.fromarray(pixels).save(path)


def test_image_folders_with_and_without_splits(tmp_path: Path) -> None:
    for n in range(10):
        save(tmp_path / "flat" / ("cat" if n % 2 else "ant") / f"{n}.png", GRAY[n])
    flat = data.ImageFolder(path=str(tmp_path / "flat"), channels=1, preprocessing="raw")
    assert flat.load().labels.tolist() == [0] * 4 + [1] * 4
    assert flat.load("test").ids.tolist() == [4, 9]
    assert torch.equal(flat.load().images[1, 0], torch.from_numpy(GRAY[2]).float())
    for n in range(6):
        save(tmp_path / "split" / ("train" if n < 4 else "test") / f"class{n % 2}" / f"{n}.png", GRAY[n])
    split = data.ImageFolder(path=str(tmp_path / "split"), preprocessing="raw")
    assert split.load().shape == (3, 6, 6)
    assert split.load("test").labels.tolist() == [0, 1]
    assert split.load("test").ids.tolist() == [4, 5]
    assert torch.equal(split.load("test").images[1, 2], torch.from_numpy(GRAY[5]).float())


def test_images_of_several_sizes_need_a_resolution(tmp_path: Path) -> None:
    for n, side in enumerate([4, 8, 12, 8]):
        save(tmp_path / "train" / f"c{n % 2}" / f"{n}.png", np.full((side, side + n, 3), 40 + n, np.uint8))
        save(tmp_path / "test" / f"c{n % 2}" / f"{n}.png", np.full((side, side, 3), 40 + n, np.uint8))
    with pytest.raises(ValueError, match=r"0\.png has 4x4 and .*2\.png 14x12 \(width x height\): set a resolution"):
        data.ImageFolder(path=str(tmp_path)).load("test")
    small = data.ImageFolder(path=str(tmp_path), resolution=4, preprocessing="raw").load()
    assert small.shape == (3, 4, 4)
    assert small.images.amin((1, 2, 3)).tolist() == small.images.amax((1, 2, 3)).tolist() == [40, 42, 41, 43]


def test_folders_that_do_not_make_a_data_set(tmp_path: Path) -> None:
    pytest.importorskip("PIL.Image")
    with pytest.raises(FileNotFoundError, match="there is no"):
        data.ImageFolder(path=str(tmp_path / "nowhere")).load()
    with pytest.raises(ValueError, match="must contain one folder of images per class"):
        data.ImageFolder(path=str(tmp_path)).load()
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ValueError, match="not an image that can be read"):
        data.ImageFolder(path=str(tmp_path)).load()


def test_pillow_is_asked_for_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.png").write_bytes(b"")
    monkeypatch.setitem(__import__("sys").modules, "PIL.Image", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'byrote\[images\]'"):
        data.ImageFolder(path=str(tmp_path)).load()


# ----------------------------------------------------------------------------------------------- tables


@pytest.fixture
def table(tmp_path: Path) -> dict[str, Any]:
    """Write a table of 12 rows as CSV and as Parquet."""
    rows = [
        f"{100 + n},{n}.5,{n * 2},{'yes' if n % 2 else 'no'},{'test' if n > 7 else 'train'},note{n}" for n in range(12)
    ]
    csv = tmp_path / "t.csv"
    csv.write_text("\n".join(["key,a,b,answer,part,note", *rows, ""]))
    parquet = tmp_path / "t.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT * FROM read_csv('{csv}')) TO '{parquet}' (FORMAT parquet)")
    return {"csv": str(csv), "parquet": str(parquet)}


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_tables(table: dict[str, Any], kind: str) -> None:
    own = data.Table(path=table[kind], label_column="answer", split_column="part", id_column="key", preprocessing="raw")
    train, test = own.load(), own.load("test")
    assert train.ids.tolist() == list(range(100, 108))
    assert test.ids.tolist() == list(range(108, 112))
    assert train.labels.tolist() == [0, 1] * 4
    assert train.shape == (2, 1, 1)
    assert train.images[3].flatten().tolist() == [3.5, 6.0]
    plain = data.Table(
        path=table[kind], label_column="answer", features=("b", "a"), shape=(1, 1, 2), preprocessing="raw"
    )
    assert plain.load().shape == (1, 1, 2)
    assert plain.load().images[3].flatten().tolist() == [6.0, 3.5]
    assert plain.load("test").ids.tolist() == [8, 9]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"label_column": "anwser"}, "did you mean 'answer'"),
        ({"features": ("a", "note")}, r"must be numbers, got \['note'\]"),
        ({"shape": (1, 2, 2)}, "2 features cannot form the shape 1x2x2"),
        ({"id_column": "b", "split_column": "nope"}, "has no column 'nope'"),
    ],
)
def test_tables_that_do_not_fit(table: dict[str, Any], fields: dict[str, Any], message: str) -> None:
    fields = {"label_column": "answer", "features": ("a", "b")} | fields
    with pytest.raises(ValueError, match=message):
        data.Table(path=table["csv"], **fields).load()


def test_tables_with_holes_and_no_tables(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,label\n1,0\n,1\n3,0\n4,1\n")
    with pytest.raises(ValueError, match="finite"):
        data.Table(path=str(path), classes=(0, 1)).load()
    path.write_text("a,label\n1,x\n2,\n3,x\n")
    with pytest.raises(ValueError, match="labels are missing"):
        data.Table(path=str(path)).load()
    for name in ("t.parquet", "t.txt"):
        (tmp_path / name).write_bytes(b"PAR1 and nothing")
        with pytest.raises(ValueError, match=r"not a complete table|must end in \.csv or \.parquet") as caught:
            data.Table(path=str(tmp_path / name)).load()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [data.Arrays, data.ImageFolder, data.Table])
@pytest.mark.parametrize(
    "path", ["x" * 5000 + ".csv", "no\0thing.csv", "absent/" * 100 + "t.csv", "~nobody-of-this-name/t.csv"]
)
def test_a_path_that_leads_nowhere_gives_one_sentence(kind: type[data.Dataset], path: str) -> None:
    own = kind(path=path)
    for call in (own.load, own.stamp, own.content):  # type: ignore[attr-defined]
        with pytest.raises((ValueError, FileNotFoundError), match=r"there is no|cannot be read") as caught:
            call()
        assert "\n" not in str(caught.value)
