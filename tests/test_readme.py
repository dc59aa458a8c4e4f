"""README starts with code, its twelve-line example runs, and the commands in README and docs can be parsed."""

import re
import shlex
from pathlib import Path

import pytest

from byrote import Study
from byrote.cli.main import app

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_example_runs_and_says_something(capsys):
    (example,) = EXAMPLES
    assert len([line for line in example.splitlines() if line.strip()]) == 12
    exec(compile(example, "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["CE", "RLL", "NC1 of any features"]
    values = [float(number) for line in lines for number in re.findall(r"\d+\.\d+", line)]
    assert all(0 <= value < 50 for value in values)


def test_the_number_of_networks_is_that_of_the_demo():
    (number,) = re.findall(r"trains (\d+) small networks", README)
    assert int(number) == len(Study.load("demo").experiments())


def test_code_comes_within_forty_lines_and_no_table_is_long():
    lines = README.splitlines()
    assert next(place for place, line in enumerate(lines) if line.startswith("```")) < 40
    tables = re.findall(r"(?:^\|.*\n)+", README, re.MULTILINE)
    assert tables
    assert max(len(table.splitlines()) - 2 for table in tables) <= 10


def commands(page):
    """Return the commands in the code blocks of a page and, for the page of questions, in its tables."""
    text = page.read_text("utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [re.split(r"\s+#|\s{4,}", line.removeprefix("$ "))[0] for block in blocks for line in block.splitlines()]
    parts = [one.strip() for line in lines for one in re.split(r" && | \| (?=byrote)", line)]
    parts += re.findall(r"`(byrote [^`]+)`", text) if page.name == "questions.md" else []
    return [one for one in parts if re.match(r"byrote (?!COMMAND)", one) and not re.search(r"[\[\]|&]|\.\.\.", one)]


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = sorted({line for page in PAGES for line in commands(page)})


@pytest.mark.parametrize("line", COMMANDS)
def test_the_commands_can_be_parsed(line):
    command, _, _ = app.parse_args(shlex.split(line)[1:], exit_on_error=False, print_error=False)
    assert callable(command)


def test_every_command_stands_in_the_docs():
    named = {line.split()[1] for line in COMMANDS}
    assert named >= {name for name in app if not name.startswith("-")}


def test_files_that_are_named_exist():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("folder", ["docs", "docs/theory"])
def test_every_page_is_in_its_index(folder):
    pages = {page.name for page in (ROOT / folder).glob("*.md")} - {"README.md"}
    index = (ROOT / folder / "README.md").read_text("utf-8")
    assert pages == pages & set(re.findall(r"\]\(([^)#:/]+\.md)\)", index))
