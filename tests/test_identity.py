"""A key depends on the content of files (not their names), and on the code of modules (not comments)."""

import importlib
import os
import subprocess
import sys
import textwrap

import pytest

from byrote.identity import (
    content_name,
    file_digest,
    has_source,
    identity,
    module_of,
    modules_in,
    run_key,
    source_digest,
)

MODULE = '''
"""What this module is for."""
import math
from collections.abc import Sequence

import numpy as np

RATE = 0.5


class Mine:
    """A class."""

    def value(self, x: float) -> float:
        """A method."""
        # a comment
        return math.exp(x) * RATE


async def later(xs: Sequence[float]) -> float:
    """A coroutine."""
    return float(np.sum(xs))
'''

SAME = {
    "comments": MODULE.replace("# a comment", "# another\n        # and more"),
    "no comment": MODULE.replace("        # a comment\n", ""),
    "the docstring of the module": MODULE.replace("What this module is for.", "Something else."),
    "the docstring of a class": MODULE.replace("A class.", "Another class."),
    "the docstring of a method": MODULE.replace("A method.", "Another method."),
    "the docstring of a coroutine": MODULE.replace("A coroutine.", "Another."),
    "no docstring": MODULE.replace('    """A class."""\n\n', ""),
    "blank lines": MODULE.replace("\n\n\n", "\n"),
    "layout": MODULE.replace("math.exp(x) * RATE", "(math.exp(\n            x\n        ) * RATE)"),
    "quotes": MODULE.replace('"""A method."""', "'A method.'"),
    "line ends": MODULE.replace("\n", "\r\n"),
}
OTHER = {
    "a constant": MODULE.replace("RATE = 0.5", "RATE = 0.25"),
    "the type of a constant": MODULE.replace("RATE = 0.5", "RATE = 1").replace("= 1", "= True"),
    "an operator": MODULE.replace("exp(x) *", "exp(x) /"),
    "a name": MODULE.replace("math.exp", "math.expm1"),
    "an argument": MODULE.replace("x: float", "x: int"),
    "an import": MODULE.replace("import numpy as np", "import numpy.ma as np"),
    "a text that is no docstring": MODULE.replace("RATE = 0.5", 'RATE = 0.5\nNOTE = "A method."'),
    "an expression first": MODULE.replace("        # a comment\n", "        x += 1\n"),
    "a decorator": MODULE.replace("class Mine:", "@staticmethod\nclass Mine:"),
    "a default": MODULE.replace("x: float)", "x: float = 2)"),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Yield a folder on sys.path; unload its modules afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def write(folder, **modules):
    for name, text in modules.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), newline="")
    importlib.invalidate_caches()


def test_layout_comments_and_docstrings_do_not_count(folder):
    write(folder, own_one=MODULE)
    digest = source_digest("own_one")
    for why, text in SAME.items():
        assert text != MODULE, why
        write(folder, own_one=text)
        assert source_digest("own_one") == digest, why


def test_everything_that_is_carried_out_counts(folder):
    write(folder, own_one=MODULE)
    digests = {"as it is": source_digest("own_one")}
    for why, text in OTHER.items():
        assert text != MODULE, why
        write(folder, own_one=text)
        digests[why] = source_digest("own_one")
    assert len(set(digests.values())) == len(digests), digests
    assert all(len(digest) == 16 and set(digest) <= set("0123456789abcdef") for digest in digests.values())


IMPORTS = {
    "import": ("import own_help", "own_help"),
    "import under another name": ("import own_help as h", "own_help"),
    "a name from it": ("from own_help import value", "own_help"),
    "inside a function": ("def late():\n    from own_help import value\n    return value", "own_help"),
    "through another": ("import own_between", "own_help"),
    "from a package": ("from own_pack import inner", "own_pack/inner"),
    "a module of a package": ("import own_pack.inner", "own_pack/inner"),
    "a name from a module of a package": ("from own_pack.inner import value", "own_pack/inner"),
    "the package around it": ("from own_shell.core import value", "own_shell/__init__"),
    "its neighbor in the package": ("import own_pack.inner", "own_pack/beside"),
    "from a folder without __init__": ("from own_space import deep", "own_space/deep"),
}


