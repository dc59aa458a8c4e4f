"""Files are complete or absent; content from outside is checked and bounded in size."""

import errno
import hashlib
import http.server
import io
import os
import stat
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byrote import files


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*"))


# ---------------------------------------------------------------------------------------- atomic writes


def test_write_atomic_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "a.txt"
    assert files.write_atomic(target, "one\r\nü\n") == target
    assert target.read_bytes() == "one\r\nü\n".encode()
    files.write_atomic(str(target), b"two")
    assert target.read_bytes() == b"two"
    assert names(tmp_path) == ["a.txt", "deep"]


def test_atomic_keeps_suffix_folder_and_usual_permissions(tmp_path: Path) -> None:
    with files.atomic(tmp_path / "t.parquet") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".parquet"
        assert temporary.name.startswith(".")
        assert not temporary.exists()
        temporary.write_bytes(b"x")
        assert not (tmp_path / "t.parquet").exists()
    (tmp_path / "plain").write_bytes(b"x")
    assert stat.S_IMODE((tmp_path / "t.parquet").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyboardInterrupt()])
def test_atomic_keeps_the_old_file_when_the_block_fails(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "a"
    target.write_text("old")

    def half() -> None:
        with files.atomic(target) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)):
        half()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_full_or_read_only_disk_gives_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, where: str
) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os if where == "fsync" else Path, where, refuse)
    with pytest.raises(files.WriteError) as caught:
        files.write_atomic(target, "new")
    monkeypatch.undo()
    assert str(caught.value) == (f"{target} cannot be written ({os.strerror(code).lower()}); no partial file is left")
    assert caught.value.errno == code
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    def onto_a_full_device() -> None:
        with files.atomic(tmp_path / "never") as temporary:
            temporary.symlink_to("/dev/full")
            temporary.write_bytes(b"x" * 100_000)

    with pytest.raises(files.WriteError, match="no space left"):
        onto_a_full_device()
    assert names(tmp_path) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_writer_with_errors_of_its_own(tmp_path: Path, code: int) -> None:
    def another(text: str) -> None:
        with files.atomic(tmp_path / "a.parquet") as temporary:
            temporary.write_text("half")
            raise RuntimeError(text)  # DuckDB, too, reports a system error only in its message

    with pytest.raises(files.WriteError) as caught:
        another(f'IO Error: Could not write all bytes to file "x": {os.strerror(code)}')
    assert caught.value.errno == code
    assert os.strerror(code).lower() in str(caught.value)
    with pytest.raises(RuntimeError, match="something else"):
        another("something else")
    assert names(tmp_path) == []


def test_a_parent_that_is_a_file_is_a_write_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(files.WriteError, match="cannot be written"):
        files.write_atomic(tmp_path / "a" / "b", "x")


def test_an_error_about_another_file_is_not_redressed(tmp_path: Path) -> None:
    def reads_elsewhere() -> None:
        with files.atomic(tmp_path / "a"):
            raise PermissionError(errno.EACCES, "no", "/elsewhere/input")

    with pytest.raises(PermissionError):
        reads_elsewhere()


def test_content_is_synced_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    sync, replace = os.fsync, Path.replace

    def spy_sync(descriptor: int) -> None:
        order.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    def spy_replace(self: Path, target: Path) -> Path:
        order.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", spy_sync)
    monkeypatch.setattr(Path, "replace", spy_replace)
    files.write_atomic(tmp_path / "a", "x")
    assert order == (["file", "rename", "folder"] if os.name == "posix" else ["file", "rename"])


# -------------------------------------------------------------------------------------------- checksums


@given(st.binary(max_size=2000))
def test_checksums_agree_with_hashlib(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "content"
    path.write_bytes(content)
    assert files.sha256(path) == hashlib.sha256(content).hexdigest()
    assert files.md5(path) == hashlib.md5(content).hexdigest()
    files.verify(path, f"md5:{files.md5(path)}")
    files.verify(path, f"sha256:{files.sha256(path)}")
    with pytest.raises(ValueError, match="is damaged or a different file"):
        files.verify(path, f"sha256:{'0' * 64}")
    with pytest.raises(ValueError, match="a check must start with"):
        files.verify(path, files.md5(path))


def test_cache_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BYROTE_CACHE", str(tmp_path / "mine"))
    assert files.cache_folder() == tmp_path / "mine"
    assert not (tmp_path / "mine").exists()
    monkeypatch.delenv("BYROTE_CACHE")
    if os.name == "posix" and os.uname().sysname == "Linux":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert files.cache_folder() == tmp_path / "byrote"
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv("HOME", str(tmp_path))
        assert files.cache_folder() == tmp_path / ".cache" / "byrote"


# -------------------------------------------------------------------------------------------- downloads

BODY = bytes(range(256)) * 4000  # about 1 MB, which is several chunks


class Handler(http.server.BaseHTTPRequestHandler):
    requested: list[str] = []

    def do_GET(self) -> None:
        type(self).requested.append(self.path)
        if self.path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        if self.path != "/unsaid":
            self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY[:1000] if self.path == "/broken" else BODY)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()


CHECK = f"md5:{hashlib.md5(BODY).hexdigest()}"


