"""Output of a command before any training: the selected runs, their cost, and the SLURM script."""

import math
import os
import shutil
import subprocess

import pytest
from toys import tiny

from byrote.cli import main
from byrote.store import Plan, committed
from byrote.study import Study
from byrote.sweep import Task, price, run
from byrote.sweep.choose import chosen
from byrote.sweep.plan import by_worth, plan_study
from byrote.sweep.slurm import Job, array_script, slurm_seconds

from .test_run import MINI, files, importable  # noqa: F401

RUN = ["run", str(MINI), "--import", "toys"]


@pytest.fixture(scope="module")
def entries():
    plan, _ = plan_study(Study.load(MINI), imports=["toys"])
    return plan.entries


@pytest.mark.parametrize(
    ("where", "count"),
    [
        ({"noise.rate": [0.4]}, 4),
        ({"noise.rate": [0.1, 0.4]}, 8),
        ({"loss": ["cross_entropy"], "noise.rate": [0.4]}, 2),
        ({"loss.kind": ["robust_log"], "seed": [1.0], "noise.rate": [0.1]}, 1),
        ({"part": ["grid"]}, 8),
        ({"network": ["mlp"], "training.optimizer.kind": ["sgd"]}, 8),
    ],
)
def test_runs_are_chosen_by_their_fields(entries, where, count):
    keys = chosen(entries, where)
    assert len(keys) == count
    for entry in entries:
        if "noise.rate" in where:
            assert (entry.spec["noise"]["rate"] in where["noise.rate"]) or entry.key not in keys


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ({"noise.rat": [0.1]}, "no run has a field 'noise.rat'; did you mean 'noise.rate'"),
        ({"noise.rate": [0.3]}, "no run has noise.rate = 0.3; the runs have 0.1, 0.4"),
        ({"seed": [True]}, "no run has seed = True"),
    ],
)
def test_what_no_run_has_gives_one_sentence(entries, where, sentence):
    with pytest.raises(ValueError, match=sentence):
        chosen(entries, where)


def test_where_trains_those_runs_and_the_rest_stays_planned(tmp_path, capsys):
    root = tmp_path / "s"
    assert main([*RUN, "--on", "serial", "--out", str(root), "--where", "noise.rate=0.4", "--where", "seed=1"]) == 0
    assert len(committed(root)) == 2
    assert len(Plan.read(root).entries) == 8
    assert main([*RUN, "--on", "serial", "--out", str(root), "--where", "noise.rat=0.4"]) == 2
    rest = run(MINI, root, imports=["toys"], on="serial")
    assert (rest.done_before, rest.done) == (2, 8)


def test_a_dry_run_writes_nothing_and_adds_up(tmp_path, capsys):
    root = tmp_path / "s"
    assert main([*RUN, "--out", str(root), "--dry-run", "--workers", "2", "--where", "seed=0"]) == 0
    captured = capsys.readouterr()
    assert not root.exists()
    assert captured.out.splitlines()[0] == "part\truns\tflop\tcore_hours"
    assert captured.out.splitlines()[1].startswith("grid\t4\t")
    assert "4 runs in 2 tasks, " in captured.err
    assert "timed here" in captured.err
    assert captured.err.strip().endswith("nothing was written")
    flop = 4 * 2 * 3 * 80 * 4 * (16 * 16 + 16 * 2)  # runs, FLOP per weight, passes, samples, epochs, weights
    estimate = price(MINI, root, imports=["toys"], where={"seed": [0]})
    assert estimate.flop == pytest.approx(flop, rel=0.2)
    assert estimate.flop == pytest.approx(sum(part["flop"] for part in estimate.parts))
    assert 0 < estimate.seconds <= estimate.core_seconds < 60


def test_a_dry_run_takes_its_rate_from_the_store(tmp_path):
    some = run(MINI, tmp_path / "s", imports=["toys"], on="serial", limit=4)
    estimate = price(MINI, some.root, imports=["toys"])
    assert (estimate.planned, estimate.done, estimate.runs) == (8, 4, 4)
    assert estimate.source == "from 4 runs in the store"
    assert math.isfinite(estimate.core_seconds)


