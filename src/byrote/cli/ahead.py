"""The cases in which `byrote run` trains nothing: the estimate for `--dry-run`, and the script for `--on slurm`."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from byrote.cli.output import duration, print_table, say

__all__ = ["show_price", "write_script"]


def show_price(study: str, folder: Path, options: Mapping[str, Any]) -> int:
    """Print the runs, FLOP and core-hours of each part, and the total time."""
    from byrote.sweep import price
    from byrote.sweep.executors.local import default_workers

    estimate = price(study, folder, **options)
    rows = [{**part, "core_hours": part["core_seconds"] / 3600} for part in estimate.parts]
    print_table("dry run", ("part", "runs", "flop", "core_hours"), rows)
    there = f" ({estimate.done} of {estimate.planned} are done)" if estimate.done else ""
    words = f"{estimate.runs} runs in {estimate.tasks} tasks{there}, {estimate.flop:.3g} FLOP"
    if estimate.runs and estimate.core_seconds == estimate.core_seconds:
        count = options["workers"] or default_workers(options["device"])
        words += f", about {duration(estimate.core_seconds)} with one worker"
        words += f" and {duration(estimate.seconds)} with {count}"
        words += f" (rates {estimate.source})"
    say(words + "; nothing was written")
    return 0


def write_script(
    study: str,
    folder: Path,
    options: Mapping[str, Any],
    job: tuple[str, str, str, int | None],
    script: Path | None,
    keep_weights: bool,
) -> int:
    """Create the store, and write the script whose array tasks are its drivers."""
    from byrote.store.bucket import public_settings
    from byrote.store.mirror import address_of, bucket_of
    from byrote.study import list_studies
    from byrote.sweep.run import make_store
    from byrote.sweep.slurm import Job, array_script

    array, limit, partition, workers = job
    gpus = 0 if options["device"] == "cpu" else 1
    chosen = Job(array or "0-3", limit or "1:00:00", partition, workers or 1, gpus)
    named = study if study in list_studies() else str(Path(study).resolve())
    address, bucket = address_of(folder), bucket_of(folder)
    if bucket is not None and script is None:
        raise ValueError(
            f"--on slurm with the store {address} requires --script, a file in a folder that every node can reach"
        )
    target = script or folder / "slurm.sh"
    place = (folder if bucket is None else target.parent).resolve()  # the folder for the output of the tasks
    command = [sys.executable, "-m", "byrote", "run", named, "--out", address]
    command += ["--workers", str(chosen.workers)]
    command += _options(options) + ["--keep-weights"] * keep_weights
    variables = {name: os.environ[name] for name in ("PYTHONPATH",) if os.environ.get(name)}
    variables |= {} if bucket is None else public_settings()
    name = address.rpartition("/")[2]
    text = array_script(command, chosen, name=name, folder=os.getcwd(), output=str(place), variables=variables)
    runs = make_store(study, folder, **{name: options[name] for name in ("scale", "overrides", "imports", "accept")})
    (place / "log").mkdir(parents=True, exist_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, "utf-8")
    target.chmod(0o755)
    say(f"wrote {target} for {runs} runs; submit it with: sbatch {target}")
    return 0


def _options(options: Mapping[str, Any]) -> list[str]:
    """Arguments written as options of the command line."""
    named = {"--scale": options["scale"], "--device": options["device"], "--cohort": options["cohort"]}
    named["--max-runs"] = options["limit"]
    words = [word for option, value in named.items() if value for word in (option, str(value))]
    for module in options["imports"]:
        words += ["--import", module]
    for path, value in options["overrides"].items():
        words += ["--set", f"{path}={_toml(value)}"]
    for path, values in options["where"].items():
        words += [word for value in values for word in ("--where", f"{path}={_toml(value)}")]
    return words


def _toml(value: Any) -> str:
    """A value in the form that `path=value` accepts."""
    if value is None:
        return "none"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {_toml(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)
