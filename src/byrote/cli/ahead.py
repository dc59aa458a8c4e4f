"""What `byrote run` does before anything is trained: `--dry-run`, and the script of `--on slurm`."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from byrote.cli.output import duration, print_table, say

__all__ = ["show_price", "write_script"]


def show_price(study: str, folder: Path, asked: Mapping[str, Any]) -> int:
    """Print runs, FLOP and core-hours of each part, and say what all takes together."""
    from byrote.sweep import price
    from byrote.sweep.executors.local import default_workers

    found = price(study, folder, **asked)
    rows = [{**part, "core_hours": part["core_seconds"] / 3600} for part in found.parts]
    print_table("dry run", ("part", "runs", "flop", "core_hours"), rows)
    there = f" ({found.done} of {found.planned} are there)" if found.done else ""
    words = f"{found.runs} runs in {found.tasks} tasks{there}, {found.flop:.3g} FLOP"
    if found.runs and found.core_seconds == found.core_seconds:
        count = asked["workers"] or default_workers(asked["device"])
        words += f", about {duration(found.core_seconds)} on one worker and {duration(found.seconds)} on {count}"
        words += f" (rates {found.source})"
    say(words + "; nothing was written")
    return 0


def write_script(
    study: str,
    folder: Path,
    asked: Mapping[str, Any],
    job: tuple[str, str, str, int | None],
    script: Path | None,
    keep_weights: bool,
) -> int:
    """Make the store, and write the script whose array tasks are drivers on it."""
    from byrote.study import list_studies
    from byrote.sweep.run import make_store
    from byrote.sweep.slurm import Job, array_script

    array, limit, partition, workers = job
    gpus = 0 if asked["device"] == "cpu" else 1
    chosen = Job(array or "0-3", limit or "1:00:00", partition, workers or 1, gpus)
    named = study if study in list_studies() else str(Path(study).resolve())
    store = folder.resolve()
    command = [sys.executable, "-m", "byrote", "run", named, "--out", str(store), "--workers", str(chosen.workers)]
    command += _options(asked) + ["--keep-weights"] * keep_weights
    path = os.environ.get("PYTHONPATH", "")
    text = array_script(command, chosen, name=store.name, folder=os.getcwd(), store=str(store), python_path=path)
    runs = make_store(study, folder, **{name: asked[name] for name in ("scale", "overrides", "imports", "accept")})
    target = script or store / "slurm.sh"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, "utf-8")
    target.chmod(0o755)
    say(f"wrote {target} for {runs} runs; submit it with: sbatch {target}")
    return 0


def _options(asked: Mapping[str, Any]) -> list[str]:
    """The options as the command line takes them."""
    named = {"--scale": asked["scale"], "--device": asked["device"], "--cohort": asked["cohort"]}
    named["--max-runs"] = asked["limit"]
    words = [word for option, value in named.items() if value for word in (option, str(value))]
    for module in asked["imports"]:
        words += ["--import", module]
    for path, value in asked["overrides"].items():
        words += ["--set", f"{path}={_toml(value)}"]
    for path, values in asked["where"].items():
        words += [word for value in values for word in ("--where", f"{path}={_toml(value)}")]
    return words


def _toml(value: Any) -> str:
    """A value as `path=value` takes it."""
    if value is None:
        return "none"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {_toml(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)
