"""For mistyped arguments or studies, and for damaged stores: the right exit code, one sentence, no traceback."""

import contextlib
import importlib.util
import io
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from byrote.cli import main
from byrote.noise import Noise
from byrote.study import Study

from .harness import Case, Refused, fuzz, one_sentence
from .test_components import field_value
from .test_files import damaged

SEALED = importlib.util.find_spec("byrote.store.sealed") is not None
TESTS = Path(__file__).resolve().parent.parent
NUMBERS = [
    "0.1",
    "0",
    "-1",
    "1",
    "2",
    "3",
    "1e-3",
    "1e400",
    "nan",
    "inf",
    "-inf",
    "x",
    "",
    "0x10",
    "1_0",
    "½",
    "99999999999",
]
LAW = ["circle", "disc", "segment", "two-point", "sphere", "ring"]
LOSSES = ["smoothing", "relaxation", "squared", "squared-probabilities", "robust-log", "huber"]
PLACES = ["store", "empty", "nowhere", "file", "", ".", "/dev/null", "a\nb", "~nobody/x", "ü", "x" * 300]
OPTIONS: dict[str, dict[str, list[str]]] = {
    "run": {
        "--scale": ["quick", "small", "", "Quick", "x"],
        "--out": PLACES,
        "--workers": ["1", "0", "-1", "2.5", "x"],
        "--device": ["cpu", "auto", "tpu", "cuda:99", "", "cpu:1"],
        "--precision": ["fp32", "bf16", "fp8", ""],
        "--on": ["serial", "local", "ray", ""],
        "--cohort": ["1", "0", "-3", "x"],
        "--limit": ["0", "-1", "x", ""],
        "--import": ["toys", "nothing", "json", "os.path", "", ".", "a b", "toys:Blobs", "../x"],
        "--accept": ["abcdef", "xyz", "", "0" * 64],
        "--set": [],
        "--keep-weights": [],
    },
    "status": {"--json": []},
    "claims": {"--json": [], "--power": [], "--import": ["toys", "nothing"]},
    "figures": {"--json": [], "--out": PLACES},
    "compact": {"--out": ["file", "/dev/null/x", "out"]},
    "list": {"--json": []},
    "data": {"--json": [], "--folder": PLACES},
    "theory layer-peeled": {
        **dict.fromkeys(["--alpha", "--lambda-w", "--lambda-h"], NUMBERS),
        "--num-classes": ["2", "3", "10", "1", "-2", "2.5", "x", "10000000", "99999999999999999999"],
        "--width": ["2", "3", "10", "0", "x"],
        "--positive": [],
        "--no-positive": [],
        "--bias": [],
        "--json": [],
    },
    "theory dilation": {
        **dict.fromkeys(["--alpha", "--lambda-w", "--lambda-h", "--eta", "--slope"], NUMBERS),
        "--law": LAW,
        "--loss": LOSSES,
        "--width": ["2", "3", "1", "x"],
        "--scale-free": [],
        "--clean-slope": NUMBERS,
        "--json": [],
    },
    "theory theorem": {
        **dict.fromkeys(["--alpha", "--lambda-w", "--lambda-h", "--eta", "--slope"], NUMBERS),
        "--law": LAW,
        "--json": [],
    },
    "theory sweep": {
        **dict.fromkeys(["--alpha", "--lambda-w", "--lambda-h", "--eta", "--slope"], NUMBERS),
        "--points": ["2", "5", "1", "0", "-3", "x", "100000000000000"],
        "--law": LAW,
        "--json": [],
    },
}
POSITIONS: dict[str, list[list[str]]] = {
    "run": [["demo", "demi", "mini.toml", "none.toml", "", "file", "memorization-dilation"]],
    "status": [PLACES],
    "claims": [PLACES],
    "figures": [PLACES],
    "compact": [PLACES],
    "list": [["losses", "noise", "networks", "claims", "loses", "", "data"]],
    "data": [["list", "get", "put"], ["minst", "", "fashion_mnist_subset"]],
    "theory layer-peeled": [],
    "theory dilation": [],
    "theory theorem": [],
    "theory sweep": [["alpha", "eta", "lambda_w", "beta"], NUMBERS, NUMBERS],
}
PATHS = [
    "noise.rate",
    "noise",
    "loss",
    "loss.alpha",
    "training.epochs",
    "training",
    "training.optimizer.lr",
    "seed",
    "x",
]
PATHS += ["data.classes", "network.width", "noise.rate.x", "", ".", "..", "noise.", "start", "data.kind", "split_seed"]
VALUES = [
    "0.1",
    "1.5",
    "cross_entropy",
    "uniform",
    "none",
    "{}",
    "[]",
    "[0, 1]",
    "{kind='focal'}",
    "nan",
    "inf",
    "-1",
    "''",
]
VALUES += ["1e999", "true", "{x=1}", '"', "[", "2024-01-01", "9" * 30, "\n", "toys:Blobs", "no:Thing", "a=b"]


