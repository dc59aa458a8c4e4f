"""Turn a study into tasks: find the missing runs, and group the runs that are trained together."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from byrote.component import digest
from byrote.experiment import Experiment
from byrote.identity import modules_in
from byrote.networks.mlp import dense_weights
from byrote.store import Entry, Plan
from byrote.store.uncollected import uncollected
from byrote.study import Study
from byrote.sweep.cost import training_cost
from byrote.training import cohort_key

__all__ = ["Task", "by_worth", "plan_study", "tasks", "together"]

_FEW, _MANY, _SMALL = 4, 16, 2**20


@dataclass(frozen=True)
class Task:
    """Runs that one worker trains as one cohort.

    Args:
        name: the name of the complete cohort, under which its checkpoint is found even after some members are done.
        experiments: the members that are not done yet.
        cost: the multiply-adds of training them all.
    """

    name: str
    experiments: tuple[Experiment, ...]
    cost: float = 0.0

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the members."""
        return tuple(experiment.key for experiment in self.experiments)


def together(experiment: Experiment, device: str) -> int:
    """The default cohort size for runs like this experiment.

    On a CPU the runs of a cohort go through the kernels one after another, which saves Python's overhead in each step:
    up to a third of the time for dense networks of width 128, a few percent at width 256 (docs/engine.md), and nothing
    for larger networks. On an accelerator one call computes all runs; a cohort that does not fit into memory is halved.
    """
    if device != "cpu":
        return _MANY
    return _FEW if 0 < dense_weights(experiment.network) <= _SMALL else 1


@uncollected()
def plan_study(
    study: Study,
    scale: str = "",
    overrides: Mapping[str, Any] | None = None,
    imports: Sequence[str] = (),
    file: str = "",
) -> tuple[Plan, dict[str, Experiment]]:
    """The plan of a study at a scale, and its experiments by key.

    Args:
        study, scale, overrides: see `Study.grid`.
        imports: the user's modules, which are recorded in the plan.
        file: the TOML file that the study was read from; empty for a built-in study.

    Raises:
        ValueError: an unknown scale, component, field or value, or a module without a source file.
    """
    grid = study.grid(scale, overrides)
    if not grid:
        raise ValueError(f"study {study.name!r} has no runs at scale {scale!r}")
    entries = tuple(Entry(e.key, part.name, e.spec(), e.contents, part.bind or ()) for part, e in grid)
    for entry in entries:
        for module in modules_in(entry.spec):
            if f"module:{module}" not in entry.contents:
                raise ValueError(
                    "the components of a study must be in a module with a source file, because the keys of runs "
                    f"depend on its content, but {module!r} has none; write the components to a file and name it "
                    "with `imports=`"
                )
    scale = scale or study.default_scale or study.scale_names[0]
    plan = Plan(study.name, scale, dict(overrides or {}), tuple(imports), entries, file=file)
    return plan, {e.key: e for _, e in grid}


def tasks(
    plan: Plan,
    experiments: Mapping[str, Experiment],
    done: Collection[str],
    sizes: Mapping[str, tuple[int, ...]],
    cohort: int | None = None,
    limit: int | None = None,
    device: str = "cpu",
    only: Collection[str] | None = None,
) -> list[Task]:
    """The missing runs of a plan in cohorts, the longest first.

    Cohorts are formed from the whole plan, including finished runs, so that a sweep that continues has the same
    cohorts.

    Args:
        experiments: the experiments of the plan that can be run here, by key.
        done: the keys of the entries that are done.
        sizes: (n, C, H, W) of the training images, by the digest of their data set.
        cohort: the largest number of runs that are trained together; None: see `together`.
        limit: train at most this many runs, in the order of the plan.
        device: the device on which the runs are trained.
        only: the keys of the selected runs; None: all.
    """
    entries = [entry for entry in plan.entries if entry.key in experiments]
    selected = [entry for entry in entries if only is None or entry.key in only]
    missing = set([entry.key for entry in selected if entry.key not in done][:limit])
    groups: dict[str, list[str]] = defaultdict(list)
    for entry in entries if missing else ():
        groups[cohort_key(experiments[entry.key])].append(entry.key)
    cohorts = []
    for keys in groups.values():
        keys.sort(key=lambda key: (experiments[key].loss.digest(), key))
        size = cohort or together(experiments[keys[0]], device)
        for start in range(0, len(keys), size):
            planned = keys[start : start + size]
            members = tuple(experiments[key] for key in planned if key in missing)
            if members:
                cost = sum(training_cost(e, sizes[e.data.digest()]) for e in members)
                cohorts.append(Task(digest(planned), members, cost))
    return sorted(cohorts, key=lambda task: -task.cost)


def by_worth(todo: Sequence[Task], worth: Mapping[str, float]) -> list[Task]:
    """Sort tasks by the average worth of their runs, highest first; of two tasks with equal worth, the longer comes
    first."""

    def of(task: Task) -> float:
        return sum(worth.get(key, 0.0) for key in task.keys) / len(task.keys)

    return sorted(todo, key=lambda task: (-of(task), -task.cost))
