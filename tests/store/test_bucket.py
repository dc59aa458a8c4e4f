"""A store in a bucket, on a local server: the same runs as in a folder, even after crashes and damage."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from toys import tiny

import byrote
from byrote.cli.main import main
from byrote.store import Entry, Plan, commit, committed, merge, mirror, state_of
from byrote.store.board import board_of
from byrote.store.bucket import Bucket
from byrote.store.directory import StoreLostError
from byrote.store.leases import LeaseLostError, Leases
from byrote.store.mirror import bucket_of, discard, fetch_run, located, object_of, refresh
from byrote.store.prune import prune
from byrote.store.verified import flaw_of
from byrote.store.verify import verify
from byrote.training import train

for package in ("obstore", "moto", "flask", "boto3"):
    pytest.importorskip(package)

MINI = Path(__file__).parent.parent / "sweep" / "mini.toml"
EXPERIMENTS = [tiny(seed=seed) for seed in range(2)]
A, B = (e.key for e in EXPERIMENTS)


@pytest.fixture(scope="module", autouse=True)
def server():
    from buckets import served

    with served() as address:
        yield address


@pytest.fixture(scope="module")
def runs():
    return train(EXPERIMENTS)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Return a function that simulates another machine, with an empty cache."""

    def machine(name):
        monkeypatch.setattr(mirror, "cache_folder", lambda: tmp_path / name)

    machine("one")
    return machine


@pytest.fixture
def url(tmp_path, here):
    return f"s3://bucket/{tmp_path.name}/store"


@pytest.fixture
def root(url, runs):
    root = located(url)
    Plan("study", "", {}, (), tuple(Entry(e.key, "part", e.spec(), e.contents) for e in EXPERIMENTS)).write(root)
    for run in runs:
        commit(root, run)
    return root


def objects(root):
    return set(bucket_of(root).list())


def files(root, key):
    return {path.name: path.read_bytes() for path in (root / key).iterdir()}


def test_a_store_is_the_same_on_every_machine(root, url, here):
    assert objects(root) == {"plan.json", object_of(A), object_of(B)}
    here("two")
    other = located(url)
    assert other != root
    assert committed(other) == sorted([A, B])
    assert files(other, A) == files(root, A)
    assert byrote.open(url).results.history.runs == 2
    assert verify(other).flaws == ()
    assert state_of(other)["done"] == 2


def test_the_commands_take_an_address_and_name_it(root, url, here, capsys):
    here("two")
    assert main(["status", url, "--json"]) == 0
    assert '"done": 2' in capsys.readouterr().out
    assert main(["verify", url]) == 0
    assert main(["compact", url]) == 0
    assert f"wrote the tables of {url} into {url}" in capsys.readouterr().err
    assert {"table.parquet", "runs.parquet", "about.json"} <= objects(root)
    assert main(["claims", url, "--json"]) == 0
    assert main(["prune", url, "--json"]) == 0
    assert main(["cancel", url]) == 0
    assert main(["status", f"{url}/not"]) == 2
    assert f"{url}/not is not a store" in capsys.readouterr().err
    for wrong in ("s3://bucket", "gs://bucket/prefix"):
        assert main(["status", wrong]) == 2
        assert "a store is a folder or s3://BUCKET/PREFIX" in capsys.readouterr().err