def arguments(case: Case) -> list[str]:
    """Draw a command with some options, mostly well formed; some words are left out, doubled or misspelled."""
    command = case.pick(list(POSITIONS))
    words = [case.pick(options) for options in POSITIONS[command] if case.chance(0.93)]
    for option in case.rng.permutation(list(OPTIONS[command]))[: case.int(0, 3)]:
        name = (
            str(option) if case.chance(0.95) else case.pick([option[:-1], option + "x", "-x", "--", option + "=", "-"])
        )
        values = OPTIONS[command][str(option)]
        words.append(name)
        if option == "--set":
            words.append(case.pick(PATHS) + case.pick(["=", "=", "=", ""]) + case.pick(VALUES))
        elif values:
            words.append(case.pick(values))
    if command == "run":  # valid commands stop before their first run, so nothing is trained
        words += ["--limit", "0"] if "--limit" not in words else []
    if case.chance(0.05):
        words.insert(case.int(0, len(words)), case.pick(["extra", "--help", "-q", "-v", "--version", "\0", "\udce4"]))
    return [*command.split(), *words]


def called(given: list[str]) -> tuple[int, str, str]:
    """Run a command in this process; return its exit code, output and messages."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(given)
        except SystemExit as error:
            raise AssertionError(f"exits with {error.code!r}") from error
    return code, out.getvalue(), err.getvalue()


def judged(given: list[str], code: int, out: str, err: str) -> None:
    """Check that the exit code is documented, and that a refusal is one line on standard error and nothing else."""
    assert code in (0, 1, 2, 130), code
    assert "Traceback" not in err, err
    if code:
        assert out == "", out[:300]
        lines = err.strip().splitlines()
        assert lines, "the command printed no message"
        assert lines[-1].startswith("byrote: "), err
        assert len(lines) == 1 or code == 1, err
        one_sentence(lines[-1])
    elif "--json" in given and out and not {"--help", "--version"} & set(given):
        json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a finished store of two runs, and the other files that arguments may name."""
    root = tmp_path_factory.mktemp("prepared")
    (root / "empty").mkdir()
    (root / "file").write_text("hello")
    text = (
        (TESTS / "sweep" / "mini.toml")
        .read_text()
        .replace("seed = [0, 1]", "seed = [0]")
        .replace("epochs = 4", "epochs = 1")
    )
    (root / "mini.toml").write_text(text.replace('"noise.rate" = [0.1, 0.4]', '"noise.rate" = [0.4]'))
    with contextlib.redirect_stderr(io.StringIO()):
        done = main(
            ["run", str(root / "mini.toml"), "--import", "toys", "--on", "serial", "--out", str(root / "store")]
        )
    assert done == 0
    return root


def copied(case: Case, prepared: Path) -> Path:
    """Copy the prepared files to the folder of the case, and make it the current folder."""
    shutil.copytree(prepared, case.folder, dirs_exist_ok=True)
    os.chdir(case.folder)
    return case.folder


@fuzz(230)
def test_command_lines(case: Case, prepared: Path) -> None:
    """Any list of arguments ends with a documented exit code, and a refusal is one line."""
    copied(case, prepared)
    given = arguments(case)
    case.calls.append(f"byrote {given}")
    judged(given, *called(given))


def study(case: Case) -> dict[str, Any]:
    """Draw a study as parsed from TOML, mostly valid."""
    tree: dict[str, Any] = {
        "name": "mine",
        "base": {"data": {"kind": "fashion_mnist_subset"}, "noise.rate": 0.1},
        "part": [{"name": "a", "axes": {"seed": [0, 1], "loss": ["cross_entropy", {"kind": "focal"}]}}],
        "scales": {"quick": {"training.epochs": 1}},
    }
    for _ in range(case.int(0, 3)):
        _changed(case, tree)
    return tree


def _changed(case: Case, tree: dict[str, Any]) -> None:
    """Replace, remove, rename or add one field of the tree, at any depth."""
    node: Any = tree
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return
        key = case.pick(keys)
        if isinstance(node[key], dict | list) and node[key] and case.chance(0.75):
            node = node[key]
            continue
        break
    way = case.int(0, 3)
    if way == 0 or isinstance(node, list):
        node[key] = field_value(case)
    elif way == 1:
        del node[key]
    elif way == 2:
        node[str(key)[:-1]] = node.pop(key)
    else:
        names = [
            "paired",
            "axes",
            "only",
            "scales",
            "bind",
            "base",
            "loss",
            "default_scale",
            "title",
            "noise.rate",
            "x",
        ]
        node[case.pick(names)] = case.pick([field_value(case), {"seed": [0, 1]}, ["quick"], {"quick": {"base": {}}}])


