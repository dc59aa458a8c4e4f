"""The command line as a user sees it: messages, exit codes, and no traceback for a mistake."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import byrote
from byrote import __version__
from byrote.cli import main
from byrote.store import committed

TESTS = Path(__file__).resolve().parent.parent
MINI = str(TESTS / "sweep" / "mini.toml")
RUN = ["run", MINI, "--import", "toys", "--on", "serial"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("cli") / "store"
    assert main([*RUN, "--out", str(root)]) == 0
    return root


def environment(**changes):
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    return dict(os.environ, PYTHONPATH=path, PYTHONUNBUFFERED="1") | changes


def command(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "byrote", *arguments], capture_output=True, text=True, env=environment(), **options
    )


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"byrote {__version__}"


def test_help_lists_the_commands(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    commands = ["run", "status", "claims", "figures", "report", "compact", "merge", "list", "data", "theory", "cancel"]
    for name in commands:
        assert f"{name} " in out


def test_run_says_what_is_kept_and_what_to_type_next(store, capsys):
    assert main([*RUN, "--out", str(store)]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "8 of 8 runs are already done" in captured.err
    assert f"byrote report {store}" in captured.err


def test_quiet_is_quiet(store, capsys):
    assert main(["-q", *RUN, "--out", str(store)]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.long
def test_progress_can_be_read_in_a_file(tmp_path):
    done = command("run", MINI, "--import", "toys", "--out", str(tmp_path / "s"), "--workers", "1")
    assert done.returncode == 0
    assert "0/8 runs" in done.stderr
    assert "8/8 runs" in done.stderr
    assert "J1 0." in done.stderr
    assert "\x1b" not in done.stderr


def test_status_as_words_and_as_json(store, capsys):
    assert main(["status", str(store)]) == 0
    assert "mini\t\t8\t0\t0\t8\t0" in capsys.readouterr().out
    assert main(["status", str(store), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["done"] == 8


def test_compact_writes_where_it_says(store, tmp_path, capsys):
    assert main(["compact", str(store), "--out", str(tmp_path / "results")]) == 0
    captured = capsys.readouterr()
    assert (captured.out, f"into {tmp_path / 'results'}" in captured.err) == ("", True)
    names = {path.name for path in (tmp_path / "results").iterdir()}
    assert names == {"table.parquet", "runs.parquet", "features.parquet", "about.json"}


def test_a_part_is_compacted_and_stores_are_merged(store, tmp_path, capsys):
    part = byrote.open(store).results.runs["part"][0]
    assert main(["compact", str(store), "--out", str(tmp_path / "results"), "--part", part]) == 0
    assert f"part {part}, into {tmp_path / 'results'}" in capsys.readouterr().err
    shutil.copytree(store, tmp_path / "copy")
    assert main(["merge", str(store), str(tmp_path / "copy"), "--out", str(tmp_path / "joined")]) == 0
    assert "runs copied into" in capsys.readouterr().err
    assert committed(tmp_path / "joined") == committed(store)
    assert main(["merge", str(store), "--out", str(tmp_path / "joined")]) == 2
    assert "at least two stores" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["status"], ["compact"], ["claims"], ["report"], RUN])
def test_a_store_of_the_first_format_gives_one_line_that_says_what_to_do(command, tmp_path, capsys):
    old = tmp_path / "old"
    old.mkdir()
    (old / "plan.json").write_text('{"format": 1, "study": "mini", "entries": [{"key": "0123456789abcdef"}]}')
    before = {path.name: path.read_bytes() for path in old.iterdir()}
    assert main([*command, *(["--out"] if command is RUN else []), str(old)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.strip().splitlines()
    assert (
        "plan.json has format 1, but this version of byrote reads format 2; run the study again into another --out"
        in line
    )
    assert {path.name: path.read_bytes() for path in old.iterdir()} == before


@pytest.mark.parametrize("command", ["claims", "report", "compact"])
def test_compacted_results_of_the_first_format_are_one_line_that_says_what_to_do(command, tmp_path, capsys):
    (tmp_path / "table.parquet").write_bytes(b"PAR1")
    (tmp_path / "about.json").write_text('{\n "study": "mini",\n "specs": {}\n}\n')
    assert main([command, str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "has results of format 1, but this version of byrote reads format 2; compact the store again" in line


def test_claims_as_json_have_the_contracts_keys(store, capsys):
    assert main(["claims", str(store), "--json"]) == 0
    verdicts = json.loads(capsys.readouterr().out)
    for verdict in verdicts:
        assert {"id", "statement", "verdict", "statistic", "interval", "bar", "runs", "published"} <= set(verdict)
        assert verdict["verdict"] in ("holds", "fails", "inconclusive", "not tested")
    (identity,) = [v for v in verdicts if v["id"] == "B7"]
    assert identity["verdict"] == "holds"


def test_report_and_figures_write_where_they_say(store, tmp_path, capsys):
    assert main(["report", str(store), "--out", str(tmp_path / "page")]) == 0
    page = tmp_path / "page"
    assert (page / "index.html").stat().st_size > 100_000
    assert json.loads((page / "verdicts.json").read_text())
    assert {p.suffix for p in (page / "figures").iterdir()} == {".svg", ".pdf", ".csv"}
    assert main(["figures", str(store), "--out", str(tmp_path / "f"), "--json"]) == 0
    listed = [file for row in json.loads(capsys.readouterr().out) for file in row["files"]]
    assert sorted(listed) == sorted(str(p) for p in (tmp_path / "f").iterdir())


def test_report_names_a_folder_of_figures_only_where_there_is_one(store, tmp_path, capsys, monkeypatch):
    names = ("index.html", "verdicts.json", "figures", "tables")
    page, verdicts, drawn, tables = (tmp_path / "page" / name for name in names)
    assert main(["report", str(store), "--out", str(tmp_path / "page")]) == 0
    assert f"wrote {page}, {verdicts}, {drawn} and {tables}\n" in capsys.readouterr().err
    monkeypatch.setattr("byrote.figures.base._REGISTRY", {})  # pretend that no figure can be drawn from these data
    monkeypatch.setattr("byrote.figures.base.registered", list)
    page, verdicts, tables = (tmp_path / "bare" / name for name in ("index.html", "verdicts.json", "tables"))
    assert main(["report", str(store), "--out", str(tmp_path / "bare")]) == 0
    assert f"wrote {page}, {verdicts} and {tables}\n" in capsys.readouterr().err
    assert not (tmp_path / "bare" / "figures").exists()


def test_compacted_results_answer_like_the_store(store, tmp_path, capsys):
    assert main(["compact", str(store), "--out", str(tmp_path / "results")]) == 0
    capsys.readouterr()
    assert main(["claims", str(tmp_path / "results"), "--json"]) == 0
    compacted = capsys.readouterr().out
    assert main(["claims", str(store), "--json"]) == 0
    assert capsys.readouterr().out == compacted


@pytest.mark.parametrize("what", ["losses", "noise", "networks", "data", "studies", "claims"])
def test_lists(what, capsys):
    assert main(["list", what, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows
    assert main(["list", what]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(rows) + 1


MISTAKES = [
    (["run", "demi"], "did you mean 'demo'"),
    (["runn", "demo"], "run"),
    (["run", "demo", "--scal", "quick"], "--scale"),
    (["run", MINI, "--set", "noise.rate"], "path=value"),
    (["run", MINI, "--import", "toys", "--set", "noise.rat=0.1"], "did you mean 'rate'"),
    (["run", MINI, "--import", "toys", "--set", "noise.rate=1.5"], "less than 1"),
    (["run", MINI, "--import", "toys", "--set", "loss.kind=cross_entopy"], "did you mean 'cross_entropy'"),
    (["run", MINI, "--import", "toys", "--set", "data.classes=[0, 7]"], "7"),
    (["run", MINI, "--import", "toys", "--set", "data.poisoned=true"], "must be finite"),
    (["run", MINI, "--import", "toyz"], "toyz"),
    (["run", MINI, "--import", "toys", "--workers", "0"], "--workers must be at least 1"),
    (["run", MINI, "--import", "toys", "--device", "tpu9"], "cannot be used"),
    (["run", MINI, "--import", "toys", "--accept", "abcdef"], "known: none"),
    (["list", "loses"], "losses"),
    (["status", "/nowhere"], "not a store"),
    (["claims", "/nowhere"], "neither a store nor a results folder"),
    (["report", "/nowhere"], "neither a store nor a results folder"),
    (["data", "get", "minst"], "mnist"),
    (["theory", "layer-peeled", "--alpha", "1.5"], "alpha"),
]


@pytest.mark.parametrize(
    ("arguments", "sentence"), MISTAKES, ids=lambda v: " ".join(v)[-40:] if isinstance(v, list) else ""
)
def test_a_mistake_gives_one_line_and_exit_code_two(arguments, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.strip().splitlines()) == 1, captured.err
    assert captured.err.startswith("byrote: ")
    assert sentence in captured.err
    assert list(tmp_path.iterdir()) == [], "no half-written file is left"


def test_a_component_of_a_module_that_cannot_be_found_is_named(tmp_path):
    arguments = [sys.executable, "-m", "byrote", "run", MINI, "--out", str(tmp_path / "s")]
    paths = [Path(p).resolve() for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    alone = dict(os.environ, PYTHONPATH=os.pathsep.join(str(p) for p in paths if p != TESTS))
    done = subprocess.run(arguments, capture_output=True, text=True, env=alone, cwd=tmp_path)
    assert done.returncode == 2
    assert "'toys:Blobs' cannot be imported" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_broken_task_is_exit_code_one_with_what_is_kept(tmp_path, capsys):
    arguments = [*RUN, "--out", str(tmp_path / "s"), "--set", "loss=toys:Broken", "--set", "noise.rate=0.1"]
    assert main(arguments) == 1
    stderr = capsys.readouterr().err
    assert "2 runs raised an exception, the first is " in stderr
    assert stderr.count('raise RuntimeError("this loss is broken")') == 1
    last = stderr.splitlines()[-1]
    assert "RuntimeError: this loss is broken (toys.py, line " in last
    assert f"; 0 of 2 runs are stored in {tmp_path / 's'}" in last


def test_a_diverging_run_is_reported_and_kept(tmp_path, capsys):
    arguments = [*RUN, "--out", str(tmp_path / "s"), "--set", "loss=toys:Explosive", "--set", "noise.rate=0.1"]
    assert main(arguments) == 3
    assert "2 runs diverged, the first is " in capsys.readouterr().err
    assert main(arguments) == 3, "the exit code reports diverged runs even if no run is left to train"
    assert main(["status", str(tmp_path / "s"), "--json"]) == 0
    state = json.loads(capsys.readouterr().out)
    assert state["failed"] == 2
    assert "diverged in epoch 1" in state["failures"][0]["error"]


def test_a_folder_that_cannot_be_written_is_exit_code_two(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main([*RUN, "--out", str(tmp_path / "file" / "store")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_no_color_and_pipes_give_plain_text():
    for arguments in (["list", "losses"], ["runn"]):
        done = command(*arguments)
        assert "\x1b" not in done.stdout + done.stderr


def test_a_reader_that_goes_away_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m byrote list losses --json | head -1",
        shell=True,
        capture_output=True,
        text=True,
        env=environment(),
    )
    assert done.stderr == ""
    assert done.stdout.startswith("[")


def wait_for(condition, seconds=60.0):
    for _ in range(int(seconds * 20)):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("the sweep did not reach the expected state in time")


def started(root, *more):
    arguments = ["run", MINI, "--import", "toys", "--out", str(root), "--set", "training.epochs=60", *more]
    return subprocess.Popen(
        [sys.executable, "-m", "byrote", *arguments],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=environment(),
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # enable SIGINT, which background jobs ignore
    )


def contents(root):
    return {
        f"{key}/{file.name}": file.read_bytes()
        for key in committed(root)
        for file in (root / key).iterdir()
        if file.name != "manifest.json"
    }


@pytest.mark.slow
@pytest.mark.long
def test_ctrl_c_is_130_with_what_is_kept_and_the_workers_end(tmp_path):
    root = tmp_path / "s"
    # many runs are still unfinished when the first one is stored
    process = started(root, "--workers", "2", "--cohort", "1")
    wait_for(lambda: committed(root))
    os.kill(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"of 8 runs are stored in {root}, " in stderr
    assert "Traceback" not in stderr
    wait_for(lambda: not _group(process.pid), 20)


def _group(leader):
    pids = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == leader and fields[0] != "Z":
                pids.append(int(entry.name))
    return pids


@pytest.mark.slow
@pytest.mark.long
def test_kill_9_of_the_whole_group_then_the_same_command(tmp_path):
    """The second command trains only the missing runs; the final table equals that of an uninterrupted sweep."""
    calm, root = tmp_path / "calm", tmp_path / "killed"
    undisturbed = started(calm, "--workers", "2")
    for kills in (1, 3):
        process = started(root, "--workers", "2", "--cohort", "1")
        wait_for(lambda least=kills: len(committed(root)) >= least)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()
    before = {key: (root / key).stat().st_mtime_ns for key in committed(root)}
    assert 0 < len(before) < 8
    last = started(root, "--workers", "2")
    _, stderr = last.communicate(timeout=120)
    assert last.returncode == 0
    assert f"{len(before)} of 8 runs are already done" in stderr
    assert all((root / key).stat().st_mtime_ns == stamp for key, stamp in before.items())
    undisturbed.communicate(timeout=120)
    assert len(committed(root)) == 8
    assert contents(root) == contents(calm)
    assert not list(root.glob(".draft-*"))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can mount a file system")
@pytest.mark.long
def test_a_disk_that_fills_up_gives_one_line_and_keeps_what_is_whole(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=140k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        done = command("run", MINI, "--import", "toys", "--out", str(disk / "s"), "--workers", "1")
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr
        last = done.stderr.strip().splitlines()[-1]
        count = len(committed(disk / "s"))
        assert f"{count} of 8 runs are stored" in last
        assert 0 < count < 8
        assert not list((disk / "s").glob(".draft-*"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("arguments", [["status", "a\nb"], ["compact", "a\rb\x1b[1m"], ["run", "a\nb.toml"]])
def test_a_refusal_gives_one_line_whatever_a_path_has_in_it(arguments, capsys):
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.isprintable()
    assert f"byrote: {line[8:]}" == line


def test_what_does_not_fit_into_memory_gives_one_line(capsys):
    assert main(["theory", "layer-peeled", "--num-classes", "100000000"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("byrote: the command needs more memory than is available: ")


@pytest.mark.parametrize(("low", "high"), [("0.1", "-1"), ("0.1", "nan"), ("inf", "1"), ("0", "1"), ("-1", "2")])
def test_a_sweep_between_odd_ends_gives_one_line(low, high, capsys):
    assert main(["theory", "sweep", "eta", low, high]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "both ends must be above 0" in line or "between finite values" in line
