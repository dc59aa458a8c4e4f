"""A user's own modules on the command line are found and recorded, and never shadow a library."""

import importlib
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from byrote.analysis import open_store
from byrote.claims.verdict import CLAIMS
from byrote.cli import main
from byrote.figures.base import _REGISTRY, draw, registered
from byrote.identity import source_digest
from byrote.losses import Loss

TESTS = Path(__file__).resolve().parent.parent

MODULE = """
import torch
from byrote.claims import Finding, claim
from byrote.losses import Loss


class Mine(Loss):
    def formula(self, z, y):
        return torch.nn.functional.cross_entropy(z.flatten(0, -2), y.flatten(), reduction="none").view(y.shape)


@claim("X1", statement="own statement", bar="none", method="none", cells="all", minimum="none")
def own_claim(analysis):
    raise NotImplementedError
"""
STUDY = """
name = "own"
[base]
data = { kind = "toys:Blobs" }
noise = { kind = "uniform", rate = 0.3 }
network = { kind = "mlp", depth = 2, width = 8 }
training = { epochs = 2, batch_size = 16 }
[[part]]
name = "grid"
[part.axes]
loss = ["cross_entropy", "KIND"]
seed = [0, 1]
"""
_NUMBER = iter(range(1000))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Change to an empty folder; afterwards remove the modules that were imported from it."""
    monkeypatch.chdir(tmp_path)
    registered()  # byrote's own figures are imported when first needed, and must stay registered
    path, modules, claims, figures = list(sys.path), set(sys.modules), dict(CLAIMS), dict(_REGISTRY)
    losses = dict(Loss.registry)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
    for registry, before in ((CLAIMS, claims), (_REGISTRY, figures), (Loss.registry, losses)):
        registry.clear()
        registry.update(before)
    importlib.invalidate_caches()


def write(folder, text=MODULE):
    """Write a module with a name that no other test uses."""
    name = f"own_module_{next(_NUMBER)}"
    (folder / f"{name}.py").write_text(text)
    (folder / "own.toml").write_text(STUDY.replace("KIND", f"{name}:Mine"))
    return name


def run(name, *more):
    return main(["run", "own.toml", "--import", "toys", "--import", name, "--out", "store", "--on", "serial", *more])


NAMES = [
    ("./mine.py", "write --import mine"),
    ("./mine", "write --import mine"),
    ("mine.py", "write --import mine"),
    ("mine/", "write --import mine"),
    ("sub/mine.py", "write --import sub.mine"),
    ("my-losses", "rename my-losses to my_losses and write --import my_losses"),
    ("my-losses.py", "rename my-losses.py to my_losses.py and write --import my_losses"),
    ("2nd.py", "rename 2nd.py to own_2nd.py and write --import own_2nd"),
    ("../mine.py", "run the command in the folder that contains the module"),
    ("/mine.py", "run the command in the folder that contains the module"),
    ("", "run the command in the folder that contains the module"),
    (".", "run the command in the folder that contains the module"),
    ("no_such_module_here", "there is no module 'no_such_module_here' in"),
    ("os.no_such_module_here", "there is no module 'os.no_such_module_here' in"),
]


@pytest.mark.parametrize(("name", "sentence"), NAMES)
def test_a_module_that_is_not_named_as_python_does_gives_one_sentence(folder, capsys, name, sentence):
    (folder / "mine.py").write_text("raise RuntimeError('it must not be imported')")
    assert main(["run", "demo", f"--import={name}", "--out", "store"]) == 2
    stderr = capsys.readouterr().err
    assert len(stderr.splitlines()) == 1, stderr
    assert sentence in stderr
    assert not (folder / "store").exists()


RAISING = [
    ("raise SystemExit", "SystemExit ("),
    ("raise SystemExit(3)", "SystemExit: 3 ("),
    ("1 / 0", "ZeroDivisionError: division by zero ("),
    ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library' ("),
    ("class Broken(:", "SyntaxError: invalid syntax ("),
]


@pytest.mark.parametrize(("code", "sentence"), RAISING)
def test_a_module_that_raises_is_an_error_with_its_own_traceback_once(folder, capsys, code, sentence):
    name = write(folder, f"x = 1\n{code}\n")
    assert run(name) == 2
    stderr = capsys.readouterr().err
    last = stderr.splitlines()[-1]
    assert last.startswith(f"byrote: --import {name} failed: {sentence}")
    assert f"{name}.py, line 2" in last
    assert stderr.count(f'{name}.py", line 2') == 1
    assert code in stderr
    assert "importlib" not in stderr
    assert not (folder / "store").exists()


def test_a_file_with_the_name_of_a_library_is_not_imported_in_its_stead(folder, capsys):
    (folder / "random.py").write_text(MODULE)
    assert main(["run", "demo", "--import", "random"]) == 2
    assert "--import random names a library of Python" in capsys.readouterr().err


def test_the_folder_is_on_the_path_for_import_alone_and_last(folder, capsys):
    name = write(folder)
    assert main(["list", "losses"]) == 0
    assert str(folder) not in sys.path
    assert main(["list", "losses", "--import", name]) == 0
    assert sys.path[-1] == str(folder)
    assert f"{name}:Mine" in capsys.readouterr().out


LITTER = ("random", "json", "torch", "typing", "queue", "threading", "numpy", "duckdb", "logging", "pathlib")


def alone(folder, *arguments, **changes):
    """Run the command in a separate process."""
    places = [str(Path(sys.modules["byrote"].__file__).parents[1]), str(TESTS)]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(places), OMP_NUM_THREADS="1") | changes
    return subprocess.run(
        [sys.executable, "-m", "byrote", *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


@pytest.mark.long
def test_files_of_the_current_folder_never_stand_in_for_libraries(folder):
    """Libraries win in the driver and in two worker processes, even if a module in the same folder is imported."""
    name = write(folder)
    for library in LITTER:
        (folder / f"{library}.py").write_text(f"raise RuntimeError('{library} was shadowed')")
    done = alone(folder, "run", "own.toml", "--import", "toys", "--import", name, "--out", "store", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert "4 of 4 runs are stored" in done.stderr


def test_claims_and_lists_find_what_the_store_was_made_with(folder, capsys):
    name = write(folder, MODULE.replace("raise NotImplementedError", "return Finding(word='holds')"))
    assert run(name) == 0
    assert name not in CLAIMS
    done = alone(folder, "list", "losses", "store", "--json")
    assert f"{name}:Mine" in {row["kind"] for row in json.loads(done.stdout)}, done.stderr
    assert f"{name}:Mine" not in alone(folder, "list", "losses", "--json").stdout
    assert '"X1"' in alone(folder, "list", "claims", "store", "--json").stdout
    assert '"X1"' not in alone(folder, "list", "claims", "--json").stdout
    capsys.readouterr()
    assert main(["status", "store"]) == 0
    assert f"made with --import toys --import {name}" in capsys.readouterr().err


FIGURES = """
from byrote.figures import Drawing, figure


