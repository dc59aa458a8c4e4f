"""`byrote new` writes files that run, with a test that passes, and overwrites no file."""

import ast
import subprocess
import sys
import tomllib
from importlib import resources

import pytest

from byrote.cli import main

KINDS = ("loss", "study", "network", "noise", "measure", "claim", "figure")


def written(kind, folder, name="my_own"):
    assert main(["new", kind, name, "--folder", str(folder)]) == 0
    return folder / f"{name}.{'toml' if kind == 'study' else 'py'}", folder / f"test_{name}.py"


@pytest.mark.every(7)
@pytest.mark.parametrize("kind", KINDS)
def test_each_file_runs_and_its_test_passes(kind, tmp_path, capsys):
    if kind == "figure":
        pytest.importorskip("altair")
        pytest.importorskip("vl_convert")
    _, test = written(kind, tmp_path)
    assert f"next: python -m pytest {test}" in capsys.readouterr().err
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", test.name]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert " skipped" not in done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_each_file_is_code_with_comments_and_nothing_left_to_fill_in(kind, tmp_path):
    for path in written(kind, tmp_path):
        text = path.read_text("utf-8")
        assert "$" not in text
        assert max(map(len, text.splitlines())) <= 120
        if path.suffix == ".toml":
            tomllib.loads(text)
            assert text.count("#") >= 8
        else:
            assert ast.get_docstring(ast.parse(text))
            compile(text, path.name, "exec")


def test_every_template_belongs_to_a_kind():
    names = {file.name for file in (resources.files("byrote.cli") / "templates").iterdir()}
    assert names == {f"{kind}{end}.txt" for kind in KINDS for end in ("", "_test")}


@pytest.mark.parametrize("there", ["my_own.py", "test_my_own.py"])
def test_nothing_is_written_over(there, tmp_path, capsys):
    (tmp_path / there).write_text("mine")
    assert main(["new", "loss", "my_own", "--folder", str(tmp_path)]) == 2
    assert f"{tmp_path / there} exists already and was not changed" in capsys.readouterr().err
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("2fast", "start with a letter"),
        ("my-loss", "start with a letter"),
        ("class", "start with a letter"),
        ("test_me", "start with a letter"),
        ("MyLoss", "such as myloss"),
        ("random", "the file would hide"),
        ("torch", "the file would hide"),
    ],
)
def test_a_name_that_cannot_be_a_module_is_refused(name, words, tmp_path, capsys):
    assert main(["new", "loss", name, "--folder", str(tmp_path)]) == 2
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
