"""How a plan is divided into cohorts if no cohort size is given."""

from dataclasses import replace

import pytest
from toys import Blobs

from byrote.experiment import Experiment
from byrote.identity import run_key
from byrote.networks import CNN8, MLP
from byrote.store import committed
from byrote.study import Study
from byrote.sweep.plan import plan_study, tasks, together


def with_network(network):
    return Experiment(Blobs(), network=network)


@pytest.mark.parametrize(
    ("network", "device", "size"),
    [
        (MLP(depth=9, width=128), "cpu", 4),
        (MLP(depth=9, width=256), "cpu", 4),
        (MLP(depth=9, width=512), "cpu", 1),
        (MLP(depth=9, width=2048), "cpu", 1),
        (CNN8(), "cpu", 1),
        (CNN8(), "cuda", 16),
    ],
)
def test_small_dense_networks_train_four_at_a_time(network, device, size):
    assert together(with_network(network), device) == size


def test_a_number_that_is_asked_for_counts(tmp_path):
    grid = {"name": "a", "base": {"data": "toys:Blobs", "network": {"kind": "mlp", "width": 8}}}
    study = Study(name="few", part=[grid | {"axes": {"seed": [*range(10)]}}])
    plan, experiments = plan_study(study)
    images = {Blobs().digest(): (80, 1, 4, 4)}
    planned = [tasks(plan, experiments, plan.present(committed(tmp_path)), images, cohort) for cohort in (None, 3, 1)]
    assert [sorted(len(task.keys) for task in some) for some in planned] == [[2, 4, 4], [1, 3, 3, 3], [1] * 10]


def test_a_plan_holds_what_its_runs_are_made_of_and_what_is_bound():
    base = {"data": "toys:Blobs", "network": {"kind": "mlp", "width": 8}}
    parts = [
        {"name": "a", "base": base, "axes": {"seed": [0, 1]}, "bind": ["training.optimizer.lr"]},
        {"name": "b", "base": base | {"seed": 2}},
    ]
    plan, experiments = plan_study(Study(name="s", part=parts, bind=["training.epochs"]))
    assert [(entry.part, entry.bind) for entry in plan.entries] == [
        *[("a", ("training.optimizer.lr",))] * 2,
        ("b", ("training.epochs",)),
    ]
    for entry in plan.entries:
        experiment = experiments[entry.key]
        assert (entry.key, entry.spec, entry.contents) == (experiment.key, experiment.spec(), experiment.contents)
        assert list(entry.contents) == ["module:toys"]


def test_a_run_of_an_accepted_version_is_not_planned_again(tmp_path):
    grid = {"name": "a", "base": {"data": "toys:Blobs", "network": {"kind": "mlp", "width": 8}}}
    plan, experiments = plan_study(Study(name="few", part=[grid | {"axes": {"seed": [*range(4)]}}]))
    older = {"module:toys": "0" * 16}
    for entry in plan.entries[:3]:
        folder = tmp_path / run_key(entry.spec, older)
        folder.mkdir()
        (folder / "manifest.json").write_text("{}")
    images = {Blobs().digest(): (80, 1, 4, 4)}
    accepting = replace(plan, accepted={"module:toys": ("0" * 16,)})
    done = [one.present(committed(tmp_path)) for one in (plan, accepting)]
    missing = [sum(len(task.keys) for task in tasks(plan, experiments, keys, images)) for keys in done]
    assert missing == [4, 1]
    (task,) = tasks(accepting, experiments, done[1], images)
    assert task.keys == (plan.entries[3].key,)
