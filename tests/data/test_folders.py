"""Image folders: which folders are classes or splits, which files are ignored, links, odd names, and later changes."""

import hashlib
import logging
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from byrote import data

pillow = pytest.importorskip("PIL.Image")


def image(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pillow.fromarray(np.full((4, 4, 3), value, np.uint8)).save(path)
    return path


def classes(top: Path, names: tuple[str, ...] = ("cat", "dog"), count: int = 5) -> Path:
    """Write a folder per class; the gray value of an image encodes its class and its number within the class."""
    for label, name in enumerate(names):
        for i in range(count):
            image(top / name / f"{i}.png", 20 * label + i)
    return top


def pixels(own: data.ImageFolder) -> dict[int, list[int]]:
    """Return the gray values of each class in both splits."""
    values_of: dict[int, list[int]] = {}
    for split in ("train", "test"):
        loaded = own.load(split)  # type: ignore[arg-type]
        for value, label in zip(loaded.images[:, 0, 0, 0].tolist(), loaded.labels.tolist(), strict=True):
            values_of.setdefault(label, []).append(round(value))
    return {label: sorted(values) for label, values in values_of.items()}


def folder(path: Path) -> data.ImageFolder:
    return data.ImageFolder(path=str(path), preprocessing="raw")


PLAIN = {0: [0, 1, 2, 3, 4], 1: [20, 21, 22, 23, 24]}
LITTER = [".ipynb_checkpoints", "__MACOSX", ".git", ".Trash-1000", "@eaDir", "$RECYCLE.BIN", "lost+found", "#recycle"]


@pytest.mark.parametrize("name", LITTER)
def test_litter_is_no_class_and_no_sample(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    classes(tmp_path)
    image(tmp_path / name / "0-checkpoint.png", 99)
    image(tmp_path / name / "cat" / "0.png", 99)
    image(tmp_path / "dog" / name / "0.png", 99)
    own = folder(tmp_path)
    with caplog.at_level(logging.WARNING, "byrote"):
        assert pixels(own) == PLAIN
    assert own.class_names() == ("cat", "dog")
    assert own.notes() == (
        f"{tmp_path}: left out 3 files (3 {name}) that are hidden or were created by an operating system or a notebook",
    )
    assert caplog.messages == list(own.notes())


def test_litter_beside_images_and_other_files_are_counted(tmp_path: Path) -> None:
    classes(tmp_path)
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._0.png", "0.png~"):
        (tmp_path / "cat" / name).write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "dog" / "0.npy").write_text("x")
    image(tmp_path / "loose.png")
    own = folder(tmp_path)
    assert pixels(own) == PLAIN
    hidden, others, loose = own.notes()
    assert "left out 5 files (1 .DS_Store, 1 ._0.png, 1 0.png~, 1 Thumbs.db, 1 desktop.ini)" in hidden
    assert "left out 2 files (1 .npy, 1 .txt): not images, judging by their names" in others
    assert "left out 1 file (1 .png): not in the folder of a class" in loose
    (tmp_path / "loose.png").unlink()
    assert own.notes() == (hidden, others)


def test_a_hidden_folder_above_does_not_hide(tmp_path: Path) -> None:
    assert pixels(folder(classes(tmp_path / ".cache" / "__MACOSX" / "mine"))) == PLAIN


@pytest.mark.parametrize("empty", ["aardvark", "cow", "zebra"])
@pytest.mark.parametrize("split", ["", "train", "test"])
def test_an_empty_class_is_named(tmp_path: Path, empty: str, split: str) -> None:
    if split:
        classes(tmp_path / "train")
        classes(tmp_path / "test")
    else:
        classes(tmp_path)
    (tmp_path / split / empty).mkdir()
    (tmp_path / split / empty / "readme.txt").write_text("")
    with pytest.raises(ValueError, match=f"every class needs images.*, but the folder {empty} has none: fill it or"):
        folder(tmp_path).load()


def test_a_class_of_one_split_only_is_named(tmp_path: Path) -> None:
    classes(tmp_path / "train")
    classes(tmp_path / "test", ("cat", "dog", "emu"))
    with pytest.raises(ValueError, match="every class needs images in train, but the folder emu has none"):
        folder(tmp_path).load()


def test_numbers_come_in_their_order(tmp_path: Path) -> None:
    own = folder(classes(tmp_path, tuple(str(i) for i in range(11)), 5))
    assert own.class_names() == tuple(str(i) for i in range(11))
    assert pixels(own)[10] == [200, 201, 202, 203, 204]
    assert own.notes() == ()
    shutil.rmtree(tmp_path / "0")
    assert "classes are numbered from 0 in the order of their names (1 is 0, 2 is 1, 3 is 2, ...)" in own.notes()[0]


@pytest.mark.parametrize(
    ("names", "note"),
    [
        (("train", "test"), ()),
        (("Train", "Testing"), ()),
        (("training", "valid"), ("there is no folder test, so valid is the test split",)),
        (("train", "test", "val"), ("left out 10 images of val",)),
    ],
)
def test_folders_of_splits(tmp_path: Path, names: tuple[str, ...], note: tuple[str, ...]) -> None:
    for place, name in enumerate(names):
        for label, kind in enumerate(("cat", "dog")):
            for i in range(5):
                image(tmp_path / name / kind / f"{i}.png", 100 * place + 20 * label + i)
    own = folder(tmp_path)
    assert sorted(own.load().images[:, 0, 0, 0].tolist()) == PLAIN[0] + PLAIN[1]
    assert sorted(own.load("test").images[:, 0, 0, 0].tolist()) == [100 + v for v in PLAIN[0] + PLAIN[1]]
    assert own.load("test").labels.tolist() == [0] * 5 + [1] * 5
    assert tuple(n.removeprefix(f"{tmp_path}: ") for n in own.notes()) == note


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (("train/cat", "train/dog"), "contains train but no folder 'test'"),
        (("test/cat", "test/dog", "valid/cat"), "contains test, valid but no folder 'train'"),
        (("train/cat", "test/cat", "dog"), r"contains folders of splits \(test, train\) and others \(dog\)"),
        (("cat/train", "cat/test", "dog/train"), "names a split below a class: splits must be above"),
        (("train/cat", "Train/cat", "test/cat"), "two folders for the same split, Train and train"),
        (("archive/cat", "archive/dog"), "expected at least two classes, but every sample is of class 'archive'"),
    ],
)
def test_trees_that_could_be_read_in_two_ways(tmp_path: Path, tree: tuple[str, ...], message: str) -> None:
    for name in tree:
        for i in range(5):
            image(tmp_path / name / f"{i}.png", i)
    with pytest.raises(ValueError, match=message) as caught:
        folder(tmp_path).load()
    assert "\n" not in str(caught.value)


