"""`byrote data` lists published data sets and downloads them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from byrote import data
from byrote.cli import main
from byrote.data.fetch.sources import Collection

from .conftest import put
from .test_sources import remote


def test_data_list(capsys: pytest.CaptureFixture[str], tiny_mnist: Collection, tiny_idx: dict[str, bytes]) -> None:
    put(tiny_mnist.cache, tiny_idx)
    assert main(["data", "list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(rows) == {"fashion_mnist_subset", *data.COLLECTIONS}
    assert rows["fashion_mnist_subset"]["here"] == "inside the package"
    assert rows["svhn"]["here"] is None
    assert main(["data", "list"]) == 0
    assert "cifar10n" in capsys.readouterr().out


def test_data_get(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    tiny_mnist: Collection,
    tiny_idx: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    collection = remote(tiny_mnist, monkeypatch)
    root = put(tmp_path / "root", tiny_idx)
    assert main(["data", "get", "mnist", "--folder", str(root), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == [{"name": "mnist", "source": f"the folder {root}", "folder": str(collection.cache)}]
    assert f"mnist: available from the folder {root}" in err.replace("\n", "")


def test_the_progress_bar_follows_each_file(monkeypatch: pytest.MonkeyPatch) -> None:
    from byrote.cli.data import _Bar

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with _Bar() as bar:
        for done in (10, 20):
            bar.report("a", done, 20)
        bar.report("b", 5, None)
    first, second = bar._progress.tasks
    assert (first.description, first.completed, first.total) == ("a", 20, 20)
    assert (second.description, second.completed, second.total) == ("b", 5, None)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["mnits"], 2, "did you mean 'mnist'?"),
        ([], 2, "name a data set"),
        (["mnist"], 1, "mnist could not be obtained; tried: the cache"),
    ],
)
def test_data_get_says_one_line(
    capsys: pytest.CaptureFixture[str],
    tiny_mnist: Collection,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    remote(tiny_mnist, monkeypatch)
    assert main(["data", "get", *arguments]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_data_get_of_a_damaged_folder_is_a_wrong_request(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    tiny_mnist: Collection,
    tiny_idx: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    collection = remote(tiny_mnist, monkeypatch)
    root = put(tmp_path / "root", tiny_idx | {"train-images-idx3-ubyte": b"x"})
    assert main(["data", "get", "mnist", "--folder", str(root)]) == 2
    assert "damaged or a different file" in capsys.readouterr().err
    assert not collection.cache.exists()


def test_listing_and_importing_never_load_torch() -> None:
    code = "import sys; from byrote.cli import main; main(['data', 'list']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