@pytest.mark.parametrize("why", IMPORTS)
def test_the_users_modules_that_it_imports_count(folder, why):
    statement, changed = IMPORTS[why]
    modules = {
        "own_help": "value = 1",
        "own_between": "import own_help",
        "own_pack/__init__": "",
        "own_pack/inner": "from . import beside\nfrom .beside import value",
        "own_pack/beside": "value = 1",
        "own_shell/__init__": "",
        "own_shell/core": "value = 1",
        "own_space/deep": "value = 1",
        "own_other": "value = 1",
        "own_main": statement,
    }
    write(folder, **modules)
    digest = source_digest("own_main")
    write(folder, **{changed: modules[changed] + "\nmore = 2"})
    assert source_digest("own_main") != digest
    write(folder, **{changed: modules[changed] + "\n# only a comment"}, own_other="value = 2")
    assert source_digest("own_main") == digest, (
        "comments, and modules that it does not import, do not change the digest"
    )
    importlib.import_module("own_main")
    assert source_digest("own_main") == digest, "importing the module does not change the digest"


def test_nothing_is_imported_to_find_a_digest(folder):
    write(
        folder,
        **{
            "own_loud": "raise RuntimeError('imported')",
            "own_noisy/__init__": "raise RuntimeError('imported')",
            "own_noisy/inner": "value = 1",
            "own_main": "import own_loud\nimport own_noisy.inner\nimport matplotlib.pyplot\nimport tkinter.ttk",
        },
    )
    before = set(sys.modules)
    source_digest("own_main")
    assert {name for name in set(sys.modules) - before if name.startswith(("own_", "matplotlib", "tkinter"))} == set()


def test_modules_that_import_each_other_have_a_digest(folder):
    write(folder, own_a="import own_b", own_b="import own_a\nvalue = 1")
    one, other = source_digest("own_a"), source_digest("own_b")
    write(folder, own_b="import own_a\nvalue = 2")
    assert source_digest("own_a") != one
    assert source_digest("own_b") != other


def test_installed_packages_byrote_and_the_standard_library_do_not_count(folder, monkeypatch):
    write(folder, own_main="import json, numpy, pydantic\nimport byrote.losses\nfrom byrote.losses import base")
    digest = source_digest("own_main")
    monkeypatch.setattr("byrote.identity._parsed", _only("own_main"))
    assert source_digest("own_main") == digest


def _only(expected):
    from byrote import identity as module

    original = module._parsed

    def parsed(source, path, name):
        assert name == expected, f"only the module {expected} may be parsed, got {name} ({path})"
        return original(source, path, name)

    return parsed


def test_the_digest_is_the_same_in_every_process_and_folder(folder, tmp_path_factory):
    write(folder, own_one=MODULE, own_two="import own_one")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write(elsewhere, own_one=MODULE, own_two="import own_one")
    code = "from byrote.identity import source_digest; print(source_digest('own_two'))"
    path = os.pathsep.join([str(elsewhere), os.environ.get("PYTHONPATH", "")])
    for seed in ("0", "1"):
        environment = dict(os.environ, PYTHONPATH=path, PYTHONHASHSEED=seed)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        assert done.stdout.strip() == source_digest("own_two"), done.stderr


def test_a_module_that_cannot_be_told_gives_one_sentence(folder):
    with pytest.raises(ValueError, match=r"source of module 'own_nowhere' cannot be found"):
        source_digest("own_nowhere")
    write(folder, own_bad="def (")
    with pytest.raises(ValueError, match=r"module 'own_bad' .* cannot be parsed"):
        source_digest("own_bad")
    write(folder, own_main="import own_bad")
    with pytest.raises(ValueError, match=r"module 'own_bad' .* cannot be parsed"):
        source_digest("own_main")


