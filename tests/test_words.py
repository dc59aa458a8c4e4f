"""The text uses American spelling and no awkward phrases, and variables have descriptive names."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("src", "tests", "benchmarks", "scripts")
PAGES = (*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"))
VAGUE = {"told", "said", "found", "made", "kept", "asked", "heard"}
BRITISH = re.compile(
    "|".join(
        ["memo" + "ris", "normal" + "is[ei]", "optim" + "is[ei]", "colo" + "ur", "neighbo" + "ur", "behavio" + "ur"]
    ),
    re.I,
)
PHRASES = re.compile(
    "|".join(
        [
            "of a descent, which",
            "of whose products",
            "to start no weights in vain",
            "divided by its end, which",
            "of what is no share",
            "not symmetric to the bit",
            "not to be " + "had",
            "as well as confident learning finds them",
        ]
    )
)


def modules():
    return [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


def names(tree):
    """Yield the line and the name of each variable, argument, field and function that a module defines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name


def vague(source):
    return [(line, name) for line, name in names(ast.parse(source)) if name.strip("_").lower() in VAGUE]


@pytest.mark.parametrize(
    "source",
    [
        "found = 1",
        "for said, row in rows: pass",
        "def f(kept=()): pass",
        "def _made(): pass",
        "one.told = 2",
        "class Found: pass",
        "with open() as heard: pass",
        "lambda asked: asked",
    ],
)
def test_a_vague_name_is_seen(source):
    assert len(vague(source)) == 1


def test_every_variable_is_named_after_what_it_holds():
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in modules()
        for line, name in vague(path.read_text("utf-8"))
    ]
    assert wrong == []


@pytest.mark.parametrize("pattern", [BRITISH, PHRASES])
def test_no_text_has_the_words(pattern):
    wrong = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in (*modules(), *PAGES)
        if path != Path(__file__)
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert wrong == []
