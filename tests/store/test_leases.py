"""A process loses its lease when it ends or stops renewing the lease, even if clocks are wrong."""

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from byrote.files.process import this_process
from byrote.store import board
from byrote.store import leases as module
from byrote.store.directory import StoreLostError
from byrote.store.leases import LeaseLostError, Leases, Watch, clear_leases, held, leased

KEY = "0123456789abcdef"
ELSEWHERE = str(replace(this_process(), system="0" * 12)) + "-" + "0" * 12


@pytest.fixture
def root(tmp_path):
    (tmp_path / "plan.json").touch()
    (tmp_path / ".running").mkdir()
    return tmp_path


@pytest.fixture
def clock(monkeypatch):
    """Control the monotonic clock and the store's clock by hand; a lease lasts 60 seconds."""

    class Clock:
        seconds, store = 1000.0, time.time()

        def later(self, seconds, jump=0.0):
            self.seconds += seconds
            self.store += seconds + jump

    clocks = Clock()
    monkeypatch.setattr(module.time, "monotonic", lambda: clocks.seconds)
    monkeypatch.setattr(board, "store_time", lambda root: clocks.store)
    return clocks


def write(root, owner, generation=1, age=0.0, clock=None):
    path = root / ".running" / f"{KEY}.lease" / f"{generation}"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"owner": owner, "seconds": 60.0}))
    touch(path, (clock.store if clock else time.time()) - age)
    return path


def touch(path, moment):
    os.utime(path, (moment, moment))


def watched(root, clock, seconds, watch=None, jump=0.0):
    """Check the lease every two seconds for `seconds`, and return whether it is then free."""
    watch = watch or Watch(root)
    free = watch.look([KEY])
    clock.later(0.0, jump)
    for _ in range(int(seconds / 2)):
        clock.later(2.0)
        free = watch.look([KEY])
    return bool(free)


def test_one_process_holds_a_lease_and_gives_it_back(root):
    with held(root, "task", [KEY]) as first:
        assert KEY in first
        with held(root, "task", [KEY]) as second:
            assert KEY not in second, "the lease of another process is left alone"
        with held(root, "planned otherwise", [KEY, "f" * 16]) as third:
            assert (KEY in third, "f" * 16 in third) == (False, True)
        assert leased(root) == {"task", KEY}
        first.check(KEY)
    assert list((root / ".running").iterdir()) == []
    with held(root, "task", [KEY]) as again:
        assert KEY in again


