"""How runs are put together into cohorts where nobody says how many."""

import pytest
from toys import Blobs

from byrote.experiment import Experiment, Study
from byrote.networks import CNN8, MLP
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
    found = [tasks(plan, experiments, tmp_path, images, cohort) for cohort in (None, 3, 1)]
    assert [sorted(len(task.keys) for task in some) for some in found] == [[2, 4, 4], [1, 3, 3, 3], [1] * 10]
