"""The README's example runs, is twelve lines, and its commands exist."""

import re
from pathlib import Path

import pytest

from byrote.cli import main

README = (Path(__file__).resolve().parent.parent / "README.md").read_text("utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_example_runs_and_says_something(capsys):
    (example,) = EXAMPLES
    assert len([line for line in example.splitlines() if line.strip()]) == 12
    exec(compile(example, "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["CE", "RLL", "NC1 of any features"]
    values = [float(number) for line in lines for number in re.findall(r"\d+\.\d+", line)]
    assert all(0 <= value < 50 for value in values)


@pytest.mark.parametrize("command", sorted(set(re.findall(r"^byrote ([a-z]+)", README, re.MULTILINE))))
def test_the_commands_exist(command, capsys):
    assert main([command, "--help"]) == 0
    assert command in capsys.readouterr().out


def test_files_that_are_named_exist():
    root = Path(__file__).resolve().parent.parent
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (root / target).exists(), target


@pytest.mark.parametrize("folder", ["docs", "docs/theory"])
def test_every_page_is_in_its_index(folder):
    pages = {page.name for page in (Path(__file__).resolve().parent.parent / folder).glob("*.md")} - {"README.md"}
    index = (Path(__file__).resolve().parent.parent / folder / "README.md").read_text("utf-8")
    assert pages == pages & set(re.findall(r"\]\(([^)#:/]+\.md)\)", index))