@figure("raising", title="raising", order=1)
def raising(analysis):
    raise NotImplementedError("no picture")


@figure("nothing", title="nothing", order=2)
def nothing(analysis):
    return "a chart"


@figure("unwritable", title="unwritable", order=3)
def unwritable(analysis):
    return Drawing({"mark": "point", "width": float("nan")}, "made")
"""


def test_an_own_claim_that_raises_loses_only_its_own_verdict(folder):
    name = write(folder)
    assert run(name) == 0
    done = alone(folder, "claims", "store")
    assert done.returncode == 1
    assert done.stderr.count("raise NotImplementedError") == 1
    assert done.stderr.count("Traceback") == 1
    assert done.stderr.splitlines()[-1].startswith(
        f"byrote: claim X1 raised an exception: NotImplementedError ({name}.py, line "
    )
    words = {line.split("\t")[0]: line.split("\t")[1] for line in done.stdout.splitlines()[1:]}
    assert words.pop("X1") == "error"
    assert len(words) >= 25
    assert "error" not in words.values()


def test_an_own_figure_that_raises_is_only_left_out_itself(folder, capsys):
    name = write(folder, MODULE + FIGURES)
    assert run(name) == 0
    capsys.readouterr()
    assert main(["report", "store", "--out", "page"]) == 1
    stderr = capsys.readouterr().err
    assert stderr.count('raise NotImplementedError("no picture")') == 1
    assert stderr.count("    raise NotImplementedError\n") == 1
    assert stderr.splitlines()[-1].startswith("byrote: claim X1 and 3 more raised an exception: NotImplementedError (")
    page = (folder / "page" / "index.html").read_text()
    assert f"<b>raising</b> is not drawn: error, NotImplementedError: no picture ({name}.py, line " in page
    reason = "TypeError: figure nothing must return a Drawing or None, got str"
    assert f"<b>nothing</b> is not drawn: error, {reason}" in page
    assert "<b>unwritable</b> is not drawn: error, ValueError" in page
    assert "1 raised an error (X1)" in page
    assert 'id="claim-X1"' in page
    names = {path.stem for path in (folder / "page" / "figures").iterdir()}
    assert names
    assert not names & {"raising", "nothing", "unwritable"}
    verdicts = json.loads((folder / "page" / "verdicts.json").read_text())
    assert {one["id"] for one in verdicts if one["word"] == "error"} == {"X1"}
    assert main(["figures", "store", "--out", "drawn", "--json"]) == 1
    assert {row["figure"] for row in json.loads(capsys.readouterr().out)} == names


ODD = """
@claim("X2", statement="s", bar="b", method="m", cells="c", minimum="n")
def nothing(analysis):
    return None