def test_of_many_that_want_a_lease_one_gets_it(root):
    gate, got = threading.Barrier(8), []

    def want():
        mine = Leases(root)
        gate.wait()
        if mine.acquire(KEY):
            got.append(mine)

    for round_ in range(20):
        if round_ % 2:
            # only one process takes over the lease of a dead owner
            write(root, str(replace(this_process(), started=7)) + "-" + "0" * 12)
        threads = [threading.Thread(target=want) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(got) == 1, round_
        got.pop().release()
        assert list((root / ".running").iterdir()) == []


def test_the_lease_of_a_process_that_ended_is_taken_over_at_once(root):
    program = "import sys; from pathlib import Path; from byrote.store.leases import Leases; "
    program += f"print(Leases(Path(sys.argv[1])).acquire({KEY!r}), flush=True); input()"
    owner = subprocess.Popen(
        [sys.executable, "-c", program, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout.readline() == "True\n"
    assert not Leases(root).acquire(KEY)
    assert clear_leases(root, dry_run=True) == []
    owner.kill()
    owner.communicate()
    assert clear_leases(root, dry_run=True) == [KEY]
    heir = Leases(root)
    assert heir.acquire(KEY)
    heir.check(KEY)
    heir.release()
    assert list((root / ".running").iterdir()) == []


def test_an_owner_that_was_taken_over_knows_it(root):
    stopped = Leases(root)
    stopped.acquire(KEY)
    stopped.check(KEY)
    write(root, "free", generation=2)
    with pytest.raises(LeaseLostError, match=f"another driver has taken over {KEY}"):
        stopped.check(KEY)
    stopped.renew()
    assert stopped.lost == {KEY}
    heir = Leases(root)
    assert heir.acquire(KEY)
    heir.check(KEY)
    stopped.release()
    heir.check(KEY)


def test_an_owner_whose_heir_has_finished_knows_it(root):
    stopped, heir = Leases(root), Leases(root)
    stopped.acquire(KEY)
    write(root, "free", generation=2)
    assert heir.acquire(KEY)
    heir.release()
    assert list((root / ".running").iterdir()) == [], "the new owner removes the files of the previous owner"
    stopped.renew()
    assert stopped.lost == set()
    (root / KEY).mkdir()
    (root / KEY / "manifest.json").touch()
    stopped.renew()
    assert stopped.lost == {KEY}


def test_a_lease_that_was_deleted_by_hand_is_taken_again_unless_another_has_it(root):
    owner, other = Leases(root), Leases(root)
    owner.acquire(KEY)
    (root / ".running" / f"{KEY}.lease" / "1").unlink()
    owner.check(KEY)
    assert not other.acquire(KEY)
    (root / ".running" / f"{KEY}.lease" / "1").unlink()
    assert other.acquire(KEY)
    with pytest.raises(LeaseLostError):
        owner.check(KEY)


@pytest.mark.parametrize("age", [61.0, 100_000.0])
def test_an_old_lease_of_another_system_is_free_after_a_third_of_its_time(root, clock, age):
    write(root, ELSEWHERE, age=age, clock=clock)
    assert not Leases(root).acquire(KEY)
    assert not watched(root, clock, 18)
    assert watched(root, clock, 22)
    assert Leases(root).acquire(KEY)


def test_a_lease_that_is_touched_is_never_free(root, clock):
    path, watch = write(root, ELSEWHERE, clock=clock), Watch(root)
    for _ in range(30):
        assert not watched(root, clock, 14, watch)
        touch(path, clock.store)


def test_a_lease_that_is_not_touched_any_more_is_free_after_its_time(root, clock):
    """The lease expires even if its process, on this machine, is alive but stopped."""
    for owner in (ELSEWHERE, str(this_process()) + "-" + "0" * 12):
        write(root, owner, clock=clock)
        assert not watched(root, clock, 56)
        write(root, owner, clock=clock)
        assert watched(root, clock, 64)
        (root / ".running" / f"{KEY}.lease" / "2").unlink()


@pytest.mark.parametrize("jump", [-90_000.0, 90_000.0])
def test_a_clock_that_jumps_takes_no_lease_from_an_owner_that_touches_it(root, clock, jump):
    path, watch = write(root, ELSEWHERE, clock=clock), Watch(root)
    assert not watched(root, clock, 10, watch, jump)
    for _ in range(10):
        touch(path, clock.store)
        assert not watched(root, clock, 10, watch)


@pytest.mark.parametrize("jump", [-90_000.0, 90_000.0])
def test_a_clock_that_jumps_saves_no_lease_whose_owner_is_gone(root, clock, jump):
    write(root, ELSEWHERE, clock=clock)
    assert watched(root, clock, 64, jump=jump)


def test_a_watcher_that_was_stopped_itself_takes_nothing(root, clock):
    write(root, ELSEWHERE, age=55, clock=clock)
    watch = Watch(root)
    watch.look([KEY])
    clock.later(5000)
    assert watch.look([KEY]) == set(), "the owner may have been suspended together with this watcher"


def test_a_store_that_is_gone_is_said(root):
    owner = Leases(root)
    owner.acquire(KEY)
    (root / "plan.json").unlink()
    for needs in (lambda: owner.check(KEY), lambda: held(root, "task", [KEY]).__enter__()):
        with pytest.raises(StoreLostError, match=r"was moved or deleted while it was written to .*; put it back"):
            needs()
    assert not Path(root / "plan.json").exists()
