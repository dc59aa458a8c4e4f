"""A board (small shared files), in a folder or bucket: one creator wins, touches are seen, removed files stay gone."""

import threading
import time

import pytest

from byrote.store import mirror
from byrote.store.board import board_of
from byrote.store.leases import LeaseLostError, Leases, Watch, held, leased
from byrote.store.mirror import bucket_of, located

KEY = "0123456789abcdef"


@pytest.fixture(scope="module")
def server():
    for package in ("obstore", "moto", "flask", "boto3"):
        pytest.importorskip(package)
    from buckets import served

    with served():
        yield


@pytest.fixture(params=["folder", "bucket"])
def root(request, tmp_path, monkeypatch):
    if request.param == "folder":
        place = tmp_path
    else:
        request.getfixturevalue("server")
        monkeypatch.setattr(mirror, "cache_folder", lambda: tmp_path)
        place = located(f"s3://bucket/{tmp_path.name}")
        bucket_of(place).create("plan.json", b"{}")
    (place / "plan.json").write_text("{}")
    (place / ".running").mkdir(exist_ok=True)
    return place


def test_one_creates_and_all_read(root):
    board = board_of(root)
    assert (board.generations(KEY), board.read(KEY, 1), board.all()) == ([], None, {})
    assert board.create(KEY, 1, "first")
    assert not board.create(KEY, 1, "second")
    assert board.create(KEY, 12, "later")
    assert (board.generations(KEY), board.all()) == ([1, 12], {KEY: [1, 12]})
    note = board.read(KEY, 1)
    assert note.text == "first"
    assert abs(note.modified - board.clock()) < 5
    assert board.generations(KEY[:-1]) == [], "a prefix of a name is not the name"
    for generation in (1, 12, 12):
        board.delete(KEY, generation)
    assert (board.generations(KEY), board.all()) == ([], {})
    assert board.create(KEY, 1, "again")


def test_a_touch_is_seen_and_makes_nothing_that_is_gone(root):
    board = board_of(root)
    board.create(KEY, 1, "first")
    before = board.read(KEY, 1)
    time.sleep(0.01)
    board.touch(KEY, 1)
    after = board.read(KEY, 1)
    assert after.version != before.version
    assert after.text.splitlines()[0] == "first"
    board.delete(KEY, 1)
    board.touch(KEY, 1)
    assert board.generations(KEY) == []


def test_of_many_that_want_a_lease_one_gets_it(root):
    gate, got = threading.Barrier(4), []

    def want():
        mine = Leases(root)
        gate.wait()
        if mine.acquire(KEY):
            got.append(mine)

    for _ in range(3):
        threads = [threading.Thread(target=want) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(got) == 1
        got.pop().release()
        assert board_of(root).all() == {}


def test_a_lease_is_held_lost_and_taken_over(root, monkeypatch):
    monkeypatch.setenv("BYROTE_LEASE_SECONDS", "1")
    with held(root, "task", [KEY]) as stopped:
        stopped._stopped.set()  # the lease is no longer renewed, as if the process were stopped
        stopped.check(KEY)
        assert leased(root) == {"task", KEY}
        watch, heir = Watch(root), Leases(root)
        assert not heir.acquire(KEY)
        end = time.monotonic() + 60
        while not watch.look([KEY]):
            assert time.monotonic() < end
            time.sleep(0.1)
        assert heir.acquire(KEY)
        with pytest.raises(LeaseLostError):
            stopped.check(KEY)
        stopped.renew()
        assert KEY in stopped.lost
        heir.check(KEY)
    heir.check(KEY)
    heir.release()
    assert board_of(root).all() == {}