@claim("X3", statement="s", bar="b", method="m", cells="c", minimum="n")
def odd(analysis):
    return Finding("perhaps")


@claim("X4", statement="s", bar="b", method="m", cells="c", minimum="n")
def leaving(analysis):
    raise SystemExit


@claim("X5", statement="s", bar="b", method="m", cells="c", minimum="n")
def numpy(analysis):
    import numpy as np

    details = ({"cell": np.str_("a"), "value": np.float32(0.5), "all": np.arange(2), "run": np.bool_(True)},)
    interval = (np.float32(0.25), np.float64("nan"))
    return Finding("holds", statistic=np.float32(0.5), interval=interval, runs=np.int64(3), details=details)
"""


def test_a_claim_that_gives_something_else_is_an_error_and_numpys_numbers_are_numbers(folder, capsys):
    name = write(folder, MODULE + ODD)
    assert run(name) == 0
    capsys.readouterr()
    assert main(["claims", "store", "--json"]) == 1
    verdicts = {one["id"]: one for one in json.loads(capsys.readouterr().out)}
    assert {id: verdicts[id]["word"] for id in ("X1", "X2", "X3", "X4")} == dict.fromkeys(
        ("X1", "X2", "X3", "X4"), "error"
    )
    assert verdicts["X2"]["reason"] == "TypeError: claim X2 must return a Finding, got NoneType"
    assert "must return one of the words holds, fails" in verdicts["X3"]["reason"]
    assert verdicts["X4"]["reason"].startswith(f"SystemExit ({name}.py, line")
    own = verdicts["X5"]
    assert (own["word"], own["statistic"], own["interval"], own["runs"]) == ("holds", 0.5, [0.25, None], 3)
    assert own["details"] == [{"cell": "a", "value": 0.5, "all": [0, 1], "run": True}]


def test_results_are_read_where_their_modules_are_not(folder, tmp_path_factory):
    name = write(folder)
    assert run(name) == 0
    assert main(["compact", "store", "--out", "results"]) == 0
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for source in ("store", "results"):
        done = alone(elsewhere, "claims", str(folder / source), "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)
        assert f"there is no module {name!r}" in done.stderr
        assert "its definitions are left out here" in done.stderr
        assert "Traceback" not in done.stderr
    refused = alone(elsewhere, "claims", str(folder / "store"), "--import", name)
    assert refused.returncode == 2, "a missing module that --import names is an error"


def test_a_module_that_was_edited_since_is_reported_in_one_sentence(folder, capsys):
    """Every command that reads the store reports the edit, except if only a comment was edited."""
    name = write(folder, MODULE.replace("raise NotImplementedError", "return Finding(word='holds')"))
    assert run(name) == 0
    assert main(["compact", "store", "--out", "results"]) == 0

    def stderr_of(*words):
        capsys.readouterr()
        assert main(list(words)) == 0
        return capsys.readouterr().err

    path = folder / f"{name}.py"
    before = source_digest(name)[:12]
    path.write_text("# a comment\n" + path.read_text())
    for source in ("store", "results"):
        assert stderr_of("claims", source, "--json") == ""
    path.write_text(path.read_text().replace("z.flatten(0, -2)", "2 * z.flatten(0, -2)"))
    now = source_digest(name)[:12]
    assert now != before
    sentence = (
        f"module {name} here has the content {now}, but these runs were made with {before}: its present "
        "definitions are used, and `byrote run` would train these runs again\n"
    )
    for words in (["claims", "store"], ["claims", "results"], ["list", "losses", "store"]):
        assert stderr_of(*words) == sentence
    assert stderr_of("status", "store").endswith(f"--import {name}\n{sentence}")
    assert stderr_of("-q", "claims", "store") == ""
    path.unlink()
    assert "has the content" not in stderr_of("status", "store")
    assert "has the content" not in stderr_of("claims", "store")


def test_an_unfinished_store_is_announced_first(folder, capsys):
    name = write(folder, "import torch\n" + MODULE.partition("@claim")[0].replace("from byrote.claims", "# "))
    assert run(name, "--limit", "3") == 0
    capsys.readouterr()
    assert main(["claims", "store", "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == "3 of 4 runs are done; the results below are from these runs only\n"
    assert json.loads(captured.out)
    results = open_store("store").results
    assert results.partial == "3 of 4 runs"
    assert main(["report", "store", "--out", "page"]) == 0
    page = (folder / "page" / "index.html").read_text()
    assert page.index("3 of 4 runs") < page.index('id="verdicts"')
    drawn = draw(open_store("store").analysis)
    assert drawn
    assert all(figure.caption.startswith("3 of 4 runs. ") for figure in drawn)
    assert run(name) == 0
    capsys.readouterr()
    assert main(["claims", "store", "--json"]) == 0
    assert capsys.readouterr().err == ""
    assert open_store("store").results.partial == ""


def test_the_page_names_the_file_of_the_study_and_its_command_trains_the_run(folder, capsys):
    name = write(folder)
    assert run(name, "--limit", "1") == 0
    from byrote.report.tables import cells

    (cell,) = cells(open_store("store").analysis)
    text = cell["command"]
    for placeholder, value in next(iter(cell["runs"].values())).items():
        text = text.replace(placeholder, value)
    words = shlex.split(text)
    assert words[:3] == ["byrote", "run", "own.toml"]
    assert main([*words[1:], "--on", "serial"]) == 0
    (key,) = open_store("store").analysis.runs["key"]
    assert (folder / "runs" / "again" / key / key / "manifest.json").is_file()


def test_keep_weights_on_a_finished_store_says_what_it_cannot_do(folder, capsys):
    name = write(folder)
    assert run(name) == 0
    capsys.readouterr()
    assert run(name, "--keep-weights") == 0
    stderr = capsys.readouterr().err
    assert "the weights of 4 of these runs were not kept, and --keep-weights does not train them again" in stderr
    assert "run the same command with another --out" in stderr


def test_formulas_survive_a_terminal(capsys, monkeypatch):
    """Square brackets in a summary are text, not markup."""
    from byrote.cli.output import print_table

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    print_table("losses", ["summary"], [{"summary": "sum_k |p_k - [k = y]|, [bold]b[/bold] and [/x]"}])
    assert "sum_k |p_k - [k = y]|, [bold]b[/bold] and [/x]" in capsys.readouterr().out
