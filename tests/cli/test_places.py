"""No command mistakes a bucket's address for a local folder: it writes to the bucket, or stops with one sentence."""

import inspect
import os
from pathlib import Path
from typing import get_type_hints

import pytest

from byrote.cli import main
from byrote.cli.places import Place
from byrote.files import write_atomic
from cli.test_help import COMMANDS

OWN = {"run --script", "audit PATH", "new --folder"}
"""Some of the paths that must be refused; the test checks that they are found."""


def is_path(annotation):
    return "pathlib.Path" in str(annotation) or annotation is Path


def parameters():
    """Find every path argument of every command: the command, its name in the help, and whether it may be a bucket."""
    for words, function in COMMANDS:
        hints, plain = get_type_hints(function, include_extras=True), get_type_hints(function)
        for name, parameter in inspect.signature(function).parameters.items():
            if is_path(plain[name]):
                by_place = parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL)
                option = name.upper() if by_place else f"--{name}"
                yield words, option, str(Place) in str(hints[name])


PATHS = list(parameters())
REFUSING = [(words, option) for words, option, may in PATHS if not may]


def test_the_list_of_paths_is_that_of_the_commands():
    named = {f"{' '.join(words)} {option}" for words, option in REFUSING}
    assert OWN | {"audit --out", "audit plan FOLDER", "audit export --out", "data get --folder"} <= named
    taking = {f"{' '.join(words)} {option}" for words, option, may in PATHS if may}
    assert {"run --out", "status FOLDER", "report --out", "merge FOLDERS", "theory figures --out"} <= taking


@pytest.mark.parametrize(("words", "option"), REFUSING, ids=lambda value: " ".join([value] * isinstance(value, str)))
@pytest.mark.parametrize("address", ["s3://bucket/x", "gs://bucket/x"])
def test_an_address_is_refused_and_nothing_is_written(words, option, address, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    needed = {"run": ["demo"], "new": ["loss", "mine"], "audit export": ["audit", "--to", "csv"]}
    needed |= {"audit settle": ["audit"], "data get": ["mnist"]}
    given = [address] if option.isupper() else [option, address]
    before = needed.get(" ".join(words), []) if option != "FOLDER" else []
    after = ["--to", "csv"] if (words, option) == (["audit", "export"], "FOLDER") else []
    assert main([*words, *before, *given, *after]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"byrote: {option} must be a path on this machine, got {address}; ")
    assert error.count("\n") == 1
    assert os.listdir(tmp_path) == []


def test_the_library_makes_no_folder_for_an_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"^a file must be a path on this machine, got s3://bucket/x/a\.txt; "):
        write_atomic("s3://bucket/x/a.txt", "")
    assert os.listdir(tmp_path) == []


def test_a_folder_may_have_a_colon_in_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["new", "loss", "mine", "--folder", "a:b"]) == 0
    assert (tmp_path / "a:b" / "mine.py").is_file()