def test_a_module_without_a_file_has_no_source(monkeypatch):
    import types

    monkeypatch.setitem(sys.modules, "own_session", types.ModuleType("own_session"))
    assert not has_source("own_session")
    assert has_source("toys")


def test_a_file_is_named_by_its_bytes(tmp_path):
    one, other = tmp_path / "a.npz", tmp_path / "b.npz"
    one.write_bytes(b"content")
    other.write_bytes(b"content")
    assert file_digest(one) == file_digest(other) == file_digest(str(one))
    assert file_digest(one) == "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
    for _ in range(20):  # the digest is right even if the file changes within one tick of the clock
        other.write_bytes(b"Content")
        assert file_digest(other) != file_digest(one)
        other.write_bytes(b"content")
        assert file_digest(other) == file_digest(one)


def test_a_file_that_keeps_its_time_and_size_is_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr("byrote.identity._SETTLED", -1e9)  # trust the times of every file, even a new one
    path = tmp_path / "a.npz"
    path.write_bytes(b"content")
    before, digest = path.stat(), file_digest(path)
    path.unlink()
    path.write_bytes(b"Content")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file_digest(path) != digest


def test_a_file_is_not_read_twice_while_it_stays_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("byrote.identity._SETTLED", -1e9)
    path = tmp_path / "large.npz"
    path.write_bytes(b"content")
    digest = file_digest(path)
    monkeypatch.setattr("byrote.identity._hashed", lambda path: pytest.fail("it was read again"))
    assert file_digest(path) == digest


def test_a_folder_is_named_by_its_files_and_their_places(tmp_path):
    def make(name, **files):
        for inside, text in files.items():
            path = tmp_path / name / inside.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return file_digest(tmp_path / name)

    digest = make("a", cats__1="x", dogs__1="y")
    assert make("b", dogs__1="y", cats__1="x") == digest
    others = [
        make("c", cats__1="x", dogs__1="z"),
        make("d", cats__1="x", dogs__2="y"),
        make("e", cats__1="x", dogs__1="y", dogs__2="y"),
        make("f", cats__1="y", dogs__1="x"),
        make("g", cats__1="x"),
    ]
    assert len({digest, *others}) == 6
    with pytest.raises(FileNotFoundError, match="there is no file or folder"):
        file_digest(tmp_path / "nothing")


def test_what_a_spec_names_is_replaced_by_its_content_wherever_it_stands():
    spec = {
        "data": {"kind": "arrays", "path": "a.npz", "sha256": "12"},
        "loss": {"kind": "mine.deep:Loss", "inner": [{"kind": "mine.deep:Other"}, {"kind": "cross_entropy"}]},
        "network": {"kind": "own", "factory": "nets:make", "head": "out"},
        "sha256": "stays",
    }
    contents = {"file:a.npz": "aa", "module:mine.deep": "bb", "module:nets": "cc", "file:other": "dd"}
    assert identity(spec, contents) == {
        "data": {"kind": "arrays", "path": "aa"},
        "loss": {"kind": "bb:Loss", "inner": [{"kind": "bb:Other"}, {"kind": "cross_entropy"}]},
        "network": {"kind": "own", "factory": "cc:make", "head": "out"},
        "sha256": "stays",
    }
    assert identity(spec, {})["loss"]["kind"] == "mine.deep:Loss"
    assert sorted(set(modules_in(spec))) == ["mine.deep", "nets"]
    assert (module_of("mine.deep:Loss"), module_of("byrote.own:x"), module_of("plain")) == ("mine.deep", "", "")


def test_one_content_under_two_names_is_one_run_and_one_name_with_two_contents_are_two():
    def key(path, content):
        return run_key({"data": {"kind": "arrays", "path": path}}, {f"file:{path}": content})

    assert key("a/mine.npz", "11") == key("b/yours.npz", "11")
    assert key("a/mine.npz", "11") != key("a/mine.npz", "22")


def test_a_content_is_named_in_words():
    assert content_name("module:mine", "0123456789abcdef") == "mine 0123456789ab"
    assert content_name("file:C:/a.npz", "0" * 64) == "C:/a.npz 000000000000"
