"""Long: a commit is killed, or its files are deleted, at each of its system calls.

A child process is forked for each system call. In every case, a reader finds the old run or the new run, no leftover
file stays for good, and a later commit succeeds.
"""

import os
import resource
import shutil
import signal
import sys

import pytest
from toys import tiny

from byrote.store import Entry, Plan, commit, committed
from byrote.store import parquet as tables
from byrote.store.directory import StoreLostError, present_plan
from byrote.store.drafts import leftovers, remove
from byrote.store.verified import flaw_of
from byrote.training import train

pytestmark = pytest.mark.long

CALLS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.scandir", "os.listdir", "shutil.rmtree"}
DONE, REFUSED, CRASHED = 0, 3, 9
act = None  # what the child process does at each system call
RUN = tiny(seed=3)


def hook(event, arguments):
    if act is not None and event in CALLS and "/store" in str(arguments[0]):
        act()


sys.addaudithook(hook)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = train([RUN], keep_weights=True)[0]
    commit(tmp_path_factory.mktemp("first"), run)  # a first commit here, so that the child's imports are not counted
    return run


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "store"
    root.mkdir()
    Plan("study", "", {}, (), (Entry(RUN.key, "part", RUN.spec(), RUN.contents),)).write(root)
    return root


def child(root, run, happens, at):
    """Fork a process that commits and that calls `happens` at system call number `at`; return its exit code."""
    global act
    tables._connection.cache_clear()  # threads do not survive in a forked process
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 70
    try:
        seen = iter(range(10**6))

        def count():
            global act
            if next(seen) == at:
                act = None
                happens()

        act = count
        try:
            commit(root, run, permit=lambda: present_plan(root))
            code = DONE if next(seen) > at else DONE + 1
        except OSError as error:
            code = REFUSED if "\n" not in str(error) else 71
    finally:
        os._exit(code)


def points(root, run, happens):
    """Interrupt a commit at each of its system calls in turn; return the exit codes."""
    for at in range(2000):
        code = child(root, run, happens, at)
        if code == DONE + 1:
            return
        yield code


def clean(root):
    """Remove the leftovers of dead processes, as the next sweep does, and check that nothing else is left."""
    for path in leftovers(root):
        remove(path)
    assert {path.name for path in root.iterdir()} <= {"plan.json", RUN.key, ".running"}


@pytest.mark.parametrize("before", ["nothing", "a damaged run", "a whole run"])
def test_a_commit_that_is_killed_at_any_call_leaves_the_old_or_the_new(root, run, before):
    codes = []

    def prepare():
        shutil.rmtree(root / run.key, ignore_errors=True)
        if before != "nothing":
            commit(root, run)
        if before == "a damaged run":
            (root / run.key / "history.parquet").write_bytes(b"PAR1")

    prepare()
    for code in points(root, run, lambda: os._exit(CRASHED)):
        codes.append(code)
        there = committed(root)
        flaw = flaw_of(root, run.key) if there else None
        assert there in ([], [run.key])
        assert before != "a whole run" or (there and flaw is None)
        assert flaw is None or (before == "a damaged run" and flaw.file == "history.parquet")
        assert not there or before != "nothing" or flaw is None
        clean(root)
        commit(root, run)
        assert flaw_of(root, run.key) is None
        clean(root)
        prepare()
    assert set(codes) == {CRASHED}
    assert len(codes) > 12


@pytest.mark.parametrize("what", ["drafts", "files of drafts", "the run"])
def test_files_that_somebody_deletes_meanwhile_cost_no_run(root, run, what):
    def delete():
        pattern = {"drafts": ".draft-*", "files of drafts": ".draft-*/*", "the run": run.key}[what]
        for path in root.glob(pattern):
            remove(path)

    codes = []
    for code in points(root, run, delete):
        codes.append(code)
        assert code in (DONE, REFUSED)
        if run.key in committed(root):
            assert flaw_of(root, run.key) is None
        else:
            assert what == "the run" or code == REFUSED
        clean(root)
        shutil.rmtree(root / run.key, ignore_errors=True)
    assert codes.count(DONE) > 12


@pytest.mark.parametrize("what", ["moved", "deleted"])
def test_a_store_that_goes_away_meanwhile_is_not_made_again(root, run, what):
    aside = root.with_name("aside")

    def goes():
        shutil.move(root, aside) if what == "moved" else shutil.rmtree(root)

    codes = []
    plan = (root / "plan.json").read_bytes()
    for code in points(root, run, goes):
        codes.append(code)
        assert code in (DONE, REFUSED)
        assert not root.exists() or code == REFUSED, "the store can still exist only if the commit was refused"
        if aside.exists():
            assert committed(aside) in ([], [run.key])
            assert not committed(aside) or flaw_of(aside, run.key) is None
            shutil.rmtree(aside)
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        (root / "plan.json").write_bytes(plan)
    assert codes.count(REFUSED) > 10
    (root / "plan.json").unlink()
    with pytest.raises(StoreLostError, match="put it back"):
        commit(root, run, permit=lambda: present_plan(root))


@pytest.mark.parametrize("limit", [0, 1000, 4000, 20_000])
def test_a_full_disk_gives_one_sentence_and_leaves_nothing(root, run, limit):
    """A file size limit acts like a full disk; the weights, which an earlier version lost here, are kept."""
    tables._connection.cache_clear()
    pid = os.fork()
    if not pid:
        code = 70
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            try:
                commit(root, run)
                code = DONE
            except OSError as error:
                code = REFUSED if "\n" not in str(error) else 71
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    largest = max((path.stat().st_size for path in (root / run.key).glob("*")), default=0)
    assert code == (DONE if largest else REFUSED)
    assert {path.name for path in root.iterdir()} == ({"plan.json", run.key} if largest else {"plan.json"})
    commit(root, run)
    assert flaw_of(root, run.key) is None
