"""Compacted tables belong to one version of the store; a damaged or unfinished version is rebuilt from the runs."""

import os
import shutil
import sys
import threading
from pathlib import Path

import pytest
from toys import tiny

import byrote
from byrote.cli.main import main
from byrote.files.atomic import put
from byrote.store import Entry, Plan, commit, compact, compacted, mirror
from byrote.store.mirror import located, refresh
from byrote.training import train

EXPERIMENTS = [tiny(seed=seed) for seed in range(3)]
NAMES = ["table.parquet", "runs.parquet", "features.parquet", "about.json"]


@pytest.fixture(scope="module")
def runs():
    return train(EXPERIMENTS)


@pytest.fixture
def root(tmp_path, runs):
    """Make a store that contains two of its three planned runs."""
    root = tmp_path / "a store"
    Plan("study", "", {}, (), tuple(Entry(e.key, "part", e.spec(), e.contents) for e in EXPERIMENTS)).write(root)
    for run in runs[:2]:
        commit(root, run)
    return root


@pytest.fixture
def patient(monkeypatch):
    """Make readers not wait for a process that writes tables."""
    monkeypatch.setattr(compacted, "_PAUSE", 0.0)


def tables(root):
    results = byrote.open(root).results
    return results.runs, results.history, results.features


def spoil(path, how):
    if how == "removed":
        path.unlink()
    else:
        content = path.read_bytes()
        path.write_bytes(content[:-9] + bytes([content[-9] ^ 4]) + content[-8:])


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("how", ["removed", "altered"])
@pytest.mark.parametrize("name", NAMES)
def test_damaged_tables_are_written_again_from_the_runs(root, runs, name, how):
    commit(root, runs[2])
    wanted = tables(root)
    compact(root)
    before = {name: (root / name).read_bytes() for name in NAMES}
    spoil(root / name, how)
    if name != "table.parquet" or how == "altered":
        with pytest.raises(ValueError, match=r"run `byrote compact` again"):
            tables(root)
    compact(root)
    assert tables(root) == wanted
    assert {name: (root / name).read_bytes() for name in NAMES} == before


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("name", ["table.parquet", "features.parquet", "runs.parquet"])
def test_runs_that_only_damaged_tables_hold_are_not_given_up_silently(root, name, runs, capsys):
    commit(root, runs[2])
    wanted = tables(root)
    compact(root)
    whole = (root / name).read_bytes()
    shutil.rmtree(root / runs[0].key)
    assert tables(root) == wanted
    spoil(root / name, "altered")
    before = (root / name).read_bytes()
    assert main(["compact", str(root)]) == 2
    sentence = capsys.readouterr().err
    assert f"{root / name} is damaged, and only 2 of 3 runs have a folder" in sentence
    assert "\n" not in sentence.strip()
    assert (root / name).read_bytes() == before
    (root / name).write_bytes(whole)
    assert tables(root) == wanted
    spoil(root / name, "altered")
    (root / "table.parquet").unlink()
    compact(root)
    assert set(tables(root)[0]["key"]) == {run.key for run in runs[1:]}


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("names", range(5))
def test_a_kill_between_the_names_loses_nothing(root, runs, names, monkeypatch):
    old = tables(root)
    compact(root)
    commit(root, runs[2])
    calls = iter(range(9))

    def killed(*arguments):
        if next(calls) == names:
            raise KeyboardInterrupt
        put(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["byrote.files.atomic"], "put", killed)
        if names < 4:
            with pytest.raises(KeyboardInterrupt):
                compact(root)
        else:
            compact(root)
    if names in (0, 4):
        whole = tables(root)
    else:
        with pytest.raises(ValueError, match="run `byrote compact` again where the runs are"):
            tables(root)
        compact(root)
        whole = tables(root)
    assert whole[0]["key"].tolist() == [run.key for run in runs]
    assert set(old[1]["key"]) < set(whole[1]["key"])
    assert not list(root.glob(".*.tmp*"))


def test_a_reader_beside_a_writer_sees_one_version(root, runs, tmp_path):
    """While a folder is read, its tables are repeatedly replaced: two runs, three runs, two runs, and so on."""
    two = compact(root, tmp_path / "two")
    commit(root, runs[2])
    three = compact(root, tmp_path / "three")
    wanted = [tables(two), tables(three)]
    shown = tmp_path / "shown"
    shutil.copytree(two, shown)
    ended = threading.Event()

    def write():
        for turn in range(40):
            source = (three, two)[turn % 2]
            drafts = []
            for name in ("features.parquet", "table.parquet", "runs.parquet", "about.json"):
                drafts.append(shown / f".{name}.tmp")
                shutil.copy(source / name, drafts[-1])
            for draft in drafts:
                os.replace(draft, shown / draft.name[1:-4])
        ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    read, sentences = 0, []
    while not ended.is_set():
        try:
            assert tables(shown) in wanted
            read += 1
        except compacted.CompactedError as error:
            sentences.append(str(error))
    writer.join()
    assert tables(shown) in wanted
    assert read
    assert all("was replaced while it was read; open" in sentence for sentence in sentences)


