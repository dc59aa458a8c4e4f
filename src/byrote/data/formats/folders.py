"""Folders of images, one per class: this module finds the samples, and reports the files that are left out."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from byrote.data.formats.images import SUFFIXES
from byrote.data.formats.labels import check_names, class_order, split_named, split_within
from byrote.inputs import is_folder, shown

__all__ = ["Listing", "is_litter", "list_classes"]

_LITTER = frozenset(
    (
        *("__macosx", "__pycache__", "@eadir", "#recycle", "#snapshot", "$recycle.bin", "system volume information"),
        *("lost+found", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "recycler", "@recycle"),
        *("@recently-snapshot", "@tmp", "#snapshots", "node_modules"),
    )
)


class Listing(NamedTuple):
    """The files of each split, each with the number of its class, in the order of the ids."""

    names: tuple[str, ...]  # the names of the classes, in the order of their numbers
    splits: dict[str, list[tuple[Path, int]]]
    notes: tuple[str, ...]  # one sentence for each kind of file that was left out

    @property
    def files(self) -> list[Path]:
        """All files that are read."""
        return [path for entries in self.splits.values() for path, _ in entries]


def is_litter(name: str) -> bool:
    """Whether a file or folder is hidden, or was created by an operating system or a notebook.

    >>> is_litter(".ipynb_checkpoints"), is_litter("__MACOSX"), is_litter("Thumbs.db"), is_litter("cat")
    (True, True, True, False)
    """
    return name.startswith((".", "~$")) or name.endswith("~") or name.lower() in _LITTER


class _Left(NamedTuple):
    """Counts of the files left out while folders are read."""

    litter: Counter[str]
    suffixes: Counter[str]
    loose: Counter[str]

    def notes(self, place: Path) -> tuple[str, ...]:
        sentences = []
        if self.litter:
            sentences.append(
                f"left out {_list(self.litter)} that are hidden or were created by an operating system or a notebook"
            )
        if self.suffixes:
            sentences.append(f"left out {_list(self.suffixes)}: not images, judging by their names")
        if self.loose:
            sentences.append(f"left out {_list(self.loose)}: not in the folder of a class")
        return tuple(f"{shown(place)}: {note}" for note in sentences)


def _list(counts: Counter[str]) -> str:
    total = sum(counts.values())
    names = ", ".join(f"{count} {shown(name)}" for name, count in sorted(counts.items())[:5])
    return f"{total} file{'s' if total > 1 else ''} ({names}{', ...' if len(counts) > 5 else ''})"


def _entries(place: Path) -> tuple[list[Path], list[Path]]:
    """The subfolders and the files in a folder, both in alphabetical order; links are followed."""
    try:
        inside = sorted(place.iterdir())
        folders = [p for p in inside if p.is_dir()]
        known = set(folders)
    except OSError as error:
        raise ValueError(f"{shown(place)} cannot be read: {(error.strerror or str(error)).lower()}") from None
    return folders, [p for p in inside if p not in known]


def _walk(place: Path) -> Iterator[Path]:
    """All files below a folder, with links followed; a link back to a folder above is refused."""
    left: list[tuple[Path, frozenset[tuple[int, int]]]] = [(place, frozenset())]
    while left:
        folder, above = left.pop()
        status = folder.stat()
        here = (status.st_dev, status.st_ino)
        if here in above:
            raise ValueError(f"{shown(folder)} is a link that leads back to a folder above it: remove the link")
        folders, rest = _entries(folder)
        yield from rest
        left += [(below, above | {here}) for below in folders]


def _count_litter(path: Path, left: _Left) -> None:
    """Count the files in a folder of clutter (hidden files and the like), without following links."""
    inside = sum(len(names) for _, _, names in os.walk(path)) if path.is_dir() else 1
    if inside:
        left.litter[path.name] += inside


def _samples(folder: Path, top: Path, left: _Left) -> list[Path]:
    """The images below the folder of a class, in the order of their paths."""
    images = []
    for path in _walk(folder):
        inside = path.relative_to(folder).parts
        litter = next((part for part in inside if is_litter(part)), None)
        if litter is not None:
            left.litter[litter] += 1
        elif path.suffix.lower() not in SUFFIXES:
            left.suffixes[path.suffix or path.name] += 1
        else:
            split = next((part for part in inside[:-1] if split_named(part)), None)
            if split is not None:
                raise ValueError(
                    f"{shown(path.parent)} names a split below a class: splits must be above the classes, as "
                    f"{split}/{folder.name}/..., in {shown(top)}"
                )
            images.append(path)
    return sorted(images)


def _classes(place: Path, left: _Left) -> dict[str, list[Path]]:
    """The images of each class, by class name; a class has the name of its folder in `place`."""
    folders, rest = _entries(place)
    for path in rest:
        if is_litter(path.name):
            _count_litter(path, left)
        else:
            (left.loose if path.suffix.lower() in SUFFIXES else left.suffixes)[path.suffix or path.name] += 1
    for path in filter(lambda p: is_litter(p.name), folders):
        _count_litter(path, left)
    return {p.name: _samples(p, place, left) for p in folders if not is_litter(p.name)}


def _split_folders(place: Path) -> dict[str, Path]:
    """The folders of the training, test and validation splits in `place`; empty if there are none."""
    folders = [p for p in _entries(place)[0] if not is_litter(p.name)]
    named = {p: split for p in folders if (split := split_named(p.name)) and _holds_folders(p)}
    if not named:
        _refuse_unusual_splits(place, folders)
        return {}
    splits: dict[str, Path] = {}
    for path, split in named.items():
        if split in splits:
            raise ValueError(
                f"{shown(place)} contains two folders for the same split, {splits[split].name} and {path.name}"
            )
        splits[split] = path
    others = [p.name for p in folders if p not in named]
    if others:
        raise ValueError(
            f"{shown(place)} contains folders of splits ({', '.join(sorted(p.name for p in named))}) and others "
            f"({', '.join(map(shown, others[:5]))}): keep either only splits or only classes there"
        )
    if "train" not in splits or len(splits) == 1:
        wanted = "train" if "train" not in splits else "test"
        raise ValueError(
            f"{shown(place)} contains {', '.join(sorted(p.name for p in named))} but no folder {wanted!r}: add it, or "
            "give the path of one of them; then every fifth image of each class is held out"
        )
    return splits


def _refuse_unusual_splits(place: Path, folders: list[Path]) -> None:
    """Refuse folders such as train_images and test_images, which are not classes but splits with unusual names."""
    meant = {p.name: split for p in folders if (split := split_within(p.name))}
    if len(set(meant.values())) < 2 or "train" not in meant.values():
        return
    if len(meant) == len(folders) or all(_holds_folders(p) for p in folders if p.name in meant):
        raise ValueError(
            f"{shown(place)} contains {', '.join(map(shown, sorted(meant)))}, which look like splits but would be read "
            "as classes: call them train, test and val, with a folder for each class inside"
        )


def _holds_folders(place: Path) -> bool:
    """Whether a folder contains folders and no images of its own, like the folder of a split."""
    folders, rest = _entries(place)
    images = any(p.suffix.lower() in SUFFIXES and not is_litter(p.name) for p in rest)
    return not images and (any(not is_litter(p.name) for p in folders) or not folders)


def _refuse_empty(place: Path, images_of: dict[str, list[Path]], where: str) -> None:
    empty = [name for name, paths in images_of.items() if not paths]
    if empty and len(empty) < len(images_of):
        raise ValueError(
            f"{shown(place)}: every class needs images{where}, but the folder {', '.join(map(shown, empty[:5]))} has "
            "none: fill it or remove it"
        )
    if len(empty) == len(images_of):
        raise ValueError(f"{shown(place)} must contain one folder of images per class, got none")


def list_classes(place: Path) -> Listing:
    """List the images of a folder: `<class>/*.png`, or `train/<class>/*.png` beside `test` (or `val`).

    Classes are numbered in `class_order`, so that "10" comes after "2". Without `test`, `val` is the test split; with
    `test`, `val` is left out. Images in subfolders of a class are included, and links are followed.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: a class without images, splits beside classes or below them, or a link back to a folder above it.
    """
    if not is_folder(place):
        if place.exists():
            raise ValueError(f"expected a folder with one folder per class, but {shown(place)} is a file")
        raise FileNotFoundError(f"there is no folder {shown(place)}")
    left = _Left(Counter(), Counter(), Counter())
    splits = _split_folders(place)
    notes: list[str] = []
    if not splits:
        by_split = {"": _classes(place, left)}
    else:
        held = "test" if "test" in splits else "val"
        if held == "val":
            notes.append(f"{shown(place)}: there is no folder test, so {splits['val'].name} is the test split")
        elif "val" in splits:
            count = sum(map(len, _classes(splits["val"], left).values()))
            notes.append(f"{shown(place)}: left out {count} images of {splits['val'].name}")
        by_split = {"train": _classes(splits["train"], left), "test": _classes(splits[held], left)}
    names = tuple(sorted({name for classes in by_split.values() for name in classes}, key=class_order))
    check_names(names, shown(place))
    if len(names) == 1 and not splits and _holds_folders(place / names[0]):
        raise ValueError(
            f"{shown(place)}: expected at least two classes, but every sample is of class {names[0]!r}, a folder of "
            "folders: give the path of the folder that contains one folder per class"
        )
    for split, classes in by_split.items():
        _refuse_empty(place, {name: classes.get(name, []) for name in names}, f" in {split}" if split else "")
    if any(name.isdigit() and name != str(number) for number, name in enumerate(names)):
        pairs = ", ".join(f"{name} is {number}" for number, name in list(enumerate(names))[:3])
        notes.append(f"{shown(place)}: classes are numbered from 0 in the order of their names ({pairs}, ...)")
    samples = {
        split: [(path, number) for number, name in enumerate(names) for path in classes[name]]
        for split, classes in by_split.items()
    }
    return Listing(names, samples, (*notes, *left.notes(place)))
