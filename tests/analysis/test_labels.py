"""Titles of settings and names of losses are unique, and state the fields that differ."""

import itertools

from byrote.analysis.labels import loss_names, titles

CE, RLL = {"kind": "cross_entropy"}, {"kind": "robust_log", "alpha": 0.1}
MNIST = {"data.kind": "mnist", "network.kind": "mlp", "noise.kind": "uniform", "training.epochs": 60}


def test_what_is_bound_to_a_loss_stands_in_its_name_where_it_differs():
    losses = [("CE", CE | {"training.optimizer.lr": lr}) for lr in (0.1, 0.01)]
    assert loss_names(losses, [9, 3]) == ["CE", "CE lr .01"]
    assert loss_names(losses, [3, 9]) == ["CE lr .1", "CE"]


def test_no_two_losses_share_a_name():
    variants = [CE, CE | {"training.optimizer.lr": 0.1}, CE | {"training.optimizer.lr": 0.2}]
    for counts in itertools.permutations((1, 2, 3)):
        names = loss_names([("CE", one) for one in variants], list(counts))
        assert len(set(names)) == 3
        assert names[counts.index(3)] == "CE"


def test_the_bare_name_is_the_papers_loss():
    losses = [("RLL", RLL), ("RLL", RLL | {"alpha": 0.45}), ("nMSE", {"kind": "normalized_mse", "scale": 0.1})]
    assert loss_names(losses, [1, 5, 5]) == ["RLL", "RLL alpha .45", "nMSE scale .1"]


def test_a_start_is_named_in_either_direction():
    plain, started = MNIST | {"start": None}, MNIST | {"start.kind": "cross_entropy"}
    assert titles([plain, started], [9, 3]) == ["MNIST, MLP", "MNIST, MLP, started under cross entropy"]
    assert titles([plain, started], [3, 9]) == ["MNIST, MLP, from scratch", "MNIST, MLP"]


def test_what_follows_from_the_epochs_is_named_only_where_the_epochs_are_the_same():
    one = MNIST | {"training.evaluate_every": 5, "training.schedule.every": 20}
    longer = one | {"training.epochs": 120, "training.evaluate_every": 10, "training.schedule.every": 40}
    assert titles([one, longer], [9, 3]) == ["MNIST, MLP", "MNIST, MLP, 120 epochs"]
    steeper = one | {"training.schedule.every": 10}
    assert titles([one, steeper], [9, 3]) == ["MNIST, MLP", "MNIST, MLP, every 10"]


def test_only_differences_between_settings_of_another_law_are_named():
    recorded = MNIST | {"noise.kind": "recorded", "noise.column": "label"}
    files = [recorded | {"noise.path": content} for content in ("0f3a99ff", "b2c411ee")]
    assert titles([MNIST, *files], [9, 3, 3]) == [
        "MNIST, MLP, uniform noise",
        "MNIST, MLP, recorded noise, labels 0f3a99",
        "MNIST, MLP, recorded noise, labels b2c411",
    ]
    assert titles([MNIST, files[0]], [9, 3])[1] == "MNIST, MLP, recorded noise"


def test_equal_words_are_numbered():
    assert titles([MNIST | {"x.y": 0.1}, MNIST | {"x.y": 0.1 + 1e-12}], [1, 1]) == ["MNIST, MLP (1)", "MNIST, MLP (2)"]


def test_losses_that_never_meet_in_a_setting_keep_their_names():
    """Cross-entropies of two settings count as variants only if a chain of settings shares losses between them."""
    bound = [("CE", {"kind": "cross_entropy", "training.optimizer.lr": lr}) for lr in (0.1, 0.03, 0.01)]
    assert loss_names(bound, [9, 3, 3], [{0}, {1}, {2}]) == ["CE", "CE", "CE"]
    assert loss_names(bound, [9, 3, 3], [{0}, {0}, {2}]) == ["CE", "CE lr .03", "CE"]
    assert loss_names(bound, [9, 3, 3], [{0}, {0, 1}, {1}]) == ["CE", "CE lr .03", "CE lr .01"]
    assert loss_names(bound, [9, 3, 3]) == ["CE", "CE lr .03", "CE lr .01"]
