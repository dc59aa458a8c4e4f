"""A user's type checker sees a type for every public name, including lazily loaded names."""

import ast
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import byrote

PACKAGE = Path(byrote.__file__).parent
LAZY = ["", "measures", "audit"]
PUBLIC = [*(name for name in byrote.__all__ if not callable(getattr(byrote, name))), "audit"]
USE = """
import byrote
from byrote import data, losses, measures, networks, noise, recipe

images = data.FashionMNISTSubset(classes=(0, 1), per_class=20)
loss = losses.Weighted(losses.LabelSmoothing(0.1), weights=(1.0, 2.0))
training = recipe.Training(epochs=2, optimizer=recipe.SGD(lr=0.05))
experiment = byrote.Experiment(images, noise.Symmetric(0.2), loss, networks.MLP(depth=2, width=8), training, seed=1)
run = experiment.run(keep_weights=True)
reveal_type(loss.bounds(2))  # tuple[float, float]
reveal_type(loss.symmetry(2))  # float | None
reveal_type(experiment.key)  # str
reveal_type(run.history.columns)  # tuple[str, ...]
reveal_type(run.model())  # byrote.networks.base.Classifier
reveal_type(run.history.to_polars())  # polars.dataframe.frame.DataFrame
reveal_type(byrote.open("runs/demo").history())  # byrote.table.Table
reveal_type(byrote.run("demo", "runs/demo").done)  # int
split = images.load("train")
moments = measures.ClassMoments.of(split.images.flatten(1), split.labels, 2)
reveal_type(measures.nc1(moments))  # float
reveal_type(measures.nc2(moments).norm_cv)  # float
"""
MISTAKES = """
import byrote
byrote.measures.nc5  # Module has no attribute "nc5"
byrote.losess  # Module has no attribute "losess"
byrote.losses.LabelSmoothing(alhpa=0.1)  # Unexpected keyword argument "alhpa" for "LabelSmoothing"
byrote.recipe.Training(epochs="2")  # Argument "epochs" to "Training" has incompatible type "str"
byrote.Experiment()  # Missing positional argument "data" in call to "Experiment"
"""


@pytest.mark.parametrize("package", LAZY)
def test_a_type_checker_and_python_see_the_same_names_from_the_same_modules(package):
    """The imports under TYPE_CHECKING match the names and modules of the lazy loader."""
    module = importlib.import_module(f"byrote.{package}".rstrip("."))
    tree = ast.parse((PACKAGE / package / "__init__.py").read_text("utf-8"))
    (block,) = (n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
    imported = {}
    for node in block.body:
        for alias in node.names if isinstance(node, ast.ImportFrom) else ():
            if f"{node.module}.{alias.name}" in sys.modules or node.module == "byrote":
                imported[alias.asname] = importlib.import_module(f"{node.module}.{alias.name}")
            else:
                imported[alias.asname] = getattr(importlib.import_module(node.module), alias.name)
    assert sorted(imported) == sorted(module.__all__)
    for name, value in imported.items():
        assert getattr(module, name) is value, name


def checked(folder: Path, text: str) -> list[tuple[int, str]]:
    """Run mypy --strict on a script, as in a user's own project; return (line, message) pairs."""
    (folder / "user.py").write_text(text)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--follow-imports=silent"]
    command += [f"--cache-dir={folder / 'cache'}", "--hide-error-context", "--no-error-summary", "user.py"]
    environment = os.environ | {"MYPYPATH": str(PACKAGE.parent)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)
    assert not done.stderr, done.stderr
    messages = re.findall(r"^user\.py:(\d+): \w+: (.*)$", done.stdout, flags=re.MULTILINE)
    assert messages, done.stdout
    return [(int(line), message) for line, message in messages]


@pytest.mark.long
def test_a_user_s_script_finds_types_and_mistakes(tmp_path):
    """One run of mypy checks every public name, the types of common calls, and mistakes that mypy must report."""
    pytest.importorskip("mypy", reason="needs the development install: pip install 'byrote[dev]'")
    names = [f"byrote.{name}" for name in byrote.__all__]
    names += [f"byrote.{one}.{name}" for one in PUBLIC for name in importlib.import_module(f"byrote.{one}").__all__]
    every = "import byrote\nimport byrote.audit\n" + "".join(f"reveal_type({name})\n" for name in names)
    text = every + USE + MISTAKES
    messages = dict(checked(tmp_path, text))
    for place, line in enumerate(text.splitlines(), 1):
        message = messages.pop(place, "")
        if place <= len(every.splitlines()):
            if line.startswith("reveal_type"):
                shown = message.removeprefix('Revealed type is "').removesuffix('"')
                assert shown, line
                assert shown != "Any", f"{line} is Any"
                assert not shown.endswith("-> Any"), f"{line} gives Any: {shown}"
        elif "  # " in line:
            assert line.partition("  # ")[2] in message.replace("builtins.", ""), f"{line}: {message}"
    assert not messages, "mypy reports nothing else"