def test_a_table_that_is_replaced_twice_while_it_is_read_is_read_again(root, runs, tmp_path, monkeypatch):
    """Its checksum is right before and after, but the columns came from the table between the two."""
    first = compact(root, tmp_path / "first")
    commit(root, runs[2])
    second = compact(root, tmp_path / "second")
    wanted, turns = byrote.open(first).results.history["key"].tolist(), iter(range(9))
    shown = shutil.copytree(first, tmp_path / "shown")
    opened = byrote.open(shown).results.history
    fetch = byrote.store.parquet._fetch

    def put_there(source):
        shutil.copy(source / "table.parquet", shown / "draft")
        os.replace(shown / "draft", shown / "table.parquet")

    class Replaced:
        def fetchnumpy(self):
            if next(turns) > 0:
                return fetch(*self.query).fetchnumpy()
            put_there(second)
            columns = fetch(*self.query).fetchnumpy()
            put_there(first)
            return columns

    def query(*arguments, **named):
        replaced = Replaced()
        replaced.query = arguments
        return replaced

    monkeypatch.setattr(byrote.store.parquet, "_fetch", query)
    assert opened["key"].tolist() == wanted
    assert next(turns) == 2


def test_tables_that_were_replaced_after_they_were_opened_are_refused(root, runs):
    compact(root)
    opened, again = byrote.open(root).results, byrote.open(root).results
    for name in NAMES[:3]:
        shutil.copy(root / name, root / f"copy-of-{name}")
        os.replace(root / f"copy-of-{name}", root / name)
    assert len(opened.history["key"]), "a replaced file with equal content can still be read"
    commit(root, runs[2])
    compact(root)
    with pytest.raises(ValueError, match=r"table\.parquet was replaced while it was read; open .* again"):
        _ = again.history["key"]
    with pytest.raises(ValueError, match=r"features\.parquet was replaced while it was read"):
        _ = again.features


def test_a_table_that_is_empty_now_is_removed(root, runs):
    compact(root)
    for run in runs[:2]:
        (root / run.key / "features.parquet").unlink()
        manifest = byrote.store.runs.read_manifest(root, run.key)
        manifest["files"].pop("features.parquet")
        byrote.store.sealed.write_sealed(root / run.key / "manifest.json", manifest)
    (root / "table.parquet").unlink()
    compact(root)
    assert not (root / "features.parquet").exists()
    assert len(byrote.open(root).results.features) == 0


def test_the_copy_of_a_bucket_keeps_its_compacted_tables(root, tmp_path, monkeypatch, capsys):
    """In an earlier version, `features.parquet`, as long as a run key, was mistaken for a deleted run."""
    for package in ("obstore", "moto", "flask", "boto3"):
        pytest.importorskip(package)
    from buckets import served

    monkeypatch.setattr(mirror, "cache_folder", lambda: tmp_path / "cache")
    wanted = tables(root)
    with served():
        url = f"s3://bucket/{tmp_path.name}"
        copy = located(url)
        Plan.read(root).write(copy)
        for key in (entry.key for entry in Plan.read(root).entries[:2]):
            shutil.copytree(root / key, copy / key)
            assert mirror.upload_run(copy, key, copy / key, lambda: True)
        for _ in range(3):
            assert main(["compact", url]) == 0, capsys.readouterr().err
            assert main(["claims", url, "--json"]) == 0
            for _ in range(2):  # of two refreshes, the second would fetch what the first removed
                refresh(copy)
                assert all((copy / name).is_file() for name in NAMES)
            assert tables(copy) == wanted


def test_what_is_uploaded_during_a_listing_is_kept(root, tmp_path, monkeypatch):
    for package in ("obstore", "moto", "flask", "boto3"):
        pytest.importorskip(package)
    from buckets import served

    monkeypatch.setattr(mirror, "cache_folder", lambda: tmp_path / "cache")
    with served():
        copy = located(f"s3://bucket/{tmp_path.name}")
        Plan.read(root).write(copy)
        bucket = mirror.bucket_of(copy)
        listing = type(bucket).list

        def late(self, prefix=""):
            there = listing(self, prefix)
            (copy / "table.parquet").write_bytes(b"new")
            mirror.share(copy, Path(copy / "table.parquet"))
            return there

        with monkeypatch.context() as patch:
            patch.setattr(type(bucket), "list", late)
            refresh(copy)
        assert (copy / "table.parquet").read_bytes() == b"new"
