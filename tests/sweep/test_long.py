"""Sweeps whose workers or drivers are killed, or that are stopped by Ctrl-C, give the same results.

Each test compares the store, bit for bit, with that of an uninterrupted sweep, and ends the processes that it started.
"""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from byrote.store import committed, state_of
from byrote.sweep import run

from .sweeps import alive, children, ended, nothing_left, started, study, undisturbed, until
from .test_run import files

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def forty(tmp_path_factory):
    """Return forty tiny runs, and the files of an uninterrupted sweep over them."""
    return undisturbed(tmp_path_factory.mktemp("forty"))


def test_random_workers_are_killed_through_forty_runs(forty, tmp_path):
    path, calm = forty
    root, draw, kills = tmp_path / "s", random.Random(5), 0
    for _ in range(6):
        process = started(path, root, "--workers", "2", "--cohort", "4")
        while process.poll() is None:
            time.sleep(draw.uniform(0.02, 0.2))
            workers = children(process.pid, "byrote.sweep.worker")
            # wait for progress, not for a fixed time, so that the test works at any speed
            if workers and kills < 6 and 6 * kills <= len(committed(root)) < 36:
                os.kill(draw.choice(workers), signal.SIGKILL)
                kills += 1
        _, stderr = process.communicate()
        assert "Traceback" not in stderr
        if process.returncode == 0:
            break
        assert process.returncode == 1, stderr
        assert "their worker died twice" in stderr
    assert kills >= 3
    assert files(root) == calm
    nothing_left(root)


def test_the_driver_is_killed(forty, tmp_path):
    path, calm = forty
    root = tmp_path / "s"
    process = started(path, root, "--workers", "2", "--cohort", "4")
    until(lambda: len(committed(root)) >= 6)
    workers = children(process.pid, "byrote.sweep.worker")
    assert len(workers) == 2
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()
    until(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() and alive(pid) for pid in workers), 20)
    before = {key: (root / key).stat().st_mtime_ns for key in committed(root)}
    assert len(before) < 40
    assert state_of(root)["running"] == 0
    ended(started(path, root, "--workers", "2", "--cohort", "4"), 0)
    assert all((root / key).stat().st_mtime_ns == stamp for key, stamp in before.items())
    assert files(root) == calm
    nothing_left(root)


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_of_a_terminal(tmp_path, times):
    """Ctrl-C in a terminal sends SIGINT to the whole foreground process group."""
    path, root = study(tmp_path, 2, 400), tmp_path / "s"
    calm = run(path, tmp_path / "calm", imports=["toys"], on="serial", cohort=2)
    process = started(path, root, "--workers", "2", "--cohort", "2")
    until(lambda: len(list((root / ".running").glob("*.json"))) >= 4)
    workers = children(process.pid, "byrote.sweep.worker")
    began = time.monotonic()
    for _ in range(times):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.2)
    stderr = ended(process, 130, 60)
    assert time.monotonic() - began < 20
    count = len(committed(root))
    last = [line for line in stderr.splitlines() if line.startswith("byrote: ")]
    sentence = (
        f"interrupted: {count} of 8 runs are stored in {root}, {8 - count} are left; run the same command to continue"
    )
    assert last == [f"byrote: {sentence}"]
    assert [line for line in stderr.splitlines() if " runs" not in line] == []
    assert not any(map(alive, workers))
    assert not list((root / ".running").glob("*.json"))
    if times == 1:
        assert list((root / ".running").glob("*.checkpoint"))
    ended(started(path, root, "--workers", "2", "--cohort", "2"), 0)
    assert files(root) == files(calm.root)
    nothing_left(root)
