"""The layers of the package: a layer imports only lower layers, and torch and extras are loaded only where needed."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "byrote"
LEVELS = {
    "component": 0,
    "inputs": 0,
    "checks": 0,
    "files": 0,
    "given": 0,
    "identity": 0,
    "intervals": 0,
    "reference": 0,
    "table": 0,
    "losses": 1,
    "noise": 1,
    "data": 1,
    "networks": 1,
    "engine": 1,
    "measures": 1,
    "theory": 1,
    "recipe": 1,
    "own_code": 1,
    "contents": 1,
    "pages": 1,
    "experiment": 2,
    "studies": 2,
    "study": 3,
    "training": 3,
    "store": 4,
    "analysis": 5,
    "sweep": 6,
    "claims": 6,
    "figures": 6,
    "audit": 6,
    "report": 7,
    "desk": 7,
    "adapters": 7,
    "cli": 8,
    "__main__": 9,
    "__init__": 0,
}
UPWARDS = {("experiment.py", "training")}  # the only exception is `Experiment.run`
MODULES = sorted(PACKAGE.rglob("*.py"))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def part_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE).with_suffix("")
    return relative.parts[0]


def imported_parts(path: Path):
    """Return the top-level parts of byrote that a module imports, even inside functions, except for type checking."""
    tree = parsed(path)
    skipped = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        names = []
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [f"{node.module}.{alias.name}" if node.module == "byrote" else node.module for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        elif isinstance(node, ast.ImportFrom) and node.level:
            yield part_of(path) if node.level == 1 else "relative import across parts"
        for name in names:
            if name.startswith("byrote."):
                yield name.split(".")[1]


def test_imports_point_down():
    for path in MODULES:
        own, name = part_of(path), str(path.relative_to(PACKAGE))
        assert own in LEVELS, f"{own} has no level: give it one here and in CONTRIBUTING"
        for part in imported_parts(path):
            if part == "__version__" or part == own or (name, part) in UPWARDS:
                continue
            assert part in LEVELS, f"{name} imports unknown part {part}"
            # component and checks may be imported everywhere
            below = LEVELS[part] < LEVELS[own] or part in ("component", "checks")
            assert below, f"{name} (level {LEVELS[own]}) imports {part} (level {LEVELS[part]})"


def test_every_exception_is_one():
    for name, part in UPWARDS:
        path = PACKAGE / name
        assert part in imported_parts(path)
        assert LEVELS[part] >= LEVELS[part_of(path)]


def loaded(code: str) -> set[str]:
    """Return the top-level modules that are loaded after `code` has run."""
    program = f"{code}\nimport sys\nprint(' '.join(sorted({{m.partition('.')[0] for m in sys.modules}})))"
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert out.returncode == 0, out.stderr
    return set(out.stdout.splitlines()[-1].split())


HEAVY = {"torch", "altair", "vl_convert", "jinja2", "matplotlib", "pandas", "sklearn", "cvxpy"}


def test_import_byrote_is_light():
    assert not loaded("import byrote; byrote.__version__") & (HEAVY | {"numpy", "duckdb", "scipy"})


@pytest.mark.parametrize(
    "code",
    [
        "import byrote.claims",
        "import byrote.store",
        "import byrote.analysis",
        "import byrote.identity",
        "from byrote.cli import main; main(['--help'])",
    ],
)
def test_reading_needs_no_torch(code):
    assert not loaded(code) & HEAVY


@pytest.mark.parametrize("code", ["import byrote.figures", "import byrote.report"])
def test_drawing_needs_no_torch(code):
    assert "torch" not in loaded(code)


def test_commands_that_read_never_load_torch(tmp_path):
    commands = "; ".join(
        f"main(['{command}', {str(tmp_path)!r}])" for command in ("status", "claims", "figures", "report", "compact")
    )
    assert "torch" not in loaded(f"from byrote.cli import main; {commands}")


@pytest.mark.parametrize("folder", ["src", "tests", "scripts", "benchmarks"])
def test_no_file_has_more_than_400_lines(folder):
    kinds = (".py", ".cpp", ".hpp", ".css", ".js", ".jinja")
    paths = [path for path in (PACKAGE.parents[1] / folder).rglob("*") if path.suffix in kinds]
    assert [str(path) for path in paths if len(path.read_text("utf-8").splitlines()) > 400] == []


def test_a_module_opens_with_its_names_and_its_functions_are_short():
    for path in MODULES:
        name, tree = str(path.relative_to(PACKAGE)), parsed(path)
        assert ast.get_docstring(tree), f"{name}: a module needs a docstring"
        for node in ast.walk(tree):
            assert not isinstance(node, ast.Assert), (
                f"{name}, line {node.lineno}: raise an error instead, because python -O removes assert"
            )
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                length = (node.end_lineno or 0) - node.lineno + 1
                documented = node.body[0] if ast.get_docstring(node) else None
                doc = (documented.end_lineno or 0) - documented.lineno + 1 if documented else 0
                assert length - doc <= 60, f"{name}: {node.name} has {length - doc} lines"
        if path.name not in ("__init__.py", "__main__.py"):
            first = [getattr(node.targets[0], "id", "") for node in tree.body if isinstance(node, ast.Assign)]
            assert "__all__" in first, f"{name}: each module must begin with __all__"


def test_networks_are_plain_torch_and_short():
    """An exported network consists of the code in that folder: at most 800 lines, and no imports of the engine."""
    modules = [path for path in MODULES if part_of(path) == "networks"]
    assert sum(len(path.read_text("utf-8").splitlines()) for path in modules) <= 800
    assert {part for path in modules for part in imported_parts(path)} <= {"networks", "component"}


KINDS = (
    "MLP",
    "CNN8",
    "InceptionLite",
    "Layered",
    "Own",
    "ResNet18",
    "ResNet32",
    "BatchedChain",
    "CompiledChain",
    "RunByRun",
    "Vmapped",
)
ASKING = ("isinstance", "issubclass", "type")


def test_no_module_asks_for_the_kind_of_a_network_or_computation_of_another():
    for path in MODULES:
        tree = parsed(path)
        own = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ASKING:
                named = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)} & set(KINDS)
                assert named <= own, f"{path.relative_to(PACKAGE)}, line {node.lineno} asks for {named}"


def test_nothing_in_the_library_prints():
    for path in MODULES:
        if part_of(path) == "cli":
            continue
        for node in ast.walk(parsed(path)):
            called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
            assert called != "print", f"{path.name} prints"


@pytest.mark.parametrize("path", [path for path in MODULES if part_of(path) != "cli"], ids=lambda p: p.stem)
def test_errors_of_the_library_name_no_option_of_the_command_line(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Raise):
            texts = [
                one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)
            ]
            options = re.findall(r"(?<![\w-])--[a-z][a-z-]*", " ".join(texts))
            assert not options, (
                f"line {node.lineno}: name the argument, `{options[0][2:]}=`, which the command line translates"
            )


def test_contributing_names_every_part_with_its_level():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d) \| (.+) \|$", text, flags=re.MULTILINE)
    documented = {part: int(level) for level, parts in rows for part in parts.split(", ")}
    assert documented == {part: level for part, level in LEVELS.items() if not part.startswith("__")}
