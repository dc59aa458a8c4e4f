"""The cost of a store shared by more and more workers: taking leases, checking leases of others, recording events.

    python benchmarks/workers.py [--json] [--workers 1,100,1000] [--runs 2000]

For each number of workers, other drivers hold that many leases on tasks of four runs. The numbers are milliseconds of
processor time: `claim` takes, checks and releases a task of four runs; `look` is one check by a
driver that waits for the runs of others, in a store of `--runs` finished runs; `hear` is the driver's time for the
events of a run that ends, and `bytes_a_run` is the size of these events. The last line is one JSON object.
docs/machines.md uses these numbers.
"""

import argparse
import json
import os
import socket
import tempfile
import time
from pathlib import Path

from byrote import Experiment, data, losses, networks, noise
from byrote.recipe import Training
from byrote.store import Plan, committed
from byrote.store.leases import Watch, held
from byrote.store.log import read_events
from byrote.store.plan import Entry
from byrote.sweep import Event, Outcome, Stop, Task, Watcher
from byrote.sweep.drive import Driver

FOUR = 4


def store_with(folder: Path, workers: int, runs: int) -> Path:
    """A store with the leases of `workers` workers, and with `runs` run folders that have a manifest."""
    root = folder / f"{workers}-workers"
    (root / ".running").mkdir(parents=True)
    (root / "log").mkdir()
    (root / "plan.json").touch()
    owner = json.dumps({"owner": f"{socket.gethostname()}-{os.getpid()}", "seconds": 60})
    for place in range((workers - 1) * (FOUR + 1)):
        (root / ".running" / f"{place:016x}.lease").mkdir()
        (root / ".running" / f"{place:016x}.lease" / "1").write_text(owner)
    for place in range(runs):
        run = root / f"{place:016x}"
        run.mkdir()
        (run / "manifest.json").touch()
    return root


def milliseconds(action, times: int) -> float:
    """The processor milliseconds of one call."""
    began = time.process_time()
    for _ in range(times):
        action()
    return (time.process_time() - began) / times * 1e3


def claim(root: Path) -> None:
    """Take, check and release the leases of a task of four runs."""
    keys = [f"{'f' * 15}{place}" for place in range(FOUR)]
    with held(root, "task", keys) as leases:
        for key in keys:
            leases.check(key)


class Ends:
    """An executor that ends every task immediately."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []

    def submit(self, task: Task) -> None:
        self.tasks.append(task)

    def wait(self, pass_on) -> None:
        for task in self.tasks:
            pass_on(Event(task, "run", {"key": task.keys[0], "status": "done", "error": ""}))
            pass_on(Event(task, "done", {}))
        self.tasks = []

    def close(self) -> None:
        pass


def hear(root: Path, runs: int) -> tuple[float, int]:
    """The milliseconds that the driver spends on a run that ends, and the bytes of the run's events."""
    training = Training(epochs=1)
    small = data.FashionMNISTSubset(classes=(0, 1), per_class=8, test_per_class=4)
    one = Experiment(small, noise.Uniform(0.2), losses.CrossEntropy(), networks.MLP(depth=2, width=8), training)
    plan = Plan("many", "", {}, (), (Entry(one.key, "part", one.spec()),))
    driver = Driver(Ends(), plan, {}, Stop(), Outcome(root, runs), Watcher())
    tasks = [Task(f"{place}", (one,)) for place in range(runs)]
    began = time.process_time()
    driver.carry_out(tasks, "ends")
    spent = (time.process_time() - began) / runs * 1e3
    read_events(root)
    return spent, sum(path.stat().st_size for path in (root / "log").glob("events-*"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print only the last line")
    parser.add_argument("--workers", default="1,100,1000")
    parser.add_argument("--runs", type=int, default=2_000)
    options = parser.parse_args()
    results: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as name:
        for workers in map(int, options.workers.split(",")):
            root = store_with(Path(name), workers, options.runs)
            watch, names = Watch(root), [f"{place:016x}" for place in range(min(workers, 50))]
            costs = {
                "claim": milliseconds(lambda root=root: claim(root), 5),
                "look": milliseconds(lambda root=root, w=watch, n=names: (committed(root), w.look(n)), 3),
            }
            results[str(workers)] = {what: round(number, 3) for what, number in costs.items()}
        spent, size = hear(store_with(Path(name), 2, 0), 500)
        results |= {"hear": round(spent, 3), "bytes_a_run": round(size / 500)}
    if not options.json:
        for what, figures in results.items():
            print(what, figures)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