def test_trains_are_a_class_like_any_other(tmp_path: Path) -> None:
    own = folder(classes(tmp_path, ("car", "train")))
    assert own.class_names() == ("car", "train")
    assert pixels(own) == PLAIN


# ---------------------------------------------------------------------------------------- names and links

ODD = [
    "t[1]",
    "a*b?",
    "label=3",
    "100%25",
    "it's; DROP",
    "new\nline",
    "back\\slash",
    "~me",
    "s3:x",
    os.fsdecode(b"\xff"),
]


@pytest.mark.parametrize("name", ODD)
def test_names_are_taken_literally(tmp_path: Path, name: str) -> None:
    top = tmp_path / (name if name.isprintable() else "printable")  # a description may contain only printable text
    names = tuple(sorted((name, "z" + name)))
    own = folder(classes(top, names))
    classes(tmp_path / "t1", ("x", "y", "z"))
    assert own.class_names() == names
    assert pixels(own) == PLAIN
    (top / name / "0.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="is not an image that can be read") as caught:
        own.load()
    assert "\n" not in str(caught.value)
    str(caught.value).encode()  # the message must be printable


def test_links_are_followed(tmp_path: Path) -> None:
    real = classes(tmp_path / "real", ("cat", "far"))
    top = tmp_path / "mine"
    (top / "cat" / "more").mkdir(parents=True)
    for i in range(3):
        (top / "cat" / f"{i}.png").symlink_to(real / "cat" / f"{i}.png")
    (top / "cat" / "more" / "deep").symlink_to(real / "cat")
    (top / "dog").symlink_to(real / "far")
    assert pixels(folder(top)) == {0: [0, 0, 1, 1, 2, 2, 3, 4], 1: PLAIN[1]}
    (tmp_path / "to mine").symlink_to(top)
    assert pixels(folder(tmp_path / "to mine")) == pixels(folder(top))


def test_links_that_lead_nowhere_or_back(tmp_path: Path) -> None:
    top = classes(tmp_path / "mine")
    (top / "cat" / "gone.png").symlink_to("nowhere.png")
    with pytest.raises(FileNotFoundError, match="there is only a broken link"):
        folder(top).load()
    (top / "cat" / "gone.png").unlink()
    (top / "cat" / "up").symlink_to("..")
    with pytest.raises(ValueError, match="is a link that leads back to a folder above it"):
        folder(top).load()


def test_folders_below_folders_however_deep(tmp_path: Path) -> None:
    classes(tmp_path)
    here = os.getcwd()
    try:
        os.chdir(tmp_path / "cat")
        for _ in range(1200):
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.chdir(here)
    try:
        assert pixels(folder(tmp_path)) == PLAIN
    finally:  # the tree is too deep for shutil.rmtree
        subprocess.run(["rm", "-rf", str(tmp_path / "cat" / "d")], check=True)


def test_a_pipe_or_device_among_images_does_not_hang(tmp_path: Path) -> None:
    classes(tmp_path)
    os.mkfifo(tmp_path / "cat" / "zz.png")
    with pytest.raises(ValueError, match=r"expected an image, but .*zz\.png is a named pipe|expected a file"):
        folder(tmp_path).load()
    (tmp_path / "cat" / "zz.png").unlink()
    (tmp_path / "cat" / "zz.png").symlink_to("/dev/zero")
    with pytest.raises(ValueError, match=r"zz\.png is a device"):
        folder(tmp_path).content()


# ------------------------------------------------------------------------------------ content and changes


def by_hand(top: Path) -> str:
    state = hashlib.sha256()
    for path in sorted(p.relative_to(top).as_posix() for p in top.rglob("*.png")):
        state.update(path.encode() + b"\0" + hashlib.sha256((top / path).read_bytes()).hexdigest().encode() + b"\n")
    return state.hexdigest()


def test_content_is_of_the_images_alone(tmp_path: Path) -> None:
    own = folder(classes(tmp_path / "a"))
    name = own.content()
    assert name == by_hand(tmp_path / "a")
    assert folder(classes(tmp_path / "b")).content() == name
    (tmp_path / "a" / "cat" / "readme.txt").write_text("")
    image(tmp_path / "a" / ".ipynb_checkpoints" / "0.png")
    assert own.content() == name
    assert own.replace(sha256=name).load().labels.tolist() == own.load().labels.tolist()
    image(tmp_path / "a" / "cat" / "0.png", 7)
    changed = own.content()
    assert changed != name
    with pytest.raises(ValueError, match=f"damaged or a different file: expected sha256 {name}, got {changed}"):
        own.replace(sha256=name).load()
    (tmp_path / "a" / "cat").rename(tmp_path / "a" / "cats")
    assert own.content() not in (name, changed)


def test_a_file_changed_in_place_is_read_anew(tmp_path: Path) -> None:
    own = folder(classes(tmp_path))
    path = tmp_path / "cat" / "1.png"
    old = path.read_bytes()
    os.utime(path, ns=(10**18, 10**18))
    assert pixels(own) == PLAIN
    image(path, 9)
    assert len(path.read_bytes()) == len(old)
    os.utime(path, ns=(10**18, 10**18))
    assert pixels(own)[0] == [0, 2, 3, 4, 9]
    (tmp_path / "cat" / "5.png").symlink_to("0.png")
    assert pixels(own)[0] == [0, 0, 2, 3, 4, 9]


def test_a_folder_that_changes_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = folder(classes(tmp_path))
    real = data.image_folder.stack

    def meanwhile(*given: object) -> object:
        done = real(*given)
        image(tmp_path / "cat" / "0.png", 9)
        return done

    monkeypatch.setattr(data.image_folder, "stack", meanwhile)
    with pytest.raises(ValueError, match="changed while it was read"):
        own.load()
