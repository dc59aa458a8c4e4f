"""The requests and the time of a store in a bucket, compared with a store in a folder; called by `store.py --bucket`.

moto serves the bucket on the loopback in a separate process, which ends with this process. moto is not S3: it answers
from memory within milliseconds. Only the number of requests carries over to another service, where each request takes
one round trip.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3

from byrote import Study
from byrote.store import commit, committed, state_of
from byrote.store.leases import Watch, held
from byrote.store.mirror import discard, located, refresh, upload_run
from byrote.sweep.plan import plan_study
from byrote.training import Run, train

SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=True)
server.start()
print("listening", *server.get_host_and_port(), flush=True)
sys.stdin.read()
server.stop()
"""
TIMES = 10  # the number of repetitions of a commit, a claim and a look
TASK = 4  # runs per task


class Server:
    """An object store on the loopback, whose requests are counted by kind from its log."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "requests.log"
        self._place = 0
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with self._log.open("w") as log:
            self._process = subprocess.Popen([sys.executable, "-c", SERVER], stderr=log, **pipes)
        words = next(line.split() for line in self._process.stdout if line.startswith("listening "))
        host, port = words[1:]
        os.environ |= {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_REGION": "us-east-1"}
        os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"]).create_bucket(Bucket="bucket")

    def requests(self) -> Counter[str]:
        """The number of requests since the last call, by kind."""
        text = self._log.read_text()[self._place :]
        self._place += len(text)
        kinds: Counter[str] = Counter()
        for method, path in re.findall(r'"(?:\x1b\[\d+m)*(GET|PUT|HEAD|DELETE|POST) (\S+)', text):
            kinds["LIST" if "list-type=" in path else method] += 1
        return kinds

    def close(self) -> None:
        """End the server by closing its standard input."""
        self._process.stdin.close()
        self._process.wait(timeout=20)


@contextmanager
def served(folder: Path) -> Iterator[Server]:
    """Start a server that ends after the block. Leases are renewed so rarely that no renewal is counted."""
    os.environ["BYROTE_LEASE_SECONDS"] = "3600"
    server = Server(folder)
    try:
        yield server
    finally:
        server.close()


def measured(server: Server, action: Callable[[], object], times: int) -> dict[str, Any]:
    """Measure the milliseconds and the requests of one call."""
    server.requests()
    began = time.perf_counter()
    for _ in range(times):
        action()
    milliseconds = (time.perf_counter() - began) / times * 1e3
    return {"ms": round(milliseconds, 1), "requests": {k: n / times for k, n in sorted(server.requests().items())}}


def claim(root: Path, keys: list[str]) -> None:
    """Take and release the leases of a task."""
    with held(root, "task", keys):
        pass


def look(root: Path, watch: Watch, names: list[str]) -> None:
    """Check once, like a waiting driver, whether the runs of another driver are done."""
    refresh(root)
    committed(root)
    watch.look(names)


def operations(server: Server, root: Path, run: Run, keys: list[str]) -> dict[str, Any]:
    """The cost of a claim, a commit and a look; `run` must not be in the store, and these runs must not be leased."""
    figures = {"claim": measured(server, lambda: claim(root, keys), TIMES)}
    with held(root, "task", [*keys, run.key]) as leases:
        figures["commit"] = {"ms": 0.0, "requests": Counter()}
        for _ in range(TIMES):
            one = measured(server, lambda: commit(root, run, permit=lambda: leases.check(run.key)), 1)
            figures["commit"]["ms"] += one["ms"] / TIMES
            figures["commit"]["requests"].update(one["requests"])
            discard(root, [root / run.key])
        watch = Watch(root)
        figures["look"] = measured(server, lambda: look(root, watch, ["task", *keys]), TIMES)
    figures["commit"]["ms"] = round(figures["commit"]["ms"], 1)
    figures["commit"]["requests"] = {k: n / TIMES for k, n in sorted(figures["commit"]["requests"].items())}
    return figures


def costs(runs: int, server: Server, fill: Callable[[Path, Path], int], study_of: Callable[[int, Path], Path]) -> dict:
    """The costs of a store in a folder and in a bucket, with this many runs, one of them missing.

    Args:
        runs: how many runs the study has.
        server: the object store.
        fill, study_of: see `benchmarks/store.py`.
    """
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder, other = Path(name) / "store", Path(name) / "cache"
        study = study_of(runs, Path(name) / "many.toml")
        fill(study, folder)
        plan, experiments = plan_study(Study.load(study), file=str(study))
        first, *keys = experiments
        run = train([experiments[first]])[0]
        os.environ["BYROTE_CACHE"] = str(other)
        url = f"s3://bucket/{runs}"
        root = located(url)
        plan.write(root)
        for key in keys:
            upload_run(root, key, folder / key, lambda: False)
        shutil.rmtree(folder / first)
        shutil.rmtree(other / "stores")
        figures["folder"] = {"status, first": measured(server, lambda: state_of(folder), 1)}
        figures["bucket"] = {"status, first": measured(server, lambda: state_of(located(url)), 1)}
        for where, place in (("folder", folder), ("bucket", root)):
            figures[where]["status"] = measured(server, lambda place=place: state_of(place), 3)
            discard(place, [place / key for key in keys[:TASK]])
            figures[where] |= operations(server, place, run, keys[:TASK])
    return figures
