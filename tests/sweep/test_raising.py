"""An exception in a user's own code ends only the run in which it occurs, and is shown once with the run's key."""

from pathlib import Path

import pytest
import raising

from byrote.measures.snapshot import READINGS, reading
from byrote.store import Plan, state_of
from byrote.study import Study
from byrote.sweep import run

MINI = Path(__file__).with_name("mini.toml")
PARTS = {
    "in the noise law": {"noise": {"kind": "raising:Law"}},
    "in the rate of the law": {"noise": {"kind": "raising:RatelessLaw"}},
    "in the network's constructor": {"network": {"kind": "raising:Built"}},
    "in the forward pass": {"network": {"kind": "own", "factory": "raising:module"}},
    "in the factory": {"network": {"kind": "own", "factory": "raising:factory"}},
    "in the schedule": {"training.schedule": {"kind": "raising:Late"}},
    "in the leaving data": {"data": {"kind": "raising:Data"}},
    "in the leaving schedule": {"training.schedule": {"kind": "raising:Leaving"}},
}


@pytest.fixture
def busy():
    """Register a user's own reading for one test."""
    yield reading(raising.busy)
    del READINGS["busy"]


def errors(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("where", PARTS)
def test_what_raises_in_a_component_costs_its_own_runs(where, tmp_path, caplog):
    study = Study.load(MINI)
    plain = study.part[0].replace(axes={"seed": [0, 1]})
    study = study.replace(part=(plain, {"name": "raising", "axes": {"seed": [0, 1]}, "base": PARTS[where]}))
    outcome = run(study, tmp_path / "out", imports=["toys", "raising"], on="serial")
    mine = {entry.key for entry in Plan.read(outcome.root).entries if entry.part == "raising"}
    assert set(outcome.raised) == mine
    assert len(mine) == 2
    assert (outcome.planned, outcome.done, outcome.broken) == (4, 2, [])
    assert state_of(outcome.root)["missing"] == 2
    for error in outcome.raised.values():
        assert where in error
        assert "(raising.py, line " in error
    (trace,) = errors(caplog)
    first = trace.splitlines()[0]
    assert first.endswith(" raised an exception")
    assert first.split()[1] in mine
    frames = [line for line in trace.splitlines() if line.startswith('  File "')]
    assert frames
    assert 'raising.py"' in frames[0]


@pytest.mark.parametrize("on", ["serial", pytest.param("local", marks=pytest.mark.long)])
def test_an_own_reading_that_raises_costs_the_runs_in_which_it_does(on, tmp_path, caplog, busy, monkeypatch):
    if on == "local":
        (tmp_path / "register.py").write_text(
            "import raising\nfrom byrote.measures.snapshot import reading\nreading(raising.busy)\n"
        )
        places = [str(tmp_path), str(MINI.parent.parent)]
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setenv("PYTHONPATH", ":".join(places))
    imports = ["toys", "register"] if on == "local" else ["toys"]
    outcome = run(MINI, tmp_path / "out", imports=imports, on=on, workers=1, cohort=8)
    rates = {entry.key: entry.spec["noise"]["rate"] for entry in Plan.read(outcome.root).entries}
    assert {rates[key] for key in outcome.raised} == {0.4}
    assert (len(outcome.raised), outcome.done, outcome.broken) == (4, 4, [])
    assert set(outcome.raised.values()) == {"LookupError: in the reading (raising.py, line 84, in busy)"}
    (trace,) = errors(caplog)
    assert trace.startswith(f"run {next(iter(outcome.raised))} raised an exception\nTraceback")
    assert trace.count('raise LookupError("in the reading")') == 1
    history = outcome.store.results.history
    assert history["busy"].tolist() == [1.0] * len(history)
