"""Start a sweep of forty tiny runs as from a terminal, and inspect its processes and its store."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from byrote.store import committed
from byrote.sweep import run

from .test_run import files

TESTS = Path(__file__).resolve().parent.parent
STUDY = """
name = "forty"
[base]
data = { kind = "toys:Blobs" }
noise = { kind = "uniform" }
network = { kind = "mlp", depth = 2, width = 16 }
training = { epochs = EPOCHS, batch_size = 16, evaluate_every = 20 }
[[part]]
name = "grid"
[part.axes]
loss = ["cross_entropy", "robust_log"]
"noise.rate" = [0.1, 0.4]
seed = [SEEDS]
"""


def study(folder, seeds, epochs):
    path = folder / "forty.toml"
    path.write_text(STUDY.replace("EPOCHS", str(epochs)).replace("SEEDS", ", ".join(map(str, range(seeds)))))
    return path


def started(path, root, *more):
    """Start a driver as a terminal does: as the leader of its own process group."""
    search = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-m", "byrote", "run", str(path), "--import", "toys", "--out", str(root), *more],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=dict(os.environ, PYTHONPATH=search, OMP_NUM_THREADS="1"),
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # enable SIGINT, which background jobs ignore
    )


def children(parent, word):
    """Return the pids of those descendants of a process whose command contains a word."""
    pids, parents = [], {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().decode(errors="replace")
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1]), command
            except OSError:
                continue
    for pid, (above, command) in parents.items():
        while above in parents and above != parent:
            above = parents[above][0]
        if above == parent and word in command:
            pids.append(pid)
    return pids


def until(condition, seconds=120.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("the sweep did not reach the expected state in time")


def ended(process, code, seconds=240):
    _, stderr = process.communicate(timeout=seconds)
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr
    return stderr


def nothing_left(root):
    assert not list(root.glob(".draft-*"))
    assert not list((root / ".running").iterdir())
    for key in committed(root):
        assert (root / "log" / f"{key}.txt").read_text().count(" done\n") <= 1, "a run was trained to the end twice"


def undisturbed(folder):
    """Return the study of forty tiny runs, and the files of an uninterrupted sweep over them."""
    path = study(folder, 10, 60)
    sys.path.append(str(TESTS)) if str(TESTS) not in sys.path else None
    return path, files(run(path, folder / "calm", imports=["toys"], on="serial", cohort=4).root)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def end_with_children(process):
    """Terminate a process. After at most 20 s, kill it and the processes that it started, if they still run."""
    below = children(process.pid, "")
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(20)
    for pid in [process.pid, *below]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
