"""Several drivers create a store at the same moment: all use one plan, and no driver fails."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest

from byrote.files import create_atomic
from byrote.store import Entry, Plan, mirror
from byrote.store.mirror import bucket_of, located, refresh, share

PLAN = Plan("study", "", {}, (), (Entry("0" * 16, "part", {"seed": 1}),))
OTHER = replace(PLAN, study="other")
DRIVERS = 6


@pytest.fixture(params=["folder", "bucket"])
def root(request, tmp_path, monkeypatch):
    """Yield the location of a new store: a folder, then a bucket."""
    if request.param == "folder":
        yield tmp_path / "store"
        return
    for package in ("obstore", "moto", "flask", "boto3"):
        pytest.importorskip(package)
    from buckets import served

    monkeypatch.setattr(mirror, "cache_folder", lambda: tmp_path / "cache")
    with served():
        yield located(f"s3://bucket/{tmp_path.name}")


@pytest.fixture
def late(monkeypatch):
    """Make the next read of the plan find nothing, as if the other driver had not written the plan."""
    read = Plan.read.__func__

    def miss():
        first = iter([True])
        look = classmethod(lambda cls, root: None if next(first, False) else read(cls, root))
        monkeypatch.setattr(Plan, "read", look)

    return miss


def begun(root, plan):
    """Create the files of a store whose first driver has written its plan and started to run."""
    plan.write(root)
    (root / ".running").mkdir(exist_ok=True)
    (root / ".running" / "note.json").write_text("{}")
    share(root, root / ".running" / "note.json")


def test_a_driver_that_looked_too_early_adopts_the_plan(root, late):
    begun(root, PLAN)
    late()
    PLAN.write(root)
    assert Plan.read(root) == PLAN
    late()
    with pytest.raises(ValueError, match="contains study 'study', not 'other'"):
        OTHER.write(root)
    refresh(root)
    assert Plan.read(root) == PLAN


def test_a_plan_that_appears_after_the_listing_is_adopted(root, late, monkeypatch):
    begun(root, PLAN)
    late()
    bucket = bucket_of(root)
    if bucket is None:
        monkeypatch.setattr("byrote.store.plan._has_files", lambda root: False)
    else:
        first, whole = iter([True]), type(bucket).list

        def listing(self, prefix=""):
            return {} if next(first, False) else whole(self, prefix)

        monkeypatch.setattr(type(bucket), "list", listing)
    with pytest.raises(ValueError, match="contains study 'study', not 'other'"):
        OTHER.write(root)


def test_other_files_are_refused(root):
    root.mkdir(exist_ok=True, parents=True)
    (root / "mine.txt").write_text("mine")
    share(root, root / "mine.txt")
    with pytest.raises(ValueError, match=r"is not a store and not (an empty folder|empty); choose another"):
        PLAN.write(root)
    assert not (root / "plan.json").exists()


def test_the_draft_of_a_killed_driver_is_no_obstacle(tmp_path, monkeypatch):
    def killed(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "link", killed)
    monkeypatch.setattr("pathlib.Path.unlink", lambda path, missing_ok=False: None)  # the driver removes no files
    with pytest.raises(KeyboardInterrupt):
        PLAN.write(tmp_path)
    monkeypatch.undo()
    assert [path.name[:6] for path in tmp_path.iterdir()] == [".plan."]
    PLAN.write(tmp_path)
    assert Plan.read(tmp_path) == PLAN


@pytest.mark.parametrize("links", [True, False])
def test_one_of_two_studies_that_begin_at_once_gets_the_folder(tmp_path, links, monkeypatch):
    def unsupported(source, target):
        raise OSError(95, "Operation not supported")

    if not links:
        monkeypatch.setattr(os, "link", unsupported)
    for attempt in range(20):
        barrier = Barrier(DRIVERS)

        def begin(plan, store=tmp_path / str(attempt), barrier=barrier):
            barrier.wait()
            try:
                plan.write(store)
            except ValueError as error:
                return str(error)
            return plan.study

        if not links:
            PLAN.write(tmp_path / str(attempt))
        with ThreadPoolExecutor(DRIVERS) as threads:
            answers = set(threads.map(begin, [PLAN, OTHER] * (DRIVERS // 2)))
        (winner,) = answers & {"study", "other"}
        assert winner == Plan.read(tmp_path / str(attempt)).study
        assert all("contains study" in sentence for sentence in answers - {winner})
        assert [path.name for path in (tmp_path / str(attempt)).iterdir()] == ["plan.json"]


def test_a_new_file_never_replaces_one(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    assert create_atomic(path, "first")
    assert not create_atomic(path, "second")
    monkeypatch.setattr(os, "link", lambda source, target: os.rename(source, tmp_path / "no" / "folder"))
    assert not create_atomic(path, "third")
    assert create_atomic(tmp_path / "y.json", "fourth")
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"x.json": "first", "y.json": "fourth"}
