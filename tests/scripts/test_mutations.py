"""Every listed mutation still applies to the code, so that the list stays up to date."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
spec = importlib.util.spec_from_file_location("mutations", ROOT / "scripts" / "mutations.py")
mutations = importlib.util.module_from_spec(spec)
sys.modules["mutations"] = mutations
spec.loader.exec_module(mutations)


@pytest.mark.parametrize("part", [path.stem for path in sorted((ROOT / "tests" / "mutations.d").glob("*.toml"))])
def test_each_mutation_applies_exactly_once_and_names_tests_that_exist(part):
    for mutation in mutations.load([part]):
        words = [word.partition("::")[0] for word in mutation.tests.split()]
        named = [word for word in words if word.startswith(("tests", "src", "docs"))]
        assert not mutation.problem, mutation
        assert mutation.find != mutation.replace, mutation
        assert mutation.needs in ("", "tiles", "vectors", "pairs"), mutation
        assert named, mutation
        assert all((ROOT / path).exists() for path in named), mutation


@pytest.mark.parametrize("part", [path.stem for path in sorted((ROOT / "tests" / "mutations.d").glob("*.toml"))])
def test_what_each_mutation_selects_occurs_in_its_tests(part):
    """If a test is renamed, the mutation that selects it would run no test and survive."""
    for mutation in mutations.load([part]):
        files, _, selection = mutation.tests.partition(" -k ")
        paths = [ROOT / word.partition("::")[0] for word in files.split()]
        sources = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*.py"))]
        text = " ".join(source.read_text("utf-8").lower() for source in sources)
        named = [name for word in files.split() for name in word.split("::")[1:]]
        selected = [word for word in re.findall(r"\w+", selection) if word not in ("and", "or", "not", "long")]
        assert all(name.partition("[")[0].lower() in text for name in named), mutation
        assert all(word.lower() in text for word in selected), mutation


def test_a_source_of_equal_length_in_the_same_second_is_compiled_anew(tmp_path):
    """Python reuses a compiled file if the source has the same time and length, so `write` removes compiled files."""
    target = tmp_path / "one.py"
    for text in ("A = 1\n", "A = 2\n"):
        mutations.write(target, text)
        os.utime(target, (1e9, 1e9))
        done = subprocess.run([sys.executable, "-c", "import one; print(one.A)"], cwd=tmp_path, capture_output=True)
        assert done.stdout.split() == [text.split()[-1].encode()]
