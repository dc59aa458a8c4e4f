"""Every listed mutation still applies to the code, so that the list cannot rot unseen."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
spec = importlib.util.spec_from_file_location("mutations", ROOT / "scripts" / "mutations.py")
mutations = importlib.util.module_from_spec(spec)
sys.modules["mutations"] = mutations
spec.loader.exec_module(mutations)


@pytest.mark.parametrize("mutation", mutations.load([]), ids=lambda m: f"{m.part}: {m.why}"[:90])
def test_a_mutation_applies_exactly_once_and_names_tests_that_exist(mutation):
    assert not mutation.problem
    assert mutation.find != mutation.replace
    assert mutation.needs in ("", "tiles", "vectors", "pairs")
    named = [word.partition("::")[0] for word in mutation.tests.split() if word.startswith(("tests", "src", "docs"))]
    assert named
    assert all((ROOT / path).exists() for path in named), named
