"""Files that users name: only plain files are read, names are taken literally, and changes are noticed."""

import hashlib
import os
import socket
from pathlib import Path

import pytest

from byrote import inputs


def test_only_plain_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "good").write_bytes(b"12")
    (tmp_path / "to good").symlink_to("good")
    with socket.socket(socket.AF_UNIX) as endpoint:
        here = Path.cwd()
        os.chdir(tmp_path)  # Unix sockets need a short path
        endpoint.bind("socket")
        os.chdir(here)
    for name, kind in (("pipe", "a named pipe"), ("socket", "a socket"), ("", "a folder")):
        with pytest.raises(ValueError, match=f"expected a table, but .* is {kind}$"):
            inputs.plain_file(tmp_path / name, "a table")
    with pytest.raises(ValueError, match=r"is a device$"):
        inputs.read("/dev/zero", 10)
    with pytest.raises(FileNotFoundError, match="there is only a broken link at"):
        inputs.plain_file(tmp_path / "link")
    with pytest.raises(ValueError, match="cannot be read: too many levels"):
        inputs.plain_file(tmp_path / "loop")
    for name in ("good/below", "no\0thing", "absent"):
        with pytest.raises(FileNotFoundError, match="there is no file at"):
            inputs.plain_file(tmp_path / name)
    assert inputs.read(tmp_path / "to good", 2) == b"12"
    with pytest.raises(ValueError, match=r"at most 1 bytes, but .* has 2 bytes"):
        inputs.read(tmp_path / "good", 1)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"1")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    for read in (lambda: inputs.read(tmp_path / "a", 9), lambda: inputs.digest(tmp_path / "a")):
        with pytest.raises(ValueError, match=r"a cannot be read: permission denied$"):
            read()


def test_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a").write_bytes(b"1")
    assert inputs.read("~/a", 9) == b"1"


def test_every_change_of_content_is_seen(tmp_path: Path) -> None:
    """Every change is noticed, even a change in place that keeps the size and restores the modification time."""
    path = tmp_path / "a"
    path.write_bytes(b"old!")
    os.utime(path, ns=(10**18, 10**18))
    seen = {inputs.stamp([path])}
    assert inputs.digest(path) == hashlib.sha256(b"old!").hexdigest()
    for content in (b"new!", b"why?", b"old?"):
        path.write_bytes(content)
        os.utime(path, ns=(10**18, 10**18))
        stamp = inputs.stamp([path])
        assert stamp not in seen
        seen.add(stamp)
        assert inputs.digest(path) == hashlib.sha256(content).hexdigest()
    other = tmp_path / "b"
    other.write_bytes(b"old?")
    os.utime(other, ns=(10**18, 10**18))
    other.replace(path)
    assert inputs.stamp([path]) not in seen


def test_a_young_file_is_known_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new file is recognized by its content, because the file system's clock may not advance between two writes."""
    path = tmp_path / "a"
    path.write_bytes(b"1")
    mark = inputs.fingerprint(path)
    monkeypatch.setattr(inputs, "fingerprint", lambda _: mark)
    first, name = inputs.stamp([path]), inputs.content(path, [path])
    path.write_bytes(b"2")
    assert inputs.stamp([path]) != first
    assert inputs.content(path, [path]) != name
    monkeypatch.setattr("time.time_ns", lambda: mark[-1] + 10**10)
    assert inputs.stamp([path]) == ((mark, ""),)  # an old file is recognized by its times


def test_the_content_of_an_old_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"1")
    later = inputs.fingerprint(path)[-1] + 10**10
    monkeypatch.setattr("time.time_ns", lambda: later)
    reads = []
    real = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *given: reads.append(1) or real(*given))
    assert inputs.content(path, [path]) == inputs.digest(path) == hashlib.sha256(b"1").hexdigest()
    assert inputs.content(tmp_path, [path]) == inputs.content(tmp_path, [path])
    assert reads == [1]


def test_the_content_of_a_folder_by_hand(tmp_path: Path) -> None:
    for name, content in (("b/y", b"2"), ("a/x", b"1"), ("a z", b"3"), ("left out", b"4")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    state = hashlib.sha256()
    for name, content in (("a z", b"3"), ("a/x", b"1"), ("b/y", b"2")):
        state.update(name.encode() + b"\0" + hashlib.sha256(content).hexdigest().encode() + b"\n")
    files = [tmp_path / "b/y", tmp_path / "a z", tmp_path / "a/x"]
    assert inputs.content(tmp_path, files) == inputs.content(tmp_path, files[::-1]) == state.hexdigest()
    moved = tmp_path.with_name("moved")
    tmp_path.rename(moved)
    assert inputs.content(moved, [moved / p.relative_to(tmp_path) for p in files]) == state.hexdigest()
    (moved / "a z").rename(moved / "a y")
    assert inputs.content(moved, [moved / "b/y", moved / "a y", moved / "a/x"]) != state.hexdigest()


def test_memory_is_checked_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 << 20 < inputs.available_memory() < 1 << 60
    monkeypatch.setattr(inputs, "available_memory", lambda: 3 << 30)
    inputs.fits(3 << 30, "it")
    with pytest.raises(ValueError, match=r"^it would take 4\.5 GiB of memory, but only 3\.0 GiB are available: use"):
        inputs.fits(9 << 29, "it")


@pytest.mark.parametrize(
    "name",
    [
        "a[1]*?.csv",
        "back\\slash[x].csv",
        "100%25 #&{a,b}'\"$;.csv",
        "~a.csv",
        "new\nline.csv",
        os.fsdecode(b"\xff.csv"),
    ],
)
def test_a_table_is_read_under_its_own_name(tmp_path: Path, name: str) -> None:
    import duckdb

    folder = tmp_path / "label=3" / "s3:[ab]"
    folder.mkdir(parents=True)
    (folder / name).write_text("a\n7\n")
    for other in ("a1.csv", "ab.csv", "back.csv"):
        (folder / other).write_text("a\n8\n")
    with inputs.table_name(folder / name) as link, duckdb.connect() as connection:
        assert connection.execute("SELECT * FROM read_csv(?, hive_partitioning=false)", [link]).fetchall() == [(7,)]
