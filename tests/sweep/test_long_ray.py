"""Sweeps on Ray give the results of an uninterrupted sweep, even if a worker or a whole node is killed."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from byrote.store import committed

from .sweeps import TESTS, children, end_with_children, ended, nothing_left, started, undisturbed, until
from .test_run import files

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def forty(tmp_path_factory):
    """Return forty tiny runs, and the files of an uninterrupted sweep over them."""
    return undisturbed(tmp_path_factory.mktemp("forty"))


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
    """Return the addresses at which these processes listen."""
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
    assert addresses, "no listening socket was found"
    return addresses


def ray_node(log, *where):
    """Start a Ray node with one CPU in the foreground, as in docs/machines.md; return its process and IP address."""
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
            end_with_children(one)
        shutil.rmtree(folder, ignore_errors=True)