@pytest.mark.long
def test_the_script_of_slurm_is_a_driver_a_task(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--array", "0-2%2", "--time", "0:10:00", "--partition", "short", "--workers", "1"]
    further = ["--where", "noise.rate=0.1", "--set", "training.epochs=2", "--cohort", "2", "--keep-weights"]
    assert main([*RUN, "--out", "a store", "--on", "slurm", *options, *further]) == 0
    script = tmp_path / "a store" / "slurm.sh"
    text = script.read_text()
    for line in ("#SBATCH --array=0-2%2", "#SBATCH --time=0:10:00", "#SBATCH --partition=short"):
        assert line in text.splitlines()
    assert f'#SBATCH --output="{tmp_path}/a store/log/slurm-%A_%a.txt"' in text
    assert "--max-time 480" in text
    assert len(Plan.read(tmp_path / "a store").entries) == 8
    assert committed(tmp_path / "a store") == []
    assert subprocess.run(["bash", "-n", str(script)]).returncode == 0
    if shutil.which("shellcheck"):
        assert subprocess.run(["shellcheck", str(script)]).returncode == 0
    environment = dict(os.environ, SLURM_ARRAY_TASK_ID="1", SLURM_ARRAY_JOB_ID="7")
    done = subprocess.run(["bash", str(script)], capture_output=True, text=True, env=environment, cwd="/")
    assert done.returncode == 0, done.stderr
    assert "task 1 of job 7 on " in done.stdout
    assert len(committed(tmp_path / "a store")) == 4
    assert len(list((tmp_path / "a store").glob("*/weights.safetensors"))) == 4
    calm = run(
        MINI,
        tmp_path / "calm",
        imports=["toys"],
        on="serial",
        overrides={"training.epochs": 2},
        where={"noise.rate": [0.1]},
        keep_weights=True,
    )
    assert files(tmp_path / "a store") == files(calm.root)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--array", "0-3; rm"], "--array must list tasks"),
        (["--array", "0-3%0"], "--array must list tasks"),
        (["--time", "soon"], "--time must be a time limit"),
        (["--time", "0"], "--time must be a time limit"),
        (["--partition", "a b"], "--partition must consist"),
        (["--partition", "a\nb"], "--partition must consist"),
    ],
)
def test_what_sbatch_would_not_take_gives_one_sentence_and_nothing_is_written(tmp_path, options, sentence, capsys):
    assert main([*RUN, "--out", str(tmp_path / "s"), "--on", "slurm", *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line
    assert list(tmp_path.iterdir()) == []


def test_options_of_slurm_are_for_slurm(tmp_path, capsys):
    assert main([*RUN, "--out", str(tmp_path / "s"), "--array", "0-3"]) == 2
    assert "require --on slurm, got --on local" in capsys.readouterr().err
    assert main([*RUN, "--out", str(tmp_path / "s"), "--address", "auto"]) == 2
    assert "--address and --gpus-per-task require --on ray, got --on local" in capsys.readouterr().err


def test_time_limits_of_slurm():
    limits = {"5": 300, "5:30": 330, "1:00:05": 3605, "2-3": 183600, "2-3:30": 185400, "2-3:30:01": 185401}
    assert {text: slurm_seconds(text) for text in limits} == limits


def test_words_are_quoted_in_the_script():
    text = array_script(
        ["byrote", "run", "it's"], Job(), name="n", folder="/a b", output="/s", variables={"PYTHONPATH": "it's"}
    )
    assert "cd '/a b'" in text
    assert """export PYTHONPATH='it'"'"'s'""" in text
    assert """exec byrote run 'it'"'"'s' --max-time 3480""" in text
    with pytest.raises(ValueError, match="cannot contain quotes"):
        array_script(["byrote"], Job(), name='a"b', folder="/", output="/s", variables={})


def test_tasks_of_the_highest_worth_start_first():
    costs = {"a": 1.0, "b": 9.0, "c": 5.0}
    one, other, third = (Task(name, (tiny(seed=s),), costs[name]) for s, name in enumerate("abc"))
    order = [task.name for task in by_worth([one, other, third], {one.keys[0]: 2.0, third.keys[0]: 3.0})]
    assert order == ["c", "a", "b"]
    assert [task.name for task in by_worth([one, other, third], {})] == ["b", "c", "a"]


def test_first_claims_trains_the_same_runs(tmp_path):
    arguments = [*RUN, "--on", "serial", "--out", str(tmp_path / "s"), "--first", "claims"]
    assert main([*arguments, "--max-runs", "4"]) == 0
    assert main(arguments) == 0
    assert len(committed(tmp_path / "s")) == 8
