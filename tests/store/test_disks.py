"""A read-only store, and a disk that is really full: an error of one sentence, and no half-written file."""

import subprocess
from pathlib import Path

import pytest
from toys import tiny

import byrote
from byrote.cli import main
from byrote.store import Entry, Plan, commit, committed
from byrote.store.verify import verify
from byrote.training import train

MINI = Path(__file__).parent.parent / "sweep" / "mini.toml"
RUN = tiny(seed=3)


def mount(*words):
    done = subprocess.run(["mount", *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this process may not mount a file system: {done.stderr.strip()}")


@pytest.fixture
def device(tmp_path):
    """Return a function that mounts a new file system with given options; unmount all file systems at the end."""
    place = tmp_path / "device"
    place.mkdir()

    def mounted(*words):
        mount(*words, place)
        return place

    yield mounted
    subprocess.run(["umount", "-l", place], capture_output=True, check=False)


@pytest.fixture
def store(tmp_path):
    root = tmp_path / "store"
    Plan("study", "", {}, (), (Entry(RUN.key, "part", RUN.spec(), RUN.contents),)).write(root)
    commit(root, train([RUN])[0])
    return root


def everything(root):
    return {path.relative_to(root): path.is_file() and path.read_bytes() for path in root.rglob("*")}


def test_a_store_that_may_not_be_written_to_is_read(store, device, tmp_path, capsys):
    """The file system itself is mounted read-only, so that even root cannot write."""
    root = device("--bind", store)
    mount("-o", "remount,ro,bind", root)
    before = everything(store)
    out = tmp_path / "out"
    for words in (["status"], ["verify"], ["prune"], ["claims", "--json"], ["compact", "--out", str(out)]):
        assert main([words[0], str(root), *words[1:]]) == 0, words
        capsys.readouterr()
    assert byrote.open(root).results.history == byrote.open(out).results.history
    for words in (["compact"], ["report"], ["cancel"]):
        assert main([words[0], str(root)]) == 1, words
        (line,) = [one for one in capsys.readouterr().err.splitlines() if "are there; what follows" not in one]
        assert line.startswith("byrote: ")
        assert "read-only file system" in line.lower()
    assert main(["run", str(MINI), "--out", str(root / "new"), "--import", "toys"]) == 2
    assert f"the store {root / 'new'} cannot be written to: " in capsys.readouterr().err
    assert everything(store) == before


def test_a_device_that_is_full_stops_the_sweep_which_goes_on_when_there_is_room(device, tmp_path, capsys):
    whole = byrote.run(MINI, tmp_path / "whole", imports=["toys"], on="serial")
    root = device("-t", "tmpfs", "-o", "size=160k", "tmpfs") / "out"
    command = ["run", str(MINI), "--out", str(root), "--on", "serial", "--import", "toys"]
    assert main(command) == 1
    *_, line = capsys.readouterr().err.splitlines()
    keys = committed(root)
    assert 0 < len(keys) < 8
    assert line.endswith(f"; {len(keys)} of 8 runs are stored in {root}")
    assert "no space left on device" in line.lower()
    assert not list(root.glob(".draft-*"))
    assert {flaw.kind for flaw in verify(root).flaws} == {"missing"}
    mount("-o", "remount,size=8m", root.parent)
    assert main(command) == 0
    assert committed(root) == committed(whole.root)
    for key in committed(root):
        for path in (whole.root / key).glob("*.parquet"):
            assert (root / key / path.name).read_bytes() == path.read_bytes()
