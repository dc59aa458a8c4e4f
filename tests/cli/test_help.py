"""Help output in a terminal of 80 columns, and shell completion."""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from byrote.analysis import open_store
from byrote.cli import main
from byrote.cli.main import app

DEMO = Path(__file__).resolve().parents[2] / "results" / "demo"


def resolved():
    """Return every command and its function, including the subcommands of `audit`, `data` and `theory`."""
    for name in app:
        command = app[name]
        if command.default_command is not None and not name.startswith("-"):
            yield [name], command.default_command
        for inner in (one for one in command if not one.startswith("-")):
            yield [name, inner], command[inner].default_command


COMMANDS = list(resolved())


def shown(words, capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main([*words, "--help"]) == 0
    return capsys.readouterr().out


def test_there_is_a_word_on_each_command_and_nothing_is_wider_than_the_terminal():
    """The help is printed by a new process, in which no command has been loaded."""
    command = [sys.executable, "-m", "byrote", "--help"]
    out = subprocess.run(command, env={**os.environ, "COLUMNS": "80"}, capture_output=True, text=True).stdout
    for name in (one for one in app if not one.startswith("-")):
        assert re.search(rf"│ {name} +\w\w+ \w+", out), name
    assert max(map(len, out.splitlines())) <= 80
    titles = re.findall(r"╭─ ([\w ,]+?) ─", out)
    assert titles == ["Run a study", "Read the results", "Your own labels, code and data", "Keep a store", "Options"]


@pytest.mark.parametrize(("words", "function"), COMMANDS, ids=lambda v: " ".join(v) if isinstance(v, list) else "")
def test_no_word_of_the_help_is_lost(words, function, capsys, monkeypatch):
    """Words in square brackets are also shown, although a terminal library may treat them as markup."""
    out = squeezed(shown(words, capsys, monkeypatch, 80))
    text = re.split(r"^Parameters\n-+\n", inspect.getdoc(function), flags=re.MULTILINE)[-1]
    for line in (line for line in text.splitlines() if not re.fullmatch(r"\w+", line)):
        assert squeezed(line) in out


def squeezed(text):
    """Remove spaces, the frame around the help, and quotes around code."""
    return re.sub(r"[\s│`]", "", text)


def offered(*words):
    from cyclopts.completion._engine import compute_completions

    return {one.value: one.help for one in compute_completions(app, list(words))}


def test_the_tab_key_knows_studies_and_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text('title = "My own"\n[scales.tiny]\n[scales.huge]\n')
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "broken.toml").write_text("[[[")
    studies = offered("run", "")
    assert studies["demo"] == "What six losses do to wrong labels"
    assert studies["mine.toml"] == "My own"
    assert "deep/broken.toml" in offered("run", "deep/b")
    assert list(offered("run", "mine.toml", "--scale", "")) == ["tiny", "huge"]
    assert {"quick", "small", "medium", "paper"} == set(offered("run", "loss-function", "--scale", ""))
    assert offered("run", "deep/broken.toml", "--scale", "") == {}


def test_the_tab_key_knows_data_sets_claims_figures_and_keys():
    assert offered("data", "get", "")["cifar10"] == "CIFAR-10"
    assert offered("claims", "results/demo", "--only", "")["B1"] == "CE and MSE memorize at eta <= .6"
    assert "resistance" in offered("figures", "results/demo", "")
    keys = offered("show", str(DEMO), "")
    assert list(keys) == open_store(DEMO).results.runs["key"].tolist()
    assert set(keys.values()) >= {"two-class", "ten-class"}
    assert offered("show", "nowhere", "") == {}


@pytest.mark.slow
def test_the_script_for_bash_completes(tmp_path):
    script = tmp_path / "byrote.bash"
    script.write_text(app.generate_completion(shell="bash"))
    ask = f'source {script}; COMP_WORDS=(byrote cl); COMP_CWORD=1; _byrote; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True)
    assert done.stdout.split() == ["claims"], done.stderr


def test_no_completer_loads_torch():
    code = "import sys; from byrote.cli import main; "
    code += "[main(['__complete', *words]) for words in (['run', ''], ['data', 'get', ''], ['claims', '--only', ''])]; "
    done = subprocess.run(
        [sys.executable, "-c", code + "print('torch' in sys.modules)"], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "False"


def test_formulas_keep_their_brackets_in_a_progress_bar():
    from rich.console import Console
    from rich.progress import Progress

    from byrote.cli import watch

    columns = [one for one in watch.columns() if hasattr(one, "text_format")]
    console = Console(record=True, width=200)
    with Progress(*columns, console=console) as bar:
        bar.add_task("runs", count="0/8 runs", left="", latest="own [k = y] [bold]x[/bold]")
    assert "own [k = y] [bold]x[/bold]" in console.export_text()
