"""With a store in a bucket, `--on ray` and `--on slurm` give the same bits and write no credentials to any file."""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from byrote.cli import main
from byrote.files import cache_folder
from byrote.store import Plan, mirror
from byrote.store.bucket import public_settings
from byrote.store.mirror import bucket_of, located, refresh
from byrote.sweep import run

from .sweeps import end_with_children
from .test_executors import pretended  # noqa: F401
from .test_long_ray import free_port, ray_node
from .test_run import MINI, files, importable  # noqa: F401

for package in ("obstore", "moto", "flask", "boto3"):
    pytest.importorskip(package)

TESTS = Path(__file__).resolve().parent.parent
SECRET = "a-secret-that-nobody-may-write-down"
SLURM = ["run", str(MINI), "--import", "toys", "--on", "slurm"]


@pytest.fixture(scope="module")
def server():
    from buckets import served

    with served() as address:
        yield address


def cache_of(folder):
    """Make a cache folder as on another machine, with this machine's compiled kernels, which take long to build."""
    with suppress(FileNotFoundError):
        shutil.copytree(cache_folder() / "kernels", folder / "kernels")
    return str(folder)


@pytest.fixture
def url(server, tmp_path, monkeypatch):
    """Return the address of a new store, which has no local copy on this machine yet."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("BYROTE_CACHE", cache_of(tmp_path / "cache"))
    return f"s3://bucket/{tmp_path.name}/store"


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """Return the files of an uninterrupted sweep, stored in a folder."""
    sys.path.append(str(TESTS)) if str(TESTS) not in sys.path else None
    return files(run(MINI, tmp_path_factory.mktemp("calm") / "store", imports=["toys"], on="serial").root)


def written_down(*folders):
    """Return whether any file in these folders contains the secret."""
    paths = [path for folder in folders for path in Path(folder).rglob("*") if path.is_file()]
    return [path for path in paths if SECRET.encode() in path.read_bytes()]


def in_bucket(url):
    """Return all objects of a store with their contents."""
    bucket = bucket_of(located(url))
    return {name: bucket.read(name)[0] for name in bucket.list()}


def test_a_ray_worker_on_another_machine_works_on_the_bucket(url, server, calm, tmp_path, pretended, monkeypatch):  # noqa: F811
    carried_out = pretended.wait

    def elsewhere(references, **options):
        # this simulated machine has only the credentials in its environment, and its own copy of the store
        with monkeypatch.context() as there:
            there.delenv("AWS_ENDPOINT_URL")
            there.delenv("AWS_REGION")
            there.setattr(mirror, "cache_folder", lambda: tmp_path / "there")
            return carried_out(references, **options)

    monkeypatch.setattr(pretended, "wait", elsewhere)
    outcome = run(MINI, url, imports=["toys"], on="ray", workers=2, cohort=2)
    assert outcome.done == 8
    assert files(outcome.root) == calm
    assert (tmp_path / "there" / "stores").is_dir()
    assert {task["root"] for task in pretended.calls} == {url}
    assert pretended.calls[0]["bucket"] == {"AWS_ENDPOINT_URL": server, "AWS_REGION": "us-east-1"}
    assert SECRET not in str(pretended.calls)
    assert "env_vars" not in str(pretended.init_options), (
        "credentials must not be in the runtime environment, which Ray writes to its logs"
    )


def test_a_worker_keeps_the_endpoint_of_its_own_environment(url, pretended, monkeypatch):  # noqa: F811
    from byrote.store.bucket import adopt_settings, endpoint

    given = public_settings()
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    adopt_settings(given)
    assert endpoint() == "http://127.0.0.1:9"
    assert public_settings() == {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9", "AWS_REGION": "us-east-1"}


@pytest.mark.parametrize("names", [["AWS_ACCESS_KEY_ID"], ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]])
def test_a_worker_without_credentials_ends_the_sweep(names, url, tmp_path, pretended, monkeypatch):  # noqa: F811
    carried_out = pretended.wait

    def elsewhere(references, **options):
        with monkeypatch.context() as there:
            for name in names:
                there.delenv(name)
            there.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
            there.setattr(mirror, "cache_folder", lambda: tmp_path / "there")
            there.setattr("byrote.store.bucket._RETRIES", 0)
            return carried_out(references, **options)

    monkeypatch.setattr(pretended, "wait", elsewhere)
    with pytest.raises(
        OSError, match=r"set AWS_ACCESS_KEY_ID and .*; the workers of a running cluster have the env.*ray start"
    ):
        run(MINI, url, imports=["toys"], on="ray", workers=2)


def test_the_script_of_slurm_names_the_bucket_and_no_secret(url, server, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "jobs" / "sweep.sh"
    assert main([*SLURM, "--out", url, "--script", str(script)]) == 0
    lines = script.read_text().splitlines()
    assert f"export AWS_ENDPOINT_URL={shlex.quote(server)}" in lines
    assert "export AWS_REGION=us-east-1" in lines
    assert f" --out {url} " in lines[-1]
    assert f"#SBATCH --output={script.parent}/log/slurm-%A_%a.txt" in lines
    assert "#SBATCH --job-name=store" in lines
    assert len(Plan.read(located(url)).entries) == 8
    assert sorted(path.name for path in script.parent.iterdir()) == ["log", "sweep.sh"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "jobs"]
    assert not written_down(tmp_path)


def test_without_a_place_for_the_script_nothing_is_made(url, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*SLURM, "--out", url]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"byrote: --on slurm with the store {url} requires --script, a file in a folder that every node can reach"
    )
    assert main([*SLURM, "--out", url, "--script", f"{url}/slurm.sh"]) == 2
    assert "--script must be a path on this machine" in capsys.readouterr().err
    assert in_bucket(url) == {}
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


@pytest.mark.long
def test_two_array_tasks_of_slurm_share_the_bucket(url, calm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "sweep.sh"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]))
    assert main([*SLURM, "--out", url, "--script", str(script), "--time", "0:10:00", "--cohort", "2"]) == 0
    tasks = []
    for number in ("0", "1"):
        own = {
            "SLURM_ARRAY_TASK_ID": number,
            "SLURM_ARRAY_JOB_ID": "7",
            "BYROTE_CACHE": cache_of(tmp_path / number),
        }
        there = {name: value for name, value in os.environ.items() if name not in ("AWS_ENDPOINT_URL", "AWS_REGION")}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        tasks.append(subprocess.Popen(["bash", str(script)], env=there | own, cwd="/", **pipes))
    ended = [task.communicate(timeout=300)[0] for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], ended
    refresh(located(url))
    assert files(located(url)) == calm
    assert not written_down(tmp_path)


@pytest.fixture
def ended_nodes():
    """Collect Ray nodes, and end them with all their processes after the test."""
    nodes = []
    yield nodes
    for node in nodes:
        end_with_children(node)


@pytest.mark.long
@pytest.mark.parametrize("cluster", ["private", "running"])
def test_ray_itself_works_on_the_bucket_and_writes_no_secret(url, calm, cluster, tmp_path, monkeypatch, ended_nodes):
    pytest.importorskip("ray")
    folder = tempfile.mkdtemp(prefix="byrote-ray-")  # Unix sockets need a short path
    monkeypatch.setenv("TMPDIR", folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-m", "byrote", "run", str(MINI), "--import", "toys", "--out", url, "--on", "ray"]
    if cluster == "running":
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        monkeypatch.setenv("RAY_AUTH_TOKEN", "0123456789abcdef" * 4)
        port = str(free_port())
        head = ["--head", "--port", port, "--ray-client-server-port", str(free_port()), "--include-dashboard", "false"]
        with monkeypatch.context() as there:  # the node has the credentials; the driver passes on the other variables
            there.delenv("AWS_ENDPOINT_URL")
            there.delenv("AWS_REGION")
            there.setenv("BYROTE_CACHE", cache_of(tmp_path / "there"))
            node, address = ray_node(tmp_path / "head.txt", *head, "--temp-dir", folder)
        ended_nodes.append(node)
        command += ["--address", f"{address}:{port}"]
    try:
        done = subprocess.run([*command, "--workers", "2"], env=os.environ, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        refresh(located(url))
        assert files(located(url)) == calm
        assert (tmp_path / "there" / "stores").exists() == (cluster == "running")
        assert not written_down(tmp_path, folder)
        assert not any(SECRET.encode() in data for data in in_bucket(url).values())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
