"""The page on a user's own studies: its files and commands work as described, and its tables agree with the code."""

import importlib.util
import json
import sys

import pytest
from pages import DOCS, follow

from byrote.analysis import open_store
from byrote.claims.verdict import CLAIMS
from byrote.cli import main
from byrote.losses import Loss
from byrote.measures.snapshot import READINGS
from byrote.networks import MLP, Network

PAGE = DOCS / "own_study.md"


@pytest.fixture
def forgotten():
    """Unload the modules that the page defines, after each test."""
    saved = [(registry, dict(registry)) for registry in (CLAIMS, Loss.registry, READINGS)]
    path = list(sys.path)
    yield
    for registry, before in saved:
        registry.clear()
        registry.update(before)
    sys.path[:] = path
    sys.modules.pop("mine", None)


def test_what_the_page_says_works(tmp_path, monkeypatch, capsys, forgotten):
    monkeypatch.chdir(tmp_path)

    def command(words):
        assert words[0] == "byrote"
        return main([*words[1:], "--on", "serial"] if words[1] == "run" else words[1:])

    assert follow(PAGE, tmp_path, command) == (2, 7)
    store = open_store("runs/mine")
    assert len(store.analysis.runs) == 12
    assert store.results.partial == ""
    assert set(store.analysis.runs["part"]) == {"losses"}
    assert 0.5 <= store.analysis.last("sureness").min() <= store.analysis.last("sureness").max() <= 1
    assert open_store("runs/mine-long").results.partial == "4 of 16 runs"
    sgd = open_store("runs/mine-sgd").results.specs.values()
    assert {(spec["training"]["optimizer"]["lr"], spec["noise_seed"]) for spec in sgd} == {(0.02, 7)}
    capsys.readouterr()
    assert main(["claims", "runs/mine", "--json"]) == 0
    (own,) = [verdict for verdict in json.loads(capsys.readouterr().out) if verdict["id"] == "M1"]
    assert (own["word"], own["runs"]) == ("holds", 4)
    assert main(["list", "losses", "runs/mine"]) == 0
    assert "mine:Power" in capsys.readouterr().out


def test_the_tables_are_those_of_the_code(monkeypatch):
    """The tables match byrote's own components, even if this process has registered others, even under a plain name."""
    own = type("Mine", (MLP,), {"__module__": "mine", "__doc__": "A network of one's own."})
    del Network.registry[own.kind]
    monkeypatch.setitem(Network.registry, "mine", own)
    path = DOCS.parent / "scripts" / "fields.py"
    spec = importlib.util.spec_from_file_location("scripts_fields", path)
    fields = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fields)
    text = PAGE.read_text("utf-8")
    assert fields.renewed(text) == text, "run python scripts/fields.py --write to update the page"
    tables = fields.tables()
    assert "| `batch_size` | whole number, at least 2 | 128 |" in tables["training"]
    assert "| `sgd` | `lr`: number, above 0 (0.1);" in tables["optimizers"]
    for name, family in fields.FAMILIES.items():
        own = [kind for kind, member in family.registry.items() if member.__module__.startswith("byrote.")]
        assert [f"| `{kind}` |" in tables[name] for kind in own] == [True] * len(own)