def test_download_reports_progress_and_is_not_repeated(server: str, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    path = files.download(f"{server}/a", tmp_path / "a", CHECK, progress=lambda *s: seen.append(s))
    assert path.read_bytes() == BODY
    assert seen[-1] == ("a", len(BODY), len(BODY))
    assert [done for _, done, _ in seen] == sorted({done for _, done, _ in seen})
    assert len(seen) > 2
    Handler.requested.clear()
    files.download(f"{server}/a", path, CHECK)
    assert Handler.requested == []
    path.write_bytes(b"damaged")
    files.download(f"{server}/a", path, CHECK)
    assert path.read_bytes() == BODY
    files.download(f"{server}/unsaid", tmp_path / "b", CHECK, progress=lambda *s: seen.append(s))
    assert seen[-1] == ("b", len(BODY), None)


@pytest.mark.parametrize(
    ("path", "check", "limit", "error", "message"),
    [
        ("/broken", None, 1 << 30, ConnectionError, "was interrupted after 1000 of 1024000 bytes"),
        ("/missing", None, 1 << 30, ConnectionError, "Not Found"),
        ("/a", "md5:00", 1 << 30, ValueError, "damaged or a different file"),
        ("/a", None, len(BODY) - 1, ValueError, "sends more than"),
    ],
)
def test_a_bad_download_leaves_nothing(
    server: str,
    tmp_path: Path,
    path: str,
    check: str | None,
    limit: int,
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        files.download(server + path, tmp_path / "x", check, limit=limit)
    assert names(tmp_path) == []


def test_a_download_of_exactly_the_limit_is_accepted(server: str, tmp_path: Path) -> None:
    assert files.download(f"{server}/a", tmp_path / "x", limit=len(BODY)).stat().st_size == len(BODY)


def test_nobody_listens_and_no_other_schemes(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match="cannot be fetched"):
        files.download("http://127.0.0.1:9/x", tmp_path / "x", timeout=2)
    with pytest.raises(ValueError, match="http"):
        files.download((tmp_path / "x").as_uri(), tmp_path / "y")


# --------------------------------------------------------------------------------------------- archives


def make(path: Path, members: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
            for name, content in members.items():
                opened.writestr(name, content)
        return path
    with tarfile.open(path, "w:gz") as tape:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tape.addfile(info, io.BytesIO(content))
    return path


KINDS = pytest.mark.parametrize("suffix", [".zip", ".tgz"])


@KINDS
def test_extract_all_or_named(tmp_path: Path, suffix: str) -> None:
    archive = make(tmp_path / f"a{suffix}", {"top": b"1", "in/deep": b"22"})
    out = tmp_path / "out"
    assert files.extract(archive, out) == [out / "top", out / "in/deep"]
    assert (out / "in/deep").read_bytes() == b"22"
    one = files.extract(archive, tmp_path / "one", members=("in/deep",))
    assert names(tmp_path / "one") == ["deep", "in"]
    assert one[0].read_bytes() == b"22"
    with pytest.raises(ValueError, match="has no member 'other'"):
        files.extract(archive, tmp_path / "two", members=("top", "other"))
    assert not (tmp_path / "two").exists()


@KINDS
@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "c:evil", "a\\..\\evil"])
def test_no_member_leaves_the_folder(tmp_path: Path, suffix: str, name: str) -> None:
    archive = make(tmp_path / f"a{suffix}", {"good": b"1", name: b"2"})
    with pytest.raises(ValueError, match="would be unpacked outside the target folder"):
        files.extract(archive, tmp_path / "x" / "out")
    assert not list(tmp_path.rglob("evil"))
    assert not list(tmp_path.rglob("good"))


@KINDS
def test_no_size_bomb(tmp_path: Path, suffix: str) -> None:
    archive = make(tmp_path / f"a{suffix}", {"one": b"0" * 600_000, "two": b"0" * 600_000})
    assert archive.stat().st_size < 10_000
    with pytest.raises(ValueError, match="unpacks to more than"):
        files.extract(archive, tmp_path / "out", limit=1_199_999)
    assert not (tmp_path / "out").exists()
    assert len(files.extract(archive, tmp_path / "out", limit=1_200_000)) == 2


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_no_links_or_devices_in_a_tar(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as tape:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = kind, "/etc/passwd"
        tape.addfile(info)
    with pytest.raises(ValueError, match="not a plain file"):
        files.extract(tmp_path / "a.tgz", tmp_path / "out")


def test_no_links_in_a_zip_and_no_member_twice(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as opened:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        opened.writestr(info, "/etc/passwd")
    with pytest.raises(ValueError, match="not a plain file"):
        files.extract(tmp_path / "a.zip", tmp_path / "out")
    with tarfile.open(tmp_path / "b.tgz", "w:gz") as tape:
        for _ in range(2):
            tape.addfile(tarfile.TarInfo("same"))
    with pytest.raises(ValueError, match="'same' twice"):
        files.extract(tmp_path / "b.tgz", tmp_path / "out")


@KINDS
def test_a_broken_archive_gives_one_sentence(tmp_path: Path, suffix: str) -> None:
    archive = make(tmp_path / f"a{suffix}", {"one": os.urandom(5000)})
    whole = archive.read_bytes()
    bad = [whole[:3000], b"", b"no archive"]
    if suffix == ".zip":  # a tar file does not reveal a changed byte, but the files in it have their own checksums
        bad.append(whole[:2000] + b"\0\xff" * 500 + whole[3000:])
    for content in bad:
        archive.write_bytes(content)
        with pytest.raises(ValueError, match=r"is not a complete archive|has no member"):
            files.extract(archive, tmp_path / "out", members=("one",))
        assert names(tmp_path) == [archive.name]
