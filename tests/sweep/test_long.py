"""Sweeps whose workers, drivers and nodes are killed, or that are stopped by Ctrl-C, give the same results.

Each test compares the store with that of an undisturbed sweep, bit for bit, and ends the processes it started by pid.
"""

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

from byrote.store import committed, state_of
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
pytestmark = pytest.mark.long


def study(folder, seeds, epochs):
    path = folder / "forty.toml"
    path.write_text(STUDY.replace("EPOCHS", str(epochs)).replace("SEEDS", ", ".join(map(str, range(seeds)))))
    return path


@pytest.fixture(scope="module")
def forty(tmp_path_factory):
    """Forty tiny runs, and the files of an undisturbed sweep over them."""
    folder = tmp_path_factory.mktemp("forty")
    path = study(folder, 10, 60)
    sys.path.append(str(TESTS)) if str(TESTS) not in sys.path else None
    return path, files(run(path, folder / "calm", imports=["toys"], on="serial", cohort=4).root)


def started(path, root, *more):
    """A driver as a terminal starts it: the leader of its own process group."""
    search = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-m", "byrote", "run", str(path), "--import", "toys", "--out", str(root), *more],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=dict(os.environ, PYTHONPATH=search, OMP_NUM_THREADS="1"),
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job ignores it
    )


def children(parent, word):
    """The pids of the descendants of a process whose command contains a word."""
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
    raise AssertionError("waited in vain")


def ended(process, code, seconds=240):
    _, stderr = process.communicate(timeout=seconds)
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr
    return stderr


def nothing_left(root):
    assert not list(root.glob(".draft-*"))
    assert not list((root / ".running").iterdir())
    for key in committed(root):
        assert (root / "log" / f"{key}.txt").read_text().count(" done\n") <= 1, "it was trained twice to the end"


def test_random_workers_are_killed_through_forty_runs(forty, tmp_path):
    path, calm = forty
    root, draw, kills = tmp_path / "s", random.Random(5), 0
    for _ in range(6):
        process = started(path, root, "--workers", "2", "--cohort", "4")
        while process.poll() is None:
            time.sleep(draw.uniform(0.02, 0.2))
            workers = children(process.pid, "byrote.sweep.worker")
            # by progress, so that it works on a machine of any speed
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


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_of_a_terminal(tmp_path, times):
    """SIGINT goes to the whole foreground group."""
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


def test_ray_on_one_node_gives_the_same_bits_and_survives_a_killed_worker(forty, tmp_path):
    pytest.importorskip("ray")
    path, calm = forty
    root = tmp_path / "s"
    process = started(path, root, "--on", "ray", "--workers", "2", "--cohort", "4")
    until(lambda: len(committed(root)) >= 4)
    workers = children(process.pid, "ray::_carry_out")
    assert workers
    assert listening([process.pid, *children(process.pid, "")]) <= {"127.0.0.1", "::ffff:127.0.0.1"}
    os.kill(workers[0], signal.SIGKILL)
    ended(process, 0)
    assert files(root) == calm
    nothing_left(root)


def listening(pids):
    """The addresses at which these processes listen."""
    sockets = set()
    for pid in pids:
        with suppress(OSError):
            sockets |= {os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink()}
    addresses = set()
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                words = bytes.fromhex(fields[1].partition(":")[0])
                packed = b"".join(words[i : i + 4][::-1] for i in range(0, len(words), 4))
                addresses.add(socket.inet_ntop(family, packed))
    assert addresses, "nothing was seen to listen"
    return addresses


def ray_node(log, *where):
    """A Ray node in the foreground, with one CPU, as docs/machines.md starts it; returns its IP address too."""
    ray = Path(sys.executable).with_name("ray")
    limits = ["--num-cpus", "1", "--object-store-memory", "80000000", "--disable-usage-stats"]
    ports = ["--min-worker-port", "0", "--max-worker-port", "0", "--dashboard-agent-listen-port", "0"]
    with log.open("w") as file:
        node = subprocess.Popen([str(ray), "start", "--block", *where, *limits, *ports], stdout=file, stderr=file)
    until(lambda: "Ray runtime started" in log.read_text() or node.poll() is not None)
    assert node.poll() is None, log.read_text()
    return node, re.search(r"Local node IP: ([\d.]+)", log.read_text())[1]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_a_whole_ray_node_is_killed(forty, tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0123456789abcdef" * 4)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]))
    path, calm = forty
    root, folder, port = tmp_path / "s", tempfile.mkdtemp(prefix="byrote-test-"), str(free_port())
    head = ["--head", "--port", port, "--ray-client-server-port", str(free_port()), "--include-dashboard", "false"]
    node, address = ray_node(tmp_path / "head.txt", *head, "--temp-dir", folder)
    nodes, process = [node], None
    try:
        nodes.append(ray_node(tmp_path / "second.txt", "--address", f"{address}:{port}")[0])
        process = started(path, root, "--on", "ray", "--address", f"{address}:{port}", "--cohort", "4")
        until(lambda: len(committed(root)) >= 4)
        until(lambda: children(nodes[1].pid, "ray::_carry_out"))
        gone = [nodes[1].pid, *children(nodes[1].pid, "")]
        for pid in gone:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        ended(process, 0)
        assert files(root) == calm
        nothing_left(root)
    finally:
        for one in [*nodes[:1], *([process] if process is not None else [])]:
            below = children(one.pid, "")
            one.terminate()
            with suppress(subprocess.TimeoutExpired):
                one.wait(20)
            for pid in [one.pid, *below]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