def test_what_is_written_beside_a_store_goes_into_its_bucket(root, url, here, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    here("two")
    assert main(["export", url, "--to", "csv"]) == 0
    assert f"{url}/tables/verdicts.csv" in capsys.readouterr().out
    assert main(["figures", url]) == 0
    assert main(["report", url]) == 0
    names = objects(root)
    assert {"tables/verdicts.csv", "index.html", "verdicts.json"} <= names
    assert any(name.startswith("figures/") and name.endswith(".svg") for name in names)
    assert main(["figures", url, "--out", f"{url}-drawn"]) == 0
    assert any(name.endswith(".svg") for name in objects(located(f"{url}-drawn")))
    assert main(["export", url, "--to", "parquet", "--out", f"{url}-out"]) == 0
    assert "tables/verdicts.parquet" in objects(located(f"{url}-out"))
    assert main(["compact", url, "--out", f"{url}-tables"]) == 0
    assert "table.parquet" in objects(located(f"{url}-tables"))
    assert main(["theory", "figures", "theory-collapse", "--out", f"{url}-theory"]) == 0
    assert "theory-collapse.svg" in objects(located(f"{url}-theory"))
    capsys.readouterr()
    assert main(["show", url, A, "--json"]) == 0
    assert A in capsys.readouterr().out
    assert main(["compare", url, url]) == 0
    assert "equal to the bit" in capsys.readouterr().out
    assert not (tmp_path / "s3:").exists()


def test_stores_in_folders_and_buckets_merge(root, url, here, tmp_path, runs):
    half = tmp_path / "half"
    Plan("study", "", {}, (), tuple(Entry(e.key, "part", e.spec(), e.contents) for e in EXPERIMENTS)).write(half)
    commit(half, runs[0])
    assert merge([url, half], tmp_path / "both") == 2
    assert merge([half, url], f"{url}-too") == 2
    assert files(located(f"{url}-too"), B) == files(tmp_path / "both", B)


def test_a_run_that_is_whole_stays_and_a_damaged_one_is_made_again(root, url, runs, here):
    tag = bucket_of(root).look(object_of(A)).tag
    here("two")
    other = located(url)
    commit(other, replace(runs[0], seconds={"cohort": 7.0}))
    assert bucket_of(root).look(object_of(A)).tag == tag, (
        "a complete run is not replaced by an equal run with a different manifest"
    )
    data = bucket_of(root).read(object_of(A))[0]
    for place in range(700, len(data), len(data) // 40):
        broken = bytearray(data)
        broken[place] ^= 16
        bucket_of(root).put(object_of(A), bytes(broken))
        flaw = next((flaw for flaw in verify(other).flaws if flaw.key == A), None)
        assert flaw is not None or {n: files(other, A)[n] for n in files(root, A)} == files(root, A), place
    for length in (0, 5, len(data) // 2, len(data) - 12_000):
        bucket_of(root).put(object_of(A), data[:length])
        assert {flaw.key for flaw in verify(other).flaws} == {A}, length
    commit(other, runs[0])
    assert verify(other).flaws == ()
    refresh(root)
    assert flaw_of(root, A) is None


def test_verify_reads_the_bucket_and_mends_the_copy(root):
    (root / A / "history.parquet").write_bytes(b"PAR1")
    assert flaw_of(root, A).kind == "torn"
    assert verify(root).flaws == ()
    assert flaw_of(root, A) is None


def test_runs_that_are_removed_are_gone_everywhere(root, url, here):
    here("two")
    other = located(url)
    discard(root, [root / A])
    refresh(other)
    assert (committed(root), committed(other)) == ([B], [B])
    bucket_of(root).delete("plan.json")
    refresh(other)
    assert Plan.read(other) is None


def test_what_a_stale_owner_trained_is_discarded(root, url, runs, here):
    discard(root, [root / A])
    stopped = Leases(root)
    assert stopped.acquire(A)
    here("two")
    other = located(url)
    assert board_of(other).create(A, 2, '{"owner": "free", "seconds": 60}')
    heir = Leases(other)
    assert heir.acquire(A)
    with pytest.raises(LeaseLostError):
        commit(root, runs[0], permit=lambda: stopped.check(A))
    assert object_of(A) not in objects(root)
    commit(other, runs[0], permit=lambda: heir.check(A))
    heir.release()
    stopped.renew()
    assert stopped.lost == {A}, "the lease is lost, because its new owner has finished"
    stopped.release()
    assert objects(root) == {"plan.json", object_of(A), object_of(B)}


def test_a_store_that_is_gone_is_said_and_not_made_again(root, runs):
    bucket_of(root).delete("plan.json")
    discard(root, [root / A])
    owner = Leases(root)
    owner.acquire(A)
    with pytest.raises(StoreLostError, match="put it back"):
        commit(root, runs[0], permit=lambda: owner.check(A))
    assert object_of(A) not in objects(root)


def test_an_upload_that_breaks_off_leaves_nothing(url, here, runs, monkeypatch):
    root = located(url)
    Plan("study", "", {}, (), (Entry(A, "part", EXPERIMENTS[0].spec(), EXPERIMENTS[0].contents),)).write(root)

    def breaks(self, name, data):
        raise OSError(f"{self.url}/{name} cannot be reached: the connection is down")

    with monkeypatch.context() as patched:
        patched.setattr(Bucket, "create", breaks)
        with pytest.raises(OSError, match="the connection is down"):
            commit(root, runs[0])
    assert (committed(root), objects(root)) == ([], {"plan.json"})
    assert not list(root.glob(".draft-*"))
    commit(root, runs[0])
    fetch_run(root, A)
    assert flaw_of(root, A) is None


def test_a_sweep_into_a_bucket_makes_the_same_files(url, here, tmp_path):
    whole = byrote.run(MINI, tmp_path / "whole", imports=["toys"], on="serial")
    some = byrote.run(MINI, url, imports=["toys"], on="serial", limit=3)
    assert (some.done, some.done_before) == (3, 0)
    here("two")
    outcome = byrote.run(MINI, url, imports=["toys"], on="serial")
    assert (outcome.done, outcome.done_before) == (8, 3)
    results = {key: files(outcome.root, key) for key in committed(outcome.root)}
    for key, stored in results.items():
        assert {n: d for n, d in stored.items() if n != "manifest.json"} == {
            n: d for n, d in files(whole.root, key).items() if n != "manifest.json"
        }
    left = {name for name in objects(outcome.root) if not name.startswith(("runs/", "log/"))}
    assert left == {"plan.json"}
    assert prune(outcome.root) == []


def test_without_obstore_one_sentence_says_what_to_install(here, monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(ImportError, match=r"^s3://bucket/x needs the package obstore; install it with `pip install"):
        byrote.open("s3://bucket/x")


def test_a_bucket_that_cannot_be_reached_gives_one_sentence(here, monkeypatch, capsys):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("byrote.store.bucket._RETRIES", 0)
    assert main(["status", "s3://bucket/x"]) == 1
    error = capsys.readouterr().err
    assert "s3://bucket/x/ cannot be reached" in error
    assert error.count("\n") == 1


DRIVER = """
import logging, sys
logging.basicConfig()
from pathlib import Path
import byrote
from byrote.store import mirror
mirror.cache_folder = lambda: Path(sys.argv[3])  # kernels are compiled only once
from byrote.sweep import Watcher
class Notes(Watcher):
    def event(self, event, outcome):
        if event.kind == "epoch" and event.data["epoch"] == 60:
            print("trained", *event.data["rows"], flush=True)
outcome = byrote.run(sys.argv[1], sys.argv[2], imports=["toys"], on="serial", cohort=1, watcher=Notes())
print("done", outcome.done, flush=True)
"""


@pytest.mark.long
def test_two_drivers_of_which_one_is_killed_do_everything_once(url, here, tmp_path, server):
    whole = byrote.run(MINI, tmp_path / "whole", imports=["toys"], on="serial", overrides={"training.epochs": 60})
    study = tmp_path / "slow.toml"
    study.write_text(MINI.read_text().replace("epochs = 4", "epochs = 60"))
    processes = []
    for name in ("one", "two", "three"):
        places = [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
        own = {"PYTHONPATH": os.pathsep.join(places), "BYROTE_LEASE_SECONDS": "3"}
        command = [sys.executable, "-c", DRIVER, str(study), url, str(tmp_path / name)]
        processes.append(
            subprocess.Popen(command, env=os.environ | own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
    root = located(url)
    while not committed(root):
        refresh(root)
    processes[0].kill()
    ended = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes[1:]] == [0, 0], "\n".join(error for _, error in ended)
    lines = [line.split() for out, _ in ended[1:] for line in out.splitlines()]
    assert [words for words in lines if words[0] == "done"] == [["done", "8"]] * 2
    trained = [words[1] for words in lines if words[0] == "trained"]
    assert len(trained) == len(set(trained)), "the surviving drivers trained no run twice"
    refresh(root)
    assert {key: files(root, key)["history.parquet"] for key in committed(root)} == {
        key: files(whole.root, key)["history.parquet"] for key in committed(whole.root)
    }
    assert verify(root).flaws == ()
    assert board_of(root).all() == {}
