"""Several drivers on one store: no run is trained twice or lost when one is killed, stopped, or moved."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import byrote
from byrote.store import committed
from byrote.store.leases import Leases
from byrote.store.verify import verify
from byrote.sweep import run as sweep
from byrote.sweep.drive import Driver

from .test_run import MINI, files

SLOW = """
name = "slow"
[base]
data = {{ kind = "toys:Blobs" }}
noise = {{ kind = "uniform", rate = 0.2 }}
network = {{ kind = "mlp", depth = 2, width = 16 }}
training = {{ epochs = {epochs}, batch_size = 16, evaluate_every = {every} }}
[[part]]
name = "grid"
[part.axes]
loss = ["cross_entropy", "robust_log"]
seed = {seeds}
"""
DRIVER = """
import logging, sys
logging.basicConfig()
from byrote.sweep import Watcher, run
class Notes(Watcher):
    def event(self, event, outcome):
        if event.kind == "epoch" and event.data["epoch"] == 10:
            print("trained", *event.data["rows"], flush=True)
study, root = sys.argv[1:3]
outcome = run(study, root, imports=["toys"], on="serial", cohort=int(sys.argv[3]), watcher=Notes())
print("done", outcome.done, flush=True)
"""


def study(folder, epochs, every, seeds):
    path = folder / "slow.toml"
    path.write_text(SLOW.format(epochs=epochs, every=every, seeds=list(range(seeds))))
    return path


def driver(path, root, cohort=1, seconds=3):
    places = [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(places), BYROTE_LEASE_SECONDS=str(seconds))
    command = [sys.executable, "-c", DRIVER, str(path), str(root), str(cohort)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until(true, seconds=240.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "the expected state was not reached in time"
        time.sleep(0.02)


def in_hand(root, process=None):
    """Return the keys of runs in training after their first evaluation; with `process`, of all runs of this process."""
    keys = []
    for path in (root / ".running").glob("[0-9a-f]*.json"):
        try:
            note = json.loads(path.read_text())
            keys += [path.stem] if (note["pid"] == process if process else note["epoch"] > 0) else []
        except (OSError, ValueError):
            continue
    return keys


def trained(outputs):
    return Counter(
        key for out in outputs for line in out.splitlines() if line[:8] == "trained " for key in line[8:].split()
    )


def nothing_left(root):
    """Assert that a store of finished runs contains no unneeded file; a failure lists the files."""
    left = {path.name for path in root.iterdir()} - set(committed(root)) - {"plan.json", ".running", "log"}
    assert left | {path.name for path in (root / ".running").iterdir()} == set()
    return True


def test_a_driver_leaves_alone_what_another_has_in_hand_and_waits_for_it(tmp_path, monkeypatch):
    """A driver does not train a run leased to another driver, but waits until the lease is released."""
    root = tmp_path / "out"
    whole = sweep(MINI, tmp_path / "whole", imports=["toys"], on="serial")
    first = sweep(MINI, root, imports=["toys"], on="serial", limit=1)
    (done,) = committed(root)
    other = Leases(root)
    waiting = next(key for key in committed(whole.root) if key != done)
    assert other.acquire(waiting)
    looks = []

    def look(seconds):
        looks.append(set(committed(root)))
        if len(looks) == 3:
            other.release()

    monkeypatch.setattr(Driver, "_pause", lambda driver, seconds: look(seconds))
    outcome = sweep(MINI, root, imports=["toys"], on="serial")
    assert looks == [set(committed(whole.root)) - {waiting}] * 3, "all runs but the leased run were trained first"
    assert (outcome.done, first.done) == (8, 1)
    assert files(root) == files(whole.root)
    assert nothing_left(root)


@pytest.mark.long
@pytest.mark.parametrize("cohorts", [(1, 1, 1), (2, 3, 1)])
def test_three_drivers_of_which_one_is_killed_do_everything_once(tmp_path, cohorts):
    """Every run is trained once, even if the drivers group runs into cohorts differently."""
    path = study(tmp_path, 40, 10, 6)
    whole = sweep(path, tmp_path / "whole", imports=["toys"], on="serial", cohort=1)
    root = tmp_path / "out"
    drivers = [driver(path, root, cohort) for cohort in cohorts]
    until(lambda: len(committed(root)) >= 2 and in_hand(root))
    drivers[0].kill()
    lost = in_hand(root, drivers[0].pid)
    ended = [process.communicate(timeout=300) for process in drivers]
    assert [process.returncode for process in drivers[1:]] == [0, 0], ended
    assert all(out.splitlines()[-1] == "done 12" for out, _ in ended[1:])
    twice = {key for key, count in trained(out for out, _ in ended).items() if count > 1}
    assert twice <= set(lost), "only runs that were killed while training were trained twice"
    assert files(root) == files(whole.root)
    assert byrote.open(root).results.history == byrote.open(whole.root).results.history
    assert verify(root).flaws == ()
    assert nothing_left(root)


@pytest.mark.long
def test_a_driver_that_is_stopped_past_its_lease_has_lost_its_run_when_it_wakes(tmp_path):
    path = study(tmp_path, 300, 5, 1)
    whole = sweep(path, tmp_path / "whole", imports=["toys"], on="serial", cohort=2)
    root = tmp_path / "out"
    stopped = driver(path, root, 2)
    until(lambda: len(in_hand(root)) == 2)
    os.kill(stopped.pid, signal.SIGSTOP)
    try:
        assert committed(root) == []
        heir = driver(path, root, 2)
        out, error = heir.communicate(timeout=300)
        assert (heir.returncode, out.splitlines()[-1]) == (0, "done 2"), error
        stamps = {key: (root / key / "manifest.json").stat().st_mtime_ns for key in committed(root)}
        assert files(root) == files(whole.root)
    finally:
        os.kill(stopped.pid, signal.SIGCONT)
    out, error = stopped.communicate(timeout=300)  # the stopped driver continues, and its work is discarded
    assert (stopped.returncode, out.splitlines()[-1]) == (0, "done 2"), error
    assert stamps == {key: (root / key / "manifest.json").stat().st_mtime_ns for key in committed(root)}
    assert nothing_left(root)


@pytest.mark.long
@pytest.mark.parametrize("what", ["moved", "deleted"])
def test_a_store_that_goes_away_stops_the_sweep_and_is_not_made_again(tmp_path, what):
    path = study(tmp_path, 100, 5, 2)
    whole = sweep(path, tmp_path / "whole", imports=["toys"], on="serial", cohort=1)
    root, aside = tmp_path / "out", tmp_path / "aside"
    process = driver(path, root)
    until(lambda: len(committed(root)) >= 1 and in_hand(root))
    root.rename(aside)
    if what == "deleted":
        shutil.rmtree(aside)
    _, error = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "was moved or deleted while it was written to" in error.splitlines()[-1]
    assert not root.exists()
    if what == "moved":
        outcome = sweep(path, aside, imports=["toys"], on="serial", cohort=1)
        assert files(aside) == files(whole.root)
        assert outcome.done == 4
        assert nothing_left(aside)
