"""`--on slurm`: an array script whose tasks are drivers on one shared store, without Ray.

Each array task runs the same `byrote run` command on one node. The drivers share the store: each skips the runs that
another driver is training. Two minutes before SLURM's time limit, each driver saves checkpoints and stops by itself.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Job", "array_script", "slurm_seconds"]

_MARGIN = 120.0  # seconds before the time limit at which a driver stops
_ARRAY = re.compile(r"\d+(-\d+(:\d+)?)?(,\d+(-\d+(:\d+)?)?)*(%[1-9]\d*)?")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.,-]*")
_TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d{1,2}))?(?::(\d{1,2}))?")


@dataclass(frozen=True)
class Job:
    """The resources to request from SLURM.

    Args:
        array: the tasks, in a format that sbatch accepts: "0-15", or "0-15%4" for at most four in parallel.
        time: the time limit of each task, in a format that sbatch accepts: minutes, MM:SS, H:MM:SS, D-HH, D-HH:MM or
            D-HH:MM:SS.
        partition: the partition; empty: SLURM's default.
        workers: number of CPUs and of worker processes of each task.
        gpus: number of GPUs of each task.

    Raises:
        ValueError: sbatch would not accept a value.
    """

    array: str = "0-3"
    time: str = "1:00:00"
    partition: str = ""
    workers: int = 1
    gpus: int = 0

    def __post_init__(self) -> None:
        if not _ARRAY.fullmatch(self.array):
            raise ValueError(
                f"`array=` must list tasks in a format of sbatch, such as 0-15 or 0-15%4, got {self.array!r}"
            )
        if self.partition and not _NAME.fullmatch(self.partition):
            raise ValueError(f"`partition=` must consist of letters, digits and _.,-, got {self.partition!r}")
        slurm_seconds(self.time)


def slurm_seconds(text: str) -> float:
    """The seconds in a time limit that is written in a format of sbatch.

    >>> slurm_seconds("90"), slurm_seconds("2:00:00"), slurm_seconds("1-12"), slurm_seconds("1-0:30")
    (5400.0, 7200.0, 129600.0, 88200.0)

    Raises:
        ValueError: the text has a different format, or the time is not above zero.
    """
    match = _TIME.fullmatch(text)
    days, *parts = match.groups() if match else (None,)
    numbers = [int(part) for part in parts if part is not None]
    if days is not None:
        hours, minutes, seconds = (*numbers, 0, 0)[:3]
    elif len(numbers) == 1:
        hours, minutes, seconds = 0, numbers[0], 0
    else:
        hours, minutes, seconds = ([0] * (3 - len(numbers)) + numbers)[-3:] if numbers else (0, 0, 0)
    total = float(int(days or 0) * 86400 + hours * 3600 + minutes * 60 + seconds)
    if not total > 0:
        raise ValueError(
            f"`time=` must be a time limit in a format of sbatch, such as 90 (minutes), 2:00:00 or 1-12, got {text!r}"
        )
    return total


def array_script(
    command: Sequence[str], job: Job, *, name: str, folder: str, output: str, variables: Mapping[str, str]
) -> str:
    """The script for sbatch.

    Args:
        command: the command of each task; the time limit is added to it.
        job: the resources to request.
        name: the name of the job.
        folder: the folder where the command runs and finds the user's modules, as an absolute path that every node can
            reach.
        output: the absolute path of another folder; the output of a task goes into the subfolder `log` of that folder.
        variables: environment variables of the command; no secrets, since the script is a file.
    """
    limit = slurm_seconds(job.time)
    lines = ["#!/bin/bash", f"#SBATCH --job-name={_directive(name)}", f"#SBATCH --array={job.array}"]
    lines += [f"#SBATCH --time={job.time}", "#SBATCH --nodes=1", "#SBATCH --ntasks=1"]
    lines += [f"#SBATCH --cpus-per-task={job.workers}"]
    lines += [f"#SBATCH --partition={job.partition}"] * bool(job.partition)
    lines += [f"#SBATCH --gpus-per-node={job.gpus}"] * bool(job.gpus)
    lines += [f"#SBATCH --output={_directive(f'{output}/log/slurm-%A_%a.txt')}", "#SBATCH --open-mode=append", ""]
    lines += ["# Each array task is a driver on the same store. Submit with: sbatch THIS_FILE", "set -eu"]
    lines += [f"cd {shlex.quote(folder)}", "export OMP_NUM_THREADS=1"]
    if any(word.startswith("s3://") for word in command):
        lines += ["# Credentials come from the environment of sbatch or the role of the node, never from this file."]
    lines += [f"export {variable}={shlex.quote(value)}" for variable, value in variables.items()]
    lines += ['echo "task ${SLURM_ARRAY_TASK_ID:-0} of job ${SLURM_ARRAY_JOB_ID:-0} on $(hostname)"']
    words = [*command, "--max-time", f"{max(limit - _MARGIN, limit / 2):.0f}"]
    return "\n".join([*lines, f"exec {shlex.join(words)}"]) + "\n"


def _directive(text: str) -> str:
    """A value for an #SBATCH line, in quotes if necessary, because sbatch splits the line at spaces."""
    if any(sign in text for sign in '"\n\\'):
        raise ValueError(f"an #SBATCH line cannot contain quotes, backslashes or line breaks, got {text!r}")
    return text if re.fullmatch(r"[\w./%@:+,=-]+", text) else f'"{text}"'