def toml(value: Any) -> str:
    """Write a value in TOML; a value that TOML cannot express becomes a string."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(k))} = {toml(v)}" for k, v in value.items()) + "}"
    return json.dumps(str(value)).replace("\x7f", "")


@fuzz(130)
def test_studies(case: Case) -> None:
    """A study of random tables plans runs with different keys, or is refused in one sentence."""
    tree = study(case)
    text = "\n".join(f"{json.dumps(key)} = {toml(value)}" for key, value in tree.items())
    path = case.folder / "mine.toml"
    content = text.encode()
    path.write_bytes(damaged(case, content) if case.chance(0.15) else content)
    case.calls.append(text)
    loaded = case.call(Study.load, path)
    if isinstance(loaded, Refused):
        return
    for scale in [*loaded.scale_names, "none"][:3]:
        planned = case.call(loaded.grid, scale, {case.pick(PATHS): field_value(case)} if case.chance(0.1) else None)
        if not isinstance(planned, Refused):
            keys = [experiment.key for _, experiment in planned]
            assert len(set(keys)) == len(keys)
            assert all(isinstance(experiment.noise, Noise) for _, experiment in planned)


def _damage(case: Case, store: Path) -> str:
    """Change one file of a store; returns its name."""
    files = sorted(p for p in store.rglob("*") if p.is_file())
    victim = case.pick(files)
    way = case.int(0, 3)
    if victim.suffix == ".json" and way < 3:
        tree = json.loads(victim.read_text())
        if way == 0 or not isinstance(tree, dict | list):
            tree = field_value(case)
        else:
            _changed(case, tree)
        victim.write_text(json.dumps(tree, default=str))
    elif way == 3 and case.chance(0.3):
        victim.unlink()
    else:
        victim.write_bytes(damaged(case, victim.read_bytes()))
    return str(victim.relative_to(store))


@pytest.mark.skipif(not SEALED, reason="requires stores with checksums in their JSON files")
@fuzz(25)
def test_damaged_stores(case: Case, prepared: Path) -> None:
    """A store with a changed file is read with the same result, or one line names the changed file."""
    root = copied(case, prepared) / "store"
    if case.chance(0.4):
        extra = {"unavailable.json": ["{}", "[]", "3", '{"a": 1}'], ".running/0123456789abcdef.json": ["{}", "[]"]}
        name = case.pick(list(extra))
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(case.pick(extra[name]))
    if case.chance(0.3):
        assert called(["compact", "store"])[0] == 0 or (root / "unavailable.json").exists()
        case.calls.append("byrote compact store")
    case.calls.append("changed: " + ", ".join(_damage(case, root) for _ in range(case.int(1, 2))))
    for given in (["status", "store", "--json"], ["claims", "store", "--json"], ["compact", "store", "--out", "out"]):
        case.calls.append(f"byrote {given}")
        judged(given, *called(given))
    given = ["run", "mini.toml", "--import", "toys", "--on", "serial", "--out", "store", "--limit", "0"]
    case.calls.append(f"byrote {given}")
    judged(given, *called(given))


def _limited() -> None:
    """Limit a process to a minute of processor time, which does not depend on how busy the machine is."""
    resource.setrlimit(resource.RLIMIT_CPU, (60, 60))


@pytest.mark.long
def test_command_lines_as_processes(tmp_path: Path, prepared: Path) -> None:
    """The same lists of arguments, each in a separate process."""
    paths = os.pathsep.join(
        [str(TESTS), *(str(Path(p).resolve()) for p in os.environ.get("PYTHONPATH", "").split(":") if p)]
    )
    environment = dict(os.environ, HOME=str(tmp_path), BYROTE_OFFLINE="1", PYTHONPATH=paths, OMP_NUM_THREADS="1")
    for number in range(40):
        case = Case("test_command_lines_as_processes", number, tmp_path)
        shutil.copytree(prepared, case.folder, dirs_exist_ok=True)
        given = [a for a in arguments(case) if "\0" not in a]
        command = [sys.executable, "-m", "byrote", *given]
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd=case.folder, timeout=600, preexec_fn=_limited
        )
        assert "Traceback" not in done.stderr, (given, done.stderr)
        judged(given, done.returncode, done.stdout, done.stderr)
